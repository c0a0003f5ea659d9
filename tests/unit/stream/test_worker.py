"""The worker's machinery on fakes. What also holds on a real broker is in tests/contract/stream/test_worker.py."""

import asyncio
import threading
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from types import SimpleNamespace

import pytest

from shared import metrics
from shared.errors import OutOfMemory, Poison, Transient
from shared.health import Health
from shared.photos import Photo
from shared.stream.batching import END, BatchLimit
from shared.stream.fetching import Fetch
from shared.stream.ledger import Ledger
from shared.stream.records import Assignment, Outcome, Record
from shared.stream.task import Finding
from shared.stream.worker import Limits, Worker, inferring
from shared.stream.worker.committing import Committing
from shared.stream.worker.inferring import Inferring
from shared.stream.worker.work import Work
from shared.stream.worker.worker import keeps_nothing
from shared.topics import CANARY as CANARY_TOPIC
from tests.fakes import CANARY, SOUND, MemorySink, MemorySource, Shout, Whisper, inline, said

QUICK = Limits(batch_photos=8, batch_seconds=60, retest_seconds=0.01)


def run(source: MemorySource, sink: MemorySink, *tasks: Shout, fetch: Fetch = inline, limits: Limits = QUICK) -> Worker:
    worker = Worker(source, fetch, tasks, sink, CANARY, limits)
    asyncio.run(worker.run())
    return worker


async def turns(count: int) -> None:
    """So many of the event loop's."""
    for _ in range(count):
        await asyncio.sleep(0)


async def stalled(source: MemorySource) -> int:
    """How far the source was read, once nothing more is read for many turns of the loop."""
    seen = -1
    while seen != source.delivered:
        seen = source.delivered
        await turns(2000)
    return seen


def test_a_slow_sink_slows_the_source() -> None:
    class Slow(MemorySink):
        def __init__(self) -> None:
            super().__init__()
            self.asked, self.go_on = asyncio.Event(), asyncio.Event()

        async def send(self, outcomes: Sequence[Outcome]) -> None:
            self.asked.set()
            await self.go_on.wait()
            await super().send(outcomes)

    source, sink = MemorySource([b"a"] * 1000, partitions=1), Slow()

    async def main() -> int:
        worker = Worker(source, inline, [Shout()], sink, CANARY, replace(QUICK, batch_photos=4))
        running = asyncio.create_task(worker.run())
        await sink.asked.wait()
        seen = await stalled(source)
        sink.go_on.set()
        await running
        return seen

    # Queued for infer, one batch being built, two being inferred, four waiting for the publisher and one with it.
    assert asyncio.run(main()) <= 4 * 2 + 4 * 8 + 4 + 1
    assert len(sink.results) == 1000


def test_the_event_loop_is_free_while_a_batch_is_inferred() -> None:
    class Asks(Shout):
        loop: asyncio.AbstractEventLoop

        def infer(self, photos: Sequence[Photo], inputs: Sequence[bytes]) -> list[bytes]:
            if photos:
                asyncio.run_coroutine_threadsafe(asyncio.sleep(0), self.loop).result(timeout=2)
            return super().infer(photos, inputs)

    source, sink, task = MemorySource([b"a"] * 8), MemorySink(), Asks()

    async def main() -> None:
        task.loop = asyncio.get_running_loop()
        await Worker(source, inline, [task], sink, CANARY, QUICK).run()

    asyncio.run(main())
    assert len(sink.results) == 8


def test_two_batches_are_on_the_device_at_once_and_no_more() -> None:
    counting, another = threading.Lock(), threading.Event()
    at_once: list[int] = []

    class Counts(Shout):
        def infer(self, photos: Sequence[Photo], inputs: Sequence[bytes]) -> list[bytes]:
            if not self.sizes:  # the warm-up
                return super().infer(photos, inputs)
            with counting:
                at_once.append(at_once[-1] + 1 if at_once else 1)
                if at_once[-1] == 2:
                    another.set()
            another.wait(5)
            with counting:
                at_once.append(at_once[-1] - 1)
            return super().infer(photos, inputs)

    source, sink = MemorySource([b"a"] * 40), MemorySink()
    run(source, sink, Counts(), limits=replace(QUICK, batch_photos=4))
    assert len(sink.results) == 40
    assert max(at_once) == 2


