"""Has Faust write a stamp beside each offset that it commits: it has no setting for that."""

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any

import faust
from aiokafka import AIOKafkaConsumer, TopicPartition  # type: ignore[import-untyped]
from aiokafka.structs import OffsetAndMetadata  # type: ignore[import-untyped]
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread, Consumer, Transport

from shared.durability import Stamp


def stamping_transport(app: faust.App, stamp: Callable[[], Stamp | None]) -> Transport:
    """Faust's own transport, but that whatever `stamp` returns at a commit lies in its metadata (see durability.py)."""

    class StampingThread(AIOKafkaConsumerThread):
        def _create_consumer(self, loop: asyncio.AbstractEventLoop) -> AIOKafkaConsumer:
            consumer = super()._create_consumer(loop)
            commit = consumer.commit

            async def stamped(offsets: Mapping[TopicPartition, OffsetAndMetadata]) -> Any:
                last = stamp()
                metadata = json.dumps(last.written()) if last else ""
                return await commit({at: OffsetAndMetadata(one.offset, metadata) for at, one in offsets.items()})

            consumer.commit = stamped
            return consumer

    class StampingConsumer(Consumer):
        def _new_consumer_thread(self) -> AIOKafkaConsumerThread:
            return StampingThread(self, loop=self.loop, beacon=self.beacon)

    class StampingTransport(Transport):
        Consumer = StampingConsumer

    return StampingTransport(app.conf.broker_consumer, app)
