"""The stages, wired."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from typing import Any, Protocol

from vitrine.events.v1 import image_pb2

from shared import metrics
from shared.health import Health
from shared.room import Room
from shared.stream.batching import END, BatchLimit, batches
from shared.stream.fetching import Fetch, bytes_to_fetch, readable_upload_in
from shared.stream.records import Assignment, Outcome, Record, Result
from shared.stream.revisions import Revisions
from shared.stream.worker.committing import Committing
from shared.stream.worker.concluding import Concluding
from shared.stream.worker.inferring import Inferring
from shared.stream.worker.limits import BATCHES_AT_ONCE, PUBLISHING_BATCHES, Limits
from shared.stream.worker.patience import Patience
from shared.stream.worker.preparing import Preparing
from shared.stream.worker.publishing import Publishing, Sink
from shared.stream.worker.remembered import Remembered
from shared.stream.worker.self_test import SelfTest
from shared.stream.worker.work import AnyTask, Work


class Source(Protocol):
    """Where records come from. Owns polling, rebalances and offsets."""

    def __aiter__(self) -> AsyncIterator[Record]: ...
    def on_receipt(self, tell: Callable[[Record], None]) -> None:
        """`tell` is called with each record as it comes in, often long before it is handed out; in the event loop."""
        ...

    async def commit(self, offsets: Mapping[Assignment, int]) -> None: ...
    def hold(self) -> None: ...
    def release(self) -> None: ...
    def stop(self) -> None: ...


async def keeps_nothing() -> None:
    """The flush of tasks whose results are all there is to keep."""


class Worker:
    """Runs one or many tasks over a stream of photos.

    Each result is published as soon as it is ready; offsets are committed in order, up to the first record of which
    something is still to be published. A photo that one task rejects still gets the other tasks' results.

    A record is spared a look when a newer revision of its listing has come in: then nothing is published for it. Also
    when its photo was looked at lately: then its results are what that look means for this record.
    """

    def __init__(
        self,
        source: Source,
        fetch: Fetch,
        tasks: Sequence[AnyTask],
        sink: Sink,
        canary: Record,
        limits: Limits | None = None,
        health: Health | None = None,
        flushed: Callable[[], Awaitable[None]] = keeps_nothing,
    ) -> None:
        """`flushed` returns once all that the tasks keep elsewhere is on disk: it is awaited before each commit."""
        self.source = source
        self.tasks = tasks
        self.canary = canary
        self.limits = limits or Limits()
        self.health = health or Health()
        patience = Patience(lambda record: self._self_test.excuses(record), self.health.progressed)
        self._batch_limit = BatchLimit(self.limits.batch_photos, self.limits.batch_seconds)
        self._room = Room(self.limits.photo_bytes)
        self._revisions = Revisions()
        self._remembered = Remembered(self.limits.remembered_photos)
        source.on_receipt(self._note_revision)
        self._preparing = Preparing(fetch, self.limits, patience)
        self._inferring = Inferring(tasks, self._batch_limit)
        self._concluding = Concluding(tasks, self.limits, patience)
        self._self_test = SelfTest(canary, self._through, sink.send, source, self.limits, self.health)
        self._publishing = Publishing(sink, self._self_test, PUBLISHING_BATCHES * self.limits.batch_photos)
        self._committing = Committing(flushed, source.commit, self.health)
        # Bounded queues and places are the only backpressure: a slow stage blocks the one before.
        self._prepared: asyncio.Queue[Any] = asyncio.Queue(2 * self.limits.batch_photos)
        self._batches = asyncio.Semaphore(BATCHES_AT_ONCE)
        self._concluded = asyncio.Semaphore(2 * self.limits.batch_photos)

    @property
    def device(self) -> ThreadPoolExecutor:
        """The threads that touch the device, for queries that take turns with the batches."""
        return self._inferring.device

    async def run(self) -> None:
        """Run until the source ends and all it gave is committed. If any stage crashes, all stop, uncommitted."""
        try:
            await self._inferring.warm_up()
            self.health.started()
            async with asyncio.TaskGroup() as stages:
                stages.create_task(self._consume(stages), name="consume")
                stages.create_task(self._infer_and_conclude(), name="infer")
                stages.create_task(self._publishing.run(self._committing.published), name="publish")
                stages.create_task(self._committing.run(), name="commit")
        finally:
            self.health.not_ready("stopping", "stopped")

    def stop(self) -> None:
        """Take nothing more; `run` returns once all that was begun is committed."""
        self.health.not_ready("stopping", "finishing what is in flight")
        self._self_test.stop()
        self.source.stop()

    def close(self) -> None:
        """After `run`, and after whoever else uses the device."""
        self.device.shutdown(wait=False, cancel_futures=True)
        self._preparing.close()
        self._concluding.close()

    # --- the stages --------------------------------------------------------------------------------------------------

    async def _consume(self, stages: asyncio.TaskGroup) -> None:
        async for record in self.source:
            self._committing.begin(record)
            work = Work(record, self._self_test.era)
            upload = readable_upload_in(record)
            if upload is not None:
                self._spare(work, upload)
            if not work.spared:
                await work.room.enter_async_context(self._room.held(bytes_to_fetch(upload)))
            await self._prepared.put(stages.create_task(self._prepare(work)))
        await self._prepared.put(END)

    def _note_revision(self, record: Record) -> None:
        if (upload := readable_upload_in(record)) is not None:
            self._revisions.note(upload)

    def _spare(self, work: Work, upload: image_pb2.ImageUploaded) -> None:
        """Gives the work what it would come to, if nobody has to look for that."""
        if self._revisions.supersede(upload):
            work.outcomes = [Result(work.record, task.name, ()) for task in self.tasks]
        elif (look := self._remembered.recall(upload.photo.sha256)) is not None:
            metrics.REMEMBERED.inc()
            work.photo, work.found = look.photo(upload), dict(look.found)
            work.uploaded_at = upload.uploaded_at.ToMicroseconds() / 1e6
        else:
            return
        work.spared = work.inferred = True

    async def _prepare(self, work: Work) -> Work:
        return work if work.spared else await self._preparing.work(work, self.tasks)

    async def _infer_and_conclude(self) -> None:
        async with asyncio.TaskGroup() as begun:
            await self._batches.acquire()
            async for preparing in batches(self._prepared, self._batch_limit, self.limits.fill_seconds):
                begun.create_task(self._batch(preparing, begun))
                await self._batches.acquire()  # only then is the next one gathered: meanwhile more photos come for it
        await self._publishing.end()

    async def _batch(self, preparing: Sequence[asyncio.Task[Work]], begun: asyncio.TaskGroup) -> None:
        with self._inferring.waiting():
            await asyncio.wait(preparing, timeout=self.limits.straggler_seconds)
        # Stragglers follow alone.
        ready = [task.result() for task in preparing if task.done()]
        await self._inferring.batch([work for work in ready if not work.inferred])
        self.health.progressed()
        for task in preparing:
            await self._concluded.acquire()
            begun.create_task(self._conclude(task))
        self._batches.release()

    async def _conclude(self, preparing: asyncio.Task[Work]) -> None:
        async with AsyncExitStack() as place:
            place.callback(self._concluded.release)
            work = await preparing
            place.push_async_callback(work.room.aclose)
            if not work.inferred:  # a straggler
                await self._inferring.batch([work])
                self.health.progressed()
            look = self._remembered.begin(work)
            await self._concluding.conclude(work, self._publish, place)
            if look and not work.rejected:
                self._remembered.keep(look)

    async def _publish(self, work: Work) -> None:
        await self._publishing.put(work.take_ready())

    async def _through(self, record: Record, tasks: Sequence[str] | None) -> tuple[Outcome, ...]:
        """What comes of this record alone, for these tasks or for all, without publishing it."""
        outcomes: list[Outcome] = []

        async def keep(work: Work) -> None:
            outcomes.extend(work.take_ready().outcomes)

        chosen = [task for task in self.tasks if tasks is None or task.name in tasks]
        work = await self._preparing.work(Work(record, self._self_test.era), chosen)
        await self._inferring.batch([work])
        await self._concluding.conclude(work, keep, AsyncExitStack())
        return tuple(outcomes)
