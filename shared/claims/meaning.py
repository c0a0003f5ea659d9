"""What a listing's claims may mean: categories with the probability of each; what is missing to 1 is not understood.

A phrase is read in every language at once. Each name of a category is a hypothesis of how the phrase came about: its
words are typed or left out, others put beside them, at the place where that language puts the thing or elsewhere. That
the phrase means something that no name says is a hypothesis too. Their likelihoods, scaled to a sum of 1, are the
probabilities.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from math import exp, inf, log

import numpy as np
from vitrine.events.v1 import listing_pb2

from shared.claims.brands import made_by
from shared.claims.names import DEEPER, NamesIndex, names_index
from shared.claims.reading import (
    BESIDE,
    DESCRIBING,
    ENDING,
    KNOWN,
    RARE,
    RELATED,
    THING,
    UNKNOWN,
    Reading,
    log_foreign,
    naming_words,
    only_describes,
    readings_of,
)
from shared.claims.text import parts_of, pieces_of, tidied, words_of
from shared.product_taxonomy import product_taxonomy

# Likelihoods of what sellers do to a name, beside leaving it as it is.
LEFT_OUT = log(0.05)  # one of its words
ELSEWHERE = log(0.15)  # the thing isn't named where the language has it
DESCRIBED_BY = log(0.02)  # nor at all: its other words only describe
BRAND_ALONE = log(0.3)  # what a maker makes is meant where other words say what it is
# Of a word of each sort: that it is put beside a name, and that it stands there although no name is meant.
BESIDE_A_NAME = {
    DESCRIBING: log(0.8),
    RELATED: log(0.3),
    UNKNOWN: log(0.05),
    ENDING: log(1.0),
    KNOWN: log(0.03),
    THING: log(0.01),
    RARE: log(0.01),
    BESIDE: log(0.01),
}
WITHOUT_A_NAME = {
    DESCRIBING: log(1.0),
    RELATED: log(0.5),
    UNKNOWN: log(0.15),
    ENDING: log(0.3),
    KNOWN: log(0.03),
    THING: log(0.02),
    RARE: log(0.02),
    BESIDE: log(0.15),
}

# Probabilities.
NAMED = 0.97  # that who writes a category's whole name, of several words, means it
TITLED = 0.8  # that a title is about what it seems to be about; sellers write there what comes to their minds
BELOW_KNOWN = 0.6  # that "Shoes > Zyntrix" is a shoe
AGREES = 0.3  # of what is meant, with what is said besides; below, either is meant
FIRST_SAID = 0.6  # then that it is what was said first
LEAST = 0.002  # of a category that is worth keeping

MOST_WORDS = 24  # of a piece: who writes more says it in the first
MOST_PARTS = 12
REMEMBERED = 4096


@dataclass(frozen=True)
class Meaning:
    """What claims may mean. `categories`: ids with probabilities, the likeliest first, that sum to 1 at most.

    `things`: numbers in names_index() of the words that name a thing in some language, whether it is the one that is
    sold or not ("phone" of a phone case). `made`: ids of what the makers make that are named.
    """

    categories: Mapping[str, float] = field(default_factory=dict)
    things: frozenset[int] = frozenset()
    made: frozenset[str] = frozenset()

    @property
    def unknown(self) -> float:
        """The probability that something else is meant."""
        return max(0.0, 1.0 - sum(self.categories.values()))

    @property
    def likeliest(self) -> str | None:
        """The id of what is meant rather than anything else."""
        return next(iter(self.categories), None)


def claims_meaning(claims: listing_pb2.Claims) -> Meaning:
    """What a seller's claims may mean together: the category counts more than the title, each sharpens the other."""
    named, titled = category_meaning(claims.category, claims.brand), title_meaning(claims.title, claims.brand)
    if named.categories and titled.categories:
        return _meaning(_narrowed(named.categories, titled.categories), (named, titled))
    return _meaning(named.categories or titled.categories, (named, titled))


