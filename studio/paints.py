"""What a thing is painted and printed with, apart from its shape."""

from dataclasses import dataclass

from studio.cloth import Colour
from studio.lettering import Typeface


@dataclass(frozen=True)
class Label:
    """Printed words: whose it is, what it is called, and how much is in it ("150 g", or nothing)."""

    brand: str
    title: str
    quantity: str = ""


@dataclass(frozen=True)
class Paint:
    """The colour of a thing, one that can be told from it, and what is printed on it."""

    base: Colour
    accent: Colour
    label: Label
    typeface: Typeface
