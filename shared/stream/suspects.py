"""Records that may have killed the process, and where they are."""

from collections.abc import Iterable

import structlog

from shared import metrics
from shared.stream.commits import Beginning
from shared.stream.records import Assignment, Record

log = structlog.get_logger()

# Once is an accident: an eviction, somebody's kill -9.
DEATHS = 2


class Suspects:
    """What kills a worker kills the next one too, since nothing was committed: it is sought, and then left out.

    After two deaths at one committed offset the records from there on are taken one by one, as many as may have been in
    flight. One that was alone in flight at two deaths is the culprit.
    """

    def __init__(self, most_in_flight: int) -> None:
        self._most_in_flight = most_in_flight
        self._left: dict[Assignment, int] = {}  # records to be taken one by one
        self._culprits: dict[Assignment, int] = {}  # offset
        self._found_one = False

    def begin(self, assignment: Assignment, beginning: Beginning) -> None:
        """Draws the conclusions from how those before us fared."""
        found = beginning.found
        place = f"{assignment.topic}/{assignment.partition}@{beginning.offset}"
        if found.alone >= DEATHS:
            log.error("a record kills the worker: it goes to the dead letters", record=place, deaths=found.begun)
            self._culprits[assignment] = beginning.offset
            self._found_one = True
            # The others were bystanders. If not they will kill again, and be sought then.
            self.forget(list(self._left))
        elif found.alone or (found.begun >= DEATHS and not self._found_one):
            log.warning("the process died here before: records are taken one by one", at=place, deaths=found.begun)
            self._left[assignment] = self._most_in_flight
            self._show()

    def looked_through(self, record: Record) -> bool:
        """Whether this one need not be alone."""
        return record.assignment not in self._left

    def killed(self, record: Record) -> bool:
        """Whether it is known to have killed."""
        return self._culprits.get(record.assignment) == record.offset

    def survived(self, record: Record) -> None:
        """It was alone, and we are still there."""
        if (left := self._left.get(record.assignment)) is not None:
            self._left[record.assignment] = left - 1
            if left <= 1:
                self.forget([record.assignment])

    def forget(self, assignments: Iterable[Assignment]) -> None:
        for assignment in assignments:
            self._left.pop(assignment, None)
        self._show()

    def _show(self) -> None:
        metrics.SUSPECT_PARTITIONS.set(len(self._left))
