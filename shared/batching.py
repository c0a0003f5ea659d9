"""Group a queue into batches that are full or have waited long enough."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

END = object()


async def batches(queue: asyncio.Queue[Any], max_size: int, max_wait: float) -> AsyncIterator[list[Any]]:
    """Yield until END. The wait is counted from a batch's first item."""
    while (item := await queue.get()) is not END:
        batch = [item]
        with suppress(TimeoutError):
            async with asyncio.timeout(max_wait):
                while len(batch) < max_size and (item := await queue.get()) is not END:
                    batch.append(item)
        yield batch
        if item is END:
            return
