"""What the worker promises, on the fakes and on a real Kafka with both group protocols."""

import asyncio
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Protocol

import pytest
from confluent_kafka import Consumer, Message, TopicPartition
from confluent_kafka.admin import AdminClient

from shared import metrics
from shared.errors import Poison
from shared.events import Event
from shared.logs import LIBRDKAFKA
from shared.photos import Photo
from shared.stream.producer import KafkaSink, Producer
from shared.stream.records import Outcome
from shared.stream.worker import Limits, Worker
from shared.topics import DEAD_LETTERS, IMAGE_CLASSIFIED
from tests.fakes import CANARY, MemorySink, MemorySource, Shout, Whisper, inline, said, uploaded
from tests.kafka_line import PROTOCOLS, QUICK, KafkaLine, photo_of


class Line(Protocol):
    """A topic of uploads, a worker on it, and what came out at the end."""

    async def run(self, bodies: Sequence[bytes], *tasks: Shout, limits: Limits = QUICK) -> None: ...
    async def run_revisions(self, revisions: Sequence[int], *tasks: Shout) -> None: ...  # of one listing, in one photo
    def said(self) -> list[str]: ...
    def rejected(self) -> list[tuple[bytes, str, str]]: ...  # photo, stage, code
    def uncommitted(self) -> int: ...


class MemoryLine:
    async def run(self, bodies: Sequence[bytes], *tasks: Shout, limits: Limits = QUICK) -> None:
        self.source, self.sink = MemorySource(bodies), MemorySink()
        await Worker(self.source, inline, tasks, self.sink, CANARY, limits).run()

    async def run_revisions(self, revisions: Sequence[int], *tasks: Shout) -> None:
        self.source = MemorySource([], uploads=[uploaded(b"a", "one", revision) for revision in revisions])
        self.sink = MemorySink()
        await Worker(self.source, inline, tasks, self.sink, CANARY, QUICK).run()

    def said(self) -> list[str]:
        return [said(result) for result in self.sink.results if result.events]

    def rejected(self) -> list[tuple[bytes, str, str]]:
        return [(photo_of(r.record.value), r.stage, r.code) for r in self.sink.rejected]

    def uncommitted(self) -> int:
        return sum(self.source.end.values()) - sum(self.source.committed.values())


@pytest.fixture(params=["memory", *PROTOCOLS])
def line(request: pytest.FixtureRequest, unique: Callable[[str], str]) -> Line:
    if request.param == "memory":
        return MemoryLine()
    return KafkaLine(request.getfixturevalue("kafka"), request.param, unique("uploads")).create()


@pytest.fixture(params=PROTOCOLS)
def kafka_line(request: pytest.FixtureRequest, kafka: str, unique: Callable[[str], str]) -> KafkaLine:
    return KafkaLine(kafka, request.param, unique("uploads")).create()


async def test_every_record_gets_one_result_per_task_and_is_committed(line: Line) -> None:
    await line.run([b"aB"] * 100, Shout(), Whisper())
    assert Counter(line.said()) == {"AB": 100, "ab": 100}
    assert line.uncommitted() == 0


async def test_a_superseded_revision_gets_no_results_and_is_committed(line: Line) -> None:
    await line.run_revisions([7, 1, 2, 7, 6], Shout(), Whisper())
    assert Counter(line.said()) == {"A": 2, "a": 2}
    assert line.rejected() == []
    assert line.uncommitted() == 0


async def test_poison_goes_to_the_dead_letters_and_is_still_committed(line: Line) -> None:
    await line.run([b"a", b"truncated-1", b"b", b"truncated-2"], Shout())
    assert sorted(line.rejected()) == [
        (b"truncated-1", "prepare", "unreadable"),
        (b"truncated-2", "prepare", "unreadable"),
    ]
    assert sorted(line.said()) == ["A", "B"]
    assert line.uncommitted() == 0


async def test_a_record_that_breaks_the_batch_is_found_by_halving(line: Line) -> None:
    await line.run([b"a"] * 5 + [b"nan"] + [b"a"] * 10, Shout())
    assert line.rejected() == [(b"nan", "infer", "inference_failed")]
    assert Counter(line.said()) == {"A": 15}
    assert line.uncommitted() == 0


