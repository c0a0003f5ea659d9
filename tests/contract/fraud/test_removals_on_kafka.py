"""The hash bank learns from a real `listing.changed` what is no longer there."""

import asyncio
import threading

import pytest
from vitrine.events.v1 import listing_pb2

from services.fraud.bank import Revision
from services.fraud.removals import apply, follow_removals
from services.recommendation import fields
from shared.errors import Poison, Transient
from shared.events import event
from shared.settings import Settings
from shared.stream.admin import create_topics
from shared.stream.producer import Producer
from shared.topics import LISTING_CHANGED
from tests.fakes_vision import FakeBank


class HeardBank(FakeBank):
    """Writes down what it was told, and says when it has heard the last."""

    def __init__(self, last: str) -> None:
        super().__init__()
        self._last = last
        self.kept: dict[str, Revision] = {}
        self.forgotten: dict[str, str] = {}
        self.heard_all = threading.Event()

    def keep_only(self, revision: Revision) -> None:
        self.kept[revision.listing_id] = revision

    def forget(self, listing_id: str, seller_id: str) -> None:
        self.forgotten[listing_id] = seller_id
        if listing_id == self._last:
            self.heard_all.set()


class AwayBank(FakeBank):
    def forget(self, listing_id: str, seller_id: str) -> None:
        raise Transient("the hash bank did not answer")


def listed(listing: str, revision: int, *photos: str) -> listing_pb2.ListingChanged:
    return listing_pb2.ListingChanged(
        listing_id=listing,
        revision=revision,
        listing=listing_pb2.Listing(seller_id="S1", photos=[listing_pb2.Photo(sha256=sha) for sha in photos]),
    )


def removed(listing: str) -> listing_pb2.ListingChanged:
    return listing_pb2.ListingChanged(
        listing_id=listing, revision=9, removed=listing_pb2.ListingRemoved(reason="takedown", seller_id="S1")
    )


async def announce(kafka: str, *changes: listing_pb2.ListingChanged) -> None:
    await asyncio.to_thread(create_topics, kafka)
    producer = Producer(kafka)
    await producer.send(
        [event(LISTING_CHANGED, c.listing_id, c, id_parts=[c.listing_id, c.revision], source="test") for c in changes]
    )
    producer.close()


class NeverOnDisk(FakeBank):
    def flushed(self) -> None:
        raise Transient("Redis did not write to disk")


async def test_what_is_not_on_disk_yet_is_heard_again(kafka: str) -> None:
    await announce(kafka, removed("not on disk"))
    with pytest.raises(ExceptionGroup) as stopped:
        async with follow_removals(NeverOnDisk(), Settings(kafka=kafka)):
            await asyncio.Future()
    assert stopped.group_contains(Transient)
    bank = HeardBank(last="not on disk")
    async with follow_removals(bank, Settings(kafka=kafka)):
        assert await asyncio.to_thread(bank.heard_all.wait, 30)


async def test_changes_and_removals_reach_the_bank(kafka: str) -> None:
    change = listed("kept", 3, "a", "b")
    await announce(kafka, change, removed("gone"))
    bank = HeardBank(last="gone")
    async with follow_removals(bank, Settings(kafka=kafka)):
        assert await asyncio.to_thread(bank.heard_all.wait, 30)
    assert bank.kept["kept"] == Revision("kept", "S1", 3, ("a", "b"), change.SerializeToString())
    assert bank.forgotten["gone"] == "S1"


async def test_when_the_bank_stays_away_the_body_is_stopped_and_the_change_is_heard_again(kafka: str) -> None:
    await announce(kafka, removed("unheard"))
    with pytest.raises(ExceptionGroup) as stopped:
        async with follow_removals(AwayBank(), Settings(kafka=kafka)):
            await asyncio.Future()
    assert stopped.group_contains(Transient)
    bank = HeardBank(last="unheard")
    async with follow_removals(bank, Settings(kafka=kafka)):
        assert await asyncio.to_thread(bank.heard_all.wait, 30)


@pytest.mark.parametrize(
    "change",
    [
        listing_pb2.ListingChanged(),
        listed("", 1, "a"),
        listed("L", 0, "a"),
        listed("L", 1),
        listed("L", 1, "a", ""),
        listing_pb2.ListingChanged(listing_id="L", removed=listing_pb2.ListingRemoved()),
        listing_pb2.ListingChanged(listing_id="L", revision=1),
    ],
    ids=str,
)
def test_what_the_join_rejects_changes_nothing_in_the_bank(change: listing_pb2.ListingChanged) -> None:
    value, bank = change.SerializeToString(), HeardBank(last="")
    with pytest.raises(Poison):
        fields.read(LISTING_CHANGED.name, change.listing_id.encode(), value)
    apply(bank, value)
    assert (bank.kept, bank.forgotten) == ({}, {})


async def test_a_second_follower_takes_partitions_over_and_ends_neither(kafka: str) -> None:
    """Between what the first one reads and what it commits, among others."""
    first, second = HeardBank(last="never"), HeardBank(last="never")
    async with follow_removals(first, Settings(kafka=kafka)):
        for turn in range(3):
            async with follow_removals(second, Settings(kafka=kafka)), asyncio.timeout(60):
                announced: set[str] = set()
                while not _shared(second, turn):  # until the group has given it a partition
                    some = [f"shared-{turn}-{len(announced) + number}" for number in range(10)]
                    await announce(kafka, *map(removed, some))
                    announced.update(some)
                    await asyncio.sleep(0.2)
                while _shared(first, turn) | _shared(second, turn) != announced:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            assert _shared(first, turn), "it was left no partition"


def _shared(bank: HeardBank, turn: int) -> set[str]:
    return {listing for listing in bank.forgotten.copy() if listing.startswith(f"shared-{turn}-")}


def test_what_is_no_change_of_a_listing_is_left_to_the_join() -> None:
    bank = HeardBank(last="")
    apply(bank, b"\xff\xff")
    assert (bank.kept, bank.forgotten) == ({}, {})
