"""What needs no look: photos that were looked at lately, and revisions that newer ones have superseded."""

import asyncio
import threading
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

import pytest
from vitrine.events.v1 import image_pb2

from shared import metrics
from shared.errors import Poison
from shared.photos import Photo
from shared.stream.fetching import Fetch
from shared.stream.records import Record
from shared.stream.revisions import Revisions
from shared.stream.task import Finding
from shared.stream.worker import Limits, Worker
from shared.stream.worker.remembered import LOOK_BYTES, Look, Remembered, size_of
from tests.fakes import CANARY, SOUND, MemorySink, MemorySource, Seldom, Shout, inline, said, uploaded

LIMITS = Limits(batch_photos=8, batch_seconds=60, fill_seconds=0.001, retest_seconds=0.01, remembered_photos=100)
PHOTOS = [f"photo-{number}".encode() for number in range(12)]


class Looks(Shout):
    """Counts what it prepares and infers, and says what it read, which it reads once."""

    def __init__(self) -> None:
        super().__init__()
        self.prepared: Counter[bytes] = Counter()
        self.inferred: Counter[bytes] = Counter()
        self.read: Counter[bytes] = Counter()

    def prepare(self, photo: Photo) -> bytes:
        self.prepared[photo.body] += 1
        return super().prepare(photo)

    def infer(self, photos: Sequence[Photo], inputs: Sequence[bytes]) -> list[bytes]:
        self.inferred.update(photo.body for photo in photos)
        return super().infer(photos, inputs)

    def conclude(self, photo: Photo, found: bytes) -> list[Finding]:
        text = photo.noted(f"read by {self.name}", lambda: self._read(photo.pixels()))
        return super().conclude(photo, found + b" " + text)

    def _read(self, pixels: object) -> bytes:
        assert isinstance(pixels, bytes)
        self.read[pixels] += 1
        return pixels


class LooksToo(Looks):
    name = "attributes"


def run(source: MemorySource, *tasks: Shout, fetch: Fetch = inline, limits: Limits = LIMITS) -> MemorySink:
    sink = MemorySink()
    asyncio.run(Worker(source, fetch, tasks, sink, CANARY, limits).run())
    assert source.committed == source.end
    return sink


def revisions_of(listing: str, revisions: Iterable[int], photos: Sequence[bytes] = PHOTOS) -> list[list[bytes]]:
    return [[uploaded(photo, listing, revision) for photo in photos] for revision in revisions]


def published(sink: MemorySink) -> Counter[tuple[str, str, int]]:
    """Task, photo's sha256 and revision of every event."""
    return Counter(
        (outcome.task, upload.photo.sha256, upload.revision)
        for outcome in sink.results
        for upload in [image_pb2.ImageUploaded.FromString(outcome.record.value)]
        for _ in outcome.events
    )


def counted(name: str, **labels: str) -> float:
    return metrics.WORKER.get_sample_value(name, labels) or 0.0


def all_in(*uploads: Sequence[bytes]) -> MemorySource:
    """All of it has been received before the first of it is begun."""
    return MemorySource([], partitions=1, uploads=[event for upload in uploads for event in upload])


# --- photos that come again -------------------------------------------------------------------------------------------


def test_twelve_photos_named_by_twenty_revisions_are_looked_at_once_by_each_task() -> None:
    tasks, before = (Looks(), LooksToo()), counted("vitrine_worker_remembered_photos_total")
    inferred = counted("vitrine_worker_batch_photos_sum")
    sink = run(Seldom(revisions_of("listing", range(1, 21))), *tasks)
    for task in tasks:
        assert task.prepared == task.inferred == task.read == Counter(PHOTOS)
    assert set(published(sink).values()) == {1}
    assert len(published(sink)) == 2 * 20 * 12
    assert counted("vitrine_worker_remembered_photos_total") - before == 19 * 12
    assert counted("vitrine_worker_batch_photos_sum") - inferred == 12


def test_another_listing_with_the_photo_gets_results_of_its_own() -> None:
    fetched: list[str] = []

    async def fetch(record: Record) -> Photo:
        fetched.append(image_pb2.ImageUploaded.FromString(record.value).listing_id)
        return await inline(record)

    sink = run(Seldom([[uploaded(b"a", "one")], [uploaded(b"a", "other", revision=7)]]), Looks(), fetch=fetch)
    assert fetched == ["one"]
    classified = [image_pb2.ImageClassified.FromString(result.events[0].value) for result in sink.results]
    assert [(one.assessment.listing_id, one.assessment.revision) for one in classified] == [("one", 1), ("other", 7)]
    assert classified[0].category == classified[1].category
    assert [event.key for result in sink.results for event in result.events] == ["one", "other"]


