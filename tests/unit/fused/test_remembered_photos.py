"""A photo that is remembered gets what a fresh look would give it, from each task alone and from all in one process."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pytest
from vitrine.events.v1 import image_pb2, listing_pb2

from services.attributes.task import AttributesTask
from services.classification.task import ClassificationTask
from services.embedding.task import EmbeddingTask
from services.fraud.task import FraudTask
from shared.events import Event
from shared.photo_store import PhotoStore, open_photo_store
from shared.photos import Photo
from shared.stream.fetching import fetch_from
from shared.stream.known_good import known_good, plant
from shared.stream.task import Task
from shared.stream.worker import Limits, Worker
from shared.topics import TASKS
from shared.vision.decode import decode
from shared.vision.reader import Reader
from tests.fakes import MemorySink, Seldom
from tests.fakes_vision import FakeBank, FakeReader, FakeRegions, FakeText, jpeg, line, scenery

PHOTOS = [jpeg(scenery(1)), jpeg(scenery(2))]
# Of a listing, its seller, what it claims, when it was uploaded, and which of the photos it has. The first two photos
# of all are looked at; those of the later listings come again, as a thief's, with another claim, and as an edit.
LISTINGS = [
    ("mine", 1, "S1", "carton", 10, [0]),
    ("other", 1, "S2", "milk", 20, [1]),
    ("thief", 1, "S3", "carton", 30, [0]),
    ("earlier", 1, "S4", "phone", 5, [0, 1]),
    ("mine", 2, "S1", "T-Shirts", 40, [0, 1]),
]


class CountingReader(FakeReader):
    def __init__(self) -> None:
        super().__init__("packages", "carton")
        self.prepared: list[bytes] = []

    def prepare(self, photo: Photo) -> None:
        self.prepared.append(photo.body)
        super().prepare(photo)


class CountingText(FakeText):
    def __init__(self) -> None:
        super().__init__(line("Oatly", 0.1), line("1,5 L", 0.5))


def tasks_of(names: Sequence[str], reader: CountingReader, text: FakeText, bank: FakeBank) -> list[Task[Any, Any]]:
    everything: dict[str, Task[Any, Any]] = {
        "classification": ClassificationTask(cast(Reader, reader)),
        "attributes": AttributesTask(reader, FakeRegions(), text),
        "embedding": EmbeddingTask(cast(Reader, reader)),
        "fraud": FraudTask(reader, bank),
    }
    return [everything[name] for name in names]


async def uploads_to(store: PhotoStore) -> list[list[bytes]]:
    uploads: list[list[bytes]] = []
    for listing, revision, seller, claim, at, photos in LISTINGS:
        uploads.append([])
        for place in photos:
            key = await store.put(PHOTOS[place])
            photo = listing_pb2.Photo(sha256=key.rpartition("/")[2], object_key=key, size_bytes=len(PHOTOS[place]))
            upload = image_pb2.ImageUploaded(listing_id=listing, revision=revision, seller_id=seller, photo=photo)
            upload.claims.category = claim
            upload.uploaded_at.FromSeconds(at)
            uploads[-1].append(upload.SerializeToString())
    return uploads


async def answers_of(names: Sequence[str], home: Path, remembered: int) -> tuple[list[Any], CountingReader, FakeText]:
    """All that is published, but for when it was found; and who looked."""
    reader, text, sink, store = CountingReader(), CountingText(), MemorySink(), open_photo_store(str(home))
    source = Seldom(await uploads_to(store))
    limits = Limits(batch_seconds=60, fill_seconds=0.001, remembered_photos=remembered)
    tasks = tasks_of(names, reader, text, FakeBank())
    await plant(store)
    await Worker(source, fetch_from(store, decode), tasks, sink, await known_good(store), limits).run()
    assert sink.rejected == []
    assert source.committed == source.end
    results = sorted(sink.results, key=lambda result: (result.record.offset, result.task))
    return [undated(event) for result in results for event in result.events], reader, text


def undated(event: Event) -> tuple[str, str, bytes, dict[str, bytes]]:
    assert event.topic.message is not None
    message: Any = event.topic.message.FromString(event.value)
    assert message.assessment.HasField("assessed_at")
    message.assessment.ClearField("assessed_at")
    # Traces differ from run to run, once another test has started tracing.
    headers = {name: value for name, value in event.headers.items() if name not in ("ce_time", "traceparent")}
    return event.topic.name, event.key, message.SerializeToString(deterministic=True), headers


@pytest.mark.parametrize("names", [*((name,) for name in TASKS), TASKS], ids=[*TASKS, "fused"])
async def test_its_results_are_those_of_a_fresh_look(names: Sequence[str], tmp_path: Path) -> None:
    fresh, looked, read = await answers_of(names, tmp_path, remembered=0)
    again, spared, reread = await answers_of(names, tmp_path, remembered=10)
    assert again == fresh
    assert len(again) >= len(names) * sum(len(photos) for *_, photos in LISTINGS)
    assert (len(set(looked.prepared)), len(set(spared.prepared))) == (2, 2)
    assert (len(looked.prepared), len(spared.prepared)) == (7 * len(names), 2 * len(names))
    assert (read.asked, reread.asked) == ((7, 2) if "attributes" in names else (0, 0))
