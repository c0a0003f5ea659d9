"""What a seller's free-text category means, as far as it is certain, and whether a seen category contradicts it.

Categories are compared as *kinds* (top, footwear, fruit …), which are coarser than a pack's leaves: sellers disagree
about shirt and blouse, and so do classifiers. The words are in claims.toml; which kinds a seen category has, the pack
says.

A claim is held against a seller only where nothing else may be meant. Sellers write in many languages, whose order of
words differs ("apple juice" is juice, and so is "jus de pomme"), and name brands and colours that are fruit. So of
several words that are understood any may name the thing, and a claim that has others beside them means nothing.
"""

import re
import tomllib
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from shared.vision.pack import CategorySpec, PackUnusable

WORDS = Path(__file__).with_name("claims.toml")
BETWEEN_PARTS = re.compile(r"[>/|›»→\\:]|\s[-–—]\s")
Kinds = frozenset[str]


@dataclass(frozen=True, slots=True)
class Lexicon:
    """Phrases are words joined by blanks, as `_words` gives them."""

    domains: Mapping[str, str]  # of each kind
    borders: frozenset[frozenset[str]]  # pairs of kinds
    meanings: Mapping[str, Kinds]  # phrase -> the kinds that it may mean
    naming: frozenset[str]
    describing: frozenset[str]
    others: frozenset[str]
    longest: int  # words of a phrase

    def near(self, one: str, other: str) -> bool:
        return one == other or frozenset({one, other}) in self.borders


@dataclass(frozen=True, slots=True)
class _PathPart:
    """What one part of a path says: the kinds that it may mean, and what stands beside them."""

    kinds: Kinds
    strange: bool  # has words that are not understood
    names_others: bool  # has words that are known to be none of ours
    ends_naming: bool  # and then those before only describe

    @property
    def says_nothing(self) -> bool:
        return not (self.kinds or self.strange or self.names_others)


def kinds_of_claim(category: str) -> Kinds:
    """All that a claimed category may mean; empty when it is not known to mean any of our kinds only.

    Of a path the last part that says anything counts. Those above it narrow it down ("Clothing > Tops"), or, where they
    say something else ("Juice > Apple", "Fashion > Mango"), may be what is meant as well.
    """
    parts = [part for text in BETWEEN_PARTS.split(category) if not (part := _part(_words(text))).says_nothing]
    if not parts:
        return frozenset()
    *above, last = parts
    if last.names_others or not last.kinds or (last.strange and not last.ends_naming):
        return frozenset()
    meant = last.kinds
    for part in reversed(above):
        if common := part.kinds & meant:
            meant = common
        elif part.names_others or (part.strange and not last.ends_naming):
            return frozenset()
        else:
            meant |= part.kinds
    return meant


def contradict(claimed: Kinds, seen: Kinds) -> bool:
    """True only if both are known and nothing that is claimed is, or borders on, anything that is seen."""
    near = lexicon().near
    return bool(claimed and seen) and not any(near(one, other) for one in claimed for other in seen)


def are_worlds_apart(claimed: Kinds, seen: Kinds) -> bool:
    """Whether they share not even a domain: a phone and a shirt. False when either is not known."""
    domains = lexicon().domains
    return bool(claimed and seen) and {domains[kind] for kind in claimed}.isdisjoint(domains[kind] for kind in seen)


def require_known_kinds(pack_name: str, categories: Iterable[CategorySpec]) -> None:
    """Raises PackUnusable for kinds that no claim is compared with: contradictions would be lost without a word."""
    known = lexicon().domains
    for spec in categories:
        if unknown := [kind for kind in spec.kinds or () if kind not in known]:
            raise PackUnusable(
                f"pack {pack_name}: categories: {'/'.join(spec.path) or 'all'}: unknown kinds {', '.join(unknown)}; "
                f"{WORDS.name} has {', '.join(known)}"
            )


def _part(words: Sequence[str]) -> _PathPart:
    words = [word for word in words if not any(c.isdigit() for c in word) or word in lexicon().meanings]
    kinds: set[str] = set()
    strange = names_others = ends_naming = False
    at = 0
    while at < len(words):
        phrase = _longest_known(words[at:])
        ends_naming = phrase in lexicon().naming
        if phrase is None:
            strange = True
        elif phrase in lexicon().others:
            names_others = True
        else:
            kinds |= _meaning(phrase)
        at += len(phrase.split()) if phrase else 1
    return _PathPart(frozenset(kinds), strange, names_others, ends_naming)


def _longest_known(words: Sequence[str]) -> str | None:
    """The longest phrase that the words begin with and that is understood."""
    known = lexicon()
    for count in range(min(known.longest, len(words)), 0, -1):
        phrase = " ".join(words[:count])
        if phrase in known.others or phrase in known.describing or _meaning(phrase):
            return phrase
    return None


def _meaning(phrase: str) -> Kinds:
    known = lexicon()
    if phrase in known.describing:
        return frozenset()
    singulars = (phrase, phrase.removesuffix("s"), phrase.removesuffix("es"), _y_for_ies(phrase))
    return next((known.meanings[one] for one in singulars if one in known.meanings), frozenset())


def _y_for_ies(phrase: str) -> str:
    return phrase[:-3] + "y" if phrase.endswith("ies") else phrase


def _words(text: str) -> list[str]:
    plain = "".join(c for c in unicodedata.normalize("NFKD", text.casefold()) if not unicodedata.combining(c))
    return re.findall(r"[^\W_]+(?:-[^\W_]+)*", re.sub(r"['’]s\b", "", plain))


@cache
def lexicon() -> Lexicon:
    table = tomllib.loads(WORDS.read_text("utf-8"))
    domains = {kind: str(said["domain"]) for kind, said in table["kinds"].items()}
    of_domain = {domain: {kind for kind, its in domains.items() if its == domain} for domain in domains.values()}
    meanings: dict[str, set[str]] = defaultdict(set)
    for kind, said in table["kinds"].items():
        for phrase in said["words"]:
            meanings[_folded(phrase)].add(kind)
    for domain, phrases in table["whole_domains"].items():
        for phrase in phrases:
            meanings[_folded(phrase)] |= of_domain[domain]
    for phrase, also in table["also"].items():
        for one in also:
            meanings[_folded(phrase)] |= of_domain.get(one, {one})
    naming, describing, others = (
        frozenset(map(_folded, table[name]["words"])) for name in ("naming", "describing", "others")
    )
    return Lexicon(
        domains,
        frozenset(
            frozenset({kind, other}) for kind, said in table["kinds"].items() for other in said.get("borders", ())
        ),
        {phrase: frozenset(kinds) for phrase, kinds in meanings.items()},
        naming,
        describing,
        others,
        max(len(phrase.split()) for phrase in (*meanings, *describing, *others)),
    )


def _folded(phrase: str) -> str:
    return " ".join(_words(phrase))
