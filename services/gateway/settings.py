"""What can be set for the gateway."""

import os

from pydantic import Field, SecretStr

from services.gateway.imaging import PhotoLimits
from shared.limits import ACCEPTED_PHOTO_PIXELS, MAX_PHOTO_BYTES, MAX_PHOTO_PIXELS
from shared.settings import BadSettings, Port, Settings

_SECRET_BYTES = 16


class GatewaySettings(Settings):
    """From the environment: VITRINE_HTTP_PORT, VITRINE_MAX_PHOTOS, …"""

    http_port: Port = Field(default=8080, description="Port of the HTTP interface")
    metrics_port: Port = Field(default=9108, description="Port of /metrics, /startz, /livez and /readyz; 0 serves none")
    recommendation: str = Field(default="127.0.0.1:50051", description="host:port of the recommendation service's gRPC")

    max_photos: int = Field(default=12, description="Most photos of one listing", ge=1)
    max_photo_bytes: int = Field(default=MAX_PHOTO_BYTES, description="Most bytes of one photo", ge=1)
    max_photo_pixels: int = Field(
        default=ACCEPTED_PHOTO_PIXELS, description="Most pixels of one photo, W × H", ge=1, le=MAX_PHOTO_PIXELS
    )
    min_photo_side: int = Field(default=32, description="Fewest pixels of a photo's shorter side", ge=1)
    max_listing_bytes: int = Field(default=64 * 1024, description="Most bytes of the JSON claims", ge=1)

    header_seconds: int = Field(
        default=10,
        description="How long a client may take for a request's head, counted from the answer before it, and to take "
        "in an answer; then it is let go of",
        ge=1,
    )
    upload_seconds: float = Field(default=120, description="How long a body may take to arrive", gt=0)
    upload_grace_seconds: float = Field(
        default=10, description="How long a body may come more slowly than the slowest rate, or not at all", gt=0
    )
    upload_bytes_per_second: int = Field(default=8 * 1024, description="The slowest rate of a body", ge=1)
    upload_memory_bytes: int = Field(default=1024**3, description="Most bytes of bodies held at once", ge=1)

    max_connections: int = Field(
        default=1000,
        description="Most connections at once; requests beyond are answered 503. One caller may hold half of them",
        ge=2,
    )
    # A caller is an address until tokens come: behind a proxy all are one.
    caller_memory_share: float = Field(
        default=0.5,
        description="Share of the memory for bodies that one caller may hold, though never less than one largest body",
        gt=0,
        le=1,
    )
    caller_uploads: int = Field(default=64, description="Most uploads of one caller at once", ge=1)
    caller_photos_per_minute: int = Field(
        default=36_000,
        description="Most photos a minute, sent or named, that one caller may ask to be looked at; 0 is no limit",
        ge=0,
    )
    acknowledge_seconds: float = Field(default=15, description="How long the broker may take to acknowledge", gt=0)
    pending_seconds: float = Field(
        default=120,
        description="After how long what is half published is published again, by whichever gateway; it may take twice "
        "acknowledge_seconds",
        gt=0,
    )
    id_secret: SecretStr | None = Field(
        default=None,
        description="Listing ids are made from seller and Idempotency-Key with it: 16 characters at least, the same "
        "for all gateways. Without it they share one that lies in the photo store. Once it is changed, an import that "
        "lacks its state file makes every listing anew",
    )
    ahead_seconds: float = Field(default=300, description="How far updated_at may lie in the future", ge=0)
    lookup_seconds: float = Field(default=2, description="Deadline of a lookup at the recommendation service", gt=0)
    probe_seconds: float = Field(
        default=3,
        description="How long the broker and the photo store may take to answer before it counts as unready",
        gt=0,
    )

    @property
    def decoders(self) -> int:
        """Threads that decode."""
        return self.threads or os.cpu_count() or 1

    @property
    def finish_seconds(self) -> float:
        """How long an upload that has just begun may take: its body, then what the broker acknowledges, twice."""
        return self.upload_seconds + 2 * self.acknowledge_seconds

    @property
    def caller_memory_bytes(self) -> int:
        """Of bodies that one caller may have held at once: its share, or one body of the largest."""
        return max(int(self.caller_memory_share * self.upload_memory_bytes), self.max_body_bytes)

    @property
    def secret_of_ids(self) -> bytes | None:
        """Raises BadSettings when it is too short; not by the field, whose complaint would repeat it."""
        secret = self.id_secret.get_secret_value().encode() if self.id_secret else b""
        if 0 < len(secret) < _SECRET_BYTES:
            raise BadSettings(f"VITRINE_ID_SECRET is shorter than {_SECRET_BYTES} characters")
        return secret or None

    @property
    def photo_limits(self) -> PhotoLimits:
        return PhotoLimits(self.max_photo_bytes, self.max_photo_pixels, self.min_photo_side)

    @property
    def max_body_bytes(self) -> int:
        """All photos at their largest, the claims, and something for the form around them."""
        return self.max_photos * self.max_photo_bytes + self.max_listing_bytes + 64 * 1024
