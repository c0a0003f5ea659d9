"""How a language builds its names: which word is the thing, how a plural ends, which words only describe or join."""

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from shared.product_taxonomy.search import folded

_TABLE = Path(__file__).with_name("languages.toml")
_SHORTEST_STEM = 3
_DOUBLED = re.compile(r"(.)\1")
# German vowels that are written out where a keyboard lacks them; Finnish consonants that weaken before an ending.
_WRITTEN_OUT = {"de": (("ae", "a"), ("oe", "o"), ("ue", "u")), "da": (("aa", "a"), ("oe", "o"))}
_WEAKENED = (("ng", "nk"), ("d", "t"))


@dataclass(frozen=True)
class Grammar:
    """One language of languages.toml."""

    language: str
    sign: str  # one character that stands for it
    head_is_last: bool
    has_compounds: bool
    endings: Mapping[str, Sequence[tuple[str, str]]]  # by their last letter, in their order
    joining: frozenset[str]
    relating: frozenset[str]
    describing: frozenset[str]
    collapses_doubled: bool
    weakens: bool

    @property
    def is_wide(self) -> bool:
        """Whether it is written without blanks."""
        return self.language in ("zh-CN", "ja")

    @property
    def shortest_ending(self) -> int:
        """Characters of the word that ends a compound."""
        return 2 if self.language == "ko" else 4

    def stem(self, word: str) -> str:
        """What the singular and the plural of a folded word have in common."""
        for written, meant in _WRITTEN_OUT.get(self.language, ()):
            word = word.replace(written, meant)
        if self.endings:
            word = self._without_ending(self._without_ending(word))  # a plural of a word in -er: Sneakers, computere
        if self.weakens:
            for weak, strong in _WEAKENED:
                word = word.replace(weak, strong)
        return _DOUBLED.sub(r"\1", word) if self.collapses_doubled or self.weakens else word

    def _without_ending(self, word: str) -> str:
        for ending, instead in self.endings.get(word[-1:], ()):
            if word.endswith(ending):
                stem = word[: -len(ending)] + instead
                return stem if len(stem) >= _SHORTEST_STEM else word
        return word


@cache
def grammars() -> Sequence[Grammar]:
    """Of every language that is read, in the order of the table."""
    table = tomllib.loads(_TABLE.read_text("utf-8"))
    everywhere = table.pop("any")["describing"]
    return tuple(
        _grammar(language, chr(ord("A") + number), said, everywhere)
        for number, (language, said) in enumerate(table.items())
    )


def _grammar(language: str, sign: str, said: Mapping[str, Any], everywhere: Sequence[str]) -> Grammar:
    def words(name: str, more: Sequence[str] = ()) -> frozenset[str]:
        return frozenset(folded(word).replace(" ", "") for word in (*said.get(name, ()), *more))

    return Grammar(
        language,
        sign,
        head_is_last=said["head"] == "last",
        has_compounds=said.get("compounds", False),
        endings=_by_last_letter([one.partition("=")[::2] for one in said["endings"]]),
        joining=words("joining"),
        relating=words("relating"),
        describing=words("describing", everywhere),
        collapses_doubled=said.get("doubled", False),
        weakens=said.get("graded", False),
    )


def _by_last_letter(endings: Sequence[tuple[str, str]]) -> Mapping[str, Sequence[tuple[str, str]]]:
    letters: dict[str, list[tuple[str, str]]] = {}
    for ending, instead in endings:
        letters.setdefault(ending[-1], []).append((ending, instead))
    return letters
