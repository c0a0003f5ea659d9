"""What a real Kafka's access rules forbid ends a consumer, with a line that names the missing right."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from confluent_kafka.admin import AclOperation, ResourceType

from local.servers import kafka_jars
from services.fraud.removals import GROUP, follow_removals
from shared.errors import Transient, Unusable
from shared.events import Event
from shared.settings import Settings
from shared.stream.admin import Broker, create_topics
from shared.stream.producer import Producer
from shared.topics import LISTING_CHANGED
from tests.brokers import GuardedBroker
from tests.conftest import home
from tests.fakes import uploaded
from tests.fakes_vision import FakeBank
from tests.kafka_line import PROTOCOLS, KafkaLine

SECONDS = 60


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuardedBroker]:
    with GuardedBroker(tmp_path_factory.mktemp("kafka"), kafka_jars(home())) as server:
        create_topics(server.bootstrap)
        yield server


@pytest.fixture(params=PROTOCOLS)
def line(request: pytest.FixtureRequest, guarded: GuardedBroker, unique: Callable[[str], str]) -> KafkaLine:
    return KafkaLine(guarded.bootstrap, request.param, unique("uploads")).create()


async def refused(line: KafkaLine) -> str:
    """What a consumer that only waits for records ends with."""
    source = line.source()
    try:
        async with asyncio.timeout(SECONDS):
            with pytest.raises(Unusable) as why:
                async for _ in source:
                    pass
    finally:
        await source.close()
    return str(why.value)


async def test_a_consumer_that_may_not_read_its_topic_says_so_and_ends(line: KafkaLine, guarded: GuardedBroker) -> None:
    await line.feed([b"a"])
    guarded.deny(ResourceType.TOPIC, line.topic.name, AclOperation.READ)
    assert f"grant READ and DESCRIBE on topic {line.topic.name}" in await refused(line)


async def test_a_consumer_that_may_not_use_its_group_says_so_and_ends(line: KafkaLine, guarded: GuardedBroker) -> None:
    guarded.deny(ResourceType.GROUP, line.group, AclOperation.READ)
    assert f"grant READ on group {line.group}" in await refused(line)


async def test_a_right_that_is_taken_away_at_work_ends_the_consumer(line: KafkaLine, guarded: GuardedBroker) -> None:
    await line.feed([b"a"])
    source = line.source()
    records = aiter(source)
    await anext(records)
    guarded.deny(ResourceType.GROUP, line.group, AclOperation.READ)
    async with asyncio.timeout(SECONDS):
        with pytest.raises(Unusable, match=f"grant READ on group {line.group}"):
            await anext(records)
    await source.close()


async def test_whoever_may_not_write_a_topic_is_told_which(guarded: GuardedBroker, line: KafkaLine) -> None:
    guarded.deny(ResourceType.TOPIC, line.topic.name, AclOperation.WRITE)
    producer = Producer(guarded.bootstrap)
    with pytest.raises(Transient, match=f"grant WRITE and DESCRIBE on topic {line.topic.name}"):
        await producer.send([Event(line.topic, "listing", uploaded(b"a"))])
    other = replace(line.topic, name=LISTING_CHANGED.name)
    await producer.send([Event(other, "listing", b"")])  # what it may write it still does
    producer.close()


async def test_the_follower_of_removals_that_may_not_use_its_group_ends_the_process(guarded: GuardedBroker) -> None:
    guarded.deny(ResourceType.GROUP, GROUP, AclOperation.READ)
    with pytest.raises(ExceptionGroup) as stopped:
        async with asyncio.timeout(SECONDS), follow_removals(FakeBank(), Settings(kafka=guarded.bootstrap)):
            await asyncio.Future()
    assert stopped.group_contains(Unusable, match=f"grant READ on group {GROUP}")


async def test_a_process_is_not_ready_while_it_lacks_a_right_on_a_topic(
    line: KafkaLine, guarded: GuardedBroker
) -> None:
    broker = Broker(guarded.bootstrap, reads=[line.topic], writes=[line.topic])
    await broker.check()
    guarded.grant(ResourceType.TOPIC, line.topic.name, AclOperation.READ)
    with pytest.raises(Transient, match=f"grant WRITE on {line.topic.name}$"):
        await broker.check()
    guarded.deny(ResourceType.TOPIC, line.topic.name, AclOperation.DESCRIBE)
    with pytest.raises(Transient, match="grant DESCRIBE"):
        await broker.check()
