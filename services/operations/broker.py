"""What the operating commands share of Kafka: clients that say plainly when no broker answers."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import click
from confluent_kafka import Consumer, KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, ClusterMetadata

from shared.errors import Transient
from shared.settings import Settings

REQUEST_SECONDS = 15.0
CONNECT_SECONDS = 10.0
# Of a broker that has just started, or that another one hands its groups to.
NOT_YET = frozenset(
    {KafkaError.COORDINATOR_LOAD_IN_PROGRESS, KafkaError.COORDINATOR_NOT_AVAILABLE, KafkaError.NOT_COORDINATOR}
)
T = TypeVar("T")

# librdkafka prints each refused connection on stderr; the commands say it once, in their own words.
_client_log = logging.getLogger("vitrine.librdkafka")
_client_log.addHandler(logging.NullHandler())
_client_log.propagate = False

kafka_option = click.option(
    "--kafka",
    "bootstrap",
    default=lambda: Settings().kafka,
    show_default="VITRINE_KAFKA, else 127.0.0.1:9092",
    metavar="HOST:PORT[,…]",
    help="Bootstrap servers.",
)


def admin(bootstrap: str) -> AdminClient:
    """Connects to nothing yet: the first request does."""
    return AdminClient({"bootstrap.servers": bootstrap}, logger=_client_log)


def reader(bootstrap: str, group: str = "vitrine-operations-reader", fetch_bytes: int = 1_048_576) -> Consumer:
    """A consumer that joins no group: it is told what to read, and commits nothing.

    `group` is whose committed offsets it can tell; the client insists on a name, and without subscribe() or commit()
    no such group ever exists. `fetch_bytes` is how much of a partition it asks for at once.
    """
    return Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": group,
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",
            "fetch.message.max.bytes": fetch_bytes,
            "queued.min.messages": 1,
        },
        logger=_client_log,
    )


def cluster(client: AdminClient | Consumer, bootstrap: str) -> ClusterMetadata:
    """The brokers and topics that there are. Raises Transient when no broker answers in CONNECT_SECONDS."""
    try:
        return client.list_topics(timeout=CONNECT_SECONDS)
    except KafkaException as why:
        raise Transient(f"no Kafka broker answers at {bootstrap}: start one, or set VITRINE_KAFKA to yours") from why


def patiently(ask: Callable[[], T]) -> T:
    """What `ask` returns, asked again while the broker is only just getting its coordinators ready.

    Raises KafkaException for any other refusal, and when it isn't ready after REQUEST_SECONDS.
    """
    deadline = time.monotonic() + REQUEST_SECONDS
    while True:
        try:
            return ask()
        except KafkaException as why:
            if why.args[0].code() not in NOT_YET or time.monotonic() > deadline:
                raise
        time.sleep(0.2)


@contextmanager
def plain_errors() -> Iterator[None]:
    """For the edge of a command: one line instead of a traceback for what the user can act on."""
    try:
        yield
    except Transient as why:
        raise click.ClickException(str(why)) from why
    except KafkaException as why:
        error = why.args[0]
        raise click.ClickException(f"Kafka refused: {error.str()} ({error.name()})") from why
