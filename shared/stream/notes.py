"""What a committed offset says besides its number: JSON in the metadata that Kafka keeps with it.

It outlives process, pod and machine, and whoever is given the partition next reads it.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

from confluent_kafka import TopicPartition

from shared.durability import Stamp


def metadata_of(committed: TopicPartition) -> str:
    """The JSON object, without objects in it, that was committed beside an offset; "" when there is none.

    librdkafka doesn't end metadata where they end (issue 4649), so what the client makes of them may go on with bytes
    of anything, or be refused for them.
    """
    try:
        told = committed.metadata or ""
    except UnicodeDecodeError as why:
        told = why.object.decode(errors="replace")
    written, end, _ = told.partition("}")
    return written + end


@dataclass(frozen=True, slots=True)
class OffsetNote:
    """How those fared who began at this offset. Whoever gets past it leaves a new one, without these counts."""

    begun: int = 0  # processes that began here, and neither got past it nor ended as they should
    alone: int = 0  # of those, the ones that had this record in flight and no other
    more: Mapping[str, Any] = field(default_factory=dict)  # keys that others wrote, kept as they are

    @classmethod
    def read(cls, metadata: str | None) -> Self:
        """From what Kafka has. What isn't ours, or can't be read, says nothing."""
        try:
            said = json.loads(metadata or "{}")
        except ValueError:
            return cls()
        if not isinstance(said, dict):
            return cls()
        more = {name: value for name, value in said.items() if name not in ("begun", "alone")}
        return cls(_count(said.get("begun")), _count(said.get("alone")), more)

    @property
    def metadata(self) -> str:
        """For Kafka, which takes 4 KiB at most; "" when there is nothing to say."""
        counts = {name: count for name, count in (("begun", self.begun), ("alone", self.alone)) if count}
        said = {**self.more, **counts}
        return json.dumps(said, separators=(",", ":")) if said else ""

    def stamped(self, stamp: Stamp | None) -> Self:
        """With the stamp of what keeps the effect of all records before this offset."""
        return self if stamp is None else replace(self, more={**self.more, **stamp.written()})

    def past(self) -> Self:
        """That of a higher offset: nobody began there yet."""
        return type(self)(more=self.more)


def _count(said: Any) -> int:
    return said if isinstance(said, int) and said > 0 else 0
