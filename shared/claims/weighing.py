"""What a listing sells: what its first photo shows, weighed against what its claims mean. Pure.

A photo of a shirt and trousers can't say which of them is for sale; a title can, and is as often in words that nobody
understands. So each is evidence, by Bayes' rule. The photo has a probability for each leaf that it may show, and the
rest for what it doesn't know; claims have one for each category that they may mean, and the rest for not being
understood. A claim fits a leaf when one is at or below the other.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from vitrine.events.v1 import image_pb2, listing_pb2

from shared.claims.meaning import Meaning, claims_meaning
from shared.product_taxonomy import ids_down_to, is_at_or_below, product_taxonomy

# How much more often a category is claimed of what it fits than of anything that is sold.
LIFT = 20.0
# The share of claims that are neither mistaken nor lies, however clearly they speak.
BELIEVED = 0.9
# The probability from which on something is said of a listing, and of a meaning that is weighed.
SAID_FROM, MEANT_FROM = 0.5, 0.01
REMEMBERED = 4096

Path = tuple[str, ...]
Category = image_pb2.Category
PHOTO, CLAIMS, BOTH = Category.ORIGIN_PHOTO, Category.ORIGIN_CLAIMS, Category.ORIGIN_BOTH


@dataclass(frozen=True, slots=True)
class Claimed:
    """What claims may mean: `ids` that go by one name, the likeliest first; which of them, a photo may say."""

    ids: tuple[str, ...]
    probability: float


@dataclass(frozen=True, slots=True)
class _Hypothesis:
    """What may be sold: as the deepest id that is known of it and the pack's path, either of them empty for none."""

    taxonomy_id: str
    path: Path
    weight: float
    origin: "Category.Origin.ValueType"


def warm_up() -> None:
    """The first claim takes seconds, those after it less than a millisecond."""
    category_of(image_pb2.ImageClassified(), listing_pb2.Claims(category="shirt"))


def category_of(seen: image_pb2.ImageClassified, claims: listing_pb2.Claims) -> Category:
    """The category of a listing whose first photo was seen as this."""
    return weighed(seen, _claimed_by(claims.title, claims.category, claims.brand))


@lru_cache(REMEMBERED)
def _claimed_by(title: str, category: str, brand: str) -> Sequence[Claimed]:
    return claimed(claims_meaning(listing_pb2.Claims(title=title, category=category, brand=brand)))


def claimed(meaning: Meaning) -> Sequence[Claimed]:
    """What is weighed of a meaning. The categories of one name are one: shirts, babies' shirts and maternity shirts."""
    taxonomy = product_taxonomy()
    by_name: dict[str, list[str]] = {}
    for category in meaning.categories:  # the likeliest first
        by_name.setdefault(taxonomy[category].name(), []).append(category)
    things = (Claimed(tuple(ids), BELIEVED * sum(meaning.categories[i] for i in ids)) for ids in by_name.values())
    return tuple(one for one in things if one.probability >= MEANT_FROM)


def weighed(seen: image_pb2.ImageClassified, meant: Sequence[Claimed]) -> Category:
    """What is likeliest to be sold, as deep as it is likely enough, with its probability and from what it comes.

    Where claims add nothing to what the photo was seen as, that stays, and they make it more or less sure; unless they
    speak so much against it that something above it is all that can be said.
    """
    if not meant:
        return _as_seen(seen.category, seen.category.confidence, PHOTO)
    hypotheses = _scaled(_hypotheses(_candidates(seen), meant))
    sold = _deepest(hypotheses)
    if is_at_or_below(seen.category.taxonomy_id, sold):
        path = tuple(seen.category.path)
        own = [one for one in hypotheses if path and one.path[: len(path)] == path]
        confidence = _sum(own) if own else seen.category.confidence
        if not sold or confidence >= min(SAID_FROM, seen.category.confidence):
            return _as_seen(seen.category, confidence, _origin(own))
    path = _deepest_path(hypotheses)
    told = [one for one in hypotheses if is_at_or_below(one.taxonomy_id, sold)]
    return Category(
        label=_label(path, seen),
        path=path,
        confidence=min(1.0, _sum(told)),
        taxonomy_id=sold,
        origin=_origin(told),
    )


