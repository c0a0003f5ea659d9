"""What commands print with: a console and tables to which text is only text.

Neither brackets nor colons of somebody's title mean anything here, and no escape code gets through. Whoever wants a
colour hands in a rich Text.
"""

from typing import Any, TextIO

from rich.console import Console, RenderableType
from rich.table import Column, Table
from rich.text import Text

from shared.text import plain, plain_lines


class Screen(Console):
    """Standard output, or error."""

    def __init__(self, *, stderr: bool = False, width: int | None = None, file: TextIO | None = None) -> None:
        super().__init__(stderr=stderr, width=width, file=file, markup=False, emoji=False, highlight=False)

    def print(self, *objects: Any, **options: Any) -> None:
        super().print(*(Text(plain_lines(one)) if isinstance(one, str) else one for one in objects), **options)


class Rows(Table):
    """A table whose cells and title show what stands in them, on one line each."""

    def __init__(self, *columns: Column | str, title: str | None = None) -> None:
        super().__init__(*columns, title=None if title is None else Text(plain(title), style="table.title"))

    def add_row(self, *cells: RenderableType | None, **options: Any) -> None:
        super().add_row(*(Text(plain(cell)) if isinstance(cell, str) else cell for cell in cells), **options)
