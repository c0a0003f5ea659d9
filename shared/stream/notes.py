"""What a committed offset says besides its number: JSON in the metadata that Kafka keeps with it.

It outlives process, pod and machine, and whoever is given the partition next reads it.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self


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

    def past(self) -> Self:
        """That of a higher offset: nobody began there yet."""
        return type(self)(more=self.more)


def _count(said: Any) -> int:
    return said if isinstance(said, int) and said > 0 else 0
