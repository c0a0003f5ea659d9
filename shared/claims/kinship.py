"""How far apart two categories are for who decides whether a claim is false, and whether they go by the same words.

The tree has far apart what people call the same: costume shoes, ski boots and shoes lie in three places. So categories
are also near where one is called what the other, or what lies around it, is called.
"""

from collections.abc import Iterator
from functools import lru_cache

from shared.claims.meaning import Meaning
from shared.claims.names import names_index
from shared.product_taxonomy import product_taxonomy

APART_IN_A_VERTICAL = 0.65  # shoes and hats; a phone and a shirt are 1 apart
MAY_BE = 0.15  # the probability of a meaning that is true from which nothing is held against the claim
SHARED_IN = 2  # languages that call both the same: in one it may be chance


def contradiction(meaning: Meaning, seen: str) -> float:
    """How far what is claimed lies from what is seen (an id), 0 to 1, on average over all that may be meant.

    0 where the claim has a word for what is seen, or for what lies around it, whatever it may say of it: "phone case"
    may be written of a phone, "apple-green dress" of an apple. 0 also where it may well be true.
    """
    if not meaning.things.isdisjoint(_words_around(seen)):
        return 0.0
    apart = {claimed: distance(claimed, seen) for claimed in meaning.categories}
    likely = (claimed for claimed, probability in meaning.categories.items() if probability >= MAY_BE)
    if not all(apart[claimed] for claimed in likely) or not all(distance(made, seen) for made in meaning.made):
        return 0.0
    return sum(probability * apart[claimed] for claimed, probability in meaning.categories.items())


@lru_cache(65536)
def distance(one: str, other: str) -> float:
    """Between two ids, 0 for what honest sellers may mix up, 1 for what nobody does."""
    if _share_names(one, other):
        return 0.0
    ours, theirs = one.split("-"), other.split("-")
    if ours[0] != theirs[0]:
        return 1.0
    # A whole vertical is above all in it; what hangs on one of its branches is near enough.
    return 0.0 if min(len(ours), len(theirs)) < 2 or ours[1] == theirs[1] else APART_IN_A_VERTICAL


def _share_names(one: str, other: str) -> bool:
    index = names_index()
    shared = (index.called(one) & _words_around(other)) | (index.called(other) & _words_around(one))
    return len({index.language_of_word[word] for word in shared}) >= SHARED_IN


@lru_cache(4096)
def _words_around(category: str) -> frozenset[int]:
    """What is called in a category, and what those above are called, but for the vertical: numbers of words."""
    above = [one.id for one in product_taxonomy().path(category)[1:-1]]
    return frozenset().union(*map(names_index().called, (*_with_all_below(category), *above)))


def _with_all_below(category: str) -> Iterator[str]:
    yield category
    for child in product_taxonomy().children(category):
        yield from _with_all_below(child.id)
