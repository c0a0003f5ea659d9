"""`vitrine rebuild`: fills a Redis that came back empty or older, from what Kafka and the photo store have."""

import asyncio
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing

import click
from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin import AdminClient
from vitrine.events.v1 import listing_pb2

from cli.kafka import kafka_option
from cli.plain import Command
from cli.tables import say
from services.fraud.bank import RedisBank, open_bank
from services.fraud.removals import GROUP as REMOVALS
from services.recommendation.store import RedisRecords
from shared.durability import Stamp
from shared.errors import Poison, Unusable
from shared.events import Event, parse
from shared.redis import connect
from shared.settings import DurableSettings, Settings
from shared.stream.admin import admin, cluster, once_ready, reader
from shared.stream.moves import altered
from shared.stream.notes import OffsetNote
from shared.stream.offsets import (
    EARLIEST,
    LATEST,
    READS,
    Partition,
    committed_offsets,
    describe,
    edges,
)
from shared.stream.producer import Producer
from shared.stream.reading import read_all
from shared.topics import IMAGE_UPLOADED, LISTING_CHANGED, group_of
from shared.uploads import uploads_of

SOURCE = "rebuild"
JOIN = group_of("join")
# Whoever keeps the hash bank, whichever of the two is run.
SCORING = (group_of("fraud"), group_of("fused"))
# Processes that found another Redis end within seconds; the broker notices when they miss heartbeats.
STOP_SECONDS = 90.0
AT_ONCE = 500
LOOK_EVERY_SECONDS = 2.0


@click.command(cls=Command)
@kafka_option
@click.option(
    "--redis",
    "redis_url",
    default=lambda: Settings().redis,
    show_default="VITRINE_REDIS, else redis://127.0.0.1:6379/0",
    metavar="URL",
    help="The Redis to fill.",
)
@click.option("--finish", is_flag=True, help="Only wait, and end a rebuild that was interrupted while it waited.")
def rebuild(bootstrap: str, redis_url: str, finish: bool) -> None:
    """Fill a Redis that came back empty or older than what Kafka was told.

    Join and fraud workers refuse such a Redis and wait; those at work end and wait, too, and all go on when every photo
    has been asked for. All listings are joined
    anew and each photo is looked at anew, so the whole catalogue's time on the GPUs is what it costs. Until the hash
    bank has caught up, a copy is sent to review and never blocked; then whoever would have been is scored once more.
    Lookups answer meanwhile with what is there. Safe to repeat.
    """
    wait_for_disk = DurableSettings().wait_for_disk
    client = admin(bootstrap)
    with closing(open_bank(redis_url, wait_for_disk=wait_for_disk)) as bank:
        if not finish:
            asyncio.run(_begin(client, bootstrap, redis_url, bank, wait_for_disk=wait_for_disk))
        _wait(client, bootstrap)
        _end(bootstrap, bank)


async def _begin(client: AdminClient, bootstrap: str, redis_url: str, bank: RedisBank, *, wait_for_disk: bool) -> None:
    """May end anywhere: until the last step everybody refuses this Redis, and it can be begun again."""
    redis = connect(redis_url)
    try:
        records = RedisRecords(redis, wait_for_disk=wait_for_disk)
        await records.close_for_rebuild()
        bank.close_for_rebuild()
        bank.begin_rebuild()
        _until_stopped(client)
        # What was kept before counts no more: from here on all of them begin with the Redis that bears out this stamp.
        stamp = Stamp(uuid.uuid4().hex, flushes=1)
        for group in (JOIN, REMOVALS):
            _set(client, group, edges(client, _partitions(client, bootstrap, group), EARLIEST), stamp)
        for group in SCORING:
            _set(client, group, committed_offsets(bootstrap, group), stamp)
        say("reading all listings …")
        sent = await _publish(bootstrap, _uploads(bootstrap, lambda _: True))
        say(f"{sent:,} photos will be looked at anew")
        bank.restore(stamp)
        await records.restore(stamp)
    finally:
        await redis.aclose()
    say("join and fraud workers go on now")