def _candidates(seen: image_pb2.ImageClassified) -> Sequence[image_pb2.Candidate]:
    """What the photo may show; of results of old, which had none, what it was seen as."""
    if seen.candidates or not seen.category.path:
        return seen.candidates
    one = seen.category
    return (image_pb2.Candidate(path=one.path, taxonomy_id=one.taxonomy_id, probability=one.confidence),)


def _label(path: Path, seen: image_pb2.ImageClassified) -> str:
    """The path's last name where that is a leaf."""
    if path == tuple(seen.category.path):
        return seen.category.label
    return path[-1] if any(path == tuple(one.path) for one in seen.candidates) else ""


def _hypotheses(candidates: Sequence[image_pb2.Candidate], meant: Sequence[Claimed]) -> Iterator[_Hypothesis]:
    """Everything that may be sold, with weights that needn't sum to 1."""
    not_understood = max(0.0, 1.0 - sum(one.probability for one in meant))
    unseen = max(0.0, 1.0 - sum(one.probability for one in candidates))
    for one in candidates:
        path = tuple(one.path)
        # Nothing can be claimed of what has no id, nor be held against it.
        alone = not_understood if one.taxonomy_id else 1.0
        yield _Hypothesis(one.taxonomy_id, path, one.probability * alone, PHOTO)
        for thing in meant:
            if one.taxonomy_id and (fitting := _fitting(thing, one.taxonomy_id)):
                yield _Hypothesis(fitting, path, one.probability * thing.probability * LIFT, BOTH)
    for thing in meant:
        likeliest = thing.ids[0]
        path = _common([tuple(one.path) for one in candidates if one.taxonomy_id == likeliest])
        yield _Hypothesis(likeliest, path, unseen * thing.probability, CLAIMS)
    yield _Hypothesis("", (), unseen * not_understood, PHOTO)


def _fitting(thing: Claimed, seen: str) -> str:
    """The deeper id of what is seen and what is claimed; "" where they don't fit."""
    for category in thing.ids:
        if is_at_or_below(category, seen):
            return category
        if is_at_or_below(seen, category):
            return seen
    return ""


def _deepest(hypotheses: Iterable[_Hypothesis]) -> str:
    """The deepest id that is likely enough to be said; "" for none."""
    shares = Counter[str]()
    for one in hypotheses:
        for above in ids_down_to(one.taxonomy_id):
            shares[above] += one.weight  # type: ignore[assignment]
    return max((i for i, share in shares.items() if share >= SAID_FROM), key=lambda i: (i.count("-"), i), default="")


def _deepest_path(hypotheses: Iterable[_Hypothesis]) -> Path:
    """The same of the pack's paths."""
    shares: dict[Path, float] = {(): 1.0}
    for one in hypotheses:
        for depth in range(1, len(one.path) + 1):
            shares[one.path[:depth]] = shares.get(one.path[:depth], 0.0) + one.weight
    return max((path for path, share in shares.items() if share >= SAID_FROM), key=lambda path: (len(path), path))


def _common(paths: Sequence[Path]) -> Path:
    """What all of them begin with; () of none."""
    if not paths:
        return ()
    first, last = min(paths), max(paths)
    same = next((i for i, (one, other) in enumerate(zip(first, last, strict=False)) if one != other), len(first))
    return first[:same]


def _scaled(hypotheses: Iterable[_Hypothesis]) -> Sequence[_Hypothesis]:
    ways = list(hypotheses)
    total = _sum(ways)
    return [_Hypothesis(one.taxonomy_id, one.path, one.weight / total, one.origin) for one in ways]


def _origin(hypotheses: Iterable[_Hypothesis]) -> "Category.Origin.ValueType":
    """From what most of their probability comes."""
    shares = {PHOTO: 0.0, BOTH: 0.0, CLAIMS: 0.0}
    for one in hypotheses:
        shares[one.origin] += one.weight
    return max(shares, key=lambda origin: shares[origin])


def _as_seen(category: Category, confidence: float, origin: "Category.Origin.ValueType") -> Category:
    same = Category()
    same.CopyFrom(category)
    same.confidence, same.origin = min(1.0, confidence), origin
    return same


def _sum(hypotheses: Iterable[_Hypothesis]) -> float:
    return sum(one.weight for one in hypotheses)
