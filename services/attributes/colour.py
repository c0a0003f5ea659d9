"""The colours of the product on a photo, not of what it lies on.

The product is found without a model: the photo's rim tells the background, its middle the product, and what colours
each of the two is made of draws the line between. Names are given in CIE LCh: by hue where there is colour, by
lightness where there is none. Folds and shade change lightness most and hue least, so lightness is taken from the lit
parts.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from shared.photos import Pixels

ColourName = Literal[
    "black", "white", "grey", "red", "orange", "yellow", "green", "blue", "navy", "purple", "pink", "brown", "beige"
]  # fmt: skip
NAMES: tuple[ColourName, ...] = get_args(ColourName)

Lab = NDArray[np.float32]  # n x 3 or height x width x 3: L 0 to 100, a and b about -100 to 100
Mask = NDArray[np.bool_]

WORKING_SIDE = 64  # pixels of the longer side: texture and print are averaged away, folds are not
RIM = 0.07  # of the photo's sides: where the background is looked for
BIN = 10  # of a Lab histogram, in units of a and b, two of L: a dye's shades share a few bins
BINS_OF_CHROMA = 256 // BIN + 1
BINS = (50 // BIN + 1) * BINS_OF_CHROMA**2
CLUSTERS = 5
LEAST_PRODUCT, MOST_PRODUCT = 0.05, 0.95  # of the photo's pixels: beyond, the cut went wrong
SECOND_SHARE = 0.25  # of the product's pixels: from here on it has two colours
MERGED_DISTANCE = 14.0  # CIE76 with half of lightness: shades of one dye


@dataclass(frozen=True, slots=True)
class Colour:
    """A name, the share of the product that has it, and how certain the name is; both 0 to 1."""

    name: ColourName
    share: float
    confidence: float


def colours_of(pixels: Pixels) -> list[Colour]:
    """One or two, the larger share first, of upright RGB of any size."""
    lab = _lab(_small(pixels))
    product, clarity = product_mask(lab)
    return _named(lab[product], clarity)


def product_mask(lab: Lab) -> tuple[Mask, float]:
    """Where the product is, and how clearly it stands out (0 to 1)."""
    distance = _distance_from_background(lab)
    for seeds in (_seeds(distance), _generous_seeds(distance)):
        mask = _cut(lab, seeds)
        if LEAST_PRODUCT <= mask.mean() <= MOST_PRODUCT:
            return mask, float(np.clip(np.median(distance[mask]) / 25, 0, 1))
    # Nothing stands out: a product that fills the photo, or one of its background's colour.
    middle = _middle(distance.shape)
    return (middle < 0.7) & (distance >= np.median(distance[middle < 0.7])), 0.0


def _small(pixels: Pixels) -> Pixels:
    if max(pixels.shape[:2]) >= 4 * WORKING_SIDE:
        pixels = np.asarray(cv2.pyrDown(pixels), dtype=np.uint8)  # to half: a fast way over most of the distance
    scale = WORKING_SIDE / max(pixels.shape[:2])
    size = (max(8, round(pixels.shape[1] * scale)), max(8, round(pixels.shape[0] * scale)))
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _lab(pixels: Pixels) -> Lab:
    # In 8 bits: half a unit off, which no name hangs on, and twenty times as fast as in floats.
    scaled = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2LAB), dtype=np.float32)
    return scaled * np.array([100 / 255, 1, 1], np.float32) - np.array([0, 128, 128], np.float32)


# --- product and background -------------------------------------------------------------------------------------------
def _distance_from_background(lab: Lab) -> NDArray[np.float32]:
    """How far each pixel is from the nearest of the colours along the rim."""
    weights = np.array([0.5, 1.0, 1.0], np.float32)
    pixels, backgrounds = lab * weights, _background_colours(lab) * weights
    # |p - b|² = |p|² - 2 p·b + |b|²: one small product instead of all differences.
    nearest = ((backgrounds**2).sum(axis=1) - 2 * pixels @ backgrounds.T).min(axis=2)
    return np.asarray(np.sqrt(np.maximum((pixels**2).sum(axis=2) + nearest, 0)), dtype=np.float32)


def _background_colours(lab: Lab) -> Lab:
    """Colours that hold a good part of the rim. What touches it in one place only may be the product's sleeve."""
    rim = _rim(lab.shape[:2])
    pixels = lab[rim]
    centres, labels = _clusters(pixels, 4)
    rows, columns = np.nonzero(rim)
    height, width = rim.shape
    cornered = np.abs(rows / height - 0.5) * np.abs(columns / width - 0.5) * 4  # 1 in a corner, 0 amid a side
    weights = np.array([(0.3 + cornered)[labels == number].sum() for number in range(len(centres))])
    return np.asarray(centres[weights >= 0.12 * weights.sum()], dtype=np.float32)


