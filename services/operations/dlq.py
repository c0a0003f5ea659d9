"""`vitrine dlq`: reads the dead letters without joining a group, so that looking changes nothing."""

import json
import time
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import click
from confluent_kafka import Consumer, KafkaError, TopicPartition
from confluent_kafka import Message as Delivered
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import DecodeError, Message
from rich.table import Table
from vitrine.events.v1 import image_pb2, listing_pb2

from services.operations.broker import REQUEST_SECONDS, cluster, kafka_option, plain_errors, reader
from services.operations.tables import number, text
from services.operations.tables import show as show_table
from shared.errors import Transient
from shared.topics import DEAD_LETTERS, IMAGE_UPLOADED, LISTING_CHANGED, RESULTS, TASKS

# Of the topics that a worker or the join reads.
_MESSAGES = {topic.name: topic.message for topic in (IMAGE_UPLOADED, LISTING_CHANGED, *RESULTS.values())}


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
        for partition, (start, end) in edges(consumer, bootstrap).items():
            first = start if newest is None else max(start, end - newest)
            yield from _read(consumer, partition, first, end)
    finally:
        consumer.close()


def dead_letter_at(bootstrap: str, partition: int, offset: int) -> DeadLetter:
    """One of them. Raises click.ClickException when it is not there, Transient when no broker answers."""
    consumer = reader(bootstrap)
    try:
        start, end = edges(consumer, bootstrap).get(partition, (0, 0))
        if not start <= offset < end:
            there = f"offsets {start} to {end - 1}" if start < end else "nothing"
            raise click.ClickException(f"no dead letter {offset} in partition {partition}; it holds {there}")
        return next(_read(consumer, partition, offset, end))
    finally:
        consumer.close()


def edges(consumer: Consumer, bootstrap: str) -> dict[int, tuple[int, int]]:
    """First offset, and one past the last, of each partition. {} when the topic was never created."""
    topic = cluster(consumer, bootstrap).topics.get(DEAD_LETTERS.name)
    found = {}
    for partition in sorted(topic.partitions if topic else ()):
        watermarks = consumer.get_watermark_offsets(
            TopicPartition(DEAD_LETTERS.name, partition), timeout=REQUEST_SECONDS
        )
        if watermarks is None:
            raise Transient(f"the broker at {bootstrap} stopped answering")
        found[partition] = watermarks
    return found


def _read(consumer: Consumer, partition: int, first: int, end: int) -> Iterator[DeadLetter]:
    if first >= end:
        return
    consumer.assign([TopicPartition(DEAD_LETTERS.name, partition, first)])
    quiet_since = time.monotonic()
    while time.monotonic() - quiet_since < REQUEST_SECONDS:
        for message in consumer.consume(500, timeout=0.1):
            quiet_since = time.monotonic()
            if error := message.error():
                if error.code() == KafkaError._PARTITION_EOF:
                    return
                raise Transient(f"{DEAD_LETTERS.name} cannot be read: {error.str()}")
            offset = message.offset()
            assert offset is not None  # a delivered message has one
            # What arrived since we began is for the next look.
            if offset >= end:
                return
            yield _letter(message, partition, offset)
            if offset == end - 1:
                return
    raise Transient(f"the broker stopped answering in the middle of {DEAD_LETTERS.name}")


def _letter(message: Delivered, partition: int, offset: int) -> DeadLetter:
    key, value = message.key(), message.value()
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


# --- the commands -----------------------------------------------------------------------------------------------------

json_option = click.option("--json", "as_json", is_flag=True, help="JSON instead of a table.")


@click.group()
def dlq() -> None:
    """Look at the records that no worker could handle."""


@dlq.command("list")
@kafka_option
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1), help="Show the newest so many.")
@click.option("--task", help=f"Only of this task: {', '.join(TASKS)} or join.")
@click.option("--code", help="Only with this reason code, such as unreadable.")
@json_option
def list_(bootstrap: str, limit: int, task: str | None, code: str | None, as_json: bool) -> None:
    """The newest dead letters, oldest first: which record, whose fault, and why. JSON is one line each."""
    filtered = task is not None or code is not None
    with plain_errors():
        found = deque(
            (
                letter
                for letter in dead_letters(bootstrap, None if filtered else limit)
                if task in (None, letter.about("task")) and code in (None, letter.about("code"))
            ),
            maxlen=limit,
        )
    if as_json:
        for letter in found:
            click.echo(json.dumps(letter.as_json(), ensure_ascii=False))
        return
    if not found:
        click.echo("no dead letters" + (" like that" if filtered else ""))
        return
    show_table(_table(list(found)))


def _table(found: list[DeadLetter]) -> Table:
    spread = any(letter.partition for letter in found)
    table = Table(
        number("offset"), "time (UTC)", "task", "stage", "code", text("listing"), text("seller"), text("origin")
    )
    for letter in found:
        offset = f"{letter.offset} (--partition {letter.partition})" if spread else str(letter.offset)
        said = (letter.about(name) for name in ("task", "stage", "code"))
        table.add_row(offset, f"{letter.at:%Y-%m-%d %H:%M:%S}", *said, letter.key, letter.seller, letter.origin)
    return table


@dlq.command("show")
@kafka_option
@click.argument("offset", type=click.IntRange(0))
@click.option("--partition", default=0, show_default=True, type=click.IntRange(0))
@json_option
def show(bootstrap: str, offset: int, partition: int, as_json: bool) -> None:
    """One dead letter: all of its headers, and the record as JSON, or in hex when it is not what its topic holds."""
    with plain_errors():
        letter = dead_letter_at(bootstrap, partition, offset)
    message = letter.message
    decoded = MessageToDict(message, preserving_proto_field_name=True) if message else None
    if as_json:
        name = letter.about("topic").replace(".", "_")
        content = {name: decoded} if decoded else {"value_hex": letter.value.hex()}
        said = {**letter.as_json(), "headers": dict(letter.headers), **content}
        click.echo(json.dumps(said, ensure_ascii=False, indent=2))
        return
    click.echo(f"{DEAD_LETTERS.name}/{letter.partition}@{letter.offset}  {letter.at:%Y-%m-%d %H:%M:%S} UTC")
    for name, value in letter.headers.items():
        click.echo(f"  {name}: {value}")
    click.echo(f"  key: {letter.key}")
    click.echo("")
    if message:
        click.echo(message.DESCRIPTOR.name)
    click.echo(json.dumps(decoded, ensure_ascii=False, indent=2) if decoded else hexdump(letter.value))


def hexdump(value: bytes) -> str:
    """16 bytes a line: offset, hex, and what of it is printable."""
    lines = []
    for at in range(0, len(value), 16):
        row = value[at : at + 16]
        printable = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        lines.append(f"{at:08x}  {row.hex(' '):<47}  {printable}")
    return "\n".join(lines) or "(no bytes)"
