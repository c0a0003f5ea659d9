"""What a listing's claims may mean: categories with the probability of each; what is missing to 1 is not understood.

A phrase is read in every language at once. Each name of a category is a hypothesis of how the phrase came about: its
words are typed or left out, others put beside them, at the place where that language puts the thing or elsewhere. That
the phrase means something that no name says is a hypothesis too. Their likelihoods, scaled to a sum of 1, are the
probabilities.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from math import exp, log

import numpy as np

from shared.claims.brands import all_brands, brands_of
from shared.claims.grammar import Grammar, grammars

from shared.claims.names import DEEPER, NamesIndex, names_index
from shared.claims.text import WIDE, parts_of, pieces_of, tidied, words_of
from shared.product_taxonomy import product_taxonomy

# Likelihoods of what sellers do to a name, beside leaving it as it is.
LEFT_OUT = 0.05  # one of its words
ELSEWHERE = 0.15  # the thing isn't named where the language has it
DESCRIBED_BY = 0.02  # nor at all: its other words only describe
FOREIGN = 0.15  # a word is known, but in other languages
# A word is put beside it, and a word is there although something else is meant: if it …
ADDED, ELSE = 0, 1
LIKELIHOODS = {
    "describing": (0.8, 1.0),
    "related": (0.3, 0.5),  # stands behind "for" or "with"
    "unknown": (0.05, 0.08),
    "ending": (1.0, 0.3),  # ends a word that begins with an unknown one
    "known": (0.03, 0.03),  # is in names
    "thing": (0.01, 0.02),  # is a thing itself
}

TITLE_WEIGHT = 0.8  # of what a title seems to say, beside nothing; sellers write there what comes to their minds
AGREES = 0.3  # of what is meant, with what is said besides; below, either is meant
FIRST_SAID = 0.6  # then the probability of what was said first
BELOW_KNOWN = 0.6  # that "Shoes > Zyntrix" is a shoe
LEAST = 0.002  # probability of a category that is worth keeping
NAMED = 0.97  # that who writes a category's whole name means it
MOST_WORDS = 24  # of a piece: who writes more says it in the first
MOST_PARTS = 12
REMEMBERED = 4096


@dataclass(frozen=True)
class Meaning:
    """What claims may mean. `categories`: ids with probabilities, the likeliest first, that sum to 1 at most.

    `things`: numbers in names_index() of the words that name a thing in some language, whether it is the one that is
    sold or not ("phone" of a phone case). `makes`: categories of what makers make that are named.
    """

    categories: Mapping[str, float] = field(default_factory=dict)
    things: frozenset[int] = frozenset()
    makes: frozenset[str] = frozenset()

    @property
    def unknown(self) -> float:
        """The probability that something else is meant."""
        return max(0.0, 1.0 - sum(self.categories.values()))

    @property
    def likeliest(self) -> str | None:
        return next(iter(self.categories), None)


def claims_meaning(category: str = "", title: str = "", brand: str = "") -> Meaning:
    """What a seller's claims may mean together: the category counts more than the title, and each sharpens the other."""
    named = category_meaning(category, brand)
    titled = title_meaning(title, brand)
    things, makes = named.things | titled.things, named.makes | titled.makes
    if not named.categories or not titled.categories:
        either = named if named.categories else titled
        return Meaning(either.categories, things, makes)
    return Meaning(_ordered(_narrowed(named.categories, titled.categories)), things, makes)


def category_meaning(category: str, brand: str = "") -> Meaning:
    """What a category field says: an id, a gid://…, words, or a path of words with any of the usual signs between."""
    if (stated := product_taxonomy().parse(category)) is not None:
        return Meaning({stated: 1.0})
    path = tidied(category)
    parts = [path] if names_index().named(words_of(path)) else parts_of(path)[-MOST_PARTS:]
    meant: dict[str, float] = {}
    things: frozenset[int] = frozenset()
    makes: frozenset[str] = frozenset()
    for part in reversed(parts):
        here = _phrase_meaning(part, tidied(brand))
        things |= here.things
        makes |= here.makes
        if not meant:
            known = BELOW_KNOWN if part is not parts[-1] else 1.0
            meant = {category: share * known for category, share in here.categories.items()}
        elif here.categories:
            meant = _narrowed(meant, here.categories)
    return Meaning(_ordered(meant), things, makes)


def title_meaning(title: str, brand: str = "") -> Meaning:
    """What a title says. It is words of all kinds, so it is never believed wholly."""
    here = _phrase_meaning(tidied(title), tidied(brand))
    return Meaning({category: share * TITLE_WEIGHT for category, share in here.categories.items()}, here.things, here.makes)


