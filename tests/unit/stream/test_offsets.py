"""What is read of metadata that the client doesn't end where they end."""

from confluent_kafka import TopicPartition

from shared.stream.offsets import metadata_of


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
