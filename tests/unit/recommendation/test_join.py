"""One batch of the join: what is written, placed, published and rejected, also when it is interrupted or overtaken."""

import random
from collections.abc import Sequence
from dataclasses import replace

import pytest
from google.protobuf.message import Message

from services.recommendation.fields import Enriched
from services.recommendation.index import Placement
from services.recommendation.join import Join, Settlement
from services.recommendation.rank import Filter
from services.recommendation.store import Write
from shared.errors import Transient
from shared.events import Event
from shared.health import Health
from shared.stream.records import Assignment, Record
from shared.topics import DEAD_LETTERS, LISTING_CHANGED, LISTING_ENRICHED
from tests.exact_index import ExactVectorIndex
from tests.joining import (
    ALLOW,
    BLOCK,
    SPACE,
    MemoryRecords,
    Published,
    assessed,
    changed,
    delivered,
    embedded,
    removed,
    results,
    scored,
    unit,
)

EVERYTHING = Filter()


class Shop:
    """A join on fakes."""

    def __init__(self, records: MemoryRecords | None = None) -> None:
        self.records = records or MemoryRecords()
        self.index = ExactVectorIndex()
        self.published = Published()
        self.join = Join(self.records, self.index, self.published).join

    async def status(self, listing_id: str = "x") -> int:
        [record] = await self.records.records([listing_id])
        assert record is not None
        return record.status

    async def indexed(self, space: str = SPACE) -> list[str]:
        return await self.index.search(space, unit(1), 100, EVERYTHING)


async def test_a_listing_and_its_results_become_a_complete_record_that_is_published_and_found() -> None:
    shop = Shop()
    await shop.join(delivered(changed("x", 1), *results("x", 1)))
    assert await shop.status() == Enriched.STATUS_COMPLETE
    assert shop.published.current()["x"].status == Enriched.STATUS_COMPLETE
    assert await shop.indexed() == ["x"]


async def test_a_batch_publishes_each_listing_once() -> None:
    shop = Shop()
    await shop.join(delivered(changed("x", 1), changed("y", 1), *results("x", 1), *results("y", 1)))
    assert sorted(event.key for event in shop.published.events) == ["x", "y"]


async def test_an_event_carries_cloudevents_headers_and_the_trace_of_what_caused_it() -> None:
    from shared.tracing import start_tracing

    start_tracing("test")
    shop = Shop()
    trace = "0af7651916cd43dd8448eb211c80319c"
    await shop.join(delivered(changed("x", 1), headers={"traceparent": f"00-{trace}-b7ad6b7169203331-01".encode()}))
    [event] = shop.published.events
    assert event.headers["ce_type"] == b"vitrine.listing.enriched.v1"
    assert trace.encode() in event.headers["traceparent"]


async def test_a_redelivery_changes_nothing_and_publishes_the_same_event_again() -> None:
    shop = Shop()
    batch = delivered(changed("x", 1), *results("x", 1))
    await shop.join(batch)
    [version] = await shop.records.versions(["x"])
    await shop.join(batch)
    first, second = shop.published.on(LISTING_ENRICHED)
    assert await shop.records.versions(["x"]) == [version]
    assert (first.value, first.headers["ce_id"]) == (second.value, second.headers["ce_id"])


async def test_what_a_crash_left_unpublished_is_published_by_the_redelivery() -> None:
    shop = Shop()
    shop.published.away = Transient("no broker")
    batch = delivered(changed("x", 1), *results("x", 1))
    with pytest.raises(Transient):
        await shop.join(batch)
    shop.published.away = None
    await shop.join(batch)
    assert shop.published.current()["x"].status == Enriched.STATUS_COMPLETE


async def test_a_stale_event_publishes_the_record_as_it_stands_again() -> None:
    shop = Shop()
    await shop.join(delivered(changed("x", 2)))
    await shop.join(delivered(changed("x", 1)))
    first, second = shop.published.on(LISTING_ENRICHED)
    assert (first.value, first.headers["ce_id"]) == (second.value, second.headers["ce_id"])


