"""The categories as a tree, and finding them by what a person types."""

import lzma
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from itertools import takewhile
from pathlib import Path

from shared.product_taxonomy.ids import ids_down_to, is_at_or_below, spelled_id
from shared.product_taxonomy.languages import ENGLISH, LANGUAGES
from shared.product_taxonomy.search import Names

DATA = Path(__file__).with_name("categories.tsv.xz")


@dataclass(frozen=True, slots=True)
class ProductCategory:
    """A node of the taxonomy."""

    id: str
    # As in the file: decoded for the few that are asked for, a process holds 4 MB of them and not 14.
    _row: bytes = field(repr=False)

    @property
    def names(self) -> tuple[str, ...]:
        """In the order of LANGUAGES."""
        return tuple(self._row.decode().split("\t"))

    def name(self, language: str = ENGLISH) -> str:
        """Raises ValueError for what is none of LANGUAGES: see language_of."""
        return self.names[LANGUAGES.index(language)]


class ProductTaxonomy:
    """All categories. What is asked about an id that isn't one raises KeyError."""

    def __init__(self, rows: bytes) -> None:
        """`rows`: a line per category, parents first: the id and its names in the order of LANGUAGES, with tabs."""
        self._by_id: dict[str, ProductCategory] = {}
        self._children: dict[str, list[str]] = {"": []}
        self._searched: dict[str, Names] = {}  # by language, as they are asked for
        for row in rows.splitlines():
            spelled, _, names = row.partition(b"\t")
            category = ProductCategory(spelled.decode(), names)
            self._by_id[category.id] = category
            self._children.setdefault(_above(category.id), []).append(category.id)

    def __iter__(self) -> Iterator[ProductCategory]:
        """Parents first."""
        return iter(self._by_id.values())

    def __len__(self) -> int:
        return len(self._by_id)

    def __contains__(self, category_id: object) -> bool:
        return category_id in self._by_id

    def __getitem__(self, category_id: str) -> ProductCategory:
        return self._by_id[category_id]

    def get(self, category_id: str) -> ProductCategory | None:
        return self._by_id.get(category_id)

    def path(self, category_id: str) -> tuple[ProductCategory, ...]:
        """From the vertical down to the category itself."""
        return tuple(self._by_id[above] for above in ids_down_to(self._by_id[category_id].id))

    def parent(self, category_id: str) -> ProductCategory | None:
        """None above a vertical."""
        return self.get(_above(self._by_id[category_id].id))

    def children(self, category_id: str) -> tuple[ProductCategory, ...]:
        """Those directly below; of "" the verticals."""
        if category_id:
            category_id = self._by_id[category_id].id
        return tuple(self._by_id[below] for below in self._children.get(category_id, ()))

    def is_at_or_below(self, category_id: str, ancestor: str) -> bool:
        """As the function of that name."""
        return is_at_or_below(category_id, ancestor)

    def distance(self, one: str, other: str) -> int:
        """How many edges lie between two categories; verticals hang on a common root, so theirs is 2."""
        ours, theirs = (ids_down_to(self._by_id[each].id) for each in (one, other))
        common = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(ours, theirs, strict=False)))
        return len(ours) + len(theirs) - 2 * common

    def parse(self, text: str) -> str | None:
        """The id that the whole text is, bare or as a gid://, in any case; None for other text and unknown ids."""
        spelled = spelled_id(text)
        return spelled if spelled in self._by_id else None

    def nearest(self, spelled: str) -> ProductCategory | None:
        """The deepest category on the path that an id spells, for one that doesn't exist."""
        return next((self._by_id[above] for above in reversed(ids_down_to(spelled)) if above in self._by_id), None)

    def find(self, words: str, language: str | None = None, limit: int = 10) -> list[ProductCategory]:
        """Those that a person who types this may mean, the best first; in one of LANGUAGES, or in all of them.

        Words are in any order, case and accents don't count, a word may be in the singular or the plural, or only
        begun. A category comes first if this is its whole name, then if its name contains every word, then if its
        path does. Where none has every word, those follow that have the most.
        """
        best: dict[str, tuple[float, ...]] = {}
        for each in LANGUAGES if language is None else (language,):
            for category_id, rank in self._names_in(each).ranked(words):
                best[category_id] = max(rank, best.get(category_id, rank))
        most = max((rank[0] for rank in best.values()), default=0)
        in_place = (category.id for category in self if best.get(category.id, (0,))[0] == most > 0)
        ordered = sorted(in_place, key=lambda found: best[found], reverse=True)
        return [self._by_id[found] for found in ordered[:limit]]

    def _names_in(self, language: str) -> Names:
        if language not in self._searched:
            self._searched[language] = Names((category.id, category.name(language)) for category in self)
        return self._searched[language]


@cache
def product_taxonomy() -> ProductTaxonomy:
    """The one that comes with the project, read when it is first asked for."""
    return ProductTaxonomy(lzma.decompress(DATA.read_bytes()).partition(b"\n")[2])


def _above(category_id: str) -> str:
    return category_id.rpartition("-")[0]
