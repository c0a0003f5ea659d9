"""`vitrine groups`: how far each consumer group is, and the step from split workers to the fused one and back."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import click
from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from rich.table import Table

from services.operations.broker import NOT_YET, REQUEST_SECONDS, admin, cluster, kafka_option, patiently, plain_errors
from services.operations.offsets import (
    EARLIEST,
    READS,
    Group,
    Partition,
    Standing,
    committed_offsets,
    describe,
    edges,
    group_names,
    standings,
)
from services.operations.tables import number, show, text
from shared.topics import GROUP_PREFIX


@dataclass(frozen=True, slots=True)
class Move:
    """Where a group will go on in one partition."""

    group: str
    topic: str
    partition: int
    before: int | None
    after: int


class CannotMove(Exception):
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
        answer = patiently(partial(altered, client, ConsumerGroupTopicPartitions(group, offsets)))
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
    found: ConsumerGroupTopicPartitions = answer.result()
    for refused in (each for each in found.topic_partitions or () if each.error and each.error.code() in NOT_YET):
        raise KafkaException(refused.error)
    return found


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


# --- the commands -----------------------------------------------------------------------------------------------------


@click.group()
def groups() -> None:
    """Show and move the offsets of consumer groups."""


@groups.command("list")
@kafka_option
@click.option("--all", "every", is_flag=True, help="Partitions without lag too.")
def list_(bootstrap: str, every: bool) -> None:
    """Lag of each group, topic and partition."""
    with plain_errors():
        client = admin(bootstrap)
        names = group_names(client, bootstrap)
        if not names:
            click.echo(f"no group named {GROUP_PREFIX}… at {bootstrap}: no worker ever joined")
            return
        described = describe(client, names)
        found = standings(client, bootstrap)
    show(_totals(described, found))
    shown = [one for one in found if every or one.lag]
    if shown:
        show(_partitions(shown))


def _totals(described: dict[str, Group], found: Sequence[Standing]) -> Table:
    table = Table(text("group"), "state", number("members"), number("lag"), number("worst partition"))
    for name, group in described.items():
        lags = [one.lag for one in found if one.group == name] or [0]
        table.add_row(name, group.state, str(group.members), f"{sum(lags):,}", f"{max(lags):,}")
    return table


def _partitions(found: Sequence[Standing]) -> Table:
    table = Table(text("group"), text("topic"), *(number(name) for name in ("partition", "committed", "end", "lag")))
    for one in found:
        committed = "none yet" if one.committed is None else str(one.committed)
        table.add_row(one.group, one.topic, str(one.partition), committed, str(one.end), f"{one.lag:,}")
    return table


@groups.command("move")
@kafka_option
@click.option("--from", "sources", required=True, metavar="GROUP[,…]", help="Groups to take over; they must be empty.")
@click.option("--to", "targets", required=True, metavar="GROUP[,…]", help="Groups to set; they must be empty.")
@click.option("--dry-run", is_flag=True, help="Show what would be set and change nothing.")
@click.option("--keep", is_flag=True, help="Keep the groups taken over; their lag will be counted on.")
def move(bootstrap: str, sources: str, targets: str, dry_run: bool, keep: bool) -> None:
    """Let one group go on where others stopped: from split workers to the fused one, and back.

    Stop the workers first. In each partition the target goes on at the lowest offset of those it takes over: some
    photos are looked at twice, which is harmless, and none is skipped. Then the groups taken over are deleted.

    \b
    vitrine groups move --from vitrine-classification,vitrine-attributes,vitrine-embedding,vitrine-fraud \\
      --to vitrine-fused
    """
    taken, given = _names(sources), _names(targets)
    with plain_errors():
        client = admin(bootstrap)
        try:
            moves = plan_move(client, bootstrap, taken, given)
            show(_plan(moves))
            if dry_run:
                return
            carry_out(client, moves)
        except CannotMove as why:
            raise click.ClickException(str(why)) from why
        if not keep:
            forget(client, taken)
    click.echo(f"set {', '.join(given)}" + ("" if keep else f"; deleted {', '.join(taken)}"))


def _names(said: str) -> list[str]:
    names = list(dict.fromkeys(name.strip() for name in said.split(",") if name.strip()))
    if not names:
        raise click.BadParameter("name at least one group")
    return names


def _plan(moves: Sequence[Move]) -> Table:
    table = Table(text("group"), text("topic"), *(number(name) for name in ("partition", "was", "will be")))
    for one in moves:
        table.add_row(
            one.group, one.topic, str(one.partition), "none" if one.before is None else str(one.before), str(one.after)
        )
    return table
