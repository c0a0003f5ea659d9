"""The index's promises, on the exact one in memory and on Redis 8 vector sets."""

import math
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from decimal import Decimal
from random import Random

import numpy as np
import pytest
from vitrine.recommendation.v1 import recommendation_pb2 as api

from services.recommendation.fields import Enriched
from services.recommendation.index import Placement, RedisVectorIndex, VectorIndex, WrongDimension
from services.recommendation.lookups import Found, Lookups
from services.recommendation.rank import (
    MAX_ATTRIBUTES,
    Filter,
    expression,
    index_attributes,
    matches,
    what_is_wrong_with,
)
from shared.money import amount_of, money
from shared.redis import connect
from tests.exact_index import ExactVectorIndex
from tests.joining import MemoryRecords, changed, filled, results, unit

NONE = Filter()


@pytest.fixture(params=["memory", "redis"])
async def index(request: pytest.FixtureRequest, unique: Callable[[str], str]) -> AsyncIterator[VectorIndex]:
    if request.param == "memory":
        yield ExactVectorIndex()
    else:
        redis = connect(request.getfixturevalue("redis_url"))
        yield RedisVectorIndex(redis, unique("index"))
        await redis.aclose()


def listing(
    seller: str = "ann",
    path: tuple[str, ...] = ("garments", "t-shirt"),
    price: float | str | None = 10,
    currency: str = "EUR",
    colour: str = "blue",
    taxonomy_id: str = "aa-1-13-8",
) -> Enriched:
    record = Enriched(seller_id=seller)
    record.category.path.extend(path)
    record.category.taxonomy_id = taxonomy_id
    record.attributes.add(name="colour", value=colour)
    if price is not None:
        record.claims.price.CopyFrom(money(Decimal(str(price)), currency))
    return record


def placed(name: str, seed: int, record: Enriched | None = None, space: str = "s@1", dimension: int = 16) -> Placement:
    return Placement(name, {space: unit(seed, dimension)}, index_attributes(record or listing()))


async def test_the_nearest_come_first(index: VectorIndex) -> None:
    await index.place([placed(f"e{i}", i) for i in range(50)])
    similarities = {f"e{i}": float(unit(7) @ unit(i)) for i in range(50)}
    found = await index.search("s@1", unit(7), 10, NONE)
    assert found[0] == "e7"
    assert set(found) == set(sorted(similarities, key=similarities.__getitem__)[-10:])


async def test_placing_again_replaces_the_vector(index: VectorIndex) -> None:
    await index.place([placed("a", 1), placed("b", 2)])
    await index.place([placed("a", 3)])
    assert await index.search("s@1", unit(3), 1, NONE) == ["a"]
    assert await index.search("s@1", unit(1), 2, NONE) and await index.size("s@1") == 2


async def test_placing_again_with_other_attributes_replaces_those(index: VectorIndex) -> None:
    await index.place([placed("a", 1)])
    await index.place([placed("a", 1, listing(seller="bob"))])
    assert await index.search("s@1", unit(1), 5, Filter(seller_ids=["ann"])) == []
    assert await index.search("s@1", unit(1), 5, Filter(seller_ids=["bob"])) == ["a"]


async def test_a_placement_without_vectors_takes_the_listing_out_of_every_space(index: VectorIndex) -> None:
    both = Placement("a", {"s@1": unit(1), "s@2": unit(1, 8)}, index_attributes(listing()))
    await index.place([both, placed("b", 2)])
    await index.place([replace(both, vectors={})])
    assert [await index.size(space) for space in ("s@1", "s@2")] == [1, 0]
    await index.place([replace(both, vectors={})])


async def test_a_listing_leaves_the_space_that_it_has_no_vector_for_any_more(index: VectorIndex) -> None:
    both = Placement("a", {"s@1": unit(1), "s@2": unit(1, 8)}, index_attributes(listing()))
    await index.place([both])
    await index.place([placed("a", 1)])
    assert [await index.size(space) for space in ("s@1", "s@2")] == [1, 0]


async def test_the_first_space_stays_the_current_one(index: VectorIndex) -> None:
    assert await index.current_space() is None and await index.spaces() == []
    await index.place([placed("a", 1)])
    await index.place([placed("a", 1, space="s@2")])
    assert await index.current_space() == "s@1"
    assert await index.spaces() == ["s@1", "s@2"]


async def test_an_unknown_space_is_empty(index: VectorIndex) -> None:
    assert await index.search("nowhere@1", unit(1), 5, NONE) == []
    assert await index.size("nowhere@1") == 0
    assert await index.dimension("nowhere@1") is None


async def test_a_vector_of_another_dimension_is_left_out_and_a_query_of_one_is_refused(index: VectorIndex) -> None:
    await index.place([placed("a", 1), placed("b", 1, dimension=8)])
    assert await index.size("s@1") == 1 and await index.dimension("s@1") == 16
    with pytest.raises(WrongDimension):
        await index.search("s@1", unit(1, 8), 5, NONE)