@lru_cache(REMEMBERED)
def _phrase_meaning(text: str, brand: str) -> Meaning:
    own_brand = frozenset(words_of(brand))
    pieces = [words for piece in pieces_of(text) if (words := words_of(piece)[:MOST_WORDS])]
    readings = [_readings(words, own_brand) for words in pieces]
    foreign = _foreign(readings)
    meanings = [_piece_meaning(words, some, foreign) for words, some in zip(pieces, readings, strict=True)]
    is_plain = all(one.sort == "describing" for some in readings for one in some[0].words)
    if (whole := names_index().named(words_of(text))) and not is_plain:
        meanings = [_whole_name(whole, meanings)]
    things = frozenset(thing for piece in meanings for thing in piece.things)
    makes = frozenset(category for words in pieces for category in brands_of(words))
    total: dict[str, float] = {}
    weight = sum(1 - piece.unknown for piece in meanings)
    for piece in meanings:
        for category, share in piece.categories.items():
            total[category] = total.get(category, 0.0) + share * (1 - piece.unknown) / weight
    return Meaning(_ordered(total), things, makes)


def _whole_name(nodes: Sequence[int], pieces: Sequence[Meaning]) -> Meaning:
    """Of the categories that have exactly this name, the general one more likely."""
    ids = names_index().ids
    depths = [ids[node].count("-") for node in nodes]
    weights = [DEEPER ** (depth - min(depths)) for depth in depths]
    shares = {ids[node]: NAMED * one / sum(weights) for node, one in zip(nodes, weights, strict=True)}
    return Meaning(_ordered(shares), frozenset(thing for piece in pieces for thing in piece.things))


@dataclass(frozen=True, slots=True)
class _Read:
    """A word of a phrase as one language has it."""

    number: int | None  # in the index
    sort: str  # of LIKELIHOODS
    names_thing: bool  # by its place


@dataclass(frozen=True, slots=True)
class _Reading:
    """A piece as one language has it; how many of its words that language knows."""

    words: Sequence[_Read]
    known: int

    def log_likelihood(self, which: int) -> float:
        return sum(log(LIKELIHOODS[one.sort][which]) for one in self.words)


def _readings(words: Sequence[str], brand: frozenset[str]) -> list[_Reading]:
    """In every language."""
    return [_read(words, brand, grammar, names_index()) for grammar in grammars()]


def _foreign(pieces: Sequence[Sequence[_Reading]]) -> list[float]:
    """Log likelihood, for each language, that the text is in it: others may know more of its words."""
    known = [sum(reading.known for reading in readings) for readings in zip(*pieces, strict=True)]
    return [(max(known) - one) * log(FOREIGN) for one in known]


def _piece_meaning(words: Sequence[str], readings: Sequence[_Reading], foreign: Sequence[float]) -> Meaning:
    index = names_index()
    found: dict[int, float] = {}
    for reading, log_foreign in zip(readings, foreign, strict=True):
        if any(one.number is not None for one in reading.words):
            _add_hypotheses(found, reading, log_foreign, index)
    things = frozenset(
        one.number
        for reading in readings
        for one in reading.words
        if one.number is not None and index.heads[one.number]
    )
    otherwise = exp(max(one.log_likelihood(ELSE) + also for one, also in zip(readings, foreign, strict=True)))
    likelihoods = {index.ids[node]: exp(score) for node, score in found.items()}
    for category in brands_of(words):
        likelihoods[category] = max(likelihoods.get(category, 0.0), otherwise)
    total = sum(likelihoods.values()) + otherwise
    return Meaning(_ordered({category: one / total for category, one in likelihoods.items()}), things)


def _add_hypotheses(found: dict[int, float], reading: _Reading, foreign: float, index: NamesIndex) -> None:
    """Log likelihoods of the categories whose names have any of the words, if better than what was found before."""
    posted, gains, heads = [], [], []
    for one in reading.words:
        if one.number is None:
            continue
        cost = log(LIKELIHOODS[one.sort][ADDED])
        names, as_head = index.postings(one.number)
        posted.append(names)
        gains.append(np.full(len(names), -cost - log(LEFT_OUT)))
        heads.append(np.where(as_head, log(1.0 if one.names_thing else ELSEWHERE), log(DESCRIBED_BY)))
    names, inverse = np.unique(np.concatenate(posted), return_inverse=True)
    score = np.bincount(inverse, np.concatenate(gains), len(names))
    head = np.full(len(names), log(DESCRIBED_BY))
    np.maximum.at(head, inverse, np.concatenate(heads))
    score += head + reading.log_likelihood(ADDED) + foreign
    score += log(LEFT_OUT) * index.length[names] + index.doubt[names]
    kept = score > score.max() + log(LEAST)
    for node, one in zip(index.node[names[kept]].tolist(), score[kept].tolist(), strict=True):
        if one > found.get(node, -1e9):
            found[node] = one


def _read(words: Sequence[str], brand: frozenset[str], grammar: Grammar, index: NamesIndex) -> _Reading:
    """The words that say something, each with what it is in this language."""
    if grammar.is_wide:
        words = [part for word in words for part in (_segments(word, grammar, index) if WIDE.search(word) else [word])]
    units = _units(words, grammar, index)
    related = next((place for place, one in enumerate(units) if place and one.word in grammar.relating), len(units))
    said: list[tuple[int, int | None, str]] = []
    known = 0
    for place, one in enumerate(units):
        if one.word in grammar.relating or one.word in grammar.joining:
            known += 1
            continue
        if one.number is None and any(char.isdigit() for char in one.word):
            continue
        sort = "ending" if one.ends_unknown else _sort(one, brand, grammar, index)
        known += one.word in grammar.describing or sort in ("known", "thing")
        said.append((place, one.number, "related" if place > related and sort != "describing" else sort))
    things = _places_of_things(said, units, related, grammar)
    return _Reading([_Read(number, sort, place in things) for place, number, sort in said], known)


