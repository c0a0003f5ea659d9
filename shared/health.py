"""Honest health over HTTP: /startz, /livez, /readyz and /metrics, answered by a thread of their own.

Started: it has loaded. Live: it makes progress, or has nothing to do. Ready: it can do its work now, so what it needs
is there too. Only /livez decides a restart, since no restart brings a broker back.
"""

import asyncio
import socket
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from socketserver import ThreadingMixIn
from typing import Any, Literal, NoReturn, TypeVar
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server
from wsgiref.types import StartResponse, WSGIEnvironment

import structlog
from prometheus_client import make_wsgi_app

from shared.errors import CannotListen, Replaced, Transient
from shared.metrics import READY

log = structlog.get_logger()
T = TypeVar("T")

# Why a process isn't ready, as the metric calls it; the text beside it is for people.
Reason = Literal["starting", "stopping", "stalled", "self_test", "broker", "group", "store", "redis"]
Check = Callable[[], Awaitable[object]]


class Health:
    """What the probes are answered from. Written by the service, read by other threads."""

    def __init__(self, stalled_after: float = 120.0, clock: Callable[[], float] = time.monotonic) -> None:
        self.stalled_after = stalled_after  # seconds
        self._clock = clock
        self._progress = clock()
        self._busy = False
        # None: all is well. `stopping` from the start, or those that stop would be all that speak of it.
        self._whys: dict[Reason, str | None] = {"starting": "has not loaded yet", "stopping": None}

    def progressed(self) -> None:
        self._progress = self._clock()

    def busy(self, busy: bool) -> None:
        """Whether there is work in flight. The clock starts when work arrives."""
        if busy and not self._busy:
            self.progressed()
        self._busy = busy

    def started(self) -> None:
        """All is loaded: from here on only what is away can make it unready."""
        self.ready("starting")

    def needs(self, *reasons: Reason) -> None:
        """Not ready for these until something else is said of each."""
        self._whys = {**dict.fromkeys(reasons, "not asked yet"), **self._whys}

    def ready(self, reason: Reason) -> None:
        """There is nothing to be said against it any more."""
        if self._whys.get(reason):
            log.info("ready again" if reason != "starting" else "loaded", reason=reason)
        self._whys[reason] = None

    def not_ready(self, reason: Reason, why: str) -> None:
        if self._whys.get(reason) != why:
            log.warning("not ready", reason=reason, why=why)
        self._whys[reason] = why

    @property
    def why_not_started(self) -> str | None:
        return self._whys["starting"]

    @property
    def why_not_live(self) -> str | None:
        quiet = self._clock() - self._progress
        if self._busy and quiet > self.stalled_after:
            return f"no progress for {quiet:.0f} s with work in flight"
        return None

    @property
    def whys(self) -> dict[Reason, str | None]:
        """Why it is not ready, by each thing that was ever said of it; None where nothing stands in the way now."""
        return {**self._whys, "stalled": self.why_not_live}

    @property
    def why_not_ready(self) -> str | None:
        """One line a reason."""
        return "\n".join(f"{reason}: {why}" for reason, why in self.whys.items() if why) or None

    def show(self) -> None:
        """To /metrics."""
        for reason, why in self.whys.items():
            READY.labels(reason).set(why is None)


async def heartbeat(health: Health, every_seconds: float = 1.0, stalled_after: float = 30.0) -> NoReturn:
    """Until cancelled: shows that the event loop turns, of a service whose progress is nothing else.

    Probes are answered by another thread, which would call a loop that hangs well.
    """
    health.stalled_after = stalled_after
    health.busy(True)
    while True:
        health.progressed()
        await asyncio.sleep(every_seconds)


async def watch(
    health: Health, checks: Mapping[Reason, Check], every_seconds: float = 5.0, timeout_seconds: float = 5.0
) -> NoReturn:
    """Until cancelled: asks each thing that the process needs whether it is there; what is away, every second.

    Raises Replaced.
    """

    async def ask(reason: Reason) -> None:
        try:
            async with asyncio.timeout(timeout_seconds):
                await checks[reason]()
        except Replaced:
            raise
        except TimeoutError:
            health.not_ready(reason, f"no answer within {timeout_seconds:g} s")
        except Exception as why:  # noqa: BLE001  whatever it is, it is the answer
            health.not_ready(reason, str(why).partition("\n")[0] or type(why).__name__)
        else:
            health.ready(reason)

    health.needs(*checks)
    while True:
        await asyncio.gather(*map(ask, checks))
        away = any(health.whys[reason] for reason in checks)
        await asyncio.sleep(min(every_seconds, 1.0) if away else every_seconds)


async def wait_for(health: Health, reason: Reason, attempt: Callable[[], Awaitable[T]], seconds: float = 2.0) -> T:
    """What the attempt returns, made again while it raises Transient: a process that only waits need not restart."""
    while True:
        try:
            returned = await attempt()
        except Transient as why:
            health.not_ready(reason, str(why))
            await asyncio.sleep(seconds)
        else:
            health.ready(reason)
            return returned


class _HealthServer(ThreadingMixIn, WSGIServer):
    """A thread for each connection, for a few seconds, and for so many at once: the newest is let in, the oldest goes.

    So who holds connections open keeps no probe from its answer.
    """

    daemon_threads = True
    most_connections = 32
    connection_seconds = 5.0

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._lock = threading.Lock()
        self._open: dict[Any, float] = {}  # socket to when it must have ended, the oldest first

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            if len(self._open) >= self.most_connections:
                self._cut(next(iter(self._open)))
            self._open[request] = time.monotonic() + self.connection_seconds
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """Called twice a second."""
        super().service_actions()
        now = time.monotonic()
        with self._lock:
            for request in [request for request, deadline in self._open.items() if deadline < now]:
                self._cut(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        why = sys.exception()
        if not isinstance(why, OSError):  # those who leave early, or are let go of
            log.error("a probe failed", exc_info=why)

    def _cut(self, request: Any) -> None:
        """Wakes the thread that waits for it, which closes it."""
        del self._open[request]
        with suppress(OSError):
            request.shutdown(socket.SHUT_RDWR)


class _Quiet(WSGIRequestHandler):
    def log_message(self, *_: object) -> None:
        """Probes come every few seconds: not a line each."""


def serve_health(health: Health, host: str, port: int) -> int:
    """Starts the thread; returns the port (useful when 0 was asked for any free one). Raises CannotListen."""
    metrics = make_wsgi_app()

    def app(environ: WSGIEnvironment, start: StartResponse) -> list[bytes]:
        match environ.get("PATH_INFO"):
            case "/startz":
                return _answer(health.why_not_started, start)
            case "/livez":
                return _answer(health.why_not_live, start)
            case "/readyz":
                return _answer(health.why_not_ready, start)
        health.show()
        return list(metrics(environ, start))

    try:
        server = make_server(host, port, app, server_class=_HealthServer, handler_class=_Quiet)
    except OSError as why:
        raise CannotListen(host, port, why) from why
    threading.Thread(target=server.serve_forever, name="health", daemon=True).start()
    return int(server.server_port)


def _answer(why_not: str | None, start: StartResponse) -> list[bytes]:
    start("200 OK" if why_not is None else "503 Service Unavailable", [("Content-Type", "text/plain; charset=utf-8")])
    return [(why_not or "ok").encode() + b"\n"]