REMOVAL, OLD, NEW = removed("x", 2), changed("x", 3), changed("x", 4, title="shirt, blue")
# In one batch or in two, what compaction would keep is not what holds.
STALE_LAST = [
    pytest.param([[REMOVAL, OLD]], REMOVAL, id="a change beside a removal"),
    pytest.param([[REMOVAL], [OLD]], REMOVAL, id="a change after a removal"),
    pytest.param([[NEW, OLD]], NEW, id="an older change beside a newer one"),
    pytest.param([[NEW], [OLD], [OLD]], NEW, id="an older change, twice"),
]


def on_changed(shop: Shop) -> list[Record]:
    """What the join published to listing.changed, as Kafka would hand it over."""
    return [
        Record(Assignment(e.topic.name, 0), 100 + n, e.key.encode(), e.value, e.headers)
        for n, e in enumerate(shop.published.on(LISTING_CHANGED))
    ]


@pytest.mark.parametrize("batches, holds", STALE_LAST)
async def test_after_a_stale_change_the_one_that_holds_lies_last_on_its_topic(
    batches: list[list[Message]], holds: Message
) -> None:
    shop = Shop()
    for batch in batches:
        await shop.join(delivered(*batch))
    last = on_changed(shop)[-1]
    assert (last.key, last.value) == (b"x", holds.SerializeToString())


@pytest.mark.parametrize("batches, _holds", STALE_LAST)
async def test_a_repeated_change_is_not_repeated_in_turn(batches: list[list[Message]], _holds: Message) -> None:
    shop = Shop()
    for batch in batches:
        await shop.join(delivered(*batch))
    repeated = on_changed(shop)
    for record in repeated:
        await shop.join([record])
    await shop.join(repeated)
    assert on_changed(shop) == repeated


async def test_a_repeated_change_has_the_bytes_it_came_in_however_they_are_spelled() -> None:
    shop = Shop()
    [newer] = delivered(NEW)
    revision_again = b"\x10\x04"  # the last field of a name counts; no library would write it twice
    newer = replace(newer, value=newer.value + revision_again)
    await shop.join([newer, *delivered(OLD)])
    [repeated] = on_changed(shop)
    assert repeated.value == newer.value
    await shop.join([repeated])
    assert on_changed(shop) == [repeated]


async def test_changes_in_their_order_are_not_repeated() -> None:
    shop = Shop()
    await shop.join(delivered(OLD, NEW))
    await shop.join(delivered(NEW, REMOVAL, *results("x", 3)))
    assert on_changed(shop) == []


async def test_a_stale_change_is_not_done_before_the_one_that_holds_is_published_again() -> None:
    shop = Shop()
    await shop.join(delivered(REMOVAL))

    class Away(Published):
        async def send(self, events: Sequence[Event]) -> None:
            if any(event.topic is LISTING_CHANGED for event in events):
                raise Transient("no broker")

    with pytest.raises(Transient):
        await Join(shop.records, shop.index, Away()).join(delivered(OLD))
    await shop.join(delivered(OLD))
    assert [record.value for record in on_changed(shop)] == [REMOVAL.SerializeToString()]


async def test_removed_and_blocked_listings_leave_the_index() -> None:
    shop = Shop()
    for listing in ("x", "y", "z"):
        await shop.join(delivered(changed(listing, 1), *results(listing, 1)))
    await shop.join(delivered(removed("x", 1), scored(assessed("y", 1, "a", at=2), BLOCK)))
    assert await shop.indexed() == ["z"]
    assert shop.published.current()["x"].status == Enriched.STATUS_REMOVED


async def test_a_redelivered_removal_empties_the_index_that_a_crash_left_full() -> None:
    shop = Shop()
    await shop.join(delivered(changed("x", 1), *results("x", 1)))
    batch, place = delivered(removed("x", 1)), shop.index.place

    async def crash(_placements: object) -> None:
        raise Transient("Redis is away")

    shop.index.place = crash  # type: ignore[assignment, method-assign]
    with pytest.raises(Transient):
        await shop.join(batch)
    shop.index.place = place  # type: ignore[method-assign]
    await shop.join(batch)
    assert await shop.indexed() == []


