"""Where each consumer group stands in each partition that it reads, asked of the broker and of no worker."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from confluent_kafka import Consumer, ConsumerGroupState, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from shared.durability import Stamp, stamp_in
from shared.errors import Transient
from shared.stream.admin import REQUEST_SECONDS, cluster, once_ready, reader
from shared.stream.notes import metadata_of
from shared.topics import GROUP_PREFIX, IMAGE_UPLOADED, LISTING_CHANGED, RESULTS, TASKS, TOPICS, Topic, group_of

READS: dict[str, tuple[Topic, ...]] = {
    **{group_of(member): (IMAGE_UPLOADED,) for member in (*TASKS, "fused")},
    group_of("join"): (LISTING_CHANGED, *RESULTS.values()),
    group_of("fraud-removals"): (LISTING_CHANGED,),
}

EARLIEST: OffsetSpec = OffsetSpec.earliest()  # type: ignore[no-untyped-call]
LATEST: OffsetSpec = OffsetSpec.latest()  # type: ignore[no-untyped-call]

Partition = tuple[str, int]  # topic, number


@dataclass(frozen=True, slots=True)
class Standing:
    """How far one group is in one partition."""

    group: str
    topic: str
    partition: int
    committed: int | None  # the next record that the group will read; None while it has committed nothing
    start: int  # the oldest record that the broker still has
    end: int  # one past the newest

    @property
    def next(self) -> int:
        """The oldest record that is not committed. What retention took away is nobody's work any more."""
        return self.start if self.committed is None else max(self.committed, self.start)

    @property
    def lag(self) -> int:
        """Records not yet committed. In a compacted topic the gaps count too."""
        return max(0, self.end - self.next)

    @property
    def lost(self) -> int:
        """Records that retention took before they were committed. Once the group has gone on, nobody can tell."""
        return 0 if self.committed is None else max(0, self.start - self.committed)


@dataclass(frozen=True, slots=True)
class Group:
    """What the broker says of a group. Only an empty one's offsets may be set."""

    name: str
    state: str  # "stable", "empty", …; "absent" when there is no such group
    members: int


def standings(client: AdminClient, bootstrap: str, expected: Iterable[str] = ()) -> list[Standing]:
    """How far every existing group with our prefix is, and the expected ones, sorted by group, topic and partition.

    A partition that a group is meant to read and has not committed counts from the partition's start: so a group that
    never came up shows its whole lag. Raises Transient when no broker answers, KafkaException when it refuses.
    """
    names = sorted(set(group_names(client, bootstrap)) | set(expected))
    partitions = {name: len(topic.partitions) for name, topic in cluster(client, bootstrap).topics.items()}
    committed = {name: committed_offsets(bootstrap, name) for name in names}
    read = {name: _partitions_read(name, committed[name], partitions) for name in names}
    wanted = sorted({partition for theirs in read.values() for partition in theirs})
    starts = edges(client, wanted, EARLIEST)
    ends = edges(client, wanted, LATEST)
    return [
        Standing(name, topic, number, committed[name].get((topic, number)), starts[topic, number], ends[topic, number])
        for name in names
        for topic, number in read[name]
    ]


def group_names(client: AdminClient, bootstrap: str) -> list[str]:
    """Existing groups with our prefix. Raises Transient when no broker answers."""
    cluster(client, bootstrap)
    return sorted(name for name in once_ready(lambda: _listed(client)) if name.startswith(GROUP_PREFIX))


def describe(client: AdminClient, names: Sequence[str]) -> dict[str, Group]:
    """State and number of members of each group, existing or not."""
    return {name: once_ready(partial(_described, client, name)) for name in names}


def committed_offsets(bootstrap: str, group: str) -> dict[Partition, int]:
    """What the group has committed in our topics; {} when it never did or does not exist."""
    return {(each.topic, each.partition): each.offset for each in _all_committed(bootstrap, group)}


def committed_stamps(bootstrap: str, groups: Iterable[str]) -> list[Stamp | None]:
    """What each of their commits says of the Redis that holds what was done before it. Raises Transient."""
    try:
        return [stamp_in(metadata_of(each)) for group in groups for each in _all_committed(bootstrap, group)]
    except KafkaException as why:
        raise Transient(f"Kafka at {bootstrap} does not tell what is committed: {why.args[0].str()}") from why


def _all_committed(bootstrap: str, group: str) -> list[TopicPartition]:
    """Asked by a consumer that bears the group's name and does not join it.

    An admin client that asks is ended by a signal when the broker says that it does not coordinate the group, or not
    yet (librdkafka issue 5040).
    """
    consumer = reader(bootstrap, group)
    try:
        there = cluster(consumer, bootstrap).topics
        ours = [TopicPartition(t.name, n) for t in TOPICS if t.name in there for n in there[t.name].partitions]
        committed = once_ready(lambda: _committed(consumer, ours))
    finally:
        consumer.close()
    return [each for each in committed if each.offset >= 0]


def edges(client: AdminClient, partitions: Sequence[Partition], which: OffsetSpec) -> dict[Partition, int]:
    """The first or the next offset of each partition."""
    if not partitions:
        return {}
    wanted = {TopicPartition(topic, number): which for topic, number in partitions}
    answers = client.list_offsets(wanted, request_timeout=REQUEST_SECONDS)
    return {(each.topic, each.partition): answer.result().offset for each, answer in answers.items()}


def _listed(client: AdminClient) -> list[str]:
    listed = client.list_consumer_groups(request_timeout=REQUEST_SECONDS).result()
    if listed.errors:
        # Half a list would make a group look as if it were gone.
        raise KafkaException(listed.errors[0])
    return [group.group_id for group in listed.valid]


def _described(client: AdminClient, name: str) -> Group:
    try:
        group = client.describe_consumer_groups([name], request_timeout=REQUEST_SECONDS)[name].result()
    except KafkaException as why:
        if why.args[0].code() != KafkaError.GROUP_ID_NOT_FOUND:
            raise
        return Group(name, "absent", 0)
    absent = group.state == ConsumerGroupState.DEAD
    return Group(name, "absent" if absent else group.state.name.lower(), len(group.members))


def _committed(consumer: Consumer, partitions: list[TopicPartition]) -> list[TopicPartition]:
    answers = consumer.committed(partitions, timeout=REQUEST_SECONDS) if partitions else []
    for refused in (each for each in answers if each.error):
        # What can't be told now must not look as if nothing had been committed.
        raise KafkaException(refused.error)
    return answers


def _partitions_read(group: str, committed: dict[Partition, int], partitions: dict[str, int]) -> list[Partition]:
    meant = {(topic.name, n) for topic in READS.get(group, ()) for n in range(partitions.get(topic.name, 0))}
    still_there = {(topic, n) for topic, n in committed if n < partitions.get(topic, 0)}
    return sorted(meant | still_there)
