"""Which listings match a filter, and in which order hits come."""

import pytest
from vitrine.recommendation.v1 import recommendation_pb2 as api

from services.recommendation.fields import Enriched, merged, read
from services.recommendation.rank import Candidate, Filter, best, cosine, expression, matches, what_is_wrong_with
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
    ],
)
def test_a_senseless_filter_is_refused_with_what_is_wrong(wanted: Filter, says: str) -> None:
    assert says in str(what_is_wrong_with(wanted))


def test_nothing_that_a_caller_writes_can_end_a_string_of_the_expression() -> None:
    nasty = '" or .seller == "bob\\'
    wanted = Filter(seller_ids=[nasty], category_path=[nasty], attributes=[api.AttributeFilter(name=nasty, value="1")])
    assert what_is_wrong_with(wanted) is None
    assert expression(wanted).count('"') == 6 and "\\" not in expression(wanted)