def price(currency: str, **bounds: float) -> Filter:
    return Filter(price=api.PriceRange(currency_code=currency, **bounds))


def coloured(value: str) -> Filter:
    return Filter(attributes=[api.AttributeFilter(name="colour", value=value)])


NASTY = 'a "quoted\\" [text], с кириллицей, 颜色 and .seller == 1'
SHOP = {
    "plain": listing(),
    "bobs": listing(seller="bob", price=20),
    "dear": listing(price=123456789.99),
    "free": listing(price=0),
    "nearly": listing(price="9.99"),
    "nano": listing(price="10.000000001"),
    "crumb": listing(price="0.000000001"),
    "dearest": listing(price="999999999999.99"),
    "dollars": listing(currency="USD"),
    "unpriced": listing(price=None),
    "apple": listing(path=("groceries", "Fruit", "Apple", "Golden-Delicious"), taxonomy_id="fb-2-10-7-1"),
    "pineapple": listing(path=("groceries", "Fruit", "Pineapple"), taxonomy_id="fb-2-10-7-32"),
    "unknown": listing(path=(), taxonomy_id=""),
    "nasty": listing(seller=NASTY, colour=NASTY, path=(NASTY, "leaf")),
    "slash": listing(path=("garments/t-shirt",)),
}


@pytest.mark.parametrize(
    "wanted",
    [
        NONE,
        Filter(category_path=["garments"]),
        Filter(category_path=["garments", "t-shirt"]),
        Filter(category_path=["groceries", "Fruit", "Apple"]),
        Filter(category_path=[NASTY, "leaf"]),
        Filter(taxonomy_id="aa-1-13"),
        Filter(taxonomy_id="fb-2-10-7-3"),
        Filter(taxonomy_id="FB-2-10-7-32"),
        Filter(taxonomy_id="gid://shopify/TaxonomyCategory/fb"),
        Filter(taxonomy_id="aa", category_path=["garments/t-shirt"]),
        coloured("blue"),
        coloured(NASTY),
        price("EUR"),
        price("EUR", minimum=10, maximum=10),
        price("EUR", minimum=19.99, maximum=20.01),
        price("EUR", maximum=0),
        price("EUR", minimum=-5, maximum=0),
        price("EUR", minimum=1e8),
        price("EUR", minimum=1e300),
        price("USD", maximum=1e300),
        Filter(seller_ids=["bob", NASTY]),
        Filter(excluded_seller_ids=["bob", NASTY]),
        Filter(seller_ids=[f"s{i}" for i in range(199)] + ["bob"]),
        Filter(excluded_seller_ids=[f"s{i}" for i in range(199)] + ["bob"]),
        Filter(
            category_path=["garments"],
            attributes=coloured("blue").attributes,
            price=price("EUR", minimum=1).price,
            seller_ids=["ann", "bob"],
            excluded_seller_ids=["carl"],
        ),
        Filter(attributes=[api.AttributeFilter(name="colour", value="blue")] * MAX_ATTRIBUTES, seller_ids=["ann"]),
        price("EUR", minimum=9.995, maximum=9.999),
        price("EUR", minimum=10.000000001, maximum=10.000000002),
        price("EUR", minimum=1e-300, maximum=1e-9),
        price("EUR", minimum=-1e300, maximum=-1e-300),
        price("EUR", minimum=999999999999.99),
    ],
    ids=lambda wanted: expression(wanted)[:60] or "none",
)
@pytest.mark.parametrize("exhaustive", [False, True])
async def test_a_filter_lets_through_exactly_what_matches(index: VectorIndex, wanted: Filter, exhaustive: bool) -> None:
    await index.place([placed(name, seed, record) for seed, (name, record) in enumerate(SHOP.items())])
    found = await index.search("s@1", unit(1), 50, wanted, exhaustive=exhaustive)
    assert set(found) == {name for name, record in SHOP.items() if matches(record, wanted)}


@pytest.fixture
async def in_redis(redis_url: str, unique: Callable[[str], str]) -> AsyncIterator[RedisVectorIndex]:
    redis = connect(redis_url)
    yield RedisVectorIndex(redis, unique("index"))
    await redis.aclose()


async def test_random_filters_let_through_exactly_what_matches_and_never_less(in_redis: RedisVectorIndex) -> None:
    """Prices beyond 15 digits may be let through within a double's rounding, never refused."""
    random = Random(7)
    amounts = [*(str(Decimal(n).scaleb(-2)) for n in range(995, 1005)), "0", *(_amount(random, 15) for _ in range(30))]
    long = [_amount(random, 21) for _ in range(30)]
    texts = ["ann", "bob", NASTY, "a/b", "a=b", "颜色", "%20"]
    shop = {
        f"e{n}": listing(
            random.choice(texts),
            tuple(random.choices(texts, k=random.randrange(4))),
            random.choice([None, *amounts, *amounts, *long]),
            random.choice(["EUR", "USD"]),
            random.choice(texts),
        )
        for n in range(300)
    }
    exact = {name for name, record in shop.items() if len(record_digits(record)) <= 15}
    await in_redis.place([placed(name, seed, record) for seed, (name, record) in enumerate(shop.items())])
    matched = 0
    for _ in range(300):
        wanted = _filter(random, texts, [*amounts, *long])
        assert what_is_wrong_with(wanted) is None
        found = set(await in_redis.search("s@1", unit(1), 300, wanted, exhaustive=True))
        expected = {name for name, record in shop.items() if matches(record, wanted)}
        assert found >= expected and found & exact == expected & exact, expression(wanted)
        matched += len(expected)
    assert matched > 1_000


