"""What goes out to Kafka: a producer that waits for the broker, and the worker's outcomes by it."""

import asyncio
import threading
from collections.abc import Sequence
from contextlib import suppress

from confluent_kafka import KafkaError, Message
from confluent_kafka import Producer as Librdkafka

from shared.errors import Transient
from shared.events import Event
from shared.logs import LIBRDKAFKA
from shared.stream.dead_letters import as_dead_letter
from shared.stream.records import Outcome, Rejected

LINGER_MS = 5
# The results of a batch become ready one after the other. In a few requests they cost the broker a quarter less.
RESULTS_LINGER_MS = 25


class Producer:
    """Idempotent, compressed, and partitioned like Faust and the Java clients."""

    def __init__(self, bootstrap: str, delivery_seconds: float = 30.0, linger_ms: int = LINGER_MS) -> None:
        """`linger_ms`: so long an event may wait for others."""
        self._producer = Librdkafka(
            {
                "bootstrap.servers": bootstrap,
                "enable.idempotence": True,
                "compression.type": "lz4",
                "linger.ms": linger_ms,
                # librdkafka's own default is CRC32; one key must lie in one partition whoever writes it.
                "partitioner": "murmur2_random",
                "message.timeout.ms": int(delivery_seconds * 1000),
                "message.max.bytes": 4_000_000,
                "log_level": 3,
            },
            logger=LIBRDKAFKA,
        )
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._poll, name="producer", daemon=True)
        self._thread.start()

    async def send(self, events: Sequence[Event]) -> None:
        """Returns after the broker has acknowledged all of them; raises Transient if it has not in time."""
        if not events:
            return
        acknowledged = _Acknowledgements(len(events))
        for event in events:
            await self._produce(event, acknowledged)
        failures = await acknowledged.all()
        if failures:
            raise Transient(f"the broker did not acknowledge {len(failures)} of {len(events)} events: {failures[0]}")

    def close(self) -> None:
        """Waits a little for what is still in flight; what `send` has returned from is already safe."""
        self._closed.set()
        self._thread.join(timeout=5)
        self._producer.flush(5)

    async def _produce(self, event: Event, acknowledged: "_Acknowledgements") -> None:
        while True:
            try:
                self._producer.produce(
                    event.topic.name,
                    key=event.key.encode(),
                    value=event.value,
                    headers=list(event.headers.items()),
                    on_delivery=acknowledged.one,
                )
                return
            except BufferError:  # the local queue is full; the polling thread empties it
                await asyncio.sleep(0.01)

    def _poll(self) -> None:
        while not self._closed.is_set():
            self._producer.poll(0.1)


class _Acknowledgements:
    """Counts deliveries in the polling thread and wakes the waiter in its loop once."""

    def __init__(self, expected: int) -> None:
        self._missing = expected
        self._failures: list[str] = []
        self._loop = asyncio.get_running_loop()
        self._done: asyncio.Future[list[str]] = self._loop.create_future()

    def one(self, error: KafkaError | None, _message: Message) -> None:
        if error is not None:
            self._failures.append(error.str())
        self._missing -= 1
        if self._missing == 0:
            with suppress(RuntimeError):  # the loop is gone: nobody waits any more
                self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        if not self._done.done():
            self._done.set_result(self._failures)

    async def all(self) -> list[str]:
        return await self._done


class KafkaSink:
    """Result topics and dead letters. Returns once the broker has acknowledged."""

    def __init__(self, producer: Producer, versions: str = "") -> None:
        self._producer = producer
        self._versions = versions  # of the pack, for the dead letters

    async def send(self, outcomes: Sequence[Outcome]) -> None:
        await self._producer.send([event for outcome in outcomes for event in self._events(outcome)])

    def _events(self, outcome: Outcome) -> Sequence[Event]:
        return [as_dead_letter(outcome, self._versions)] if isinstance(outcome, Rejected) else outcome.events
