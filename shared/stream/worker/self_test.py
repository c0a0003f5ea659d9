"""Whose fault is it? A known-good photo is sent through all stages to find out."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Protocol

import structlog

from shared import metrics
from shared.errors import Transient
from shared.health import Health
from shared.stream.records import Outcome, Record, Rejected, Result
from shared.stream.worker.limits import Limits
from shared.stream.worker.work import Ready
from shared.topics import CANARY

log = structlog.get_logger()

Through = Callable[[Record, Sequence[str] | None], Awaitable[tuple[Outcome, ...]]]


class Holds(Protocol):
    """What a source can be told: fetch nothing more, and go on."""

    def hold(self) -> None: ...
    def release(self) -> None: ...


class SelfTest:
    """Many rejections in a row raise the question: test ourselves before any more of them go to the dead letters.

    Sound: the data are bad, and we go on. Unsound: we wait, unready and with our partitions paused, until a test
    passes; then every record rejected meanwhile is looked at anew. So of each task at most as many photos are rejected
    wrongly as raise no question yet.
    """

    def __init__(
        self,
        canary: Record,
        through: Through,
        send: Callable[[Sequence[Outcome]], Awaitable[None]],
        source: Holds,
        limits: Limits,
        health: Health,
    ) -> None:
        """`through` takes a record through all stages up to publishing, for the tasks named or for all."""
        self._canary = canary
        self._through = through
        self._send = send
        self._source = source
        self._limits = limits
        self._health = health
        self._stopping = asyncio.Event()
        self._in_a_row: Counter[str] = Counter()  # rejections, by task
        # Grows with every recovery from a failed test: what was rejected before it is looked at anew.
        self.era = 0

    def stop(self) -> None:
        self._stopping.set()

    async def excuses(self, record: Record) -> bool:
        """Whether a known-good photo gets through where this record did not. Nobody asks it of that photo itself."""
        return record is self._canary or await self._passes()

    async def question(self, batch: Sequence[Ready]) -> list[Ready]:
        """What may be published of these. Raises Transient when told to stop while a test fails."""
        batch = [await self._anew(one) for one in batch]
        for outcome in (outcome for one in batch for outcome in _telling(one)):
            if self._raises_the_question(outcome) and not await self._sound():
                await self._recover()
                return await self.question(batch)
        return batch

    def _raises_the_question(self, outcome: Outcome) -> bool:
        """Counts on from one batch to the next."""
        rejected = isinstance(outcome, Rejected)
        self._in_a_row[outcome.task] = self._in_a_row[outcome.task] + 1 if rejected else 0
        if self._in_a_row[outcome.task] < self._limits.suspicious_rejections:
            return False
        self._in_a_row.clear()
        return True

    async def _anew(self, ready: Ready) -> Ready:
        """What was rejected before the last recovery is not to be believed."""
        rejected = [outcome.task for outcome in ready.outcomes if isinstance(outcome, Rejected)]
        if not rejected or ready.work.era == self.era:
            return ready
        ready.work.era = self.era
        kept = [outcome for outcome in ready.outcomes if isinstance(outcome, Result)]
        return replace(ready, outcomes=(*kept, *await self._through(ready.work.record, rejected)))

    async def _recover(self) -> None:
        self._source.hold()
        metrics.PAUSED.set(1)
        self._health.not_ready("self_test", "a known-good photo does not get through")
        sound = False
        while not sound:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._limits.retest_seconds):
                    await self._stopping.wait()
                    raise Transient("stopped while the self-test fails; what was rejected meanwhile is not committed")
            self._health.progressed()  # waiting is what we are meant to do: not ready, but alive
            sound = await self._sound()
        # Counted after the test: what was rejected before it passed is not to be believed.
        self.era += 1
        metrics.PAUSED.set(0)
        self._health.ready("self_test")
        self._source.release()

    async def _sound(self) -> bool:
        sound = await self._passes()
        metrics.SELF_TESTS.labels("sound" if sound else "unsound").inc()
        if sound:
            log.warning("many photos in a row were rejected, and this worker is sound: the data are bad")
        return sound

    async def _passes(self) -> bool:
        """A known-good photo goes through every stage, from the store to the publish."""
        outcomes = await self._through(self._canary, None)
        if codes := [one.code for one in outcomes if isinstance(one, Rejected)]:
            log.error("self-test failed", codes=codes)
            return False
        await self._send([to_canary_topic(one) for one in outcomes if isinstance(one, Result)])
        return True


def _telling(ready: Ready) -> Sequence[Outcome]:
    """Those that say whether we are sound. A result that took no look doesn't.

    Else photos that come again would hide that all others are rejected.
    """
    return [one for one in ready.outcomes if isinstance(one, Rejected)] if ready.work.spared else ready.outcomes


def to_canary_topic(result: Result) -> Result:
    """Proof that publishing works, where no join reads it."""
    return replace(result, events=tuple(replace(e, topic=CANARY) for e in result.events))
