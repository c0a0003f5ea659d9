"""Handing one consumer group's offsets to another: from split workers to the fused one, and back."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from shared.errors import Unusable
from shared.stream.admin import NOT_YET, REQUEST_SECONDS, cluster, once_ready
from shared.stream.offsets import EARLIEST, READS, Group, Partition, committed_offsets, describe, edges


@dataclass(frozen=True, slots=True)
class Move:
    """Where a group will go on in one partition."""

    group: str
    topic: str
    partition: int
    before: int | None
    after: int


class CannotMove(Unusable):
    """The offsets may not be moved like this. The message says why and what to do."""


def plan_move(client: AdminClient, bootstrap: str, sources: Sequence[str], targets: Sequence[str]) -> list[Move]:
    """Each target at the lowest offset of the sources, partition by partition.

    Doing a record again is harmless, skipping one is not. So a source that has committed nothing in a partition counts
    from that partition's start. Raises CannotMove, and Transient when no broker answers.
    """
    names = [*sources, *targets]
    if problem := _mismatch(sources, targets):
        raise CannotMove(problem)
    metadata = cluster(client, bootstrap)
    groups = describe(client, names)
    _check_empty(groups, sources)
    committed = {name: committed_offsets(bootstrap, name) for name in names}
    topics = [topic.name for topic in READS[sources[0]] if topic.name in metadata.topics]
    partitions: list[Partition] = [(topic, n) for topic in topics for n in sorted(metadata.topics[topic].partitions)]
    starts = edges(client, partitions, EARLIEST)
    lowest = {at: min(committed[name].get(at, starts[at]) for name in sources) for at in partitions}
    return [
        Move(target, topic, n, committed[target].get((topic, n)), max(lowest[topic, n], starts[topic, n]))
        for target in targets
        for topic, n in partitions
    ]


def carry_out(client: AdminClient, moves: Sequence[Move]) -> None:
    """Commits the moves for groups that are still empty; the broker refuses others. Raises KafkaException."""
    for group in dict.fromkeys(move.group for move in moves):
        offsets = [TopicPartition(m.topic, m.partition, m.after) for m in moves if m.group == group]
        answer = once_ready(partial(altered, client, ConsumerGroupTopicPartitions(group, offsets)))
        for refused in (each for each in answer.topic_partitions or () if each.error):
            raise CannotMove(f"the broker refused {group} {refused.topic}/{refused.partition}: {refused.error}")


def forget(client: AdminClient, names: Sequence[str]) -> None:
    """Deletes the groups, so that nothing counts the lag of workers that nobody runs any more."""
    for answer in client.delete_consumer_groups(list(names), request_timeout=REQUEST_SECONDS).values():
        answer.result()


def altered(client: AdminClient, wanted: ConsumerGroupTopicPartitions) -> ConsumerGroupTopicPartitions:
    """What the broker made of it, with an error for each partition that it refused.

    Raises KafkaException when it isn't ready yet, which it may say of the request or of each partition.
    """
    (answer,) = client.alter_consumer_group_offsets([wanted], request_timeout=REQUEST_SECONDS).values()
    outcome: ConsumerGroupTopicPartitions = answer.result()
    for refused in (each for each in outcome.topic_partitions or () if each.error and each.error.code() in NOT_YET):
        raise KafkaException(refused.error)
    return outcome


def _mismatch(sources: Sequence[str], targets: Sequence[str]) -> str | None:
    for name in (*sources, *targets):
        if name not in READS:
            return f"{name} is no group of Vitrine's; there are {', '.join(READS)}"
    if both := sorted(set(sources) & set(targets)):
        return f"{', '.join(both)} cannot be both taken over and set"
    if any(READS[name] != READS[sources[0]] for name in targets) or len({READS[name] for name in sources}) > 1:
        return f"{', '.join([*sources, *targets])} do not read the same topics"
    return None


def _check_empty(groups: dict[str, Group], sources: Sequence[str]) -> None:
    """Sources too: a worker that still commits would be left behind at once."""
    if missing := [name for name in sources if groups[name].state == "absent"]:
        raise CannotMove(f"there is no group {', '.join(missing)}: nothing to take over (see vitrine groups list)")
    if busy := [group for group in groups.values() if group.members or group.state not in ("empty", "absent")]:
        said = ", ".join(f"{group.name} has {group.members} members ({group.state})" for group in busy)
        raise CannotMove(f"{said}: stop those workers first, then move")
