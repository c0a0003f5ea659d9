"""Settings that every service shares. Each service adds its own in its own class, read from the same environment."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from shared.errors import Unusable

PREFIX = "VITRINE_"
Port = Annotated[int, Field(ge=0, le=65535)]


class BadSettings(Unusable):
    """Variables of the environment that can't be used: all of them in one line, each with what it may be."""


class Settings(BaseSettings):
    """From the environment, VITRINE_ first: VITRINE_KAFKA, VITRINE_REDIS, … Raises BadSettings."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore", frozen=True)

    def __init__(self, **given: Any) -> None:
        try:
            super().__init__(**given)
        except ValidationError as why:
            raise BadSettings("; ".join(map(_complaint, why.errors(include_url=False)))) from None

    kafka: str = Field(default="127.0.0.1:9092", description="Bootstrap servers, host:port[,host:port]")
    redis: str = Field(default="redis://127.0.0.1:6379/0", description="redis:// or rediss:// address")
    photo_store: str = Field(
        default=".vitrine/data/photos",
        description="A folder, or s3://bucket/prefix (with AWS_* for endpoint and keys)",
    )
    pack: str = Field(default="builtin", description="Name of a pack under models/, or a folder's path")
    home: Path = Field(
        default=Path(".vitrine"),
        description="Where `make setup` and `vitrine run` keep trunks, servers, data and logs",
    )
    host: str = Field(default="127.0.0.1", description="Interface to listen on; loopback until callers are known")
    metrics_port: Port = Field(default=0, description="Port of /metrics, /startz, /livez and /readyz; 0 serves none")
    drain_seconds: float = Field(
        default=5.0,
        description="On SIGTERM, how long calls are still taken: until whoever routes them has learned that we go",
        ge=0,
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO", description="DEBUG, INFO, WARNING or ERROR"
    )
    device: str = Field(default="auto", description="auto, cpu or cuda; a device that is absent fails at start")
    threads: int = Field(default=0, description="CPU threads for this process; 0 takes all cores", ge=0)


class DurableSettings(Settings):
    """Settings of processes that keep in Redis what Kafka then believes done."""

    wait_for_disk: bool = Field(
        default=True,
        description="Before Kafka is told that events are done, wait until Redis has their effect on disk. Needs "
        "`appendonly yes` in Redis; without it, set this to false and accept that a crash of Redis loses records",
    )


def _complaint(error: Any) -> str:
    name = ".".join(str(part) for part in error["loc"])
    return f"{PREFIX}{name.upper()} is {error['input']!r}: {error['msg']}"
