"""How long one photo is waited for."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from typing import Any, TypeVar

from shared import metrics
from shared.errors import Poison, Transient
from shared.stream.records import Record

T = TypeVar("T")


class Patience:
    """One slow photo must not hold its whole partition: two bounded tries, then it is poison.

    Unless a known-good photo doesn't get through either: then a store or a server hangs, and that is nobody's fault.
    """

    def __init__(self, is_sound: Callable[[Record], Awaitable[bool]]) -> None:
        """`is_sound` says whether a known-good photo gets through; asked about the slow record."""
        self._is_sound = is_sound

    async def __call__(
        self,
        record: Record,
        stage: str,
        seconds: float,
        attempt: Callable[[], Awaitable[T]],
        free: AbstractAsyncContextManager[Any] = nullcontext(),  # noqa: B008  has no state
    ) -> T:
        """What `attempt` returns. `free` is waited for first. Raises Poison("timeout"), or Transient."""
        with metrics.STAGE_SECONDS.labels(stage).time():
            for _ in range(2):
                async with free:
                    with suppress(TimeoutError):
                        async with asyncio.timeout(seconds):
                            return await attempt()
        slow = f"{stage} took longer than {seconds:g} s, twice"
        if not await self._is_sound(record):
            raise Transient(f"{slow}, and a known-good photo does not get through either")
        raise Poison("timeout", slow)
