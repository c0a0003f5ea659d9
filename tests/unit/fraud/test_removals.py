"""How the follower of removals bears rebalances, without a broker. The rest is in tests/contract/fraud."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition
from vitrine.events.v1 import listing_pb2

from services.fraud.removals import Follower
from shared.errors import Transient, Unusable
from shared.topics import LISTING_CHANGED
from tests.fakes_vision import FakeBank

Offsets = dict[int, int]


@dataclass(frozen=True)
class Change:
    """A removal as librdkafka hands it over, or an error."""

    at: int
    of: int = 0
    code: int | None = None

    def error(self) -> KafkaError | None:
        return None if self.code is None else KafkaError(self.code)

    def topic(self) -> str:
        return LISTING_CHANGED.name

    def partition(self) -> int:
        return self.of

    def offset(self) -> int:
        return self.at

    def value(self) -> bytes:
        gone = listing_pb2.ListingRemoved(reason="takedown")
        return listing_pb2.ListingChanged(listing_id=f"{self.of}/{self.at}", removed=gone).SerializeToString()


@dataclass
class ScriptedConsumer:
    """Hands out one step of the script at each call, and tells the follower to stop after the last."""

    script: list[Callable[["ScriptedConsumer"], Sequence[Change]]]
    stopping: threading.Event
    refusals: list[int] = field(default_factory=list)  # codes with which the next commits fail
    commits: list[Offsets] = field(default_factory=list)
    closed: bool = False

    def subscribe(self, _topics: list[str], *, on_revoke: Any, on_lost: Any) -> None:
        self.on_revoke = on_revoke

    def taken(self, partition: int) -> Sequence[Change]:
        self.on_revoke(self, [TopicPartition(LISTING_CHANGED.name, partition)])
        return []

    def consume(self, _most: int, _seconds: float) -> Sequence[Change]:
        changes = self.script.pop(0)(self)
        if not self.script:
            self.stopping.set()
        return changes

    def commit(self, offsets: list[TopicPartition], asynchronous: bool) -> None:
        if self.refusals:
            raise KafkaException(KafkaError(self.refusals.pop(0)))
        self.commits.append({place.partition: place.offset for place in offsets})

    def close(self) -> None:
        self.closed = True


class Hears(FakeBank):
    def __init__(self) -> None:
        super().__init__()
        self.forgotten: list[str] = []

    def forget(self, listing_id: str, seller_id: str) -> None:
        self.forgotten.append(listing_id)


def followed(*script: Callable[[ScriptedConsumer], Sequence[Change]], refusals: Sequence[int] = ()) -> list[Offsets]:
    """The commits that were taken."""
    stopping, bank = threading.Event(), Hears()
    consumer = ScriptedConsumer(list(script), stopping, list(refusals))
    opened: Any = consumer
    try:
        Follower(bank, "127.0.0.1:1", lambda _settings: opened).follow(stopping)
    finally:
        assert consumer.closed
    return consumer.commits


def nothing(_consumer: ScriptedConsumer) -> Sequence[Change]:
    return []


def test_what_is_learned_is_committed_by_partition() -> None:
    assert followed(lambda _: [Change(3), Change(4), Change(8, of=1)]) == [{0: 5, 1: 9}]


@pytest.mark.parametrize("code", [KafkaError.ILLEGAL_GENERATION, KafkaError.REBALANCE_IN_PROGRESS])
def test_a_commit_refused_amid_a_rebalance_is_made_after_it(code: int) -> None:
    assert followed(lambda _: [Change(3)], nothing, refusals=[code]) == [{0: 4}]


def test_what_was_taken_from_us_by_the_rebalance_is_left_to_its_next_owner() -> None:
    commits = followed(
        lambda _: [Change(3), Change(8, of=1)],
        lambda consumer: consumer.taken(0),
        refusals=[KafkaError.ILLEGAL_GENERATION],
    )
    assert commits == [{1: 9}]


def test_a_commit_that_times_out_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.stream.commits.time.sleep", lambda _seconds: None)
    assert followed(lambda _: [Change(3)], refusals=[KafkaError._TIMED_OUT]) == [{0: 4}]


@pytest.mark.parametrize("code", [KafkaError.GROUP_AUTHORIZATION_FAILED, KafkaError.TOPIC_AUTHORIZATION_FAILED])
def test_a_follower_that_may_not_read_or_commit_ends(code: int) -> None:
    with pytest.raises(Unusable, match="grant READ"):
        followed(lambda _: [Change(0, code=code)])
    with pytest.raises(Unusable, match="grant READ"):
        followed(lambda _: [Change(3)], refusals=[code])


def test_a_client_that_has_given_up_ends_the_follower() -> None:
    with pytest.raises(Transient, match="can't be followed"):
        followed(lambda _: [Change(0, code=KafkaError._FATAL)])


def test_trouble_that_passes_is_borne() -> None:
    assert followed(lambda _: [Change(0, code=KafkaError._TRANSPORT)], lambda _: [Change(3)]) == [{0: 4}]