async def test_a_worker_that_is_unsound_for_a_while_loses_nothing(line: Line) -> None:
    class Breaks(Shout):
        looks = 0

        def prepare(self, photo: Photo) -> bytes:
            self.looks += 1
            if 4 < self.looks <= 80:
                raise Poison("unreadable", "the decoder is broken")
            return super().prepare(photo)

    await line.run([b"a"] * 150, Breaks(), limits=replace(QUICK, suspicious_rejections=3))
    assert len(line.rejected()) < 3
    assert len(line.said()) + len(line.rejected()) == 150
    assert line.uncommitted() == 0


async def test_nothing_is_committed_past_a_failed_publish_and_the_next_worker_does_it_again(
    kafka_line: KafkaLine,
) -> None:
    class FailsLater(KafkaSink):
        calls = 0

        async def send(self, outcomes: Sequence[Outcome]) -> None:
            self.calls += 1
            if self.calls > 2:
                raise ConnectionError("the broker is gone")
            await super().send(outcomes)

    await kafka_line.feed([f"photo-{i}".encode() for i in range(60)])
    producer = Producer(kafka_line.bootstrap)
    with pytest.raises(ExceptionGroup):
        await kafka_line.work(Shout(), sink=FailsLater(producer))
    producer.close()
    published = len(kafka_line.said())
    assert kafka_line.count - kafka_line.uncommitted() <= published < kafka_line.count
    await kafka_line.work(Shout())
    assert set(kafka_line.said()) == {f"PHOTO-{i}" for i in range(60)}
    assert kafka_line.uncommitted() == 0


async def test_a_second_worker_takes_over_partitions_without_loss_or_repeats(kafka_line: KafkaLine) -> None:
    """The first one's rebalance waits for its work in flight, so nothing is done twice."""
    await kafka_line.feed([f"photo-{i}".encode() for i in range(200)])
    first, second = kafka_line.source(), kafka_line.source()
    producer = Producer(kafka_line.bootstrap)
    sink = KafkaSink(producer)
    joined = asyncio.Event()

    async def stop_both_when_done() -> None:
        while kafka_line.uncommitted():  # noqa: ASYNC110  the broker tells nobody
            await asyncio.sleep(0.2)
        first.stop()
        second.stop()

    class Signals(Shout):
        def __init__(self) -> None:
            super().__init__(infer_seconds=0.05)

        def infer(self, photos: Sequence[Photo], inputs: Sequence[bytes]) -> list[bytes]:
            if photos:
                loop.call_soon_threadsafe(joined.set)
            return super().infer(photos, inputs)

    loop = asyncio.get_running_loop()
    limits = replace(QUICK, batch_photos=2)
    async with asyncio.timeout(150), asyncio.TaskGroup() as both:
        both.create_task(Worker(first, inline, [Signals()], sink, CANARY, limits).run())
        await joined.wait()
        both.create_task(Worker(second, inline, [Signals()], sink, CANARY, limits).run())
        both.create_task(stop_both_when_done())
    await first.close()
    await second.close()
    producer.close()
    assert Counter(kafka_line.said()) == {f"PHOTO-{i}": 1 for i in range(200)}


async def test_stopping_drains_what_was_begun_and_leaves_the_rest(kafka_line: KafkaLine) -> None:
    await kafka_line.feed([b"a"] * 300)
    source, producer = kafka_line.source(), Producer(kafka_line.bootstrap)
    begun = threading.Event()

    class Signals(Shout):
        def infer(self, photos: Sequence[Photo], inputs: Sequence[bytes]) -> list[bytes]:
            if photos:
                begun.set()
            return super().infer(photos, inputs)

    worker = asyncio.create_task(
        Worker(source, inline, [Signals(infer_seconds=0.01)], KafkaSink(producer), CANARY, QUICK).run()
    )
    await asyncio.to_thread(begun.wait, 30)
    source.stop()  # as SIGTERM does
    await worker
    await source.close()
    producer.close()
    done = kafka_line.count - kafka_line.uncommitted()
    assert 0 < done < 300
    assert len(kafka_line.said()) == done, "published and committed are the same records"