def test_the_device_is_starved_only_while_it_has_nothing_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(inferring, "time", SimpleNamespace(perf_counter=lambda: clock.now))
    begun, go_on = threading.Event(), threading.Event()

    class Holds(Shout):
        def infer(self, photos: Sequence[Photo], inputs: Sequence[bytes]) -> list[bytes]:
            begun.set()
            assert go_on.wait(5)
            return super().infer(photos, inputs)

    def starved_seconds() -> float:
        return metrics.WORKER.get_sample_value("vitrine_worker_device_starved_seconds_total") or 0.0

    async def main() -> None:
        stage = Inferring([Holds()], BatchLimit(4, 1.0))
        before = starved_seconds()
        with stage.waiting():
            clock.now = 1.0
        assert starved_seconds() - before == 1.0

        with stage.waiting():
            clock.now = 3.0
            work = Work(CANARY, 0, await inline(CANARY), inputs={Holds.name: b"a"})
            running = asyncio.create_task(stage.batch([work]))
            await asyncio.to_thread(begun.wait, 5)
        assert starved_seconds() - before == 1.0

        with stage.waiting():
            clock.now = 7.0
            go_on.set()
            await running
            clock.now = 7.5
        assert starved_seconds() - before == 1.5

    asyncio.run(main())


def test_a_batch_is_inferred_while_the_one_before_is_published() -> None:
    second = threading.Event()

    class Signals(Shout):
        def infer(self, photos: Sequence[Photo], inputs: Sequence[bytes]) -> list[bytes]:
            if len(self.sizes) > 1:  # the first is the warm-up
                second.set()
            return super().infer(photos, inputs)

    class Waits(MemorySink):
        async def send(self, outcomes: Sequence[object]) -> None:
            assert await asyncio.to_thread(second.wait, 2), "nothing was inferred meanwhile"
            await super().send(outcomes)  # type: ignore[arg-type]

    source, sink = MemorySource([b"a"] * 16), Waits()
    run(source, sink, Signals())
    assert len(sink.results) == 16


def test_a_photo_is_decoded_once_for_all_tasks() -> None:
    decoded: list[int | None] = []

    class Looks(Shout):
        def prepare(self, photo: Photo) -> bytes:
            photo.pixels(224)
            return photo.body

    class LooksToo(Whisper):
        def prepare(self, photo: Photo) -> bytes:
            photo.pixels(224)
            return photo.body

    async def fetch(record: Record) -> Photo:
        photo = await inline(record)
        return Photo(photo.body, photo.upload, lambda body, at_least: decoded.append(at_least) or body)  # type: ignore

    source, sink = MemorySource([b"a"] * 5), MemorySink()
    run(source, sink, Looks(), LooksToo(), fetch=fetch)
    assert decoded == [224] * 5
    assert len(sink.results) == 10


def test_a_photo_that_one_task_rejects_still_gets_the_others_results() -> None:
    class Picky(Whisper):
        def prepare(self, photo: Photo) -> bytes:
            if photo.body == b"small":
                raise Poison("too_small", "no text can be read from it")
            return photo.body

    source, sink = MemorySource([b"a", b"small", b"b"]), MemorySink()
    run(source, sink, Shout(), Picky())
    assert sorted(said(r) for r in sink.results) == ["A", "B", "SMALL", "a", "b"]
    assert [(r.task, r.stage, r.code) for r in sink.rejected] == [("embedding", "prepare", "too_small")]
    assert source.committed == source.end


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9])
def test_the_last_partial_batch_is_not_lost(count: int) -> None:
    source, sink = MemorySource([b"a"] * count), MemorySink()
    run(source, sink, Shout())
    assert len(sink.results) == count


