"""`vitrine topics`: creates what shared/topics.py declares, and says where the broker's topics differ from it."""

from collections.abc import Sequence

import click

from cli.kafka import kafka_option
from cli.plain import Command
from cli.tables import number, say, show, text
from shared.screen import Rows
from shared.stream.admin import Difference, admin, cluster, create_topics, differences
from shared.topics import DAY_MS, TOPICS, Topic


@click.command(cls=Command)
@kafka_option
@click.option("--replication", default=1, show_default=True, type=click.IntRange(1), help="Copies of each partition.")
@click.option("--list", "only_list", is_flag=True, help="Show the declared topics and change nothing.")
def topics(bootstrap: str, replication: int, only_list: bool) -> None:
    """Create the topics that are missing.

    Safe to repeat: topics that exist are left alone, and where one differs from its declaration, that is said.
    """
    if only_list:
        _list(bootstrap)
        return
    created = create_topics(bootstrap, replication)
    for name in created:
        say(f"created {name}")
    if not created:
        say(f"all {len(TOPICS)} topics are there")
    _warn(differences(bootstrap))


def _list(bootstrap: str) -> None:
    there = cluster(admin(bootstrap), bootstrap).topics
    table = Rows(text("topic"), "message", number("declared partitions"), number("partitions there"), "kept")
    for topic in TOPICS:
        message = topic.message.__name__ if topic.message else "as it was"
        partitions = str(len(there[topic.name].partitions)) if topic.name in there else "missing"
        table.add_row(topic.name, message, str(topic.partitions), partitions, _kept(topic))
    show(table)
    _warn(differences(bootstrap))


def _kept(topic: Topic) -> str:
    if topic.compacted:
        return "latest of each key"
    if topic.kept_ms is None:
        return "for ever"
    days = topic.kept_ms / DAY_MS
    return "1 day" if days == 1 else f"{days:g} days"


def _warn(differing: Sequence[Difference]) -> None:
    for difference in differing:
        say(f"differs: {difference}", err=True)
    if differing:
        say(
            "Nothing was changed: more partitions move keys, shorter retention deletes records, fewer copies in sync "
            "may lose them. Set them by kafka-configs.sh if they are not what you want.",
            err=True,
        )
