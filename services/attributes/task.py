"""What a product is like: its colours, whom it is for, and what its label says."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from vitrine.events.v1 import image_pb2

from services.attributes.colour import colours_of
from services.attributes.looks import may_be_of_metal, region_of
from services.attributes.reading import attributes_in, require_known_brands
from services.attributes.text import LONGEST_SIDE, Line, TextReader
from shared.photos import Photo, Pixels
from shared.stream.assessment import assess
from shared.stream.task import Finding, SeesCategories
from shared.vision.cutting import small
from shared.vision.pack import CategorySpec, Meaning
from shared.vision.regions import SIDE, Maps

COLOUR = "colour"
AUDIENCE = "audience"
PICTURE = "picture"
# The shorter side of a photo at 4:3 whose longer one the text reader takes whole.
TEXT_SIDE = LONGEST_SIDE * 3 // 4


class SeesProducts(SeesCategories, Protocol):
    """What the attributes task needs of a Reader."""

    def audiences(self, photos: Sequence[Photo]) -> list[tuple[str, float]]: ...

    @property
    def categories_said(self) -> Sequence[CategorySpec]: ...

    def meaning_of(self, path: Sequence[str]) -> Meaning: ...


class FindsRegions(Protocol):
    """What the attributes task needs of Regions (shared/vision/regions.py)."""

    def warm_up(self) -> None: ...

    def prepare(self, photo: Photo) -> None: ...

    def see(self, photos: Sequence[Photo]) -> None: ...

    def maps(self, photo: Photo) -> Maps: ...


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

    Its colours are those of the region that the category is about: of a shirt, what is worn above the waist. Text is
    read in `conclude`, on CPU threads, and only where the category carries any: it costs more than all the rest.
    """

    name = "attributes"

    def __init__(self, reader: SeesProducts, regions: FindsRegions, text: ReadsText | None = None) -> None:
        """Raises PackUnusable when the pack names lists of brands that there are not."""
        require_known_brands(reader.pack_name, reader.categories_said)
        self._reader = reader
        self._regions = regions
        self._text = text or TextReader()

    def warm_up(self) -> None:
        self._reader.warm_up()
        self._regions.warm_up()

    def prepare(self, photo: Photo) -> None:
        """Decodes for the networks, and keeps what colours are judged by. Raises Poison."""
        self._reader.prepare(photo)
        self._regions.prepare(photo)
        _picture_of(photo)

    def infer(self, photos: Sequence[Photo], inputs: Sequence[None]) -> Sequence[Seen]:
        """Raises OutOfMemory."""
        self._reader.see(photos)
        self._regions.see(photos)
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
            attributes=attributes_of(photo, found, self._reader, self._regions, self._text),
        )
        return [Finding(attributed)]


def attributes_of(
    photo: Photo, seen: Seen, reader: SeesProducts, regions: FindsRegions, text: ReadsText
) -> list[image_pb2.Attribute]:
    """What is seen first, then what is read. Two colours are two attributes; every other name appears once."""
    meaning = reader.meaning_of(seen.category.path)
    found: list[image_pb2.Attribute] = []
    if COLOUR in meaning.attributes:
        found += photo.noted("colours", lambda: list(_colours(photo, meaning, regions)))
    if AUDIENCE in meaning.attributes:
        found.append(_seen(AUDIENCE, seen.audience, seen.audience_confidence))
    if meaning.carries_text:
        found += photo.noted("read", lambda: list(_read(photo, meaning, text)))
    return found


def _colours(photo: Photo, meaning: Meaning, regions: FindsRegions) -> Iterator[image_pb2.Attribute]:
    region, may_shine = region_of(meaning.taxonomy_id), may_be_of_metal(meaning.taxonomy_id)
    for colour in colours_of(_picture_of(photo), regions.maps(photo), region, may_shine):
        attribute = _seen(COLOUR, colour.name, colour.confidence)
        attribute.lab_distance = round(colour.distance, 1)
        yield attribute


def _picture_of(photo: Photo) -> Pixels:
    """What colours are judged by: small, so it may wait with the photo."""
    return photo.once(PICTURE, lambda: small(photo.pixels(SIDE)))


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
