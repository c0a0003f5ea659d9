"""What comes in from Kafka: a source that never stops polling, and waits for work in flight when partitions go."""

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, wait
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any, Literal

import structlog
from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from shared.errors import Transient, Unusable, can_happen_to_anybody
from shared.logs import LIBRDKAFKA
from shared.metrics import REBALANCE_SECONDS, SKIPPED_RECORDS
from shared.stream.commits import Beginning, Commits, Stamping, unstamped
from shared.stream.ledger import Ledger
from shared.stream.records import Assignment, Record
from shared.stream.refusals import is_fatal, refusal_of_consumer
from shared.stream.suspects import Suspects
from shared.topics import Topic

log = structlog.get_logger()

GroupProtocol = Literal["classic", "consumer"]

STATISTICS_SECONDS = 2.0
MOST_AT_ONCE = 32  # records from one poll
LEAVE_SECONDS = 15.0  # to say goodbye to a broker that may be away


def librdkafka_consumer(settings: dict[str, Any]) -> Consumer:
    return Consumer(settings, logger=LIBRDKAFKA)


class KafkaSource:
    """Records of one consumer group's partitions, in order.

    One thread polls, always: a full queue pauses the partitions instead. A partition that comes back is another
    assignment, so that work for the earlier one can't commit over it. Where the process died before, records are handed
    out one by one, each after all before it are committed.
    """

    def __init__(
        self,
        bootstrap: str,
        group: str,
        topics: Sequence[Topic],
        *,
        protocol: GroupProtocol = "consumer",
        max_queued: int = 2000,
        most_in_flight: int = 500,
        stamp: Stamping = unstamped,
        revoke_seconds: float = 20.0,
        session_seconds: float = 10.0,
        open_consumer: Callable[[dict[str, Any]], Consumer] = librdkafka_consumer,
    ) -> None:
        """`most_in_flight`: records that the worker may have been handed without their being committed. What `stamp`
        returns is committed beside each offset. `open_consumer` is given librdkafka's settings.
        """
        self._topics = [topic.name for topic in topics]
        self._max_queued = max_queued
        self._revoke_seconds = revoke_seconds
        self._group_state = "not yet connected"
        settings = _consumer_settings(bootstrap, group, protocol, session_seconds)
        self._consumer = open_consumer({**settings, "stats_cb": self._heard, "error_cb": self._told})
        self._refusal = partial(refusal_of_consumer, group=group, topics=self._topics)
        self._refused: str | None = None
        self._ledger = Ledger()
        self._current: dict[tuple[str, int], Assignment] = {}
        self._epoch = 0
        self._queue: asyncio.Queue[Record | None] = asyncio.Queue()
        self._tell: Callable[[Record], None] | None = None
        self._failure: BaseException | None = None
        # Two counters, each written by one thread: the queue's own size lags behind what was handed to the loop.
        self._received = 0
        self._taken = 0
        self._commits = Commits(self._consumer, self._ledger, self._refusal, stamp)
        self._suspects = Suspects(most_in_flight)
        self._begun: set[Assignment] = set()
        self._not_begun: list[Record] = []  # received, and not handed over before it is noted that we begin there
        self._alone: tuple[Record, Future[bool]] | None = None  # to be noted before it is handed out
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
            if self._suspects.looked_through(record):
                if self._is_current(record.assignment):
                    self._ledger.hand_out(record)
                    yield record
            elif await self._stands_alone(record):
                self._ledger.hand_out(record)
                yield record
                await self._ledger.settled()
                self._suspects.survived(record)

    def on_receipt(self, tell: Callable[[Record], None]) -> None:
        """`tell` is called with each record as it comes in, also with one that is taken from us before we get to it."""
        self._tell = tell

    async def commit(self, offsets: Mapping[Assignment, int]) -> None:
        """Leaves these for the polling thread, which commits what is still ours within a tenth of a second.

        If the broker won't take it, the iteration raises Transient, or Unusable where we may not.
        """
        self._commits.leave(offsets)

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
        """Leave the group, after the last commit; no record is blamed for our end. Whoever crashes doesn't call it."""
        self.stop()
        self._closed.set()
        if self._thread:
            await asyncio.to_thread(self._thread.join, LEAVE_SECONDS)

    # --- in the polling thread ---------------------------------------------------------------------------------------

    def _poll(self) -> None:
        try:
            self._consumer.subscribe(
                self._topics, on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._lost
            )
            # Polled through the drain as well: until close() the group must believe that we live.
            while not self._closed.is_set():
                self._apply_pause()
                self._receive()
                self._hand_over()
                self._commit()
                self._note_alone()
            self._commit()
            self._say_goodbye()
        except BaseException as why:  # noqa: BLE001  whatever it was, the worker must hear of it and stop
            # Seen at the next record, however many are queued before the None that wakes the iteration.
            self._failure = why
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._queue.put_nowait, None)
                asyncio.run_coroutine_threadsafe(self._ledger.fail(why), self._loop)
            if self._alone:
                _answer(self._alone[1], why)
            if can_happen_to_anybody(why):
                with suppress(Exception):
                    self._say_goodbye()

    def _say_goodbye(self) -> None:
        """No record is to blame for our end."""
        self._commits.take_back(list(self._begun))
        self._consumer.close()

    def _told(self, error: KafkaError) -> None:
        """Of the connections: librdkafka itself tries again for ever, with whichever password."""
        self._refused = self._refused or self._refusal(error)

    def _heard(self, statistics: str) -> None:
        self._group_state = json.loads(statistics).get("cgrp", {}).get("state", "unknown")

    def _receive(self) -> None:
        """What is there, waited for a tenth of a second."""
        first = self._consumer.poll(0.1)  # `consume` would wait that long for as many as it may return
        if self._refused:
            raise Unusable(self._refused)
        if first is None:
            return
        # The first is looked at before more is asked for, which may take its partition from us and give it back.
        seen = [self._record(first), *map(self._record, self._consumer.consume(MOST_AT_ONCE - 1, timeout=0))]
        records = [record for record in seen if record is not None]
        self._received += len(records)
        self._not_begun += records

    def _hand_over(self) -> None:
        """To the loop, all together so that it is woken once, and not before it is noted where we begin."""
        records = self._not_begun
        firsts: dict[Assignment, int] = {}
        for record in records:
            if record.assignment not in self._begun and self._is_current(record.assignment):
                firsts.setdefault(record.assignment, record.offset)
        if not records or (firsts and not self._begin(firsts)):
            return
        self._not_begun = []
        marked = [replace(record, killed=True) if self._suspects.killed(record) else record for record in records]
        self._loop.call_soon_threadsafe(self._enqueue, marked)

    def _begin(self, firsts: Mapping[Assignment, int]) -> bool:
        """False while the group is being rebalanced."""
        beginnings = self._commits.begin(firsts)
        if beginnings is None:
            return False
        self._begun.update(beginnings)
        for assignment, beginning in beginnings.items():
            _tell_what_is_skipped(assignment, beginning)
        # Whoever has a culprit first: then the others are no suspects.
        for assignment, beginning in sorted(beginnings.items(), key=lambda one: -one[1].found.alone):
            self._suspects.begin(assignment, beginning)
        return True

    def _note_alone(self) -> None:
        """Answers the loop, which has a record to hand out alone."""
        if (waiting := self._alone) is None:
            return
        record, noted = waiting
        wanted = self._is_current(record.assignment) and not self._stopping.is_set()
        if wanted and not self._commits.stand_alone(record.assignment, record.offset):
            return
        self._alone = None
        _answer(noted, wanted)

    def _record(self, message: Message) -> Record | None:
        """None for what is no record, or no longer ours. Raises Unusable when we may not read."""
        if (error := message.error()) is not None:
            if refused := self._refusal(error):
                raise Unusable(refused)
            if is_fatal(error):
                raise Transient(f"the Kafka client can't go on, and a new one may: {error.str()}")
            log.warning("consumer error", error=error.str())
            return None
        topic, partition, offset = message.topic(), message.partition(), message.offset()
        assert topic is not None and partition is not None and offset is not None
        assignment = self._current.get((topic, partition))
        if assignment is None:  # taken from us since it was fetched
            return None
        return Record(
            assignment=assignment,
            offset=offset,
            key=_bytes(message.key()),
            value=_bytes(message.value()),
            headers={str(name): _bytes(value) for name, value in dict(message.headers() or []).items()},
        )

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
        self._commits.take_back(lost)
        self._leave(lost)
        log.info("revoked", partitions=[f"{a.topic}/{a.partition}" for a in lost], settled=settled)

    def _lost(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Already somebody else's: waiting would be in vain."""
        lost = self._forget(partitions)
        self._wait_for(lost, 0.0)
        self._leave(lost)
        log.warning("lost", partitions=[f"{a.topic}/{a.partition}" for a in lost])

    def _forget(self, partitions: Iterable[TopicPartition]) -> list[Assignment]:
        ended = [self._current.pop((p.topic, p.partition), None) for p in partitions]
        return [assignment for assignment in ended if assignment is not None]

    def _leave(self, lost: Sequence[Assignment]) -> None:
        self._begun.difference_update(lost)
        self._commits.forget(lost)
        self._suspects.forget(lost)

    def _wait_for(self, lost: list[Assignment], seconds: float) -> bool:
        try:
            settled = asyncio.run_coroutine_threadsafe(self._ledger.give_back(lost, seconds), self._loop)
        except RuntimeError:  # the loop is gone, and the worker with it
            return False
        deadline = time.monotonic() + seconds + 1
        while not settled.done() and time.monotonic() < deadline:
            self._commit()
            wait([settled], timeout=0.02)
        return settled.done() and settled.result()

    def _commit(self) -> None:
        if committed := self._commits.make():
            with suppress(RuntimeError):  # the loop is gone: nobody waits for them any more
                asyncio.run_coroutine_threadsafe(self._ledger.committed(committed), self._loop)

    # --- in the loop -------------------------------------------------------------------------------------------------

    async def _stands_alone(self, record: Record) -> bool:
        """Returns once nothing else is in flight and that is noted. False: it is no longer ours, or we are to stop."""
        await self._ledger.settled()
        noted: Future[bool] = Future()
        self._alone = (record, noted)
        if self._failure:  # nobody answers any more
            raise self._failure
        # Asked again: it may have gone since.
        return await asyncio.wrap_future(noted) and self._is_current(record.assignment)

    def _enqueue(self, records: Sequence[Record]) -> None:
        for record in records:
            if self._tell:
                self._tell(record)
            self._queue.put_nowait(record)

    # --- in any thread -----------------------------------------------------------------------------------------------

    def _is_current(self, assignment: Assignment) -> bool:
        return self._current.get((assignment.topic, assignment.partition)) == assignment


def _answer(waiting: Future[bool], answer: bool | BaseException) -> None:
    """Unless nobody waits for it any more: the stages were cancelled."""
    if not waiting.set_running_or_notify_cancel():
        return
    if isinstance(answer, BaseException):
        waiting.set_exception(answer)
    else:
        waiting.set_result(answer)


def _tell_what_is_skipped(assignment: Assignment, beginning: Beginning) -> None:
    """Of records that retention took while we were away; the client goes on at the oldest without a word."""
    committed = beginning.committed
    if committed is None or committed == beginning.offset:
        return
    place = f"{assignment.topic}/{assignment.partition}"
    if committed > beginning.offset:
        log.error(
            "offsets went back: the topic was made anew or cut", at=place, committed=committed, goes_on=beginning.offset
        )
        return
    skipped = beginning.offset - committed
    log.error("records are gone before we read them: retention took them", at=place, skipped=skipped)
    SKIPPED_RECORDS.labels(assignment.topic, str(assignment.partition)).inc(skipped)


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
