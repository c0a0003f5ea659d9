"""Threads that compute."""

import asyncio
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
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
