"""What we have been handed, what we have committed, and when the two agree."""

import asyncio
from collections.abc import Iterable, Mapping, Set

from shared.stream.records import Assignment, Record


class Ledger:
    """Lets a rebalance wait for work in flight, without the worker knowing about it."""

    def __init__(self) -> None:
        self._handed_out: dict[Assignment, int] = {}
        self._committed: dict[Assignment, int] = {}
        self._changed = asyncio.Condition()
        self._failure: BaseException | None = None

    def hand_out(self, record: Record) -> None:
        self._handed_out[record.assignment] = record.offset + 1

    def ours(self, offsets: Mapping[Assignment, int]) -> dict[Assignment, int]:
        """Drop what was taken from us since, even if we hold the partition anew: it will be redone."""
        return {a: offset for a, offset in offsets.items() if a in self._handed_out}

    async def committed(self, offsets: Mapping[Assignment, int]) -> None:
        self._committed.update(self.ours(offsets))
        async with self._changed:
            self._changed.notify_all()

    async def settled(self) -> None:
        """Wait until all that was handed out is committed, or no longer ours. Raises what `fail` was told."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._failure or not self._unsettled(self._handed_out.keys()))
        if self._failure:
            raise self._failure

    async def fail(self, why: BaseException) -> None:
        """Nothing more will be committed."""
        self._failure = why
        async with self._changed:
            self._changed.notify_all()

    async def give_back(self, lost: Iterable[Assignment], timeout: float) -> bool:
        """Wait for these to be fully committed, then forget them. False: some were not, in `timeout` seconds."""
        lost = set(lost)
        try:
            async with asyncio.timeout(timeout), self._changed:
                await self._changed.wait_for(lambda: not self._unsettled(lost))
            return True
        except TimeoutError:
            return False
        finally:
            for assignment in lost:
                self._handed_out.pop(assignment, None)
                self._committed.pop(assignment, None)
            async with self._changed:
                self._changed.notify_all()

    def _unsettled(self, among: Set[Assignment]) -> set[Assignment]:
        return {a for a in among & self._handed_out.keys() if self._committed.get(a) != self._handed_out[a]}