def category_meaning(category: str, brand: str = "") -> Meaning:
    """What a category field says: an id, a gid://…, words, or a path of words with any of the usual signs between."""
    if (stated := product_taxonomy().parse(category)) is not None:
        return Meaning({stated: 1.0})
    path = tidied(category)
    if names_index().named(words_of(path)):
        return _phrase_meaning(path, tidied(brand))  # signs are part of the name
    parts = [part for part in parts_of(path)[-MOST_PARTS:] if not only_describes(words_of(part))]
    said = [_phrase_meaning(part, tidied(brand)) for part in parts]
    meant: Mapping[str, float] = {}
    for above, here in enumerate(reversed(said)):
        if meant and here.categories:
            meant = _narrowed(meant, here.categories)
        elif here.categories:
            meant = _scaled(here.categories, BELOW_KNOWN if above else 1.0)
    return _meaning(meant, said)


def title_meaning(title: str, brand: str = "") -> Meaning:
    """What a title says. It is words of all kinds, so it is never believed wholly."""
    said = _phrase_meaning(tidied(title), tidied(brand))
    return _meaning(_scaled(said.categories, TITLED), (said,))


@lru_cache(REMEMBERED)
def _phrase_meaning(text: str, brand: str) -> Meaning:
    """Of a tidied text: each of its pieces counts as much as it is understood."""
    own_brand = frozenset(words_of(brand))
    pieces = [words for piece in pieces_of(text) if (words := words_of(piece)[:MOST_WORDS])]
    readings = [readings_of(words, own_brand) for words in pieces]
    foreign = log_foreign(readings)
    said = [_piece_meaning(words, some, foreign) for words, some in zip(pieces, readings, strict=True)]
    if whole := _whole_names([word for words in pieces for word in words], own_brand):
        return _meaning(whole, said)
    surest = sum(1 - one.unknown for one in said)
    shares: dict[str, float] = {}
    for one in said:
        for category, probability in one.categories.items():
            shares[category] = shares.get(category, 0.0) + probability * (1 - one.unknown) / surest
    return _meaning(shares, said)


def _whole_names(words: Sequence[str], brand: frozenset[str]) -> Mapping[str, float]:
    """The categories whose whole name stands there beside what only describes, the general ones more likely.

    Only of several words: a single one is a name in one language and something else in others.
    """
    index = names_index()
    naming = (some for some in naming_words(words, brand) if len(some) > 1)
    found = {index.ids[node] for some in naming for node in index.named(some)}
    weights = {category: DEEPER ** category.count("-") for category in found}
    return _scaled(weights, NAMED / sum(weights.values())) if weights else {}


def _piece_meaning(words: Sequence[str], readings: Sequence[Reading], foreign: Sequence[float]) -> Meaning:
    index = names_index()
    found: dict[int, float] = {}
    best, is_thin = -inf, False
    for reading, log_language in zip(readings, foreign, strict=True):
        if any(one.number is not None for one in reading.words):
            here = _add_hypotheses(found, reading, log_language, index)
            if here > best:
                best, is_thin = here, reading.is_thin
    otherwise = max(
        sum(WITHOUT_A_NAME[one.sort] for one in reading.words) + log_language
        for reading, log_language in zip(readings, foreign, strict=True)
    )
    if is_thin:
        otherwise = max(otherwise, best)
    made = made_by(words)
    likelihoods = {index.ids[node]: exp(score) for node, score in found.items()}
    for category in made:
        likelihoods[category] = max(likelihoods.get(category, 0.0), exp(otherwise + (BRAND_ALONE if found else 0.0)))
    things = (one.number for reading in readings for one in reading.words if one.number is not None)
    named = frozenset(number for number in things if index.heads[number])
    if not likelihoods:
        return Meaning({}, named, made)
    # That many categories have the word makes none of them surer.
    surest = max(likelihoods.values())
    known = surest / (surest + exp(otherwise))
    return Meaning(_ordered(_scaled(likelihoods, known / sum(likelihoods.values()))), named, made)


