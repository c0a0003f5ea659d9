"""How the commands print tables."""

from rich.console import Console
from rich.table import Column, Table

# Into a file or a pipe nothing may be cut off, however long: somebody greps it.
PIPED_WIDTH = 400


def show(table: Table) -> None:
    """On standard output: as wide as the terminal, or uncut when it is none."""
    console = Console()
    if not console.is_terminal:
        console.width = PIPED_WIDTH
    console.print(table)


def number(name: str) -> Column:
    """A column of numbers."""
    return Column(name, justify="right")


def text(name: str) -> Column:
    """A column whose long values continue on the next line, never cut."""
    return Column(name, overflow="fold")
