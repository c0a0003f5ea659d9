"""What a seller typed, taken apart: paths into parts, parts into pieces, pieces into folded words."""

import html
import re
from collections.abc import Iterator, Sequence

from shared.product_taxonomy.search import folded

# Between the parts of a path; a dash or colon only where it stands apart, as words have them too.
_BETWEEN_PARTS = re.compile(r"[>|›»→\\]+|\s[-–—:]+\s|:\s|::|(?<=[^\W\d_]{2})/(?=[^\W\d_]{2})|\s/\s")
_BETWEEN_PIECES = re.compile(r"[,;&+/·•()\[\]{}!?…。，；（）【】「」『』]+|\s[-–—]+\s|\s\|\s")
_POSSESSIVE = re.compile(r"['’‘`]s\b")
_ELISION = re.compile("['’‘`]")
_WORD = re.compile(r"[^\W_]+")
WIDE = re.compile("[\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff]")  # scripts without blanks
IDEOGRAPHS = re.compile("[\u3400-\u4dbf\u4e00-\u9fff]+")
HANGUL = re.compile("[\uac00-\ud7af]")

Word = str


def tidied(text: str) -> str:
    """Folded, and without what HTML makes of signs: "Tom &amp;amp; Co" has often been escaped twice."""
    return folded(html.unescape(html.unescape(text)) if "&" in text else text)


def parts_of(category: str) -> list[str]:
    """The parts of a tidied path, the general ones first; of what is no path, itself."""
    return [part for text in _BETWEEN_PARTS.split(category) if (part := text.strip())]


def pieces_of(text: str) -> list[str]:
    """What stands between commas, brackets and the like of a tidied text; each may name a thing by itself."""
    return [piece for part in _BETWEEN_PIECES.split(text) if (piece := part.strip())]


def words_of(piece: str) -> list[Word]:
    """The words of a tidied text.

    A T that stands alone belongs to what follows ("t-shirt", "T 恤"); words with hyphens are apart.
    """
    if "'" in piece or "’" in piece or "‘" in piece or "`" in piece:
        piece = _ELISION.sub(" ", _POSSESSIVE.sub("s", piece))
    words = _WORD.findall(piece)
    return list(_glued(words)) if "t" in words else words


def _glued(words: Sequence[Word]) -> Iterator[Word]:
    letter = ""
    for word in words:
        if word == "t" and not letter:
            letter = word
            continue
        yield letter + word
        letter = ""
    if letter:
        yield letter
