"""Keeps a set of processes running on one machine: starts, watches, restarts with backoff, gives up, ends all."""

import asyncio
import json
import os
import subprocess
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

import httpx

from local.outages import Outages, OutsideServer
from local.processes import kill, last_lines, resident_bytes, spawn
from local.servers import Server
from shared.errors import Unusable

# Every library that brings threads of its own reads one of these, once, when it is loaded.
THREAD_VARIABLES = ("VITRINE_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
_LOOK_EVERY_SECONDS = 0.1


class GaveUp(Unusable):
    """A process would not stay up, or can't be kept up. The message is one line for people.

    Which process, how often, its last words, its log; or what went wrong with keeping it.
    """


@dataclass(frozen=True, slots=True)
class Service:
    """A process to keep. `ready_url` answers 200 when it can do its work; None: it is ready when it runs."""

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)  # besides our own environment
    ready_url: str | None = None


@dataclass(frozen=True, slots=True)
class Restarts:
    """The wait before a restart doubles with each quick death; a process that ran for a while starts afresh.

    A death before the service was ever ready is a quick one, however long its start takes.
    """

    first_wait: float = 0.5
    longest_wait: float = 10.0
    quick_seconds: float = 30.0  # dying sooner than this after its start is a quick death
    quick_deaths: int = 3  # so many in a row, and we give up
    quick_kills: int = 12  # likewise by a signal: a photo that kills its worker is found out after four deaths or more

    def wait(self, quick_deaths: int) -> float:
        """Seconds before the restart after so many quick deaths in a row; 0 counts as the first."""
        return min(self.longest_wait, self.first_wait * 2.0 ** max(0, quick_deaths - 1))


class Supervisor:
    """Used as `async with`: the body runs beside the processes, and is cancelled when one cannot be kept up.

    Whatever ends the body, every process has ended when the block is left: first a SIGTERM to all, then, after
    `grace_seconds`, a SIGKILL to the process groups of those that remain. Should we be killed ourselves, the kernel
    ends them (see `processes.spawn`); for that, enter the block in the main thread.
    """

    def __init__(
        self,
        services: Sequence[Service],
        logs: Path,
        *,
        servers: Sequence[Server] = (),
        outside: Sequence[OutsideServer] = (),
        restarts: Restarts | None = None,
        grace_seconds: float = 20.0,
        say: Callable[[str], None] = print,
    ) -> None:
        """`servers` run already; they are brought back when they die, and stopped last. Those `outside` are others':
        while one is away, processes that end are started again without a word. `say` gets lines for people."""
        self._services = services
        self._servers = servers
        self._logs = logs
        self._restarts = restarts or Restarts()
        self._grace_seconds = grace_seconds
        self._say = say
        self._outages = Outages(outside, say)
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._been_ready: set[str] = set()
        self._watch: asyncio.Task[None]
        self._gave_up: GaveUp | None = None

    async def __aenter__(self) -> "Supervisor":
        body = asyncio.current_task()
        assert body is not None
        try:
            for service in self._services:
                self._start(service)
        except BaseException:
            self._end_all()
            raise
        self._watch = asyncio.create_task(self._keep_all(body))
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._watch.cancel()
        try:
            with suppress(asyncio.CancelledError):
                await self._watch
        finally:
            self._end_all()
        if self._gave_up is not None:
            if kind is asyncio.CancelledError and (body := asyncio.current_task()) is not None:
                body.uncancel()
            raise self._gave_up

    async def until_ready(self, seconds: float, on_ready: Callable[[str], None] | None = None) -> None:
        """Waits for every service's readiness; calls `on_ready` with each name. Raises GaveUp in the end."""
        waiting = {service.name: service.ready_url for service in self._services}
        reasons: dict[str, str] = {}
        deadline = time.monotonic() + seconds
        async with httpx.AsyncClient(timeout=2, trust_env=False) as client:
            while waiting:
                for name, url in list(waiting.items()):
                    reasons[name] = "" if url is None else await _why_not_ready(client, url)
                    if not reasons[name]:
                        del waiting[name]
                        self._been_ready.add(name)
                        if on_ready:
                            on_ready(name)
                if self._outages.lately:
                    deadline = time.monotonic() + seconds
                if waiting and time.monotonic() > deadline:
                    name = next(iter(waiting))
                    raise GaveUp(f"{name} is not ready after {seconds:.0f} s: {reasons[name]}; see {self.log_of(name)}")
                await asyncio.sleep(_LOOK_EVERY_SECONDS if waiting else 0)

    def log_of(self, name: str) -> Path:
        """Where a service's output goes."""
        return self._logs / f"{name}.log"

    def pid_of(self, name: str) -> int | None:
        """The id of a service's or server's present process; None while it waits to be started again."""
        for server in self._servers:
            if server.name.lower() == name:
                return server.pid
        process = self._running.get(name)
        return None if process is None or process.poll() is not None else process.pid

    def memory(self) -> dict[str, int]:
        """Resident bytes of each server and service."""
        names = [server.name.lower() for server in self._servers] + [service.name for service in self._services]
        pids = {name: self.pid_of(name) for name in names}
        return {name: 0 if pid is None else resident_bytes(pid) for name, pid in pids.items()}

    async def _keep_all(self, body: asyncio.Task[object]) -> None:
        try:
            async with asyncio.TaskGroup() as keepers:
                for service in self._services:
                    keepers.create_task(self._keep(service))
                for server in self._servers:
                    keepers.create_task(self._keep_server(server))
                keepers.create_task(self._outages.watch())
        except* Exception as group:  # noqa: BLE001  whatever it was, the other keepers have ended with it
            self._gave_up = _gave_up(group.exceptions)
            body.cancel()

    async def _keep(self, service: Service) -> NoReturn:
        quick_deaths = quick_kills = 0
        while True:
            started = time.monotonic()
            status = await _ended(self._running[service.name])
            worked = service.ready_url is None or service.name in self._been_ready
            lasted = worked and time.monotonic() - started >= self._restarts.quick_seconds
            await self._outages.look()
            if self._outages.lately:
                quick_deaths = quick_kills = 0
                await asyncio.sleep(self._restarts.longest_wait)
                self._start(service)
                continue
            quick_deaths = 0 if lasted else quick_deaths + (status >= 0)
            quick_kills = 0 if lasted else quick_kills + (status < 0)
            why = f"{service.name} {_spelled(status)}{_colon(last_words(self.log_of(service.name)))}"
            deaths = quick_deaths + quick_kills
            if quick_deaths >= self._restarts.quick_deaths or quick_kills >= self._restarts.quick_kills:
                raise GaveUp(f"{why}; given up after {deaths} quick deaths, see {self.log_of(service.name)}")
            wait = self._restarts.wait(deaths)
            self._say(f"{why}; starting it again in {wait:g} s")
            await asyncio.sleep(wait)
            self._start(service)

    async def _keep_server(self, server: Server) -> NoReturn:
        deaths: deque[float] = deque(maxlen=self._restarts.quick_deaths)
        while True:
            while server.pid is not None:  # noqa: ASYNC110 (the kernel sets no asyncio.Event)
                await asyncio.sleep(_LOOK_EVERY_SECONDS)
            deaths.append(time.monotonic())
            why = f"{server.name} has died{_colon(last_words(server.log))}"
            if len(deaths) == deaths.maxlen and deaths[-1] - deaths[0] < self._restarts.quick_seconds * len(deaths):
                raise GaveUp(f"{why}; given up after {len(deaths)} deaths, see {server.log}")
            self._say(f"{why}; starting it again")
            # In this thread, though it blocks for seconds: a process must be started by a thread that lives on.
            try:
                server.start()
            except Exception as failed:
                raise GaveUp(str(failed)) from failed

    def _start(self, service: Service) -> None:
        env = os.environ | dict(service.env)
        try:
            self._running[service.name] = spawn(service.argv, self.log_of(service.name), env)
        except OSError as why:
            raise GaveUp(f"{service.name} cannot be started: {why}") from why

    def _end_all(self) -> None:
        for process in self._running.values():
            if process.poll() is None:
                process.terminate()
        deadline = time.monotonic() + self._grace_seconds
        for process in self._running.values():
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline - time.monotonic()))
            kill(process)
        for server in self._servers:
            server.stop()


