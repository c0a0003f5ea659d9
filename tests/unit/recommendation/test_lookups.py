"""What lookups answer, on the fakes of store and index."""

import re
import zlib
from collections.abc import Sequence

import grpc
import pytest
from vitrine.embedding.v1 import embedding_pb2
from vitrine.recommendation.v1 import recommendation_pb2 as api

from services.recommendation.fields import Enriched, Vector
from services.recommendation.index import MAX_SCANNED, Placement
from services.recommendation.lookups import MAX_BATCH, MAX_CANDIDATES, READ_AT_ONCE, Embed, Found, Lookups
from services.recommendation.rank import Filter
from services.recommendation.server import bounds_of
from services.recommendation.settings import ServeSettings
from services.recommendation.views import REVIEWER
from shared.grpc import Bounds, Refusal
from shared.limits import MAX_PHOTO_BYTES
from tests.exact_index import ExactVectorIndex
from tests.joining import (
    BLOCK,
    SPACE,
    MemoryRecords,
    assessed,
    changed,
    embedded,
    filled,
    removed,
    results,
    scored,
    unit,
)

ANY = Filter()
NOT_FOUND, INVALID, PRECONDITION = (
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.FAILED_PRECONDITION,
)


class Shop:
    def __init__(self, index: ExactVectorIndex | None = None) -> None:
        self.records = MemoryRecords()
        self.index = index or ExactVectorIndex()
        self.lookups = Lookups(self.records, self.index)

    async def with_listings(self, *names: str) -> "Shop":
        for seed, name in enumerate(names):
            await filled(self.records, self.index, changed(name, 1), *results(name, 1, seed=seed))
        return self

    async def similar(self, name: str, limit: int = 10, wanted: Filter = ANY) -> list[str]:
        return [hit.listing.listing_id for hit in (await self.lookups.similar(name, limit, wanted)).hits]

    async def by_photo(self, embed: Embed, photo: bytes = b"photo", limit: int = 10) -> list[str]:
        return [hit.listing.listing_id for hit in (await self.lookups.by_photo(photo, limit, ANY, embed)).hits]


def embedding(seed: int, space: str = SPACE, dimension: int = 16) -> Embed:
    async def embed(_photo: bytes) -> embedding_pb2.EmbedPhotoResponse:
        return embedding_pb2.EmbedPhotoResponse(space=space, vector=unit(seed, dimension).tolist())

    return embed


def refused(code: grpc.StatusCode, says: str) -> "pytest.RaisesExc[Refusal]":
    return pytest.raises(Refusal, match=re.escape(says), check=lambda why: why.code == code)


async def test_unknown_and_removed_listings_are_not_found() -> None:
    shop = Shop()
    await filled(shop.records, shop.index, changed("x", 1), removed("x", 1))
    for name in ("x", "nobody"):
        with refused(NOT_FOUND, name):
            await shop.lookups.get(name, REVIEWER, "en")


async def test_a_blocked_listing_is_readable_with_its_decision() -> None:
    shop = Shop()
    await filled(shop.records, shop.index, changed("x", 1), *results("x", 1, decision=BLOCK))
    assert (await shop.lookups.get("x", REVIEWER, "en")).fraud.decision == BLOCK


async def test_a_batch_answers_in_the_order_asked_for_and_names_what_is_not_there() -> None:
    shop = await Shop().with_listings("a", "b", "c")
    await filled(shop.records, shop.index, removed("b", 1))
    found = await shop.lookups.batch(["c", "nobody", "a", "b"], REVIEWER, "en")
    assert [record.listing_id for record in found.listings] == ["c", "a"]
    assert list(found.not_found) == ["nobody", "b"]


async def test_a_batch_has_a_limit() -> None:
    with refused(INVALID, "at most 500"):
        await Shop().lookups.batch(["x"] * (MAX_BATCH + 1), REVIEWER, "en")


async def test_similar_listings_are_the_others_nearest_first() -> None:
    shop = await Shop().with_listings("a", "b", "c", "d")
    expected = sorted("bcd", key=lambda name: -float(unit(0) @ unit("abcd".index(name))))
    assert await shop.similar("a") == expected
    assert await shop.similar("a", limit=1) == expected[:1]


async def test_a_listing_without_a_vector_is_refused_with_what_is_missing() -> None:
    shop = Shop()
    await filled(shop.records, shop.index, changed("x", 1))
    with refused(PRECONDITION, "FACET_EMBEDDING"):
        await shop.similar("x")


async def test_the_vector_of_a_blocked_listing_can_be_asked_with_but_it_is_never_found() -> None:
    shop = await Shop().with_listings("a", "b")
    await filled(shop.records, shop.index, scored(assessed("a", 1, "a", at=9), BLOCK))
    assert await shop.similar("a") == ["b"]
    assert await shop.similar("b") == []


