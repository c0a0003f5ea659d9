"""What the probes are told: started, live and ready are three questions."""

import asyncio
import socket
from collections import Counter
from contextlib import ExitStack
from typing import Any

import pytest

from shared.errors import Replaced, Transient
from shared.health import Health, heartbeat, serve_health, wait_for, watch
from tests.probing import asked


class Away:
    """Something that is needed, away until told otherwise."""

    def __init__(self, why: Exception | None = None) -> None:
        self.why = why
        self.asked = 0

    async def check(self) -> None:
        self.asked += 1
        if self.why:
            raise self.why


async def watched(health: Health, *times: Any, **checks: Any) -> None:
    """Runs the watch, and each of the calls once all have been asked anew."""
    answered = Counter[str]()

    def counted(name: str, check: Any) -> Any:
        async def asked() -> None:
            try:
                await check()
            finally:
                answered[name] += 1

        return asked

    counting: Any = {name: counted(name, check) for name, check in checks.items()}
    watching = asyncio.create_task(watch(health, counting, every_seconds=0.001, timeout_seconds=0.05))
    for call in times:
        # The next answer may be to what was asked before the last call.
        wanted = {name: answered[name] + 2 for name in checks}
        while any(answered[name] < count for name, count in wanted.items()):  # noqa: ASYNC110  it tells nobody
            await asyncio.sleep(0)
        call()
    watching.cancel()


def test_health_is_progress_lately_or_nothing_to_do() -> None:
    now = 0.0
    health = Health(stalled_after=10, clock=lambda: now)
    health.started()
    now = 100.0
    assert health.why_not_live is None, "idle for long is healthy"
    health.busy(True)
    now = 105.0
    assert health.why_not_live is None
    now = 111.0
    assert health.why_not_live is not None
    assert health.why_not_ready is not None
    health.progressed()
    assert health.why_not_ready is None


def test_what_is_needed_and_away_makes_it_unready_but_neither_dead_nor_unstarted() -> None:
    health, port = Health(), 0
    port = serve_health(health, "127.0.0.1", 0)
    assert (asked(port, "/startz")[0], asked(port, "/livez")[0], asked(port, "/readyz")[0]) == (503, 200, 503)
    health.started()
    assert asked(port, "/readyz") == (200, "ok\n")
    health.not_ready("broker", "Kafka at kafka:9092 does not answer")
    health.not_ready("store", "gone")
    assert asked(port, "/readyz") == (503, "broker: Kafka at kafka:9092 does not answer\nstore: gone\n")
    assert (asked(port, "/startz")[0], asked(port, "/livez")[0]) == (200, 200)


async def test_an_event_loop_that_hangs_is_noticed_and_one_that_turns_is_well() -> None:
    now = 0.0
    health = Health(clock=lambda: now)
    health.started()
    beating = asyncio.create_task(heartbeat(health, every_seconds=0.001, stalled_after=30))

    async def has_beaten() -> None:
        at = now
        while health.why_not_live or health._progress != at:  # noqa: ASYNC110  it tells nobody
            await asyncio.sleep(0)

    await has_beaten()
    for _ in range(5):
        now += 29.0
        await has_beaten()
    now += 31.0  # and no turn of the loop
    assert (health.why_not_live or "").startswith("no progress for 31 s")
    assert "stalled: no progress" in (health.why_not_ready or "")
    await has_beaten()
    beating.cancel()


def let_go(connection: socket.socket) -> bool:
    """Waits for it."""
    try:
        return connection.recv(1) == b""
    except ConnectionError:
        return True


def test_who_holds_connections_open_keeps_no_probe_from_its_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.health._HealthServer.connection_seconds", 600.0)
    health = Health()
    health.started()
    port = serve_health(health, "127.0.0.1", 0)
    with ExitStack() as stack:
        held = [stack.enter_context(socket.create_connection(("127.0.0.1", port), 10)) for _ in range(100)]
        for one in held:
            one.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n")
        assert asked(port, "/readyz") == (200, "ok\n")
        assert all(map(let_go, held[:60])), "the oldest give way"


@pytest.mark.parametrize("sent", [b"", b"GET /livez HTTP/1.1\r\nHost: x\r\n"])
def test_who_sends_no_whole_request_to_a_probe_is_let_go_of(sent: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.health._HealthServer.connection_seconds", 0.01)
    port = serve_health(Health(), "127.0.0.1", 0)
    with socket.create_connection(("127.0.0.1", port), 10) as silent:
        silent.sendall(sent)
        assert let_go(silent)


def test_metrics_say_for_each_reason_whether_it_is_in_the_way() -> None:
    health = Health()
    port = serve_health(health, "127.0.0.1", 0)
    health.started()
    health.not_ready("redis", "away")
    shown = asked(port, "/metrics")[1]
    assert 'vitrine_ready{reason="redis"} 0.0' in shown
    for fine in ("starting", "stalled"):
        assert f'vitrine_ready{{reason="{fine}"}} 1.0' in shown
    health.ready("redis")
    assert 'vitrine_ready{reason="redis"} 1.0' in asked(port, "/metrics")[1]


def test_what_was_not_asked_yet_is_not_taken_to_be_there() -> None:
    health, forever = Health(), asyncio.Event()
    health.started()
    seen: list[str | None] = []
    asyncio.run(watched(health, lambda: seen.append(health.why_not_ready), broker=forever.wait))
    assert seen == ["broker: no answer within 0.05 s"]


def test_each_thing_is_asked_over_and_over_and_told_by_its_name() -> None:
    health, broker, store = Health(), Away(Transient("refused\nand more")), Away(KeyError())
    health.started()
    seen: list[str | None] = []

    def comes_back() -> None:
        seen.append(health.why_not_ready)
        broker.why = store.why = None

    def goes_again() -> None:
        seen.append(health.why_not_ready)
        broker.why = Transient("again")

    note = lambda: seen.append(health.why_not_ready)  # noqa: E731
    asyncio.run(watched(health, comes_back, goes_again, note, broker=broker.check, store=store.check))
    assert seen == ["broker: refused\nstore: KeyError", None, "broker: again"]
    assert broker.asked > 3


async def test_what_came_back_as_another_ends_the_watch() -> None:
    with pytest.raises(Replaced, match="another Redis"):
        await watch(Health(), {"redis": Away(Replaced("another Redis")).check})


async def test_a_start_waits_for_what_is_away_and_says_so_meanwhile() -> None:
    health, redis, seen = Health(), Away(Transient("Redis is away")), []

    async def attempt() -> str:
        await redis.check()
        return "found"

    waiting = asyncio.create_task(wait_for(health, "redis", attempt, seconds=0.001))
    while redis.asked < 2:  # noqa: ASYNC110  it tells nobody
        await asyncio.sleep(0)
    seen.append(health.whys["redis"])
    redis.why = None
    assert await waiting == "found"
    assert (seen, health.whys["redis"]) == (["Redis is away"], None)


async def test_a_start_does_not_wait_for_what_will_not_pass() -> None:
    with pytest.raises(KeyError):
        await wait_for(Health(), "redis", Away(KeyError()).check)
