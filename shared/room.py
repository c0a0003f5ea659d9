"""How much the tasks of one event loop may hold together; for threads that decode see shared/decoding.py."""

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Room:
    """Bytes held at once, and maybe by no more than so many holders; who needs more than is free waits.

    First come, first let in. What is larger than the whole room gets it alone.
    """

    def __init__(self, size: int, holders: int | None = None) -> None:
        self._size = self._free = size
        self._places = math.inf if holders is None else holders
        self._first_in_line = asyncio.Lock()
        self._given_back = asyncio.Event()

    @asynccontextmanager
    async def held(self, size: int) -> AsyncIterator["Held"]:
        """Entered when there is room for so many bytes."""
        size = min(size, self._size)
        async with self._first_in_line:
            while size > self._free or not self._places:
                self._given_back.clear()
                await self._given_back.wait()
            self._free, self._places = self._free - size, self._places - 1
        held = Held(self, size)
        try:
            yield held
        finally:
            self._places += 1
            held.shrink(0)

    def give_back(self, size: int) -> None:
        self._free += size
        self._given_back.set()


class Held:
    """What one task has of a room."""

    def __init__(self, room: Room, size: int) -> None:
        self._room = room
        self._size = size

    def shrink(self, size: int) -> None:
        """It needs no more than this any longer."""
        self._room.give_back(self._size - size)
        self._size = size
