"""`vitrine rebuild`: fills a Redis that came back empty or older, from what Kafka and the photo store have."""

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
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
from shared.settings import Settings
from shared.stream.admin import admin, cluster, once_ready, reader
from shared.stream.moves import altered
from shared.stream.offsets import (
    EARLIEST,
    LATEST,
    READS,
    Partition,
    committed_offsets,
    committed_stamps,
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
STOP_SECONDS = 60.0
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

    Join and fraud workers refuse such a Redis and wait; they go on as soon as this has begun. All listings are joined
    anew and each photo is looked at anew, so the whole catalogue's time on the GPUs is what it costs. Until the hash
    bank has caught up, a copy is sent to review and never blocked; then whoever would have been is scored once more.
    Lookups answer meanwhile with what is there. Safe to repeat.
    """
    bank = open_bank(redis_url)
    client = admin(bootstrap)
    with closing(bank):
        if not finish:
            _begin(client, bootstrap, redis_url, bank)
        _wait(client, bootstrap)
        _end(bootstrap, bank)


def _begin(client: AdminClient, bootstrap: str, redis_url: str, bank: RedisBank) -> None:
    _until_stopped(client)
    joined = [stamp for stamp in committed_stamps(bootstrap, [JOIN]) if stamp]
    banked = [stamp for stamp in committed_stamps(bootstrap, [*SCORING, REMOVALS]) if stamp]
    bank.begin_rebuild()
    for group in (JOIN, REMOVALS):
        _rewind(client, bootstrap, group)
    say("reading all listings …")
    sent = asyncio.run(_publish(bootstrap, _uploads(bootstrap, lambda _: True)))
    say(f"{sent:,} photos will be looked at anew")
    # Last: from here on those who wait go on.
    bank.restore(banked)
    asyncio.run(_restore_records(redis_url, joined))
    say("join and fraud workers go on now")


def _until_stopped(client: AdminClient) -> None:
    """Raises Unusable for groups that still have members: their commits would count for records that are not there."""
    deadline = time.monotonic() + STOP_SECONDS
    while busy := [one for one in describe(client, [JOIN, REMOVALS, *SCORING]).values() if one.members]:
        if time.monotonic() > deadline:
            named = ", ".join(one.name for one in busy)
            raise Unusable(
                f"{named}: members are still at work. Start those processes anew: they will wait for the rebuild"
            )
        time.sleep(LOOK_EVERY_SECONDS)


def _rewind(client: AdminClient, bootstrap: str, group: str) -> None:
    there = cluster(client, bootstrap).topics
    partitions: list[Partition] = [
        (topic.name, number) for topic in READS[group] if topic.name in there for number in there[topic.name].partitions
    ]
    starts = edges(client, partitions, EARLIEST)
    wanted = [TopicPartition(topic, number, starts[topic, number]) for topic, number in partitions]
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


async def _restore_records(redis_url: str, stamps: Sequence[Stamp]) -> None:
    redis = connect(redis_url)
    try:
        await RedisRecords(redis).restore(stamps)
    finally:
        await redis.aclose()


def _wait(client: AdminClient, bootstrap: str) -> None:
    """Until whoever keeps the hash bank has scored all that is uploaded by now."""
    partitions = [(IMAGE_UPLOADED.name, n) for n in cluster(client, bootstrap).topics[IMAGE_UPLOADED.name].partitions]
    ends = edges(client, partitions, LATEST)
    groups = [name for name, group in describe(client, list(SCORING)).items() if group.state != "absent"]
    told = None
    while left := sum(_left(ends, committed_offsets(bootstrap, group)) for group in groups):
        if told is None or left <= told * 0.9:
            told = left
            say(f"{left:,} photos to be scored (interrupt and go on with --finish whenever you like)")
        time.sleep(LOOK_EVERY_SECONDS)


def _left(ends: dict[Partition, int], committed: dict[Partition, int]) -> int:
    return sum(max(0, end - committed.get(at, 0)) for at, end in ends.items())


def _end(bootstrap: str, bank: RedisBank) -> None:
    bank.end_rebuild()
    withheld = bank.withheld()
    listings = {listing_id for listing_id, _ in withheld}
    if listings:
        asyncio.run(_publish(bootstrap, _uploads(bootstrap, lambda change: change.listing_id in listings)))
    bank.settled(withheld)
    say(f"rebuilt: copies are blocked again, and {len(listings):,} listings are scored once more for that")
