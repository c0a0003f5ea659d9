"""Reading a topic from one end to the other without joining a group, so that looking changes nothing."""

import time
from collections.abc import Iterator
from functools import partial

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from shared.errors import Transient
from shared.stream.admin import REQUEST_SECONDS, cluster, once_ready
from shared.topics import Topic


def watermarks(consumer: Consumer, bootstrap: str, topic: Topic) -> dict[int, tuple[int, int]]:
    """First offset, and one past the last, of each partition. {} when the topic was never created. Raises Transient."""
    there = cluster(consumer, bootstrap).topics.get(topic.name)
    marks = {}
    for partition in sorted(there.partitions if there else ()):
        asked = TopicPartition(topic.name, partition)
        mark = once_ready(partial(consumer.get_watermark_offsets, asked, timeout=REQUEST_SECONDS))
        if mark is None:
            raise Transient(f"the broker at {bootstrap} stopped answering")
        marks[partition] = mark
    return marks


def read(consumer: Consumer, topic: Topic, partition: int, first: int, end: int) -> Iterator[Message]:
    """The records of one partition from `first` until before `end`. `consumer` is one of admin.reader's.

    Raises Transient when the broker stops answering.
    """
    if first >= end:
        return
    consumer.assign([TopicPartition(topic.name, partition, first)])
    quiet_since = time.monotonic()
    while time.monotonic() - quiet_since < REQUEST_SECONDS:
        for message in consumer.consume(500, timeout=0.1):
            quiet_since = time.monotonic()
            if error := message.error():
                if error.code() == KafkaError._PARTITION_EOF:
                    return
                raise Transient(f"{topic.name} cannot be read: {error.str()}")
            offset = message.offset()
            assert offset is not None  # a delivered message has one
            # What arrived since we began is for the next look.
            if offset >= end:
                return
            yield message
            if offset == end - 1:
                return
    raise Transient(f"the broker stopped answering in the middle of {topic.name}")


def read_all(consumer: Consumer, bootstrap: str, topic: Topic) -> Iterator[Message]:
    """All that lies there now, partition by partition. Raises Transient."""
    for partition, (first, end) in watermarks(consumer, bootstrap, topic).items():
        yield from read(consumer, topic, partition, first, end)
