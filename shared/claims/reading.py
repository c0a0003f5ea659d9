"""How each language reads the words of a phrase: which it knows, which names the thing, which only describe it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import log

from shared.claims.brands import brand_words
from shared.claims.grammar import Grammar, grammars
from shared.claims.names import NamesIndex, names_index
from shared.claims.text import WIDE

FOREIGN = 0.15  # likelihood that a word is none of the language that a phrase is in, though others know it
LONGEST_WIDE_WORD = 12  # characters

DESCRIBING, RELATED, UNKNOWN, ENDING, KNOWN, THING, RARE, BESIDE = SORTS = (
    "describing",
    "related",  # stands behind "for" or "with"
    "unknown",
    "ending",  # ends a compound that begins with an unknown word
    "known",  # is in names, but names nothing
    "thing",  # names a thing, and stands where the language has the thing
    "rare",  # the same, but only a few names have it
    "beside",  # names a thing, but stands elsewhere
)


@dataclass(frozen=True, slots=True)
class ReadWord:
    """A word as one language has it; its number in the index, if it is in names."""

    number: int | None
    sort: str  # of SORTS
    names_thing: bool  # by its place


@dataclass(frozen=True, slots=True)
class Reading:
    """A piece of a phrase as one language has it."""

    words: Sequence[ReadWord]
    known: int  # how many words the language knows, function words too

    @property
    def is_thin(self) -> bool:
        """Whether all that it knows is a rare word: that may as well be one of another language, or of none."""
        return {one.sort for one in self.words if one.number is not None} - {DESCRIBING, RELATED} == {RARE}


def readings_of(words: Sequence[str], brand: frozenset[str]) -> list[Reading]:
    """In every language, in the order of grammars(). `words` are tidied; `brand` has those of the seller's brand."""
    return [_reading(words, brand, grammar, names_index()) for grammar in grammars()]


def log_foreign(pieces: Sequence[Sequence[Reading]]) -> list[float]:
    """Log likelihood of each language, given all pieces of a phrase: others may know more of its words."""
    known = [sum(reading.known for reading in readings) for readings in zip(*pieces, strict=True)]
    return [(one - max(known)) * log(1 / FOREIGN) for one in known]


def only_describes(words: Sequence[str]) -> bool:
    """Whether some language has no word for a thing in it: "for women", "Neu"."""
    return any(
        all(word in grammar.describing or word in grammar.relating or word in grammar.joining for word in words)
        for grammar in grammars()
    )


def naming_words(words: Sequence[str], brand: frozenset[str]) -> set[tuple[str, ...]]:
    """What is left of a phrase without brand, sizes and what only describes in some language, for each language."""
    found = {tuple(words)}
    for grammar in grammars():
        naming = [word for word in words if not (word in grammar.describing or word in brand or _is_code(word))]
        while naming and naming[-1] in grammar.relating:
            naming.pop()
        found.add(tuple(naming))
    return found


@dataclass(frozen=True, slots=True)
class _Unit:
    """A word, two that are written as one, or a part of a compound."""

    word: str
    number: int | None
    ends_unknown: bool = False


def _reading(words: Sequence[str], brand: frozenset[str], grammar: Grammar, index: NamesIndex) -> Reading:
    if grammar.is_wide:
        words = [part for word in words for part in (_segments(word, grammar, index) if WIDE.search(word) else [word])]
    units = list(_units(words, grammar, index))
    is_function_word = [one.word in grammar.relating or one.word in grammar.joining for one in units]
    related = next((at for at, one in enumerate(units) if at and one.word in grammar.relating), len(units))
    sorts = {
        at: _sort(one, brand, grammar, index)
        for at, one in enumerate(units)
        if not is_function_word[at] and (one.number is not None or not _is_code(one.word))
    }
    last = max((at for at in sorts if at < related), default=None)
    if grammar.head_is_last and last is not None and sorts[last] == DESCRIBING and _is_thing(units[last], index):
        sorts[last] = THING  # a "yoga short" is worn, an "orange" may be eaten
    things = _places_of_things(sorts, units, related, grammar)
    known = sum(is_function_word) + sum(
        sort in (KNOWN, THING, RARE) or units[at].word in grammar.describing for at, sort in sorts.items()
    )
    placed = [
        ReadWord(units[at].number, _placed(sort, at > related, at in things), at in things)
        for at, sort in sorts.items()
    ]
    return Reading(placed, known)


