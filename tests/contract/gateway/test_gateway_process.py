"""The gateway's parts wired together, in this process, without a broker."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from services.gateway.__main__ import serve
from services.gateway.settings import GatewaySettings
from shared.health import Health
from shared.process import Process


class Stoppable(Process):
    """Told to stop by the test: a signal would be for all that runs in this process."""

    def on_stop(self, call: Callable[[], object]) -> None:
        self.stop = call


async def test_a_gateway_whose_event_loop_hangs_is_not_called_well(tmp_path: Path) -> None:
    now = 0.0
    process = Stoppable()
    process.health = health = Health(clock=lambda: now)
    settings = GatewaySettings(
        http_port=0, kafka="127.0.0.1:1", photo_store=str(tmp_path), drain_seconds=0, acknowledge_seconds=1, threads=1
    )
    serving = asyncio.create_task(serve(settings, process))
    while health.why_not_started:  # noqa: ASYNC110  it tells nobody
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    now += 31.0  # and no turn of the loop
    assert (health.why_not_live or "").startswith("no progress for 31 s")
    while health.why_not_live:  # noqa: ASYNC110  it tells nobody
        await asyncio.sleep(0)
    process.stop()
    await serving
