"""Every name of every category, in all languages, so that those that a claim's words point to are found at once.

A name is split into alternatives ("Coats & Jackets" names coats, and jackets), each a few stems of which one is the
head: the word that says what the thing is, where the others only say which.
"""

import re
import tomllib
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cache, cached_property
from math import log
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shared.claims.grammar import Grammar, grammars
from shared.claims.text import HANGUL, IDEOGRAPHS, WIDE, pieces_of, tidied, words_of
from shared.product_taxonomy import LANGUAGES, product_taxonomy

_OTHER_NAMES = Path(__file__).with_name("other_names.toml")
_LEAST_SUFFIX, _MOST_SUFFIX, _SUFFIX_IS_WORD = 2, 3, 3  # characters; and how many names have to end so
_SURE_WORD_IN = 6  # categories whose names have it
_ANYTHING_IN = 14  # verticals in which a word names something
_SURE_SYLLABLES, _SURE_LETTERS = 3, 10  # so long a word is no other language's by chance
_LACKING = re.compile(r"(\w+)-(?=[\s,&/]|$)")  # "Kaffee- & Teebecher"

# What names end in to say "kind of" and "supplies for": that who leaves it out means the same.
_WIDE_ENDINGS = {"类": 1.0, "類": 1.0, "用品": 0.1}

# Likelihoods. Of categories of one name the general one is meant: T-Shirts rather than sports fans' T-Shirts. A part of
# a name may lack what the whole gives it.
DEEPER = 0.4  # a level
PART = 0.5
PART_BEFORE_A_SHARED_HEAD = 0.1

Numbers = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Alternative:
    """One thing that a name names: stems, the head first."""

    stems: tuple[str, ...]
    doubt: float = 0.0  # log likelihood that it names the category by itself: "cases" of "Handbags, Wallets & Cases"


@dataclass(frozen=True)
class NamesIndex:
    """Postings: for each word (a stem in a language) the alternatives that have it, and whether as their head."""

    ids: Sequence[str]  # of categories; numbers below are places in it
    words: Mapping[str, int]  # a stem and its language's sign -> number
    starts: Numbers  # of each word's postings, and the end
    posted: Numbers  # alternatives
    as_head: NDArray[np.bool_]
    node: Numbers  # of each alternative
    length: NDArray[np.int8]  # its stems
    doubt: NDArray[np.float32]
    heads: NDArray[np.bool_]  # of words: names a thing somewhere
    rare: NDArray[np.bool_]  # of words: in so few names that it may as well be another word, or another language's
    whole: NDArray[np.int64]  # hashes of whole names, in order
    whole_node: Numbers

    def postings(self, word: int) -> tuple[Numbers, NDArray[np.bool_]]:
        """The alternatives that have a word, and in which of them it is the head."""
        where = slice(self.starts[word], self.starts[word + 1])
        return self.posted[where], self.as_head[where]

    def number(self, word: str, grammar: Grammar) -> int | None:
        """Of a tidied word of a language, singular or plural."""
        return self.words.get(grammar.stem(word) + grammar.sign)

    def named(self, words: Sequence[str]) -> Sequence[int]:
        """The categories whose whole name, in some language, is these folded words."""
        key = _hash(words)
        where = slice(np.searchsorted(self.whole, key, "left"), np.searchsorted(self.whole, key, "right"))
        return sorted(set(self.whole_node[where].tolist()))

    def called(self, category: str) -> frozenset[int]:
        """The words that name a category: heads of its names, but for those that name anything ("accessories")."""
        number = self._places[category]
        own = self._called[self._called_from[number] : self._called_from[number + 1]]
        return frozenset(own[~self._names_anything[own]].tolist())

    @cached_property
    def language_of_word(self) -> Sequence[str]:
        """The sign of its language, by the word's number."""
        return [word[-1] for word in self.words]

    @cached_property
    def _places(self) -> Mapping[str, int]:
        return {category: place for place, category in enumerate(self.ids)}

    @cached_property
    def _names_anything(self) -> NDArray[np.bool_]:
        """Of words."""
        verticals = [category.split("-")[0] for category in self.ids]
        number = np.unique(verticals, return_inverse=True)[1]
        nodes = np.repeat(np.arange(len(self.ids)), np.diff(self._called_from))
        pairs = np.unique(np.stack([self._called, number[nodes]]), axis=1)
        return np.bincount(pairs[0], minlength=len(self.starts) - 1) >= _ANYTHING_IN

    @cached_property
    def _called(self) -> Numbers:
        """Heads, by the category that they name."""
        words = np.repeat(np.arange(len(self.starts) - 1, dtype=np.int32), np.diff(self.starts))[self.as_head]
        return words[np.argsort(self.node[self.posted[self.as_head]], kind="stable")]

    @cached_property
    def _called_from(self) -> Numbers:
        """Of each category, where its own begin; and the end."""
        nodes = np.sort(self.node[self.posted[self.as_head]])
        return np.searchsorted(nodes, np.arange(len(self.ids) + 1)).astype(np.int32)


