"""How far apart two categories are for who decides whether a claim is false, and whether they go by the same words.

The tree has far apart what people call the same: costume shoes, ski boots and shoes lie in three places, juice is no
fruit. So categories are also near where one is called what the other, or what lies around it, is called.
"""

from collections.abc import Iterable
from functools import cache, lru_cache

import numpy as np

from shared.claims.meaning import Meaning
from shared.claims.names import NamesIndex, names_index
from shared.product_taxonomy import product_taxonomy

APART_IN_A_VERTICAL = 0.6  # shoes and hats; a phone and a shirt are 1 apart
MAY_BE = 0.15  # the probability of a meaning that is true from which nothing is held against the claim
SHARED_IN = 2  # languages that call both the same: in one it may be chance


class Kinship:
    """Precomputed of the words that name each category. Words are numbers in the index."""

    def __init__(self, index: NamesIndex) -> None:
        self._index = index
        self._languages = [language for language, _ in index.words]
        words = np.repeat(np.arange(len(index.starts) - 1), np.diff(index.starts))[index.as_head]
        nodes = index.node[index.posted[index.as_head]]
        order = np.argsort(nodes, kind="stable")
        bounds = np.searchsorted(nodes[order], np.arange(len(index.ids) + 1))
        self._sorted, self._bounds, self._number = words[order], bounds, index.number

    def heads_of(self, category: str) -> frozenset[int]:
        """What it is called."""
        number = self._number[category]
        return frozenset(self._sorted[self._bounds[number] : self._bounds[number + 1]].tolist())

    @lru_cache(4096)
    def heads_around(self, category: str) -> frozenset[int]:
        """What is called in it, and what those above are called, but for the vertical."""
        return frozenset().union(*map(self.heads_of, (*_below(category), *_above(category))))

    @lru_cache(65536)
    def distance(self, one: str, other: str) -> float:
        """0 for what honest sellers may mix up, 1 for what nobody does."""
        ours, theirs = one.split("-"), other.split("-")
        if ours[0] == theirs[0]:
            is_above_or_beside = min(len(ours), len(theirs)) < 2 or ours[1] == theirs[1]
            return 0.0 if is_above_or_beside or self._share_names(one, other) else APART_IN_A_VERTICAL
        return 0.0 if self._share_names(one, other) else 1.0

    def contradiction(self, meaning: Meaning, seen: str) -> float:
        """How far what is claimed lies from what is seen, 0 to 1, on average over all that may be meant.

        0 where the claim has a word for what is seen, or for what lies around it, whatever it may say of it: "phone
        case" may be written of a phone, "apple-green dress" of an apple.
        """
        if not meaning.things.isdisjoint(self.heads_around(seen)):
            return 0.0
        apart = {claimed: self.distance(claimed, seen) for claimed in (*meaning.makes, *meaning.categories)}
        if any(meaning.categories.get(claimed, 1.0) >= MAY_BE and not far for claimed, far in apart.items()):
            return 0.0
        return sum(share * apart[claimed] for claimed, share in meaning.categories.items())

    def _share_names(self, one: str, other: str) -> bool:
        shared = (self.heads_of(one) & self.heads_around(other)) | (self.heads_of(other) & self.heads_around(one))
        return len({self._languages[word] for word in shared}) >= SHARED_IN


@cache
def kinship() -> Kinship:
    """Of the taxonomy that comes with the project."""
    return Kinship(names_index())


def _below(category: str) -> Iterable[str]:
    yield category
    for child in product_taxonomy().children(category):
        yield from _below(child.id)


def _above(category: str) -> Iterable[str]:
    return (above.id for above in product_taxonomy().path(category)[1:-1])
