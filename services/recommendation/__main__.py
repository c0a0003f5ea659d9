"""`python -m services.recommendation join` joins, `python -m services.recommendation serve` answers lookups."""

import asyncio
import logging
from contextlib import suppress
from typing import Any

import click
import structlog

from services.recommendation.index import RedisVectorIndex
from services.recommendation.settings import JoinSettings, ServeSettings
from services.recommendation.store import RedisRecords
from shared import metrics
from shared.claims import weighing
from shared.errors import Transient
from shared.health import wait_for, watch
from shared.process import Process, run
from shared.product_taxonomy import product_taxonomy
from shared.redis import connect

log = structlog.get_logger()

STOP_SECONDS = 10.0


@click.group()
def main() -> None:
    """Listings with everything that was found in their photos."""


@main.command()
def join() -> None:
    """Join listings and results from Kafka in Redis, until SIGTERM."""
    run("join", JoinSettings, _join)


@main.command()
def serve() -> None:
    """Answer lookups over gRPC, until SIGTERM. Needs no Kafka."""
    run("recommendation", ServeSettings, _serve)


async def _join(settings: JoinSettings, process: Process) -> None:
    # Here, so that serve needs neither Faust nor Kafka's client.
    from aiokafka.errors import KafkaError  # type: ignore[import-untyped]

    from services.recommendation.join import GROUP, READS, WRITES, Join, Settlement, faust_app
    from shared.stream.admin import Broker
    from shared.stream.offsets import committed_stamps
    from shared.stream.producer import Producer

    if settings.log_level != "DEBUG":
        for chatty in ("faust", "mode", "aiokafka"):
            logging.getLogger(chatty).setLevel(logging.WARNING)
    metrics.export(metrics.JOIN)
    health = process.health
    # Longer than a flush to disk may take.
    redis = connect(settings.redis, timeout_seconds=15.0)
    records = RedisRecords(redis, wait_for_disk=settings.wait_for_disk)
    index = RedisVectorIndex(redis)
    broker = Broker(settings.kafka, reads=READS, writes=WRITES)

    async def resume() -> None:
        await records.resume(await asyncio.to_thread(committed_stamps, settings.kafka, [GROUP]))

    health.needs("redis", "broker", "group")
    await asyncio.to_thread(weighing.warm_up)  # here, that no event waits for it
    health.started()
    await wait_for(health, "redis", records.ping)
    await wait_for(health, "broker", broker.check)
    await wait_for(health, "redis", resume)
    producer = Producer(settings.kafka)
    settlement = Settlement(records.flushed, health)
    failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def failed(why: BaseException) -> None:
        if not failure.done():
            failure.set_exception(why)

    app = faust_app(settings, Join(records, index, producer), settlement, lambda: records.stamp, failed)
    app.on_partitions_assigned.connect(lambda *_, **__: health.ready("group"), weak=False)
    try:
        await app.start()
    except KafkaError as why:
        raise Transient(f"Kafka at {settings.kafka} does not let Faust start: {why!r}") from why
    stopping = asyncio.Event()
    process.on_stop(stopping.set)
    log.info("joining", kafka=settings.kafka)
    tasks: list[asyncio.Future[Any]] = [
        failure,
        asyncio.create_task(stopping.wait()),
        asyncio.create_task(settlement.run()),
        asyncio.create_task(_observe(index)),
        asyncio.create_task(watch(health, {"redis": records.still_there, "broker": broker.check})),
        asyncio.create_task(app.wait_until_stopped()),
    ]
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        task.result()
    if not stopping.is_set():
        raise Transient(f"Faust stopped by itself: {app.crash_reason!r}")
    health.not_ready("stopping", "settling what is joined")
    await settlement.settle()
    with suppress(TimeoutError):
        await asyncio.wait_for(app.stop(), STOP_SECONDS)
    producer.close()
    await redis.aclose()


async def _observe(index: RedisVectorIndex) -> None:
    while True:
        for space in await index.spaces():
            metrics.INDEX_VECTORS.labels(space).set(await index.size(space))
        await asyncio.sleep(15)


async def _serve(settings: ServeSettings, process: Process) -> None:
    from services.recommendation.lookups import Lookups
    from services.recommendation.server import EmbeddingClient, LookupServer, bounds_of

    metrics.export(metrics.RPC)
    product_taxonomy()  # here, that no call waits for it
    redis = connect(settings.redis, timeout_seconds=2.0, attempts=2)
    records = RedisRecords(redis)
    embedding = EmbeddingClient(settings.embedding)
    lookups = Lookups(records, RedisVectorIndex(redis))
    server = LookupServer(records, lookups, embedding, process.health, bounds_of(settings))
    port = await server.start(settings.host, settings.grpc_port)
    stopping = asyncio.Event()
    process.on_stop(stopping.set)
    log.info("serving", host=settings.host, port=port)
    checking = asyncio.create_task(server.keep_checking())
    await stopping.wait()
    checking.cancel()
    await server.stop(STOP_SECONDS, settings.drain_seconds)
    await embedding.close()
    await redis.aclose()


if __name__ == "__main__":
    main()