def test_a_slow_fetch_holds_up_no_other_photo_but_their_commits() -> None:
    inferred_after_slow = threading.Event()

    class Signals(Shout):
        def infer(self, photos: Sequence[Photo], inputs: Sequence[bytes]) -> list[bytes]:
            if b"later" in inputs:
                inferred_after_slow.set()
            return super().infer(photos, inputs)

    async def fetch(record: Record) -> Photo:
        photo = await inline(record)
        if photo.body == b"slow":
            assert await asyncio.to_thread(inferred_after_slow.wait, 5), "the line stood still behind the slow photo"
        return photo

    source, sink = MemorySource([b"slow"] + [b"a"] * 7 + [b"later"] * 4, partitions=1), MemorySink()
    run(source, sink, Signals(), fetch=fetch, limits=replace(QUICK, straggler_seconds=0.01))
    assert sorted(said(r) for r in sink.results) == ["A"] * 7 + ["LATER"] * 4 + ["SLOW"]
    assert source.committed == source.end


def test_what_takes_long_holds_up_neither_the_photos_other_results_nor_the_photos_behind_it() -> None:
    read = threading.Event()

    class Reads(Whisper):
        def takes_long(self, found: bytes) -> bool:
            return found == b"long"

        def conclude(self, photo: Photo, found: bytes) -> list[Finding]:
            if self.takes_long(found):
                assert read.wait(10), "everything else stood behind the reading"
            return super().conclude(photo, found)

    class Watched(MemorySink):
        async def send(self, outcomes: Sequence[Outcome]) -> None:
            await super().send(outcomes)
            if len(self.results) == 2 * 24 - 1:
                assert source.committed == {}, "the first photo is not done"
                read.set()

    source, sink = MemorySource([b"long"] + [b"a"] * 23, partitions=1), Watched()
    run(source, sink, Shout(), Reads())
    assert said(sink.results[-1]) == "long"
    assert source.committed == source.end


def test_no_more_photos_than_have_a_place_wait_for_what_takes_long() -> None:
    reading, go_on = threading.Event(), threading.Event()

    class Reads(Shout):
        def takes_long(self, found: bytes) -> bool:
            return True

        def conclude(self, photo: Photo, found: bytes) -> list[Finding]:
            reading.set()
            go_on.wait(10)
            return super().conclude(photo, found)

    limits = replace(QUICK, batch_photos=2, cpu_threads=1, waiting_photos=5)
    source, sink = MemorySource([b"long"] * 60, partitions=1), MemorySink()

    async def main() -> int:
        running = asyncio.create_task(Worker(source, inline, [Reads()], sink, CANARY, limits).run())
        assert await asyncio.to_thread(reading.wait, 10)
        seen = await stalled(source)
        go_on.set()
        await running
        return seen

    # Waiting to be read, with the quick part done, being inferred, in a batch, prepared, and one that the source gave.
    assert asyncio.run(main()) <= 5 + 4 + 2 + 2 + 4 + 1
    assert len(sink.results) == 60
    assert source.committed == source.end


def test_offsets_are_committed_up_to_the_first_record_that_is_not_done() -> None:
    assignment, commits = Assignment("images", 0), []

    async def commit(offsets: Mapping[Assignment, int]) -> None:
        commits.append(dict(offsets))

    async def main() -> None:
        committing = Committing(keeps_nothing, commit, Health())
        records = [Record(assignment, offset, b"", b"") for offset in (3, 4, 6, 7)]  # 5 is a gap of the topic's
        for record in records:
            committing.begin(record)
        running = asyncio.create_task(committing.run())
        for done in (records[1], records[0], records[3], records[2]):
            await committing.published.put([done])
            await turns(2)
        await committing.published.put(END)
        await running

    asyncio.run(main())
    assert commits == [{assignment: 5}, {assignment: 8}]


