"""What the producer does when its client gives up, without a broker. The rest is in tests/contract/stream."""

import asyncio
import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from shared.errors import Transient
from shared.events import Event
from shared.stream.producer import Producer
from shared.topics import CANARY

Delivery = Callable[[KafkaError | None, Any], None]
EVENT = Event(CANARY, "listing", b"")


class ScriptedClient:
    """Holds what it is given, until it is told to deliver it or to give up, or is purged."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.settings = settings
        self.held: list[Delivery] = []
        self.given = threading.Event()
        self.gave_up = False
        self.refuses: int | None = None  # with this code, at once
        self._acts: queue.Queue[Callable[[], None]] = queue.Queue()

    def deliver(self) -> None:
        self._acts.put(lambda: self._answer(None))

    def give_up(self) -> None:
        self.gave_up = True
        self._acts.put(lambda: self.settings["error_cb"](KafkaError(KafkaError._FATAL)))

    # --- as librdkafka does it ---------------------------------------------------------------------------------------

    def produce(self, topic: str, *, key: bytes, value: bytes, headers: Any, on_delivery: Delivery) -> None:
        if self.gave_up:
            raise KafkaException(KafkaError(KafkaError._FATAL))
        if self.refuses is not None:
            raise KafkaException(KafkaError(self.refuses))
        self.held.append(on_delivery)
        self.given.set()

    def poll(self, timeout: float) -> None:
        with suppress(queue.Empty):
            self._acts.get(timeout=0.01)()

    def purge(self) -> None:
        self._acts.put(lambda: self._answer(KafkaError(KafkaError._PURGE_INFLIGHT)))

    def flush(self, timeout: float) -> None:
        self.poll(timeout)

    def _answer(self, error: KafkaError | None) -> None:
        for delivered in self.held:
            delivered(error, None)
        self.held.clear()


class Opened:
    """The clients that a producer has opened."""

    def __init__(self) -> None:
        self.clients: list[ScriptedClient] = []
        self.producer = Producer("127.0.0.1:1", open_producer=self._open)

    def _open(self, settings: dict[str, Any]) -> Any:
        self.clients.append(ScriptedClient(settings))
        return self.clients[-1]


async def test_what_was_in_the_hands_of_a_client_that_gave_up_is_transient_and_a_new_client_sends_the_next() -> None:
    opened = Opened()
    sending = asyncio.create_task(opened.producer.send([EVENT]))
    await asyncio.to_thread(opened.clients[0].given.wait, 10)
    opened.clients[0].give_up()
    with pytest.raises(Transient, match="did not acknowledge 1 of 1"):
        await sending
    assert len(opened.clients) == 2
    again = asyncio.create_task(opened.producer.send([EVENT]))
    await asyncio.to_thread(opened.clients[1].given.wait, 10)
    opened.clients[1].deliver()
    await again
    opened.producer.close()


async def test_what_is_sent_by_a_client_that_has_just_given_up_is_transient() -> None:
    opened = Opened()
    opened.clients[0].gave_up = True
    with pytest.raises(Transient, match="a new one follows"):
        await opened.producer.send([EVENT])
    opened.producer.close()


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, "grant WRITE and DESCRIBE on topic"),
        (KafkaError._UNKNOWN_TOPIC, "can't be written"),
    ],
)
async def test_what_the_client_refuses_at_once_is_no_bug_of_ours(code: int, said: str) -> None:
    opened = Opened()
    opened.clients[0].refuses = code
    with pytest.raises(Transient, match=said):
        await opened.producer.send([EVENT])
    assert len(opened.clients) == 1
    opened.producer.close()


async def test_trouble_that_passes_replaces_no_client() -> None:
    opened = Opened()
    sending = asyncio.create_task(opened.producer.send([EVENT]))
    await asyncio.to_thread(opened.clients[0].given.wait, 10)
    opened.clients[0].settings["error_cb"](KafkaError(KafkaError._ALL_BROKERS_DOWN))
    opened.clients[0].deliver()
    await sending
    assert len(opened.clients) == 1
    opened.producer.close()
