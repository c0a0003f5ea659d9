"""The fleet's answers over files, without Kafka or Redis: the same tasks, asked directly."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from vitrine.events.v1 import image_pb2

from local.answers import surest
from services.attributes.task import AttributesTask, Seen
from services.fraud.pdq import fingerprint_of
from shared.errors import OutOfMemory, Poison
from shared.photos import Photo
from shared.vision.reader import Reader, photo_of
from shared.words import word

T = TypeVar("T")
Line = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Unreadable:
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

    def _open(self, path: Path) -> Photo | _Unreadable:
        try:
            photo = photo_of(path.read_bytes())
            self._reader.prepare(photo)
            fingerprint_of(photo)
        except OSError as why:
            return _Unreadable("unreadable", why.strerror or str(why))
        except Poison as why:
            return _Unreadable(why.code, why.message)
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
        self, paths: Sequence[Path], opened: Sequence[Photo | _Unreadable], seen: dict[Photo, Seen]
    ) -> Iterator[Line]:
        vectors: dict[Photo, list[float]] = {}
        if self._embedding and seen:
            vectors = dict(zip(seen, self._reader.vectors(list(seen)).tolist(), strict=True))

        def line(path: Path, photo: Photo | _Unreadable) -> Line:
            if isinstance(photo, _Unreadable):
                return _error(path, photo)
            try:
                return self._line(path, photo, seen[photo], vectors.get(photo))
            except Poison as why:
                # Sound enough for the trunk, broken for those who read every pixel.
                return _error(path, _Unreadable(why.code, why.message))

        yield from self._pool.map(line, paths, opened)

    def _line(self, path: Path, photo: Photo, seen: Seen, vector: list[float] | None) -> Line:
        (finding,) = self._attributes.conclude(photo, seen)
        message = finding.message
        assert isinstance(message, image_pb2.ImageAttributed)
        hashed = fingerprint_of(photo)
        line: Line = {
            "photo": str(path),
            "category": {
                "label": seen.category.label or None,
                "path": list(seen.category.path),
                "confidence": seen.category.confidence,
                "taxonomy": seen.category.taxonomy_id or None,
            },
            "attributes": {name: _value(one) for name, one in surest(message.attributes).items()},
            "hash": {"text" if hashed.of_text else "pdq": hashed.hex, "quality": hashed.quality},
            "pack": self._reader.pack_name,
        }
        return line if vector is None else line | {"embedding": vector}


def _value(one: image_pb2.Attribute) -> Line:
    source = word(image_pb2.Attribute.Source, one.source)
    return {"value": one.value, "unit": one.unit or None, "confidence": one.confidence, "source": source}


def _error(path: Path, why: _Unreadable) -> Line:
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
