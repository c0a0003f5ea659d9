"""How the commands print lines and tables. Whoever wrote what stands in them: it is only text."""

import click
from rich.table import Column

from shared.screen import Rows, Screen
from shared.text import plain

# Into a file or a pipe nothing may be cut off, however long: somebody greps it.
PIPED_WIDTH = 400


def say(line: str, err: bool = False) -> None:
    """One line on standard output, or error."""
    click.echo(plain(line), err=err)


def show(table: Rows) -> None:
    """On standard output: as wide as the terminal, or uncut when it is none."""
    console = Screen()
    if not console.is_terminal:
        console.width = PIPED_WIDTH
    console.print(table)


def number(name: str) -> Column:
    """A column of numbers."""
    return Column(name, justify="right")


def text(name: str) -> Column:
    """A column whose long values continue on the next line, never cut."""
    return Column(name, overflow="fold")
