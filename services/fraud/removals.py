"""Teaches the hash bank which photos are still there: removed listings and dropped photos must not match any more."""

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import structlog
from confluent_kafka import Consumer, Message
from vitrine.events.v1 import listing_pb2

from services.fraud.bank import Bank, Revision
from shared.errors import Poison, Transient
from shared.events import parse
from shared.logs import LIBRDKAFKA
from shared.settings import Settings
from shared.topics import LISTING_CHANGED, group_of

log = structlog.get_logger()

GROUP = group_of("fraud-removals")
CHANGES_AT_ONCE = 2000  # one wait for the disk serves them all
POLL_SECONDS = 0.5


@asynccontextmanager
async def follow_removals(bank: Bank, settings: Settings) -> AsyncIterator[None]:
    """Follows `listing.changed` while the body runs.

    When the bank or the broker stays away the body is cancelled, and the context raises an ExceptionGroup of Transient.
    Nothing is committed before the bank has it on disk; hearing of a change twice is harmless.
    """
    stopping = threading.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(asyncio.to_thread(_follow, bank, settings.kafka, stopping))
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


def _follow(bank: Bank, bootstrap: str, stopping: threading.Event) -> None:
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": GROUP,
            "enable.auto.commit": False,
            # A new bank learns every removal there ever was.
            "auto.offset.reset": "earliest",
            "log_level": 3,
        },
        logger=LIBRDKAFKA,
    )
    try:
        consumer.subscribe([LISTING_CHANGED.name])
        while not stopping.is_set():
            if changes := _sound(consumer.consume(CHANGES_AT_ONCE, POLL_SECONDS)):
                for change in changes:
                    apply(bank, change.value() or b"")
                bank.flushed()
                consumer.commit(asynchronous=False)
    finally:
        consumer.close()


def _sound(messages: Sequence[Message]) -> list[Message]:
    """Without reports of passing trouble, which librdkafka mends itself. Raises Transient for what does not pass."""
    for message in messages:
        error = message.error()
        if error is not None and (error.fatal() or not error.retriable()):
            log.warning("listing.changed", why=error.str())
            if error.fatal():
                raise Transient(f"listing.changed can't be followed: {error.str()}")
    return [message for message in messages if message.error() is None]
