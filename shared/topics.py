"""Every topic, declared once: its name, message, partitions and how long it is kept. Keys are listing ids."""

from dataclasses import dataclass

from google.protobuf.message import Message
from vitrine.events.v1 import enriched_pb2, image_pb2, listing_pb2

DAY_MS = 24 * 3600 * 1000


@dataclass(frozen=True, slots=True)
class Topic:
    name: str
    message: type[Message] | None  # None: the bytes of some other topic, untouched
    partitions: int = 12
    compacted: bool = False
    kept_ms: int | None = None  # None: for ever

    def config(self, replication: int) -> dict[str, str]:
        """As the broker's topic settings spell it, with so many copies of each partition.

        A record counts as acknowledged when two copies have it: then one broker may burn down. All copies would be too
        many, since then none may as much as restart. What compaction takes out is gone within a day.
        """
        return {
            "cleanup.policy": "compact" if self.compacted else "delete",
            "retention.ms": str(-1 if self.kept_ms is None else self.kept_ms),
            "min.insync.replicas": str(2 if replication > 2 else 1),
            **({"max.compaction.lag.ms": str(DAY_MS)} if self.compacted else {}),
        }


LISTING_CHANGED = Topic("listing.changed", listing_pb2.ListingChanged, compacted=True)
IMAGE_UPLOADED = Topic("image.uploaded", image_pb2.ImageUploaded, kept_ms=7 * DAY_MS)
IMAGE_CLASSIFIED = Topic("image.classified", image_pb2.ImageClassified, kept_ms=7 * DAY_MS)
IMAGE_ATTRIBUTED = Topic("image.attributed", image_pb2.ImageAttributed, kept_ms=7 * DAY_MS)
IMAGE_EMBEDDED = Topic("image.embedded", image_pb2.ImageEmbedded, kept_ms=7 * DAY_MS)
IMAGE_SCORED = Topic("image.scored", image_pb2.ImageScored, kept_ms=7 * DAY_MS)
LISTING_ENRICHED = Topic("listing.enriched", enriched_pb2.ListingEnriched, compacted=True)
DEAD_LETTERS = Topic("image.dead-letters", None, partitions=1, kept_ms=30 * DAY_MS)
# What a worker's self-test publishes: proof that the last stage works too. Nobody reads it.
CANARY = Topic("image.canary", None, partitions=1, kept_ms=DAY_MS)

TOPICS = (
    LISTING_CHANGED,
    IMAGE_UPLOADED,
    IMAGE_CLASSIFIED,
    IMAGE_ATTRIBUTED,
    IMAGE_EMBEDDED,
    IMAGE_SCORED,
    LISTING_ENRICHED,
    DEAD_LETTERS,
    CANARY,
)

RESULTS = {topic.message: topic for topic in (IMAGE_CLASSIFIED, IMAGE_ATTRIBUTED, IMAGE_EMBEDDED, IMAGE_SCORED)}

# What is done with each photo; each task is a consumer of IMAGE_UPLOADED, and a service of that name.
TASKS = ("classification", "attributes", "embedding", "fraud")

GROUP_PREFIX = "vitrine-"


def group_of(member: str) -> str:
    """The consumer group of one task ("fraud"), of the fused worker ("fused") or of the join ("join")."""
    return GROUP_PREFIX + member
