"""Which listings match a filter, and in which order hits come."""

import math
import re
from decimal import Decimal

import pytest
from vitrine.recommendation.v1 import recommendation_pb2 as api

from services.recommendation.fields import Enriched, merged, read
from services.recommendation.rank import (
    MAX_ATTRIBUTES,
    MAX_DEPTH,
    MAX_SELLER_ID,
    MAX_SELLERS,
    MAX_TEXT,
    Candidate,
    Filter,
    best,
    cosine,
    expression,
    highest,
    lowest,
    matches,
    what_is_wrong_with,
)
from shared.grpc import MAX_QUESTION_BYTES
from tests.joining import BLOCK, changed, delivered, record_of, removed, results, unit


def listing(name: str = "x", **about: object) -> Enriched:
    result = {k: about.pop(k) for k in ("decision", "path", "colour") if k in about}
    messages = [changed(name, 1, **about), *results(name, 1, **result)]  # type: ignore[arg-type]
    return record_of(merged({}, [read(r.assignment.topic, r.key, r.value) for r in delivered(*messages)]))


def price(currency: str = "EUR", **bounds: float) -> Filter:
    return Filter(price=api.PriceRange(currency_code=currency, **bounds))


@pytest.mark.parametrize(
    ("wanted", "holds"),
    [
        (Filter(), True),
        (Filter(category_path=["garments"]), True),
        (Filter(category_path=["garments", "t-shirt"]), True),
        (Filter(category_path=["t-shirt"]), False),
        (Filter(taxonomy_id="aa-1-13-8"), True),
        (Filter(taxonomy_id="gid://shopify/TaxonomyCategory/AA-1"), True),
        (Filter(taxonomy_id="aa"), True),
        (Filter(taxonomy_id="aa-1-1"), False),
        (Filter(taxonomy_id="el"), False),
        (Filter(category_path=["garments", "t-shirt", "polo"]), False),
        (Filter(attributes=[api.AttributeFilter(name="colour", value="blue")]), True),
        (Filter(attributes=[api.AttributeFilter(name="colour", value="red")]), False),
        (price(minimum=19.99, maximum=19.99), True),
        (price(minimum=20), False),
        (price(maximum=19.98), False),
        (price("USD"), False),
        (Filter(seller_ids=["ann", "bob"]), True),
        (Filter(seller_ids=["bob"]), False),
        (Filter(excluded_seller_ids=["ann"]), False),
    ],
)
def test_all_that_a_filter_names_must_hold(wanted: Filter, holds: bool) -> None:
    assert matches(listing(), wanted) is holds


@pytest.mark.parametrize("anything", ["aa", ""])
def test_a_listing_without_an_id_is_found_by_no_id(anything: str) -> None:
    assert matches(listing(path=("toys",)), Filter(taxonomy_id=anything)) is (anything == "")


def test_a_listing_without_a_price_is_in_no_price_range() -> None:
    assert not matches(listing(price=None), price())


def test_blocked_removed_unscored_and_vectorless_listings_and_the_query_itself_are_no_hits() -> None:
    gone = record_of(merged({}, [read(r.assignment.topic, r.key, r.value) for r in delivered(removed("gone", 1))]))
    unscored = listing("unscored")
    unscored.ClearField("fraud")
    candidates = [
        Candidate(listing("fine"), unit(1)),
        Candidate(listing("blocked", decision=BLOCK), unit(1)),
        Candidate(gone, unit(1)),
        Candidate(unscored, unit(1)),
        Candidate(listing("vectorless"), None),
        Candidate(listing("other space"), unit(1, 8)),
        Candidate(listing("query"), unit(1)),
        Candidate(None, None),
    ]
    assert [hit.listing.listing_id for hit in best(candidates, unit(1), Filter(), without="query")] == ["fine"]


def test_hits_come_by_cosine_and_equals_by_id() -> None:
    candidates = [Candidate(listing(name), unit(seed)) for name, seed in (("c", 1), ("far", 2), ("b", 1))]
    hits = best(candidates, unit(1), Filter())
    assert [hit.listing.listing_id for hit in hits] == ["b", "c", "far"]
    assert hits[0].similarity == pytest.approx(1) and hits[0].similarity <= 1
    assert hits[2].similarity == cosine(unit(1), unit(2)) < 1


