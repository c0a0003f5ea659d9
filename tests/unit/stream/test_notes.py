"""What is kept with a committed offset."""

import pytest

from shared.stream.notes import OffsetNote


def test_what_is_written_is_read() -> None:
    note = OffsetNote(2, 1, {"epoch": "7"})
    assert OffsetNote.read(note.metadata) == note


def test_others_keys_are_kept_past_the_offset_and_the_counts_are_not() -> None:
    assert OffsetNote.read('{"epoch":"7","begun":2,"alone":1}').past().metadata == '{"epoch":"7"}'


def test_nothing_to_say_is_said_with_nothing() -> None:
    assert OffsetNote().metadata == ""


@pytest.mark.parametrize("metadata", [None, "", "{", "[1]", "7", '{"begun":"two","alone":-1}', "written by a person"])
def test_what_is_not_ours_says_nothing(metadata: str | None) -> None:
    assert OffsetNote.read(metadata) == OffsetNote()