def test_a_fetch_that_never_ends_becomes_a_dead_letter_after_two_tries() -> None:
    tries: list[bytes] = []

    async def fetch(record: Record) -> Photo:
        photo = await inline(record)
        if photo.body == b"stuck":
            tries.append(photo.body)
            await asyncio.Future()
        return photo

    source, sink = MemorySource([b"a", b"stuck", b"b"]), MemorySink()
    run(source, sink, Shout(), fetch=fetch, limits=replace(QUICK, straggler_seconds=0.01, fetch_seconds=0.02))
    assert [(r.stage, r.code) for r in sink.rejected] == [("fetch", "timeout")]
    assert len(tries) == 2
    assert sorted(said(r) for r in sink.results) == ["A", "B"]


@pytest.mark.parametrize("stage", ["fetch", "prepare", "conclude"])
def test_a_hanging_dependency_stops_the_worker_and_blames_no_photo(stage: str) -> None:
    over = threading.Event()

    class Hangs(Shout):
        def prepare(self, photo: Photo) -> bytes:
            if stage == "prepare":
                over.wait(20)
            return photo.body

        def conclude(self, photo: Photo, found: bytes) -> list[Finding]:
            if stage == "conclude":
                over.wait(20)
            return super().conclude(photo, found)

    async def fetch(record: Record) -> Photo:
        if stage == "fetch":
            await asyncio.Future()
        return await inline(record)

    source, sink = MemorySource([b"a"] * 3), MemorySink()
    limits = replace(QUICK, cpu_threads=1, **{f"{stage}_seconds": 0.02})  # type: ignore[arg-type]
    try:
        with pytest.raises(ExceptionGroup) as crash:
            run(source, sink, Hangs(), fetch=fetch, limits=limits)
    finally:
        over.set()
    assert crash.group_contains(Transient, match="known-good photo")
    assert sink.rejected == []
    assert source.committed == {}


def test_a_prepare_that_hangs_becomes_a_dead_letter_whatever_its_thread_says_later() -> None:
    given_up = threading.Event()

    class Hangs(Shout):
        def prepare(self, photo: Photo) -> bytes:
            if photo.body == b"bomb":
                given_up.wait(20)
            if photo.body == SOUND:
                given_up.set()
            return photo.body

    source, sink = MemorySource([b"a", b"bomb"]), MemorySink()
    run(source, sink, Hangs(), limits=replace(QUICK, straggler_seconds=0.01, prepare_seconds=0.1))
    assert [(r.stage, r.code) for r in sink.rejected] == [("prepare", "timeout")]
    assert [said(r) for r in sink.results] == ["A"]


def test_of_several_tasks_only_the_one_whose_conclude_hangs_rejects_the_photo() -> None:
    given_up = threading.Event()

    class Hangs(Shout):
        name = "hangs"

        def conclude(self, photo: Photo, found: bytes) -> list[Finding]:
            if photo.body == b"bomb":
                given_up.wait(20)
            if photo.body == SOUND:
                given_up.set()
            return super().conclude(photo, found)

    class Before(Shout):
        name = "before"

    class After(Shout):
        name = "after"

    source, sink = MemorySource([b"a", b"bomb"]), MemorySink()
    run(source, sink, Before(), Hangs(), After(), limits=replace(QUICK, conclude_seconds=0.1))
    assert [(r.task, r.stage, r.code) for r in sink.rejected] == [("hangs", "conclude", "timeout")]
    assert sorted(r.task for r in sink.results if said(r) == "BOMB") == ["after", "before"]


