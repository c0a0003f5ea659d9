"""What the commands that ask Kafka share: where it is, and one line for what the user can act on."""

from collections.abc import Iterator
from contextlib import contextmanager

import click
from confluent_kafka import KafkaException

from shared.errors import Transient
from shared.settings import Settings
from shared.text import plain

kafka_option = click.option(
    "--kafka",
    "bootstrap",
    default=lambda: Settings().kafka,
    show_default="VITRINE_KAFKA, else 127.0.0.1:9092",
    metavar="HOST:PORT[,…]",
    help="Bootstrap servers.",
)


@contextmanager
def plain_errors() -> Iterator[None]:
    """For the edge of a command: one line instead of a traceback for what the user can act on."""
    try:
        yield
    except Transient as why:
        raise click.ClickException(plain(str(why))) from why
    except KafkaException as why:
        error = why.args[0]
        raise click.ClickException(plain(f"Kafka refused: {error.str()} ({error.name()})")) from why