@cache
def names_index() -> NamesIndex:
    """Of the taxonomy that comes with the project: read and sorted once, in some seconds."""
    ids = [category.id for category in product_taxonomy()]
    place = {category: number for number, category in enumerate(ids)}
    by_language: dict[str, list[tuple[int, str]]] = {grammar.language: [] for grammar in grammars()}
    columns = zip(*(category.names for category in product_taxonomy()), strict=True)
    for language, column in zip(LANGUAGES, columns, strict=True):
        # Tidied all at once: it is the half of the time otherwise.
        by_language[language].extend(enumerate(tidied("\n".join(column)).split("\n")))
    trusted: set[str] = set()
    by_name = {grammar.language: grammar for grammar in grammars()}
    for category_id, said in tomllib.loads(_OTHER_NAMES.read_text("utf-8")).items():
        for language, names in said.items():
            by_language[language].extend((place[category_id], tidied(name)) for name in names)
            trusted |= {
                one.stems[0] + by_name[language].sign
                for name in names
                for one in alternatives(tidied(name), by_name[language])
            }
    return _indexed(ids, by_language, trusted)


def _indexed(ids: Sequence[str], by_language: Mapping[str, Sequence[tuple[int, str]]], trusted: Set[str]) -> NamesIndex:
    """`by_language`: tidied names, each with its category's number. `trusted`: words that are never rare."""
    words: dict[str, int] = {}
    word_of, posted, node, length = (array("i") for _ in range(4))
    as_head, doubt = array("b"), array("f")
    whole = sorted({(_hash(words_of(name)), place) for some in by_language.values() for place, name in some})
    depths = [category.count("-") for category in ids]
    for grammar in grammars():
        named = [(place, one) for place, name in by_language[grammar.language] for one in alternatives(name, grammar)]
        if grammar.is_wide:
            named = list(_with_suffixes(named))
        named = list(dict.fromkeys(named))
        shallowest: dict[tuple[str, ...], int] = {}
        for place, one in named:
            shallowest[one.stems] = min(depths[place], shallowest.get(one.stems, depths[place]))
        for place, one in named:
            for rank, stem in enumerate(one.stems):
                word_of.append(words.setdefault(stem + grammar.sign, len(words)))
                posted.append(len(node))
                as_head.append(rank == 0)
            node.append(place)
            length.append(len(one.stems))
            doubt.append(one.doubt + (depths[place] - shallowest[one.stems]) * log(DEEPER))
    of, nodes = np.array(word_of), np.array(node)
    order = np.argsort(of, kind="stable")
    head = np.array(as_head, np.bool_)
    heads = np.zeros(len(words), np.bool_)
    heads[of[head]] = True
    nodes_of_words = np.unique(np.stack([of, nodes[np.array(posted)]]), axis=1)
    having = np.bincount(nodes_of_words[0], minlength=len(words))
    _count_compounds(having, words)
    rare = having < _SURE_WORD_IN
    for word, number in words.items():
        sure_from = _SURE_SYLLABLES if _is_syllabic(word) else _SURE_LETTERS
        rare[number] &= word not in trusted and len(word[:-1]) < sure_from
    return NamesIndex(
        ids=tuple(ids),
        words=words,
        starts=np.searchsorted(of[order], np.arange(len(words) + 1)).astype(np.int32),
        posted=np.array(posted)[order],
        as_head=head[order],
        node=nodes,
        length=np.array(length, np.int8),
        doubt=np.array(doubt),
        heads=heads,
        rare=rare,
        whole=np.array([key for key, _ in whole], np.int64),
        whole_node=np.array([place for _, place in whole], np.int32),
    )


def _count_compounds(having: NDArray[np.int64], words: Mapping[str, int]) -> None:
    """Adds to how many categories have a word those that have it at the end of another: Tanzkleid, 会议电话."""
    alone = having.copy()
    compounding = {grammar.sign: grammar.shortest_ending for grammar in grammars() if grammar.has_compounds}
    for word, number in words.items():
        shortest = compounding.get(word[-1], len(word))
        for start in range(1, len(word) - shortest):
            if (ending := words.get(word[start:])) is not None:
                having[ending] += alone[number]


