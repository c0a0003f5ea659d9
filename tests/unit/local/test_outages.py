"""A server that somebody else runs goes away and comes back: that is said once each."""

import socket
from types import SimpleNamespace

import pytest

from local.outages import AFTERMATH_SECONDS, Outages, OutsideServer
from local.processes import free_port


async def test_that_a_server_is_away_and_that_it_is_back_are_said_once_however_often_one_looks() -> None:
    said: list[str] = []
    clock = SimpleNamespace(now=0.0)
    port = free_port()
    outages = Outages([OutsideServer.kafka(f"127.0.0.1:{port}")], said.append, lambda: clock.now)
    for _ in range(5):
        await outages.look()
        clock.now += 60.0
    with socket.create_server(("127.0.0.1", port)):
        for _ in range(5):
            await outages.look()
    assert said == [
        f"Kafka at 127.0.0.1:{port} is away: what needs it waits, or is started again",
        f"Kafka at 127.0.0.1:{port} is back after 300 s",
    ]


async def test_an_outage_excuses_until_those_that_tried_on_have_ended_too() -> None:
    clock = SimpleNamespace(now=0.0)
    outages = Outages([OutsideServer.redis(f"redis://127.0.0.1:{free_port()}/0")], lambda _: None, lambda: clock.now)
    assert not outages.lately
    await outages.look()
    clock.now = AFTERMATH_SECONDS - 1
    assert outages.lately
    clock.now = AFTERMATH_SECONDS + 1
    assert not outages.lately


@pytest.mark.parametrize(
    ("server", "places"),
    [
        (OutsideServer.kafka("one:9092, two:9093"), (("one", 9092), ("two", 9093))),
        (OutsideServer.kafka("[::1]:9094"), (("::1", 9094),)),
        (OutsideServer.redis("rediss://user:secret@cache:6380/1"), (("cache", 6380),)),
        (OutsideServer.redis("redis://cache"), (("cache", 6379),)),
    ],
)
def test_where_a_server_is_looked_for(server: OutsideServer, places: tuple[tuple[str, int], ...]) -> None:
    assert server.places == places
    assert "secret" not in server.address


async def test_of_several_brokers_one_that_listens_is_enough() -> None:
    with socket.create_server(("127.0.0.1", 0)) as one:
        server = OutsideServer.kafka(f"127.0.0.1:{free_port()},127.0.0.1:{one.getsockname()[1]}")
        assert server.answers()
