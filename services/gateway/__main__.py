"""The gateway as a process: wires the parts and serves until SIGTERM, letting uploads in flight finish."""

import asyncio
import logging
import re
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from math import ceil
from typing import NoReturn

import structlog
import uvicorn
from fastapi import FastAPI

from services.gateway.app import create_app
from services.gateway.connections import Connection
from services.gateway.intake import Intake
from services.gateway.lookup import RecommendationClient
from services.gateway.problems import Problem
from services.gateway.settings import GatewaySettings
from shared.errors import CannotListen, Transient
from shared.files import STAGED_SECONDS
from shared.health import Check, Reason, heartbeat, watch
from shared.photo_store import MissingObject, PhotoStore, open_photo_store
from shared.process import Process, run
from shared.stream.admin import Broker
from shared.stream.known_good import plant
from shared.stream.producer import Producer
from shared.topics import IMAGE_UPLOADED, LISTING_CHANGED

log = structlog.get_logger()


class UvicornServer(uvicorn.Server):
    """uvicorn would stop listening at once, and end by the signal that told it to: nothing after it would be run."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class WithoutAdvice(logging.Filter):
    """uvicorn says to press CTRL+C, once more by force: who stops a gateway sends it a SIGTERM, and it finishes."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg = re.sub(r" \([^()]*CTRL\+C[^()]*\)", "", str(record.msg))
        return True


async def serve(settings: GatewaySettings, process: Process) -> None:
    logging.getLogger("uvicorn.error").addFilter(WithoutAdvice())
    store = open_photo_store(settings.photo_store)
    lookup = RecommendationClient(settings.recommendation, settings.lookup_seconds)
    producer = Producer(settings.kafka, settings.acknowledge_seconds)
    broker = Broker(settings.kafka, writes=(LISTING_CHANGED, IMAGE_UPLOADED), timeout_seconds=settings.probe_seconds)
    health = process.health
    with (
        listening(settings.host, settings.http_port) as listener,
        ThreadPoolExecutor(settings.decoders, "decode") as decoders,
    ):
        intake = Intake(store, producer, settings, decoders)
        config = served(create_app(intake, lookup, settings), settings)
        checks: dict[Reason, Check] = {"broker": broker.check, "store": planted(store, intake.check)}
        health.needs(*checks)
        beating = asyncio.create_task(heartbeat(health))
        watching = asyncio.create_task(watch(health, checks, timeout_seconds=settings.probe_seconds + 1))
        sweeping = asyncio.create_task(sweep_now_and_then(store))
        completing = asyncio.create_task(complete_now_and_then(intake, settings.pending_seconds / 4))
        try:
            await until_stopped(UvicornServer(config), listener, process, settings.drain_seconds)
        finally:
            beating.cancel()
            watching.cancel()
            sweeping.cancel()
            completing.cancel()
            await lookup.close()
            await asyncio.to_thread(producer.close)


def planted(store: PhotoStore, is_there: Check) -> Check:
    """The store's check, which lays the workers' self-test photo there when it first passes."""
    done = False

    async def check() -> None:
        nonlocal done
        await is_there()
        if not done:
            await plant(store)
            done = True

    return check


def listening(host: str, port: int) -> socket.socket:
    """Bound here: uvicorn would leave the process by itself where it can't. Raises CannotListen."""
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as why:
        raise CannotListen(host, port, why) from why


def served(app: FastAPI, settings: GatewaySettings) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=Connection,
        ws="none",
        log_config=None,
        access_log=False,
        # Whoever is on this machine could call itself by any address.
        proxy_headers=False,
        limit_concurrency=settings.max_connections,
        timeout_keep_alive=settings.header_seconds,
        timeout_graceful_shutdown=ceil(settings.finish_seconds),
    )


async def sweep_now_and_then(store: PhotoStore) -> NoReturn:
    """Until cancelled. What stops it once is no reason to stop serving."""
    while True:
        try:
            await plant(store)  # whoever clears a store of what is old takes the self-test's photo, too
            if swept := await store.sweep():
                log.info("swept the photo store", half_written=swept)
        except (OSError, Transient, MissingObject) as why:
            log.warning("could not sweep the photo store", error=str(why))
        except Exception:
            log.exception("could not sweep the photo store")
        await asyncio.sleep(STAGED_SECONDS)


async def complete_now_and_then(intake: Intake, every_seconds: float) -> NoReturn:
    """Until cancelled. What stops it once is no reason to stop serving: the rest waits for the next time."""
    while True:
        try:
            await intake.complete_pending()
        except (Problem, Transient) as why:
            log.warning("could not complete what is half published", error=str(why))
        except Exception:
            log.exception("could not complete what is half published")
        await asyncio.sleep(every_seconds)


async def until_stopped(server: UvicornServer, listener: socket.socket, process: Process, drain_seconds: float) -> None:
    """Serves until SIGTERM, and for `drain_seconds` more: a connection is refused as soon as nobody listens."""
    stopping = asyncio.Event()
    process.on_stop(stopping.set)
    process.health.started()
    serving = asyncio.create_task(server.serve([listener]))
    told = asyncio.create_task(stopping.wait())
    await asyncio.wait([serving, told], return_when=asyncio.FIRST_COMPLETED)
    told.cancel()
    if not serving.done():
        process.health.not_ready("stopping", "told to stop")
        await asyncio.sleep(drain_seconds)
        server.should_exit = True
    await serving


if __name__ == "__main__":
    run("gateway", GatewaySettings, serve)
