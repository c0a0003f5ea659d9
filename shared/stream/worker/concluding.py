"""The third stage: CPU threads again, for arithmetic, look-ups and reading text.

What is quick is concluded in one trip to a thread and is ready at once. What takes long has threads of its own, which
yield the cores to everything else, so that text on one photo holds up neither that photo's category nor the next photo.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from typing import Any

from shared.errors import Poison
from shared.events import Event, event
from shared.photos import Photo
from shared.room import Room
from shared.stream.records import Record, Result
from shared.stream.task import Finding
from shared.stream.worker.limits import Limits
from shared.stream.worker.patience import FORESEEN, Patience, Try, Unforeseen
from shared.stream.worker.threads import YIELDING, Threads
from shared.stream.worker.work import AnyTask, Work
from shared.topics import RESULTS
from shared.tracing import extracted, tracer

# Of one task: what it found, or why it could not.
Concluded = Result | Poison | Unforeseen


class Concluding:
    """Makes outcomes of what was found, and says when there are some."""

    def __init__(self, tasks: Sequence[AnyTask], limits: Limits, patience: Patience) -> None:
        self._tasks = tasks
        self._limits = limits
        self._patience = patience
        # Not those that prepare: decoding the next batch must not stand behind what is concluded of the last.
        self._quick = Threads("conclude", limits.cpu_threads)
        self._long = Threads("read", limits.cpu_threads, nice=YIELDING)
        self._waiting = Room(limits.waiting_bytes, limits.waiting_photos)

    async def conclude(self, work: Work, ready: Callable[[Work], Awaitable[None]], until_quick: AsyncExitStack) -> None:
        """Calls `ready` once or twice, whenever the work has outcomes to be taken. Raises Transient.

        `until_quick` is closed when no more is left than what takes long, and that has a place to wait.
        """
        if (photo := work.photo) is not None:
            # What took long of a remembered photo lies in its notes.
            quick = [task for task in self._asked(work) if work.spared or not task.takes_long(work.found[task.name])]
            await self._tasks_of(work, photo, quick, self._quick)
            photo.forget("input")
        lengthy = self._asked(work)
        if not lengthy:
            # Who takes what is ready may be long in coming.
            work.photo = photo = None
        await ready(work)
        if photo is not None and lengthy:
            async with self._waiting.held(len(photo.body)):
                await until_quick.aclose()
                await self._tasks_of(work, photo, lengthy, self._long)
            work.photo = photo = None
            await ready(work)

    def close(self) -> None:
        self._quick.shutdown()
        self._long.shutdown()

    def _asked(self, work: Work) -> list[AnyTask]:
        return [task for task in self._tasks if task.name in work.found]

    async def _tasks_of(self, work: Work, photo: Photo, tasks: Sequence[AnyTask], threads: Threads) -> None:
        """All tasks in one trip: four would cost more than most of what is done there.

        Those behind one that hangs are none the worse for it: they get a trip of their own.
        """
        left = list(tasks)
        while left:
            asked = [(task, work.found[task.name]) for task in left]
            done, hangs = await self._in_turn(work.record, photo, asked, threads)
            for task, outcome in zip(left, done, strict=False):
                if isinstance(outcome, Unforeseen):
                    outcome = await self._patience.blame(work.record, "conclude", outcome.why)
                if isinstance(outcome, Poison):
                    work.reject("conclude", outcome, task)
                else:
                    work.found.pop(task.name)
                    work.outcomes.append(outcome)
            if hangs:
                work.reject("conclude", hangs, left[len(done)])
            left = left[len(done) + 1 :]

    async def _in_turn(
        self, record: Record, photo: Photo, asked: Sequence[tuple[AnyTask, Any]], threads: Threads
    ) -> tuple[Sequence[Concluded], Poison | None]:
        """What came of all tasks, or of those before one that hangs, and what is to be said of that one."""
        done: list[Concluded] = []

        async def attempt() -> None:
            nonlocal done
            done = []
            try:
                await threads.run(_results, record, photo, asked, done)
            except asyncio.CancelledError:
                done = list(done)  # out of time: what its thread still adds no longer counts
                raise

        tries = [Try(self._limits.conclude_seconds, threads.free)] * 2
        try:
            await self._patience(record, "conclude", tries, attempt)
        except Poison as why:
            if len(done) < len(asked):
                return done, why
        return done, None


def _results(record: Record, photo: Photo, asked: Sequence[tuple[AnyTask, Any]], done: list[Concluded]) -> None:
    """Adds to `done` as it goes: the loop has to know how far it came."""
    context = extracted(record.headers)
    for task, found in asked:
        with tracer.start_as_current_span(task.name, context=context):
            try:
                events = tuple(result_event(finding, task.name) for finding in task.conclude(photo, found))
                done.append(Result(record, task.name, events))
            except Poison as why:
                done.append(why)
            except FORESEEN:
                raise
            except Exception as why:  # noqa: BLE001  a known-good photo tells whose fault it is
                done.append(Unforeseen(why))


def result_event(finding: Finding, task: str) -> Event:
    """A result on its topic. Same photo, revision, pack and finding: same ce_id, so a repeat is recognisable."""
    message = finding.message
    about = message.assessment  # type: ignore[attr-defined]  # every result message has one
    parts = [about.listing_id, about.revision, about.photo_sha256, about.pack, *finding.id_parts]
    return event(RESULTS[type(message)], about.listing_id, message, id_parts=parts, source=task)
