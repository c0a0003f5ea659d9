"""Group a queue into batches that are full or have waited long enough, of a size that the device can bear."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from threading import Lock
from typing import Any

END = object()


class BatchLimit:
    """How many photos a batch may hold now. Any thread may tell it how one went.

    Never more than `photos`; never more than lately took `seconds`, so that a query waits no longer than that behind
    the stream; and after the device ran out of memory never again as many as that batch had.
    """

    def __init__(self, photos: int, seconds: float) -> None:
        self._most = photos
        self._seconds = seconds
        self._per_photo = 0.0
        self._telling = Lock()

    @property
    def photos(self) -> int:
        if self._per_photo <= 0:
            return self._most
        return max(1, min(self._most, int(self._seconds / self._per_photo)))

    def took(self, photos: int, seconds: float) -> None:
        # A slow moment of the machine counts for a fifth, so one outlier does not shrink the batches.
        share = seconds / photos
        with self._telling:
            self._per_photo = share if self._per_photo == 0 else 0.8 * self._per_photo + 0.2 * share

    def ran_out_of_memory(self, photos: int) -> None:
        with self._telling:
            self._most = min(self._most, max(1, photos // 2))


async def batches(queue: asyncio.Queue[Any], limit: BatchLimit, max_wait: float) -> AsyncIterator[list[Any]]:
    """Yield until END. The wait, in seconds, is counted from a batch's first item."""
    while (item := await queue.get()) is not END:
        batch = [item]
        with suppress(TimeoutError):
            async with asyncio.timeout(max_wait):
                while len(batch) < limit.photos and (item := await queue.get()) is not END:
                    batch.append(item)
        yield batch
        if item is END:
            return
