"""What the commands that ask Kafka share: where it is."""

import click

from shared.settings import Settings

kafka_option = click.option(
    "--kafka",
    "bootstrap",
    default=lambda: Settings().kafka,
    show_default="VITRINE_KAFKA, else 127.0.0.1:9092",
    metavar="HOST:PORT[,…]",
    help="Bootstrap servers.",
)
