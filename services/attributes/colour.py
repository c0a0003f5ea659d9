"""The colours of the product on a photo: not of what it lies on, nor of who wears it and what else they wear.

The region network says roughly where the product is (shared/vision/regions.py); what colours that place and all else
are made of draws the line between the two. What they are called: services/attributes/colour_names.py.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from services.attributes.colour_names import INDOORS, STUDIO, ColourName, Light, Name, names_of
from shared.photos import Pixels
from shared.vision.cutting import Lab, Map, Mask, clusters, lab_of, refined
from shared.vision.regions import REGIONS, Maps, Region

CLUSTERS = 5
RIM = 0.07  # of the photo's sides: where the ground is looked for
LEAST_GROUND = 0.2  # of the rim's pixels
NOT_PRODUCT = -1.0  # log odds
WHITE_GROUND, TINT_OF_WHITE = 86.0, 10.0  # lightness and chroma of a ground that is meant to be white
SAME_AS_GROUND = 2.5  # in units of L, a and b
LEAST_LEFT = 0.15  # of the product's pixels
LEAST_WORN = 0.01  # of the photo's pixels: with less, the garment is looked for where the product is
LEAST_SHARE = 0.12  # of the product's pixels: what has less is a trimming
SECOND_SHARE = 0.25  # from here on a product has two colours
MOSTLY = 0.45  # with less, no colour covers most of what has three or more
MERGED_DISTANCE = 14.0  # CIE76 with half of lightness: shades of one dye
SHINE = 45.0  # in units of L, from the dark to the bright parts: more than folds make
BETWEEN = 0.4  # of the pixels are neither: a print has two tones, metal has all
ONE_HUE = 0.93  # the length of the mean of unit vectors, one for each pixel's hue


@dataclass(frozen=True, slots=True)
class Colour:
    """A name, the share of the product that has it, and how certain the name is; both 0 to 1.

    `distance`: CIEDE2000 from the middle of what is called so; 0 for "multicolour".
    """

    name: ColourName
    share: float
    confidence: float
    distance: float


def colours_of(picture: Pixels, maps: Maps, region: Region, may_shine: bool) -> list[Colour]:
    """The product's, the surest first; those of the larger share before others.

    `picture`: RGB, as `small` makes it. `maps`: its regions, of any resolution. `region`: which of them the answer is
    about. `may_shine`: whether it may be made of metal; cloth never is.
    """
    lab = lab_of(picture)
    odds = _odds(maps, region, lab)
    product = refined(lab, odds)
    ground = _ground(lab, _odds(maps, "product", lab), product)
    light = INDOORS
    if ground is not None:
        product = _without_ground(lab, product, ground)
        light, lab = _lit(lab, ground)
    clarity = float(np.clip(2 / (1 + np.exp(-odds[product])) - 1, 0, 1).mean())
    return _in_order(_dyes(lab[product], light, may_shine), clarity)


def _odds(maps: Maps, region: Region, lab: Lab) -> Map:
    chosen = maps[REGIONS.index(region)]
    if (chosen > 0).mean() < LEAST_WORN:
        chosen = maps[REGIONS.index("product")]
    height, width = lab.shape[:2]
    return np.asarray(cv2.resize(np.asarray(chosen, np.float32), (width, height)), dtype=np.float32)


def _ground(lab: Lab, odds: Map, product: Mask) -> Lab | None:
    """The colour of the ground along the rim; None where the product fills the photo."""
    rim = _rim(odds.shape)
    ground = lab[rim & (odds < NOT_PRODUCT) & ~product]
    if len(ground) < LEAST_GROUND * rim.sum():
        return None
    return np.asarray(np.median(ground, axis=0), dtype=np.float32)


def _without_ground(lab: Lab, product: Mask, ground: Lab) -> Mask:
    """Not what is seen through a bag's handle or beside a thin thing; all of it, where hardly anything else is left."""
    left = product & (np.abs(lab - ground).max(axis=2) > SAME_AS_GROUND)
    return left if left.sum() > LEAST_LEFT * product.sum() else product


