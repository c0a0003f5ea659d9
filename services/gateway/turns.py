"""Whose turn it is, where many wait for few places."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Turns:
    """So many at once; callers who wait take turns, however much each of them is waiting with.

    So one caller with hundreds of photos has every place while nobody else is there, and every other one when somebody
    is. Belongs to the event loop.
    """

    def __init__(self, places: int) -> None:
        self._free = places
        self._lines: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    @asynccontextmanager
    async def turn(self, caller: str) -> AsyncIterator[None]:
        """Entered when it is the caller's."""
        if self._free:  # then nobody waits
            self._free -= 1
        else:
            await self._called_up(caller)
        try:
            yield
        finally:
            self._pass_on()

    async def _called_up(self, caller: str) -> None:
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._lines.setdefault(caller, deque()).append(mine)
        try:
            await mine
        except asyncio.CancelledError:
            if not mine.cancelled():  # called up in the same moment
                self._pass_on()
            raise

    def _pass_on(self) -> None:
        while self._lines:
            caller, line = self._lines.popitem(last=False)
            first = line.popleft()
            if line:
                self._lines[caller] = line  # behind all others
            if not first.done():  # gave up waiting
                first.set_result(None)
                return
        self._free += 1