def test_with_nothing_to_be_remembered_every_photo_is_looked_at() -> None:
    task = Looks()
    run(Seldom(revisions_of("listing", range(1, 4))), task, limits=replace(LIMITS, remembered_photos=0))
    assert task.inferred == Counter(PHOTOS * 3)


def test_a_photo_that_one_task_rejected_is_looked_at_again_by_all() -> None:
    class Picky(LooksToo):
        def conclude(self, photo: Photo, found: bytes) -> list[Finding]:
            if self.inferred[photo.body] == 1:
                raise Poison("unreadable", "only this once")
            return super().conclude(photo, found)

    tasks = (Looks(), Picky())
    sink = run(Seldom(revisions_of("listing", range(1, 4), [b"a"])), *tasks)
    assert [(one.task, one.stage) for one in sink.rejected] == [("attributes", "conclude")]
    assert [task.inferred[b"a"] for task in tasks] == [2, 2]


def test_a_photo_that_the_store_lacked_is_fetched_again() -> None:
    fetched = 0

    async def fetch(record: Record) -> Photo:
        nonlocal fetched
        fetched += 1
        if fetched == 1:
            raise Poison("missing_photo", "not in the store")
        return await inline(record)

    sink = run(Seldom(revisions_of("listing", range(1, 4), [b"a"])), Looks(), fetch=fetch)
    assert [one.code for one in sink.rejected] == ["missing_photo"]
    assert (len(sink.results), fetched) == (2, 2)


def test_an_upload_without_an_object_key_is_rejected_though_its_photo_is_remembered() -> None:
    incomplete = image_pb2.ImageUploaded.FromString(uploaded(b"a", "other"))
    incomplete.photo.ClearField("object_key")

    async def fetch(record: Record) -> Photo:
        if record.value == incomplete.SerializeToString():
            raise Poison("incomplete", "no object_key")  # as fetch_from says
        return await inline(record)

    sink = run(Seldom([[uploaded(b"a")], [incomplete.SerializeToString()]]), Looks(), fetch=fetch)
    assert [one.code for one in sink.rejected] == ["incomplete"]


def test_the_self_test_looks_at_its_photo_however_well_it_is_known() -> None:
    task = Looks()
    bad = [[uploaded(f"truncated-{number}".encode(), f"bad-{number}")] for number in range(20)]
    run(Seldom([[uploaded(SOUND)], *bad]), task, limits=replace(LIMITS, suspicious_rejections=5))
    assert task.prepared[SOUND] == task.inferred[SOUND] == task.read[SOUND] == 1 + 20 // 5


def test_photos_that_come_again_do_not_hide_that_all_others_are_rejected() -> None:
    tests = Counter({sound: counted("vitrine_worker_self_tests_total", result=sound) for sound in ("sound", "unsound")})
    uploads = [[uploaded(b"a", "first")]]
    for number in range(10):
        uploads += [[uploaded(b"truncated", f"bad-{number}")], [uploaded(b"a", f"known-{number}")]]
    run(Seldom(uploads), Looks(), limits=replace(LIMITS, suspicious_rejections=5))
    assert counted("vitrine_worker_self_tests_total", result="sound") - tests["sound"] == 2


def test_what_took_long_the_first_time_stands_behind_nothing_the_second_time() -> None:
    other_is_read = threading.Event()

    class Reads(Looks):
        def takes_long(self, found: bytes) -> bool:
            return True

        def _read(self, pixels: object) -> bytes:
            if pixels == b"other":
                assert other_is_read.wait(10), "the remembered photo stood behind another one's reading"
            return super()._read(pixels)

    class Watched(MemorySink):
        async def send(self, outcomes: Sequence[object]) -> None:
            await super().send(outcomes)  # type: ignore[arg-type]
            if any(image_pb2.ImageUploaded.FromString(r.record.value).listing_id == "again" for r in self.results):
                other_is_read.set()

    source = Seldom([[uploaded(b"a", "first")], [uploaded(b"other", "other"), uploaded(b"a", "again")]])
    limits, sink = replace(LIMITS, cpu_threads=1), Watched()
    asyncio.run(Worker(source, inline, [Reads()], sink, CANARY, limits).run())
    assert [said(result) for result in sink.results] == ["A a", "A a", "OTHER other"]


@pytest.mark.parametrize(("remembered_photos", "read"), [(100, 1), (0, 20)])
def test_the_text_on_a_photo_that_many_listings_have_at_once_is_read_once(remembered_photos: int, read: int) -> None:
    class Reads(Looks):
        def takes_long(self, found: bytes) -> bool:
            return True

    task, limits = Reads(), replace(LIMITS, cpu_threads=1, remembered_photos=remembered_photos)
    sink = run(all_in([uploaded(b"a", f"listing-{number}") for number in range(20)]), task, limits=limits)
    assert task.read[b"a"] == read
    assert [said(result) for result in sink.results] == ["A a"] * 20