def test_nothing_is_committed_before_the_flush_which_holds_up_no_publishing_and_serves_all_that_came() -> None:
    class Counts(MemorySink):
        def __init__(self) -> None:
            super().__init__()
            self.all_sent = asyncio.Event()

        async def send(self, outcomes: Sequence[Outcome]) -> None:
            await super().send(outcomes)
            if len(self.results) == 64:
                self.all_sent.set()

    source, sink = MemorySource([b"a"] * 64), Counts()

    async def main() -> int:
        on_disk, flushes = asyncio.Event(), 0

        async def flushed() -> None:
            nonlocal flushes
            flushes += 1
            await on_disk.wait()

        worker = Worker(source, inline, [Shout()], sink, CANARY, QUICK, flushed=flushed)
        running = asyncio.create_task(worker.run())
        async with asyncio.timeout(10):
            await sink.all_sent.wait()
        assert source.committed == {}
        on_disk.set()
        await running
        return flushes

    assert asyncio.run(main()) == 2
    assert source.committed == source.end


def test_a_flush_that_fails_crashes_uncommitted() -> None:
    async def flushed() -> None:
        raise Transient("Redis did not write to disk")

    source, sink = MemorySource([b"a"] * 4), MemorySink()
    with pytest.raises(ExceptionGroup) as crash:
        asyncio.run(Worker(source, inline, [Shout()], sink, CANARY, QUICK, flushed=flushed).run())
    assert crash.group_contains(Transient)
    assert source.committed == {}


class Raises(Shout):
    """At one stage, for photos that begin so."""

    def __init__(self, stage: str, name: str, why: Exception, photos: bytes = b"odd") -> None:
        super().__init__()
        self.name = name
        self._stage, self._why, self._photos = stage, why, photos

    def look(self, stage: str, body: bytes) -> None:
        if stage == self._stage and body.startswith(self._photos):
            raise self._why

    async def fetch(self, record: Record) -> Photo:
        photo = await inline(record)
        self.look("fetch", photo.body)
        return photo

    def prepare(self, photo: Photo) -> bytes:
        self.look("prepare", photo.body)
        return super().prepare(photo)

    def conclude(self, photo: Photo, found: bytes) -> list[Finding]:
        self.look("conclude", photo.body)
        return super().conclude(photo, found)


@pytest.mark.parametrize("why", [KeyError("typo"), RecursionError("too deep"), MemoryError(), OSError("odd")])
@pytest.mark.parametrize("stage", ["fetch", "prepare", "conclude"])
def test_a_photo_for_which_something_unforeseen_is_raised_is_a_dead_letter_of_the_task_that_raised(
    stage: str, why: Exception
) -> None:
    source, sink = MemorySource([b"a", b"odd", b"b"]), MemorySink()
    odd = Raises(stage, "odd", why)
    run(source, sink, Shout(), odd, fetch=odd.fetch)
    tasks = ["classification", "odd"] if stage == "fetch" else ["odd"]
    said_of = f"{type(why).__name__}: {why}"
    assert [(r.task, r.stage, r.code, r.message) for r in sink.rejected] == [
        (task, stage, "unforeseen", said_of) for task in tasks
    ]
    assert len(sink.results) == 6 - len(tasks)
    assert source.committed == source.end


@pytest.mark.parametrize("stage", ["fetch", "prepare", "conclude"])
def test_a_bug_that_a_known_good_photo_meets_too_crashes_instead_of_losing_the_record(stage: str) -> None:
    source, sink = MemorySource([b"a"] * 4), MemorySink()
    buggy = Raises(stage, "buggy", KeyError("typo"), photos=b"")
    with pytest.raises(ExceptionGroup) as crash:
        run(source, sink, buggy, fetch=buggy.fetch)
    assert crash.group_contains(KeyError)
    assert source.committed == {}
    assert sink.outcomes == []


class OneKills(MemorySource):
    """Knows of one record that it killed the worker whenever that looked at it alone."""

    async def __aiter__(self) -> AsyncIterator[Record]:
        async for record in super().__aiter__():
            yield replace(record, killed=record.key == b"1")


