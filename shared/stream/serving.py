"""Runs a worker as a process: settings, health, signals, and what stands beside it. Wired here, once."""

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, NoReturn

import structlog
from pydantic import Field

from shared import metrics
from shared.errors import can_happen_to_anybody
from shared.health import Check, Reason, wait_for, watch
from shared.photo_store import open_photo_store
from shared.process import Process, run
from shared.settings import DurableSettings
from shared.stream.admin import Broker
from shared.stream.fetching import fetch_from
from shared.stream.known_good import known_good
from shared.stream.producer import RESULTS_LINGER_MS, KafkaSink, Producer
from shared.stream.source import GroupProtocol, KafkaSource
from shared.stream.task import Task
from shared.stream.worker import Limits, Worker
from shared.topics import CANARY, DEAD_LETTERS, IMAGE_UPLOADED, RESULTS, group_of
from shared.vision.decode import decode

log = structlog.get_logger()


class WorkerSettings(DurableSettings):
    """Settings of any process that runs tasks."""

    group_protocol: GroupProtocol = Field(default="consumer", description="consumer (KIP-848) or classic")
    batch_photos: int = Field(default=32, description="Most photos in a batch", ge=1)
    batch_seconds: float = Field(default=0.5, description="Batches shrink until one takes no longer than this", gt=0)
    suspicious_rejections: int = Field(default=10, description="So many rejections in a row start a self-test", ge=1)

    @property
    def limits(self) -> Limits:
        return Limits(
            batch_photos=self.batch_photos,
            batch_seconds=self.batch_seconds,
            cpu_threads=self.threads or os.cpu_count() or 1,
            suspicious_rejections=self.suspicious_rejections,
        )


@dataclass(frozen=True, slots=True)
class Wiring:
    """What one service adds to the common worker."""

    tasks: Sequence[Task[Any, Any]]
    pack: str
    # Run as long as the worker does. Each is handed the device's threads, so that queries take turns with batches.
    beside: Sequence[Callable[[Executor], AbstractAsyncContextManager[Any]]] = ()
    # Each returns once what its task keeps elsewhere is on disk. They block, and raise Transient.
    flushes: Sequence[Callable[[], None]] = ()
    # What the tasks need besides the broker and the photo store.
    needs: Mapping[Reason, Check] = field(default_factory=dict)

    async def flushed(self) -> None:
        for flush in self.flushes:
            await asyncio.to_thread(flush)


def run_worker(name: str, build: Callable[[WorkerSettings], Wiring]) -> NoReturn:
    """Until it is told to stop, then drains; see shared/process.py for how it ends."""

    async def service(settings: WorkerSettings, process: Process) -> None:
        await _serve(name, build, settings, process)

    run(name, WorkerSettings, service)


async def _serve(
    name: str, build: Callable[[WorkerSettings], Wiring], settings: WorkerSettings, process: Process
) -> None:
    health = process.health
    metrics.export(metrics.WORKER)
    wiring = await asyncio.to_thread(build, settings)
    metrics.MODEL.info({"pack": wiring.pack})
    store = open_photo_store(settings.photo_store)
    # What is away is waited for as one that has started: a restart would only load it all again.
    health.ready("self_test")
    health.needs("broker", "group", "store", *wiring.needs)
    health.started()
    canary = await wait_for(health, "store", lambda: known_good(store))
    for reason, check in wiring.needs.items():
        await wait_for(health, reason, check)
    producer = Producer(settings.kafka, linger_ms=RESULTS_LINGER_MS)
    source = KafkaSource(
        settings.kafka,
        group_of(name),
        [IMAGE_UPLOADED],
        protocol=settings.group_protocol,
        most_in_flight=settings.limits.photos_in_flight,
    )
    worker = Worker(
        source,
        fetch_from(store, decode),
        wiring.tasks,
        KafkaSink(producer, wiring.pack),
        canary,
        settings.limits,
        health,
        wiring.flushed,
    )
    process.on_stop(worker.stop)
    broker = Broker(settings.kafka, (IMAGE_UPLOADED, *RESULTS.values(), DEAD_LETTERS, CANARY))
    needs = {"broker": broker.check, "group": source.check, "store": store.check, **wiring.needs}
    async with AsyncExitStack() as beside:
        # Closed last: queries are answered until their server has ended.
        beside.callback(worker.close)
        beside.callback(asyncio.create_task(watch(health, needs)).cancel)
        for start in wiring.beside:
            await beside.enter_async_context(start(worker.device))
        log.info("serving", tasks=[task.name for task in wiring.tasks], pack=wiring.pack)
        try:
            await worker.run()
        except Exception as why:
            if can_happen_to_anybody(why):  # else the record at hand may have done it, and our beginning counts
                await source.close()
            raise
        await source.close()
        producer.close()
