"""Kafka for whoever operates it: its topics as declared, and clients that say plainly when no broker answers."""

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AclOperation, AdminClient, ClusterMetadata, ConfigResource, NewTopic, TopicMetadata

from shared.errors import Transient
from shared.topics import TOPICS, Topic

REQUEST_SECONDS = 15.0
CONNECT_SECONDS = 10.0
# Of a broker that has just started, or that another one hands its groups or partitions to.
NOT_YET = frozenset(
    {
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.NOT_COORDINATOR,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.NOT_LEADER_FOR_PARTITION,
    }
)
T = TypeVar("T")

# librdkafka prints each refused connection on stderr; the commands say it once, in their own words.
_client_log = logging.getLogger("vitrine.librdkafka")
_client_log.addHandler(logging.NullHandler())
_client_log.propagate = False


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


def cluster(
    client: AdminClient | Consumer, bootstrap: str, timeout_seconds: float = CONNECT_SECONDS
) -> ClusterMetadata:
    """The brokers and topics that there are. Raises Transient when no broker answers in time."""
    try:
        return client.list_topics(timeout=timeout_seconds)
    except KafkaException as why:
        raise Transient(f"no Kafka broker answers at {bootstrap}: start one, or set VITRINE_KAFKA to yours") from why


def missing_topics(
    client: AdminClient, bootstrap: str, wanted: Iterable[Topic] = TOPICS, timeout_seconds: float = CONNECT_SECONDS
) -> list[Topic]:
    """Those of them that Kafka does not have. Raises Transient when no broker answers in time."""
    there = cluster(client, bootstrap, timeout_seconds).topics
    return [topic for topic in wanted if topic.name not in there]


class Broker:
    """Asks Kafka, for as long as a process runs, whether it is there, and has the topics and gives the rights that the
    process needs.
    """

    def __init__(
        self, bootstrap: str, *, reads: Iterable[Topic] = (), writes: Iterable[Topic] = (), timeout_seconds: float = 3.0
    ) -> None:
        self._bootstrap = bootstrap
        self._needed = [(topic, AclOperation.READ) for topic in reads]
        self._needed += [(topic, AclOperation.WRITE) for topic in writes]
        self._timeout_seconds = timeout_seconds
        self._admin = admin(bootstrap)

    async def check(self) -> None:
        """Raises Transient."""
        await asyncio.to_thread(self._check)

    def _check(self) -> None:
        topics = {topic.name: topic for topic, _ in self._needed}
        if missing := missing_topics(self._admin, self._bootstrap, topics.values(), self._timeout_seconds):
            names = ", ".join(topic.name for topic in missing)
            raise Transient(
                f"Kafka at {self._bootstrap} has no topic {names}: run `vitrine topics`, or grant DESCRIBE on them"
            )
        given = self._rights(list(topics))
        lacking = [f"{right.name} on {topic.name}" for topic, right in self._needed if right not in given[topic.name]]
        if lacking:
            raise Transient(f"Kafka at {self._bootstrap} refuses us: grant {', '.join(lacking)}")

    def _rights(self, names: Sequence[str]) -> dict[str, Collection[AclOperation]]:
        """What we may do with each topic; where the broker guards nothing, everything."""
        answers = self._admin.describe_topics(
            TopicCollection(list(names)), include_authorized_operations=True, request_timeout=self._timeout_seconds
        )
        try:
            return {name: answer.result().authorized_operations or () for name, answer in answers.items()}
        except KafkaException as why:
            raise Transient(f"Kafka at {self._bootstrap} does not tell what we may do: {why.args[0].str()}") from why


def once_ready(ask: Callable[[], T]) -> T:
    """What `ask` returns, asked again while the broker is only just getting its coordinators or leaders ready.

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


@dataclass(frozen=True, slots=True)
class Difference:
    """Where a topic on the broker is not as declared."""

    topic: str
    setting: str  # "partitions" or the name of a topic setting
    declared: str
    actual: str

    def __str__(self) -> str:
        return f"{self.topic}: {self.setting} is {self.actual}, declared is {self.declared}"


def create_topics(bootstrap: str, replication: int = 1) -> list[str]:
    """Creates the declared topics that are missing and returns their names; [] when all are there.

    Existing ones are left as they are, whatever they look like. Raises Transient when no broker answers, and
    KafkaException when it refuses (fewer brokers than `replication`, no right to create).
    """
    client = admin(bootstrap)
    missing = missing_topics(client, bootstrap)
    return _create(client, missing, replication) if missing else []


def differences(bootstrap: str) -> list[Difference]:
    """Between the declared topics that exist and what the broker has. Raises Transient, KafkaException."""
    client = admin(bootstrap)
    there = cluster(client, bootstrap).topics
    existing = [topic for topic in TOPICS if topic.name in there]
    configs = _configs(client, existing)
    return [d for topic in existing for d in _differences(topic, there[topic.name], configs[topic.name])]


def _create(client: AdminClient, missing: Sequence[Topic], replication: int) -> list[str]:
    wanted = [
        NewTopic(
            topic.name,
            num_partitions=topic.partitions,
            replication_factor=replication,
            config=topic.config(replication),
        )
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


def _differences(topic: Topic, there: TopicMetadata, config: dict[str, str]) -> Iterator[Difference]:
    if len(there.partitions) != topic.partitions:
        yield Difference(topic.name, "partitions", str(topic.partitions), str(len(there.partitions)))
    replication = min((len(partition.replicas) for partition in there.partitions.values()), default=1)
    for setting, declared in topic.config(replication).items():
        actual = config.get(setting, "")
        if actual != declared:
            yield Difference(topic.name, setting, declared, actual)
