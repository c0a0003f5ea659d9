"""`vitrine groups`: how far each consumer group is, and the step from split workers to the fused one and back."""

from collections.abc import Sequence

import click

from cli.kafka import kafka_option
from cli.plain import Group as Commands
from cli.tables import number, say, show, text
from shared.screen import Rows
from shared.stream.admin import admin
from shared.stream.moves import Move, carry_out, forget, plan_move
from shared.stream.offsets import Group, Standing, describe, group_names, standings
from shared.topics import GROUP_PREFIX


@click.group(cls=Commands)
def groups() -> None:
    """Show and move the offsets of consumer groups."""


@groups.command("list")
@kafka_option
@click.option("--all", "every", is_flag=True, help="Partitions without lag too.")
def list_(bootstrap: str, every: bool) -> None:
    """Lag of each group, topic and partition."""
    client = admin(bootstrap)
    names = group_names(client, bootstrap)
    if not names:
        say(f"no group named {GROUP_PREFIX}… at {bootstrap}: no worker ever joined")
        return
    described = describe(client, names)
    everywhere = standings(client, bootstrap)
    show(_totals(described, everywhere))
    shown = [one for one in everywhere if every or one.lag]
    if shown:
        show(_partitions(shown))


def _totals(described: dict[str, Group], everywhere: Sequence[Standing]) -> Rows:
    table = Rows(text("group"), "state", number("members"), number("lag"), number("worst partition"))
    for name, group in described.items():
        lags = [one.lag for one in everywhere if one.group == name] or [0]
        table.add_row(name, group.state, str(group.members), f"{sum(lags):,}", f"{max(lags):,}")
    return table


def _partitions(shown: Sequence[Standing]) -> Rows:
    table = Rows(text("group"), text("topic"), *(number(name) for name in ("partition", "committed", "end", "lag")))
    for one in shown:
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
    client = admin(bootstrap)
    moves = plan_move(client, bootstrap, taken, given)
    show(_moves_table(moves))
    if dry_run:
        return
    carry_out(client, moves)
    if not keep:
        forget(client, taken)
    say(f"set {', '.join(given)}" + ("" if keep else f"; deleted {', '.join(taken)}"))


def _names(said: str) -> list[str]:
    names = list(dict.fromkeys(name.strip() for name in said.split(",") if name.strip()))
    if not names:
        raise click.BadParameter("name at least one group")
    return names


def _moves_table(moves: Sequence[Move]) -> Rows:
    table = Rows(text("group"), text("topic"), *(number(name) for name in ("partition", "was", "will be")))
    for one in moves:
        table.add_row(
            one.group, one.topic, str(one.partition), "none" if one.before is None else str(one.before), str(one.after)
        )
    return table
