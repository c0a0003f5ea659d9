"""What goes out to Kafka: a producer that waits for the broker, and the worker's outcomes by it."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import structlog
from confluent_kafka import KafkaError, KafkaException, Message
from confluent_kafka import Producer as Librdkafka

from shared.errors import Transient
from shared.events import Event
from shared.logs import LIBRDKAFKA
from shared.stream.dead_letters import as_dead_letter
from shared.stream.records import Outcome, Rejected
from shared.stream.refusals import is_fatal, refusal_of_producer

log = structlog.get_logger()

LINGER_MS = 5
# The results of a batch become ready one after the other. In a few requests they cost the broker a quarter less.
RESULTS_LINGER_MS = 25


def librdkafka_producer(settings: dict[str, Any]) -> Librdkafka:
    return Librdkafka(settings, logger=LIBRDKAFKA)


class Producer:
    """Idempotent, compressed, and partitioned like Faust and the Java clients.

    A client that the broker has given up, as idempotence demands after some errors, is replaced by a new one. What was
    in its hands is Transient to whoever sent it, and is sent again by them.
    """

    def __init__(
        self,
        bootstrap: str,
        delivery_seconds: float = 30.0,
        linger_ms: int = LINGER_MS,
        open_producer: Callable[[dict[str, Any]], Librdkafka] = librdkafka_producer,
    ) -> None:
        """`linger_ms`: so long an event may wait for others. `open_producer` is given librdkafka's settings."""
        self._settings = {
            "bootstrap.servers": bootstrap,
            "enable.idempotence": True,
            "compression.type": "lz4",
            "linger.ms": linger_ms,
            # librdkafka's own default is CRC32; one key must lie in one partition whoever writes it.
            "partitioner": "murmur2_random",
            "message.timeout.ms": int(delivery_seconds * 1000),
            "message.max.bytes": 4_000_000,
            "log_level": 3,
            "error_cb": self._told,
        }
        self._open = open_producer
        self._fatal: KafkaError | None = None
        self._producer = self._open(self._settings)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._poll, name="producer", daemon=True)
        self._thread.start()

    async def send(self, events: Sequence[Event]) -> None:
        """Returns after the broker has acknowledged all of them; raises Transient if it has not in time, or won't."""
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
                    on_delivery=partial(acknowledged.one, event.topic.name),
                )
                return
            except BufferError:  # the local queue is full; the polling thread empties it
                await asyncio.sleep(0.01)
            except KafkaException as why:
                error = why.args[0]
                if is_fatal(error):
                    raise Transient(f"the Kafka client can't go on, and a new one follows it: {error.str()}") from why
                # A right or a topic that the client knows to be gone: it says so at once, and not at the delivery.
                if refused := refusal_of_producer(error, event.topic.name):
                    log.error("not written", why=refused)
                raise Transient(refused or f"{event.topic.name} can't be written: {error.str()}") from why

    # --- in the polling thread ---------------------------------------------------------------------------------------

    def _poll(self) -> None:
        while not self._closed.is_set():
            self._producer.poll(0.1)
            if self._fatal is not None:
                self._replace(self._fatal)

    def _told(self, error: KafkaError) -> None:
        if is_fatal(error):
            self._fatal = error
        elif refused := refusal_of_producer(error, "its topics"):
            log.error("not written", why=refused)

    def _replace(self, why: KafkaError) -> None:
        log.error("the producer is replaced by a new one", error=why.str())
        given_up, self._producer, self._fatal = self._producer, self._open(self._settings), None
        given_up.purge()
        given_up.flush(5)  # whoever waits for what was in its hands is told


class _Acknowledgements:
    """Counts deliveries in the polling thread and wakes the waiter in its loop once."""

    def __init__(self, expected: int) -> None:
        self._missing = expected
        self._failures: list[str] = []
        self._loop = asyncio.get_running_loop()
        self._done: asyncio.Future[list[str]] = self._loop.create_future()

    def one(self, topic: str, error: KafkaError | None, _message: Message) -> None:
        if error is not None:
            self._failures.append(self._said(topic, error))
        self._missing -= 1
        if self._missing == 0:
            with suppress(RuntimeError):  # the loop is gone: nobody waits any more
                self._loop.call_soon_threadsafe(self._wake)

    def _said(self, topic: str, error: KafkaError) -> str:
        if (refused := refusal_of_producer(error, topic)) is None:
            return error.str()
        if not self._failures:  # once, however many events: whoever catches the Transient may not say it
            log.error("not written", why=refused)
        return refused

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