def _is_syllabic(stem: str) -> bool:
    """Whether each character is a syllable or a word."""
    return bool(WIDE.search(stem) or HANGUL.search(stem))


def _hash(words: Sequence[str]) -> int:
    return hash(" ".join(words))


def alternatives(name: str, grammar: Grammar) -> list[Alternative]:
    """What a tidied name names."""
    if grammar.is_wide:
        return _wide_alternatives(name, grammar)
    pieces = [words for piece in pieces_of(name) for words in _joined(words_of(piece), grammar)]
    lacking = set(_LACKING.findall(name))
    if len(pieces) < 2:
        return [one for words in pieces for one in _alternative(words, grammar, 0.0)]
    found: list[Alternative] = []
    shared = _until_related(pieces[-1], grammar)
    for words in pieces:
        # "Mobile & Smart Phones": the first part lacks its head. Where words aren't compounds, that is the rule.
        may_lack = len(words) == 1 and (len(shared) > 1 or words[0] in lacking)
        if grammar.head_is_last and may_lack and words is not pieces[-1]:
            found += _alternative([*words, shared[-1]], grammar, log(PART))
            if words[0] not in lacking:
                found += _alternative(words, grammar, log(PART_BEFORE_A_SHARED_HEAD))
        else:
            found += _alternative(words, grammar, log(PART))
    return list(dict.fromkeys(found))


def _alternative(words: Sequence[str], grammar: Grammar, doubt: float) -> list[Alternative]:
    """At most one. Its head first; what follows a relating word only describes."""
    naming = _until_related(words, grammar)
    describing = [word for word in words[len(naming) :] if word not in grammar.relating]
    ordered = [*reversed(naming), *describing] if grammar.head_is_last else [*naming, *describing]
    stems = dict.fromkeys(grammar.stem(word) for word in ordered if len(word) > 1 or word.isdigit())
    return [Alternative(tuple(stems), doubt)] if stems else []


def _until_related(words: Sequence[str], grammar: Grammar) -> list[str]:
    for place, word in enumerate(words):
        if word in grammar.relating and place:
            return list(words[:place])
    return list(words)


def _joined(words: Sequence[str], grammar: Grammar) -> Iterator[list[str]]:
    """Split at "and", but not within a description ("accessories for phones and tablets")."""
    piece: list[str] = []
    related = False
    for word in words:
        related |= word in grammar.relating
        if word in grammar.joining and not related:
            if piece:
                yield piece
            piece = []
        else:
            piece.append(word)
    if piece:
        yield piece


def _wide_alternatives(name: str, grammar: Grammar) -> list[Alternative]:
    parts = [part for piece in pieces_of(name) for part in _wide_parts(piece, grammar)]
    found = []
    for place, part in enumerate(parts):
        before_shared = place < len(parts) - 1 and len(part) < len(parts[-1])
        doubt = 0.0 if len(parts) == 1 else log(PART_BEFORE_A_SHARED_HEAD if before_shared else PART)
        found.append(Alternative((part,), doubt))
        for ending, likelihood in _WIDE_ENDINGS.items():
            if (trimmed := part.removesuffix(ending)) not in (part, ""):
                found.append(Alternative((trimmed,), doubt + log(likelihood)))
    return list(dict.fromkeys(found))


def _wide_parts(piece: str, grammar: Grammar) -> list[str]:
    run = "".join(words_of(piece))
    for joining in grammar.joining:
        run = run.replace(joining, " ")
    return run.split()


def _with_suffixes(named: Sequence[tuple[int, Alternative]]) -> Iterator[tuple[int, Alternative]]:
    """Names, and those of them that end as many do as two words: 会议电话 is a kind of 电话."""
    runs = {one.stems[0] for _, one in named}
    endings = Counter(
        run[-size:]
        for run in runs
        for size in range(_LEAST_SUFFIX, _MOST_SUFFIX + 1)
        if len(run) > size and IDEOGRAPHS.fullmatch(run[-size:])
    )
    endings.update(dict.fromkeys(runs, _SUFFIX_IS_WORD))
    for place, one in named:
        yield place, one
        run = one.stems[0]
        for size in range(min(len(run) - 1, 6), _LEAST_SUFFIX - 1, -1):
            if endings[run[-size:]] >= _SUFFIX_IS_WORD:
                yield place, Alternative((run[-size:], run[:-size]), one.doubt)
                break
