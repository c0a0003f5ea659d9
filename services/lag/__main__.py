"""The lag exporter: how far each consumer group is, for Prometheus."""

import signal
import threading

import structlog
from pydantic import Field

from services.lag.exporter import LagExporter, Timestamps, export
from shared import metrics
from shared.health import Health, serve_health
from shared.logs import start_logging
from shared.settings import Settings
from shared.stream.admin import admin

log = structlog.get_logger()


class LagSettings(Settings):
    """Of the lag exporter."""

    metrics_port: int = Field(default=9107, description="Port of /metrics, /startz, /livez and /readyz")
    lag_seconds: float = Field(default=10.0, description="Seconds between two readings", gt=0)
    expected_groups: str = Field(
        default="",
        description="Groups, with commas, whose lag counts even if they never came up; others count once they exist",
    )

    @property
    def expected(self) -> tuple[str, ...]:
        return tuple(name.strip() for name in self.expected_groups.split(",") if name.strip())


def main() -> None:
    settings = LagSettings()
    start_logging("lag", settings.log_level)
    stop = threading.Event()
    for sign in (signal.SIGTERM, signal.SIGINT):
        signal.signal(sign, lambda *_: stop.set())
    health = Health()
    metrics.export(metrics.LAG)
    health.not_ready("broker", "lag not read yet")
    health.started()
    port = serve_health(health, settings.host, settings.metrics_port)
    log.info("exporting lag", kafka=settings.kafka, port=port)
    timestamps = Timestamps(settings.kafka)
    exporter = LagExporter(admin(settings.kafka), settings.kafka, timestamps, settings.expected)
    export(exporter, health, settings.lag_seconds, stop)
    timestamps.close()


if __name__ == "__main__":
    main()
