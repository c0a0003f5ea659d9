"""Random fields: the raw material of folds, grain, fibres and plaster.

A field is a float32 array of about zero mean and unit variance. All are cut from two periodic tiles that are made once
a process, which is what keeps a photo of a megapixel cheap.
"""

from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

# cv2's stubs know only "integer or floating"; pictures here are float32 between 0 and 1 unless said otherwise.
Field = NDArray[Any]
Random = np.random.Generator
Size = tuple[int, int]  # height, width

_TILE = 512
_CELL = 8.0  # the pixels from one bump of a smooth tile to the next
_TILE_SEED = 20240611
_PERIOD = 1024
LARGEST = 1600  # pixels on either side of a picture that grain can be cut for


@lru_cache(maxsize=1)
def _smooth_tile() -> Field:
    white = np.random.default_rng(_TILE_SEED).normal(size=(_TILE, _TILE))
    frequency = np.fft.fftfreq(_TILE)
    radius = np.hypot(frequency[:, None], frequency[None, :]) * _CELL
    band = np.exp(-((radius - 0.9) ** 2) / 0.35)
    tile = np.fft.ifft2(np.fft.fft2(white) * band).real
    return np.asarray(tile / tile.std(), np.float32)


@lru_cache(maxsize=1)
def _white_tile() -> Field:
    """Periodic, and repeated far enough that any picture can be cut from it without a seam."""
    tile = np.random.default_rng(_TILE_SEED + 1).normal(size=(_PERIOD, _PERIOD)).astype(np.float32)
    return np.pad(tile, ((0, LARGEST), (0, LARGEST)), mode="wrap")


def smooth(random: Random, size: Size, wavelength: tuple[float, float] | float, angle: float = 0.0) -> Field:
    """Bumps of one scale: `wavelength` pixels along x and along y, turned by `angle` radians."""
    along, across = wavelength if isinstance(wavelength, tuple) else (wavelength, wavelength)
    cos, sin = np.cos(angle), np.sin(angle)
    zoom = np.array([[_CELL / along, 0], [0, _CELL / across]]) @ np.array([[cos, sin], [-sin, cos]])
    shift = random.uniform(0, _TILE, 2)
    matrix = np.hstack([zoom, shift[:, None]])
    return cv2.warpAffine(
        _smooth_tile(),
        matrix,
        (size[1], size[0]),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_WRAP,
    )


def cloudy(random: Random, size: Size, wavelength: float, octaves: int = 3) -> Field:
    """Bumps of several scales, each finer one half as high; computed coarsely, since the finest is still wide."""
    coarse = max(1, int(wavelength / 2**octaves / 2))
    small = (-(-size[0] // coarse), -(-size[1] // coarse))
    total = sum(
        0.5**k * smooth(random, small, wavelength / coarse / 2**k, random.uniform(0, 3.1)) for k in range(octaves)
    )
    return resized(np.asarray(total, np.float32), size)


def grain(random: Random, size: Size) -> Field:
    """White noise, one value a pixel: a read-only view. Neither side may be longer than LARGEST."""
    top, left = random.integers(0, _PERIOD, 2)
    view = _white_tile()[top : top + size[0], left : left + size[1]]
    view.flags.writeable = False
    return view


def ridges(field: Field, sharpness: float = 1.0) -> Field:
    """The creases of a smooth field: 1 along the lines where it is zero, falling off on both sides."""
    return np.asarray(np.exp(-np.abs(field) * (2.2 * sharpness)), np.float32)


def resized(field: Field, size: Size) -> Field:
    return field if field.shape[:2] == size else cv2.resize(field, (size[1], size[0]), interpolation=cv2.INTER_CUBIC)


def ramp(size: Size, angle: float) -> Field:
    """From -1 to 1 across the picture in the direction of `angle` (radians)."""
    cos, sin = float(np.cos(angle)), float(np.sin(angle))
    reach = abs(cos) + abs(sin)
    x = np.linspace(-cos / reach, cos / reach, size[1], dtype=np.float32)
    y = np.linspace(-sin / reach, sin / reach, size[0], dtype=np.float32)
    return y[:, None] + x[None, :]
