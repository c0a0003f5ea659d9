"""What the source tells librdkafka, without a broker. The rest is in tests/contract/stream/test_worker.py."""

import asyncio

from confluent_kafka import KafkaError, KafkaException, TopicPartition

from shared.stream.kafka import KafkaSource
from shared.stream.records import Record
from shared.topics import IMAGE_UPLOADED


class RecordingConsumer:
    """Remembers which partitions are paused, as librdkafka would."""

    def __init__(self) -> None:
        self.paused: set[int] = set()
        self.committed: list[int] = []
        self.rebalances = 0

    def commit(self, offsets: list[TopicPartition], asynchronous: bool) -> None:
        if self.rebalances:
            self.rebalances -= 1
            raise KafkaException(KafkaError(KafkaError.ILLEGAL_GENERATION))
        self.committed += [p.offset for p in offsets]

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


def test_a_commit_refused_amid_a_rebalance_is_made_after_it() -> None:
    """A cooperative rebalance leaves us partitions, with a new generation: what is still ours must not be dropped."""
    consumer = RecordingConsumer()
    source = source_with(consumer)
    given(source, 0)
    (assignment,) = source._current.values()

    async def main() -> None:
        source._loop = asyncio.get_running_loop()
        source._ledger.hand_out(Record(assignment, 4, b"", b""))
        await source.commit({assignment: 5})
        consumer.rebalances = 1
        source._commit_pending()
        assert consumer.committed == []
        source._commit_pending()
        assert consumer.committed == [5]
        source._commit_pending()
        assert consumer.committed == [5], "once is enough"

    asyncio.run(main())