@dataclass(frozen=True, slots=True)
class _Unit:
    """A word, two that are written as one, or a part of a compound; its number in the index, if it has one."""

    word: str
    number: int | None
    ends_unknown: bool = False  # of a compound whose beginning is not known


def _sort(unit: _Unit, brand: frozenset[str], grammar: Grammar, index: NamesIndex) -> str:
    if unit.word in grammar.describing or unit.word in brand or unit.word in all_brands():
        return "describing"
    if unit.number is None:
        return "unknown"
    return "thing" if index.heads[unit.number] else "known"


def _places_of_things(
    said: Sequence[tuple[int, int | None, str]], units: Sequence[_Unit], related: int, grammar: Grammar
) -> set[int]:
    """Where this language has the thing: at the end of what is joined by "and", or at its beginning."""
    breaks = [place for place, one in enumerate(units[:related]) if one.word in grammar.joining]
    places = set()
    for start, end in pairwise([-1, *breaks, related]):
        inside = [one for one in said if start < one[0] < end]
        naming = [one for one in inside if one[2] != "describing"] or [one for one in inside if one[1] is not None]
        if naming:
            places.add(naming[-1 if grammar.head_is_last else 0][0])
    return places


def _units(words: Sequence[str], grammar: Grammar, index: NamesIndex) -> list[_Unit]:
    """Words with their numbers; two that are known as one joined ("smart phone"), a compound as its parts."""
    units: list[_Unit] = []
    place = 0
    while place < len(words):
        joined = "".join(words[place : place + 2])
        if place + 1 < len(words) and not grammar.is_wide:
            number = index.words.get((grammar.language, grammar.stem(joined)))
            if number is not None or joined in grammar.describing:
                units.append(_Unit(joined, number))
                place += 2
                continue
        units.extend(_parts(words[place], grammar, index))
        place += 1
    return units


def _parts(word: str, grammar: Grammar, index: NamesIndex) -> Iterator[_Unit]:
    number = index.words.get((grammar.language, grammar.stem(word)))
    if number is not None or not grammar.has_compounds or word in grammar.describing:
        yield _Unit(word, number)
        return
    for start in range(2, len(word) - grammar.shortest_ending + 1):
        ending = index.words.get((grammar.language, grammar.stem(word[start:])))
        if ending is not None and index.heads[ending]:
            first = word[:start]
            beginning = index.words.get((grammar.language, grammar.stem(first)))
            yield _Unit(first, beginning)
            yield _Unit(word[start:], ending, beginning is None and first not in grammar.describing)
            return
    yield _Unit(word, None)


def _segments(run: str, grammar: Grammar, index: NamesIndex) -> list[str]:
    """The longest names from the end on, where the thing stands; what is between them stays as it is."""
    found: list[str] = []
    rest = ""
    end = len(run)
    while end:
        for start in range(max(0, end - 12), end):
            part = run[start:end]
            if (grammar.language, part) in index.words or part in grammar.describing or part in grammar.joining:
                found += [rest, part]
                rest, end = "", start
                break
        else:
            end -= 1
            rest = run[end] + rest
    return [part for part in reversed([*found, rest]) if part]


def _narrowed(meant: Mapping[str, float], said: Mapping[str, float]) -> dict[str, float]:
    """What is meant where something else is said as well: what goes with it, or else both.

    Each of what is meant weighs as much as the nearest of what is said agrees with it.
    """
    agreed = {category: share * _agreement(category, said) for category, share in meant.items()}
    agreement = sum(agreed.values())
    known, other = sum(meant.values()), sum(said.values())
    if agreement >= AGREES * known * other:
        sure = 1 - (1 - known) * (1 - other * 0.5)  # two that agree are surer than one
        return {category: share * sure / agreement for category, share in agreed.items()}
    both = {category: share * FIRST_SAID for category, share in meant.items()}
    for category, share in said.items():
        both[category] = both.get(category, 0.0) + share * (1 - FIRST_SAID)
    return both


def _agreement(category: str, said: Mapping[str, float]) -> float:
    """From 0 to 1: how much of what is said lies on the category's path or near."""
    return sum(share * _fit(category, other) for other, share in said.items())


def _fit(category: str, other: str) -> float:
    if category == other or category.startswith(f"{other}-"):
        return 1.0
    if other.startswith(f"{category}-"):
        return 0.9
    ours, theirs = category.split("-"), other.split("-")
    if ours[0] != theirs[0]:
        return 0.02
    return 0.6 if ours[:2] == theirs[:2] else 0.3


def _ordered(categories: Mapping[str, float]) -> dict[str, float]:
    kept = {category: share for category, share in categories.items() if share >= LEAST}
    return dict(sorted(kept.items(), key=lambda item: -item[1]))

