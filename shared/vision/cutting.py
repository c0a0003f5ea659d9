"""Two parts of a photo told apart by what colours each is made of."""

from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from shared.photos import Pixels

Lab = NDArray[np.float32]  # n x 3 or height x width x 3: L 0 to 100, a and b about -100 to 100
Mask = NDArray[np.bool_]
Map = NDArray[np.float32]  # height x width

WORKING_SIDE = 64  # pixels of the longer side: texture and print are averaged away, folds are not
LEAST_REGION = 0.02  # of a photo's pixels
SUREST = 4.0  # log odds that count: no neighbourhood's colours say more
BIN = 10  # of a Lab histogram, in units of a and b, two of L: a dye's shades share a few bins
BINS_OF_CHROMA = 256 // BIN + 1
BINS = (50 // BIN + 1) * BINS_OF_CHROMA**2


def small(pixels: Pixels) -> Pixels:
    """As large as colours are judged at."""
    if max(pixels.shape[:2]) >= 4 * WORKING_SIDE:
        pixels = np.asarray(cv2.pyrDown(pixels), dtype=np.uint8)  # to half: a fast way over most of the distance
    scale = WORKING_SIDE / max(pixels.shape[:2])
    size = (max(8, round(pixels.shape[1] * scale)), max(8, round(pixels.shape[0] * scale)))
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def lab_of(pixels: Pixels) -> Lab:
    """Of height x width x RGB."""
    # In 8 bits: half a unit off, which no name hangs on, and twenty times as fast as in floats.
    scaled = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2LAB), dtype=np.float32)
    return scaled * np.array([100 / 255, 1, 1], np.float32) - np.array([0, 128, 128], np.float32)


def refined(lab: Lab, odds: Map) -> Mask:
    """Where a region is, of log odds for each pixel: what is unsure goes to whom its colour belongs.

    Never empty: where nothing is likely, it is what is likeliest.
    """
    likely = odds > 0
    if likely.mean() < LEAST_REGION:
        likely = odds >= np.quantile(odds, 1 - LEAST_REGION)
    region = cut(lab, likely, np.clip(odds, -SUREST, SUREST), around=3)
    return region if region.any() else likely


def cut(lab: Lab, product: Mask, prior: Map, around: int) -> Mask:
    """Pixels whose colours, and whose neighbours', are more often the product's than its surroundings'.

    `product` is a first guess, `prior` the evidence for each pixel that isn't its colour (log odds), and `around` the
    side in pixels of a pixel's neighbourhood. It does in two passes over a histogram what GrabCut (Rother, Kolmogorov,
    Blake 2004) does with mixtures of Gaussians and a graph cut, in a tenth of its time. Which colours are whose is
    learned from the guess, then once more from what came of that. Nothing is the product where the guess leaves nothing
    to tell apart.
    """
    bins = _bins(lab)
    for _ in range(2):
        if product.all() or not product.any():
            return np.zeros(product.shape, dtype=np.bool_)
        inside = np.bincount(bins[product], minlength=BINS) / product.sum()
        outside = np.bincount(bins[~product], minlength=BINS) / (~product).sum()
        evidence = np.clip(np.log((inside + 1e-3) / (outside + 1e-3)), -3, 3).astype(np.float32)[bins]
        product = cast(Mask, cv2.blur(evidence, (around, around)) + prior > 0)
    return product


def _bins(lab: Lab) -> NDArray[np.int32]:
    """Each pixel's bin of the histogram, lightness at half its weight: a shadow on the wall is no edge."""
    scale = np.array([0.5 / BIN, 1 / BIN, 1 / BIN], np.float32)
    steps = ((lab + np.array([0, 128, 128], np.float32)) * scale).astype(np.int32)
    return np.asarray(
        (steps[:, :, 0] * BINS_OF_CHROMA + steps[:, :, 1]) * BINS_OF_CHROMA + steps[:, :, 2], dtype=np.int32
    )


def clusters(pixels: Lab, number: int) -> tuple[Lab, NDArray[np.int64]]:
    """k-means with lightness at half its weight: (k x 3 centres, one label per pixel), k at most `number`."""
    scale = np.array([0.5, 1.0, 1.0], np.float32)
    scaled = np.ascontiguousarray(pixels * scale, dtype=np.float32)
    number = min(number, len(scaled))
    cv2.setRNGSeed(1)
    criteria = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 15, 0.5)
    _compactness, labels, centres = cv2.kmeans(scaled, number, np.empty(0), criteria, 1, cv2.KMEANS_PP_CENTERS)
    return np.asarray(centres / scale, dtype=np.float32), np.asarray(labels.ravel(), dtype=np.int64)
