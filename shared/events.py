"""Events as they lie on Kafka: a protobuf value, and CloudEvents 1.0 in binary content mode in the headers.

https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/kafka-protocol-binding.md
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol, TypeVar

from google.protobuf.message import DecodeError, Message

from shared.errors import Poison
from shared.topics import Topic
from shared.tracing import current_traceparent

M = TypeVar("M", bound=Message)


@dataclass(frozen=True, slots=True)
class Event:
    """One message to publish: where, under which key, and its bytes."""

    topic: Topic
    key: str
    value: bytes
    headers: Mapping[str, bytes] = field(default_factory=dict)


class Publisher(Protocol):
    """shared.stream.producer.Producer, or a fake of it."""

    async def send(self, events: Sequence[Event]) -> None:
        """Returns after the broker has acknowledged all of them; raises Transient."""
        ...


def event(topic: Topic, key: str, message: Message, *, id_parts: Iterable[object], source: str) -> Event:
    """`id_parts` are what makes the event this one and no other: the same parts give the same ce_id.

    `source` names the service: "gateway", "classification". The current span's traceparent goes along.
    """
    if topic.message is not None and not isinstance(message, topic.message):
        raise TypeError(f"{topic.name} carries {topic.message.__name__}, not {type(message)}")
    headers = {
        "ce_specversion": "1.0",
        "ce_id": deterministic_id(topic.name, *id_parts),
        "ce_type": f"vitrine.{topic.name}.v1",
        "ce_source": f"/vitrine/{source}",
        "ce_subject": key,
        "ce_time": datetime.now(UTC).isoformat(),
        "content-type": "application/protobuf",
    }
    if traceparent := current_traceparent():
        headers["traceparent"] = traceparent
    return Event(topic, key, message.SerializeToString(), {k: v.encode() for k, v in headers.items()})


def parse(message_type: type[M], value: bytes) -> M:
    """Raises Poison("undecodable") when the bytes are not such a message."""
    try:
        return message_type.FromString(value)
    except DecodeError as why:
        raise Poison("undecodable", f"not a {message_type.__name__}: {why}") from why


def deterministic_id(*parts: object) -> str:
    """32 hex digits that depend on the parts, in order, and on nothing else."""
    spelled = "\x1f".join(str(part) for part in parts)
    return hashlib.sha256(spelled.encode()).hexdigest()[:32]
