"""Pictures that heads are trained on."""

from collections.abc import Collection as Some
from collections.abc import Iterator

import numpy as np

from studio import photographs
from studio.cloth import Colour
from studio.fields import Random
from studio.garments import Dye
from studio.paints import Paint
from studio.phones import Model
from studio.prints import Goods
from studio.templates import TRAINING, Collection
from studio.wares import KINDS

_STREAM = 0x7EA  # keeps these pictures' randomness apart from the demo's under the same seed

CARTON = ("packages", "carton")
PHONE = ("electronics", "phone")


def training_photos(seed: int, per_class: int, wares: Some[str] = ()) -> Iterator[tuple[bytes, tuple[str, ...]]]:
    """Yields JPEGs with their category paths, `per_class` of each class, the classes taking turns.

    The classes are those of garments, cartons and phones, and after them the kinds of `studio.wares.KINDS` that `wares`
    names. The same seed yields the same bytes on the same versions of numpy, OpenCV and Pillow. No template, brand or
    colour of the demo catalogue is among them. Raises KeyError for a kind that has no design for training.
    """
    labels = sorted({cut.label for cut in TRAINING.cuts})
    if unknown := set(wares) - {ware.kind for ware in TRAINING.wares}:
        raise KeyError(f"no such kinds: {', '.join(sorted(unknown))}")
    for number in range(per_class):
        for label in labels:
            yield (
                _garment(np.random.default_rng([_STREAM, seed, number, labels.index(label)]), label, number),
                ("garments", label),
            )
        yield _carton(np.random.default_rng([_STREAM, seed, number, 100])), CARTON
        yield _phone(np.random.default_rng([_STREAM, seed, number, 101]), number), PHONE
        for place, kind in enumerate(KINDS):
            if kind in wares:
                yield _ware(np.random.default_rng([_STREAM, seed, number, 200 + place]), kind, number), KINDS[kind].path


def _any_colour(random: Random, collection: Collection) -> Colour:
    """A colour of the palette, a little off."""
    base = list(collection.colours.values())[int(random.integers(len(collection.colours)))]
    r, g, b = np.clip(np.array(base) + random.normal(0, 0.025, 3), 0.03, 0.97)
    return float(r), float(g), float(b)


def _accent(random: Random, collection: Collection, base: Colour) -> Colour:
    """One that can be told from `base`."""
    while True:
        accent = _any_colour(random, collection)
        if abs(sum(accent) - sum(base)) > 0.6:
            return accent


def _garment(random: Random, label: str, number: int) -> bytes:
    cuts = [cut for cut in TRAINING.cuts if cut.label == label]
    cut = cuts[number % len(cuts)]
    fabric = cut.fabrics[int(random.integers(len(cut.fabrics)))]
    base = _any_colour(random, TRAINING)
    setting = TRAINING.surfaces[int(random.integers(len(TRAINING.surfaces)))]
    return photographs.garment(cut, fabric, Dye(base, _accent(random, TRAINING, base)), setting, random)


def _carton(random: Random) -> bytes:
    box = TRAINING.cartons[int(random.integers(len(TRAINING.cartons)))]
    product = TRAINING.products[int(random.integers(len(TRAINING.products)))]
    base = _any_colour(random, TRAINING)
    quantity = product.quantities[int(random.integers(len(product.quantities)))]
    paper = (0.95, 0.94, 0.90)
    goods = Goods(product.brand, product.name, quantity, base, product.accent, paper, TRAINING.typeface)
    grounds = [surface for surface in TRAINING.surfaces if surface[0] in ("planks", "table", "tiles")]
    wall = TRAINING.walls[int(random.integers(len(TRAINING.walls)))]
    return photographs.carton(box, goods, grounds[int(random.integers(len(grounds)))], wall, random)


def _phone(random: Random, number: int) -> bytes:
    handset = TRAINING.handsets[int(random.integers(len(TRAINING.handsets)))]
    brand, name, memories = TRAINING.phones[int(random.integers(len(TRAINING.phones)))]
    memory = memories[int(random.integers(len(memories)))]
    model = Model(brand, name, memory, _any_colour(random, TRAINING), _any_colour(random, TRAINING), TRAINING.typeface)
    setting = TRAINING.surfaces[int(random.integers(len(TRAINING.surfaces)))]
    return photographs.phone(handset, model, "back" if number % 2 else "front", setting, random)


def _ware(random: Random, kind: str, number: int) -> bytes:
    designs = [ware for ware in TRAINING.wares if ware.kind == kind]
    base = _any_colour(random, TRAINING)
    paint = Paint(base, _accent(random, TRAINING, base), TRAINING.label(kind, random), TRAINING.typeface)
    return photographs.ware(designs[number % len(designs)], paint, *TRAINING.setting(random), random)
