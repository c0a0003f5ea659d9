"""How a process ends, and what it says then: 0 when told to stop, 1 when it can't go on, 2 for a wrong setting."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from structlog.testing import capture_logs

from shared.errors import Transient, Unusable
from shared.process import FAILED, TOLD_TO_STOP, Process, ended
from shared.settings import BadSettings, Settings
from tests.conftest import PROJECT

Service = Callable[[Settings, Process], Awaitable[None]]
RUN = """
import asyncio, sys, threading
from shared.errors import Unusable
from shared.process import run
from shared.settings import Settings

async def {name}
run("test", Settings, service)
"""


def told() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def raising(why: BaseException) -> Service:
    async def service(_settings: Settings, _process: Process) -> None:
        raise why

    return service


async def end_of(service: Service, **settings: Any) -> tuple[int, list[Any]]:
    with capture_logs() as logs:
        status = await ended(Settings(**settings), service)
    return status, [line for line in logs if line["event"] == "stopped"]


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_while_it_starts_ends_it_at_once_with_0(sign: signal.Signals) -> None:
    async def starts_for_ever(_settings: Settings, _process: Process) -> None:
        os.kill(os.getpid(), sign)
        await asyncio.Future()

    assert await end_of(starts_for_ever) == (TOLD_TO_STOP, [])


async def test_a_signal_at_work_lets_it_finish() -> None:
    finished = []

    async def works(_settings: Settings, process: Process) -> None:
        stopping = asyncio.Event()
        process.on_stop(stopping.set)
        told()
        await stopping.wait()
        finished.append(True)

    assert await end_of(works) == (TOLD_TO_STOP, [])
    assert finished


@pytest.mark.parametrize("why", [Transient("Kafka is away"), Unusable("no such pack"), OSError("disk is full")])
async def test_what_can_happen_to_anybody_is_one_line(why: Exception) -> None:
    status, (line,) = await end_of(raising(why))
    assert status == FAILED
    assert line["error"] == f"{type(why).__name__}: {why}"
    assert not line["exc_info"]


async def test_of_several_causes_each_is_told() -> None:
    group = ExceptionGroup("stages", [Transient("away"), ExceptionGroup("inner", [KeyError("x")])])
    status, (away, bug) = await end_of(raising(group))
    assert (status, away["error"], bug["error"]) == (FAILED, "Transient: away", "KeyError: 'x'")
    assert (bool(away["exc_info"]), bool(bug["exc_info"])) == (False, True)


@pytest.mark.parametrize("why", [RuntimeError("a bug"), ZeroDivisionError(), asyncio.CancelledError()])
async def test_a_bug_is_told_with_its_traceback(why: BaseException) -> None:
    status, (line,) = await end_of(raising(why))
    assert (status, line["exc_info"]) == (FAILED, why)


async def test_work_that_is_cancelled_while_it_finishes_has_not_finished() -> None:
    async def cancelled_at_the_end(_settings: Settings, process: Process) -> None:
        stopping = asyncio.Event()
        process.on_stop(stopping.set)
        told()
        await stopping.wait()
        raise asyncio.CancelledError

    assert (await end_of(cancelled_at_the_end))[0] == FAILED


async def test_a_service_that_ends_by_itself_has_failed() -> None:
    async def returns(_settings: Settings, _process: Process) -> None: ...

    status, (line,) = await end_of(returns)
    assert (status, line["error"]) == (FAILED, "it ended although nobody had told it to")


async def test_a_port_that_is_taken_is_one_line_that_names_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status, (line,) = await end_of(lambda *_: asyncio.sleep(60), metrics_port=port)
    assert status == FAILED
    assert f"127.0.0.1:{port} can't be listened on" in line["error"]
    assert not line["exc_info"]


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("VITRINE_THREADS", "many", "integer"),
        ("VITRINE_THREADS", "-1", "greater than or equal to 0"),
        ("VITRINE_METRICS_PORT", "99999", "65535"),
        ("VITRINE_LOG_LEVEL", "LOUD", "'INFO'"),
        ("VITRINE_DRAIN_SECONDS", "soon", "number"),
    ],
)
def test_a_setting_that_cannot_be_used_is_told_with_its_variable_and_what_it_may_be(
    variable: str, value: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(BadSettings, match=f"^{variable} is '{value}': .*{says}"):
        Settings()


def left(service: str, **variables: str) -> tuple[int, list[dict[str, Any]]]:
    """The status of a process that runs the service, and its log."""
    path = os.pathsep.join((str(PROJECT), str(PROJECT / "shared/pb")))
    done = subprocess.run(
        [sys.executable, "-c", RUN.format(name=service)],
        env={**os.environ, "PYTHONPATH": path, **variables},
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.returncode, [json.loads(line) for line in done.stderr.splitlines()]


def test_wrong_settings_are_one_line_and_status_2() -> None:
    status, (line,) = left("service(settings, process): ...", VITRINE_THREADS="many", VITRINE_LOG_LEVEL="LOUD")
    assert status == 2
    assert "VITRINE_THREADS is 'many'" in line["error"] and "VITRINE_LOG_LEVEL is 'LOUD'" in line["error"]
    assert "exception" not in line


def test_a_thread_that_never_ends_does_not_keep_a_dead_process() -> None:
    stuck = "threading.Thread(target=threading.Event().wait).start()"
    status, (line,) = left(f"service(settings, process): {stuck}; raise Unusable('no such pack')")
    assert (status, line["error"]) == (1, "Unusable: no such pack")


def test_a_library_that_would_leave_the_process_is_seen() -> None:
    status, (line,) = left("service(settings, process): sys.exit(0)")
    assert status == 1
    assert "Traceback" in line["exception"]