class Outdated(ExactVectorIndex):
    """Missed every placement after the first few: as after a crash between the record and the index."""

    def __init__(self) -> None:
        super().__init__()
        self.frozen = False

    async def place(self, placements: Sequence[Placement]) -> None:
        if not self.frozen:
            await super().place(placements)


async def test_what_an_outdated_index_still_proposes_is_checked_against_the_record() -> None:
    index = Outdated()
    shop = await Shop(index).with_listings("a", "b", "c", "d")
    index.frozen = True
    await filled(shop.records, index, removed("b", 1), scored(assessed("c", 1, "a", at=9), BLOCK))
    assert await shop.similar("a") == ["d"]


async def test_similarity_is_that_of_the_stored_vectors_whatever_the_index_believes() -> None:
    index = Outdated()
    shop = await Shop(index).with_listings("a", "b")
    index.frozen = True
    await filled(shop.records, index, embedded(assessed("b", 1, "a", at=9), seed=0))
    [hit] = (await shop.lookups.similar("a", 10, ANY)).hits
    assert hit.similarity == pytest.approx(1)


class Coarse(ExactVectorIndex):
    """Filters nothing, and ends its exploration early unless told to look at everything."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[int, bool]] = []

    async def search(
        self, space: str, query: Vector, count: int, wanted: Filter, *, exhaustive: bool = False
    ) -> list[str]:
        self.asked.append((count, exhaustive))
        return (await super().search(space, query, count, ANY))[: count if exhaustive else 70]


async def test_the_index_is_asked_for_more_until_enough_of_its_answers_hold() -> None:
    index = Coarse()
    shop = Shop(index)
    for i in range(200):
        seller = "rare" if i >= 190 else "common"
        await filled(shop.records, index, changed(f"e{i}", 1, seller=seller), *results(f"e{i}", 1, seed=i))
    found = await shop.similar("e0", limit=10, wanted=Filter(seller_ids=["rare"]))
    assert sorted(found) == [f"e{i}" for i in range(190, 200)]
    assert index.asked[-1][1] and len(index.asked) <= 4


class Counted(MemoryRecords):
    """Counts what is read of it, and how much at once."""

    def __init__(self) -> None:
        super().__init__()
        self.records_read: list[int] = []

    async def records(self, listing_ids: Sequence[str]) -> list[Enriched | None]:
        self.records_read.append(len(listing_ids))
        return await super().records(listing_ids)


def indexed(name: str, price: object = 9.99) -> Placement:
    about = {"category": [], "attribute": [], "seller": "ann", "currency": "EUR", "price": price}
    return Placement(name, {SPACE: unit(zlib.crc32(name.encode()))}, about)


async def counted(listings: int, **prices: tuple[int, int]) -> tuple[Counted, Lookups]:
    """A shop of one listing to ask with and those of `prices`, whose index has many more that nothing is known of."""
    records, index = Counted(), ExactVectorIndex()
    for seed, (name, price) in enumerate({"asked": (9, 990_000_000), **prices}.items()):
        await filled(records, index, changed(name, 1, price=price), *results(name, 1, seed=seed))
    await index.place([indexed(f"gone-{n}") for n in range(listings)])
    return records, Lookups(records, index)


async def test_a_price_range_that_matches_nothing_reads_no_record() -> None:
    records, lookups = await counted(3_000)
    wanted = Filter(price=api.PriceRange(currency_code="EUR", minimum=9.995, maximum=9.999))
    found = await lookups.similar("asked", 10, wanted)
    assert found == Found([], complete=True)
    assert records.records_read == [1]  # the listing that was asked with


async def test_prices_at_the_bounds_are_found() -> None:
    _, lookups = await counted(0, low=(9, 995_000_000), high=(9, 999_000_000), above=(9, 999_000_001))
    wanted = Filter(price=api.PriceRange(currency_code="EUR", minimum=9.995, maximum=9.999))
    found = await lookups.similar("asked", 10, wanted)
    assert {hit.listing.listing_id for hit in found.hits} == {"low", "high"}


async def test_an_index_full_of_what_is_no_more_is_read_up_to_a_cap_in_small_parts_each_listing_once() -> None:
    records, lookups = await counted(MAX_CANDIDATES + 500, other=(1, 0))
    found = await lookups.similar("asked", 100, ANY)
    assert not found.complete and len(found.hits) <= 1
    assert sum(records.records_read) == 1 + MAX_CANDIDATES
    assert max(records.records_read) <= READ_AT_ONCE


async def test_an_index_with_fewer_than_the_cap_is_read_to_its_end() -> None:
    _, lookups = await counted(MAX_CANDIDATES - 500, other=(1, 0))
    found = await lookups.similar("asked", 100, ANY)
    assert found.complete and [hit.listing.listing_id for hit in found.hits] == ["other"]


class Large(Coarse):
    """Too large to be searched exhaustively."""

    async def size(self, space: str) -> int:
        return MAX_SCANNED + 1


async def test_a_large_index_is_never_searched_exhaustively_and_the_answer_says_that_it_may_lack_hits() -> None:
    index = Large()
    shop = Shop(index)
    for i in range(100):
        await filled(shop.records, index, changed(f"e{i}", 1), *results(f"e{i}", 1, seed=i))
    found = await shop.lookups.similar("e0", 100, ANY)
    assert not found.complete and len(found.hits) == 69
    assert not any(exhaustive for _, exhaustive in index.asked)


async def test_a_batch_reads_no_more_than_fits_one_answer() -> None:
    records = Counted()
    index = ExactVectorIndex()
    for i in range(300):
        await filled(records, index, changed(f"e{i}", 1, title="x" * 50_000))
    records.records_read.clear()
    found = await Lookups(records, index).batch([f"e{i}" for i in range(300)], REVIEWER, "en")
    assert found.remaining and len(found.listings) + len(found.remaining) == 300
    assert records.records_read == [READ_AT_ONCE]


@pytest.mark.parametrize("ids", [["a" * 65], ["a", "b" * 10_000_000]])
async def test_ids_that_no_listing_has_are_refused_unread_and_not_repeated(ids: list[str]) -> None:
    records = Counted()
    lookups = Lookups(records, ExactVectorIndex())
    for answer in (
        lookups.batch(ids, REVIEWER, "en"),
        lookups.get(ids[-1], REVIEWER, "en"),
        lookups.similar(ids[-1], 10, ANY),
    ):
        with refused(INVALID, "at most 64") as refusal:
            await answer
        assert f"{len(ids[-1]):,} characters" in refusal.value.message and len(refusal.value.message) < 200
    assert not records.records_read


async def test_a_filter_of_ten_megabytes_is_refused_before_anything_is_read_or_embedded() -> None:
    async def never(_photo: bytes) -> embedding_pb2.EmbedPhotoResponse:
        raise AssertionError("embedded")

    records, lookups = await counted(0)
    wanted = Filter(category_path=["ä" * 1_000_000] * 5)
    records.records_read.clear()
    for answer in (lookups.similar("asked", 10, wanted), lookups.by_photo(b"photo", 10, wanted, never)):
        with refused(INVALID, "filter.category_path has 1,000,000 characters; at most 200"):
            await answer
    assert not records.records_read


async def test_limits_and_filters_that_make_no_sense_are_refused() -> None:
    shop = await Shop().with_listings("a")
    with refused(INVALID, "limit is 101"):
        await shop.similar("a", limit=101)
    with refused(INVALID, "both in"):
        await shop.similar("a", wanted=Filter(seller_ids=["x"], excluded_seller_ids=["x"]))


async def test_a_photo_finds_what_looks_like_it() -> None:
    shop = await Shop().with_listings("a", "b", "c")
    assert (await shop.by_photo(embedding(1)))[0] == "b"


async def test_an_empty_and_a_huge_photo_are_refused_before_anything_is_embedded() -> None:
    async def never(_photo: bytes) -> embedding_pb2.EmbedPhotoResponse:
        raise AssertionError("embedded")

    for photo in (b"", b"x" * (MAX_PHOTO_BYTES + 1)):
        with pytest.raises(Refusal, match="photo"):
            await Shop().by_photo(never, photo)


async def test_a_photo_search_in_an_empty_shop_finds_nothing() -> None:
    assert await Shop().by_photo(embedding(1)) == []


async def test_a_photo_embedded_in_a_space_nobody_is_indexed_in_is_refused_with_what_to_do() -> None:
    shop = await Shop().with_listings("a")
    with refused(PRECONDITION, "VITRINE_PACK"):
        await shop.by_photo(embedding(1, "other@1"))


async def test_during_a_model_swap_queries_of_both_spaces_are_answered_each_in_its_own() -> None:
    shop = await Shop().with_listings("a", "b")
    swapped = embedded(assessed("a", 1, "a", generation=2), seed=5, space="large@1")
    await filled(shop.records, shop.index, swapped)
    assert await shop.by_photo(embedding(5, "large@1")) == ["a"]
    assert await shop.by_photo(embedding(0)) == ["a", "b"]


async def test_a_vector_of_another_dimension_than_its_space_is_refused() -> None:
    shop = await Shop().with_listings("a")
    with refused(PRECONDITION, "can't be compared"):
        await shop.by_photo(embedding(1, SPACE, dimension=8))


def test_what_is_set_bounds_what_it_names() -> None:
    bounds = bounds_of(ServeSettings(rpc_seconds=7, max_calls=5, query_memory_bytes=50_000_000))
    assert (bounds.seconds, bounds.calls, bounds.photo_bytes) == (7, 5, 50_000_000)
    assert bounds.arrival_seconds == Bounds().arrival_seconds
