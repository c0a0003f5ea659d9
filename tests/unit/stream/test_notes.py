"""What is kept with a committed offset."""

import pytest
from confluent_kafka import TopicPartition

from shared.stream.notes import OffsetNote, metadata_of


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


class Refused:
    """As the client's class, of metadata that go on with bytes of somebody else."""

    @property
    def metadata(self) -> str:
        return b'{"flushes": 1}\xe3(\x8c'.decode()


def test_metadata_end_where_their_object_ends() -> None:
    assert metadata_of(TopicPartition("t", 0, 1, '{"flushes": 1}x}y')) == '{"flushes": 1}'
    assert metadata_of(Refused()) == '{"flushes": 1}'  # type: ignore[arg-type]


def test_an_offset_without_metadata_has_none() -> None:
    assert metadata_of(TopicPartition("t", 0, 1)) == ""
