"""From a photo's bytes to upright RGB pixels: the one place that checks limits and applies EXIF orientation."""

import threading
from contextlib import nullcontext
from io import BytesIO

import numpy as np
import simplejpeg  # type: ignore[import-untyped]
from numpy.typing import NDArray
from PIL import Image

from shared.containers import TooManyParts, check_parts
from shared.errors import Poison
from shared.limits import MAX_PHOTO_BYTES, MAX_PHOTO_PIXELS, MAX_PHOTO_SIDE
from shared.photos import Pixels

# Photos of more pixels that have to be decoded whole take turns, or a few of them at once would fill the process.
# Of phones' JPEGs none does: they are decoded at a fraction of their size.
LARGE_PIXELS = 16_000_000

ORIENTATION = 0x0112  # the EXIF tag
_one_large = threading.Lock()

UNREADABLE = (OSError, ValueError, SyntaxError, EOFError, IndexError, TypeError, KeyError, MemoryError)


def decode(body: bytes, at_least: int | None = None) -> Pixels:
    """Upright RGB, height x width x 3, uint8, C-contiguous, of a JPEG, PNG or WebP.

    Large photos are decoded smaller, as far as the shorter side keeps `at_least` pixels; None keeps every pixel.
    A photo is never enlarged. Transparent parts become white; of an animation only the first frame is seen.
    Raises Poison("too_large") by the header alone, and Poison("unreadable") for what is not such a photo.
    """
    if len(body) > MAX_PHOTO_BYTES:
        raise Poison("too_large", f"{len(body)} bytes; at most {MAX_PHOTO_BYTES} are read")
    try:
        check_parts(body)
    except TooManyParts as why:
        raise Poison("too_large", str(why)) from why
    image = _opened(body)
    try:
        pixels = _jpeg(body, at_least) if image.format in ("JPEG", "MPO") else None
        with nullcontext() if pixels is not None or image.width * image.height <= LARGE_PIXELS else _one_large:
            # Within its turn: to look for a PNG's EXIF block is to decode it.
            try:
                orientation = _orientation(image)
                if pixels is None:
                    pixels = _by_pillow(image, at_least)
            finally:
                image.close()  # it is part of a cycle, and would wait for the collector
    except UNREADABLE as why:
        raise Poison("unreadable", f"broken {image.format} data: {why}") from why
    return _upright(pixels, orientation)


def _opened(body: bytes) -> Image.Image:
    """Reads the header only."""
    try:
        image = Image.open(BytesIO(body), formats=("JPEG", "PNG", "WEBP"))
    except Image.DecompressionBombError as why:
        raise Poison("too_large", f"{why}; at most {MAX_PHOTO_PIXELS} pixels are read") from why
    except UNREADABLE as why:
        raise Poison("unreadable", "not a JPEG, PNG or WebP photo") from why
    width, height = image.size
    if width * height > MAX_PHOTO_PIXELS or max(width, height) > MAX_PHOTO_SIDE:
        raise Poison(
            "too_large", f"{width}x{height} pixels; at most {MAX_PHOTO_PIXELS} and {MAX_PHOTO_SIDE} a side are read"
        )
    return image


def _orientation(image: Image.Image) -> int:
    """1 to 8; 1 as well when the EXIF block is missing or broken: that is no reason to refuse a photo."""
    try:
        value = image.getexif().get(ORIENTATION, 1)
    except UNREADABLE:
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _jpeg(body: bytes, at_least: int | None) -> Pixels | None:
    """None when libjpeg-turbo can't or won't (CMYK, harmless oddities): Pillow then has the last word."""
    wanted = {} if at_least is None else {"min_height": at_least, "min_width": at_least, "min_factor": 1.0}
    try:
        if simplejpeg.decode_jpeg_header(body)[2] in ("CMYK", "YCCK"):
            return None
        pixels: Pixels = simplejpeg.decode_jpeg(body, "RGB", **wanted)
    except ValueError:
        return None
    return pixels


def _by_pillow(image: Image.Image, at_least: int | None) -> Pixels:
    if at_least is not None:
        image.draft(None, (at_least, at_least))
    if image.mode.startswith("I;16"):
        return np.repeat((np.asarray(image) >> 8).astype(np.uint8)[:, :, None], 3, axis=2)
    transparent = image.has_transparency_data
    if transparent:
        # Made smaller with colours weighted by how much they cover; a large picture must not be laid on another.
        image = _as("RGBA", image).convert("RGBa")
    if at_least is not None and (factor := min(image.size) // max(at_least, 1)) > 1:
        image = (image if transparent else _as("RGB", image)).reduce(factor)
    if transparent:
        photo = image.convert("RGBA")
        image = Image.new("RGBA", photo.size, "white")
        image.alpha_composite(photo)
    return np.array(_as("RGB", image), dtype=np.uint8)


def _as(mode: str, image: Image.Image) -> Image.Image:
    """convert() copies a picture that has the mode already."""
    return image if image.mode == mode else image.convert(mode)


def _upright(pixels: Pixels, orientation: int) -> Pixels:
    turned: NDArray[np.uint8] = pixels
    if orientation in (5, 6, 7, 8):
        turned = turned.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        turned = turned[:, ::-1]
    if orientation in (3, 4, 7, 8):
        turned = turned[::-1]
    return np.ascontiguousarray(turned)
