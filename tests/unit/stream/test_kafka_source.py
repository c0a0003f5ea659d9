"""What the source tells librdkafka, without a broker. The rest is in tests/contract/stream/test_worker.py."""

import asyncio
import queue
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from confluent_kafka import OFFSET_INVALID, KafkaError, KafkaException, TopicPartition

from shared import metrics
from shared.durability import Stamp, stamp_in
from shared.errors import Transient, Unusable
from shared.stream.commits import Stamping, unstamped
from shared.stream.records import Record
from shared.stream.source import KafkaSource
from shared.topics import IMAGE_UPLOADED


@dataclass(frozen=True)
class Delivered:
    """As librdkafka hands over a message."""

    at: int
    of: int = 0

    def error(self) -> None: ...
    def topic(self) -> str:
        return IMAGE_UPLOADED.name

    def partition(self) -> int:
        return self.of

    def offset(self) -> int:
        return self.at

    def key(self) -> bytes:
        return b"listing"

    def value(self) -> bytes:
        return b""

    def headers(self) -> list[tuple[str, bytes]]:
        return []


Act = Callable[[], Iterable[Delivered]]


class ScriptedConsumer:
    """Does what a test tells it when it is polled, and remembers what it was told itself."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.settings = settings
        self.paused: set[int] = set()
        self.commits: list[int] = []
        self.at: dict[int, tuple[int, str]] = {}  # committed offset and metadata, by partition
        self.rebalances = 0
        self.refuses = False
        self.closed = False
        self._acts: queue.Queue[tuple[Act, Future[None]]] = queue.Queue()
        self._done: Future[None] | None = None

    async def does(self, act: Act = lambda: []) -> None:
        """Returns once the source has dealt with it, and polls again."""
        done: Future[None] = Future()
        self._acts.put((act, done))
        await asyncio.wrap_future(done)

    def act(self, act: Act) -> None:
        """The same for what ends the source."""
        self._acts.put((act, Future()))

    def given(self, *partitions: int) -> Sequence[Delivered]:
        self._assigned(self, [TopicPartition(IMAGE_UPLOADED.name, number) for number in partitions])
        return []

    def taken(self, *partitions: int) -> Sequence[Delivered]:
        self._revoked(self, [TopicPartition(IMAGE_UPLOADED.name, number) for number in partitions])
        return []

    def lost(self, *partitions: int) -> Sequence[Delivered]:
        self._was_lost(self, [TopicPartition(IMAGE_UPLOADED.name, number) for number in partitions])
        return []

    # --- as librdkafka does it ---------------------------------------------------------------------------------------

    def subscribe(self, _topics: list[str], *, on_assign: Any, on_revoke: Any, on_lost: Any) -> None:
        self._assigned, self._revoked = on_assign, on_revoke
        self._was_lost = on_lost

    def poll(self, timeout: float) -> Delivered | None:
        if self._done is not None:
            self._done.set_result(None)
            self._done = None
        try:
            act, self._done = self._acts.get(timeout=0.01)
        except queue.Empty:
            return None
        self._left = iter(act())
        return next(self._left, None)

    def consume(self, num_messages: int, timeout: float) -> Sequence[Delivered]:
        assert timeout == 0, "keeps what is there waiting for more"
        return list(self._left)

    def commit(self, offsets: list[TopicPartition], asynchronous: bool) -> None:
        if self.refuses:
            raise KafkaException(KafkaError(KafkaError.OFFSET_METADATA_TOO_LARGE))
        if self.rebalances:
            self.rebalances -= 1
            raise KafkaException(KafkaError(KafkaError.ILLEGAL_GENERATION))
        for place in offsets:
            if self.at.get(place.partition, (0, ""))[0] != place.offset:
                self.commits.append(place.offset)
            self.at[place.partition] = (place.offset, place.metadata or "")

    def committed(self, partitions: list[TopicPartition], timeout: float) -> list[TopicPartition]:
        return [
            TopicPartition(p.topic, p.partition, *self.at.get(p.partition, (OFFSET_INVALID, ""))) for p in partitions
        ]

    def pause(self, partitions: list[TopicPartition]) -> None:
        self.paused |= {p.partition for p in partitions}

    def resume(self, partitions: list[TopicPartition]) -> None:
        self.paused -= {p.partition for p in partitions}

    def close(self) -> None:
        self.closed = True


@asynccontextmanager
async def reading(
    at_most: int = 10, found: str | None = None, stamp: Stamping = unstamped
) -> AsyncIterator[tuple[KafkaSource, ScriptedConsumer, Callable[[], Any]]]:
    """A source that is being read from, its consumer with partition 0, and how to await the next record.

    `found` is what the group's committed offset, 4, says besides.
    """
    opened: list[ScriptedConsumer] = []

    def open_consumer(settings: dict[str, Any]) -> Any:
        opened.append(ScriptedConsumer(settings))
        if found is not None:
            opened[0].at[0] = (4, found)
        return opened[0]

    source = KafkaSource(
        "127.0.0.1:1",
        "group",
        [IMAGE_UPLOADED],
        max_queued=at_most,
        most_in_flight=2,
        revoke_seconds=0.01,
        stamp=stamp,
        open_consumer=open_consumer,
    )
    records, consumer = aiter(source), opened[0]

    async def read() -> Record:
        return await anext(records)

    first: asyncio.Task[Record] | None = asyncio.create_task(read())

    async def next_record() -> Record:
        nonlocal first
        waiting, first = first, None
        return await (waiting or read())

    await consumer.does(lambda: consumer.given(0))
    yield source, consumer, next_record
    await source.close()
    assert consumer.closed
    if first is not None:
        with pytest.raises(StopAsyncIteration):
            await first


async def test_what_comes_in_is_told_of_before_it_is_handed_out() -> None:
    async with reading() as (source, consumer, next_record):
        told: list[int] = []
        source.on_receipt(lambda record: told.append(record.offset))
        await consumer.does(lambda: [Delivered(0), Delivered(1), Delivered(2)])
        assert (await next_record()).offset == 0
        assert told == [0, 1, 2]


async def test_partitions_paused_before_a_rebalance_are_resumed_after_it() -> None:
    async with reading() as (source, consumer, _):
        source.hold()
        await consumer.does()
        assert consumer.paused == {0}

        def given_another_as_the_worker_goes_on() -> Sequence[Delivered]:
            source.release()
            return consumer.given(1)

        await consumer.does(given_another_as_the_worker_goes_on)
        assert consumer.paused == set()


async def test_a_full_queue_pauses_and_is_filled_again_when_half_is_taken() -> None:
    async with reading(at_most=10) as (_, consumer, next_record):
        await consumer.does(lambda: [Delivered(at) for at in range(11)])
        assert consumer.paused == {0}
        for at in range(7):
            assert (await next_record()).offset == at
        await consumer.does()
        assert consumer.paused == set()


async def test_partitions_that_come_while_the_queue_is_full_are_paused_too() -> None:
    async with reading(at_most=10) as (_, consumer, next_record):
        await consumer.does(lambda: [Delivered(at) for at in range(11)])
        await consumer.does(lambda: consumer.given(1))
        assert consumer.paused == {0, 1}
        await next_record()


async def test_a_record_polled_before_its_partition_went_and_came_back_is_left_to_the_new_assignment() -> None:
    async with reading() as (_, consumer, next_record):

        def taken_and_given_back() -> Iterator[Delivered]:
            yield Delivered(4)
            consumer.given(0)
            yield Delivered(4)

        await consumer.does(taken_and_given_back)
        await consumer.does(lambda: [Delivered(5)])
        assert [(await next_record()).offset for _ in range(2)] == [4, 5]


async def test_a_source_stopped_before_it_began_ends_at_once() -> None:
    source = KafkaSource("127.0.0.1:1", "group", [IMAGE_UPLOADED])
    source.stop()  # SIGTERM during the warm-up
    async with asyncio.timeout(5):
        assert [record async for record in source] == []
        await source.close()


async def test_a_commit_refused_amid_a_rebalance_is_made_after_it() -> None:
    """A cooperative rebalance leaves us partitions, with a new generation: what is still ours must not be dropped."""
    async with reading() as (source, consumer, next_record):
        await consumer.does(lambda: [Delivered(4)])
        record = await next_record()
        consumer.rebalances = 1
        await source.commit({record.assignment: 5})
        await consumer.does()
        await consumer.does()
        assert (consumer.rebalances, consumer.commits[-1:]) == (0, [5])
        await consumer.does()
        assert consumer.commits == [4, 5], "once is enough"


async def test_the_group_is_there_while_its_coordinator_is_reached() -> None:
    async with reading() as (source, consumer, _):
        heard = consumer.settings["stats_cb"]
        with pytest.raises(Transient, match="not yet connected"):
            await source.check()
        heard('{"cgrp": {"state": "up"}}')
        await source.check()
        heard('{"cgrp": {"state": "wait-coord"}}')
        with pytest.raises(Transient, match="wait-coord"):
            await source.check()


async def test_it_is_noted_where_we_begin_before_anybody_looks_at_the_record() -> None:
    async with reading(found='{"epoch":"7"}') as (_, consumer, next_record):
        await consumer.does(lambda: [Delivered(4), Delivered(5)])
        assert (await next_record()).offset == 4
        assert consumer.at[0] == (4, '{"epoch":"7","begun":1}')


async def test_amid_a_rebalance_no_record_is_handed_out_before_it_is_noted_where_we_begin() -> None:
    async with reading() as (_, consumer, next_record):
        consumer.rebalances = 1
        await consumer.does(lambda: [Delivered(4)])
        await consumer.does(lambda: [Delivered(5)])
        assert [(await next_record()).offset for _ in range(2)] == [4, 5]
        assert consumer.at[0] == (4, '{"begun":1}')


async def test_whoever_gets_past_a_record_leaves_no_count_and_keeps_what_others_wrote() -> None:
    async with reading(found='{"epoch":"7","begun":1}') as (source, consumer, next_record):
        await consumer.does(lambda: [Delivered(4)])
        record = await next_record()
        await source.commit({record.assignment: 5})
        await consumer.does()
        await consumer.does()
        assert consumer.at[0] == (5, '{"epoch":"7"}')


async def test_whoever_ends_as_it_should_takes_its_count_back() -> None:
    async with reading(found='{"begun":1}') as (_, consumer, next_record):
        await consumer.does(lambda: [Delivered(4)])
        await next_record()
        assert consumer.at[0] == (4, '{"begun":2}')
    assert consumer.at[0] == (4, '{"begun":1}')


async def test_a_partition_that_is_taken_from_us_is_given_back_without_our_count() -> None:
    async with reading() as (_, consumer, next_record):
        await consumer.does(lambda: [Delivered(4)])
        await next_record()
        await consumer.does(lambda: consumer.taken(0))
        assert consumer.at[0] == (4, "")


async def test_where_the_process_died_twice_records_are_handed_out_one_by_one_and_each_is_noted() -> None:
    async with reading(found='{"begun":2}') as (source, consumer, next_record):
        await consumer.does(lambda: [Delivered(4), Delivered(5)])
        first = await next_record()
        assert consumer.at[0] == (4, '{"begun":3,"alone":1}')
        second = asyncio.create_task(next_record())
        await consumer.does()
        await consumer.does()
        assert not second.done()
        await source.commit({first.assignment: 5})
        assert (await second).offset == 5
        assert consumer.at[0] == (5, '{"begun":1,"alone":1}')


async def test_a_record_that_is_to_be_alone_waits_for_those_of_other_partitions_and_they_for_it() -> None:
    async with reading(found='{"begun":2}') as (source, consumer, next_record):
        await consumer.does(lambda: consumer.given(1))
        await consumer.does(lambda: [Delivered(0, of=1), Delivered(4), Delivered(1, of=1)])
        before = await next_record()
        alone = asyncio.create_task(next_record())
        await consumer.does()
        await consumer.does()
        assert not alone.done()
        await source.commit({before.assignment: 1})
        assert (await alone).offset == 4
        after = asyncio.create_task(next_record())
        await consumer.does()
        await consumer.does()
        assert not after.done()
        await source.commit({(await alone).assignment: 5})
        assert (await after).assignment.partition == 1


async def test_bystanders_come_together_again_when_a_culprit_is_found_later() -> None:
    async with reading(found='{"begun":3}') as (source, consumer, next_record):
        consumer.at[1] = (4, '{"begun":3,"alone":2}')
        await consumer.does(lambda: [Delivered(4), Delivered(5), Delivered(6)])
        first = await next_record()
        await consumer.does(lambda: consumer.given(1))
        await consumer.does(lambda: [Delivered(4, of=1)])
        await source.commit({first.assignment: 5})
        assert [(await next_record()).killed for _ in range(3)] == [False, False, True]


async def test_when_as_many_as_may_have_been_in_flight_survive_records_come_together_again() -> None:
    async with reading(found='{"begun":2}') as (source, consumer, next_record):
        await consumer.does(lambda: [Delivered(at) for at in range(4, 8)])
        for offset in (5, 6):
            await source.commit({(await next_record()).assignment: offset})
        assert [(await next_record()).offset for _ in range(2)] == [6, 7]
        await consumer.does()
        assert consumer.at[0] == (6, "")


@pytest.mark.parametrize(("alone", "killed"), [(1, False), (2, True)])
async def test_only_what_was_alone_at_two_deaths_is_known_to_kill(alone: int, killed: bool) -> None:
    async with reading(found=f'{{"begun":3,"alone":{alone}}}') as (source, consumer, next_record):
        await consumer.does(lambda: [Delivered(4), Delivered(5)])
        record = await next_record()
        assert (record.offset, record.killed) == (4, killed)
        await source.commit({record.assignment: 5})
        assert not (await next_record()).killed


async def test_of_a_record_that_retention_took_nothing_is_said_of_the_next_one() -> None:
    async with reading(found='{"begun":3,"alone":2}') as (_, consumer, next_record):
        await consumer.does(lambda: [Delivered(9)])
        assert not (await next_record()).killed
        assert consumer.at[0] == (9, '{"begun":1}')


async def test_a_record_whose_wait_to_be_alone_is_cancelled_is_blamed_for_nothing_and_the_group_is_left() -> None:
    async with reading(found='{"begun":2}') as (_, consumer, next_record):
        await consumer.does(lambda: [Delivered(4), Delivered(5)])
        await next_record()
        waiting = asyncio.create_task(next_record())  # for the first one's commit
        await asyncio.sleep(0)
        waiting.cancel()
    assert consumer.closed
    assert consumer.at[0] == (4, '{"begun":2}')


async def test_who_loses_a_partition_and_lives_takes_its_own_count_for_no_death() -> None:
    async with reading(found="") as (_, consumer, next_record):
        await consumer.does(lambda: [Delivered(4)])
        await next_record()
        for _ in range(3):
            assert consumer.at[0] == (4, '{"begun":1}')
            await consumer.does(lambda: consumer.lost(0))
            await consumer.does(lambda: consumer.given(0))
            await consumer.does(lambda: [Delivered(4)])
            await next_record()


async def test_a_stamp_of_the_last_flush_goes_with_each_record_that_is_tried_alone() -> None:
    stamps = [Stamp("epoch", 900)]
    async with reading(found='{"begun":2,"epoch":"epoch","flushes":10}', stamp=lambda: stamps[-1]) as (
        source,
        consumer,
        next_record,
    ):
        await consumer.does(lambda: [Delivered(4), Delivered(5)])
        first = await next_record()
        await source.commit({first.assignment: 5})
        await next_record()
        offset, metadata = consumer.at[0]
        assert (offset, stamp_in(metadata)) == (5, stamps[-1])


async def test_where_a_culprit_is_known_the_other_partitions_were_bystanders() -> None:
    async with reading(found='{"begun":3,"alone":2}') as (_, consumer, next_record):
        consumer.at[1] = (4, '{"begun":3}')
        await consumer.does(lambda: consumer.given(1))
        await consumer.does(lambda: [Delivered(4), Delivered(4, of=1), Delivered(5, of=1)])
        assert [(await next_record()).killed for _ in range(3)] == [True, False, False]


async def test_what_waits_for_the_one_in_flight_ends_when_the_broker_takes_no_more_commits() -> None:
    async with reading(found='{"begun":2}') as (source, consumer, next_record):
        await consumer.does(lambda: [Delivered(4), Delivered(5)])
        first = await next_record()
        second = asyncio.create_task(next_record())
        consumer.refuses = True
        await source.commit({first.assignment: 5})
        with pytest.raises(Transient, match="did not take a commit"):
            await second


@dataclass(frozen=True)
class Failure(Delivered):
    """As librdkafka hands over an error."""

    code: int = 0

    def error(self) -> KafkaError:  # type: ignore[override]
        return KafkaError(self.code)


@pytest.mark.parametrize(
    ("code", "missing"),
    [
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, f"grant READ and DESCRIBE on topic {IMAGE_UPLOADED.name}"),
        (KafkaError.GROUP_AUTHORIZATION_FAILED, "grant READ on group group"),
        (KafkaError.SASL_AUTHENTICATION_FAILED, "check its name, its password"),
    ],
)
async def test_a_consumer_that_is_refused_ends_with_the_missing_right(code: int, missing: str) -> None:
    async with reading() as (_, consumer, next_record):
        waiting = asyncio.create_task(next_record())
        consumer.act(lambda: [Failure(0, code=code)])
        with pytest.raises(Unusable, match=missing):
            await waiting


async def test_a_consumer_whose_password_is_refused_ends_though_its_client_tries_for_ever() -> None:
    async with reading() as (_, consumer, next_record):
        waiting = asyncio.create_task(next_record())
        consumer.settings["error_cb"](KafkaError(KafkaError._TRANSPORT))
        consumer.settings["error_cb"](KafkaError(KafkaError._AUTHENTICATION))
        with pytest.raises(Unusable, match="may not log in"):
            await waiting


async def test_a_client_that_has_given_up_ends_the_process_whether_its_error_is_marked_or_not() -> None:
    async with reading() as (_, consumer, next_record):
        waiting = asyncio.create_task(next_record())
        consumer.act(lambda: [Failure(0, code=KafkaError._FATAL)])
        with pytest.raises(Transient, match="a new one may"):
            await waiting


async def test_trouble_that_passes_is_borne() -> None:
    async with reading() as (_, consumer, next_record):
        await consumer.does(lambda: [Failure(0, code=KafkaError._TRANSPORT)])
        await consumer.does(lambda: [Delivered(4)])
        assert (await next_record()).offset == 4


def skipped() -> float:
    labels = {"topic": IMAGE_UPLOADED.name, "partition": "0"}
    return metrics.WORKER.get_sample_value("vitrine_worker_skipped_records_total", labels) or 0.0


@pytest.mark.parametrize(("first", "lost"), [(4, 0), (9, 5), (2, 0)])
async def test_records_that_retention_took_before_they_were_read_are_counted(first: int, lost: int) -> None:
    before = skipped()
    async with reading(found="") as (_, consumer, next_record):
        await consumer.does(lambda: [Delivered(first), Delivered(first + 1)])
        await next_record()
    assert skipped() - before == lost


async def test_a_group_that_is_new_has_skipped_nothing() -> None:
    before = skipped()
    async with reading() as (_, consumer, next_record):
        await consumer.does(lambda: [Delivered(7)])
        await next_record()
    assert skipped() == before