async def test_a_dead_letter_keeps_the_bytes_and_says_where_they_came_from(kafka_line: KafkaLine) -> None:
    await kafka_line.run([b"truncated"], Shout())
    (letter,) = kafka_line.read(DEAD_LETTERS.name)
    headers = {name: value.decode() for name, value in letter.headers()}
    assert letter.value() == uploaded(b"truncated", f"{kafka_line.topic.name}-0")
    assert headers["dlq_topic"] == kafka_line.topic.name
    assert headers["dlq_offset"] == "0"
    assert headers["dlq_partition"] in {"0", "1"}
    assert (headers["dlq_task"], headers["dlq_code"]) == ("classification", "unreadable")
    assert headers["dlq_pack"] == "dummy@1"


async def test_records_that_retention_took_before_they_were_read_are_counted(kafka_line: KafkaLine) -> None:
    await kafka_line.run([b"a"] * 5, Shout())
    await kafka_line.feed([b"b"] * 20)
    topic, partition = kafka_line.topic.name, 0
    labels = {"topic": topic, "partition": str(partition)}
    first_kept = TopicPartition(topic, partition, kafka_line.committed()[topic, partition] + 3)
    admin = AdminClient({"bootstrap.servers": kafka_line.bootstrap})
    admin.delete_records([first_kept])[first_kept].result()  # as retention does
    await kafka_line.work(Shout())
    assert metrics.WORKER.get_sample_value("vitrine_worker_skipped_records_total", labels) == 3
    assert kafka_line.said().count("B") == 17
    assert kafka_line.uncommitted() == 0


class Watched(Consumer):
    """Tells that it was paused and has been polled for long since, and counts what it gave."""

    def __init__(self, settings: dict[str, Any]) -> None:
        super().__init__(settings, logger=LIBRDKAFKA)
        self.given = self._polls = 0
        self._paused = False
        self.polled_on = threading.Event()

    def pause(self, partitions: list[TopicPartition]) -> None:
        super().pause(partitions)
        self._paused = True

    def poll(self, *args: Any, **kwargs: Any) -> Message | None:
        message = super().poll(*args, **kwargs)
        self.given += message is not None
        self._polls += self._paused
        if self._polls == 20:
            self.polled_on.set()
        return message

    def consume(self, *args: Any, **kwargs: Any) -> list[Message]:
        messages = super().consume(*args, **kwargs)
        self.given += len(messages)
        return messages


async def test_a_full_queue_pauses_the_partitions_and_the_group_keeps_the_worker(kafka_line: KafkaLine) -> None:
    await kafka_line.feed([b"a"] * 500)
    opened: list[Watched] = []

    def open_consumer(settings: dict[str, Any]) -> Consumer:
        opened.append(Watched(settings))
        return opened[0]

    source = kafka_line.source(open_consumer)
    [consumer] = opened
    records = aiter(source)
    first = await anext(records)
    assert await asyncio.to_thread(consumer.polled_on.wait, 30), "never paused, or polled no more"
    assert consumer.given < 100, "reads no further than a bounded way ahead"
    rest = [await anext(records) for _ in range(499)]
    per_partition = Counter(r.assignment.partition for r in [first, *rest])
    assert [r.assignment.epoch for r in rest] == [first.assignment.epoch] * 499, "never rebalanced"
    for partition in per_partition:
        offsets = [r.offset for r in [first, *rest] if r.assignment.partition == partition]
        assert offsets == list(range(len(offsets))), "in order, none lost to the pause"
    await source.commit({first.assignment: 1})
    await source.close()


async def test_results_carry_cloudevents_headers_and_the_uploads_trace(kafka_line: KafkaLine) -> None:
    from shared.tracing import start_tracing

    start_tracing("test")
    listing = f"{kafka_line.topic.name}-traced"
    trace = "0af7651916cd43dd8448eb211c80319c"
    event = Event(
        kafka_line.topic, listing, uploaded(b"a", listing), {"traceparent": f"00-{trace}-b7ad6b7169203331-01".encode()}
    )
    producer = Producer(kafka_line.bootstrap)
    await producer.send([event])
    producer.close()
    kafka_line.count += 1
    await kafka_line.work(Shout())
    (message,) = kafka_line.read(IMAGE_CLASSIFIED.name)
    headers = {name: value.decode() for name, value in message.headers()}
    assert headers["traceparent"].split("-")[1] == trace
    assert headers["ce_specversion"] == "1.0"
    assert headers["ce_type"] == "vitrine.image.classified.v1"
    assert headers["ce_source"] == "/vitrine/classification"
    assert headers["ce_subject"] == listing
    assert len(headers["ce_id"]) == 32
