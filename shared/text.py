"""Text that others wrote, made fit to be shown: in a line or a table on a terminal, in a log, as JSON."""

import json
import unicodedata
from collections.abc import Callable
from typing import Any

# Control and format characters (escape codes, marks that reverse what is read or have no width), line and paragraph
# separators, and surrogates, which stand for bytes that are no text.
_HIDDEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}
# Joiners are invisible too, but Persian words and emoji are spelled with them.
_JOINERS = {"\u200c", "\u200d"}


def plain(text: str) -> str:
    r"""One line in which every character is seen: an escape code reads \x1b, a line break \n."""
    return _spelled_out(text, _spelled)


def plain_lines(text: str) -> str:
    """The same, of text that has several lines."""
    return "\n".join(map(plain, text.split("\n")))


def json_text(value: Any, indent: int | None = None) -> str:
    """JSON in readable Unicode, with escapes where `plain` has them: on a terminal as safe as in a file."""
    # JSON has such characters in its strings only, but for the line breaks of an indent.
    lines = json.dumps(value, ensure_ascii=False, indent=indent).split("\n")
    return "\n".join(_spelled_out(line, lambda char: json.dumps(char)[1:-1]) for line in lines)


def named(name: str) -> str:
    r"""A file's name as text that can be sent and stored: a byte that is not UTF-8 reads like \xe9."""
    return "".join(_spelled(char) if unicodedata.category(char) == "Cs" else char for char in name)


def _spelled_out(text: str, spell: Callable[[str], str]) -> str:
    if text.isprintable():
        return text
    return "".join(
        spell(char) if unicodedata.category(char) in _HIDDEN and char not in _JOINERS else char for char in text
    )


def _spelled(char: str) -> str:
    # Python reads a byte of a file name that is not UTF-8 as a surrogate.
    char = chr(ord(char) - 0xDC00) if 0xDC80 <= ord(char) <= 0xDCFF else char
    return char.encode("unicode_escape").decode("ascii")