def test_a_record_that_killed_the_worker_is_looked_at_no_more_and_is_a_dead_letter_of_every_task() -> None:
    looked: list[bytes] = []

    class Looks(Whisper):
        def prepare(self, photo: Photo) -> bytes:
            looked.append(photo.body)
            return super().prepare(photo)

    source, sink = OneKills([b"a", b"bomb", b"b"]), MemorySink()
    run(source, sink, Shout(), Looks())
    assert [(r.record.key, r.task, r.stage, r.code) for r in sink.rejected] == [
        (b"1", "classification", "fetch", "crash"),
        (b"1", "embedding", "fetch", "crash"),
    ]
    assert b"bomb" not in looked
    assert len(sink.results) == 4
    assert source.committed == source.end


def test_no_record_is_blamed_for_deaths_while_a_known_good_photo_does_not_get_through() -> None:
    source, sink = OneKills([b"a", b"bomb"]), MemorySink()
    with pytest.raises(ExceptionGroup) as crash:
        run(source, sink, Raises("prepare", "classification", Poison("unreadable", "broken"), photos=SOUND))
    assert crash.group_contains(Transient, match="killed the worker twice")
    assert sink.rejected == []
    assert source.committed.get(Assignment("images", 1)) is None


def test_slow_photos_are_progress_however_many_there_are() -> None:
    """Each time-out moves one on; a probe that waits for the first commit would kill a worker that is at work."""
    clock, over = SimpleNamespace(now=0.0), threading.Event()
    health = Health(stalled_after=120.0, clock=lambda: clock.now)
    dead: list[str] = []

    class Slow(Shout):
        def prepare(self, photo: Photo) -> bytes:
            if photo.body == b"bomb":
                clock.now += 10.0
                if (why := health.why_not_live) is not None:
                    dead.append(why)
                over.wait(20)
            return photo.body

    source, sink = MemorySource([b"bomb"] * 24 + [b"a"] * 8, partitions=2), MemorySink()
    limits = replace(QUICK, cpu_threads=1, straggler_seconds=0.001, prepare_seconds=0.02)
    try:
        asyncio.run(Worker(source, inline, [Slow()], sink, CANARY, limits, health).run())
    finally:
        over.set()
    assert dead == []
    assert (len(sink.rejected), len(sink.results)) == (24, 8)
    assert source.committed == source.end


def test_sound_photos_are_done_while_slow_ones_get_their_second_try() -> None:
    over, second_try, all_sound = threading.Event(), threading.Event(), asyncio.Event()

    class Slow(Shout):
        looks = 0

        def prepare(self, photo: Photo) -> bytes:
            if photo.body == b"bomb":
                self.looks += 1
                if self.looks == 2:
                    second_try.set()
                over.wait(20)
            return photo.body

    class BombFirst(MemorySource):
        async def __aiter__(self) -> AsyncIterator[Record]:
            async for record in super().__aiter__():
                if record.key != b"0":
                    assert await asyncio.to_thread(second_try.wait, 10)
                yield record

    class Counts(MemorySink):
        async def send(self, outcomes: Sequence[Outcome]) -> None:
            await super().send(outcomes)
            if len(self.results) == 8:
                all_sound.set()

    source, sink = BombFirst([b"bomb"] + [b"a"] * 8), Counts()
    # The second try lasts for as long as the test does.
    limits = replace(QUICK, cpu_threads=1, straggler_seconds=0.001, prepare_seconds=1000.0, first_prepare_share=2e-5)

    async def main() -> None:
        running = asyncio.create_task(Worker(source, inline, [Slow()], sink, CANARY, limits).run())
        async with asyncio.timeout(15):
            await all_sound.wait()
        assert sink.rejected == []
        running.cancel()

    try:
        asyncio.run(main())
    finally:
        over.set()


