"""`vitrine topics`: creates what shared/topics.py declares, and says where the broker's topics differ from it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import click
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic
from rich.table import Table

from services.operations.broker import REQUEST_SECONDS, admin, cluster, kafka_option, plain_errors
from services.operations.tables import number, show, text
from shared.topics import DAY_MS, TOPICS, Topic


@dataclass(frozen=True, slots=True)
class Difference:
    """Where a topic on the broker is not as declared."""

    topic: str
    setting: str  # "partitions" or the name of a topic setting
    declared: str
    found: str

    def __str__(self) -> str:
        return f"{self.topic}: {self.setting} is {self.found}, declared is {self.declared}"


def create_topics(bootstrap: str, replication: int = 1) -> list[str]:
    """Creates the declared topics that are missing and returns their names; [] when all are there.

    Existing ones are left as they are, whatever they look like. Raises Transient when no broker answers, and
    KafkaException when it refuses (fewer brokers than `replication`, no right to create).
    """
    client = admin(bootstrap)
    there = cluster(client, bootstrap).topics
    missing = [topic for topic in TOPICS if topic.name not in there]
    return _create(client, missing, replication) if missing else []


def differences(bootstrap: str) -> list[Difference]:
    """Between the declared topics that exist and what the broker has. Raises Transient, KafkaException."""
    client = admin(bootstrap)
    there = cluster(client, bootstrap).topics
    existing = [topic for topic in TOPICS if topic.name in there]
    partitions = {topic.name: len(there[topic.name].partitions) for topic in existing}
    configs = _configs(client, existing)
    return [d for topic in existing for d in _differences(topic, partitions[topic.name], configs[topic.name])]


def _create(client: AdminClient, missing: Sequence[Topic], replication: int) -> list[str]:
    wanted = [
        NewTopic(topic.name, num_partitions=topic.partitions, replication_factor=replication, config=topic.config)
        for topic in missing
    ]
    created = []
    for name, answer in client.create_topics(wanted, request_timeout=REQUEST_SECONDS).items():
        try:
            answer.result()
        except KafkaException as why:
            # Another process was quicker: what we wanted is there.
            if why.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise
        else:
            created.append(name)
    return created


def _configs(client: AdminClient, topics: Sequence[Topic]) -> dict[str, dict[str, str]]:
    resources = [ConfigResource(ConfigResource.Type.TOPIC, topic.name) for topic in topics]
    if not resources:
        return {}
    answers = client.describe_configs(resources, request_timeout=REQUEST_SECONDS)
    return {
        resource.name: {entry.name: entry.value for entry in answer.result().values()}
        for resource, answer in answers.items()
    }


def _differences(topic: Topic, partitions: int, config: dict[str, str]) -> Iterator[Difference]:
    if partitions != topic.partitions:
        yield Difference(topic.name, "partitions", str(topic.partitions), str(partitions))
    for setting, declared in topic.config.items():
        found = config.get(setting, "")
        if found != declared:
            yield Difference(topic.name, setting, declared, found)


@click.command()
@kafka_option
@click.option("--replication", default=1, show_default=True, type=click.IntRange(1), help="Copies of each partition.")
@click.option("--list", "only_list", is_flag=True, help="Show the declared topics and change nothing.")
def topics(bootstrap: str, replication: int, only_list: bool) -> None:
    """Create the topics that are missing.

    Safe to repeat: topics that exist are left alone, and where one differs from its declaration, that is said.
    """
    with plain_errors():
        if only_list:
            _list(bootstrap)
            return
        created = create_topics(bootstrap, replication)
        for name in created:
            click.echo(f"created {name}")
        if not created:
            click.echo(f"all {len(TOPICS)} topics are there")
        _warn(differences(bootstrap))


def _list(bootstrap: str) -> None:
    there = cluster(admin(bootstrap), bootstrap).topics
    table = Table(text("topic"), "message", number("declared partitions"), number("partitions there"), "kept")
    for topic in TOPICS:
        message = topic.message.__name__ if topic.message else "as it was"
        found = str(len(there[topic.name].partitions)) if topic.name in there else "missing"
        table.add_row(topic.name, message, str(topic.partitions), found, _kept(topic))
    show(table)
    _warn(differences(bootstrap))


def _kept(topic: Topic) -> str:
    if topic.compacted:
        return "latest of each key"
    if topic.kept_ms is None:
        return "for ever"
    days = topic.kept_ms / DAY_MS
    return "1 day" if days == 1 else f"{days:g} days"


def _warn(found: Sequence[Difference]) -> None:
    for difference in found:
        click.echo(f"differs: {difference}", err=True)
    if found:
        click.echo("Nothing was changed: more partitions move keys, shorter retention deletes records.", err=True)
