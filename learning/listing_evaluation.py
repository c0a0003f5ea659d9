"""What a listing's claims add to its photo: how often the category is right by the photo, by the claims, by both.

Judged on a shop's catalogue, with the names that the shop gives its products as titles. Several photos of one product
are as many listings. Where the pack learned from the catalogue, as builtin@8 did from four in five of its products,
what photos say is flattered.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from vitrine.events.v1 import image_pb2, listing_pb2

from learning.scenes import Shown
from shared.claims.weighing import category_of
from shared.product_taxonomy import is_at_or_below
from shared.vision.heads import Array
from shared.vision.pack import Pack
from shared.vision.reader import candidates_in, category_in

# What is right of each kind in the catalogue: these ids, and what is below them.
_RIGHT: Mapping[str, Sequence[str]] = {
    "Bags": ("lb", "aa-5-4"),
    "Bras & Tanks": ("aa-1-1-6", "aa-1-6-3", "aa-1-13-9", "aa-1-1-2-3", "aa-1-13-11"),
    "Fitness Equipment": ("sg-2",),
    "Hoodies & Sweatshirts": ("aa-1-13-13", "aa-1-13-14", "aa-1-1-7"),
    "Jackets": ("aa-1-10-2", "aa-1-1-8"),
    "Pants": ("aa-1-12", "aa-1-1-1"),
    "Shorts": ("aa-1-14", "aa-1-1-1-3"),
    "Tanks": ("aa-1-13-9", "aa-1-1-2-3"),
    "Tees": ("aa-1-13-8", "aa-1-1-2-2"),
    "Training Video (DVD case)": ("me-7-3",),
    "Watches": ("aa-6-11",),
}

RIGHT, ABOVE, BESIDE, UNKNOWN, WRONG = HOW_RIGHT = ("right", "above", "beside", "unknown", "wrong")
BY_PHOTO, BY_CLAIMS, JOINED = "photo", "claims", "joined"
SURE = 0.8  # confidence
SURELY_WRONG = f"beside or wrong, confidence ≥ {SURE}"


@dataclass(frozen=True, slots=True)
class Answer:
    """What is said of one listing, by one of photo, claims, and both."""

    kind: str
    by: str
    category: image_pb2.Category

    @property
    def outcome(self) -> str:
        return outcome(self.category.taxonomy_id, right_ids(self.kind))

    @property
    def is_surely_wrong(self) -> bool:
        return self.outcome in (BESIDE, WRONG) and self.category.confidence >= SURE


def right_ids(kind: str) -> Sequence[str]:
    """The ids at or below which an answer is right for a kind of the catalogue. Raises KeyError."""
    return _RIGHT[kind]


def outcome(answered: str, right: Sequence[str]) -> str:
    """Of an id: right at or below one of these, above one of them, or beside it in the same department (aa-1)."""
    if not answered:
        return UNKNOWN
    if any(is_at_or_below(answered, one) for one in right):
        return RIGHT
    if any(is_at_or_below(one, answered) for one in right):
        return ABOVE
    return BESIDE if any(one.split("-")[:2] == answered.split("-")[:2] for one in right) else WRONG


def listing_answers(pack: Pack, photos: Sequence[Shown], features: Array) -> Iterator[Answer]:
    """Three for each photo, of which there is a row of features each."""
    for photo, seen in zip(photos, classified(pack, features), strict=True):
        claims = listing_pb2.Claims(title=photo.name)
        yield Answer(photo.kind, BY_PHOTO, seen.category)
        yield Answer(photo.kind, BY_CLAIMS, category_of(image_pb2.ImageClassified(), claims))
        yield Answer(photo.kind, JOINED, category_of(seen, claims))


def classified(pack: Pack, features: Array) -> list[image_pb2.ImageClassified]:
    """What the classification says of each row."""
    return [
        image_pb2.ImageClassified(category=category_in(pack, judged), candidates=candidates_in(pack, leaves))
        for judged, leaves in pack.classify(features)
    ]


def outcome_shares(answers: Sequence[Answer], by: str) -> dict[str, float]:
    """Of the answers by one: of each outcome, and of those surely beside or wrong; 0 to 1."""
    own = [one for one in answers if one.by == by]
    counts = Counter(one.outcome for one in own)
    told = {name: counts[name] / len(own) for name in HOW_RIGHT}
    return told | {SURELY_WRONG: sum(one.is_surely_wrong for one in own) / len(own)}


def right_by_origin(answers: Sequence[Answer]) -> dict[str, tuple[int, int]]:
    """Of the joined ones, by what they come from: how many, and how many of them are right."""
    joined = [one for one in answers if one.by == JOINED]
    origins = Counter(one.category.origin for one in joined)
    right = Counter(one.category.origin for one in joined if one.outcome == RIGHT)
    name = image_pb2.Category.Origin.Name
    return {name(o).removeprefix("ORIGIN_").lower(): (count, right[o]) for o, count in origins.most_common()}
