"""The demo's catalogue: listings of several sellers whose right answers are known.

Most are honest. Planted among them are copies of other sellers' photos, look-alikes (the same product, photographed
anew) and listings that claim to be something else than they show.
"""

from collections.abc import Container, Iterator
from dataclasses import dataclass, replace
from typing import Literal

import cv2
import numpy as np

from studio import photographs
from studio.cloth import Colour
from studio.fields import Random
from studio.garments import Cut, Dye
from studio.paints import Paint
from studio.phones import Handset, Model
from studio.prints import Carton, Goods
from studio.templates import DEMO, Product
from studio.training import CARTON, PHONE
from studio.wares import KINDS, Ware

_STREAM = 0xDE0  # keeps these pictures' randomness apart from the training pictures' under the same seed

Decision = Literal["allow", "review", "block"]
Attributes = dict[str, tuple[str, str]]  # name to value and unit

SELLERS = (
    "amber-attic",
    "blue-heron",
    "corner-nine",
    "dockside",
    "elm-street",
    "fable-goods",
    "gable-house",
    "harvest-hall",
)
# Of twenty listings so many are planted.
_COPIES, _LOOKALIKES, _FALSE_CLAIMS = 2, 2, 1
_WARES = (1, 5, 6, 15, 17)  # of twenty listings, where wares take garments' places
_EDITS = ("recompressed", "mirrored", "resized", "cropped")


@dataclass(frozen=True)
class Expected:
    """What the fleet should answer.

    `colour` is None where a pattern has no one colour. `decisions` are those that are right, the likeliest first;
    `reason` is the fraud reason's code, empty for an honest listing. `copy_of` and `looks_like` are references: of the
    listing whose photo was copied, and of the one that shows the same product honestly.
    """

    path: tuple[str, ...]
    colour: str | None
    attributes: Attributes
    decisions: tuple[Decision, ...] = ("allow",)
    reason: str = ""
    copy_of: str | None = None
    looks_like: str | None = None

    @property
    def decision(self) -> Decision:
        return self.decisions[0]


@dataclass(frozen=True)
class DemoListing:
    """One listing as its seller uploads it: the claims, and the photos as JPEGs."""

    reference: str
    seller_id: str
    title: str
    category: str
    brand: str
    price: str  # a decimal number
    currency: str
    photos: tuple[bytes, ...]
    expected: Expected


@dataclass(frozen=True)
class _Worn:
    cut: Cut
    fabric: str
    dye: Dye
    colour: str


@dataclass(frozen=True)
class _Packed:
    box: Carton
    goods: Goods
    product: Product


@dataclass(frozen=True)
class _Called:
    handset: Handset
    model: Model


@dataclass(frozen=True)
class _Stocked:
    ware: Ware
    paint: Paint
    colour: str


_Thing = _Worn | _Packed | _Called | _Stocked