def test_a_broken_device_blames_no_record() -> None:
    class Dies(Shout):
        def infer(self, photos: Sequence[Photo], inputs: Sequence[bytes]) -> list[bytes]:
            self.sizes.append(len(inputs))
            if len(self.sizes) > 1:  # the first warm-up still went well
                raise RuntimeError("device-side assert")
            return list(inputs)

    source, sink = MemorySource([b"a"] * 8), MemorySink()
    with pytest.raises(ExceptionGroup):
        run(source, sink, Dies())
    assert sink.outcomes == []
    assert source.committed == {}


def test_out_of_memory_shrinks_the_batches_and_blames_nobody() -> None:
    class Small(Shout):
        def infer(self, photos: Sequence[Photo], inputs: Sequence[bytes]) -> list[bytes]:
            if len(inputs) > 3:
                raise OutOfMemory
            return super().infer(photos, inputs)

    source, sink, task = MemorySource([b"a"] * 40), MemorySink(), Small()
    run(source, sink, task)
    assert len(sink.results) == 40
    assert sink.rejected == []
    assert max(task.sizes) <= 3


def test_a_dependency_that_is_away_stops_the_worker_and_blames_nobody() -> None:
    class NeedsRedis(Shout):
        def conclude(self, photo: Photo, found: bytes) -> list[Finding]:
            raise Transient("Redis is away")

    source, sink = MemorySource([b"a"] * 4), MemorySink()
    with pytest.raises(ExceptionGroup) as crash:
        run(source, sink, NeedsRedis())
    assert crash.group_contains(Transient)
    assert sink.outcomes == []
    assert source.committed == {}


def test_many_bad_photos_in_a_row_pass_when_the_self_test_is_sound() -> None:
    source, sink = MemorySource([b"truncated"] * 30 + [b"good"]), MemorySink()
    worker = run(source, sink, Shout(), limits=replace(QUICK, suspicious_rejections=5))
    assert len(sink.rejected) == 30
    assert [said(r) for r in sink.results] == ["GOOD"]
    assert source.holds == 0
    assert source.committed == source.end
    canaries = [o for o in sink.outcomes if o.record is worker.canary]
    # One for five of them; the good photo's result may overtake the last ones', and then a count begins anew.
    assert len(canaries) in (5, 6)
    assert {e.topic for o in canaries for e in o.events} == {CANARY_TOPIC}  # type: ignore[union-attr]


class Breaks(Shout):
    """Its decoder rejects everything, the canary too, until it is mended."""

    def __init__(self, mended_after: int) -> None:
        super().__init__()
        self.looks = self.tests = 0
        self.mended_after = mended_after
        self._tested = threading.Condition()

    async def tested(self, times: int) -> None:
        """Returns when the known-good photo has been looked at so many times more."""
        wanted = self.tests + times
        assert await asyncio.to_thread(self._wait, wanted), "no self-test any more"

    def _wait(self, wanted: int) -> bool:
        with self._tested:
            return self._tested.wait_for(lambda: self.tests >= wanted, 20)

    def prepare(self, photo: Photo) -> bytes:
        self.looks += 1
        if photo.body == SOUND:
            with self._tested:
                self.tests += 1
                self._tested.notify_all()
        if 4 < self.looks <= self.mended_after:
            raise Poison("unreadable", "the decoder is broken")
        return super().prepare(photo)


def test_a_broken_decoder_cannot_pour_the_topic_into_the_dead_letters() -> None:
    source, sink = MemorySource([b"a"] * 200, partitions=1), MemorySink()
    run(source, sink, Breaks(mended_after=120), limits=replace(QUICK, suspicious_rejections=5))
    # At most the few before the question was asked; whatever was rejected meanwhile was looked at anew.
    assert len(sink.rejected) < 5
    assert len(sink.results) + len(sink.rejected) == 200
    assert source.holds >= 1
    assert source.committed == source.end


