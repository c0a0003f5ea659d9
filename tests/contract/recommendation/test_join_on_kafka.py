"""The join as a process of its own, between a real Kafka and a real Redis."""

import asyncio
import os
import random
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
from confluent_kafka import Consumer, TopicPartition
from google.protobuf.message import Message

from local.servers import RedisServer
from services.recommendation.fields import Enriched
from services.recommendation.index import RedisVectorIndex
from services.recommendation.rank import Filter
from services.recommendation.store import RedisRecords
from shared.events import Event, parse
from shared.redis import connect
from shared.stream.admin import create_topics, reader
from shared.stream.offsets import committed_stamps
from shared.stream.producer import Producer
from shared.stream.reading import read_all
from shared.topics import DEAD_LETTERS, IMAGE_SCORED, LISTING_CHANGED, LISTING_ENRICHED, TOPICS, Topic, group_of
from tests.joining import BLOCK, SPACE, assessed, changed, delivered, removed, results, scored, unit

PROJECT = Path(__file__).parents[3]
BY_NAME = {topic.name: topic for topic in TOPICS}


class Process:
    """`python -m services.recommendation join`, started and ended as often as a test likes."""

    def __init__(self, kafka: str, redis_url: str, log: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.metrics_port = free.getsockname()[1]
        self._log = log
        self._env = {
            **os.environ,
            "PYTHONPATH": f"{PROJECT}:{PROJECT / 'shared/pb'}",
            "VITRINE_KAFKA": kafka,
            "VITRINE_REDIS": redis_url,
            "VITRINE_METRICS_PORT": str(self.metrics_port),
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, **env: str) -> None:
        argv = [sys.executable, "-m", "services.recommendation", "join"]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(argv, env=self._env | env, stdout=log, stderr=log)

    def kill(self) -> None:
        assert self._process
        self._process.kill()
        self._process.wait()

    def stop(self) -> int:
        """As the supervisor stops it; returns the exit status."""
        assert self._process
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(30)

    def wait(self) -> int:
        assert self._process
        return self._process.wait(60)

    def end(self) -> None:
        if self._process and self._process.poll() is None:
            self.kill()

    @property
    def log(self) -> str:
        return self._log.read_text()

    def ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/readyz", timeout=2) as answer:
                return bool(answer.status == 200)
        except (URLError, OSError):
            return False


@pytest.fixture
def process(kafka: str, redis_url: str, tmp_path: Path) -> Iterator[Process]:
    create_topics(kafka)
    process = Process(kafka, redis_url, tmp_path / "join.log")
    yield process
    process.end()


@pytest.fixture
async def records(redis_url: str) -> AsyncIterator[RedisRecords]:
    redis = connect(redis_url)
    yield RedisRecords(redis)
    await redis.aclose()


@pytest.fixture
def producer(kafka: str) -> Iterator[Producer]:
    producer = Producer(kafka)
    yield producer
    producer.close()


def events(messages: Sequence[Message]) -> list[Event]:
    return [Event(BY_NAME[r.assignment.topic], r.key.decode(), r.value) for r in delivered(*messages)]


async def until(holds: Callable[[], Awaitable[bool]], process: Process, seconds: float = 60) -> None:
    try:
        async with asyncio.timeout(seconds):
            while not await holds():  # noqa: ASYNC110  another process: there is nothing to wait on
                await asyncio.sleep(0.1)
    except TimeoutError:
        pytest.fail(f"not within {seconds} s; the join said:\n{process.log[-4000:]}", pytrace=False)


async def statuses(records: RedisRecords, names: Sequence[str]) -> list[int]:
    return [record.status if record else 0 for record in await records.records(names)]


def everything_on(kafka: str, topic: Topic) -> list[Any]:
    """All messages of a topic, in the order of each partition."""
    consumer = reader(kafka)
    try:
        return list(read_all(consumer, kafka, topic))
    finally:
        consumer.close()


def enriched_on(kafka: str, names: Sequence[str]) -> dict[str, Enriched]:
    """What compaction would keep of listing.enriched."""
    message = LISTING_ENRICHED.message
    assert message is not None
    every = everything_on(kafka, LISTING_ENRICHED)
    return {k: parse(message, m.value()).listing for m in every if (k := m.key().decode()) in names}  # type: ignore[attr-defined]


def uncommitted(kafka: str) -> int:
    """Records of the five topics that the join's group has not acknowledged."""
    consumer = Consumer({"bootstrap.servers": kafka, "group.id": group_of("join")})
    topics = [t for t in TOPICS if t.name.startswith(("listing.changed", "image.")) and t.name in JOINED_TOPICS]
    partitions = [TopicPartition(t.name, p) for t in topics for p in range(t.partitions)]
    committed = consumer.committed(partitions, timeout=10)
    ends = [consumer.get_watermark_offsets(p, timeout=10)[1] for p in partitions]
    consumer.close()
    return sum(end - max(0, at.offset) for end, at in zip(ends, committed, strict=True))


JOINED_TOPICS = ("listing.changed", "image.classified", "image.attributed", "image.embedded", "image.scored")


async def test_events_become_records_vectors_and_enriched_events(
    process: Process,
    producer: Producer,
    records: RedisRecords,
    kafka: str,
    redis_url: str,
    unique: Callable[[str], str],
) -> None:
    fine, gone, blocked = unique("fine"), unique("gone"), unique("blocked")
    process.start()
    await until(lambda: asyncio.to_thread(process.ready), process)
    await producer.send([Event(IMAGE_SCORED, fine, b"\xff\xff", {"ce_id": b"1"})])
    for name in (fine, gone, blocked):
        await producer.send(events([changed(name, 1), *results(name, 1)]))
    await producer.send(events([removed(gone, 2), scored(assessed(blocked, 1, "a", at=5), BLOCK)]))

    async def joined() -> bool:
        found = await records.records([fine, gone, blocked])
        complete, removal = Enriched.STATUS_COMPLETE, Enriched.STATUS_REMOVED
        is_blocked = found[2] is not None and found[2].fraud.decision == BLOCK
        return [r.status if r else 0 for r in found] == [complete, removal, complete] and is_blocked

    await until(joined, process)
    await until(lambda: asyncio.to_thread(lambda: uncommitted(kafka) == 0), process)
    redis = connect(redis_url)
    hits = await RedisVectorIndex(redis).search(SPACE, unit(1), 1000, Filter(), exhaustive=True)
    await redis.aclose()
    assert fine in hits and gone not in hits and blocked not in hits
    current = enriched_on(kafka, [fine, gone, blocked])
    assert current == dict(zip((fine, gone, blocked), await records.records([fine, gone, blocked]), strict=True))
    [letter] = [m for m in everything_on(kafka, DEAD_LETTERS) if m.key() == fine.encode()]
    assert dict(letter.headers())["dlq_code"] == b"undecodable" and letter.value() == b"\xff\xff"
    assert process.stop() == 0


async def test_a_takedown_outlives_the_compaction_of_a_change_that_came_after_it(
    process: Process, producer: Producer, kafka: str, unique: Callable[[str], str]
) -> None:
    raced, edited = unique("raced"), unique("edited")
    process.start()
    await producer.send(events([changed(raced, 1), removed(raced, 2), changed(raced, 3)]))
    await producer.send(events([changed(edited, 2), changed(edited, 1)]))
    await until(lambda: asyncio.to_thread(lambda: uncommitted(kafka) == 0), process)
    await until(lambda: asyncio.to_thread(process.ready), process)
    changes = everything_on(kafka, LISTING_CHANGED)
    values = {name: [m.value() for m in changes if m.key() == name.encode()] for name in (raced, edited)}
    assert values[raced][3:] == [removed(raced, 2).SerializeToString()]
    assert values[edited][2:] == [changed(edited, 2).SerializeToString()]
    assert process.stop() == 0


async def test_killed_in_the_middle_it_loses_nothing_and_doubles_nothing(
    process: Process, producer: Producer, records: RedisRecords, kafka: str, unique: Callable[[str], str]
) -> None:
    names = [unique("listing") for _ in range(200)]
    messages = [m for n in names for m in (changed(n, 1, ["a", "b"]), *results(n, 1, "a"), *results(n, 1, "b"))]
    random.Random(1).shuffle(messages)
    complete = Enriched.STATUS_COMPLETE

    async def some() -> bool:
        return 0 < sum(status == complete for status in await statuses(records, names)) < len(names)

    async def all_of_them() -> bool:
        return await statuses(records, names) == [complete] * len(names)

    process.start(VITRINE_JOIN_BATCH="100")
    await producer.send(events(messages[: len(messages) * 2 // 3]))
    await until(some, process)
    process.kill()
    await producer.send(events(messages[len(messages) * 2 // 3 :]))
    process.start()
    await until(all_of_them, process)
    await until(lambda: asyncio.to_thread(lambda: uncommitted(kafka) == 0), process)
    # Each event that changed a listing counted once, however often it was delivered.
    assert max(await records.versions(names)) <= 9
    assert enriched_on(kafka, names) == dict(zip(names, await records.records(names), strict=True))
    assert process.stop() == 0


async def test_partitions_that_change_hands_in_the_middle_lose_nothing(
    process: Process,
    producer: Producer,
    records: RedisRecords,
    kafka: str,
    redis_url: str,
    tmp_path: Path,
    unique: Callable[[str], str],
) -> None:
    names = [unique("listing") for _ in range(100)]
    messages = [m for n in names for m in (changed(n, 1), *results(n, 1))]
    random.Random(2).shuffle(messages)
    other = Process(kafka, redis_url, tmp_path / "other.log")

    async def all_of_them() -> bool:
        return await statuses(records, names) == [Enriched.STATUS_COMPLETE] * len(names)

    async def sent_slowly() -> None:
        for i in range(0, len(messages), 10):
            await producer.send(events(messages[i : i + 10]))
            await asyncio.sleep(0.1)

    try:
        process.start()
        sending = asyncio.create_task(sent_slowly())
        await until(lambda: asyncio.to_thread(process.ready), process)
        other.start()
        await until(lambda: asyncio.to_thread(other.ready), other)
        assert await asyncio.to_thread(process.stop) == 0
        await sending
        await until(all_of_them, other)
        await until(lambda: asyncio.to_thread(lambda: uncommitted(kafka) == 0), other)
        assert enriched_on(kafka, names) == dict(zip(names, await records.records(names), strict=True))
        assert await asyncio.to_thread(other.stop) == 0
    finally:
        other.end()


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ({"VITRINE_REDIS": "redis://127.0.0.1:1/0"}, "Redis is away"),
        ({"VITRINE_KAFKA": "127.0.0.1:1"}, "no Kafka broker answers at 127.0.0.1:1"),
    ],
)
async def test_what_is_away_at_its_start_is_waited_for_and_told_in_one_line(
    process: Process, address: dict[str, str], says: str
) -> None:
    process.start(**address)

    async def said() -> bool:
        return says in process.log

    await until(said, process)
    await asyncio.sleep(3)  # longer than it waits between two attempts
    assert process.log.count(says) == 1
    assert "Traceback" not in process.log
    assert not process.ready()
    assert await asyncio.to_thread(process.stop) == 0


async def test_a_redis_that_keeps_nothing_on_disk_is_no_use_waiting_for(process: Process, redis_url: str) -> None:
    redis = connect(redis_url)
    await redis.config_set("appendonly", "no")
    try:
        process.start()
        assert await asyncio.to_thread(process.wait) == 1
        assert "VITRINE_WAIT_FOR_DISK=false" in process.log and "Traceback" not in process.log
    finally:
        await redis.config_set("appendonly", "yes")
        await redis.aclose()


async def test_it_does_not_go_on_with_a_redis_that_came_back_empty_and_says_how_to_rebuild_it(
    process: Process, producer: Producer, kafka: str, redis_url: str, tmp_path: Path, unique: Callable[[str], str]
) -> None:
    process.start()
    await producer.send(events([changed(unique("before"), 1)]))
    await until(lambda: asyncio.to_thread(lambda: uncommitted(kafka) == 0), process)
    assert await asyncio.to_thread(process.stop) == 0
    stamps = {stamp for stamp in committed_stamps(kafka, [group_of("join")]) if stamp}
    assert len({stamp.epoch for stamp in stamps}) == 1
    empty = RedisServer(tmp_path / "empty")
    await asyncio.to_thread(empty.start)
    try:
        process.start(VITRINE_REDIS=empty.url)

        async def refused() -> bool:
            return "Redis is empty" in process.log and "vitrine rebuild" in process.log

        await until(refused, process)
        assert not process.ready()
        assert await asyncio.to_thread(process.stop) == 0
        client = connect(empty.url)
        assert await client.dbsize() == 0
        await client.aclose()
    finally:
        await asyncio.to_thread(empty.stop)


async def test_an_idle_join_whose_redis_was_restarted_begins_anew(process: Process, redis_server: RedisServer) -> None:
    process.start()
    await until(lambda: asyncio.to_thread(process.ready), process)
    await asyncio.to_thread(redis_server.stop)
    redis_server.start()  # here: it ends with the thread that starts it, and later tests need it
    assert await asyncio.to_thread(process.wait) == 1
    assert "Redis was restarted or replaced" in process.log and "Traceback" not in process.log
    process.start()
    await until(lambda: asyncio.to_thread(process.ready), process)
    assert await asyncio.to_thread(process.stop) == 0
