"""How long one photo is waited for, and when it is blamed for what went wrong."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

import structlog

from shared import metrics
from shared.errors import OutOfMemory, Poison, Transient, Unusable
from shared.stream.records import Record

log = structlog.get_logger()
T = TypeVar("T")
# What a task or the store may raise. Anything else may be the photo's doing, or a bug's.
FORESEEN = (Poison, Transient, OutOfMemory, Unusable)


@dataclass(frozen=True, slots=True)
class Unforeseen:
    """What a task raised in a thread, for the loop to judge."""

    why: Exception


@dataclass(frozen=True, slots=True)
class Try:
    """So many seconds, from when `free` is entered."""

    seconds: float
    free: AbstractAsyncContextManager[Any] = field(default_factory=nullcontext)


class Patience:
    """One slow photo must not hold its whole partition: two bounded tries, then it is poison.

    Unless a known-good photo doesn't get through either: then a store or a server hangs, and that is nobody's fault.
    What nobody foresaw is judged likewise: it is the photo's doing, or else the program is broken and stops.
    """

    def __init__(self, is_sound: Callable[[Record], Awaitable[bool]], progressed: Callable[[], None]) -> None:
        """`is_sound` says whether a known-good photo gets through; asked about the record at hand. `progressed` is told
        of each try's end: a time-out too moves a record on, since it gets two."""
        self._is_sound = is_sound
        self._progressed = progressed

    async def __call__(
        self, record: Record, stage: str, tries: Sequence[Try], attempt: Callable[[], Awaitable[T]]
    ) -> T:
        """What `attempt` returns. Raises Poison("timeout"), Transient, and what else the attempt raises."""
        with metrics.STAGE_SECONDS.labels(stage).time():
            for one in tries:
                async with one.free:
                    try:
                        with suppress(TimeoutError):
                            async with asyncio.timeout(one.seconds):
                                return await attempt()
                    finally:
                        self._progressed()
        slow = f"{stage} took longer than {' s, then longer than '.join(f'{one.seconds:g}' for one in tries)} s"
        if not await self._is_sound(record):
            raise Transient(f"{slow}, and a known-good photo does not get through either")
        raise Poison("timeout", slow)

    async def blame(self, record: Record, stage: str, why: Exception) -> Poison:
        """What to say of a photo for which something was raised that nobody foresaw.

        Raises it where a known-good photo doesn't get through either.
        """
        if not await self._is_sound(record):
            raise why
        said = f"{type(why).__name__}: {why}"
        if not record.self_test:  # its own says so where it is asked
            log.error("unforeseen", record=record.place, stage=stage, error=said, exc_info=why)
        return Poison("unforeseen", said)

    async def blame_for_deaths(self, record: Record) -> Poison:
        """What to say of a photo that is known to kill. Raises Transient where we aren't sound either."""
        killed = "killed the worker twice when it was looked at alone"
        if not await self._is_sound(record):
            raise Transient(f"{record.place} {killed}, but a known-good photo does not get through either")
        return Poison("crash", killed)
