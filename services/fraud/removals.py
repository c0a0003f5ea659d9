"""Teaches the hash bank which photos are still there: removed listings and dropped photos must not match any more."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import structlog
from confluent_kafka import Consumer, KafkaError, Message, TopicPartition
from vitrine.events.v1 import listing_pb2

from services.fraud.bank import Bank, Revision
from shared.errors import Poison, Transient, Unusable
from shared.events import parse
from shared.settings import Settings
from shared.stream.commits import committed
from shared.stream.notes import OffsetNote
from shared.stream.refusals import is_fatal, refusal_of_consumer
from shared.stream.source import librdkafka_consumer
from shared.topics import LISTING_CHANGED, group_of

log = structlog.get_logger()

GROUP = group_of("fraud-removals")
CHANGES_AT_ONCE = 2000  # one wait for the disk serves them all
POLL_SECONDS = 0.5


@asynccontextmanager
async def follow_removals(bank: Bank, settings: Settings) -> AsyncIterator[None]:
    """Follows `listing.changed` while the body runs.

    When the bank or the broker stays away the body is cancelled, and the context raises an ExceptionGroup of Transient;
    where we may not read, of Unusable.
    Nothing is committed before the bank has it on disk; hearing of a change twice is harmless.
    """
    stopping = threading.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(asyncio.to_thread(Follower(bank, settings.kafka).follow, stopping))
        try:
            yield
        finally:
            stopping.set()


def apply(bank: Bank, value: bytes) -> None:
    """One change, as it lies on Kafka. What the join rejects holds for neither. Raises Transient."""
    try:
        change = parse(listing_pb2.ListingChanged, value)
    except Poison as why:
        log.warning("change of a listing not understood", why=why.message)
        return
    if not change.listing_id or change.revision <= 0:
        return
    if change.HasField("removed"):
        bank.forget(change.listing_id, change.removed.seller_id)
    elif change.HasField("listing"):
        photos = tuple(photo.sha256 for photo in change.listing.photos)
        if photos and all(photos):
            bank.keep_only(Revision(change.listing_id, change.listing.seller_id, change.revision, photos, value))


class Follower:
    """Reads `listing.changed`, teaches the bank, and commits what the bank has on disk. For one thread."""

    def __init__(
        self, bank: Bank, bootstrap: str, open_consumer: Callable[[dict[str, Any]], Consumer] = librdkafka_consumer
    ) -> None:
        """`open_consumer` is given librdkafka's settings."""
        self._bank = bank
        self._refused: str | None = None
        # Learned, and not committed yet: amid a rebalance the broker takes no commits.
        self._learned: dict[tuple[str, int], int] = {}
        self._consumer = open_consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": GROUP,
                "enable.auto.commit": False,
                # A new bank learns every removal there ever was.
                "auto.offset.reset": "earliest",
                "log_level": 3,
                "error_cb": self._told,
            }
        )

    def follow(self, stopping: threading.Event) -> None:
        """Until told to stop. Raises Transient, and Unusable where we may not read."""
        try:
            self._consumer.subscribe([LISTING_CHANGED.name], on_revoke=self._given_up, on_lost=self._given_up)
            while not stopping.is_set():
                if changes := self._sound(self._consumer.consume(CHANGES_AT_ONCE, POLL_SECONDS)):
                    self._learn(changes)
                self._commit()
        finally:
            self._consumer.close()

    def _learn(self, changes: Sequence[Message]) -> None:
        for change in changes:
            apply(self._bank, change.value() or b"")
        self._bank.flushed()
        for change in changes:
            topic, partition, offset = change.topic(), change.partition(), change.offset()
            assert topic is not None and partition is not None and offset is not None
            self._learned[topic, partition] = offset + 1

    def _commit(self) -> None:
        """Amid a rebalance later: what is taken from us by it is heard again by its next owner, which is harmless."""
        metadata = OffsetNote().stamped(self._bank.stamp).metadata
        places = [TopicPartition(*place, offset, metadata) for place, offset in self._learned.items()]
        if places and committed(self._consumer, places, _refusal):
            self._learned.clear()

    def _given_up(self, _consumer: Consumer, partitions: Sequence[TopicPartition]) -> None:
        # Committed later it would take the next owner back.
        for each in partitions:
            self._learned.pop((each.topic, each.partition), None)

    def _told(self, error: KafkaError) -> None:
        self._refused = self._refused or _refusal(error)

    def _sound(self, messages: Sequence[Message]) -> list[Message]:
        """Without reports of passing trouble, which librdkafka mends itself. Raises what doesn't pass."""
        for error in (error for message in messages if (error := message.error()) is not None):
            self._told(error)
            if is_fatal(error) and not self._refused:
                raise Transient(f"listing.changed can't be followed: {error.str()}")
            if not error.retriable():
                log.warning("listing.changed", why=error.str())
        if self._refused:
            raise Unusable(self._refused)
        return [message for message in messages if message.error() is None]


def _refusal(error: KafkaError) -> str | None:
    return refusal_of_consumer(error, GROUP, [LISTING_CHANGED.name])
