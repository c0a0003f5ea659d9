"""Kafka by librdkafka: a producer that waits for the broker, a source that never stops polling, a sink for outcomes."""

import asyncio
import json
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from concurrent.futures import wait
from contextlib import suppress
from typing import Any, Literal

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka import Producer as Librdkafka

from shared.errors import Transient
from shared.events import Event
from shared.logs import OncePer
from shared.metrics import REBALANCE_SECONDS
from shared.stream.ledger import Ledger
from shared.stream.records import Assignment, Outcome, Record, Rejected
from shared.topics import DEAD_LETTERS, Topic

log = structlog.get_logger()

GroupProtocol = Literal["classic", "consumer"]

# Handed to each client: left to itself librdkafka writes its own lines to stderr, between ours, which are JSON.
CLIENT_LOG = logging.getLogger("librdkafka")
# While a broker is away it says so ten times a second.
CLIENT_LOG.addFilter(OncePer(60.0))
STATISTICS_SECONDS = 2.0


class Producer:
    """Idempotent, compressed, and partitioned like Faust and the Java clients."""

    def __init__(self, bootstrap: str, delivery_seconds: float = 30.0) -> None:
        self._producer = Librdkafka(
            {
                "bootstrap.servers": bootstrap,
                "enable.idempotence": True,
                "compression.type": "lz4",
                "linger.ms": 5,
                # librdkafka's own default is CRC32; one key must lie in one partition whoever writes it.
                "partitioner": "murmur2_random",
                "message.timeout.ms": int(delivery_seconds * 1000),
                "message.max.bytes": 4_000_000,
                "log_level": 3,
            },
            logger=CLIENT_LOG,
        )
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._poll, name="producer", daemon=True)
        self._thread.start()

    async def send(self, events: Sequence[Event]) -> None:
        """Returns after the broker has acknowledged all of them; raises Transient if it has not in time."""
        if not events:
            return
        acknowledged = _Acknowledgements(len(events))
        for event in events:
            await self._produce(event, acknowledged)
        failures = await acknowledged.all()
        if failures:
            raise Transient(f"the broker did not acknowledge {len(failures)} of {len(events)} events: {failures[0]}")

    def close(self) -> None:
        """Waits a little for what is still in flight; what `send` has returned from is already safe."""
        self._closed.set()
        self._thread.join(timeout=5)
        self._producer.flush(5)

    async def _produce(self, event: Event, acknowledged: "_Acknowledgements") -> None:
        while True:
            try:
                self._producer.produce(
                    event.topic.name,
                    key=event.key.encode(),
                    value=event.value,
                    headers=list(event.headers.items()),
                    on_delivery=acknowledged.one,
                )
                return
            except BufferError:  # the local queue is full; the polling thread empties it
                await asyncio.sleep(0.01)

    def _poll(self) -> None:
        while not self._closed.is_set():
            self._producer.poll(0.1)


class _Acknowledgements:
    """Counts deliveries in the polling thread and wakes the waiter in its loop once."""

    def __init__(self, expected: int) -> None:
        self._missing = expected
        self._failures: list[str] = []
        self._loop = asyncio.get_running_loop()
        self._done: asyncio.Future[list[str]] = self._loop.create_future()

    def one(self, error: KafkaError | None, _message: Message) -> None:
        if error is not None:
            self._failures.append(error.str())
        self._missing -= 1
        if self._missing == 0:
            with suppress(RuntimeError):  # the loop is gone: nobody waits any more
                self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        if not self._done.done():
            self._done.set_result(self._failures)

    async def all(self) -> list[str]:
        return await self._done


def librdkafka_consumer(settings: dict[str, Any]) -> Consumer:
    return Consumer(settings, logger=CLIENT_LOG)


