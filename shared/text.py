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
# Marks that turn round what is read, up to their end or the line's. Those that only hint (U+200E, U+200F) are harmless.
_OVERRIDES = {chr(code) for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))}
_BREAKS = dict.fromkeys(map(ord, "\t\n\v\f\r\u2028\u2029"), " ")


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


def one_line(text: str) -> str:
    """Tabs and line breaks as spaces, as a cell of several lines is meant."""
    return text.translate(_BREAKS)


def unseen_in(identifier: str) -> str:
    """The first character that nobody sees, "U+200B (ZERO WIDTH SPACE)": two names with it look the same. Else ""."""
    return next((_called(char) for char in identifier if unicodedata.category(char) in _HIDDEN), "")


def control_in(text: str) -> str:
    """The first character that steers a terminal or turns round what is read, "U+001B"; else "".

    What only can't be seen is left to the writer: Persian, emoji and Thai are spelled with such characters.
    """
    return next(
        (_called(char) for char in text if char in _OVERRIDES or unicodedata.category(char) in ("Cc", "Cs")), ""
    )


def named(name: str) -> str:
    r"""A file's name as text that can be sent and stored: a byte that is not UTF-8 reads like \xe9."""
    return "".join(_spelled(char) if unicodedata.category(char) == "Cs" else char for char in name)


def _called(char: str) -> str:
    name = unicodedata.name(char, "")
    return f"U+{ord(char):04X}" + (f" ({name})" if name else "")


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