def test_a_worker_that_fails_its_self_test_is_not_ready_and_rejects_nothing() -> None:
    source, sink, health = MemorySource([b"a"] * 200, partitions=1), MemorySink(), Health()

    async def main() -> tuple[str | None, int]:
        limits = replace(QUICK, suspicious_rejections=5)
        task = Breaks(mended_after=10**9)
        running = asyncio.create_task(Worker(source, inline, [task], sink, CANARY, limits, health).run())
        await source.held.wait()
        await task.tested(10)
        why, delivered = health.why_not_ready, source.delivered
        running.cancel()
        return why, delivered

    why, delivered = asyncio.run(main())
    assert why is not None and "self_test" in why
    assert len(sink.rejected) < 5
    assert delivered < 200


def test_a_worker_that_fails_its_self_test_is_alive_and_stops_when_told_to() -> None:
    source, sink = MemorySource([b"a"] * 200, partitions=1), MemorySink()
    now = 0.0
    health = Health(stalled_after=10, clock=lambda: now)

    async def main() -> None:
        nonlocal now
        limits = replace(QUICK, suspicious_rejections=5)
        task = Breaks(mended_after=10**9)
        worker = Worker(source, inline, [task], sink, CANARY, limits, health)
        running = asyncio.create_task(worker.run())
        await source.held.wait()
        now = 60.0
        await task.tested(2)  # the first may have begun before
        assert health.why_not_live is None
        worker.stop()
        async with asyncio.timeout(5):
            await running

    with pytest.raises(ExceptionGroup) as stop:
        asyncio.run(main())
    assert stop.group_contains(Transient, match="stopped while the self-test fails")
    assert len(sink.rejected) < 5


def test_a_thread_that_never_comes_back_holds_up_nobody() -> None:
    forever = threading.Event()

    class Hangs(Shout):
        def prepare(self, photo: Photo) -> bytes:
            if photo.body == b"bomb":
                forever.wait(20)
            return photo.body

    source, sink = MemorySource([b"a", b"bomb", b"b", b"c"]), MemorySink()
    try:
        run(source, sink, Hangs(), limits=replace(QUICK, cpu_threads=1, straggler_seconds=0.01, prepare_seconds=0.1))
    finally:
        forever.set()
    assert [(r.stage, r.code) for r in sink.rejected] == [("prepare", "timeout")]
    assert sorted(said(r) for r in sink.results) == ["A", "B", "C"]


def test_batches_shrink_to_the_time_that_a_query_may_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = 0.0

    class Slow(Shout):
        def infer(self, photos: Sequence[Photo], inputs: Sequence[bytes]) -> list[bytes]:
            nonlocal clock
            clock += 0.01 * len(inputs)
            return super().infer(photos, inputs)

    monkeypatch.setattr(inferring, "time", SimpleNamespace(perf_counter=lambda: clock))
    source, sink, task = MemorySource([b"a"] * 100), MemorySink(), Slow()
    run(source, sink, task, limits=replace(QUICK, batch_seconds=0.03))
    assert len(sink.results) == 100
    assert max(task.sizes[3:]) <= 3


def test_a_rebalance_waits_for_work_in_flight() -> None:
    first = Assignment("images", 0, epoch=1)

    async def main() -> None:
        ledger = Ledger()
        for offset in range(3):
            ledger.hand_out(Record(first, offset, b"", b""))
        waiting = asyncio.create_task(ledger.give_back([first], timeout=20))
        await turns(10)
        assert not waiting.done()
        await ledger.committed({first: 2})
        await turns(10)
        assert not waiting.done()
        await ledger.committed({first: 3})
        assert await waiting

    asyncio.run(main())


def test_a_late_commit_is_dropped_even_when_the_partition_has_come_back() -> None:
    first, again = Assignment("images", 0, epoch=1), Assignment("images", 0, epoch=2)

    async def main() -> None:
        ledger = Ledger()
        ledger.hand_out(Record(first, 7, b"", b""))
        assert not await ledger.give_back([first], timeout=0.01)
        ledger.hand_out(Record(again, 7, b"", b""))
        assert ledger.ours({first: 8}) == {}
        assert ledger.ours({again: 8}) == {again: 8}

    asyncio.run(main())
