"""What tests of the join and the lookups share: messages of a small shop, and fakes of the store and the broker."""

from collections.abc import Mapping, Sequence

import numpy as np
from google.protobuf.message import Message
from vitrine.events.v1 import image_pb2, listing_pb2

from services.recommendation.fields import Enriched, Vector, embedding_field, enriched, vector_in
from services.recommendation.index import VectorIndex
from services.recommendation.join import Join
from services.recommendation.store import Records, Stored, Write
from shared.events import Event
from shared.stream.records import Assignment, Record
from shared.topics import LISTING_CHANGED, LISTING_ENRICHED, RESULTS

ALLOW, REVIEW, BLOCK = (
    image_pb2.Fraud.DECISION_ALLOW,
    image_pb2.Fraud.DECISION_REVIEW,
    image_pb2.Fraud.DECISION_BLOCK,
)
SPACE = "builtin@1"
DIMENSION = 16


def unit(seed: int, dimension: int = DIMENSION) -> Vector:
    """The same direction for the same seed."""
    vector = np.random.default_rng(seed).normal(size=dimension).astype(np.float32)
    return vector / np.float32(np.linalg.norm(vector))


def changed(
    listing_id: str,
    revision: int,
    photos: Sequence[str] = ("a",),
    *,
    seller: str = "ann",
    price: tuple[int, int] | None = (19, 990_000_000),
    currency: str = "EUR",
    title: str = "shirt",
) -> listing_pb2.ListingChanged:
    claims = listing_pb2.Claims(title=title)
    if price:
        claims.price.CopyFrom(listing_pb2.Money(currency_code=currency, units=price[0], nanos=price[1]))
    listing = listing_pb2.Listing(
        seller_id=seller, claims=claims, photos=[listing_pb2.Photo(sha256=photo) for photo in photos]
    )
    return listing_pb2.ListingChanged(listing_id=listing_id, revision=revision, listing=listing)


def removed(listing_id: str, revision: int) -> listing_pb2.ListingChanged:
    return listing_pb2.ListingChanged(
        listing_id=listing_id, revision=revision, removed=listing_pb2.ListingRemoved(reason="takedown")
    )


def assessed(listing_id: str, revision: int, photo: str, generation: int = 1, at: int = 1) -> image_pb2.Assessment:
    assessment = image_pb2.Assessment(
        listing_id=listing_id, revision=revision, photo_sha256=photo, pack="builtin@1", generation=generation
    )
    assessment.assessed_at.FromSeconds(at)
    assessment.uploaded_at.FromSeconds(revision)
    return assessment


def classified(about: image_pb2.Assessment, path: Sequence[str] = ("garments", "t-shirt")) -> image_pb2.ImageClassified:
    taxonomy_id = "aa-1-13-8" if path == ("garments", "t-shirt") else ""
    category = image_pb2.Category(label=path[-1], path=path, confidence=0.9, taxonomy_id=taxonomy_id)
    return image_pb2.ImageClassified(assessment=about, category=category)


def attributed(about: image_pb2.Assessment, confidence: float = 0.8, **values: str) -> image_pb2.ImageAttributed:
    attributes = [
        image_pb2.Attribute(name=n, value=v, confidence=confidence, source=image_pb2.Attribute.SOURCE_SEEN)
        for n, v in (values or {"colour": "blue"}).items()
    ]
    return image_pb2.ImageAttributed(assessment=about, attributes=attributes)


def embedded(about: image_pb2.Assessment, seed: int = 1, space: str = SPACE, dimension: int = DIMENSION) -> Message:
    return image_pb2.ImageEmbedded(assessment=about, space=space, vector=unit(seed, dimension).tolist())


def scored(about: image_pb2.Assessment, decision: "image_pb2.Fraud.Decision.ValueType" = ALLOW) -> Message:
    reasons = [] if decision == ALLOW else [image_pb2.Reason(code="copy", strength=0.9)]
    score = {ALLOW: 0.1, REVIEW: 0.5, BLOCK: 0.9}[decision]
    return image_pb2.ImageScored(
        assessment=about, fraud=image_pb2.Fraud(score=score, decision=decision, reasons=reasons)
    )


