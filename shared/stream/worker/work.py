"""One record on its way through the stages."""

from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import structlog

from shared.errors import Poison
from shared.photos import Photo
from shared.stream.records import Outcome, Record, Rejected
from shared.stream.task import Task
from shared.tracing import extracted, tracer

log = structlog.get_logger()
AnyTask = Task[Any, Any]


@dataclass(slots=True, eq=False)
class Work:
    """One record, and how far each task is with it. Belongs to the event loop: threads are handed values, not this."""

    record: Record
    era: int  # of the self-test (see self_test.py)
    photo: Photo | None = None  # None before it is fetched, and after the last task has looked
    uploaded_at: float | None = None  # Unix seconds, once it is known
    inputs: dict[str, Any] = field(default_factory=dict)  # by the task's name, until it has inferred
    found: dict[str, Any] = field(default_factory=dict)  # until it has concluded
    outcomes: list[Outcome] = field(default_factory=list)  # until they are published
    inferred: bool = False
    spared: bool = False  # a look at its photo: superseded, or remembered (see worker.py)
    rejected: bool = False  # by at least one task
    room: AsyncExitStack = field(default_factory=AsyncExitStack)  # that its photo takes, until this is closed

    def reject(self, stage: str, why: Poison, *tasks: AnyTask) -> None:
        """The record can't succeed for these tasks; the others go on."""
        self.rejected = True
        # It leads to frames that hold the photo, and they lead back to it: nothing would be freed before a collection.
        why.__traceback__ = None
        with tracer.start_as_current_span("reject", context=extracted(self.record.headers)):
            for task in tasks:
                self.inputs.pop(task.name, None)
                self.found.pop(task.name, None)
                self.outcomes.append(Rejected(self.record, task.name, stage, why.code, why.message))
                log.warning("rejected", task=task.name, stage=stage, code=why.code, why=why.message)

    def take_ready(self) -> "Ready":
        """The outcomes that came since the last time."""
        outcomes, self.outcomes = tuple(self.outcomes), []
        return Ready(self, outcomes, last=not self.found)


@dataclass(frozen=True, slots=True)
class Ready:
    """Outcomes of one work that can be published now."""

    work: Work
    outcomes: tuple[Outcome, ...]
    last: bool  # nothing more will come of this work
