"""`vitrine analyze`: photos to JSON lines, without Kafka or Redis."""

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.progress import Progress
from vitrine.events.v1 import image_pb2

from services.attributes.task import AttributesTask, Seen
from services.operations.answers import surest
from shared.errors import OutOfMemory, Poison
from shared.photos import Photo
from shared.settings import Settings
from shared.vision.pack import PackUnusable
from shared.vision.pdq import fingerprint_of
from shared.vision.reader import Reader, open_reader, photo_of
from shared.vision.runtime import DeviceAbsent

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp"})
SOURCES = {image_pb2.Attribute.SOURCE_SEEN: "seen", image_pb2.Attribute.SOURCE_READ: "read"}

T = TypeVar("T")
Line = dict[str, Any]


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--embedding", is_flag=True, help="Add each photo's vector.")
@click.option("--batch", default=16, show_default=True, type=click.IntRange(1), help="Photos per forward.")
def analyze(paths: tuple[Path, ...], embedding: bool, batch: int) -> None:
    """Say what the photos at PATHS (files, or folders with all below them) show: one JSON line each, in that order."""
    photos = list(expanded(paths))
    if not photos:
        raise click.ClickException(f"no photo found: {', '.join(sorted(SUFFIXES))} files are looked for in folders")
    settings = Settings()
    try:
        reader = open_reader(settings)
    except (PackUnusable, DeviceAbsent) as why:
        raise click.ClickException(str(why)) from why
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


@dataclass(frozen=True, slots=True)
class _Unusable:
    """Takes a bad photo's place in line."""

    code: str
    message: str


class Analyst:
    """Asks the same tasks as the fleet, over files."""

    def __init__(self, reader: Reader, pool: Executor, embedding: bool) -> None:
        self._reader = reader
        self._attributes = AttributesTask(reader)
        self._pool = pool
        self._embedding = embedding

    def lines(self, paths: Sequence[Path], batch: int) -> Iterator[Line]:
        """One per path, in order. Raises OutOfMemory when not even one photo fits."""
        batches = [paths[i : i + batch] for i in range(0, len(paths), batch)]
        for some, opened in _ahead(self._pool, self._open, batches):
            yield from self._conclude(some, opened, self._infer([p for p in opened if isinstance(p, Photo)]))

    def _open(self, path: Path) -> Photo | _Unusable:
        try:
            photo = photo_of(path.read_bytes())
            self._reader.prepare(photo)
            fingerprint_of(photo)
        except OSError as why:
            return _Unusable("unreadable", why.strerror or str(why))
        except Poison as why:
            return _Unusable(why.code, why.message)
        return photo

    def _infer(self, photos: Sequence[Photo]) -> dict[Photo, Seen]:
        if not photos:
            return {}
        try:
            return dict(zip(photos, self._attributes.infer(photos, [None] * len(photos)), strict=True))
        except OutOfMemory:
            if len(photos) == 1:
                raise
            half = len(photos) // 2
            return self._infer(photos[:half]) | self._infer(photos[half:])

    def _conclude(
        self, paths: Sequence[Path], opened: Sequence[Photo | _Unusable], seen: dict[Photo, Seen]
    ) -> Iterator[Line]:
        vectors: dict[Photo, list[float]] = {}
        if self._embedding and seen:
            vectors = dict(zip(seen, self._reader.vectors(list(seen)).tolist(), strict=True))

        def line(path: Path, photo: Photo | _Unusable) -> Line:
            if isinstance(photo, _Unusable):
                return _error(path, photo)
            try:
                return self._line(path, photo, seen[photo], vectors.get(photo))
            except Poison as why:
                # Sound enough for the trunk, broken for those who read every pixel.
                return _error(path, _Unusable(why.code, why.message))

        yield from self._pool.map(line, paths, opened)

    def _line(self, path: Path, photo: Photo, seen: Seen, vector: list[float] | None) -> Line:
        (message,) = self._attributes.conclude(photo, seen)
        assert isinstance(message, image_pb2.ImageAttributed)
        hashed = fingerprint_of(photo)
        found: Line = {
            "photo": str(path),
            "category": {
                "label": seen.category.label or None,
                "path": list(seen.category.path),
                "confidence": seen.category.confidence,
            },
            "attributes": {name: _value(one) for name, one in surest(message.attributes).items()},
            "hash": {"pdq": hashed.hex, "quality": hashed.quality},
            "pack": self._reader.pack_name,
        }
        return found if vector is None else found | {"embedding": vector}


def _value(one: image_pb2.Attribute) -> Line:
    return {"value": one.value, "unit": one.unit or None, "confidence": one.confidence, "source": SOURCES[one.source]}


def _error(path: Path, why: _Unusable) -> Line:
    return {"photo": str(path), "error": {"code": why.code, "message": why.message}}


def _ahead(
    pool: Executor, work: Callable[[Path], T], batches: Iterable[Sequence[Path]]
) -> Iterator[tuple[Sequence[Path], list[T]]]:
    """Decodes one batch while the one before is looked at."""
    waiting: tuple[Sequence[Path], list[Future[T]]] | None = None
    for batch in batches:
        started = batch, [pool.submit(work, path) for path in batch]
        if waiting:
            yield waiting[0], [future.result() for future in waiting[1]]
        waiting = started
    if waiting:
        yield waiting[0], [future.result() for future in waiting[1]]


@contextmanager
def _progress(total: int) -> Iterator[Callable[[], None]]:
    """A bar on stderr, for people only; yields what moves it on by one."""
    with Progress(console=Console(stderr=True), disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("photos", total=total)
        yield lambda: progress.advance(task)
