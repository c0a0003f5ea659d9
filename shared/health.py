"""Honest health over HTTP: /livez, /readyz and /metrics, answered by a thread of their own."""

import threading
import time
from collections.abc import Callable
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server
from wsgiref.types import StartResponse, WSGIEnvironment

from prometheus_client import make_wsgi_app


class Health:
    """Healthy means "made progress lately, or had nothing to do". Written by the service, read by the probes."""

    def __init__(self, stalled_after: float = 120.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._stalled_after = stalled_after
        self._clock = clock
        self._progress = clock()
        self._busy = False
        self._not_ready: str | None = "starting"

    def progressed(self) -> None:
        self._progress = self._clock()

    def busy(self, busy: bool) -> None:
        """Whether there is work in flight. The clock starts when work arrives."""
        if busy and not self._busy:
            self.progressed()
        self._busy = busy

    def ready(self) -> None:
        self._not_ready = None

    def not_ready(self, why: str) -> None:
        self._not_ready = why

    @property
    def why_not_live(self) -> str | None:
        quiet = self._clock() - self._progress
        if self._busy and quiet > self._stalled_after:
            return f"no progress for {quiet:.0f} s with work in flight"
        return None

    @property
    def why_not_ready(self) -> str | None:
        return self._not_ready or self.why_not_live


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, *_: object) -> None:
        """Probes come every few seconds: not a line each."""


def serve_health(health: Health, host: str, port: int) -> int:
    """Starts the thread; returns the port (useful when 0 was asked for any free one)."""
    metrics = make_wsgi_app()

    def app(environ: WSGIEnvironment, start: StartResponse) -> list[bytes]:
        path = environ.get("PATH_INFO")
        if path == "/livez":
            return _answer(health.why_not_live, start)
        if path == "/readyz":
            return _answer(health.why_not_ready, start)
        return list(metrics(environ, start))

    server = make_server(host, port, app, server_class=_Server, handler_class=_Quiet)
    threading.Thread(target=server.serve_forever, name="health", daemon=True).start()
    return int(server.server_port)


def _answer(why_not: str | None, start: StartResponse) -> list[bytes]:
    start("200 OK" if why_not is None else "503 Service Unavailable", [("Content-Type", "text/plain")])
    return [(why_not or "ok").encode() + b"\n"]
