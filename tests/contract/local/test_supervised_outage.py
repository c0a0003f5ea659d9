"""Processes that end while a server outside is away are kept up all the same, and without a line each."""

import asyncio
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from local.outages import OutsideServer
from local.processes import free_port
from local.supervisor import GaveUp, Restarts, Service, Supervisor

AT_ONCE = Restarts(first_wait=0.01, longest_wait=0.01, quick_deaths=3)
# Each start is a line in the file; it ends at once unless somebody listens.
NEEDS = """
import socket, sys, time
with open(sys.argv[1], "a") as starts: print("start", file=starts, flush=True)
socket.create_connection(("127.0.0.1", int(sys.argv[2])), timeout=5)
time.sleep(600)
"""


def needing(port: int, starts: Path) -> Service:
    return Service("needy", (sys.executable, "-c", NEEDS, str(starts), str(port)))


def lines(path: Path) -> int:
    return len(path.read_text().splitlines()) if path.exists() else 0


async def until(happened: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not happened():  # noqa: ASYNC110  processes set no asyncio.Event
            await asyncio.sleep(0.02)


async def test_nobody_is_given_up_while_a_server_outside_is_away_and_it_is_said_once(tmp_path: Path) -> None:
    said: list[str] = []
    port, starts = free_port(), tmp_path / "starts"
    outside = [OutsideServer.kafka(f"127.0.0.1:{port}")]
    kept = Supervisor([needing(port, starts)], tmp_path, outside=outside, restarts=AT_ONCE, say=said.append)
    async with kept:
        await until(lambda: lines(starts) >= 6)  # three quick deaths end it otherwise
        with socket.create_server(("127.0.0.1", port)):
            await until(lambda: len(said) == 2)
    assert [line.split(" is ")[1].split()[0].strip(":") for line in said] == ["away", "back"]


async def test_who_keeps_dying_while_all_servers_outside_are_there_is_given_up(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as there, pytest.raises(GaveUp):
        outside = [OutsideServer.kafka(f"127.0.0.1:{there.getsockname()[1]}")]
        hopeless = needing(free_port(), tmp_path / "starts")
        async with asyncio.timeout(60), Supervisor([hopeless], tmp_path, outside=outside, restarts=AT_ONCE):
            await asyncio.Future()
