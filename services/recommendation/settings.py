"""Settings of the join and of the lookups."""

from pydantic import Field

from shared.limits import MAX_MESSAGE_BYTES
from shared.settings import DurableSettings, Port, Settings


class JoinSettings(DurableSettings):
    """Settings of `python -m services.recommendation join`."""

    metrics_port: Port = Field(default=9105, description="Port of /metrics, /startz, /livez and /readyz; 0 serves none")
    join_batch: int = Field(default=500, description="Most events joined in one go", ge=1)
    join_wait_seconds: float = Field(default=0.05, description="How long a batch that isn't full waits for more", gt=0)


class ServeSettings(Settings):
    """Settings of `python -m services.recommendation serve`."""

    metrics_port: Port = Field(default=9106, description="Port of /metrics, /startz, /livez and /readyz; 0 serves none")
    grpc_port: Port = Field(default=50051, description="Port of the RecommendationService")
    embedding: str = Field(
        default="127.0.0.1:50052", description="host:port of the EmbeddingService, for photo searches"
    )
    rpc_seconds: float = Field(
        default=30.0, description="Longest that a call may take, also one that brings a later deadline", gt=0
    )
    max_calls: int = Field(default=64, description="Most calls at once; those beyond are RESOURCE_EXHAUSTED", ge=1)
    query_memory_bytes: int = Field(
        default=2 * MAX_MESSAGE_BYTES,
        description="Most bytes of photo searches taken in at once; others wait. A process holds up to 7 times as much",
        ge=MAX_MESSAGE_BYTES,
    )
