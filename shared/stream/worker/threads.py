"""Threads, and what may wait for them."""

import asyncio
import math
import os
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any, TypeVar

T = TypeVar("T")
# Of the threads for what takes long: a tenth of a core beside a thread that wants all of it.
YIELDING = 10


class Threads:
    """CPU threads, and a semaphore to wait on for a free one: a clock that starts after it times the work alone.

    `nice` ones yield the cores to all others that want them (Linux counts niceness by thread).
    """

    def __init__(self, name: str, count: int, nice: int = 0) -> None:
        self._name = name
        self._count = count
        self._nice = nice
        self._pool = self._threads()
        self.free = asyncio.Semaphore(count)

    async def run(self, call: Callable[..., T], *args: Any) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, call, *args)
        except asyncio.CancelledError:
            # Out of time: its thread may never come back, so nobody must stand behind it.
            self.shutdown()
            self._pool = self._threads()
            raise

    def _threads(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self._count, thread_name_prefix=self._name, initializer=self._yield_to_others)

    def _yield_to_others(self) -> None:
        if self._nice:
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), self._nice)

    def shutdown(self) -> None:
        self._pool.shutdown(wait=False)


class Room:
    """Places for photos of so many bytes together; first come, first let in. A larger one gets it alone."""

    def __init__(self, size: int, photos: int | None = None) -> None:
        """`photos`: and no more than so many."""
        self._photos = math.inf if photos is None else photos
        self._bytes = size
        self._size = size
        self._turn = asyncio.Lock()
        self._left = asyncio.Condition()

    @asynccontextmanager
    async def of(self, size: int) -> AsyncIterator[None]:
        size = min(size, self._size)
        async with self._turn, self._left:
            await self._left.wait_for(lambda: self._photos > 0 and self._bytes >= size)
            self._photos, self._bytes = self._photos - 1, self._bytes - size
        try:
            yield
        finally:
            async with self._left:
                self._photos, self._bytes = self._photos + 1, self._bytes + size
                self._left.notify_all()