async def test_poison_goes_to_the_dead_letters_with_its_reason_and_the_rest_is_joined() -> None:
    shop = Shop()
    bad = Record(Assignment("image.scored", 3), 17, b"x", b"\xff", {"ce_id": b"1"})
    await shop.join([bad, *delivered(changed("x", 1))])
    [letter] = shop.published.on(DEAD_LETTERS)
    assert (letter.value, letter.key) == (b"\xff", "x")
    assert letter.headers["dlq_code"] == b"undecodable"
    assert letter.headers["dlq_topic"] == b"image.scored" and letter.headers["dlq_offset"] == b"17"
    assert await shop.status() == Enriched.STATUS_PENDING


async def test_a_vector_of_another_dimension_than_its_space_is_poison() -> None:
    shop = Shop()
    await shop.join(delivered(changed("x", 1), *results("x", 1)))
    await shop.join(delivered(changed("y", 1), embedded(assessed("y", 1, "a"), dimension=8)))
    [letter] = shop.published.on(DEAD_LETTERS)
    assert b"8 numbers" in letter.headers["dlq_message"]


async def test_two_dimensions_in_the_very_first_batch_stop_nothing() -> None:
    shop = Shop()
    await shop.join(
        delivered(
            *(changed(x, 1) for x in "xy"),
            *results("x", 1),
            *results("y", 1)[:2],
            embedded(assessed("y", 1, "a"), dimension=8),
            scored(assessed("y", 1, "a")),
        )
    )
    assert await shop.indexed() == ["x"]


@pytest.mark.parametrize("at_once", [True, False])
async def test_another_sellers_change_is_a_dead_letter_and_the_owners_is_what_compaction_keeps(at_once: bool) -> None:
    shop = Shop()
    owners, strangers = changed("x", 1, seller="ann"), changed("x", 2, seller="bob")
    for batch in [[owners, strangers]] if at_once else [[owners], [strangers]]:
        await shop.join(delivered(*batch))
    [letter] = shop.published.on(DEAD_LETTERS)
    assert (letter.value, letter.headers["dlq_code"]) == (strangers.SerializeToString(), b"not_the_owner")
    assert [event.value for event in shop.published.on(LISTING_CHANGED)] == [owners.SerializeToString()]
    [record] = await shop.records.records(["x"])
    assert record is not None and (record.seller_id, record.revision) == ("ann", 1)