def results(
    listing_id: str,
    revision: int,
    photo: str = "a",
    *,
    seed: int = 1,
    decision: "image_pb2.Fraud.Decision.ValueType" = ALLOW,
    path: Sequence[str] = ("garments", "t-shirt"),
    generation: int = 1,
    **attributes: str,
) -> list[Message]:
    """The four facets of one photo."""
    about = assessed(listing_id, revision, photo, generation)
    return [
        classified(about, path),
        attributed(about, 0.8, **attributes),
        embedded(about, seed),
        scored(about, decision),
    ]


def delivered(*messages: Message, headers: Mapping[str, bytes] | None = None) -> list[Record]:
    """As Kafka would hand them over."""
    return [_record(message, offset, headers or {}) for offset, message in enumerate(messages)]


def _record(message: Message, offset: int, headers: Mapping[str, bytes]) -> Record:
    if isinstance(message, listing_pb2.ListingChanged):
        topic, key = LISTING_CHANGED, message.listing_id
    else:
        topic, key = RESULTS[type(message)], message.assessment.listing_id  # type: ignore[attr-defined]
    return Record(Assignment(topic.name, 0), offset, key.encode(), message.SerializeToString(), headers)


class MemoryRecords:
    """The store in memory, which keeps the same promises; `away` makes every call fail as an absent Redis does."""

    def __init__(self) -> None:
        self._stored: dict[str, Stored] = {}
        self._records: dict[str, bytes] = {}
        self.flushes = 0
        self.away: Exception | None = None

    async def stored(self, listing_ids: Sequence[str]) -> list[Stored]:
        await self.ping()
        return [self._stored.get(listing_id, Stored()) for listing_id in listing_ids]

    async def write(self, writes: Sequence[Write]) -> list[bool]:
        await self.ping()
        return [self._write(write) for write in writes]

    def _write(self, write: Write) -> bool:
        if self._stored.get(write.listing_id, Stored()).version != write.before.version:
            return False
        self._stored[write.listing_id] = write.after
        if write.record is not None:
            self._records[write.listing_id] = write.record.SerializeToString()
        return True

    async def versions(self, listing_ids: Sequence[str]) -> list[int]:
        return [stored.version for stored in await self.stored(listing_ids)]

    async def flushed(self) -> None:
        await self.ping()
        self.flushes += 1

    async def records(self, listing_ids: Sequence[str]) -> list[Enriched | None]:
        await self.ping()
        return [Enriched.FromString(self._records[i]) if i in self._records else None for i in listing_ids]

    async def vectors(self, space: str, photos: Sequence[tuple[str, str]]) -> list[Vector | None]:
        stored = await self.stored([listing_id for listing_id, _ in photos])
        fields = [embedding_field(space, sha256) for _, sha256 in photos]
        return [vector_in(s.fields[f]) if f in s.fields else None for s, f in zip(stored, fields, strict=True)]

    async def ping(self) -> None:
        if self.away:
            raise self.away


class Published:
    """A broker that remembers; `away` makes it fail."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.away: Exception | None = None

    async def send(self, events: Sequence[Event]) -> None:
        if self.away:
            raise self.away
        self.events += events

    def on(self, topic: object) -> list[Event]:
        return [event for event in self.events if event.topic is topic]

    def current(self) -> dict[str, Enriched]:
        """What compaction would keep of listing.enriched."""
        message = LISTING_ENRICHED.message
        assert message is not None
        return {e.key: message.FromString(e.value).listing for e in self.on(LISTING_ENRICHED)}  # type: ignore[attr-defined]


async def filled(records: Records, index: VectorIndex, *messages: Message) -> None:
    """Joins these, for tests of the lookups."""
    await Join(records, index, Published()).join(delivered(*messages))


def record_of(fields: Mapping[str, bytes]) -> Enriched:
    record = enriched(fields)
    assert record is not None
    return record
