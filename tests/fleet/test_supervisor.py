"""The supervisor keeps tiny processes up, gives up on hopeless ones, and leaves none behind."""

import asyncio
import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from local.processes import free_port
from local.servers import RedisServer
from local.supervisor import GaveUp, Restarts, Service, Supervisor, last_words, threads_each

PROJECT = Path(__file__).parent.parent.parent
AT_ONCE = Restarts(first_wait=0.01, longest_wait=0.05, quick_deaths=4)
SLEEPS = "import time; time.sleep(600)"
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"
HAS_A_CHILD = (
    "import subprocess, sys, time;"
    "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']);"
    "print(child.pid, flush=True); time.sleep(600)"
)
UNREADY_AT_FIRST = """
import http.server, sys
class Answer(http.server.BaseHTTPRequestHandler):
    asked = 0
    def do_GET(self):
        Answer.asked += 1
        self.send_response(200 if Answer.asked > 2 else 503)
        self.end_headers()
        self.wfile.write(b"warming up")
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Answer).serve_forever()
"""


def python(name: str, code: str, *arguments: str, ready_url: str | None = None) -> Service:
    return Service(name, (sys.executable, "-c", code, *arguments), ready_url=ready_url)


async def eventually(happened: Callable[[], object], seconds: float = 20) -> None:
    async with asyncio.timeout(seconds):
        while not happened():  # noqa: ASYNC110 (another process sets no asyncio.Event)
            await asyncio.sleep(0.02)


def alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rsplit(")", 1)[1].split()[0] != "Z"


async def test_a_killed_process_is_started_again_and_that_is_said(tmp_path: Path) -> None:
    said: list[str] = []
    async with Supervisor([python("sleeper", SLEEPS)], tmp_path, restarts=AT_ONCE, say=said.append) as supervisor:
        first = supervisor.pid_of("sleeper")
        assert first is not None
        os.kill(first, signal.SIGKILL)
        await eventually(lambda: supervisor.pid_of("sleeper") not in (None, first))
        second = supervisor.pid_of("sleeper")
    assert said == ["sleeper was killed by signal 9; starting it again in 0.01 s"]
    assert second is not None and not alive(second)


async def test_a_process_that_keeps_dying_is_given_up_in_one_line_with_its_last_words(tmp_path: Path) -> None:
    said: list[str] = []
    crash = "import json; print(json.dumps({'event': 'worker stopped', 'error': 'no pack'})); raise SystemExit(3)"
    services = [python("sleeper", SLEEPS), python("hopeless", crash)]
    with pytest.raises(GaveUp) as why:
        async with Supervisor(services, tmp_path, restarts=AT_ONCE, say=said.append) as supervisor:
            neighbour = supervisor.pid_of("sleeper")
            await asyncio.sleep(600)
    log = tmp_path / "hopeless.log"
    expected = f"hopeless ended with status 3: worker stopped: no pack; given up after 4 quick deaths, see {log}"
    assert str(why.value) == expected
    assert [line.rsplit(" ", 2)[1] for line in said] == ["0.01", "0.02", "0.04"]
    assert neighbour is not None and not alive(neighbour)


async def test_a_process_that_cannot_be_started_again_is_given_up_and_all_others_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_more(*_: object) -> NoReturn:
        raise OSError(errno.EMFILE, "Too many open files")

    services = [python("sleeper", SLEEPS), python("neighbour", SLEEPS)]
    with pytest.raises(GaveUp, match=r"^sleeper cannot be started: \[Errno 24\] Too many open files$"):
        async with asyncio.timeout(20), Supervisor(services, tmp_path, restarts=AT_ONCE) as supervisor:
            sleeper, neighbour = (supervisor.pid_of(service.name) or 0 for service in services)
            assert sleeper and neighbour
            monkeypatch.setattr("local.supervisor.spawn", no_more)
            os.kill(sleeper, signal.SIGKILL)
            await asyncio.sleep(600)
    assert not alive(neighbour)


async def test_whatever_ends_the_supervision_ends_the_body_and_all_processes_and_is_one_line(tmp_path: Path) -> None:
    def closed(_line: str) -> NoReturn:
        raise ValueError("I/O operation on closed file")

    services = [python("sleeper", SLEEPS), python("neighbour", SLEEPS)]
    with pytest.raises(GaveUp) as why:
        async with asyncio.timeout(20), Supervisor(services, tmp_path, restarts=AT_ONCE, say=closed) as supervisor:
            sleeper, neighbour = (supervisor.pid_of(service.name) or 0 for service in services)
            assert sleeper and neighbour
            os.kill(sleeper, signal.SIGKILL)
            await asyncio.sleep(600)
    assert str(why.value) == "processes can no longer be kept up: ValueError: I/O operation on closed file"
    assert isinstance(why.value.__cause__, ValueError)
    assert not alive(neighbour)


