"""The last stage: offsets are committed in order, up to the first record that isn't done."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from shared.health import Health
from shared.stream.batching import END
from shared.stream.records import Assignment, Record

Commit = Callable[[Mapping[Assignment, int]], Awaitable[None]]


class Committing:
    """Knows what was handed to us in which order, and commits what has no gap before it."""

    def __init__(self, flushed: Callable[[], Awaitable[None]], commit: Commit, health: Health) -> None:
        self._flushed = flushed
        self._commit = commit
        self._health = health
        self._begun: dict[Assignment, deque[int]] = {}
        self._done: dict[Assignment, set[int]] = {}
        # A flush takes up to a second, however much it is for: it must neither hold up publishing nor run per batch.
        self.published: asyncio.Queue[Any] = asyncio.Queue(1000)

    def begin(self, record: Record) -> None:
        """Notes a record, in the order in which the source gave them."""
        self._begun.setdefault(record.assignment, deque()).append(record.offset)
        self._health.busy(True)

    async def run(self) -> None:
        """One flush for all that was published during the last one, until END."""
        last: Any = None
        while last is not END:
            waiting = [await self.published.get()]
            while not self.published.empty():
                waiting.append(self.published.get_nowait())
            last = waiting[-1]
            # Published is progress, though a gap may still keep it from being committed.
            self._health.progressed()
            records = [record for batch in waiting if batch is not END for record in batch]
            if offsets := self._next_offsets(records):
                await self._flushed()
                await self._commit(offsets)
                self._health.progressed()
                self._health.busy(any(self._begun.values()))

    def _next_offsets(self, records: Iterable[Record]) -> dict[Assignment, int]:
        """Where each assignment should resume once these are done too; of those that move on."""
        for record in records:
            self._done.setdefault(record.assignment, set()).add(record.offset)
        moved: dict[Assignment, int] = {}
        for assignment, begun in self._begun.items():
            done = self._done.get(assignment, set())
            while begun and begun[0] in done:
                done.remove(begun[0])
                moved[assignment] = begun.popleft() + 1
        for assignment in [one for one, begun in self._begun.items() if not begun]:
            del self._begun[assignment]
            self._done.pop(assignment, None)
        return moved
