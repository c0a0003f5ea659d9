"""What the source tells librdkafka, without a broker. The rest is in tests/contract/test_worker.py."""

import asyncio

from confluent_kafka import TopicPartition

from shared.kafka import KafkaSource
from shared.topics import IMAGE_UPLOADED


class RecordingConsumer:
    """Remembers which partitions are paused, as librdkafka would."""

    def __init__(self) -> None:
        self.paused: set[int] = set()

    def pause(self, partitions: list[TopicPartition]) -> None:
        self.paused |= {p.partition for p in partitions}

    def resume(self, partitions: list[TopicPartition]) -> None:
        self.paused -= {p.partition for p in partitions}


def source_with(consumer: RecordingConsumer) -> KafkaSource:
    source = KafkaSource("127.0.0.1:1", "group", [IMAGE_UPLOADED], max_queued=10)
    source._consumer = consumer  # type: ignore[assignment]
    return source


def given(source: KafkaSource, *partitions: int) -> None:
    found = [TopicPartition(IMAGE_UPLOADED.name, p) for p in partitions]
    source._assigned(source._consumer, found)


def test_partitions_paused_before_a_rebalance_are_resumed_after_it() -> None:
    consumer = RecordingConsumer()
    source = source_with(consumer)
    given(source, 0)
    source._received = 10
    source._apply_pause()
    assert consumer.paused == {0}
    source._taken = 7
    given(source, 1)
    source._apply_pause()
    assert consumer.paused == set()


def test_partitions_that_come_while_the_queue_is_full_are_paused_too() -> None:
    consumer = RecordingConsumer()
    source = source_with(consumer)
    given(source, 0)
    source._received = 10
    source._apply_pause()
    given(source, 1)
    source._apply_pause()
    assert consumer.paused == {0, 1}


def test_a_source_stopped_before_it_began_ends_at_once() -> None:
    async def main() -> None:
        source = KafkaSource("127.0.0.1:1", "group", [IMAGE_UPLOADED])
        source.stop()  # SIGTERM during the warm-up
        async with asyncio.timeout(5):
            assert [record async for record in source] == []
            await source.close()

    asyncio.run(main())
