"""The edge of every process: its settings, logs, traces, health and signals, and the status that it ends with.

0 means that it was told to stop, and nothing else does: 1 that it could not go on, 2 that a setting is wrong.
"""

import asyncio
import logging
import os
import signal
from collections.abc import Awaitable, Callable
from typing import NoReturn, TypeVar

import structlog
import uvloop

from shared.errors import can_happen_to_anybody, root_causes
from shared.health import Health, serve_health
from shared.logs import start_logging
from shared.malloc import give_back_large_blocks
from shared.settings import BadSettings, Settings
from shared.tracing import start_tracing

log = structlog.get_logger()
S = TypeVar("S", bound=Settings)

TOLD_TO_STOP, FAILED, MISCONFIGURED = 0, 1, 2


class Process:
    """What a service is handed of the process that it runs in."""

    def __init__(self) -> None:
        self.health = Health()
        self.told_to_stop = False

    def on_stop(self, call: Callable[[], object]) -> None:
        """What SIGTERM and SIGINT do from here on. Before the first call they cancel the service wherever it is: it has
        nothing to finish yet. As the first process of a container they would do nothing unbidden."""

        def told() -> None:
            self.told_to_stop = True
            call()

        for sign in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(sign, told)


def run(name: str, settings: Callable[[], S], service: Callable[[S, Process], Awaitable[None]]) -> NoReturn:
    """Runs the service until it is told to stop or can't go on, and ends the process.

    A service that returns or is cancelled without having been told to stop has failed.
    """
    give_back_large_blocks()
    start_logging(name)
    start_tracing(name)
    try:
        given = settings()
        logging.getLogger().setLevel(given.log_level)
        # uvloop's loop is compiled: a record through the worker costs less than in asyncio's.
        uvloop.run(_run_and_leave(given, service))
    except BaseException as why:  # noqa: BLE001  it ends here, and a library's SystemExit must be seen too
        _leave(_told(why))


async def _run_and_leave(settings: S, service: Callable[[S, Process], Awaitable[None]]) -> NoReturn:
    # From inside the loop: leaving it waits for every task and thread to end, which Faust's never do.
    _leave(await ended(settings, service))


async def ended(settings: S, service: Callable[[S, Process], Awaitable[None]]) -> int:
    """The status to leave with, once the service is at its end and the log says why."""
    process = Process()
    running = asyncio.ensure_future(service(settings, process))
    told_at_the_start = asyncio.Event()

    def cancel() -> None:
        told_at_the_start.set()
        running.cancel()

    process.on_stop(cancel)
    try:
        if settings.metrics_port:
            serve_health(process.health, settings.host, settings.metrics_port)
        await running
    except asyncio.CancelledError as why:
        # Whoever has something to finish is never cancelled by us: then it is a bug, and maybe unfinished.
        return TOLD_TO_STOP if told_at_the_start.is_set() else _told(why)
    except Exception as why:  # noqa: BLE001  this is the edge: all are told, none is swallowed
        return _told(why)
    if process.told_to_stop:
        return TOLD_TO_STOP
    log.error("stopped", error="it ended although nobody had told it to")
    return FAILED


def _told(why: BaseException) -> int:
    """Writes to the log why we end: a line each for what can happen to anybody, with its traceback what is a bug."""
    causes = root_causes(why)
    for cause in causes:
        bug = None if can_happen_to_anybody(cause) else cause
        log.error("stopped", error=f"{type(cause).__name__}: {cause}", exc_info=bug)
    return MISCONFIGURED if all(isinstance(cause, BadSettings) for cause in causes) else FAILED


def _leave(status: int) -> NoReturn:
    """A thread stuck in a decoder, or a client's that waits for a broker, must not keep a dead process alive."""
    logging.shutdown()
    os._exit(status)