def test_the_photo_unused_for_longest_is_forgotten_first() -> None:
    remembered = Remembered(2)
    looks = [Look(name, {"classification": name}, {}) for name in ("a", "b", "c")]
    remembered.keep(looks[0])
    remembered.keep(looks[1])
    assert remembered.recall("a") == looks[0]
    remembered.keep(looks[2])
    assert [remembered.recall(name) for name in ("a", "b", "c")] == [looks[0], None, looks[2]]


def test_what_is_remembered_is_bounded_in_bytes_too() -> None:
    remembered = Remembered(10)
    for number in range(30):
        large = Look(f"photo-{number:02}", {"classification": "x" * 3 * LOOK_BYTES}, {})
        remembered.keep(large)
        remembered.keep(large)  # counts once
        assert remembered.bytes == len(remembered) * size_of(large) <= 10 * LOOK_BYTES
    assert len(remembered) == 3


# --- revisions that are superseded ------------------------------------------------------------------------------------


def test_of_twenty_revisions_in_the_queue_only_the_last_is_looked_at() -> None:
    superseded = {"task": "classification", "result": "superseded"}
    tasks, before = (Looks(), LooksToo()), counted("vitrine_worker_outcomes_total", **superseded)
    limits = replace(LIMITS, remembered_photos=0)
    sink = run(all_in(*revisions_of("listing", range(1, 21))), *tasks, limits=limits)
    assert [task.inferred for task in tasks] == [Counter(PHOTOS)] * 2
    assert {revision for _, _, revision in published(sink)} == {20}
    assert len(published(sink)) == 2 * 12
    outcomes = Counter((outcome.record.offset, outcome.task) for outcome in sink.results)
    assert (len(outcomes), set(outcomes.values())) == (2 * 20 * 12, {1}), "one for each record and task"
    assert counted("vitrine_worker_outcomes_total", **superseded) - before == 19 * 12
    assert sink.rejected == []


def test_a_listing_supersedes_none_but_its_own_revisions() -> None:
    sink = run(all_in([uploaded(b"a", "one", 1), uploaded(b"b", "other", 2), uploaded(b"c", "one", 1)]), Shout())
    assert sorted(said(result) for result in sink.results) == ["A", "B", "C"]


def test_an_older_revision_that_comes_late_is_superseded_by_what_is_done() -> None:
    task = Looks()
    sink = run(Seldom([[uploaded(b"new", "one", 2)], [uploaded(b"old", "one", 1)]]), task)
    assert task.inferred == Counter([b"new"])
    assert [result.events == () for result in sink.results] == [False, True]


def test_what_can_not_be_fetched_supersedes_nothing() -> None:
    incomplete = image_pb2.ImageUploaded.FromString(uploaded(b"b", "one", 2))
    incomplete.photo.ClearField("object_key")
    uploads = [uploaded(b"a", "one", 1), incomplete.SerializeToString(), b"\xff\xff"]

    async def fetch(record: Record) -> Photo:
        if record.value != uploads[0]:
            raise Poison("incomplete", "as fetch_from says")
        return await inline(record)

    sink = run(all_in(uploads), Shout(), fetch=fetch)
    assert [said(result) for result in sink.results] == ["A"]
    assert len(sink.rejected) == 2


def test_superseded_records_do_not_hide_that_all_others_are_rejected() -> None:
    before = counted("vitrine_worker_self_tests_total", result="sound")
    uploads = [uploaded(b"new", "one", 2)]
    for number in range(10):
        uploads += [uploaded(b"truncated", f"bad-{number}"), uploaded(b"old", "one", 1)]
    run(Seldom([[upload] for upload in uploads]), Shout(), limits=replace(LIMITS, suspicious_rejections=5))
    assert counted("vitrine_worker_self_tests_total", result="sound") - before == 2


def test_the_listings_heard_of_last_are_known() -> None:
    revisions = Revisions(listings=2)
    for listing, revision in (("a", 5), ("b", 5), ("a", 3), ("c", 5)):
        revisions.note(image_pb2.ImageUploaded(listing_id=listing, revision=revision))
    superseded = [
        revisions.supersede(image_pb2.ImageUploaded(listing_id=listing, revision=4)) for listing in ("a", "b", "c")
    ]
    assert superseded == [True, False, True]


@pytest.mark.parametrize("revision", [2, 3])
def test_a_revision_as_new_as_the_newest_is_not_superseded(revision: int) -> None:
    revisions = Revisions()
    revisions.note(image_pb2.ImageUploaded(listing_id="a", revision=2))
    assert not revisions.supersede(image_pb2.ImageUploaded(listing_id="a", revision=revision))
