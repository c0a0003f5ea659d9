"""`vitrine dlq`: the records that no worker could handle, and why."""

from collections import deque

import click
from google.protobuf.json_format import MessageToDict

from cli.kafka import kafka_option
from cli.plain import Group
from cli.tables import number, say, text
from cli.tables import show as show_table
from shared.screen import Rows
from shared.stream.dead_letters import DeadLetter, dead_letter_at, dead_letters
from shared.text import json_text
from shared.topics import DEAD_LETTERS, TASKS

json_option = click.option("--json", "as_json", is_flag=True, help="JSON instead of a table.")


@click.group(cls=Group)
def dlq() -> None:
    """Look at the records that no worker could handle."""


@dlq.command("list")
@kafka_option
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1), help="Show the newest so many.")
@click.option("--task", help=f"Only of this task: {', '.join(TASKS)} or join.")
@click.option("--code", help="Only with this reason code, such as unreadable.")
@json_option
def list_(bootstrap: str, limit: int, task: str | None, code: str | None, as_json: bool) -> None:
    """The newest dead letters, oldest first: which record, whose fault, and why. JSON is one line each."""
    filtered = task is not None or code is not None
    letters = deque(
        (
            letter
            for letter in dead_letters(bootstrap, None if filtered else limit)
            if task in (None, letter.about("task")) and code in (None, letter.about("code"))
        ),
        maxlen=limit,
    )
    if as_json:
        for letter in letters:
            click.echo(json_text(letter.as_json()))
        return
    if not letters:
        say("no dead letters" + (" like that" if filtered else ""))
        return
    show_table(_table(list(letters)))


def _table(letters: list[DeadLetter]) -> Rows:
    spread = any(letter.partition for letter in letters)
    table = Rows(
        number("offset"),
        "time (UTC)",
        text("task"),
        text("stage"),
        text("code"),
        text("listing"),
        text("seller"),
        text("origin"),
    )
    for letter in letters:
        offset = f"{letter.offset} (--partition {letter.partition})" if spread else str(letter.offset)
        said = (letter.about(name) for name in ("task", "stage", "code"))
        table.add_row(offset, f"{letter.at:%Y-%m-%d %H:%M:%S}", *said, letter.key, letter.seller, letter.origin)
    return table


@dlq.command("show")
@kafka_option
@click.argument("offset", type=click.IntRange(0))
@click.option("--partition", default=0, show_default=True, type=click.IntRange(0))
@json_option
def show(bootstrap: str, offset: int, partition: int, as_json: bool) -> None:
    """One dead letter: all of its headers, and the record as JSON, or in hex when it is not what its topic holds."""
    letter = dead_letter_at(bootstrap, partition, offset)
    message = letter.message
    decoded = MessageToDict(message, preserving_proto_field_name=True) if message else None
    if as_json:
        name = letter.about("topic").replace(".", "_")
        content = {name: decoded} if decoded else {"value_hex": letter.value.hex()}
        said = {**letter.as_json(), "headers": dict(letter.headers), **content}
        click.echo(json_text(said, indent=2))
        return
    say(f"{DEAD_LETTERS.name}/{letter.partition}@{letter.offset}  {letter.at:%Y-%m-%d %H:%M:%S} UTC")
    for name, value in letter.headers.items():
        say(f"  {name}: {value}")
    say(f"  key: {letter.key}")
    say("")
    if message:
        say(message.DESCRIPTOR.name)
    click.echo(json_text(decoded, indent=2) if decoded else hexdump(letter.value))


def hexdump(value: bytes) -> str:
    """16 bytes a line: offset, hex, and what of it is printable."""
    lines = []
    for at in range(0, len(value), 16):
        row = value[at : at + 16]
        printable = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        lines.append(f"{at:08x}  {row.hex(' '):<47}  {printable}")
    return "\n".join(lines) or "(no bytes)"
