"""What is read from a topic's ends while its broker is getting ready."""

from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from shared.stream.reading import watermarks
from shared.topics import LISTING_CHANGED


class _Consumer:
    """Of a topic with one partition: refuses as often as told, then answers."""

    def __init__(self, *refusals: int) -> None:
        self._refusals = list(refusals)

    def list_topics(self, timeout: float) -> Any:
        return SimpleNamespace(topics={LISTING_CHANGED.name: SimpleNamespace(partitions={0: None})})

    def get_watermark_offsets(self, partition: Any, timeout: float) -> tuple[int, int]:
        if self._refusals:
            raise KafkaException(KafkaError(self._refusals.pop()))
        return 3, 7


@pytest.mark.parametrize("refusal", [KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE])
def test_a_partition_whose_leader_is_only_just_chosen_is_asked_again(refusal: int) -> None:
    consumer: Any = _Consumer(refusal)
    assert watermarks(consumer, "a broker", LISTING_CHANGED) == {0: (3, 7)}


def test_another_refusal_is_not_asked_about_again() -> None:
    consumer: Any = _Consumer(KafkaError.TOPIC_AUTHORIZATION_FAILED)
    with pytest.raises(KafkaException):
        watermarks(consumer, "a broker", LISTING_CHANGED)
