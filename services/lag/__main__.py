"""The lag exporter: how far each consumer group is, for Prometheus."""

import asyncio
import threading

import structlog
from pydantic import Field

from services.lag.exporter import LagExporter, Timestamps, export
from shared import metrics
from shared.process import Process, run
from shared.settings import Port, Settings
from shared.stream.admin import admin

log = structlog.get_logger()


class LagSettings(Settings):
    """Settings of the lag exporter."""

    metrics_port: Port = Field(default=9107, description="Port of /metrics, /startz, /livez and /readyz")
    lag_seconds: float = Field(default=10.0, description="Seconds between two readings", gt=0)
    expected_groups: str = Field(
        default="",
        description="Groups, with commas, whose lag counts even if they never came up; others count once they exist",
    )

    @property
    def expected(self) -> tuple[str, ...]:
        return tuple(name.strip() for name in self.expected_groups.split(",") if name.strip())


async def serve(settings: LagSettings, process: Process) -> None:
    metrics.export(metrics.LAG)
    stop = threading.Event()
    process.on_stop(stop.set)
    process.health.not_ready("broker", "lag not read yet")
    process.health.started()
    log.info("exporting lag", kafka=settings.kafka, port=settings.metrics_port)
    timestamps = Timestamps(settings.kafka)
    exporter = LagExporter(admin(settings.kafka), settings.kafka, timestamps, settings.expected)
    await asyncio.to_thread(export, exporter, process.health, settings.lag_seconds, stop)
    timestamps.close()


if __name__ == "__main__":
    run("lag", LagSettings, serve)
