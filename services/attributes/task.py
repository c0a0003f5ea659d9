"""What a product is like: its colours, whom it is for, and what its label says."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from vitrine.events.v1 import image_pb2

from services.attributes.colour import Colour, colours_of
from services.attributes.reading import attributes_in, require_known_brands
from services.attributes.text import LONGEST_SIDE, Line, TextReader
from shared.photos import Photo, Pixels
from shared.stream.assessment import assess
from shared.stream.task import Finding, SeesCategories
from shared.vision.pack import CategorySpec, Meaning

COLOUR = "colour"
AUDIENCE = "audience"
# What the trunk decodes to: colours are judged from a tenth of that, so its decode is shared.
COLOUR_SIDE = 224
# The shorter side of a photo at 4:3 whose longer one the text reader takes whole.
TEXT_SIDE = LONGEST_SIDE * 3 // 4


class SeesProducts(SeesCategories, Protocol):
    """What the attributes task needs of a Reader."""

    def audiences(self, photos: Sequence[Photo]) -> list[tuple[str, float]]: ...

    @property
    def categories_said(self) -> Sequence[CategorySpec]: ...

    def meaning_of(self, path: Sequence[str]) -> Meaning: ...


class ReadsText(Protocol):
    def read(self, pixels: Pixels) -> Sequence[Line]:
        """The printed lines on upright RGB, height x width x 3. Called from many threads."""
        ...


@dataclass(frozen=True, slots=True)
class Seen:
    """What the trunk's heads say of one photo."""

    category: image_pb2.Category
    audience: str
    audience_confidence: float


class AttributesTask:
    """Which attributes a product has depends on its category: a phone has memory, a shirt an audience.

    Colours need no category: they are found in `prepare`, while the decoded pixels are still in the cache. Text is read
    in `conclude`, on CPU threads, and only where the category carries any: it costs more than all the rest.
    """

    name = "attributes"

    def __init__(self, reader: SeesProducts, text: ReadsText | None = None) -> None:
        """Raises PackUnusable when the pack names lists of brands that there are not."""
        require_known_brands(reader.pack_name, reader.categories_said)
        self._reader = reader
        self._text = text or TextReader()

    def warm_up(self) -> None:
        self._reader.warm_up()

    def prepare(self, photo: Photo) -> None:
        """Decodes for the trunk and finds the colours. Raises Poison."""
        self._reader.prepare(photo)
        _colours_of(photo)

    def infer(self, photos: Sequence[Photo], inputs: Sequence[None]) -> Sequence[Seen]:
        """Raises OutOfMemory."""
        self._reader.see(photos)
        return [
            Seen(category, audience, confidence)
            for category, (audience, confidence) in zip(
                self._reader.categories(photos), self._reader.audiences(photos), strict=True
            )
        ]

    def takes_long(self, found: Seen) -> bool:
        """Reading text takes longer than everything else together."""
        return self._reader.meaning_of(found.category.path).carries_text

    def conclude(self, photo: Photo, found: Seen) -> Sequence[Finding]:
        """One ImageAttributed; of an unknown photo with what the pack lets everything have. Raises Poison."""
        attributed = image_pb2.ImageAttributed(
            assessment=assess(photo.upload, self._reader.pack_name, self._reader.generation),
            attributes=attributes_of(photo, found, self._reader, self._text),
        )
        return [Finding(attributed)]


def attributes_of(photo: Photo, seen: Seen, reader: SeesProducts, text: ReadsText) -> list[image_pb2.Attribute]:
    """What is seen first, then what is read. Two colours are two attributes; every other name appears once."""
    meaning = reader.meaning_of(seen.category.path)
    found: list[image_pb2.Attribute] = []
    if COLOUR in meaning.attributes:
        found += _colours(photo)
    if AUDIENCE in meaning.attributes:
        found.append(_seen(AUDIENCE, seen.audience, seen.audience_confidence))
    if meaning.carries_text:
        found += photo.noted("read", lambda: list(_read(photo, meaning, text)))
    return found


def _colours(photo: Photo) -> Iterator[image_pb2.Attribute]:
    for colour in _colours_of(photo):
        yield _seen(COLOUR, colour.name, colour.confidence)


def _colours_of(photo: Photo) -> Sequence[Colour]:
    """Found once per photo, however often they are asked for."""
    return photo.noted("colours", lambda: colours_of(photo.pixels(COLOUR_SIDE)))


def _seen(name: str, value: str, confidence: float) -> image_pb2.Attribute:
    return image_pb2.Attribute(name=name, value=value, confidence=confidence, source=image_pb2.Attribute.SOURCE_SEEN)


def _read(photo: Photo, meaning: Meaning, text: ReadsText) -> Iterator[image_pb2.Attribute]:
    lines = photo.once("text", lambda: text.read(photo.pixels(TEXT_SIDE)))
    for attribute in attributes_in(lines, meaning):
        yield image_pb2.Attribute(
            name=attribute.name,
            value=attribute.value,
            unit=attribute.unit,
            confidence=attribute.confidence,
            source=image_pb2.Attribute.SOURCE_READ,
        )
