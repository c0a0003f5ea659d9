"""Names of makers that are words too: a Mango may be a fruit, or clothes."""

import tomllib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from shared.claims.text import tidied, words_of

_BRANDS = Path(__file__).parents[1] / "brands.toml"
_MAKE = {"phones": "el-4-8-5", "groceries": "fb", "garments": "aa"}  # what the makers of each list make


def made_by(words: Sequence[str]) -> frozenset[str]:
    """The ids of what the makers make that are named among tidied words."""
    table = _brands()
    return frozenset(
        category
        for size in (1, 2, 3)
        for at in range(len(words) - size + 1)
        for category in table.get(" ".join(words[at : at + size]), ())
    )


@cache
def brand_words() -> frozenset[str]:
    """The words of the makers' names."""
    return frozenset(word for name in _brands() for word in name.split())


@cache
def _brands() -> Mapping[str, frozenset[str]]:
    table = tomllib.loads(_BRANDS.read_text("utf-8"))
    makers: dict[str, frozenset[str]] = {}
    for listed, category in _MAKE.items():
        for brand in table[listed]:
            if brand.casefold() not in table["spelled"].get(brand, brand).casefold():
                continue  # the maker's product: an iPhone is a phone, where an Apple may be a fruit
            name = " ".join(words_of(tidied(brand)))
            makers[name] = makers.get(name, frozenset()) | {category}
    return makers