def _sort(unit: _Unit, brand: frozenset[str], grammar: Grammar, index: NamesIndex) -> str:
    if unit.ends_unknown:
        return ENDING
    if unit.word in grammar.describing or unit.word in brand or unit.word in brand_words():
        return DESCRIBING
    if unit.number is None:
        return UNKNOWN
    if not index.heads[unit.number]:
        return KNOWN
    return RARE if index.rare[unit.number] else THING


def _is_code(word: str) -> bool:
    """A size, a number, a letter, a model's name."""
    return any(map(str.isdigit, word)) or (len(word) == 1 and word.isascii())


def _is_thing(unit: _Unit, index: NamesIndex) -> bool:
    return unit.number is not None and bool(index.heads[unit.number]) and not index.rare[unit.number]


def _placed(sort: str, is_related: bool, names_thing: bool) -> str:
    if is_related and sort != DESCRIBING:
        return RELATED
    return BESIDE if sort in (THING, RARE) and not names_thing else sort


def _places_of_things(sorts: dict[int, str], units: Sequence[_Unit], related: int, grammar: Grammar) -> set[int]:
    """Where this language has the thing: at the end of what is joined by "and", or at its beginning."""
    breaks = [at for at, one in enumerate(units[:related]) if one.word in grammar.joining]
    places = set()
    for start, end in pairwise([-1, *breaks, related]):
        inside = [at for at in sorts if start < at < end]
        naming = [at for at in inside if sorts[at] != DESCRIBING] or [
            at for at in inside if units[at].number is not None
        ]
        if naming:
            places.add(naming[-1 if grammar.head_is_last else 0])
    return places


def _units(words: Sequence[str], grammar: Grammar, index: NamesIndex) -> Iterator[_Unit]:
    """Words with their numbers; two that are known as one joined ("smart phone"), a compound as its parts."""
    at = 0
    while at < len(words):
        joined = "".join(words[at : at + 2])
        number = index.number(joined, grammar)
        if at + 1 < len(words) and not grammar.is_wide and (number is not None or joined in grammar.describing):
            yield _Unit(joined, number)
            at += 2
        else:
            yield from _parts(words[at], grammar, index)
            at += 1


def _parts(word: str, grammar: Grammar, index: NamesIndex) -> Iterator[_Unit]:
    """The word; or, where compounds are written together, the longest ending that names a thing and what is before."""
    number = index.number(word, grammar)
    if number is None and grammar.has_compounds and word not in grammar.describing:
        for start in range(2, len(word) - grammar.shortest_ending + 1):
            ending = index.number(word[start:], grammar)
            if ending is not None and index.heads[ending] and not index.rare[ending]:
                first = word[:start]
                beginning = index.number(first, grammar)
                yield _Unit(first, beginning)
                yield _Unit(word[start:], ending, beginning is None and first not in grammar.describing)
                return
    yield _Unit(word, number)


def _segments(run: str, grammar: Grammar, index: NamesIndex) -> list[str]:
    """The longest names from the end on, where the thing stands; what is between them stays as it is."""
    found: list[str] = []
    rest = ""
    end = len(run)
    while end:
        for start in range(max(0, end - LONGEST_WIDE_WORD), end):
            part = run[start:end]
            if index.number(part, grammar) is not None or part in grammar.describing or part in grammar.joining:
                found += [rest, part]
                rest, end = "", start
                break
        else:
            end -= 1
            rest = run[end] + rest
    return [part for part in reversed([*found, rest]) if part]
