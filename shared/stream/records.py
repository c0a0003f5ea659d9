"""What travels through a worker: a record in, exactly one outcome per task out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from shared.events import Event
from shared.topics import CANARY


class Assignment(NamedTuple):
    """A partition as it was given to us once. Given again, it is another assignment."""

    topic: str
    partition: int
    epoch: int = 0


@dataclass(frozen=True, slots=True)
class Record:
    """One message as the broker delivered it."""

    assignment: Assignment
    offset: int
    key: bytes
    value: bytes
    headers: Mapping[str, bytes] = field(default_factory=dict)
    killed: bool = False  # the worker, each time that it was looked at alone (shared/stream/suspects.py)

    @property
    def self_test(self) -> bool:
        """Whether it is the self-test's. Known by its topic, which no worker reads: ids are for callers to choose."""
        return self.assignment.topic == CANARY.name

    @property
    def place(self) -> str:
        """For people."""
        return f"{self.assignment.topic}/{self.assignment.partition}@{self.offset}"


@dataclass(frozen=True, slots=True)
class Result:
    """What one task found in one record, as events to publish. Usually one; none of a superseded revision."""

    record: Record
    task: str
    events: tuple[Event, ...]


@dataclass(frozen=True, slots=True)
class Rejected:
    """A record that can never succeed for one task, and why. Goes to the dead-letter topic."""

    record: Record
    task: str
    stage: str  # "fetch", "prepare", "infer" or "conclude"
    code: str
    message: str


Outcome = Result | Rejected