@cache
def _rim(shape: tuple[int, int]) -> Mask:
    height, width = shape
    rows, columns = max(1, round(height * RIM)), max(1, round(width * RIM))
    rim = np.ones((height, width), dtype=np.bool_)
    rim[rows:-rows, columns:-columns] = False
    return rim


@cache
def _middle(shape: tuple[int, int]) -> NDArray[np.float32]:
    """Elliptical distance from the centre: 0 there, 1 at the middle of each side."""
    rows = np.linspace(-1, 1, shape[0], dtype=np.float32)[:, None]
    columns = np.linspace(-1, 1, shape[1], dtype=np.float32)[None, :]
    return np.asarray(np.sqrt(rows**2 + columns**2), dtype=np.float32)


def _seeds(distance: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The first guess: likely product where it is unlike the background or in the very middle."""
    middle = _middle(distance.shape)
    seeds = np.full(distance.shape, cv2.GC_PR_BGD, dtype=np.uint8)
    seeds[(distance > 10 + 12 * middle) & (middle < 1.25)] = cv2.GC_PR_FGD
    seeds[(middle < 0.35) & (distance > 5)] = cv2.GC_PR_FGD
    seeds[middle < 0.15] = cv2.GC_PR_FGD
    seeds[_rim(distance.shape) & (distance < 8)] = cv2.GC_BGD
    return seeds


def _generous_seeds(distance: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The product where the first cut lost it, or it shares colours with the rim: the middle is it, the rim is not."""
    middle = _middle(distance.shape)
    seeds = np.full(distance.shape, cv2.GC_PR_BGD, dtype=np.uint8)
    seeds[(middle < 0.9) & (distance > 4)] = cv2.GC_PR_FGD
    seeds[_rim(distance.shape) & (distance < 12)] = cv2.GC_BGD
    return seeds


def _cut(lab: Lab, seeds: NDArray[np.uint8]) -> Mask:
    """Pixels whose colours, and whose neighbours', are more often the product's than the background's.

    It does in two passes over a histogram what GrabCut (Rother, Kolmogorov, Blake 2004) does with mixtures of Gaussians
    and a graph cut, in a tenth of its time. Which colours are whose is learned from the first guess, then once more
    from what came of that.
    """
    bins = _bins(lab)
    middle = _middle(seeds.shape)
    product = (seeds == cv2.GC_FGD) | (seeds == cv2.GC_PR_FGD)
    for _ in range(2):
        if product.all() or not product.any():
            return np.zeros(seeds.shape, dtype=np.bool_)  # nothing to tell apart: a photo of one colour
        inside = np.bincount(bins[product], minlength=BINS) / product.sum()
        outside = np.bincount(bins[~product], minlength=BINS) / (~product).sum()
        evidence = np.clip(np.log((inside + 1e-3) / (outside + 1e-3)), -3, 3).astype(np.float32)[bins]
        product = cv2.blur(evidence, (5, 5)) + 0.5 * (0.9 - middle) > 0
        product &= seeds != cv2.GC_BGD
    return np.asarray(product & (middle < 1.3), dtype=np.bool_)


def _bins(lab: Lab) -> NDArray[np.int32]:
    """Each pixel's bin of the histogram, lightness at half its weight: a shadow on the wall is no edge."""
    steps = ((lab + np.array([0, 128, 128], np.float32)) * np.array([0.5 / BIN, 1 / BIN, 1 / BIN], np.float32)).astype(
        np.int32
    )
    return np.asarray(
        (steps[:, :, 0] * BINS_OF_CHROMA + steps[:, :, 1]) * BINS_OF_CHROMA + steps[:, :, 2], dtype=np.int32
    )


# --- naming -----------------------------------------------------------------------------------------------------------
def _named(product: Lab, clarity: float) -> list[Colour]:
    centres, labels = _clusters(product, CLUSTERS)
    shares: dict[ColourName, float] = {}
    certainties: dict[ColourName, float] = {}
    for group in _shades_of_one_dye(centres):
        of_group = np.zeros(len(centres), np.bool_)
        of_group[group] = True
        pixels = product[of_group[labels]]
        share = len(pixels) / len(product)
        name, certainty = name_of(pixels)
        certainties[name] = (
            max(certainty, certainties.get(name, 0.0)) if share > 0.1 else certainties.get(name, certainty)
        )
        shares[name] = shares.get(name, 0.0) + share
    ranked = sorted(shares, key=lambda name: -shares[name])[:2]
    kept = ranked[:1] + [name for name in ranked[1:] if shares[name] >= SECOND_SHARE]
    return [Colour(name, shares[name], _confidence(certainties[name], shares[name], clarity)) for name in kept]


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


def name_of(pixels: Lab) -> tuple[ColourName, float]:
    """The name of n pixels of one cloth, and how far from the next name they are (0.4 to 1)."""
    lightness, a, b = np.sort(pixels, axis=0).T  # each by itself
    middle = len(pixels) // 2
    # Whole units: no name hangs on less, and shops sell few dyes, so most are known already.
    return name_of_lab(
        round(float(lightness[int(0.7 * (len(pixels) - 1))])), round(float(a[middle])), round(float(b[middle]))
    )


@lru_cache(2**14)
def name_of_lab(lightness: float, a: float, b: float) -> tuple[ColourName, float]:
    """The name of a colour as it appears in good light, and its margin to the next name (0.4 to 1)."""
    votes = dict.fromkeys(NAMES, 0.0)
    # What a camera's white balance and a compressor do to a colour anyhow.
    for dl in (-6.0, 0.0, 6.0):
        for da in (-4.0, 0.0, 4.0):
            for db in (-4.0, 0.0, 4.0):
                votes[_rule(lightness + dl, a + da, b + db)] += 1 / 27
    best = _rule(lightness, a, b)
    return best, 0.4 + 0.6 * votes[best]


def _rule(lightness: float, a: float, b: float) -> ColourName:
    chroma = float(np.hypot(a, b))
    hue = float(np.degrees(np.arctan2(b, a))) % 360
    if lightness < 22 and chroma < (9.0 if 130 <= hue <= 310 else 12.0 + 0.2 * lightness):
        return "black"  # lamps and reflexes tint it warm more than cold, so dark green and navy are told apart sooner
    if chroma < _least_chroma(lightness, hue):
        return _achromatic(lightness)
    return _chromatic(lightness, chroma, hue)


def _least_chroma(lightness: float, hue: float) -> float:
    """Below it a colour passes for grey. Lamplight tints white towards yellow, daylight's shade towards blue."""
    if 50 <= hue <= 110:
        return 11.0 if lightness > 75 else 9.0
    if 220 <= hue <= 340:
        # Dark cloth under a cool sky looks violet.
        return 13.0 if lightness < 45 and hue > 290 else 9.0
    return 7.5


def _achromatic(lightness: float) -> ColourName:
    if lightness < 30:
        return "black"
    return "white" if lightness > 74 else "grey"


def _chromatic(lightness: float, chroma: float, hue: float) -> ColourName:
    if hue < 20 or hue >= 345:
        return _reddish(lightness, chroma, purple=hue >= 345)
    if hue < 45:
        return _warm_red(lightness, chroma)
    if hue < 72:
        return _orange_or_brown(lightness, chroma)
    if hue < 105:
        return "green" if hue > 93 and lightness < 52 else _yellowish(lightness, chroma)  # olive is a green
    if hue < 200:
        return "green"
    if hue < 297:
        return "navy" if lightness < (32 if chroma < 18 else 25) else "blue"
    if hue < 325:
        return "navy" if lightness < 20 else "purple"
    return "pink" if lightness > 58 else "purple"


def _reddish(lightness: float, chroma: float, purple: bool) -> ColourName:
    if lightness > 58 or (lightness > 48 and purple):
        return "pink"
    if chroma < 16 and lightness < 40:
        return "brown"
    return "purple" if purple and lightness < 32 else "red"


def _warm_red(lightness: float, chroma: float) -> ColourName:
    if lightness > 66 and chroma < 38:
        return "pink"
    if chroma < 30:
        return "brown" if lightness < 62 else "beige"
    return "red" if lightness < 58 or chroma < 55 else "orange"


def _orange_or_brown(lightness: float, chroma: float) -> ColourName:
    if chroma < 28:
        return "beige" if lightness > 58 else "brown"
    # A vivid orange in a dim room is still no brown.
    if lightness < (42 if chroma > 45 else 52):
        return "brown"
    return "orange" if chroma > 42 else "beige" if lightness > 66 else "brown"


def _yellowish(lightness: float, chroma: float) -> ColourName:
    if chroma < 32:
        if lightness > 58:
            return "beige"
        return "brown" if chroma > 14 else "grey"
    if lightness < 45:
        return "brown" if chroma < 40 else "green"
    return "yellow" if lightness > 58 else "brown"


def _clusters(pixels: Lab, number: int) -> tuple[Lab, NDArray[np.int64]]:
    """k-means with lightness at half its weight: (k x 3 centres, one label per pixel), k at most `number`."""
    scale = np.array([0.5, 1.0, 1.0], np.float32)
    scaled = np.ascontiguousarray(pixels * scale, dtype=np.float32)
    number = min(number, len(scaled))
    cv2.setRNGSeed(1)
    criteria = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 15, 0.5)
    _compactness, labels, centres = cv2.kmeans(scaled, number, np.empty(0), criteria, 1, cv2.KMEANS_PP_CENTERS)
    return np.asarray(centres / scale, dtype=np.float32), np.asarray(labels.ravel(), dtype=np.int64)
