"""Pictures of text: size charts, text cards, banners, logos, washing labels. What a photo's hash says nothing about.

PDQ looks at the coarse shapes, and those of two sellers' own size charts are the same: more than half of all pairs
match. So pictures of text have a hash of their own, of the fine shapes, which are what differs between two texts.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from shared.photos import Pixels

SIDE = 224  # that pictures are judged at
# The waves that a JPEG has around strokes are evened out; steps of more levels, as from ink to ground, stay.
SMOOTHED_OVER, SMOOTHED_LEVELS, SMOOTHED_REACH = 7, 20, 3
FLAT_RANGE = 4  # levels between the darkest and the lightest of nine neighbours: drawn, or the noise of a JPEG
GROUND_RANGE = 6
INK_RANGE = 24  # levels from the ground
STROKE = 7  # pixels: what is thicker is a shape
_STROKE = np.ones((STROKE, STROKE), np.uint8)
LEAST_FLAT, LEAST_GROUND, LEAST_CLEAN = 0.55, 0.45, 0.97
LEAST_CONTRAST = 60  # levels between ground and ink
# Of the picture: shapes that aren't of one colour, as products are. Of 2,000 photos of garments and groceries one has
# as little on a ground as clean.
MOST_SHADED = 0.02

HASHED_SIDE = 256
LOWEST, HIGHEST = 24, 64  # half cycles over the picture: the fineness of letters, and of what a copy still has of them
SEED = 0  # of which frequencies are taken. Part of what lies in the bank: another would find nothing of it.


def is_of_text(pixels: Pixels) -> bool:
    """Whether there is nothing but strokes and shapes of one colour on a ground of one colour.

    A product on white is none: its inside has shades.
    """
    rough = np.asarray(cv2.resize(pixels, (SIDE, SIDE), interpolation=cv2.INTER_AREA), dtype=np.uint8)
    # Cloth has little more of a pattern than a JPEG has noise: smoothed, it is of one colour too.
    shades = ~_flat(rough)
    if not _may_be_of_text(rough, shades):
        return False
    small = _smooth(rough)
    flat = _flat(small)
    if flat.mean() < LEAST_FLAT:
        return False
    departure = _departure(small, _ground(small[flat]))
    ink = departure > INK_RANGE
    if not ink.any() or (departure <= GROUND_RANGE).mean() < LEAST_GROUND:
        return False
    away = cv2.dilate(ink.astype(np.uint8), _STROKE) == 0
    clean = (departure[away] <= GROUND_RANGE).mean() if away.any() else 0.0
    shaded = (_inside(ink) & shades).mean()
    contrast = np.percentile(departure[ink], 90)
    return bool(clean >= LEAST_CLEAN and shaded <= MOST_SHADED and contrast >= LEAST_CONTRAST)


def text_hashes(pixels: Pixels) -> tuple[str, ...]:
    """64 hex digits each for the picture and its seven turned and mirrored variants, itself first."""
    square = cv2.resize(pixels, (HASHED_SIDE, HASHED_SIDE), interpolation=cv2.INTER_AREA)
    grey = cv2.cvtColor(square, cv2.COLOR_RGB2GRAY).astype(np.float32)
    spectrum = cv2.dct(np.abs(grey - np.median(grey)))
    rows, columns = _frequencies()
    # Mirroring a picture turns the signs of its odd frequencies; transposing it transposes them.
    flips = [(1, 1), (-1, 1), (1, -1), (-1, -1)]
    turned = (
        picture[rows, columns] * down**rows * across**columns
        for picture in (spectrum, spectrum.T)
        for down, across in flips
    )
    return tuple(np.packbits(some > 0).tobytes().hex() for some in turned)


def _may_be_of_text(rough: Pixels, shades: NDArray[np.bool_]) -> bool:
    """False for nearly all photos, in a fraction of the time that smoothing takes: the same bounds, with some slack."""
    sample = rough[::4, ::4].reshape(-1, 3)
    departure = _departure(rough, _ground(sample))
    if (departure <= GROUND_RANGE + SMOOTHED_LEVELS).mean() < LEAST_GROUND:
        return False
    return bool((_inside(departure > INK_RANGE) & shades).mean() <= 2 * MOST_SHADED)


def _flat(picture: Pixels) -> NDArray[np.bool_]:
    neighbours = np.ones((3, 3), np.uint8)
    return _greatest(cv2.subtract(cv2.dilate(picture, neighbours), cv2.erode(picture, neighbours))) <= FLAT_RANGE


def _departure(picture: Pixels, ground: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Levels between each pixel and the ground, in the channel that differs most."""
    return _greatest(cv2.absdiff(picture, np.array([*np.round(ground), 0])))


def _inside(ink: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """What is thicker than a stroke."""
    return np.asarray(cv2.erode(ink.astype(np.uint8), _STROKE, borderValue=1) == 1)


def _greatest(channels: cv2.typing.MatLike) -> NDArray[np.uint8]:
    red, green, blue = cv2.split(channels)
    return np.asarray(cv2.max(cv2.max(red, green), blue), dtype=np.uint8)


def _smooth(picture: Pixels) -> Pixels:
    return np.asarray(cv2.bilateralFilter(picture, SMOOTHED_OVER, SMOOTHED_LEVELS, SMOOTHED_REACH), dtype=np.uint8)


def _ground(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The commonest colour of n pixels."""
    coarse = (pixels >> 3).astype(np.int32) @ np.array([1 << 10, 1 << 5, 1], np.int32)
    common = pixels[coarse == np.bincount(coarse).argmax()]
    return np.asarray(np.median(common, axis=0), dtype=np.float64)


def _frequencies() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows and columns of 256 of them, of every direction."""
    every = np.indices((HASHED_SIDE, HASHED_SIDE))
    radius = np.hypot(*every)
    wanted = np.argwhere((radius >= LOWEST) & (radius < HIGHEST) & (every.min(axis=0) >= 2))
    chosen = wanted[np.random.default_rng(SEED).permutation(len(wanted))[:256]]
    return chosen[:, 0], chosen[:, 1]