class KafkaSource:
    """Records of one consumer group's partitions, in order.

    One thread polls, always: a full queue pauses the partitions instead. A partition that comes back is another
    assignment, so that work for the earlier one can't commit over it.
    """

    def __init__(
        self,
        bootstrap: str,
        group: str,
        topics: Sequence[Topic],
        *,
        protocol: GroupProtocol = "consumer",
        max_queued: int = 2000,
        revoke_seconds: float = 20.0,
        session_seconds: float = 10.0,
        open_consumer: Callable[[dict[str, Any]], Consumer] = librdkafka_consumer,
    ) -> None:
        """`open_consumer` is given librdkafka's settings."""
        self._topics = [topic.name for topic in topics]
        self._max_queued = max_queued
        self._revoke_seconds = revoke_seconds
        self._group_state = "not yet connected"
        settings = _consumer_settings(bootstrap, group, protocol, session_seconds)
        self._consumer = open_consumer({**settings, "stats_cb": self._heard})
        self._ledger = Ledger()
        self._current: dict[tuple[str, int], Assignment] = {}
        self._epoch = 0
        self._queue: asyncio.Queue[Record | None] = asyncio.Queue()
        self._failure: BaseException | None = None
        # Two counters, each written by one thread: the queue's own size lags behind what was handed to the loop.
        self._received = 0
        self._taken = 0
        self._to_commit: dict[Assignment, int] = {}
        self._commit_lock = threading.Lock()
        self._held = False  # by the worker
        self._paused: bool | None = False  # as last told to librdkafka; None: not known for all partitions
        self._stopping = threading.Event()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop

    async def __aiter__(self) -> AsyncIterator[Record]:
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._poll, name="consume", daemon=True)
        self._thread.start()
        while not self._stopping.is_set():
            record = await self._queue.get()
            if self._failure:
                raise self._failure
            if record is None:
                return
            self._taken += 1
            if self._is_current(record.assignment):
                self._ledger.hand_out(record)
                yield record

    async def commit(self, offsets: Mapping[Assignment, int]) -> None:
        """Leaves these for the polling thread, which commits what is still ours within a tenth of a second.

        A synchronous commit from another thread than the polling one does not return before a time-out
        (confluent-kafka 2.16, classic protocol). If the broker won't take it, the iteration raises Transient.
        """
        with self._commit_lock:
            self._to_commit.update(offsets)

    def hold(self) -> None:
        """Fetch nothing more until `release`; polling goes on, so the group keeps us."""
        self._held = True

    def release(self) -> None:
        self._held = False

    def stop(self) -> None:
        """End the iteration; records not yet handed out stay uncommitted. From any thread, or a signal handler."""
        self._stopping.set()
        with suppress(AttributeError, RuntimeError):  # not started, or its loop is gone
            self._loop.call_soon_threadsafe(self._queue.put_nowait, None)

    async def check(self) -> None:
        """Raises Transient while the broker that coordinates the group isn't reached.

        Not while there is no assignment: of more members than partitions some have none, and are told nothing.
        """
        if self._group_state != "up":
            raise Transient(f"the group's coordinator is not reached ({self._group_state})")

    async def close(self) -> None:
        """Leave the group, after the last commit."""
        self.stop()
        self._closed.set()
        if self._thread:
            await asyncio.to_thread(self._thread.join)

    # --- in the polling thread ---------------------------------------------------------------------------------------

    def _poll(self) -> None:
        try:
            self._consumer.subscribe(
                self._topics, on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._lost
            )
            # Polled through the drain as well: until close() the group must believe that we live.
            while not self._closed.is_set():
                self._apply_pause()
                for message in self._consumer.consume(num_messages=32, timeout=0.1):
                    self._receive(message)
                self._commit_pending()
            self._commit_pending()
            self._consumer.close()
        except BaseException as why:  # noqa: BLE001  whatever it was, the worker must hear of it and stop
            # Seen at the next record, however many are queued before the None that wakes the iteration.
            self._failure = why
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._queue.put_nowait, None)

    def _heard(self, statistics: str) -> None:
        self._group_state = json.loads(statistics).get("cgrp", {}).get("state", "unknown")

    def _receive(self, message: Message) -> None:
        if (error := message.error()) is not None:
            if error.fatal():
                raise KafkaException(error)
            log.warning("consumer error", error=error.str())
            return
        topic, partition, offset = message.topic(), message.partition(), message.offset()
        assert topic is not None and partition is not None and offset is not None
        assignment = self._current.get((topic, partition))
        if assignment is None:  # taken from us since it was fetched
            return
        record = Record(
            assignment=assignment,
            offset=offset,
            key=_bytes(message.key()),
            value=_bytes(message.value()),
            headers={str(name): _bytes(value) for name, value in dict(message.headers() or []).items()},
        )
        self._received += 1
        self._loop.call_soon_threadsafe(self._queue.put_nowait, record)

    def _apply_pause(self) -> None:
        queued = self._received - self._taken
        # Resumed only at half, since a pause throws away what librdkafka had fetched ahead.
        full = queued >= (self._max_queued // 2 if self._paused else self._max_queued)
        wanted = self._held or full or self._stopping.is_set()
        if wanted != self._paused:
            partitions = [TopicPartition(topic, partition) for topic, partition in self._current]
            (self._consumer.pause if wanted else self._consumer.resume)(partitions)
            self._paused = wanted

    def _assigned(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._epoch += 1
        for p in partitions:
            self._current[p.topic, p.partition] = Assignment(p.topic, p.partition, self._epoch)
        # New partitions start unpaused, old ones stay as they are: told anew, whichever way.
        self._paused = None
        log.info("assigned", partitions=[f"{p.topic}/{p.partition}" for p in partitions])

    def _revoked(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Wait, bounded, until what we work on is committed: then the next owner redoes nothing."""
        lost = self._forget(partitions)
        with REBALANCE_SECONDS.time():
            # After close() nobody works any more: what is not committed by now never will be.
            settled = self._wait_for(lost, 0.0 if self._closed.is_set() else self._revoke_seconds)
        log.info("revoked", partitions=[f"{a.topic}/{a.partition}" for a in lost], settled=settled)

    def _lost(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Already somebody else's: waiting would be in vain."""
        lost = self._forget(partitions)
        self._wait_for(lost, 0.0)
        log.warning("lost", partitions=[f"{a.topic}/{a.partition}" for a in lost])

    def _forget(self, partitions: Iterable[TopicPartition]) -> list[Assignment]:
        found = [self._current.pop((p.topic, p.partition), None) for p in partitions]
        return [assignment for assignment in found if assignment is not None]

    def _wait_for(self, lost: list[Assignment], seconds: float) -> bool:
        try:
            settled = asyncio.run_coroutine_threadsafe(self._ledger.give_back(lost, seconds), self._loop)
        except RuntimeError:  # the loop is gone, and the worker with it
            return False
        deadline = time.monotonic() + seconds + 1
        while not settled.done() and time.monotonic() < deadline:
            self._commit_pending()
            wait([settled], timeout=0.02)
        return settled.done() and settled.result()

    def _commit_pending(self) -> None:
        with self._commit_lock:
            pending, self._to_commit = self._to_commit, {}
        ours = self._ledger.ours(pending)
        if not ours:
            return
        if not self._commit(ours):
            with self._commit_lock:
                self._to_commit = {**ours, **self._to_commit}
            return
        with suppress(RuntimeError):
            asyncio.run_coroutine_threadsafe(self._ledger.committed(ours), self._loop)

    def _commit(self, offsets: Mapping[Assignment, int]) -> bool:
        """False: the group is being rebalanced. Once it is known what is still ours, that is committed."""
        wanted = [TopicPartition(a.topic, a.partition, offset) for a, offset in offsets.items()]
        for seconds in (0.1, 0.3, 1.0, 3.0, None):
            try:
                self._consumer.commit(offsets=wanted, asynchronous=False)
                return True
            except KafkaException as why:
                error = why.args[0]
                if error.code() in REBALANCING:
                    log.info("commit put off", error=error.str())
                    return False
                if seconds is None or not (error.retriable() or error.code() in RETRIED):
                    raise Transient(f"the broker did not take a commit: {error.str()}") from why
                time.sleep(seconds)
        raise AssertionError("the last try returns or raises")

    # --- in any thread -----------------------------------------------------------------------------------------------

    def _is_current(self, assignment: Assignment) -> bool:
        return self._current.get((assignment.topic, assignment.partition)) == assignment


RETRIED = frozenset(
    {
        KafkaError.REQUEST_TIMED_OUT,
        KafkaError._TIMED_OUT,
        KafkaError._WAIT_COORD,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.NOT_COORDINATOR,
    }
)
# Of the generation before: the partitions may be somebody else's by now, or still ours in the next one.
REBALANCING = frozenset(
    {
        KafkaError.ILLEGAL_GENERATION,
        KafkaError.REBALANCE_IN_PROGRESS,
        KafkaError.UNKNOWN_MEMBER_ID,
        KafkaError.STALE_MEMBER_EPOCH,  # KIP-848: the next try carries the new epoch
        KafkaError.FENCED_MEMBER_EPOCH,
    }
)


class KafkaSink:
    """Result topics and dead letters. Returns once the broker has acknowledged."""

    def __init__(self, producer: Producer, versions: str = "") -> None:
        self._producer = producer
        self._versions = versions  # of the pack, for the dead letters

    async def send(self, outcomes: Sequence[Outcome]) -> None:
        await self._producer.send([event for outcome in outcomes for event in self._events(outcome)])

    def _events(self, outcome: Outcome) -> Sequence[Event]:
        return [dead_letter(outcome, self._versions)] if isinstance(outcome, Rejected) else outcome.events


def dead_letter(rejected: Rejected, versions: str) -> Event:
    """The bytes untouched; the original headers, and beside them why and where from."""
    record = rejected.record
    about = {
        "dlq_task": rejected.task,
        "dlq_stage": rejected.stage,
        "dlq_code": rejected.code,
        "dlq_message": rejected.message,
        "dlq_topic": record.assignment.topic,
        "dlq_partition": str(record.assignment.partition),
        "dlq_offset": str(record.offset),
        "dlq_pack": versions,
    }
    headers = {**record.headers, **{name: text.encode() for name, text in about.items()}}
    return Event(DEAD_LETTERS, record.key.decode("utf-8", "replace"), record.value, headers)


def _consumer_settings(bootstrap: str, group: str, protocol: GroupProtocol, session_seconds: float) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "bootstrap.servers": bootstrap,
        "group.id": group,
        "group.protocol": protocol,
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "queued.min.messages": 1000,
        "queued.max.messages.kbytes": 8192,
        "log_level": 3,
        "statistics.interval.ms": int(STATISTICS_SECONDS * 1000),
    }
    if protocol == "classic":  # KIP-848 has the broker decide these
        settings |= {
            "partition.assignment.strategy": "cooperative-sticky",
            "session.timeout.ms": int(session_seconds * 1000),
            "heartbeat.interval.ms": int(session_seconds * 1000 / 3),
        }
    return settings


def _bytes(value: bytes | str | None) -> bytes:
    if value is None:
        return b""
    return value.encode() if isinstance(value, str) else value