def _add_hypotheses(found: dict[int, float], reading: Reading, log_language: float, index: NamesIndex) -> float:
    """Adds log likelihoods of the categories whose names have any of the words, where better than what was found.

    Returns the best.
    """
    posted, gains, heads, synonyms = [], [], [], []
    for one in reading.words:
        if one.number is not None:
            names, as_head = index.postings(one.number)
            posted.append(names)
            gains.append(np.full(len(names), -BESIDE_A_NAME[one.sort] - LEFT_OUT))
            heads.append(np.where(as_head, 0.0 if one.names_thing else ELSEWHERE, DESCRIBED_BY))
            synonyms.append(np.unique(index.node[names[as_head & (index.length[names] == 1)]]))
    names, places = np.unique(np.concatenate(posted), return_inverse=True)
    head = np.full(len(names), DESCRIBED_BY)
    np.maximum.at(head, places, np.concatenate(heads))
    score = np.bincount(places, np.concatenate(gains), len(names)) + head
    score += LEFT_OUT * index.length[names] + index.doubt[names]
    score += sum(BESIDE_A_NAME[one.sort] for one in reading.words) + log_language
    if len(synonyms) > 1:
        # "Handy Smartphone": another name of the same beside a name of it costs nothing.
        again = np.bincount(np.concatenate(synonyms), minlength=len(index.ids)) - 1
        alone = index.length[names] == 1
        score[alone] += np.maximum(again[index.node[names[alone]]], 0) * -BESIDE_A_NAME[BESIDE]
    kept = score > score.max() + log(LEAST)
    for node, one in zip(index.node[names[kept]].tolist(), score[kept].tolist(), strict=True):
        found[node] = max(one, found.get(node, -inf))
    return float(score.max())


def _narrowed(meant: Mapping[str, float], said: Mapping[str, float]) -> Mapping[str, float]:
    """What is meant where something else is said as well: what goes with it, and the deeper of both; or else either."""
    agreed: dict[str, float] = {}
    for category, probability in meant.items():
        for other, other_probability in said.items():
            deeper = other if other.startswith(f"{category}-") else category
            agreed[deeper] = agreed.get(deeper, 0.0) + probability * other_probability * _fit(category, other)
    agreement = sum(agreed.values())
    known, other_known = sum(meant.values()), sum(said.values())
    if agreement >= AGREES * known * other_known:
        return _scaled(agreed, (1 - (1 - known) * (1 - other_known / 2)) / agreement)  # two that agree are surer
    either = dict(_scaled(meant, FIRST_SAID))
    for category, probability in said.items():
        either[category] = either.get(category, 0.0) + probability * (1 - FIRST_SAID)
    return either


def _fit(category: str, other: str) -> float:
    """How well the one goes with the other, 0 to 1."""
    if category == other or category.startswith(f"{other}-"):
        return 1.0
    if other.startswith(f"{category}-"):
        return 0.9
    ours, theirs = category.split("-"), other.split("-")
    if ours[0] != theirs[0]:
        return 0.02
    return 0.6 if ours[:2] == theirs[:2] else 0.3


def _meaning(categories: Mapping[str, float], said: Iterable[Meaning]) -> Meaning:
    """Of these categories, with all that is named in what is said."""
    named = list(said)
    things, made = ((one.things for one in named), (one.made for one in named))
    return Meaning(_ordered(categories), frozenset().union(*things), frozenset().union(*made))


def _scaled(categories: Mapping[str, float], by: float) -> Mapping[str, float]:
    return {category: probability * by for category, probability in categories.items()}


def _ordered(categories: Mapping[str, float]) -> Mapping[str, float]:
    kept = {category: probability for category, probability in categories.items() if probability >= LEAST}
    return dict(sorted(kept.items(), key=lambda item: (-item[1], item[0])))