def _gave_up(failures: Sequence[Exception]) -> GaveUp:
    for why in failures:
        if isinstance(why, GaveUp):
            return why
    gave_up = GaveUp(f"processes can no longer be kept up: {type(failures[0]).__name__}: {failures[0]}")
    gave_up.__cause__ = failures[0]
    return gave_up


def threads_each(cores: int, sharers: int) -> int:
    """Threads for each of so many processes that compute at once; never fewer than 1."""
    return max(1, cores // sharers)


def thread_environment(threads: int) -> dict[str, str]:
    """Environment that holds a process to so many threads, whichever library computes."""
    # numpy's products are the heads': so small that waking a second thread costs more than it does.
    return dict.fromkeys(THREAD_VARIABLES, str(threads)) | {"OPENBLAS_NUM_THREADS": "1"}


def last_words(log: Path) -> str:
    """What a process said last, as one line for people; "" when it said nothing."""
    line = last_lines(log, 1)
    try:
        said = json.loads(line)
    except ValueError:
        return line.strip()[:300]
    if not isinstance(said, dict):
        return line.strip()[:300]
    traceback = str(said.get("exception") or "").strip().splitlines()
    parts = [str(said.get("event", "")), str(said.get("error", "")), traceback[-1] if traceback else ""]
    return ": ".join(dict.fromkeys(part.strip() for part in parts if part.strip()))[:300]


async def _ended(process: subprocess.Popen[bytes]) -> int:
    while (status := process.poll()) is None:  # noqa: ASYNC110 (the kernel sets no asyncio.Event)
        await asyncio.sleep(_LOOK_EVERY_SECONDS)
    # What it had started ends with it, or would hold its ports.
    kill(process)
    return status


async def _why_not_ready(client: httpx.AsyncClient, url: str) -> str:
    """ "" when it is ready."""
    try:
        answer = await client.get(url)
    except httpx.HTTPError as why:
        return f"no answer at {url} ({type(why).__name__})"
    return "" if answer.is_success else answer.text.strip()[:200] or f"HTTP {answer.status_code}"


def _spelled(status: int) -> str:
    return f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"


def _colon(words: str) -> str:
    return f": {words}" if words else ""
