"""In-memory stand-ins for the broker, and tasks without a model. The contract suite runs these and Kafka alike."""

import asyncio
import hashlib
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

from vitrine.events.v1 import image_pb2, listing_pb2

from shared import topics
from shared.errors import Poison
from shared.photos import Photo
from shared.stream.assessment import assess
from shared.stream.records import Assignment, Outcome, Record, Rejected, Result
from shared.stream.task import Finding

SOUND = b"sound"


def uploaded(body: bytes, listing: str = "listing", revision: int = 1) -> bytes:
    """An upload event whose photo is its object key."""
    sha256 = hashlib.sha256(body).hexdigest()
    photo = listing_pb2.Photo(sha256=sha256, object_key=body.decode(), size_bytes=len(body))
    return image_pb2.ImageUploaded(listing_id=listing, revision=revision, photo=photo).SerializeToString()


CANARY = Record(Assignment(topics.CANARY.name, 0), 0, b"canary", uploaded(SOUND, "canary"))


def _undecoded(body: bytes, at_least: int | None) -> Any:
    """No pixels: the tasks here look at the bytes."""
    return body


async def inline(record: Record) -> Photo:
    """Fetches the photo from the event itself."""
    upload = image_pb2.ImageUploaded.FromString(record.value)
    return Photo(upload.photo.object_key.encode(), upload, _undecoded, self_test=record.self_test)


class MemorySource:
    def __init__(self, bodies: Sequence[bytes], partitions: int = 2, uploads: Sequence[bytes] = ()) -> None:
        """Each of the bodies is another listing's. `uploads` are events as they are, behind those."""
        self._records: list[Record] = []
        ends: dict[Assignment, int] = defaultdict(int)
        values = [*(uploaded(body, f"listing-{i}") for i, body in enumerate(bodies)), *uploads]
        for i, value in enumerate(values):
            assignment = Assignment("images", i % partitions)
            self._records.append(Record(assignment, ends[assignment], str(i).encode(), value))
            ends[assignment] += 1
        self.end = dict(ends)
        self.committed: dict[Assignment, int] = {}
        self.delivered = 0
        self.holds = 0
        self._stopped = False
        self.held = asyncio.Event()
        self._fetched_ahead = 20
        self._open = asyncio.Event()
        self._open.set()

    async def __aiter__(self) -> AsyncIterator[Record]:
        for record in self._records:
            if self._stopped:
                return
            # Like a broker's client it has already fetched some when it is told to hold.
            if self._fetched_ahead <= 0:
                await self._open.wait()
                self._fetched_ahead = 20
            self._fetched_ahead -= not self._open.is_set()
            self.delivered += 1
            yield record
            await asyncio.sleep(0)

    def on_receipt(self, tell: Callable[[Record], None]) -> None:
        """All are received at once."""
        for record in self._records:
            tell(record)

    async def commit(self, offsets: Mapping[Assignment, int]) -> None:
        for assignment, offset in offsets.items():
            assert offset > self.committed.get(assignment, 0), "offsets only move forward"
            self.committed[assignment] = offset

    def hold(self) -> None:
        self.holds += 1
        self.held.set()
        self._open.clear()

    def release(self) -> None:
        self._open.set()

    def stop(self) -> None:
        self._stopped = True


class Seldom(MemorySource):
    """Each upload comes when all before it is committed: nothing is known ahead, and everything before is done."""

    _tell: Callable[[Record], None]

    def __init__(self, uploads: Sequence[Sequence[bytes]]) -> None:
        super().__init__([], partitions=1, uploads=[event for upload in uploads for event in upload])
        self._uploads = [len(upload) for upload in uploads]
        self._settled = asyncio.Event()

    def on_receipt(self, tell: Callable[[Record], None]) -> None:
        self._tell = tell

    async def __aiter__(self) -> AsyncIterator[Record]:
        for events in self._uploads:
            self._settled.clear()
            for _ in range(events):
                record = self._records[self.delivered]
                self.delivered += 1
                self._tell(record)
                yield record
            await self._settled.wait()

    async def commit(self, offsets: Mapping[Assignment, int]) -> None:
        await super().commit(offsets)
        if sum(self.committed.values()) == self.delivered:
            self._settled.set()


class MemorySink:
    """Keeps what is sent; `fail_after` so many calls it behaves as a broker that is gone."""

    def __init__(self, fail_after: int | None = None) -> None:
        self.outcomes: list[Outcome] = []
        self.fail_after = fail_after
        self.calls = 0

    async def send(self, outcomes: Sequence[Outcome]) -> None:
        self.calls += 1
        if self.fail_after is not None and self.calls > self.fail_after:
            raise ConnectionError("the broker is gone")
        await asyncio.sleep(0)
        self.outcomes += outcomes

    @property
    def rejected(self) -> list[Rejected]:
        return [o for o in self.outcomes if isinstance(o, Rejected)]

    @property
    def results(self) -> list[Result]:
        """Without the self-tests'."""
        return [o for o in self.outcomes if isinstance(o, Result) and not o.record.self_test]


class Shout:
    """Says what it saw in capitals, as a classification."""

    name = "classification"

    def __init__(self, infer_seconds: float = 0.0) -> None:
        """`infer_seconds`: for a test on a real broker, whose time is real too."""
        self.infer_seconds = infer_seconds
        self.sizes: list[int] = []

    def warm_up(self) -> None:
        self.infer([], [b"warm"])

    def prepare(self, photo: Photo) -> bytes:
        if photo.body.startswith(b"truncated"):
            raise Poison("unreadable", "not an image")
        return photo.body

    def infer(self, photos: Sequence[Photo], inputs: Sequence[bytes]) -> list[bytes]:
        if self.infer_seconds:
            time.sleep(self.infer_seconds)
        self.sizes.append(len(inputs))
        if any(body.startswith(b"nan") for body in inputs):
            raise RuntimeError("bad numbers")
        return [body.upper() for body in inputs]

    def takes_long(self, found: bytes) -> bool:
        return False

    def conclude(self, photo: Photo, found: bytes) -> list[Finding]:
        assessment = assess(photo.upload, "dummy@1", 1)
        category = image_pb2.Category(label=found.decode())
        return [Finding(image_pb2.ImageClassified(assessment=assessment, category=category))]


class Whisper(Shout):
    """Says it in small letters, as an embedding."""

    name = "embedding"

    def infer(self, photos: Sequence[Photo], inputs: Sequence[bytes]) -> list[bytes]:
        return [body.lower() for body in inputs]

    def conclude(self, photo: Photo, found: bytes) -> list[Finding]:
        return [Finding(image_pb2.ImageEmbedded(assessment=assess(photo.upload, "dummy@1", 1), space=found.decode()))]


def said(result: Result) -> str:
    """What Shout or Whisper said in this result."""
    (event,) = result.events
    assert event.topic.message is not None
    message = event.topic.message.FromString(event.value)
    assert isinstance(message, image_pb2.ImageClassified | image_pb2.ImageEmbedded)
    return message.category.label if isinstance(message, image_pb2.ImageClassified) else message.space
