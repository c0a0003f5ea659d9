"""Copies of photos as others post them: cropped, mirrored, saved badly, under a banner, within a border."""

from collections.abc import Callable, Mapping

import cv2
import numpy as np
import simplejpeg  # type: ignore[import-untyped]

from shared.photos import Pixels

SEED = 11
QUALITY = 25
BANNER = "BUY NOW -50% FREE SHIPPING"

Edit = Callable[[Pixels, np.random.Generator], Pixels]


def copies_of(pixels: Pixels, number: int) -> list[Pixels]:
    """One for each of EDITS, in their order; the same every time for a photo of this number."""
    return [edit(pixels, np.random.default_rng([SEED, number, which])) for which, edit in enumerate(EDITS.values())]


def crop(pixels: Pixels, random: np.random.Generator) -> Pixels:
    """70 to 90 % of each side, somewhere."""
    height, width = pixels.shape[:2]
    rows, columns = _kept(height, random), _kept(width, random)
    return pixels[rows, columns]


def mirror(pixels: Pixels, _random: np.random.Generator) -> Pixels:
    return np.ascontiguousarray(pixels[:, ::-1])


def recompress(pixels: Pixels, _random: np.random.Generator) -> Pixels:
    """Saved as a JPEG of low quality."""
    body = simplejpeg.encode_jpeg(np.ascontiguousarray(pixels), quality=QUALITY, colorsubsampling="420")
    saved: Pixels = simplejpeg.decode_jpeg(body)
    return saved


def overlay(pixels: Pixels, random: np.random.Generator) -> Pixels:
    """A banner with text over the lower 15 to 25 %."""
    height, width = pixels.shape[:2]
    top = height - max(1, round(height * random.uniform(0.15, 0.25)))
    banner = _colour(random)
    covered = np.ascontiguousarray(pixels).copy()
    covered[top:] = banner
    ink = (0, 0, 0) if sum(banner) > 3 * 127 else (255, 255, 255)
    (length, _), _ = cv2.getTextSize(BANNER, cv2.FONT_HERSHEY_SIMPLEX, 1.0, 2)
    scale = 0.9 * width / length
    at = round(width * 0.05), round((top + height) / 2 + 10 * scale)
    cv2.putText(covered, BANNER, at, cv2.FONT_HERSHEY_SIMPLEX, scale, ink, max(1, round(2 * scale)), cv2.LINE_AA)
    return covered


def border(pixels: Pixels, random: np.random.Generator) -> Pixels:
    """A frame of one colour, a tenth of each side wide."""
    height, width = pixels.shape[:2]
    down, across = round(height * 0.1), round(width * 0.1)
    framed = np.empty((height + 2 * down, width + 2 * across, 3), np.uint8)
    framed[:] = _colour(random)
    framed[down : down + height, across : across + width] = pixels
    return framed


EDITS: Mapping[str, Edit] = {
    "crop": crop,
    "mirror": mirror,
    "recompress": recompress,
    "overlay": overlay,
    "border": border,
}


def _kept(length: int, random: np.random.Generator) -> slice:
    kept = max(1, round(length * random.uniform(0.7, 0.9)))
    start = int(random.integers(0, length - kept + 1))
    return slice(start, start + kept)


def _colour(random: np.random.Generator) -> tuple[int, int, int]:
    red, green, blue = (int(value) for value in random.integers(0, 256, 3))
    return red, green, blue
