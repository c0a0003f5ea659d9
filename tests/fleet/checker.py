"""Whether a fleet holds exactly one joined record of each photo that was accepted. It trusts no service, only the data.

It reads Redis and Kafka itself: a lookup that hides a loss would hide it from this too.
"""

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from confluent_kafka import TopicPartition
from redis.asyncio import Redis
from vitrine.events.v1 import enriched_pb2, image_pb2

from client.listing import Imported
from shared.stream.admin import admin, cluster, reader
from shared.stream.offsets import LATEST, edges
from shared.topics import DEAD_LETTERS, LISTING_ENRICHED, Topic

Enriched = enriched_pb2.EnrichedListing
_READ_SECONDS = 30.0


@dataclass(frozen=True)
class Held:
    """All that a fleet holds of its listings, by listing id."""

    records: dict[str, Enriched]
    published: dict[str, Enriched]  # the last on the topic listing.enriched
    vectors: dict[str, list[str]]  # listing ids by space
    dead_letters: int


def produced(kafka: str, topic: Topic) -> int:
    """Records ever written to a topic."""
    client = admin(kafka)
    partitions = cluster(client, kafka).topics[topic.name].partitions
    return sum(edges(client, [(topic.name, number) for number in partitions], LATEST).values())


async def held(kafka: str, redis_url: str) -> Held:
    """What there is now."""
    redis = Redis.from_url(redis_url)
    try:
        records = await _records(redis)
        vectors = await _vectors(redis)
    finally:
        await redis.aclose()
    published = await asyncio.to_thread(_published, kafka)
    return Held(records, published, vectors, await asyncio.to_thread(produced, kafka, DEAD_LETTERS))


@dataclass(frozen=True)
class Tally:
    """What became of a fleet's uploads: listings accepted, and of how many things the fleet is wrong about them."""

    accepted: int
    lost: int = 0
    doubled: int = 0
    stale: int = 0


def tally(uploads: Sequence[Imported], found: Held) -> Tally:
    """Of these uploads, which must be all that the fleet was ever given; the last one of a listing counts."""
    kinds = Counter(line.partition(":")[0] for line in problems(uploads, found))
    accepted = len({upload.listing_id for upload in uploads if upload.listing_id})
    return Tally(accepted, kinds["lost"], kinds["doubled"], kinds["stale"])


def problems(uploads: Sequence[Imported], found: Held) -> list[str]:
    """What was lost or doubled of these uploads, which must be all that the fleet was ever given; empty: nothing."""
    wanted = {upload.listing_id: upload for upload in uploads if upload.listing_id}
    return [
        *(f"not accepted: {upload.reference}" for upload in uploads if upload.listing_id is None),
        *(f"lost: listing {i} has no record" for i in wanted.keys() - found.records.keys()),
        *(f"doubled: record {i} belongs to no upload" for i in found.records.keys() - wanted.keys()),
        *(line for i, upload in wanted.items() if i in found.records for line in _unlike(found.records[i], upload)),
        *_unpublished(found),
        *_misplaced(found),
        *([f"{found.dead_letters} records in the dead letters"] if found.dead_letters else []),
    ]


def _unlike(record: Enriched, upload: Imported) -> Iterator[str]:
    if upload.revision is not None and record.revision < upload.revision:
        yield f"stale: listing {record.listing_id} is at revision {record.revision}, not {upload.revision}"
    joined = Counter(photo.photo.sha256 for photo in record.photos)
    for sha256 in set(upload.photos):
        if not joined[sha256]:
            yield f"lost: photo {sha256[:12]} of {record.listing_id}"
        elif joined[sha256] > 1:
            yield f"doubled: photo {sha256[:12]} of {record.listing_id} is there {joined[sha256]} times"
    if extra := joined.keys() - set(upload.photos):
        yield f"doubled: listing {record.listing_id} has {len(extra)} photos that were not uploaded"
    for photo in record.photos:
        facets = (photo.HasField("category"), photo.HasField("attributes"), photo.HasField("fraud"))
        if photo.missing or not photo.embedding_space or not all(facets):
            yield f"lost: photo {photo.photo.sha256[:12]} of {record.listing_id} lacks facets"
    if record.status != Enriched.STATUS_COMPLETE:
        yield f"lost: listing {record.listing_id} is not complete"


def _unpublished(found: Held) -> Iterator[str]:
    for listing_id in found.records.keys() | found.published.keys():
        if listing_id not in found.published:
            yield f"lost: listing {listing_id} was never published"
        elif listing_id not in found.records:
            yield f"doubled: listing {listing_id} was published and has no record"
        elif found.published[listing_id] != found.records[listing_id]:
            yield f"stale: listing {listing_id} was last published as something else than its record"


def _misplaced(found: Held) -> Iterator[str]:
    blocked = image_pb2.Fraud.DECISION_BLOCK
    shown = {i: record for i, record in found.records.items() if record.fraud.decision != blocked}
    for listing_id, record in shown.items():
        if listing_id not in found.vectors.get(record.embedding_space, []):
            yield f"lost: listing {listing_id} has no vector in the index"
    for space, listing_ids in found.vectors.items():
        yield from (f"stale: vector of {i} in {space} should not be there" for i in listing_ids if i not in shown)


async def _records(redis: Redis) -> dict[str, Enriched]:
    keys = [key async for key in redis.scan_iter("listing:*", count=1000) if not key.endswith(b":parts")]
    values = await redis.mget(keys) if keys else []
    names = [key.decode().removeprefix("listing:{").removesuffix("}") for key in keys]
    pairs = zip(names, values, strict=True)
    return {name: Enriched.FromString(value) for name, value in pairs if isinstance(value, bytes)}


async def _vectors(redis: Redis) -> dict[str, list[str]]:
    prefix = "vitrine:index:vectors:"
    keys = [key.decode() async for key in redis.scan_iter(f"{prefix}*", count=1000)]
    return {key.removeprefix(prefix): await _elements(redis, key) for key in keys}


async def _elements(redis: Redis, key: str) -> list[str]:
    found: Any = await redis.vset().vrandmember(key, await redis.vset().vcard(key))
    return [element.decode() for element in found]


def _published(kafka: str) -> dict[str, Enriched]:
    partitions = cluster(admin(kafka), kafka).topics[LISTING_ENRICHED.name].partitions
    consumer = reader(kafka)
    consumer.assign([TopicPartition(LISTING_ENRICHED.name, number, 0) for number in partitions])
    found: dict[str, Enriched] = {}
    ended: set[int | None] = set()
    try:
        while len(ended) < len(partitions):
            message = consumer.poll(_READ_SECONDS)
            assert message is not None, "the broker does not answer"
            if message.error():  # the end of a partition, see broker.reader
                ended.add(message.partition())
                continue
            key, value = message.key(), message.value()
            assert isinstance(key, bytes) and isinstance(value, bytes)
            found[key.decode()] = enriched_pb2.ListingEnriched.FromString(value).listing
    finally:
        consumer.close()
    return found
