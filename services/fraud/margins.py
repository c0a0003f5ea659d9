"""A photo without its uniform margins: the white square, the bars or the border that somebody laid around it."""

import cv2
import numpy as np
from numpy.typing import NDArray

from shared.photos import Pixels

# Levels of 256 by which a margin's pixels may differ from its colour: at the photo's outer edge, and elsewhere, where a
# JPEG smears the photo into it.
EDGE = 12
SMEARED = 24
# A margin in another one begins this flat, as somebody drew it. Else it may be the photo's own backdrop: then the copy
# on a white square would lose other lines of that than the original does. With 12 one rendered copy in 15 was missed.
INNER_EDGE = 7
STRAYS = 0.02  # the share of a line's pixels that may differ by more
ROUNDS = 4  # a border in a border in bars
LEAST_LEFT = 0.25  # of each side: less is a detail, no photo
LEAST_TRIMMED = 0.01  # of a side: what is less changes no hash


def without_margins(pixels: Pixels) -> Pixels | None:
    """The part inside margins of any colour, each side's by itself; None without margins, or with nothing inside."""
    inside = pixels
    for number in range(ROUNDS):
        before, edge = inside.shape, INNER_EDGE if number else EDGE
        inside = _without_rows(_without_rows(inside, edge).transpose(1, 0, 2), edge).transpose(1, 0, 2)
        if inside.shape == before:
            break
    left = np.array(inside.shape[:2]) / pixels.shape[:2]
    if left.min() < LEAST_LEFT or (1 - left).max() < LEAST_TRIMMED:
        return None
    return np.ascontiguousarray(inside)


def _without_rows(pixels: Pixels, edge: int) -> Pixels:
    below = pixels[_uniform_rows(pixels, edge) :]
    return below[: len(below) - _uniform_rows(below[::-1], edge)]


def _uniform_rows(pixels: Pixels, edge: int) -> int:
    """How many rows from the first on have one colour, and the one after, which is a mixture at a scaled edge.

    `edge`: by how much the first one's pixels may differ from it.
    """
    if pixels.size == 0:
        return 0
    colour = np.median(pixels[0], axis=0)
    if _strays(pixels[:1], colour, edge)[0] > STRAYS:  # as in most photos: the rest needn't be looked at
        return 0
    others = np.flatnonzero(_strays(pixels, colour, SMEARED) > STRAYS)
    return int(others[0]) + 1 if len(others) else len(pixels)


def _strays(rows: Pixels, colour: NDArray[np.float64], tolerance: int) -> NDArray[np.float64]:
    """The share of each row's pixels that differ from the colour by more than the tolerance."""
    low, high = np.ceil(colour - tolerance), np.floor(colour + tolerance)
    inside = cv2.inRange(np.ascontiguousarray(rows), low, high)
    return np.asarray(np.count_nonzero(inside == 0, axis=1) / rows.shape[1])
