"""A photo without its uniform margins: the white square, the bars or the border that somebody laid around it."""

import cv2
import numpy as np
from numpy.typing import NDArray

from shared.photos import Pixels

TOLERANCE = 12  # levels of 256 by which a margin's pixels may differ from its colour: what a JPEG does to it
STRAYS = 0.02  # the share of a line's pixels that may differ by more
ROUNDS = 4  # a border in a border in bars
LEAST_LEFT = 0.25  # of each side: less is a detail, no photo
LEAST_TRIMMED = 0.01  # of a side: what is less changes no hash


def without_margins(pixels: Pixels) -> Pixels | None:
    """The part inside margins of any colour, each side's by itself; None without margins, or with nothing inside."""
    inside = pixels
    for _ in range(ROUNDS):
        before = inside.shape
        inside = _without_rows(_without_rows(inside).transpose(1, 0, 2)).transpose(1, 0, 2)
        if inside.shape == before:
            break
    left = np.array(inside.shape[:2]) / pixels.shape[:2]
    if left.min() < LEAST_LEFT or (1 - left).max() < LEAST_TRIMMED:
        return None
    return np.ascontiguousarray(inside)


def _without_rows(pixels: Pixels) -> Pixels:
    below = pixels[_uniform_rows(pixels) :]
    return below[: len(below) - _uniform_rows(below[::-1])]


def _uniform_rows(pixels: Pixels) -> int:
    """How many rows from the first on have one colour, and the one after, which is a mixture at a scaled edge."""
    if pixels.size == 0:
        return 0
    colour = np.median(pixels[0], axis=0)
    if _strays(pixels[:1], colour)[0] > STRAYS:  # as in most photos: the rest needn't be looked at
        return 0
    others = np.flatnonzero(_strays(pixels, colour) > STRAYS)
    return int(others[0]) + 1 if len(others) else len(pixels)


def _strays(rows: Pixels, colour: NDArray[np.float64]) -> NDArray[np.float64]:
    """The share of each row's pixels that have another colour."""
    low, high = np.ceil(colour - TOLERANCE), np.floor(colour + TOLERANCE)
    inside = cv2.inRange(np.ascontiguousarray(rows), low, high)
    return np.asarray(np.count_nonzero(inside == 0, axis=1) / rows.shape[1])
