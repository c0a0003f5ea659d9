"""What a worker holds of photos is bounded by their bytes, not only by their number."""

import asyncio
import gc
import threading
import weakref
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from vitrine.events.v1 import image_pb2, listing_pb2

from shared.errors import Poison
from shared.limits import MAX_PHOTO_BYTES
from shared.photos import Photo
from shared.stream.fetching import bytes_to_fetch, readable_upload_in
from shared.stream.records import Assignment, Outcome, Record
from shared.stream.task import Finding
from shared.stream.worker import Limits, Worker
from tests.fakes import CANARY, MemorySink, MemorySource, Shout, inline, said

LIMITS = Limits(batch_photos=8, batch_seconds=60, straggler_seconds=0.01)


class Counting(Shout):
    """Counts the bytes of photos that were fetched and not concluded."""

    def __init__(self) -> None:
        super().__init__()
        self.held = self.most = 0
        self._lock = threading.Lock()

    async def fetch(self, record: Record) -> Photo:
        photo = await inline(record)
        if record != CANARY:
            self._count(len(photo.body))
        return photo

    def conclude(self, photo: Photo, found: bytes) -> list[Finding]:
        if photo.upload.listing_id != "canary":
            self._count(-len(photo.body))
        return super().conclude(photo, found)

    def _count(self, size: int) -> None:
        with self._lock:  # fetched on the event loop, concluded on threads
            self.held += size
            self.most = max(self.most, self.held)


def most_held(bodies: Sequence[bytes], photo_bytes: int) -> int:
    """Of all photos together, all of which come through."""
    sink, task = MemorySink(), Counting()
    worker = Worker(MemorySource(bodies), task.fetch, [task], sink, CANARY, replace(LIMITS, photo_bytes=photo_bytes))
    asyncio.run(worker.run())
    assert sorted(said(result) for result in sink.results) == sorted(body.decode().upper() for body in bodies)
    return task.most


def test_photos_of_so_many_bytes_are_held_at_once() -> None:
    assert most_held([b"photo"] * 100, photo_bytes=23) == 20


def test_small_photos_are_bounded_by_the_batches_alone() -> None:
    assert most_held([b"photo"] * 100, photo_bytes=10_000) > 25


def test_one_that_is_larger_than_all_that_there_is_gets_it_alone() -> None:
    assert most_held([b"a", b"large" * 10, b"b", b"c"], photo_bytes=20) == 50


@pytest.mark.parametrize("size", [0, 5_000_000])
def test_a_photo_counts_as_its_upload_says_or_as_the_largest(size: int) -> None:
    upload = image_pb2.ImageUploaded(photo=listing_pb2.Photo(size_bytes=size))
    assert bytes_to_fetch(upload) == (size or MAX_PHOTO_BYTES)


def test_an_upload_that_can_not_be_read_counts_as_the_largest() -> None:
    assert bytes_to_fetch(readable_upload_in(recorded(b"\xff\xff"))) == MAX_PHOTO_BYTES


def test_no_pixels_wait_for_the_batch() -> None:
    waiting: list[Any] = []

    class Looks(Shout):
        def prepare(self, photo: Photo) -> bytes:
            photo.pixels(224)
            photo.once("input/small", lambda: b"small")
            return super().prepare(photo)

        def infer(self, photos: Sequence[Photo], inputs: Sequence[bytes]) -> list[bytes]:
            waiting.extend((photo.knows("pixels/224"), photo.knows("input/small")) for photo in photos)
            return super().infer(photos, inputs)

        def conclude(self, photo: Photo, found: bytes) -> list[Finding]:
            waiting.append(photo)
            return super().conclude(photo, found)

    asyncio.run(Worker(MemorySource([b"photo"]), inline, [Looks()], MemorySink(), CANARY, LIMITS).run())
    looked_at, photo = waiting[-2:]
    assert looked_at == (False, True)
    assert not photo.knows("input/small")


class Watching(Shout):
    """Knows which photos somebody still holds of those that were looked at for the last time."""

    def __init__(self, long: bool) -> None:
        super().__init__()
        self._long = long
        self._fetched: dict[str, weakref.ref[Photo]] = {}
        self.seen: set[str] = set()

    async def fetch(self, record: Record) -> Photo:
        photo = await inline(record)
        return Photo(photo.body, photo.upload, lambda body, _at_least: np.frombuffer(body, np.uint8))

    def prepare(self, photo: Photo) -> bytes:
        listing = photo.upload.listing_id
        self._fetched[listing] = weakref.ref(photo)
        try:
            return super().prepare(photo)
        except Poison:
            self.seen.add(listing)
            raise

    def takes_long(self, found: bytes) -> bool:
        return self._long

    def conclude(self, photo: Photo, found: bytes) -> list[Finding]:
        self.seen.add(photo.upload.listing_id)
        return super().conclude(photo, found)

    def held(self) -> set[str]:
        return {listing for listing in self.seen if self._fetched[listing]() is not None}


class Stuck(MemorySink):
    """A broker that answers only once photos pile up behind it, and the photos of those are let go of."""

    def __init__(self, task: Watching, behind: int) -> None:
        super().__init__()
        self._task = task
        self._behind = behind

    async def send(self, outcomes: Sequence[Outcome]) -> None:
        async with asyncio.timeout(20):
            while self._behind and (len(self._task.seen) < self._behind or self._task.held()):  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        self._behind = 0
        await super().send(outcomes)


# One batch of outcomes is on its way to the broker, four more are queued, and those of two photos wait behind them. Of
# what takes long each photo sends two.
@pytest.mark.parametrize(
    ("body", "long", "behind"), [(b"photo", False, 7), (b"photo", True, 3), (b"truncated", False, 7)]
)
def test_no_photo_is_kept_until_its_results_are_published(body: bytes, long: bool, behind: int) -> None:
    """Nor until the garbage is collected: a Poison's traceback leads to the photo, and may lead back."""
    task = Watching(long)
    sink = Stuck(task, behind)
    limits = replace(LIMITS, batch_photos=1, suspicious_rejections=100)
    gc.disable()
    try:
        asyncio.run(Worker(MemorySource([body] * 30), task.fetch, [task], sink, CANARY, limits).run())
    finally:
        gc.enable()
    assert len(sink.outcomes) == 30


def recorded(value: bytes) -> Record:
    return Record(Assignment("images", 0), 0, b"", value)
