"""Runs a worker as a process: settings, health, signals, and what stands beside it. Wired here, once."""

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol

import structlog
from pydantic import Field

from shared import metrics
from shared.durability import Stamp
from shared.errors import can_happen_to_anybody
from shared.health import Check, Health, Reason, wait_for, watch
from shared.photo_store import open_photo_store
from shared.process import Process, run
from shared.settings import DurableSettings
from shared.stream.admin import Broker
from shared.stream.fetching import fetch_from
from shared.stream.known_good import known_good
from shared.stream.offsets import committed_stamps
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
    remembered_photos: int = Field(
        default=2000,
        description="So many photos, those used last, aren't looked at again when they are listed again; 16 KiB of "
        "memory for each at most (2000: 32 MiB). 0 looks at every one",
        ge=0,
    )

    @property
    def limits(self) -> Limits:
        return Limits(
            batch_photos=self.batch_photos,
            batch_seconds=self.batch_seconds,
            cpu_threads=self.threads or os.cpu_count() or 1,
            suspicious_rejections=self.suspicious_rejections,
            remembered_photos=self.remembered_photos,
        )


class Keeper(Protocol):
    """What outlives the worker in Redis. Its methods block, and raise Transient; for the rest see durability.py."""

    def ping(self) -> None: ...
    def resume(self, committed: Sequence[Stamp | None]) -> None: ...
    def still_there(self) -> None: ...
    def flushed(self) -> None: ...
    @property
    def stamp(self) -> Stamp | None: ...


@dataclass(frozen=True, slots=True)
class Wiring:
    """What one service adds to the common worker."""

    tasks: Sequence[Task[Any, Any]]
    pack: str
    # Run as long as the worker does. Each is handed the device's threads, so that queries take turns with batches.
    beside: Sequence[Callable[[Executor], AbstractAsyncContextManager[Any]]] = ()
    # Where a task keeps something in Redis, and which groups beside the worker's own have commits that speak of it.
    keeper: Keeper | None = None
    other_groups: Sequence[str] = ()

    async def flushed(self) -> None:
        if self.keeper:
            await asyncio.to_thread(self.keeper.flushed)

    def stamp(self) -> Stamp | None:
        return self.keeper.stamp if self.keeper else None

    async def resume(self, kafka: str, group: str, health: Health) -> None:
        """Returns when Redis is there, and has all that was committed."""
        if keeper := self.keeper:
            groups = [group, *self.other_groups]
            await wait_for(health, "redis", lambda: asyncio.to_thread(keeper.ping))
            await wait_for(
                health, "redis", lambda: asyncio.to_thread(lambda: keeper.resume(committed_stamps(kafka, groups)))
            )

    @property
    def needs(self) -> Mapping[Reason, Check]:
        """Besides the broker and the photo store."""
        keeper = self.keeper
        return {"redis": lambda: asyncio.to_thread(keeper.still_there)} if keeper else {}


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
    await wiring.resume(settings.kafka, group_of(name), health)
    producer = Producer(settings.kafka, linger_ms=RESULTS_LINGER_MS)
    source = KafkaSource(
        settings.kafka,
        group_of(name),
        [IMAGE_UPLOADED],
        protocol=settings.group_protocol,
        most_in_flight=settings.limits.photos_in_flight,
        stamp=wiring.stamp,
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
    broker = Broker(settings.kafka, reads=[IMAGE_UPLOADED], writes=[*RESULTS.values(), DEAD_LETTERS, CANARY])
    needs = {"broker": broker.check, "group": source.check, "store": store.check, **wiring.needs}
    async with AsyncExitStack() as beside:
        # Closed last: queries are answered until their server has ended.
        beside.callback(worker.close)
        for start in wiring.beside:
            await beside.enter_async_context(start(worker.device))
        log.info("serving", tasks=[task.name for task in wiring.tasks], pack=wiring.pack)
        try:
            async with asyncio.TaskGroup() as tasks:
                watching = tasks.create_task(watch(health, needs))
                await worker.run()
                watching.cancel()
        except Exception as why:
            if can_happen_to_anybody(why):  # else the record at hand may have done it, and our beginning counts
                await source.close()
            raise
        await source.close()
        producer.close()