def _until_stopped(client: AdminClient) -> None:
    """Raises Unusable for groups that still have members: their commits would count for records that are not there."""
    deadline = time.monotonic() + STOP_SECONDS
    while busy := [one for one in describe(client, [JOIN, REMOVALS, *SCORING]).values() if one.members]:
        if time.monotonic() > deadline:
            named = ", ".join(one.name for one in busy)
            raise Unusable(
                f"{named}: members are still at work {STOP_SECONDS:.0f} s after this Redis was closed to them. Is it "
                "theirs? Stop them, or give --redis, and try again"
            )
        time.sleep(LOOK_EVERY_SECONDS)


def _partitions(client: AdminClient, bootstrap: str, group: str) -> list[Partition]:
    there = cluster(client, bootstrap).topics
    return [(topic.name, n) for topic in READS[group] if topic.name in there for n in there[topic.name].partitions]


def _set(client: AdminClient, group: str, offsets: Mapping[Partition, int], stamp: Stamp) -> None:
    if not offsets:
        return
    metadata = OffsetNote().stamped(stamp).metadata
    wanted = [TopicPartition(topic, number, offset, metadata) for (topic, number), offset in offsets.items()]
    answer = once_ready(lambda: altered(client, ConsumerGroupTopicPartitions(group, wanted)))
    for refused in (each for each in answer.topic_partitions or () if each.error):
        raise Unusable(f"the broker refused to set {group} in {refused.topic}/{refused.partition}: {refused.error}")


def _uploads(bootstrap: str, wanted: Callable[[listing_pb2.ListingChanged], bool]) -> Iterator[Event]:
    """The photos of the wanted changes on `listing.changed`; of superseded ones too, until those are compacted."""
    consumer = reader(bootstrap)
    try:
        for message in read_all(consumer, bootstrap, LISTING_CHANGED):
            value = message.value()
            try:
                change = parse(listing_pb2.ListingChanged, value if isinstance(value, bytes) else b"")
            except Poison:  # the join has it among its dead letters
                continue
            if wanted(change):
                yield from uploads_of(change, SOURCE)
    finally:
        consumer.close()


async def _publish(bootstrap: str, events: Iterable[Event]) -> int:
    producer = Producer(bootstrap)
    sent = 0
    try:
        some: list[Event] = []
        for event in events:
            some.append(event)
            if len(some) == AT_ONCE:
                await producer.send(some)
                sent, some = sent + len(some), []
        await producer.send(some)
        return sent + len(some)
    finally:
        producer.close()


def _wait(client: AdminClient, bootstrap: str) -> None:
    """Until whoever keeps the hash bank is back, and has scored all that is uploaded by now."""
    uploaded = [(IMAGE_UPLOADED.name, n) for n in cluster(client, bootstrap).topics[IMAGE_UPLOADED.name].partitions]
    starts, ends = edges(client, uploaded, EARLIEST), edges(client, uploaded, LATEST)
    told = None
    while (left := _left(client, bootstrap, starts, ends)) != 0:
        if left is not None and (told is None or left <= told * 0.9):
            told = left
            say(f"{left:,} photos to be scored (interrupt and go on with --finish whenever you like)")
        time.sleep(LOOK_EVERY_SECONDS)


def _left(
    client: AdminClient, bootstrap: str, starts: Mapping[Partition, int], ends: Mapping[Partition, int]
) -> int | None:
    """Photos to be scored by groups that have members; None while none has."""
    at_work = [group.name for group in describe(client, list(SCORING)).values() if group.members]
    committed = [committed_offsets(bootstrap, group) for group in at_work]
    left = [max(0, end - max(theirs.get(at, 0), starts[at])) for theirs in committed for at, end in ends.items()]
    return sum(left) if at_work else None


def _end(bootstrap: str, bank: RedisBank) -> None:
    bank.end_rebuild()
    withheld = bank.withheld()
    listings = {listing_id for listing_id, _ in withheld}
    if listings:
        asyncio.run(_publish(bootstrap, _uploads(bootstrap, lambda change: change.listing_id in listings)))
    bank.settled(withheld)
    say(f"rebuilt: copies are blocked again, and {len(listings):,} listings are scored once more for that")
