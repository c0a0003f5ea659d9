"""`vitrine analyze`: photos to JSON lines, without Kafka or Redis."""

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
from cli.tables import say
from client.folders import photos_below
from local.analyst import Analyst
from shared.photo_formats import MEDIA_TYPES
from shared.settings import Settings
from shared.text import json_text
from shared.vision.reader import open_reader
from shared.vision.regions import open_regions


@click.command(cls=Command)
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--embedding", is_flag=True, help="Add each photo's vector.")
@click.option("--batch", default=16, show_default=True, type=click.IntRange(1), help="Photos per forward.")
def analyze(paths: tuple[Path, ...], embedding: bool, batch: int) -> None:
    """Say what the photos at PATHS (files, or folders with all below them) show: one JSON line each, in that order."""
    photos = list(expanded(paths))
    if not photos:
        raise click.ClickException(f"no photo found: {', '.join(MEDIA_TYPES)} files are looked for in folders")
    settings = Settings()
    reader, regions = open_reader(settings), open_regions(settings)
    with _progress(len(photos)) as advance, ThreadPoolExecutor(settings.threads or os.cpu_count() or 1) as pool:
        for line in Analyst(reader, regions, pool, embedding).lines(photos, batch):
            click.echo(json_text(line))
            advance()


def expanded(paths: Iterable[Path]) -> Iterator[Path]:
    """Folders become the photos below them, in their order; anything else stays, so that what is wrong is told."""
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        found = photos_below(path)
        yield from found.photos
        for bad in found.bad:
            say(f"left out: {bad}", err=True)


@contextmanager
def _progress(total: int) -> Iterator[Callable[[], None]]:
    """A bar on stderr, for people only; yields what moves it on by one."""
    with Progress(console=Console(stderr=True), disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("photos", total=total)
        yield lambda: progress.advance(task)