def _lit(lab: Lab, ground: Lab) -> tuple[Light, Lab]:
    """The light before a ground, and the colours without its tint and dimness where the ground is meant to be white."""
    lightness, a, b = (float(value) for value in ground)
    if lightness < WHITE_GROUND or np.hypot(a, b) > TINT_OF_WHITE:
        return INDOORS, lab
    # What is dark has less of a tint.
    tint = lab[:, :, :1] / lightness * np.array([0, a, b], np.float32)
    return STUDIO, np.asarray((lab - tint) * np.array([100 / lightness, 1, 1], np.float32), dtype=np.float32)


def _rim(shape: tuple[int, ...]) -> Mask:
    height, width = shape
    rows, columns = max(1, round(height * RIM)), max(1, round(width * RIM))
    rim = np.ones((height, width), dtype=np.bool_)
    rim[rows:-rows, columns:-columns] = False
    return rim


@dataclass(frozen=True, slots=True)
class _Dye:
    names: tuple[Name, ...]  # the broadest first
    share: float


def _dyes(product: Lab, light: Light, may_shine: bool) -> list[_Dye]:
    """What the product is made of by name, the largest first."""
    if may_shine and _shines(product):
        return [_Dye(names_of(product, light, shines=True), 1.0)]
    centres, labels = clusters(product, CLUSTERS)
    found: dict[ColourName, _Dye] = {}
    for group in _shades_of_one_dye(centres):
        pixels = product[np.isin(labels, group)]
        dye = _Dye(names_of(pixels, light), len(pixels) / len(product))
        same = found.get(dye.names[0].name, dye)
        # Two cloths of one name: the larger one says how certain it is.
        names = max(dye, same, key=lambda one: one.share).names
        found[names[0].name] = dye if same is dye else _Dye(names, same.share + dye.share)
    return sorted(found.values(), key=lambda dye: -dye.share)


def _shines(product: Lab) -> bool:
    """Whether it has one hue, or none, in all shades from dark to bright, as metal mirrors what is around it."""
    lightness, ab = product[:, 0], product[:, 1:]
    dark, bright = np.quantile(lightness, (0.05, 0.95))
    if bright - dark < SHINE:
        return False
    quarter = (bright - dark) / 4
    chroma = np.hypot(ab[:, 0], ab[:, 1])
    tinted = chroma > 10
    hues = ab[tinted] / chroma[tinted, None]
    one_hue = tinted.mean() < 0.15 or np.linalg.norm(hues.mean(axis=0)) > ONE_HUE
    return bool(one_hue and ((lightness > dark + quarter) & (lightness < bright - quarter)).mean() > BETWEEN)


def _in_order(dyes: Sequence[_Dye], clarity: float) -> list[Colour]:
    first = dyes[0]
    colours: list[Colour] = []
    if first.share < MOSTLY and sum(dye.share >= LEAST_SHARE for dye in dyes) > 2:
        colours.append(Colour("multicolour", 1.0, _confidence(1 - first.share, 1.0, clarity), 0.0))
    kept = [first, *(dye for dye in dyes[1:2] if dye.share >= SECOND_SHARE)]
    for dye in kept:
        for name in dye.names:
            confidence = _confidence(name.certainty, dye.share, clarity)
            # Whoever wants one value takes the surest.
            least = colours[0].confidence if colours else 1.0
            colours.append(Colour(name.name, dye.share, min(confidence, least), name.distance))
    return colours


def _confidence(certainty: float, share: float, clarity: float) -> float:
    return float(np.clip(certainty * (0.45 + 0.3 * min(1.0, share / 0.6) + 0.25 * clarity), 0.05, 0.98))


def _shades_of_one_dye(centres: Lab) -> Iterator[list[int]]:
    """Groups of clusters that differ little once lightness counts half: the folds of one cloth."""
    scaled = centres * np.array([0.5, 1.0, 1.0], np.float32)
    apart = np.sqrt(((scaled[:, None] - scaled[None]) ** 2).sum(axis=2))
    left = list(range(len(centres)))
    while left:
        group = [left.pop(0)]
        for member in group:
            near = [other for other in left if apart[member, other] < MERGED_DISTANCE]
            group += near
            left = [other for other in left if other not in near]
        yield group