async def test_when_one_process_cannot_be_started_at_all_none_is_left(tmp_path: Path) -> None:
    started = python("started", SLEEPS)
    too_long = python("too-long", "x" * 10_000_000)
    supervisor = Supervisor([started, too_long], tmp_path)
    with pytest.raises(GaveUp, match=r"too-long cannot be started: .*Argument list too long"):
        await supervisor.__aenter__()
    assert supervisor.pid_of("started") is None


async def test_a_process_deaf_to_sigterm_and_its_children_are_killed(tmp_path: Path) -> None:
    services = [python("deaf", DEAF), python("parent", HAS_A_CHILD)]
    async with Supervisor(services, tmp_path, grace_seconds=0.2) as supervisor:
        await eventually(lambda: all(supervisor.log_of(s.name).read_text() for s in services))
        child = int(supervisor.log_of("parent").read_text())
        pids = [pid for s in services if (pid := supervisor.pid_of(s.name)) is not None]
    assert len(pids) == 2
    await eventually(lambda: not any(alive(pid) for pid in (*pids, child)))


async def test_readiness_is_waited_for(tmp_path: Path) -> None:
    port = free_port()
    server = python("server", UNREADY_AT_FIRST, str(port), ready_url=f"http://127.0.0.1:{port}/readyz")
    ready: list[str] = []
    async with Supervisor([server, python("sleeper", SLEEPS)], tmp_path) as supervisor:
        await supervisor.until_ready(30, ready.append)
        assert supervisor.memory()["server"] > 1_000_000
    assert ready == ["sleeper", "server"]


async def test_what_is_never_ready_is_named_with_its_reason(tmp_path: Path) -> None:
    port = free_port()
    with pytest.raises(GaveUp, match="sleeper is not ready after 0 s: no answer at "):
        url = f"http://127.0.0.1:{port}/readyz"
        async with Supervisor([python("sleeper", SLEEPS, ready_url=url)], tmp_path) as supervisor:
            await supervisor.until_ready(0.3)


async def test_a_server_that_dies_comes_back_on_its_port_and_is_stopped_in_the_end(tmp_path: Path) -> None:
    redis = RedisServer(tmp_path / "redis")
    redis.start()
    said: list[str] = []
    async with Supervisor([], tmp_path, servers=[redis], say=said.append):
        first = redis.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        await eventually(lambda: redis.pid not in (None, first))
        second = redis.pid
    assert len(said) == 1 and said[0].startswith("Redis has died")
    assert second is not None and not alive(second)


async def test_no_process_outlives_a_supervisor_that_is_killed(tmp_path: Path) -> None:
    script = f"""
import asyncio, pathlib, sys
from local.supervisor import Service, Supervisor
async def main():
    sleeper = Service("sleeper", (sys.executable, "-c", {SLEEPS!r}))
    async with Supervisor([sleeper], pathlib.Path(sys.argv[1])) as supervisor:
        print(supervisor.pid_of("sleeper"), flush=True)
        await asyncio.sleep(600)
asyncio.run(main())
"""
    command = [sys.executable, "-c", script, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=PROJECT) as supervisor:  # noqa: ASYNC220
        assert supervisor.stdout is not None
        sleeper = int(supervisor.stdout.readline())
        assert alive(sleeper)
        supervisor.kill()
    await eventually(lambda: not alive(sleeper))


def test_last_words_are_one_line_whatever_the_log_holds(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert last_words(log) == ""
    log.write_text("Traceback (most recent call last):\n  File …\nValueError: bad pack\n\n")
    assert last_words(log) == "ValueError: bad pack"
    log.write_text(json.dumps({"event": "stopped", "exception": "Traceback …\nValueError: bad pack"}) + "\n")
    assert last_words(log) == "stopped: ValueError: bad pack"


def test_cores_are_shared_out_and_nobody_gets_none() -> None:
    assert [threads_each(cores, 4) for cores in (1, 2, 8, 15)] == [1, 1, 2, 3]
