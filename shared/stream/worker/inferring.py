"""The second stage: the device, two batches at a time.

At the end of a batch some of the device is idle already, and then the heads run on a CPU. Meanwhile the device works on
the next one.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

import structlog

from shared import metrics
from shared.errors import OutOfMemory, Poison, Transient
from shared.photos import Photo
from shared.stream.batching import BatchLimit
from shared.stream.worker.limits import BATCHES_AT_ONCE
from shared.stream.worker.work import AnyTask, Work

log = structlog.get_logger()
T = TypeVar("T")
# A task, the photos that it looks at, and its input from each.
TaskInputs = tuple[AnyTask, Sequence[Photo], Sequence[Any]]


class Inferring:
    """Runs the tasks on threads of its own. A batch that fails is halved until the culprit is alone."""

    def __init__(self, tasks: Sequence[AnyTask], limit: BatchLimit) -> None:
        self._tasks = tasks
        self._limit = limit
        # Query photos share them: one waits until a batch ends, and then for its turn.
        self.device = ThreadPoolExecutor(BATCHES_AT_ONCE, thread_name_prefix="infer")
        self._at_work = 0
        self._idle_since = time.perf_counter()

    async def warm_up(self) -> None:
        for task in self._tasks:
            await self._on_device(task.warm_up)

    async def batch(self, batch: Sequence[Work]) -> None:
        """Then each work has what was found in it, or why it was rejected. Raises whatever else went wrong."""
        if not batch:
            return
        metrics.BATCH_PHOTOS.observe(len(batch))
        metrics.BATCH_LIMIT.set(self._limit.photos)
        looking = [(task, [work for work in batch if task.name in work.inputs]) for task in self._tasks]
        inputs = [_inputs_of(task, works) for task, works in looking]
        self._at_work += 1
        try:
            answers = await self._on_device(self._answers, inputs, len(batch))
        finally:
            self._at_work -= 1
            self._idle_since = time.perf_counter()
        for (task, works), found in zip(looking, answers, strict=True):
            for work, one in zip(works, found, strict=True):
                if isinstance(one, Poison):
                    work.reject("infer", one, task)
                else:
                    work.found[task.name] = one
        for work in batch:
            work.inferred = True
            work.inputs.clear()

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """For a batch that isn't ready; if the device has nothing else to do, it is starved."""
        since = time.perf_counter()
        yield
        if not self._at_work:
            metrics.STARVED_SECONDS.inc(time.perf_counter() - max(since, self._idle_since))

    async def _on_device(self, call: Callable[..., T], *args: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self.device, call, *args)

    # --- on the device's threads -------------------------------------------------------------------------------------

    def _answers(self, inputs: Sequence[TaskInputs], photos: int) -> list[list[Any]]:
        """What each task found in each photo, or its Poison."""
        started = time.perf_counter()
        answers = [self._of_task(*one) for one in inputs]
        seconds = time.perf_counter() - started
        metrics.STAGE_SECONDS.labels("infer").observe(seconds)
        self._limit.took(photos, seconds)
        return answers

    def _of_task(self, task: AnyTask, photos: Sequence[Photo], inputs: Sequence[Any]) -> list[Any]:
        if not photos:
            return []
        alone = len(photos) == 1
        try:
            found = list(task.infer(photos, inputs))
            if len(found) != len(photos):
                raise ValueError(f"{task.name} answered {len(found)} of {len(photos)} photos")
            return found
        except (OutOfMemory, MemoryError):
            # Nobody's fault. Not even one photo fits: the device is, and the process stops.
            if alone:
                raise
            self._limit.ran_out_of_memory(len(photos))
            log.warning("out of memory: smaller batches from now on", photos=self._limit.photos)
        except Transient:
            raise
        except Poison as why:
            if alone:
                return [why]
        except Exception as why:  # noqa: BLE001  whatever went wrong, halving finds whose it was
            if alone:
                # Blame the record only if the model still works; else crash: the device is broken.
                task.warm_up()
                return [Poison("inference_failed", f"{type(why).__name__}: {why}")]
        half = len(photos) // 2
        return self._of_task(task, photos[:half], inputs[:half]) + self._of_task(task, photos[half:], inputs[half:])


def _inputs_of(task: AnyTask, works: Sequence[Work]) -> TaskInputs:
    return task, [work.photo for work in works if work.photo is not None], [work.inputs[task.name] for work in works]
