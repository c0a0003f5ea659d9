"""The fourth stage: outcomes go to their topics as they become ready, in no order that anybody may rely on."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any, Protocol

from shared import metrics
from shared.stream.batching import END
from shared.stream.records import Outcome, Rejected
from shared.stream.worker.self_test import SelfTest
from shared.stream.worker.work import Ready


class Sink(Protocol):
    """Result topics and dead letters. Returns once the broker has acknowledged."""

    async def send(self, outcomes: Sequence[Outcome]) -> None: ...


class Publishing:
    """Sends what has become ready meanwhile, all in one go."""

    def __init__(self, sink: Sink, self_test: SelfTest, at_once: int) -> None:
        self._sink = sink
        self._self_test = self_test
        # Full, it holds up those that conclude, and so on to the source.
        self._ready: asyncio.Queue[Any] = asyncio.Queue(at_once)

    async def put(self, ready: Ready) -> None:
        await self._ready.put(ready)

    async def end(self) -> None:
        """Nothing more will come."""
        await self._ready.put(END)

    async def run(self, published: "asyncio.Queue[Any]") -> None:
        """Until the end; the records of which everything is published go to `published`, then END."""
        ended = False
        while not ended:
            ready = [await self._ready.get()]
            while not self._ready.empty():
                ready.append(self._ready.get_nowait())
            ended = ready[-1] is END
            if batch := [one for one in ready if one is not END]:
                await self._send(batch)
                await published.put([one.work.record for one in batch if one.last])
        await published.put(END)

    async def _send(self, batch: Sequence[Ready]) -> None:
        batch = await self._self_test.question(batch)
        with metrics.STAGE_SECONDS.labels("publish").time():
            await self._sink.send([outcome for one in batch for outcome in one.outcomes])
        for one in batch:
            measure(one)


def measure(ready: Ready) -> None:
    """What was published, and how old its upload is by now."""
    uploaded = ready.work.uploaded_at
    for outcome in ready.outcomes:
        metrics.OUTCOMES.labels(outcome.task, _came_to(outcome)).inc()
        if isinstance(outcome, Rejected):
            metrics.DEAD_LETTERS.labels(outcome.task, outcome.stage, outcome.code).inc()
        if uploaded is not None:
            metrics.RESULT_AGE_SECONDS.labels(outcome.task).observe(max(0.0, time.time() - uploaded))


def _came_to(outcome: Outcome) -> str:
    if isinstance(outcome, Rejected):
        return "rejected"
    return "done" if outcome.events else "superseded"
