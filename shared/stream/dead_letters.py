"""Dead letters: how one is written, and how they are read: without joining a group, so that looking changes nothing."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from confluent_kafka import Consumer
from confluent_kafka import Message as Delivered
from google.protobuf.message import DecodeError, Message
from vitrine.events.v1 import image_pb2, listing_pb2

from shared.errors import Unusable
from shared.events import Event
from shared.stream.admin import reader
from shared.stream.reading import read, watermarks
from shared.stream.records import Rejected
from shared.topics import DEAD_LETTERS, IMAGE_UPLOADED, LISTING_CHANGED, RESULTS

# Of the topics that a worker or the join reads.
_MESSAGES = {topic.name: topic.message for topic in (IMAGE_UPLOADED, LISTING_CHANGED, *RESULTS.values())}


def as_dead_letter(rejected: Rejected, versions: str) -> Event:
    """The rejected record to publish: its bytes untouched; the original headers, and beside them why and where from."""
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


class NoSuchLetter(Unusable):
    """No dead letter lies there; the message says what does."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A record that could never succeed for one task, and why."""

    partition: int
    offset: int
    at: datetime
    key: str  # the listing's id
    value: bytes  # of the original record, untouched
    headers: Mapping[str, str]

    def about(self, name: str) -> str:
        """What the worker wrote: task, stage, code, message, topic, partition, offset or pack."""
        return self.headers.get(f"dlq_{name}", "")

    @property
    def origin(self) -> str:
        return f"{self.about('topic')}/{self.about('partition')}@{self.about('offset')}"

    @property
    def message(self) -> Message | None:
        """As its topic declares it; None when the bytes are no such message.

        Protobuf reads much as an empty message: a listing id proves that it is none.
        """
        if (kind := _MESSAGES.get(self.about("topic"))) is None:
            return None
        try:
            message = kind.FromString(self.value)
        except DecodeError:
            return None
        return message if _listing_id(message) else None

    @property
    def seller(self) -> str:
        """Whose photo or listing it is; "" where the record doesn't say, as results and removals don't."""
        match self.message:
            case image_pb2.ImageUploaded() as upload:
                return upload.seller_id
            case listing_pb2.ListingChanged() as change:
                return change.listing.seller_id
        return ""

    def as_json(self) -> dict[str, Any]:
        said = {name: self.about(name) for name in ("task", "stage", "code", "message", "pack")}
        place = {"partition": self.partition, "offset": self.offset, "time": self.at.isoformat()}
        return {**place, **said, "listing": self.key, "seller": self.seller, "origin": self.origin}


def _listing_id(message: Any) -> str:
    """Results name their listing in their assessment."""
    return str(getattr(message, "assessment", message).listing_id)


def dead_letters(bootstrap: str, newest: int | None = None) -> Iterator[DeadLetter]:
    """What lies in the topic now, the oldest first within each partition; at most `newest` of each partition.

    Raises Transient when no broker answers or it stops answering.
    """
    consumer = reader(bootstrap)
    try:
        for partition, (start, end) in watermarks(consumer, bootstrap, DEAD_LETTERS).items():
            first = start if newest is None else max(start, end - newest)
            yield from _read(consumer, partition, first, end)
    finally:
        consumer.close()


def dead_letter_at(bootstrap: str, partition: int, offset: int) -> DeadLetter:
    """One of them. Raises NoSuchLetter when it is not there, Transient when no broker answers."""
    consumer = reader(bootstrap)
    try:
        start, end = watermarks(consumer, bootstrap, DEAD_LETTERS).get(partition, (0, 0))
        if not start <= offset < end:
            there = f"offsets {start} to {end - 1}" if start < end else "nothing"
            raise NoSuchLetter(f"no dead letter {offset} in partition {partition}; it holds {there}")
        return next(_read(consumer, partition, offset, end))
    finally:
        consumer.close()


def _read(consumer: Consumer, partition: int, first: int, end: int) -> Iterator[DeadLetter]:
    return (_letter(message, partition) for message in read(consumer, DEAD_LETTERS, partition, first, end))


def _letter(message: Delivered, partition: int) -> DeadLetter:
    key, value, offset = message.key(), message.value(), message.offset()
    assert offset is not None  # a delivered message has one
    return DeadLetter(
        partition,
        offset,
        datetime.fromtimestamp(message.timestamp()[1] / 1000, UTC),
        _text(key),
        value if isinstance(value, bytes) else b"",
        {name: _text(said) for name, said in dict(message.headers() or ()).items()},
    )


def _text(said: Any) -> str:
    return said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said or "")
