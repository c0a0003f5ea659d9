"""Whatever somebody wrote is seen, and does nothing."""

import io
import json
import logging
import sys

import pytest
import structlog

from shared.logs import start_logging
from shared.screen import Rows, Screen
from shared.text import control_in, json_text, named, one_line, plain, plain_lines, unseen_in

SHOWN = {
    "an escape code": ("\x1b[31mred", r"\x1b[31mred"),
    "one of a single character": ("\x9b31mred", r"\x9b31mred"),
    "a window's title": ("\x1b]0;x\x07", r"\x1b]0;x\x07"),
    "reversed text": ("\u202egpj.exe", r"\u202egpj.exe"),
    "an isolate": ("a\u2066b", r"a\u2066b"),
    "no width": ("s1\u200b\ufeff", r"s1\u200b\ufeff"),
    "line breaks": ("a\r\nb\u2028c\x85", r"a\r\nb\u2028c\x85"),
    "nothing": ("a\0b\x7f", r"a\x00b\x7f"),
    "a byte that is no text": ("caf\udce9", r"caf\xe9"),
    "half a character": ("a\ud83d", r"a\ud83d"),
    "tags": ("a\U000e0041", r"a\U000e0041"),
}


@pytest.mark.parametrize("kind", SHOWN)
def test_what_would_do_something_is_spelled_out(kind: str) -> None:
    written, shown = SHOWN[kind]
    assert plain(written) == shown
    assert plain(shown) == shown


@pytest.mark.parametrize("kind", SHOWN)
def test_json_of_it_is_printable_and_reads_back(kind: str) -> None:
    written = {SHOWN[kind][0]: [SHOWN[kind][0]]}
    said = json_text(written)
    assert said.isprintable()
    assert json.loads(said) == json.loads(json.dumps(written))
    assert json.loads(json_text(written, indent=2)) == json.loads(said)


@pytest.mark.parametrize(
    "text", ["Grey tee [xl]", "[/b]", ":smile:", "衬衫 Größe", "👩\u200d👧", "می\u200cخواهم", "5\u00a0€", "\\["]
)
def test_other_text_stays_as_it_is(text: str) -> None:
    assert plain(text) == text
    assert json.loads(json_text(text)) == text


def test_lines_stay_lines_where_they_are_wanted() -> None:
    assert plain_lines("a\n\x1bb") == "a\n\\x1bb"


def test_a_file_name_that_is_not_utf_8_can_be_sent() -> None:
    assert named(b"caf\xe9.jpg".decode("utf-8", "surrogateescape")) == r"caf\xe9.jpg"
    assert named("照片.jpg") == "照片.jpg"


@pytest.mark.parametrize("text", ["Grey tee [xl]", "[/b]", "[red]x[/red]", ":smile: :red_circle:", "a\\", "[link=x]y"])
def test_brackets_and_colons_are_only_text(text: str) -> None:
    out = io.StringIO()
    screen = Screen(file=out, width=200)
    table = Rows("title", title=f"title {text}")
    table.add_row(f"{text} in a cell as wide as the title")
    screen.print(table)
    screen.print(text, style="red")
    assert out.getvalue().count(text) == 3


def test_no_escape_code_gets_through_a_screen() -> None:
    out = io.StringIO()
    screen = Screen(file=out, width=200)
    table = Rows("title", title="a\x1b[2Jb")
    table.add_row("a\x1b[2Jb")
    screen.print(table)
    screen.print("a\x1b[2Jb")
    assert "\x1b" not in out.getvalue()
    assert out.getvalue().count(r"a\x1b[2Jb") == 3


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("stream", [Terminal, io.StringIO])
def test_neither_kind_of_log_lets_anything_through(stream: type[io.StringIO], monkeypatch: pytest.MonkeyPatch) -> None:
    out = stream()
    monkeypatch.setattr(sys, "stderr", out)
    root = logging.getLogger()
    before = root.handlers[:], root.level
    hostile = "x\x1b]0;y\x07\x9b2J\u202ez\nnew line"
    try:
        start_logging("gateway")
        log = structlog.get_logger()
        log.warning(hostile, title=hostile, listed=[hostile], **{"n\x1b]ame": hostile})
        logging.getLogger("elsewhere").warning("said %s", hostile)
        try:
            raise ValueError(hostile)
        except ValueError:
            log.exception("failed")
    finally:
        root.handlers[:], root.level = before
        structlog.reset_defaults()
    said = out.getvalue()
    assert not any(bad in said for bad in ("\x1b]", "\x07", "\x9b", "\u202e"))
    assert "\nnew line" not in said.partition("failed")[0]
    assert said.count("new line") >= 5


@pytest.mark.parametrize("kind", SHOWN)
def test_an_identifier_with_what_is_not_seen_is_told(kind: str) -> None:
    assert unseen_in(SHOWN[kind][0]).startswith("U+")


def test_a_character_is_called_by_number_and_name() -> None:
    assert unseen_in("a\u202eb") == control_in("a\u202eb") == "U+202E (RIGHT-TO-LEFT OVERRIDE)"
    assert unseen_in("a\x1bb") == control_in("a\x1bb") == "U+001B"
    assert unseen_in("a\udce9") == control_in("a\udce9") == "U+DCE9"


@pytest.mark.parametrize("text", ["", "Seller 42", "café", "照片", "a b"])
def test_what_is_seen_is_not_told(text: str) -> None:
    assert unseen_in(text) == control_in(text) == ""


def test_joiners_are_for_texts_only() -> None:
    assert control_in("می\u200cخواهم") == ""
    assert unseen_in("می\u200cخواهم") == "U+200C (ZERO WIDTH NON-JOINER)"


def test_line_breaks_and_tabs_are_spaces_on_one_line() -> None:
    assert one_line("a\tb\r\nc\x0bd\u2028e f") == "a b  c d e f"
