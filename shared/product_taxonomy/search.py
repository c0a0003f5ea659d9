"""Names of categories in one language, searched by words as people type them."""

import re
import unicodedata
from collections.abc import Iterable, Iterator

from shared.product_taxonomy.ids import ids_down_to

# How well a typed word fits a word of a name.
SAME, INFLECTED, BEGUN, INSIDE = 1.0, 0.9, 0.6, 0.4

_WORD = re.compile(r"\w+")
_JOINTS = re.compile("(?<=\\w)['’-](?=\\w)")  # t-shirt, tshirt and t shirt are the same to who types them
_ACCENTS = re.compile("[\u0300-\u036f]")  # not those of Japanese, which tell words apart
_NOT_DECOMPOSED = str.maketrans({"ł": "l", "ø": "o", "æ": "ae", "œ": "oe", "đ": "d", "ı": "i"})
# What tells the plural from the singular, in whichever of the languages: one of these on either side, or nothing; and
# how short a stem each may leave. Words as lap and laptop would be the same otherwise.
_ENDINGS = {
    **dict.fromkeys(("ies", "oes", "ves", "es", "en", "er", "ao", "fe", *"aeiosy"), 3),
    **dict.fromkeys("fnrtx", 4),
}
_SHORTEST_INSIDE = 4  # of a word in a compound; Chinese, Japanese and Korean words are shorter
_WIDE = re.compile("[\u1100-\u11ff\u3040-\u30ff\u3130-\u318f\u3400-\u9fff\uac00-\ud7af]")


def folded(text: str) -> str:
    """Lower case without accents: Mäntel is mantel, ŁYŻKI lyzki, but パ stays apart from ハ."""
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return unicodedata.normalize("NFKC", _ACCENTS.sub("", decomposed)).translate(_NOT_DECOMPOSED)


def words_of(text: str) -> list[str]:
    """The folded words; where a script has no blanks, what stands between signs."""
    return _WORD.findall(folded(text))


def stems_of(word: str) -> set[str]:
    """What the singular and the plural of a word have in common."""
    return {word} | {
        word.removesuffix(ending)
        for ending, shortest in _ENDINGS.items()
        if word.endswith(ending) and len(word) - len(ending) >= shortest
    }


class Names:
    """The names of a tree's nodes, whose ids spell their paths, in one language."""

    def __init__(self, names: Iterable[tuple[str, str]]) -> None:
        """`names`: ids, each with its name."""
        self._ids, spelled = zip(*names, strict=True)
        text = folded("\n".join(spelled))  # name by name it takes up to three times as long
        apart, joined = text.split("\n"), _JOINTS.sub("", text).split("\n")
        # Both ways to write a name, where they differ. Words are told apart only of the few that may fit.
        self._names = [one if one == other else f"{one}\t{other}" for one, other in zip(apart, joined, strict=True)]

    def ranked(self, typed: str) -> Iterator[tuple[str, tuple[float, ...]]]:
        """Ids of those whose name has any of the words, each with its rank, of which the higher is the better.

        Ranks go by how many words the path has, whether they are the whole name, whether all are in the name, how well
        they fit, and how short the name and the path are.
        """
        words = words_of(typed)
        stems = [stems_of(word) for word in words]
        shortest = [min(some, key=len) for some in stems]
        ways = {
            category_id: [_WORD.findall(way) for way in name.split("\t")]
            for category_id, name in zip(self._ids, self._names, strict=True)
            if any(stem in name for stem in shortest)
        }
        fits = {
            category_id: [
                max(_fit(word, some, own) for way in names for own in way)
                for word, some in zip(words, stems, strict=True)
            ]
            for category_id, names in ways.items()
        }
        for category_id, own in fits.items():
            if any(own):
                above = [fits[one] for one in ids_down_to(category_id) if one in fits]
                along = [max(fit) for fit in zip(*above, strict=True)]
                whole = min(own) >= INFLECTED and any(_is_whole(words, way) for way in ways[category_id])
                found, length = sum(fit > 0 for fit in along), len(ways[category_id][0])
                yield category_id, (found, whole, all(own), sum(own), sum(along), -length, -category_id.count("-"))


def _is_whole(typed: list[str], name: list[str]) -> bool:
    return len(typed) == len(name) and all(
        any(_fit(word, stems_of(word), own) >= INFLECTED for own in name) for word in typed
    )


def _fit(typed: str, stems: set[str], word: str) -> float:
    if typed == word:
        return SAME
    if typed[:3] == word[:3] and not stems.isdisjoint(stems_of(word)):
        return INFLECTED
    if word.startswith(typed):
        return BEGUN
    if typed in word and (len(typed) >= _SHORTEST_INSIDE or _WIDE.search(typed)):
        return INSIDE
    return 0.0
