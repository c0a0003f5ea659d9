"""Which listings may be among the hits, and in which order. Pure: the index and the store are asked elsewhere."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from itertools import chain
from urllib.parse import quote

from vitrine.events.v1 import listing_pb2
from vitrine.recommendation.v1 import recommendation_pb2

from services.recommendation.fields import Enriched, Vector, shown
from shared.money import amount_of
from shared.product_taxonomy import ids_down_to, is_at_or_below, product_taxonomy, spelled_id

Filter = recommendation_pb2.Filter
# What one filter may name. An element is compared with each attribute, and of 50,000 elements 20 take a fifth of a
# second of Redis' time.
MAX_SELLERS = 200
MAX_ATTRIBUTES = 20
MAX_DEPTH = 16  # names of a category's path
# Characters, as in what a seller may claim.
MAX_TEXT = 200
MAX_SELLER_ID = 128


@dataclass(frozen=True, slots=True)
class Candidate:
    """A listing that the index proposes, with what is stored about it now."""

    record: Enriched | None
    vector: Vector | None


def best(
    candidates: Sequence[Candidate], query: Vector, wanted: Filter, *, without: str = ""
) -> list[recommendation_pb2.Hit]:
    """Those that may be shown and match, the most similar first; of equally similar ones the smaller id first.

    Similarity is the cosine of the stored vectors, -1 to 1: what the index says is approximate.
    """
    hits = [
        recommendation_pb2.Hit(listing=c.record, similarity=cosine(query, c.vector))
        for c in candidates
        if c.record is not None and c.vector is not None and c.vector.shape == query.shape
        if c.record.listing_id != without and shown(c.record) and matches(c.record, wanted)
    ]
    return nearest(hits)


def nearest(*hits: Iterable[recommendation_pb2.Hit]) -> list[recommendation_pb2.Hit]:
    """All of them in the order of `best`."""
    return sorted(chain.from_iterable(hits), key=lambda hit: (-hit.similarity, hit.listing.listing_id))


def cosine(a: Vector, b: Vector) -> float:
    """The cosine of unit vectors; rounding never takes it out of -1 to 1."""
    return max(-1.0, min(1.0, float(a @ b)))


def matches(record: Enriched, wanted: Filter) -> bool:
    """All that the filter names must hold."""
    path = list(wanted.category_path)
    attributes = {(a.name, a.value) for a in record.attributes}
    return (
        list(record.category.path[: len(path)]) == path
        and is_at_or_below(record.category.taxonomy_id, _taxonomy_id(wanted))
        and all((a.name, a.value) in attributes for a in wanted.attributes)
        and (not wanted.HasField("price") or _priced(record.claims, wanted.price))
        and (not wanted.seller_ids or record.seller_id in wanted.seller_ids)
        and record.seller_id not in wanted.excluded_seller_ids
    )


def _taxonomy_id(wanted: Filter) -> str:
    return spelled_id(wanted.taxonomy_id) or ""


def _priced(claims: listing_pb2.Claims, wanted: recommendation_pb2.PriceRange) -> bool:
    if not claims.HasField("price") or claims.price.currency_code != wanted.currency_code:
        return False
    price = amount_of(claims.price)
    # By way of their shortest decimal: 19.99 as a double is not 19.99, and bounds are inclusive.
    return not (
        (wanted.HasField("minimum") and price < Decimal(repr(wanted.minimum)))
        or (wanted.HasField("maximum") and price > Decimal(repr(wanted.maximum)))
    )


def what_is_wrong_with(wanted: Filter) -> str | None:
    """What is wrong with a filter, for the caller; None when nothing is."""
    return next(_faults(wanted), None)


def _faults(wanted: Filter) -> Iterator[str]:
    yield from _too_much(wanted)
    if wanted.taxonomy_id:
        yield from _no_such_category(wanted.taxonomy_id)
    if wanted.HasField("price"):
        price = wanted.price
        if not (len(price.currency_code) == 3 and price.currency_code.isascii() and price.currency_code.isupper()):
            yield "filter.price.currency_code must be an ISO 4217 code such as EUR"
        bounds = [getattr(price, name) for name in ("minimum", "maximum") if price.HasField(name)]
        if any(bound != bound or bound in (float("inf"), float("-inf")) for bound in bounds):
            yield "filter.price bounds must be finite; leave a bound unset for none"
        if len(bounds) == 2 and bounds[0] > bounds[1]:
            yield f"filter.price.minimum {bounds[0]} is above filter.price.maximum {bounds[1]}"
    if any(not a.name or not a.value for a in wanted.attributes):
        yield "filter.attributes need both a name and a value"
    if both := set(wanted.seller_ids) & set(wanted.excluded_seller_ids):
        yield f"seller {min(both)!r} is both in filter.seller_ids and in filter.excluded_seller_ids"


def _no_such_category(asked: str) -> Iterator[str]:
    taxonomy = product_taxonomy()
    if (spelled := spelled_id(asked)) is None:
        yield f"filter.taxonomy_id {asked!r} is no id of the product taxonomy, such as aa-1-13-8"
    elif spelled not in taxonomy:
        nearest = taxonomy.nearest(spelled)
        above = f"; the nearest above it is {nearest.id} ({nearest.name()})" if nearest else ""
        yield f"filter.taxonomy_id {spelled!r}: the product taxonomy has no such id{above}"


def _too_much(wanted: Filter) -> Iterator[str]:
    """Comes first, and repeats nothing that was sent: what is too long for a filter is too long for an answer."""
    sellers = [*wanted.seller_ids, *wanted.excluded_seller_ids]
    for what, named, most in (
        ("names in filter.category_path", len(wanted.category_path), MAX_DEPTH),
        ("filter.attributes", len(wanted.attributes), MAX_ATTRIBUTES),
        ("filter.seller_ids and filter.excluded_seller_ids", len(sellers), MAX_SELLERS),
    ):
        if named > most:
            yield f"{named:,} {what}; at most {most} are allowed"
    for where, texts, longest in (
        ("filter.taxonomy_id", [wanted.taxonomy_id], MAX_TEXT),
        ("a name in filter.category_path", wanted.category_path, MAX_TEXT),
        ("a name in filter.attributes", [a.name for a in wanted.attributes], MAX_TEXT),
        ("a value in filter.attributes", [a.value for a in wanted.attributes], MAX_TEXT),
        ("an id in filter.seller_ids or filter.excluded_seller_ids", sellers, MAX_SELLER_ID),
    ):
        if (length := max(map(len, texts), default=0)) > longest:
            yield f"{where} has {length:,} characters; at most {longest} are allowed"


# --- the same filter as the index can apply it ------------------------------------------------------------------------
# Elements carry attributes as JSON, and expressions compare them. Texts are percent-encoded on both sides, so nothing
# that a seller or a caller writes can end a string in the expression. A filter on a field that an element lacks never
# holds, not even negated: each element carries them all.
#
# Prices are compared as doubles. A price of up to 15 digits has a double of its own, so the comparison is exact; of
# longer ones those within a double's rounding of a bound are let through, and compared exactly against the record.

_NANO = Decimal("1e-9")
_WIDE = Context(prec=40)  # of _BEYOND_MONEY with nine decimals; the default has 28 digits
_BEYOND_MONEY = 1e19


def index_attributes(record: Enriched) -> dict[str, object]:
    """What the index may filter by."""
    path = record.category.path
    priced = record.claims.HasField("price")
    return {
        "category": [index_text("/", path[: depth + 1]) for depth in range(len(path))],
        "taxonomy": ids_down_to(record.category.taxonomy_id),
        "attribute": [index_text("=", (a.name, a.value)) for a in record.attributes],
        "seller": index_text("", [record.seller_id]),
        "currency": index_text("", [record.claims.price.currency_code]) if priced else "",
        "price": float(amount_of(record.claims.price)) if priced else 0,
    }


def expression(wanted: Filter) -> str:
    """The filter in the language of VSIM's FILTER; empty for none. Lets through at least what `matches` does."""
    terms = []
    if wanted.category_path:
        terms.append(f'"{index_text("/", wanted.category_path)}" in .category')
    if taxonomy_id := _taxonomy_id(wanted):
        terms.append(f'"{taxonomy_id}" in .taxonomy')
    terms += [f'"{index_text("=", (a.name, a.value))}" in .attribute' for a in wanted.attributes]
    if wanted.HasField("price"):
        terms.append(f'.currency == "{index_text("", [wanted.price.currency_code])}"')
        if wanted.price.HasField("minimum"):
            terms.append(f".price >= {lowest(wanted.price.minimum):f}")
        if wanted.price.HasField("maximum"):
            terms.append(f".price <= {highest(wanted.price.maximum):f}")
    if wanted.seller_ids:
        terms.append(f".seller in {_texts(wanted.seller_ids)}")
    if wanted.excluded_seller_ids:
        terms.append(f"not (.seller in {_texts(wanted.excluded_seller_ids)})")
    return " and ".join(terms)


def index_text(separator: str, texts: Iterable[str]) -> str:
    """ASCII that neither quotes nor separators can break out of."""
    return separator.join(quote(text, safe="") for text in texts)


def lowest(minimum: float) -> Decimal:
    """The lowest price that isn't below `minimum`."""
    return _bound(minimum, ROUND_CEILING)


def highest(maximum: float) -> Decimal:
    """The highest price that isn't above `maximum`."""
    return _bound(maximum, ROUND_FLOOR)


def _bound(price: float, rounding: str) -> Decimal:
    # The expression's parser knows no negative exponents, nor numbers of hundreds of digits: 1e-300 and 1e300 are both.
    within = max(-_BEYOND_MONEY, min(_BEYOND_MONEY, price))
    return Decimal(repr(within)).quantize(_NANO, rounding, _WIDE)


def _texts(values: Iterable[str]) -> str:
    return "[" + ",".join(f'"{index_text("", [value])}"' for value in values) + "]"