class Contended(MemoryRecords):
    """Another join changes the listing between our read and our write, a few times."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self._times = times

    async def write(self, writes: Sequence[Write]) -> list[bool]:
        if self._times:
            self._times -= 1
            other = Join(MemoryView(self), ExactVectorIndex(), Published())
            await other.join(delivered(scored(assessed("x", 1, "a", at=10_000 - self._times))))
        return await super().write(writes)


class MemoryView(MemoryRecords):
    """The same records, without the contention."""

    def __init__(self, of: MemoryRecords) -> None:
        self.__dict__ = of.__dict__

    async def write(self, writes: Sequence[Write]) -> list[bool]:
        return await MemoryRecords.write(self, writes)


async def test_a_listing_that_another_join_changed_meanwhile_is_read_and_merged_again() -> None:
    shop = Shop(Contended(times=3))
    await shop.join(delivered(changed("x", 1), *results("x", 1)))
    assert await shop.status() == Enriched.STATUS_COMPLETE
    assert await shop.records.versions(["x"]) == [4]


async def test_a_listing_that_changes_for_ever_stops_the_join() -> None:
    with pytest.raises(Transient, match="changed by others"):
        await Shop(Contended(times=1000)).join(delivered(changed("x", 1)))


async def test_whoever_spreads_an_older_view_spreads_the_newer_one_after_it() -> None:
    shop = Shop()
    other = Join(shop.records, ExactVectorIndex(), Published())

    class Slow(Published):
        """While our first event is on its way, another process blocks the listing and is done with it."""

        async def send(self, events: Sequence[Event]) -> None:
            if events and not self.events:
                await other.join(delivered(scored(assessed("x", 1, "a", at=9), BLOCK)))
            await super().send(events)

    shop.published = Slow()
    await Join(shop.records, shop.index, shop.published).join(delivered(changed("x", 1), *results("x", 1)))
    assert shop.published.current()["x"].fraud.decision == BLOCK
    assert await shop.indexed() == []


async def test_an_older_view_that_a_crash_left_over_a_newer_one_is_replaced_by_the_redelivery() -> None:
    shop = Shop()
    other = Join(shop.records, shop.index, shop.published)
    await shop.join(delivered(changed("x", 1), *results("x", 1)[:3]))
    allowed = delivered(scored(assessed("x", 1, "a", at=1), ALLOW))

    class Overtaken(ExactVectorIndex):
        """Before we place our view, another process blocks the listing and is done with it; after it, we crash."""

        async def place(self, placements: Sequence[Placement]) -> None:
            await other.join(delivered(scored(assessed("x", 1, "a", at=9), BLOCK)))
            await shop.index.place(placements)
            raise Transient("crash")

    with pytest.raises(Transient, match="crash"):
        await Join(shop.records, Overtaken(), shop.published).join(allowed)
    assert await shop.indexed() == ["x"]
    await shop.join(allowed)
    assert await shop.indexed() == []
    assert shop.published.current()["x"].fraud.decision == BLOCK


async def test_any_cut_of_the_stream_into_batches_ends_in_the_same_records() -> None:
    events = delivered(
        *(changed(x, r, ["a", "b"][:r]) for x in "xyz" for r in (1, 2)),
        *(m for x in "xyz" for r in (1, 2) for p in ["a", "b"][:r] for m in results(x, r, p)),
        removed("z", 1),
    )
    ends = []
    for seed in range(20):
        rng = random.Random(seed)
        shop, rest = Shop(), rng.sample(events, len(events)) + rng.sample(events, 10)
        while rest:
            size = rng.randint(1, 9)
            await shop.join(rest[:size])
            rest = rest[size:]
        assert shop.published.current() == dict(zip("xyz", await shop.records.records(["x", "y", "z"]), strict=True))
        ends.append([await shop.records.records(["x", "y", "z"]), await shop.indexed()])
    assert all(end == ends[0] for end in ends)


class FakeEvent:
    def __init__(self, log: list[str]) -> None:
        self._log = log

    def ack(self) -> None:
        self._log.append("ack")


async def test_events_are_acknowledged_after_the_flush_and_one_flush_serves_many_batches() -> None:
    log: list[str] = []

    async def flushed() -> None:
        log.append("flush")

    settlement = Settlement(flushed, Health())
    for _ in range(3):
        settlement.begin([FakeEvent(log)])  # type: ignore[list-item]
        settlement.add([FakeEvent(log)])  # type: ignore[list-item]
    await settlement.settle()
    assert log == ["flush", "ack", "ack", "ack"]


async def test_nothing_is_acknowledged_when_the_flush_fails() -> None:
    log: list[str] = []

    async def flushed() -> None:
        raise Transient("no disk")

    settlement = Settlement(flushed, Health())
    settlement.add([FakeEvent(log)])  # type: ignore[list-item]
    with pytest.raises(Transient):
        await settlement.settle()
    assert log == []


async def test_a_join_that_holds_events_without_progress_is_not_healthy() -> None:
    now = [0.0]
    health = Health(stalled_after=60, clock=lambda: now[0])

    async def flushed() -> None: ...

    settlement = Settlement(flushed, health)
    settlement.begin([FakeEvent([])])  # type: ignore[list-item]
    now[0] = 61
    assert health.why_not_live
    settlement.add([FakeEvent([])])  # type: ignore[list-item]
    await settlement.settle()
    now[0] = 1000
    assert health.why_not_live is None
