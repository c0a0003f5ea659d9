"""Settings of the join and of the lookups."""

from pydantic import Field

from shared.settings import DurableSettings, Port, Settings


class JoinSettings(DurableSettings):
    """Of `python -m services.recommendation join`."""

    metrics_port: Port = Field(default=9105, description="Port of /metrics, /startz, /livez and /readyz; 0 serves none")
    join_batch: int = Field(default=500, description="Most events joined in one go", ge=1)
    join_wait_seconds: float = Field(default=0.05, description="How long a batch that isn't full waits for more", gt=0)


class ServeSettings(Settings):
    """Of `python -m services.recommendation serve`."""

    metrics_port: Port = Field(default=9106, description="Port of /metrics, /startz, /livez and /readyz; 0 serves none")
    grpc_port: Port = Field(default=50051, description="Port of the RecommendationService")
    embedding: str = Field(
        default="127.0.0.1:50052", description="host:port of the EmbeddingService, for photo searches"
    )
    rpc_seconds: float = Field(default=10.0, description="Deadline of calls that bring none", gt=0)
