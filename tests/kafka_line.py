"""A worker on a topic of its own of a real Kafka, for one test."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Self

from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from vitrine.events.v1 import image_pb2

from shared.events import Event
from shared.stream.admin import create_topics, once_ready
from shared.stream.producer import KafkaSink, Producer
from shared.stream.records import Assignment, Record
from shared.stream.source import GroupProtocol, KafkaSource, librdkafka_consumer
from shared.stream.worker import Limits, Worker
from shared.topics import DEAD_LETTERS, IMAGE_CLASSIFIED, IMAGE_EMBEDDED, IMAGE_UPLOADED
from tests.fakes import CANARY, Shout, inline, uploaded

PROTOCOLS: list[GroupProtocol] = ["classic", "consumer"]
QUICK = Limits(batch_photos=8, batch_seconds=60, retest_seconds=0.05)


class Until:
    """A source that ends once so many records are committed: a topic has no end of its own."""

    def __init__(self, source: KafkaSource, records: int, committed: Mapping[tuple[str, int], int]) -> None:
        """`committed` already, by an earlier worker."""
        self._source = source
        self._left = records
        self._seen = dict(committed)

    def __aiter__(self):  # type: ignore[no-untyped-def]
        return self._source.__aiter__()

    def on_receipt(self, tell: Callable[[Record], None]) -> None:
        self._source.on_receipt(tell)

    async def commit(self, offsets: Mapping[Assignment, int]) -> None:
        await self._source.commit(offsets)
        self._seen |= {(a.topic, a.partition): offset for a, offset in offsets.items()}
        if sum(self._seen.values()) >= self._left:
            self._source.stop()

    def hold(self) -> None:
        self._source.hold()

    def release(self) -> None:
        self._source.release()

    def stop(self) -> None:
        self._source.stop()


class KafkaLine:
    def __init__(self, bootstrap: str, protocol: GroupProtocol, name: str, session_seconds: float = 10.0) -> None:
        self.session_seconds = session_seconds
        self.bootstrap = bootstrap
        self.protocol = protocol
        self.topic = replace(IMAGE_UPLOADED, name=name)
        self.group = f"group-{name}"
        self.count = 0

    def create(self) -> Self:
        create_topics(self.bootstrap)
        admin = AdminClient({"bootstrap.servers": self.bootstrap})
        admin.create_topics([NewTopic(self.topic.name, num_partitions=2)])[self.topic.name].result()
        return self

    async def feed(self, bodies: Sequence[bytes]) -> None:
        producer = Producer(self.bootstrap)
        listings = [f"{self.topic.name}-{self.count + i}" for i in range(len(bodies))]
        pairs = zip(listings, bodies, strict=True)
        await producer.send([Event(self.topic, listing, uploaded(body, listing)) for listing, body in pairs])
        producer.close()
        self.count += len(bodies)

    def source(self, open_consumer: Callable[[dict[str, Any]], Consumer] = librdkafka_consumer) -> KafkaSource:
        return KafkaSource(
            self.bootstrap,
            self.group,
            [self.topic],
            protocol=self.protocol,
            max_queued=16,
            session_seconds=self.session_seconds,
            open_consumer=open_consumer,
        )

    async def work(self, *tasks: Shout, limits: Limits = QUICK, sink: KafkaSink | None = None) -> None:
        """Until all that was fed is committed."""
        source, producer = self.source(), Producer(self.bootstrap)
        until = Until(source, self.count, self.committed())
        try:
            await Worker(until, inline, tasks, sink or KafkaSink(producer, "dummy@1"), CANARY, limits).run()
        finally:
            await source.close()
            producer.close()

    async def run(self, bodies: Sequence[bytes], *tasks: Shout, limits: Limits = QUICK) -> None:
        await self.feed(bodies)
        if bodies:
            await self.work(*tasks, limits=limits)

    async def run_revisions(self, revisions: Sequence[int], *tasks: Shout) -> None:
        """Of one listing with one photo."""
        producer, listing = Producer(self.bootstrap), f"{self.topic.name}-one"
        await producer.send([Event(self.topic, listing, uploaded(b"a", listing, revision)) for revision in revisions])
        producer.close()
        self.count += len(revisions)
        await self.work(*tasks)

    def said(self) -> list[str]:
        return [label for _listing, label in self.results()]

    def results(self) -> list[tuple[str, str]]:
        found = []
        for topic in (IMAGE_CLASSIFIED, IMAGE_EMBEDDED):
            for message in self.read(topic.name):
                assert topic.message is not None
                result: Any = topic.message.FromString(message.value())
                found.append((result.assessment.listing_id, getattr(result, "space", "") or result.category.label))
        return found

    def rejected(self) -> list[tuple[bytes, str, str]]:
        letters = [(m.value(), dict(m.headers())) for m in self.read(DEAD_LETTERS.name)]
        return [(photo_of(value), h["dlq_stage"].decode(), h["dlq_code"].decode()) for value, h in letters]

    def read(self, topic: str) -> list:  # type: ignore[type-arg]
        """What lies on a topic about this line's listings."""
        consumer = Consumer({"bootstrap.servers": self.bootstrap, "group.id": "reader", "enable.auto.commit": False})
        try:
            partitions = list(consumer.list_topics(topic).topics[topic].partitions)
            # Asked before fetching begins: each answer would stand behind a fetch that waits half a second.
            ends = [consumer.get_watermark_offsets(TopicPartition(topic, p)) for p in partitions]
            consumer.assign([TopicPartition(topic, p, 0) for p in partitions])
            left, found = sum(high - low for low, high in ends), []
            while left > 0:
                messages = consumer.consume(min(500, left), timeout=5)
                assert messages, "the broker holds back what it says it has"
                found += messages
                left -= len(messages)
        finally:
            consumer.close()
        return [m for m in found if (m.key() or b"").decode().startswith(self.topic.name)]

    def uncommitted(self) -> int:
        return self.count - sum(self.committed().values())

    def committed(self) -> dict[tuple[str, int], int]:
        consumer = Consumer({"bootstrap.servers": self.bootstrap, "group.id": self.group})
        places = [TopicPartition(self.topic.name, number) for number in range(2)]
        try:
            committed = once_ready(lambda: consumer.committed(places, timeout=10))
        finally:
            consumer.close()
        return {(p.topic, p.partition): max(0, p.offset) for p in committed}


def photo_of(value: bytes) -> bytes:
    return image_pb2.ImageUploaded.FromString(value).photo.object_key.encode()
