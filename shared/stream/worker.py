"""Consume -> fetch and prepare -> infer -> conclude -> publish -> flush and commit, with the stages overlapped."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeVar

import structlog
from google.protobuf.message import Message

from shared import metrics
from shared.errors import OutOfMemory, Poison, Transient
from shared.events import Event, event
from shared.health import Health
from shared.photos import Photo
from shared.stream.batching import END, BatchLimit, batches
from shared.stream.fetching import Fetch
from shared.stream.records import Assignment, Outcome, Record, Rejected, Result
from shared.stream.task import Task
from shared.topics import CANARY, RESULTS
from shared.tracing import extracted, tracer

log = structlog.get_logger()
T = TypeVar("T")


class Source(Protocol):
    """Where records come from. Owns polling, rebalances and offsets."""

    def __aiter__(self) -> AsyncIterator[Record]: ...
    async def commit(self, offsets: Mapping[Assignment, int]) -> None: ...
    def hold(self) -> None: ...
    def release(self) -> None: ...
    def stop(self) -> None: ...


class Sink(Protocol):
    """Result topics and dead letters. Returns once the broker has acknowledged."""

    async def send(self, outcomes: Sequence[Outcome]) -> None: ...


@dataclass(frozen=True, slots=True)
class Limits:
    """What bounds a worker. Times are seconds."""

    batch_photos: int = 32
    # A query photo waits for at most one batch.
    batch_seconds: float = 0.1
    # How long a batch waits to fill up, and then for its slowest photo before going on without it.
    fill_seconds: float = 0.02
    straggler_seconds: float = 0.5
    # One try; a photo gets two.
    fetch_seconds: float = 10.0
    prepare_seconds: float = 10.0
    conclude_seconds: float = 30.0
    cpu_threads: int = 4
    # So many rejected in a row raise the question whose fault it is.
    suspicious_rejections: int = 10
    retest_seconds: float = 5.0


@dataclass(slots=True, eq=False)
class Work:
    """One record on its way, and what each task has made of it so far."""

    record: Record
    era: int
    photo: Photo | None = None
    inputs: dict[str, Any] = field(default_factory=dict)
    found: dict[str, Any] = field(default_factory=dict)
    inferred: bool = False
    outcomes: dict[str, Outcome] = field(default_factory=dict)

    @property
    def rejected(self) -> bool:
        return any(isinstance(outcome, Rejected) for outcome in self.outcomes.values())


async def keeps_nothing() -> None:
    """For tasks whose results are all there is to keep."""


class Worker:
    """Runs one or many tasks over a stream of photos.

    Every stage keeps arrival order. So once a batch is published, everything before it has been too, and the commit is
    the batch's last offset plus one. A photo that one task rejects still gets the other tasks' results.
    """

    def __init__(
        self,
        source: Source,
        fetch: Fetch,
        tasks: Sequence[Task[Any, Any]],
        sink: Sink,
        canary: Record,
        limits: Limits | None = None,
        health: Health | None = None,
        flushed: Callable[[], Awaitable[None]] = keeps_nothing,
    ) -> None:
        """`flushed` returns once all that the tasks keep elsewhere is on disk: it is awaited before each commit."""
        self.source = source
        self.fetch = fetch
        self.tasks = tasks
        self.sink = sink
        self.canary = canary
        self.limits = limits or Limits()
        self.health = health or Health()
        self._flushed = flushed
        # One thread: kernels queue on one stream anyway. Query photos share it, so they wait for at most a batch.
        self.device = ThreadPoolExecutor(1, thread_name_prefix="infer")
        # Two pools, so that decoding the next batch does not stand behind OCR of the last.
        self._before = Threads("prepare", self.limits.cpu_threads)
        self._after = Threads("conclude", self.limits.cpu_threads)
        self._batch_limit = BatchLimit(self.limits.batch_photos, self.limits.batch_seconds)
        # Bounded queues are the only backpressure: a slow stage blocks the one before.
        self._preparing: asyncio.Queue[Any] = asyncio.Queue(2 * self.limits.batch_photos)
        self._publishing: asyncio.Queue[Any] = asyncio.Queue(2)
        self._stopping = asyncio.Event()
        # A flush takes up to a second, however much it is for: it must neither hold up publishing nor run per batch.
        self._committing: asyncio.Queue[Any] = asyncio.Queue(1000)
        self._in_flight = 0
        self._rejected_in_a_row = 0
        # Grows with every recovery from a failed self-test: what was rejected before it is looked at anew.
        self._era = 0

    async def run(self) -> None:
        """Run until the source ends and all it gave is committed. If any stage crashes, all stop, uncommitted."""
        try:
            await self._on_device(self._warm_up)
            self.health.started()
            async with asyncio.TaskGroup() as stages:
                stages.create_task(self._consume(stages), name="consume")
                stages.create_task(self._infer(stages), name="infer")
                stages.create_task(self._publish(), name="publish")
                stages.create_task(self._commit(), name="commit")
        finally:
            self.health.not_ready("stopping", "stopped")

    def stop(self) -> None:
        """Take nothing more; `run` returns once all that was begun is committed."""
        self.health.not_ready("stopping", "finishing what is in flight")
        self._stopping.set()
        self.source.stop()

    def close(self) -> None:
        """After `run`, and after whoever else uses the device."""
        self.device.shutdown(wait=False, cancel_futures=True)
        self._before.shutdown()
        self._after.shutdown()

    # --- the stages --------------------------------------------------------------------------------------------------

    async def _consume(self, stages: asyncio.TaskGroup) -> None:
        async for record in self.source:
            self._in_flight += 1
            self.health.busy(True)
            await self._preparing.put(stages.create_task(self._prepare(record)))
        await self._preparing.put(END)

    async def _infer(self, stages: asyncio.TaskGroup) -> None:
        async for preparing in batches(self._preparing, self._batch_limit, self.limits.fill_seconds):
            starved = time.perf_counter()
            await asyncio.wait(preparing, timeout=self.limits.straggler_seconds)
            metrics.STARVED_SECONDS.inc(time.perf_counter() - starved)
            # Stragglers follow alone; only their publishing is waited for, at their place in line.
            await self._infer_batch([task.result() for task in preparing if task.done()])
            await self._publishing.put([stages.create_task(self._conclude(task)) for task in preparing])
        await self._publishing.put(END)

    async def _publish(self) -> None:
        while (concluding := await self._publishing.get()) is not END:
            batch = [await work for work in concluding]
            await self._question_rejections(batch)
            with metrics.STAGE_SECONDS.labels("publish").time():
                await self.sink.send([outcome for work in batch for outcome in work.outcomes.values()])
            measure(batch, self.tasks)
            await self._committing.put([work.record for work in batch])
        await self._committing.put(END)

    async def _commit(self) -> None:
        """One flush for all that was published during the last one."""
        last: Any = None
        while last is not END:
            waiting = [await self._committing.get()]
            while not self._committing.empty():
                waiting.append(self._committing.get_nowait())
            last = waiting[-1]
            if records := [record for batch in waiting if batch is not END for record in batch]:
                await self._flushed()
                await self.source.commit(next_offsets(records))
                self._committed(len(records))

    def _committed(self, photos: int) -> None:
        self._in_flight -= photos
        self.health.progressed()
        self.health.busy(self._in_flight > 0)

    # --- one record --------------------------------------------------------------------------------------------------

    async def _prepare(self, record: Record) -> Work:
        work = Work(record, self._era)
        try:
            photo = await self._in_time(record, "fetch", self.limits.fetch_seconds, lambda: self.fetch(record))
        except Poison as why:
            self._reject(work, "fetch", why, *self.tasks)
            return work
        try:
            # A fresh photo per try: the thread of a timed-out one may still be at work on it.
            work.photo, work.inputs, refused = await self._in_time(
                record,
                "prepare",
                self.limits.prepare_seconds,
                lambda: self._before.run(self._inputs, photo.fresh()),
                self._before.free,
            )
        except Poison as why:
            self._reject(work, "prepare", why, *self.tasks)
            return work
        for task, poison in refused:
            self._reject(work, "prepare", poison, task)
        return work

    def _inputs(self, photo: Photo) -> tuple[Photo, dict[str, Any], list[tuple[Task[Any, Any], Poison]]]:
        inputs: dict[str, Any] = {}
        refused: list[tuple[Task[Any, Any], Poison]] = []
        for task in self.tasks:
            try:
                inputs[task.name] = task.prepare(photo)
            except Poison as why:
                refused.append((task, why))
        return photo, inputs, refused

    async def _conclude(self, preparing: asyncio.Task[Work]) -> Work:
        work = await preparing
        if not work.inferred:  # a straggler
            await self._infer_batch([work])
        await self._conclude_tasks(work)
        return work

    async def _conclude_tasks(self, work: Work) -> None:
        if (photo := work.photo) is None:
            return
        left = [task for task in self.tasks if task.name in work.found]
        while left:
            done, hangs = await self._conclude_in_turn(work, photo, left)
            for task, outcome in zip(left, done, strict=False):
                if isinstance(outcome, Poison):
                    self._reject(work, "conclude", outcome, task)
                else:
                    work.outcomes[task.name] = outcome
            if hangs:
                self._reject(work, "conclude", hangs, left[len(done)])
            # Those behind one that hangs are none the worse for it.
            left = left[len(done) + 1 :]
        work.found.clear()
        photo.forget_pixels()

    async def _conclude_in_turn(
        self, work: Work, photo: Photo, tasks: Sequence[Task[Any, Any]]
    ) -> tuple[list[Result | Poison], Poison | None]:
        """What came of all tasks, or of those before one that hangs, and what is to be said of that one.

        They share one trip to a thread: four trips would cost more than most of what is done there.
        """
        done: list[Result | Poison] = []

        async def attempt() -> None:
            nonlocal done
            done = []
            try:
                await self._after.run(self._results, work, photo, tasks, done)
            except asyncio.CancelledError:
                done = list(done)  # out of time: what its thread still adds no longer counts
                raise

        try:
            await self._in_time(work.record, "conclude", self.limits.conclude_seconds, attempt, self._after.free)
        except Poison as why:
            if len(done) < len(tasks):
                return done, why
        return done, None

    def _results(self, work: Work, photo: Photo, tasks: Sequence[Task[Any, Any]], done: list[Result | Poison]) -> None:
        context = extracted(work.record.headers)
        for task in tasks:
            with tracer.start_as_current_span(task.name, context=context):
                try:
                    messages = task.conclude(photo, work.found[task.name])
                    events = tuple(result_event(message, task.name) for message in messages)
                    done.append(Result(work.record, task.name, events))
                except Poison as why:
                    done.append(why)

    async def _in_time(
        self,
        record: Record,
        stage: str,
        seconds: float,
        attempt: Callable[[], Awaitable[T]],
        free: AbstractAsyncContextManager[Any] = nullcontext(),  # noqa: B008  has no state
    ) -> T:
        """One slow photo must not hold its whole partition: two bounded tries, then it is poison.

        Unless a known-good photo doesn't get through either: then a store or a server hangs, and Transient is raised.
        """
        with metrics.STAGE_SECONDS.labels(stage).time():
            for _ in range(2):
                async with free:
                    with suppress(TimeoutError):
                        async with asyncio.timeout(seconds):
                            return await attempt()
        slow = f"{stage} took longer than {seconds:g} s, twice"
        if record is not self.canary and not await self._canary_passes():
            raise Transient(f"{slow}, and a known-good photo does not get through either")
        raise Poison("timeout", slow)

    def _reject(self, work: Work, stage: str, why: Poison, *tasks: Task[Any, Any]) -> None:
        with tracer.start_as_current_span("reject", context=extracted(work.record.headers)):
            for task in tasks:
                work.inputs.pop(task.name, None)
                work.outcomes[task.name] = Rejected(work.record, task.name, stage, why.code, why.message)
                log.warning("rejected", task=task.name, stage=stage, code=why.code, why=why.message)

    # --- on the device -----------------------------------------------------------------------------------------------

    def _warm_up(self) -> None:
        for task in self.tasks:
            task.warm_up()

    async def _infer_batch(self, batch: Sequence[Work]) -> None:
        if not batch:
            return
        metrics.BATCH_PHOTOS.observe(len(batch))
        metrics.BATCH_LIMIT.set(self._batch_limit.photos)
        await self._on_device(self._run_tasks, batch)

    def _run_tasks(self, batch: Sequence[Work]) -> None:
        started = time.perf_counter()
        for task in self.tasks:
            self._run_task(task, [work for work in batch if task.name in work.inputs])
        for work in batch:
            work.inferred = True
            work.inputs.clear()
        seconds = time.perf_counter() - started
        metrics.STAGE_SECONDS.labels("infer").observe(seconds)
        self._batch_limit.took(len(batch), seconds)

    def _run_task(self, task: Task[Any, Any], batch: Sequence[Work]) -> None:
        """One task on one batch. A failing batch is halved until the culprit is alone."""
        if not batch:
            return
        photos = [work.photo for work in batch if work.photo is not None]
        try:
            found = task.infer(photos, [work.inputs[task.name] for work in batch])
            for work, output in zip(batch, found, strict=True):
                work.found[task.name] = output
            return
        except (OutOfMemory, MemoryError):
            # Nobody's fault. Not even one photo fits: the device is, and the process stops.
            if len(batch) == 1:
                raise
            self._batch_limit.ran_out_of_memory(len(batch))
            log.warning("out of memory: smaller batches from now on", photos=self._batch_limit.photos)
        except Transient:
            raise
        except Poison as why:
            if len(batch) == 1:
                self._reject(batch[0], "infer", why, task)
                return
        except Exception as why:  # noqa: BLE001  whatever went wrong, halving finds whose it was
            if len(batch) == 1:
                # Blame the record only if the model still works; else crash: the device is broken.
                task.warm_up()
                poison = Poison("inference_failed", f"{type(why).__name__}: {why}")
                self._reject(batch[0], "infer", poison, task)
                return
        half = len(batch) // 2
        self._run_task(task, batch[:half])
        self._run_task(task, batch[half:])

    # --- whose fault is it? ------------------------------------------------------------------------------------------

    async def _question_rejections(self, batch: Sequence[Work]) -> None:
        """Many rejections in a row: test ourselves before any more of them goes to the dead letters.

        Sound: the data are bad, and we go on. Unsound: we wait, unready and with our partitions paused, until a test
        passes; then every record rejected meanwhile is looked at anew.
        """
        for work in batch:
            if work.rejected and work.era < self._era:
                await self._redo(work)
            self._rejected_in_a_row = self._rejected_in_a_row + 1 if work.rejected else 0
            if self._rejected_in_a_row >= self.limits.suspicious_rejections:
                self._rejected_in_a_row = 0
                if not await self._sound():
                    await self._recover()
                    await self._question_rejections(batch)
                    return

    async def _recover(self) -> None:
        self.source.hold()
        metrics.PAUSED.set(1)
        self.health.not_ready("self_test", "a known-good photo does not get through")
        sound = False
        while not sound:
            with suppress(TimeoutError):
                async with asyncio.timeout(self.limits.retest_seconds):
                    await self._stopping.wait()
                    raise Transient("stopped while the self-test fails; what was rejected meanwhile is not committed")
            self.health.progressed()  # waiting is what we are meant to do: not ready, but alive
            sound = await self._sound()
        # Counted after the test: what was rejected before it passed is not to be believed.
        self._era += 1
        metrics.PAUSED.set(0)
        self.health.ready("self_test")
        self.source.release()

    async def _sound(self) -> bool:
        """A known-good photo goes through every stage, from the store to the publish."""
        sound = await self._canary_passes()
        metrics.SELF_TESTS.labels("sound" if sound else "unsound").inc()
        if sound:
            log.warning("many photos in a row were rejected, and this worker is sound: the data are bad")
        return sound

    async def _canary_passes(self) -> bool:
        work = Work(self.canary, self._era)
        await self._redo(work)
        if work.rejected:
            log.error("self-test failed", codes=[o.code for o in work.outcomes.values() if isinstance(o, Rejected)])
            return False
        await self.sink.send([to_canary_topic(o) for o in work.outcomes.values() if isinstance(o, Result)])
        return True

    async def _redo(self, work: Work) -> None:
        """All stages once more, for this record alone."""
        anew = await self._prepare(work.record)
        await self._infer_batch([anew])
        await self._conclude_tasks(anew)
        work.photo, work.outcomes, work.era = anew.photo, anew.outcomes, self._era

    async def _on_device(self, call: Callable[..., T], *args: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self.device, call, *args)


class Threads:
    """CPU threads, and a semaphore to wait on for a free one: a clock that starts after it times the work alone."""

    def __init__(self, name: str, count: int) -> None:
        self._name = name
        self._count = count
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
        return ThreadPoolExecutor(self._count, thread_name_prefix=self._name)

    def shutdown(self) -> None:
        self._pool.shutdown(wait=False)


def next_offsets(records: Sequence[Record]) -> dict[Assignment, int]:
    """Where each assignment should resume once these are safely published."""
    resume: dict[Assignment, int] = {}
    for record in records:
        resume[record.assignment] = max(resume.get(record.assignment, 0), record.offset + 1)
    return resume


def result_event(message: Message, task: str) -> Event:
    """A result on its topic. Same photo, revision, pack and finding: same ce_id, so a repeat is recognisable."""
    about = message.assessment  # type: ignore[attr-defined]  # every result message has one
    others = [reason.other_listing_id for reason in message.fraud.reasons] if hasattr(message, "fraud") else []
    parts = [about.listing_id, about.revision, about.photo_sha256, about.pack, *others]
    return event(RESULTS[type(message)], about.listing_id, message, id_parts=parts, source=task)


def to_canary_topic(result: Result) -> Result:
    """Proof that publishing works, where no join reads it."""
    return replace(result, events=tuple(replace(e, topic=CANARY) for e in result.events))


def count(outcome: Outcome) -> None:
    rejected = isinstance(outcome, Rejected)
    metrics.OUTCOMES.labels(outcome.task, "rejected" if rejected else "done").inc()
    if isinstance(outcome, Rejected):
        metrics.DEAD_LETTERS.labels(outcome.task, outcome.stage, outcome.code).inc()


def measure(batch: Sequence[Work], tasks: Sequence[Task[Any, Any]]) -> None:
    """What was published, and how old its uploads are by now."""
    for outcome in (outcome for work in batch for outcome in work.outcomes.values()):
        count(outcome)
    for uploaded in (work.photo.upload.uploaded_at for work in batch if work.photo):
        age = time.time() - uploaded.ToNanoseconds() / 1e9
        for task in tasks:
            metrics.RESULT_AGE_SECONDS.labels(task.name).observe(max(0.0, age))