def _amount(random: Random, digits: int) -> str:
    decimals = random.randrange(max(0, digits - 12), 10)
    return f"{Decimal(random.randrange(10**digits)).scaleb(-decimals):f}"


def record_digits(record: Enriched) -> str:
    return f"{amount_of(record.claims.price):f}".rstrip("0").replace(".", "").lstrip("0")


def _filter(random: Random, texts: list[str], amounts: list[str]) -> Filter:
    wanted = Filter()
    if random.random() < 0.3:
        wanted.category_path.extend(random.choices(texts, k=random.randrange(3)))
    if random.random() < 0.3:
        wanted.attributes.add(name="colour", value=random.choice(texts))
    if random.random() < 0.7:
        wanted.price.currency_code = random.choice(["EUR", "USD"])
        near = [math.nextafter(float(random.choice(amounts)), random.choice([-1e30, 0, 1e30])) for _ in range(2)]
        low, high = sorted([*near, *(float(random.choice(amounts)) for _ in range(2))])[::3]
        if random.random() < 0.7:
            wanted.price.minimum = low
        if random.random() < 0.7:
            wanted.price.maximum = high
    sellers = random.sample(texts, 4)
    if random.random() < 0.3:
        wanted.seller_ids.extend(sellers[:2])
    if random.random() < 0.3:
        wanted.excluded_seller_ids.extend(sellers[2:])
    return wanted


async def test_prices_that_were_placed_as_plain_numbers_are_compared_exactly(in_redis: RedisVectorIndex) -> None:
    """As all of them once were, when filters left a margin around them: none has to be placed anew."""
    about = {"category": [], "attribute": [], "seller": "ann", "currency": "EUR", "price": 19.99}
    await in_redis.place([Placement("old", {"s@1": unit(1)}, about)])
    assert await in_redis.search("s@1", unit(1), 5, price("EUR", minimum=19.99, maximum=19.99)) == ["old"]
    for beside in ((19.985, 19.989), (19.991, 19.995)):
        assert await in_redis.search("s@1", unit(1), 5, price("EUR", minimum=beside[0], maximum=beside[1])) == []


async def test_a_price_range_that_matches_nothing_reads_no_record_of_a_real_index(in_redis: RedisVectorIndex) -> None:
    records = CountedRecords()
    for seed in range(200):
        name = f"e{seed}"
        await filled(records, in_redis, changed(name, 1, price=(9, 990_000_000)), *results(name, 1, seed=seed))
    records.read.clear()
    found = await Lookups(records, in_redis).similar("e0", 1, price("EUR", minimum=9.995, maximum=9.999))
    assert found == Found([]) and records.read == ["e0"]


class CountedRecords(MemoryRecords):
    def __init__(self) -> None:
        super().__init__()
        self.read: list[str] = []

    async def records(self, listing_ids: Sequence[str]) -> list[Enriched | None]:
        self.read += listing_ids
        return await super().records(listing_ids)


async def test_an_exhaustive_search_finds_the_rarest(index: VectorIndex) -> None:
    crowd = [placed(f"e{i}", i) for i in range(2000)]
    await index.place([*crowd, placed("rare", 9999, listing(seller="bob"))])
    query = -unit(9999)  # as far away as can be
    assert await index.search("s@1", query, 5, Filter(seller_ids=["bob"]), exhaustive=True) == ["rare"]


async def test_recall_at_10_is_at_least_098(redis_url: str, unique: Callable[[str], str]) -> None:
    redis, exact = connect(redis_url), ExactVectorIndex()
    index = RedisVectorIndex(redis, unique("recall"))
    rng = np.random.default_rng(1)
    centres = rng.normal(size=(20, 64))
    vectors = (centres[rng.integers(0, 20, 1500)] + 0.7 * rng.normal(size=(1500, 64))).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    placements = [Placement(str(i), {"s@1": v}, index_attributes(listing())) for i, v in enumerate(vectors)]
    for one in (index, exact):
        await one.place(placements)
    hits = [
        len(set(await index.search("s@1", q, 10, NONE)) & set(await exact.search("s@1", q, 10, NONE)))
        for q in vectors[:100]
    ]
    await redis.aclose()
    assert sum(hits) / 1000 >= 0.98, f"recall {sum(hits) / 1000}, worst query {min(hits)}/10"