def test_opposite_vectors_have_similarity_minus_one() -> None:
    assert cosine(unit(1), -unit(1)) == pytest.approx(-1)


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        (price("eur"), "ISO 4217"),
        (price(minimum=2, maximum=1), "is above"),
        (price(minimum=float("nan")), "finite"),
        (Filter(attributes=[api.AttributeFilter(name="colour")]), "both a name and a value"),
        (Filter(seller_ids=["a"], excluded_seller_ids=["a"]), "both in"),
        (Filter(seller_ids=[str(i) for i in range(201)]), "at most 200"),
        (Filter(excluded_seller_ids=[str(i) for i in range(201)]), "at most 200"),
        (Filter(attributes=[api.AttributeFilter(name="colour", value=str(i)) for i in range(21)]), "at most 20 "),
        (Filter(category_path=["x"] * 17), "at most 16"),
        (Filter(taxonomy_id="t-shirt"), "filter.taxonomy_id 't-shirt' is no id of the product taxonomy"),
        (Filter(taxonomy_id="aa-1-13-99"), "has no such id; the nearest above it is aa-1-13 (Clothing Tops)"),
        (Filter(taxonomy_id="zz"), "'zz': the product taxonomy has no such id"),
        (Filter(taxonomy_id="aa" + "-1" * 100), "filter.taxonomy_id has 202 characters; at most 200"),
        (Filter(category_path=["garments", "x" * 201]), "filter.category_path has 201 characters; at most 200"),
        (Filter(attributes=[api.AttributeFilter(name="x" * 201, value="y")]), "name in filter.attributes has 201"),
        (Filter(attributes=[api.AttributeFilter(name="x", value="y" * 201)]), "value in filter.attributes has 201"),
        (Filter(seller_ids=["x" * 129]), "129 characters; at most 128"),
        (Filter(seller_ids=["x" * 129], excluded_seller_ids=["x" * 129]), "129 characters; at most 128"),
        (Filter(excluded_seller_ids=["x" * 129]), "129 characters; at most 128"),
    ],
)
def test_a_senseless_filter_is_refused_with_what_is_wrong(wanted: Filter, says: str) -> None:
    assert says in str(what_is_wrong_with(wanted))


def test_nothing_that_a_caller_writes_can_end_a_string_of_the_expression() -> None:
    nasty = '" or .seller == "bob\\'
    wanted = Filter(seller_ids=[nasty], category_path=[nasty], attributes=[api.AttributeFilter(name=nasty, value="1")])
    assert what_is_wrong_with(wanted) is None
    assert expression(wanted).count('"') == 6 and "\\" not in expression(wanted)


def test_the_longest_filter_that_is_allowed_has_a_bounded_expression() -> None:
    longest = Filter(
        category_path=["颜" * MAX_TEXT] * MAX_DEPTH,
        attributes=[api.AttributeFilter(name="颜" * MAX_TEXT, value="色" * MAX_TEXT)] * MAX_ATTRIBUTES,
        seller_ids=["颜" * MAX_SELLER_ID] * MAX_SELLERS,
    )
    assert what_is_wrong_with(longest) is None
    assert longest.ByteSize() < MAX_QUESTION_BYTES
    assert len(expression(longest)) < 350_000


@pytest.mark.parametrize("amount", ["0.01", "9.99", "19.99", "0.000000001", "1234567.89", "9999999999999.99"])
def test_a_price_of_up_to_15_digits_is_told_from_its_neighbours_by_the_index(amount: str) -> None:
    bound, price = float(amount), Decimal(amount)
    assert lowest(bound) == highest(bound) == price
    for neighbour in (math.nextafter(bound, math.inf), math.nextafter(bound, -math.inf)):
        assert (float(lowest(neighbour)) <= bound) == (neighbour < bound)
        assert (float(highest(neighbour)) >= bound) == (neighbour > bound)


@pytest.mark.parametrize("bound", [1e300, -1e300, 1e-300, 5e-324, 9.995, 1e19, -0.0])
def test_bounds_are_written_as_the_index_can_read_them(bound: float) -> None:
    for written in (f"{lowest(bound):f}", f"{highest(bound):f}"):
        assert re.fullmatch(r"-?\d{1,20}\.\d{9}", written)