def demo_catalogue(seed: int = 7, listings: int = 150, known: Container[tuple[str, ...]] = ()) -> Iterator[DemoListing]:
    """Yields the listings in the order in which they are to be imported: an original always before its copies.

    A third of what is honestly offered are wares (bags, watches, mugs …) of the categories among `known`; without any,
    all are garments, cartons and phones. The other listings are the same either way. The same seed yields the same
    bytes on the same versions of numpy, OpenCV and Pillow.
    """
    honest: list[tuple[DemoListing, _Thing]] = []
    wares = [ware for ware in DEMO.wares if KINDS[ware.kind].path in known]
    stocked = 0
    for number in range(listings):
        random = np.random.default_rng([_STREAM, seed, number])
        place = number % 20
        reference = f"demo-{number + 1:03}"
        if place in (9, 18)[:_COPIES] and honest:
            original, thing = honest[int(random.integers(max(0, len(honest) - 40), len(honest)))]
            edit = _EDITS[(number // 9) % len(_EDITS)]
            yield _copied(reference, original, edit, random)
        elif place in (13, 19)[:_LOOKALIKES] and honest:
            original, thing = honest[int(random.integers(max(0, len(honest) - 40), len(honest)))]
            listing = _offered(reference, _other_seller(original.seller_id, random), thing, 1, random)
            yield replace(listing, expected=replace(listing.expected, looks_like=original.reference))
        elif place in (16,)[:_FALSE_CLAIMS]:
            yield _misclaimed(reference, number, random)
        else:
            if wares and place in _WARES:
                # All designs in turn, lest a short catalogue lacks a department.
                thing = _stocked(wares[stocked % len(wares)], random)
                stocked += 1
            else:
                thing = _thing(number, random)
            shots = 1 + (place in (3, 11)) + (place == 11 and number % 40 == 11)
            listing = _offered(reference, SELLERS[int(random.integers(len(SELLERS)))], thing, shots, random)
            honest.append((listing, thing))
            yield listing


def _thing(number: int, random: Random) -> _Thing:
    """The kinds take turns: of ten products six are garments, two cartons and two phones; the cuts take turns."""
    turn = number % 10
    if turn in (2, 7):
        return _packed(random)
    if turn in (4, 8):
        return _called(random)
    return _worn(DEMO.cuts[(number * 7) % len(DEMO.cuts)], random)


def _colour(random: Random) -> tuple[str, Colour]:
    names = list(DEMO.colours)
    name = names[int(random.integers(len(names)))]
    r, g, b = np.clip(np.array(DEMO.colours[name]) + random.normal(0, 0.012, 3), 0.04, 0.96)
    return name, (float(r), float(g), float(b))


def _accent(base: Colour) -> Colour:
    return (0.93, 0.92, 0.88) if sum(base) < 1.7 else (0.14, 0.15, 0.22)


def _worn(cut: Cut, random: Random) -> _Worn:
    name, base = _colour(random)
    fabric = cut.fabrics[int(random.integers(len(cut.fabrics)))]
    if fabric == "denim":
        name, base = "blue", (0.20, 0.31, 0.50)
    return _Worn(cut, fabric, Dye(base, _accent(base)), name)


def _packed(random: Random) -> _Packed:
    product = DEMO.products[int(random.integers(len(DEMO.products)))]
    boxes = [box for box in DEMO.cartons if box.motif == product.motif]
    box = boxes[int(random.integers(len(boxes)))]
    saturated = [DEMO.colours[name] for name in ("red", "orange", "green", "blue", "purple")]
    base = saturated[int(random.integers(len(saturated)))]
    quantity = product.quantities[int(random.integers(len(product.quantities)))]
    goods = Goods(product.brand, product.name, quantity, base, product.accent, (0.96, 0.955, 0.93), DEMO.typeface)
    return _Packed(box, goods, product)


def _called(random: Random) -> _Called:
    handset = DEMO.handsets[int(random.integers(len(DEMO.handsets)))]
    brand, name, memories = DEMO.phones[int(random.integers(len(DEMO.phones)))]
    memory = memories[int(random.integers(len(memories)))]
    body = DEMO.colours[("black", "blue", "green", "white", "purple", "grey")[int(random.integers(6))]]
    return _Called(handset, Model(brand, name, memory, body, _colour(random)[1], DEMO.typeface))


def _stocked(ware: Ware, random: Random) -> _Stocked:
    name, base = _colour(random)
    accent = _colour(random)[1]
    while _lost(accent, base):
        accent = _colour(random)[1]
    return _Stocked(ware, Paint(base, accent, DEMO.label(ware.kind, random), DEMO.typeface), name)


def _shot(thing: _Thing, number: int, random: Random) -> bytes:
    """One photo of a thing; its pose, surroundings, light and camera come from `random`."""
    setting = DEMO.surfaces[int(random.integers(len(DEMO.surfaces)))]
    if isinstance(thing, _Worn):
        while _lost(thing.dye.base, setting[1]):
            setting = DEMO.surfaces[int(random.integers(len(DEMO.surfaces)))]
        return photographs.garment(thing.cut, thing.fabric, thing.dye, setting, random)
    if isinstance(thing, _Packed):
        grounds = [surface for surface in DEMO.surfaces if surface[0] in ("planks", "table", "tiles")]
        wall = DEMO.walls[int(random.integers(len(DEMO.walls)))]
        return photographs.carton(thing.box, thing.goods, grounds[int(random.integers(len(grounds)))], wall, random)
    if isinstance(thing, _Stocked):
        setting, wall = DEMO.setting(random)
        while KINDS[thing.ware.kind].coloured and _lost(thing.paint.base, setting[1]):
            setting, wall = DEMO.setting(random)
        return photographs.ware(thing.ware, thing.paint, setting, wall, random)
    view = ("back", "front")[(number + int(random.integers(2))) % 2]
    return photographs.phone(thing.handset, thing.model, view, setting, random)


def _lost(product: Colour, ground: Colour) -> bool:
    """Whether nobody would lay this product on that ground, because it hardly shows."""
    return float(np.abs(np.subtract(product, ground)).max()) < 0.25


def _offered(reference: str, seller_id: str, thing: _Thing, shots: int, random: Random) -> DemoListing:
    photos = tuple(_shot(thing, number, random) for number in range(shots))
    if isinstance(thing, _Worn):
        patterned = thing.fabric in ("striped", "checked", "dotted", "flowered", "pinstriped")
        expected = Expected(("garments", thing.cut.label), None if patterned else thing.colour, {})
        adjective = thing.fabric if patterned else thing.colour
        title, brand, category = f"{adjective.capitalize()} {thing.cut.name}", "", thing.cut.label
        low, high = 6, 60
    elif isinstance(thing, _Packed):
        value, unit = thing.goods.quantity.split()
        measure = "weight" if unit in ("g", "kg") else "volume"
        expected = Expected(CARTON, None, {"brand": (thing.goods.brand, ""), measure: (value, unit)})
        title, brand = f"{thing.goods.brand} {thing.goods.product} {thing.goods.quantity}", thing.goods.brand
        category, low, high = "carton", 1, 6
    elif isinstance(thing, _Stocked):
        return _ware_offered(reference, seller_id, thing, photos, random)
    else:
        value, unit = thing.model.memory.split()
        expected = Expected(PHONE, None, {"brand": (thing.model.brand, ""), "memory": (value, unit)})
        title, brand = f"{thing.model.brand} {thing.model.model} {thing.model.memory}", thing.model.brand
        category, low, high = "smartphone", 90, 700
    price = f"{random.integers(low, high)}.{random.choice(['00', '50', '90', '99'])}"
    return DemoListing(reference, seller_id, title, category, brand, price, "EUR", photos, expected)


def _ware_offered(
    reference: str, seller_id: str, thing: _Stocked, photos: tuple[bytes, ...], random: Random
) -> DemoListing:
    """A third of the sellers write in another language than English."""
    kind, label = KINDS[thing.ware.kind], thing.paint.label
    attributes: Attributes = {}
    if label.quantity:
        value, unit = label.quantity.split()
        attributes = {"brand": (label.brand, ""), "weight": (value, unit)}
    word = kind.words[max(0, int(random.integers(-5, len(kind.words))))]
    english = word == kind.words[0]
    if label.title != label.brand:
        title = (
            f"{label.title}, {label.brand}" if not label.quantity else f"{label.brand} {label.title} {label.quantity}"
        )
        title = title if english else f"{word}: {title}"
    elif english:
        title = (
            f"{thing.colour.capitalize()} {thing.ware.name}" if kind.coloured else f"{label.brand} {thing.ware.name}"
        )
    else:
        title = f"{label.brand} {word}"
    brand = "" if thing.ware.kind == "book" else label.brand
    price = f"{random.integers(*kind.price)}.{random.choice(['00', '50', '90', '99'])}"
    expected = Expected(kind.path, thing.colour if kind.coloured else None, attributes)
    return DemoListing(reference, seller_id, title, word, brand, price, "EUR", photos, expected)


def _other_seller(seller_id: str, random: Random) -> str:
    others = [seller for seller in SELLERS if seller != seller_id]
    return others[int(random.integers(len(others)))]


def _copied(reference: str, original: DemoListing, edit: str, random: Random) -> DemoListing:
    """Another seller's first photo, edited a little, at a lower price."""
    expected = replace(original.expected, decisions=("block", "review"), reason="copy", copy_of=original.reference)
    price = f"{max(1.0, float(original.price) * 0.7):.2f}"
    return replace(
        original,
        reference=reference,
        seller_id=_other_seller(original.seller_id, random),
        title=f"{original.title}, bargain",
        price=price,
        photos=(edited(original.photos[0], edit, random),),
        expected=expected,
    )


def edited(photo: bytes, edit: str, random: Random) -> bytes:
    """What a copying seller does to a JPEG: "recompressed", "mirrored", "resized" or "cropped" (at most 5 % in all)."""
    picture = cv2.imdecode(np.frombuffer(photo, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    quality = int(random.integers(55, 75))
    height, width = picture.shape[:2]
    if edit == "mirrored":
        picture = picture[:, ::-1]
    elif edit == "resized":
        scale = random.uniform(0.5, 0.8)
        picture = cv2.resize(picture, (round(width * scale), round(height * scale)), interpolation=cv2.INTER_AREA)
    elif edit == "cropped":
        top, left = (round(side * random.uniform(0.005, 0.012)) for side in (height, width))
        picture = picture[top : height - top, left : width - left]
    _, body = cv2.imencode(".jpg", np.ascontiguousarray(picture), [cv2.IMWRITE_JPEG_QUALITY, quality])
    return body.tobytes()


def _misclaimed(reference: str, number: int, random: Random) -> DemoListing:
    """A thing in a category that it cannot be taken for."""
    kind = (number // 20) % 4
    if kind == 0:
        thing: _Thing = _worn(_cut("hat"), random)
        claimed, title = "smartphone", "Smartphone, as new, 256 GB"
    elif kind == 1:
        thing = _called(random)
        claimed, title = "shoes", "Running shoes, size 42"
    elif kind == 2:
        thing = _worn(_cut("pants"), random)
        claimed, title = "smartphone", "Unlocked phone with charger"
    else:
        thing = _packed(random)
        claimed, title = "dress", "Evening dress, worn once"
    listing = _offered(reference, SELLERS[int(random.integers(len(SELLERS)))], thing, 1, random)
    expected = replace(listing.expected, decisions=("review",), reason="category_mismatch")
    return replace(listing, category=claimed, title=title, brand="", expected=expected)


def _cut(label: str) -> Cut:
    return next(cut for cut in DEMO.cuts if cut.label == label)


def canary_photo() -> bytes:
    """A plain, well lit t-shirt as a JPEG of at most 40 KB: what a worker shows itself when photos start failing."""
    dye = Dye(DEMO.colours["blue"], (0.93, 0.92, 0.88))
    body = photographs.garment(
        _cut("t-shirt"), "plain", dye, ("sheet", (0.87, 0.86, 0.84)), np.random.default_rng([_STREAM, 1])
    )
    picture = cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    small = cv2.resize(picture, (450, 600), interpolation=cv2.INTER_AREA)
    _, jpeg = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 80])
    return jpeg.tobytes()
