"""Cuts a product off a plain ground, without a model.

The photo's rim tells the ground, its middle the product, and what colours each of the two is made of draws the line
between. It is right for flat garments and single objects, and wrong where people are in view; so it teaches the region
network, which is right for both, what the first look like.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from shared.photos import Pixels
from shared.vision.cutting import Lab, Map, Mask, clusters, cut, lab_of, small

RIM = 0.07  # of the photo's sides: where the ground is looked for
LEAST_PRODUCT, MOST_PRODUCT = 0.05, 0.95  # of the photo's pixels: beyond, the cut went wrong


def cut_out(pixels: Pixels) -> tuple[Mask, float]:
    """Where the product is, as large as the photo, and how clearly it stands out: 0 where nothing does, to 1."""
    lab = lab_of(small(pixels))
    distance = _distance_from_ground(lab)
    for seeds in (_seeds(distance), _generous_seeds(distance)):
        middle = _middle(distance.shape)
        never = np.where((seeds == cv2.GC_BGD) | (middle >= 1.3), np.float32(-np.inf), np.float32(0))
        product = (seeds == cv2.GC_FGD) | (seeds == cv2.GC_PR_FGD)
        mask = cut(lab, product, 0.5 * (0.9 - middle) + never, around=5)
        if LEAST_PRODUCT <= mask.mean() <= MOST_PRODUCT:
            return _enlarged(mask, pixels.shape[:2]), float(np.clip(np.median(distance[mask]) / 25, 0, 1))
    return np.zeros(pixels.shape[:2], dtype=np.bool_), 0.0


def _enlarged(mask: Mask, shape: tuple[int, ...]) -> Mask:
    height, width = shape
    return np.asarray(cv2.resize(mask.astype(np.float32), (width, height)) > 0.5, dtype=np.bool_)


def _distance_from_ground(lab: Lab) -> Map:
    """How far each pixel is from the nearest of the colours along the rim."""
    weights = np.array([0.5, 1.0, 1.0], np.float32)
    pixels, grounds = lab * weights, _ground_colours(lab) * weights
    # |p - b|² = |p|² - 2 p·b + |b|²: one small product instead of all differences.
    nearest = ((grounds**2).sum(axis=1) - 2 * pixels @ grounds.T).min(axis=2)
    return np.asarray(np.sqrt(np.maximum((pixels**2).sum(axis=2) + nearest, 0)), dtype=np.float32)


def _ground_colours(lab: Lab) -> Lab:
    """Colours that hold a good part of the rim. What touches it in one place only may be the product's sleeve."""
    rim = _rim(lab.shape[:2])
    centres, labels = clusters(lab[rim], 4)
    rows, columns = np.nonzero(rim)
    height, width = rim.shape
    cornered = np.abs(rows / height - 0.5) * np.abs(columns / width - 0.5) * 4  # 1 in a corner, 0 amid a side
    weights = np.array([(0.3 + cornered)[labels == number].sum() for number in range(len(centres))])
    return np.asarray(centres[weights >= 0.12 * weights.sum()], dtype=np.float32)


def _rim(shape: tuple[int, int]) -> Mask:
    height, width = shape
    rows, columns = max(1, round(height * RIM)), max(1, round(width * RIM))
    rim = np.ones((height, width), dtype=np.bool_)
    rim[rows:-rows, columns:-columns] = False
    return rim


def _middle(shape: tuple[int, int]) -> Map:
    """Elliptical distance from the centre: 0 there, 1 at the middle of each side."""
    rows = np.linspace(-1, 1, shape[0], dtype=np.float32)[:, None]
    columns = np.linspace(-1, 1, shape[1], dtype=np.float32)[None, :]
    return np.asarray(np.sqrt(rows**2 + columns**2), dtype=np.float32)


def _seeds(distance: Map) -> NDArray[np.uint8]:
    """The first guess: likely product where it is unlike the ground or in the very middle."""
    middle = _middle(distance.shape)
    seeds = np.full(distance.shape, cv2.GC_PR_BGD, dtype=np.uint8)
    seeds[(distance > 10 + 12 * middle) & (middle < 1.25)] = cv2.GC_PR_FGD
    seeds[(middle < 0.35) & (distance > 5)] = cv2.GC_PR_FGD
    seeds[middle < 0.15] = cv2.GC_PR_FGD
    seeds[_rim(distance.shape) & (distance < 8)] = cv2.GC_BGD
    return seeds


def _generous_seeds(distance: Map) -> NDArray[np.uint8]:
    """The product where the first cut lost it, or it shares colours with the rim: the middle is it, the rim is not."""
    middle = _middle(distance.shape)
    seeds = np.full(distance.shape, cv2.GC_PR_BGD, dtype=np.uint8)
    seeds[(middle < 0.9) & (distance > 4)] = cv2.GC_PR_FGD
    seeds[_rim(distance.shape) & (distance < 12)] = cv2.GC_BGD
    return seeds
