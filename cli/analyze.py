"""`vitrine analyze`: photos to JSON lines, without Kafka or Redis."""

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console
from rich.progress import Progress

from cli.plain import Command
from local.analyst import Analyst
from shared.settings import Settings
from shared.vision.reader import open_reader

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp"})


@click.command(cls=Command)
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--embedding", is_flag=True, help="Add each photo's vector.")
@click.option("--batch", default=16, show_default=True, type=click.IntRange(1), help="Photos per forward.")
def analyze(paths: tuple[Path, ...], embedding: bool, batch: int) -> None:
    """Say what the photos at PATHS (files, or folders with all below them) show: one JSON line each, in that order."""
    photos = list(expanded(paths))
    if not photos:
        raise click.ClickException(f"no photo found: {', '.join(sorted(SUFFIXES))} files are looked for in folders")
    settings = Settings()
    reader = open_reader(settings)
    with _progress(len(photos)) as advance, ThreadPoolExecutor(settings.threads or os.cpu_count() or 1) as pool:
        for line in Analyst(reader, pool, embedding).lines(photos, batch):
            click.echo(json.dumps(line, ensure_ascii=False))
            advance()


def expanded(paths: Iterable[Path]) -> Iterator[Path]:
    """Folders become the photos below them, sorted; anything else stays, so that what is wrong with it is told."""
    for path in paths:
        if path.is_dir():
            yield from sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
        else:
            yield path


@contextmanager
def _progress(total: int) -> Iterator[Callable[[], None]]:
    """A bar on stderr, for people only; yields what moves it on by one."""
    with Progress(console=Console(stderr=True), disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("photos", total=total)
        yield lambda: progress.advance(task)
