"""`python -m services.recommendation join` joins, `python -m services.recommendation serve` answers lookups."""

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import click
import structlog

from services.recommendation.index import RedisVectorIndex
from services.recommendation.settings import JoinSettings, ServeSettings
from services.recommendation.store import RedisRecords, connect
from shared import metrics
from shared.errors import Transient, Unusable
from shared.health import Health, patiently, serve_health, watch
from shared.logs import start_logging
from shared.process import on_stop
from shared.settings import Settings
from shared.tracing import start_tracing

log = structlog.get_logger()

STOP_SECONDS = 10.0


@click.group()
def main() -> None:
    """Listings with everything that was found in their photos."""


@main.command()
def join() -> None:
    """Join listings and results from Kafka in Redis, until SIGTERM."""
    settings = JoinSettings()
    _run("join", settings, lambda stopping: _join(settings, stopping))


@main.command()
def serve() -> None:
    """Answer lookups over gRPC, until SIGTERM. Needs no Kafka."""
    settings = ServeSettings()
    _run("recommendation", settings, lambda stopping: _serve(settings, stopping))


async def _join(settings: JoinSettings, stopping: asyncio.Event) -> None:
    # Here, so that serve needs neither Faust nor Kafka's client.
    from services.recommendation.join import TOPICS, Join, Settlement, faust_app
    from shared.stream.kafka import Broker, Producer

    if settings.log_level != "DEBUG":
        for chatty in ("faust", "mode", "aiokafka"):
            logging.getLogger(chatty).setLevel(logging.WARNING)
    metrics.export(metrics.JOIN)
    health = _health(settings)
    # Longer than a flush to disk may take.
    redis = connect(settings.redis, timeout_seconds=15.0)
    records = RedisRecords(redis, wait_for_disk=settings.wait_for_disk)
    index = RedisVectorIndex(redis)
    broker = Broker(settings.kafka, TOPICS)
    health.needs("redis", "broker", "group")
    health.started()
    await patiently(health, "redis", records.ping)
    await patiently(health, "redis", records.flushed)
    await patiently(health, "broker", broker.check)
    producer = Producer(settings.kafka)
    settlement = Settlement(records.flushed, health)
    failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def failed(why: BaseException) -> None:
        if not failure.done():
            failure.set_exception(why)

    app = faust_app(settings, Join(records, index, producer), settlement, failed)
    app.on_partitions_assigned.connect(lambda *_, **__: health.ready("group"), weak=False)
    await app.start()
    on_stop(stopping.set)
    log.info("joining", kafka=settings.kafka)
    tasks: list[asyncio.Future[Any]] = [
        failure,
        asyncio.create_task(stopping.wait()),
        asyncio.create_task(settlement.run()),
        asyncio.create_task(_observe(index)),
        asyncio.create_task(watch(health, {"redis": records.ping, "broker": broker.check})),
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


async def _serve(settings: ServeSettings, stopping: asyncio.Event) -> None:
    from services.recommendation.lookups import Lookups
    from services.recommendation.server import EmbeddingClient, Server

    metrics.export(metrics.RPC)
    health = _health(settings)
    redis = connect(settings.redis, timeout_seconds=2.0, attempts=2)
    records = RedisRecords(redis)
    embedding = EmbeddingClient(settings.embedding)
    lookups = Lookups(records, RedisVectorIndex(redis))
    server = Server(records, lookups, embedding, health, settings.rpc_seconds)
    port = await server.start(f"{settings.host}:{settings.grpc_port}")
    on_stop(stopping.set)
    log.info("serving", host=settings.host, port=port)
    checking = asyncio.create_task(server.keep_checking())
    await stopping.wait()
    checking.cancel()
    await server.stop(STOP_SECONDS, settings.drain_seconds)
    await embedding.close()
    await redis.aclose()


def _health(settings: Settings) -> Health:
    health = Health()
    if settings.metrics_port:
        serve_health(health, settings.host, settings.metrics_port)
    return health


def _run(name: str, settings: Settings, service: Callable[[asyncio.Event], Awaitable[None]]) -> None:
    """Exits with 0 after SIGTERM or SIGINT, and with 1 when it could not go on: the supervisor starts it again."""
    start_logging(name, settings.log_level)
    start_tracing(name)
    asyncio.run(_until_signalled(service))


async def _until_signalled(service: Callable[[asyncio.Event], Awaitable[None]]) -> None:
    starting = asyncio.current_task()
    assert starting is not None
    # Until the service has work to finish, and says otherwise.
    on_stop(starting.cancel)
    code = 1
    try:
        await service(asyncio.Event())
        code = 0
    except asyncio.CancelledError:
        code = 0
    except Exception as why:
        expected = isinstance(why, Transient | Unusable | RuntimeError | OSError)
        log.error("stopped", error=f"{type(why).__name__}: {why}", exc_info=None if expected else why)
    # From inside the loop: leaving it waits for all tasks to end, which Faust's never do. Neither must threads
    # of clients that still wait for a broker keep a dead service alive.
    logging.shutdown()
    os._exit(code)


if __name__ == "__main__":
    main()
