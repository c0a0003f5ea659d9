"""What the source tells librdkafka, without a broker. The rest is in tests/contract/stream/test_worker.py."""

import asyncio
import queue
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from shared.errors import Transient
from shared.stream.records import Record
from shared.stream.source import KafkaSource
from shared.topics import IMAGE_UPLOADED


@dataclass(frozen=True)
class Delivered:
    """As librdkafka hands over a message of partition 0."""

    at: int

    def error(self) -> None: ...
    def topic(self) -> str:
        return IMAGE_UPLOADED.name

    def partition(self) -> int:
        return 0

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
        self.committed: list[int] = []
        self.rebalances = 0
        self.closed = False
        self._acts: queue.Queue[tuple[Act, Future[None]]] = queue.Queue()
        self._done: Future[None] | None = None

    async def does(self, act: Act = lambda: []) -> None:
        """Returns once the source has dealt with it, and polls again."""
        done: Future[None] = Future()
        self._acts.put((act, done))
        await asyncio.wrap_future(done)

    def given(self, *partitions: int) -> Sequence[Delivered]:
        self._assigned(self, [TopicPartition(IMAGE_UPLOADED.name, number) for number in partitions])
        return []

    # --- as librdkafka does it ---------------------------------------------------------------------------------------

    def subscribe(self, _topics: list[str], *, on_assign: Any, on_revoke: Any, on_lost: Any) -> None:
        self._assigned = on_assign

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
        if self.rebalances:
            self.rebalances -= 1
            raise KafkaException(KafkaError(KafkaError.ILLEGAL_GENERATION))
        self.committed += [p.offset for p in offsets]

    def pause(self, partitions: list[TopicPartition]) -> None:
        self.paused |= {p.partition for p in partitions}

    def resume(self, partitions: list[TopicPartition]) -> None:
        self.paused -= {p.partition for p in partitions}

    def close(self) -> None:
        self.closed = True


@asynccontextmanager
async def reading(at_most: int = 10) -> AsyncIterator[tuple[KafkaSource, ScriptedConsumer, Callable[[], Any]]]:
    """A source that is being read from, its consumer with partition 0, and how to await the next record."""
    opened: list[ScriptedConsumer] = []

    def open_consumer(settings: dict[str, Any]) -> Any:
        opened.append(ScriptedConsumer(settings))
        return opened[0]

    source = KafkaSource("127.0.0.1:1", "group", [IMAGE_UPLOADED], max_queued=at_most, open_consumer=open_consumer)
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
        assert (consumer.rebalances, consumer.committed) == (0, [5])
        await consumer.does()
        assert consumer.committed == [5], "once is enough"


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
