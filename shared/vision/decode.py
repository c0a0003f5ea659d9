"""From a photo's bytes to upright RGB pixels: the one place that checks limits, and applies orientation and colours."""

import numpy as np
import simplejpeg  # type: ignore[import-untyped]
from numpy.typing import NDArray
from PIL import Image

from shared.apart import HELPERS
from shared.containers import TooManyParts
from shared.decoding import ROOM, UNREADABLE, Opened, TooLarge, opened, orientation_of
from shared.errors import Poison
from shared.heif import HeifUnsupported
from shared.limits import MAX_PHOTO_BYTES
from shared.photo_formats import NAMES
from shared.photos import Pixels
from shared.vision.colour import in_srgb

# Pictures are looked at by so many of their pixels at a time: beside a decoded one nothing of its size is made.
STRIP_PIXELS = 4_000_000


def decode(body: bytes, at_least: int | None = None) -> Pixels:
    """Upright sRGB, height x width x 3, uint8, C-contiguous, of a JPEG, PNG, WebP, HEIC or AVIF.

    Large photos are decoded smaller, as far as the shorter side keeps `at_least` pixels; None keeps every pixel.
    A photo is never enlarged. Transparent parts become white; animations of PNG and WebP are seen by their first frame.
    Large ones take turns (shared/decoding.py), and suspicious ones are decoded by a process of their own.
    Raises Poison("too_large") by the header alone, Poison("unreadable") for what is not such a photo, and Transient
    when no process could be started.
    """
    if len(body) > MAX_PHOTO_BYTES:
        raise Poison("too_large", f"{len(body)} bytes; at most {MAX_PHOTO_BYTES} are read")
    photo = _opened(body)
    room = photo.bytes_to_decode(at_least)
    try:
        if photo.is_suspicious:
            photo.image.close()
            return HELPERS.decode(body, at_least, room, ROOM.take(room))
        with ROOM.take(room):
            return decode_here(body, photo.image, at_least)
    except UNREADABLE as why:
        raise Poison("unreadable", f"broken {photo.image.format} data: {why}") from why


def decode_here(body: bytes, image: Image.Image, at_least: int | None) -> Pixels:
    """What `decode` returns, in this process. `image` is `body`, opened. Raises one of UNREADABLE."""
    with image:  # it is part of a cycle, and would wait for the collector
        pixels = _jpeg(body, at_least, image) if image.format in ("JPEG", "MPO") else None
        if pixels is None:
            pixels = _by_pillow(image, at_least)
        return _upright(pixels, orientation_of(image))


def _opened(body: bytes) -> Opened:
    """Reads the header only."""
    try:
        return opened(body)
    except (TooLarge, TooManyParts) as why:
        raise Poison("too_large", str(why)) from why
    except HeifUnsupported as why:
        raise Poison("unreadable", f"{why}, which is not read") from why
    except UNREADABLE as why:
        raise Poison("unreadable", f"not a photo in {NAMES.replace(' and ', ' or ')}") from why


def _jpeg(body: bytes, at_least: int | None, image: Image.Image) -> Pixels | None:
    """None when libjpeg-turbo can't or won't (CMYK, harmless oddities): Pillow then has the last word."""
    wanted = {} if at_least is None else {"min_height": at_least, "min_width": at_least, "min_factor": 1.0}
    try:
        if simplejpeg.decode_jpeg_header(body)[2] in ("CMYK", "YCCK"):
            return None
        pixels: Pixels = simplejpeg.decode_jpeg(body, "RGB", **wanted)
    except ValueError:
        return None
    if profile := image.info.get("icc_profile"):
        shown = Image.fromarray(pixels[:, :, 0] if image.mode == "L" else pixels)
        converted = in_srgb(shown, profile)
        return pixels if converted is shown else np.array(converted)
    return pixels


def _by_pillow(image: Image.Image, at_least: int | None) -> Pixels:
    """Strip by strip, each made smaller before it is laid on white and converted."""
    if at_least is not None:
        image.draft(None, (at_least, at_least))
    image.load()
    factor = 1 if at_least is None else max(1, min(image.size) // max(at_least, 1))
    rows = max(1, STRIP_PIXELS // image.width // factor) * factor
    width, height = image.size
    made = np.empty((-(-height // factor), -(-width // factor), 3), np.uint8)
    profile = image.info.get("icc_profile")
    for top in range(0, height, rows):
        strip = image.crop((0, top, width, min(top + rows, height)))
        shown = np.asarray(in_srgb(_on_white(_plain(strip, image), factor), profile))
        made[top // factor : top // factor + len(shown)] = shown
    return made


def _plain(strip: Image.Image, image: Image.Image) -> Image.Image:
    """In L, RGB, CMYK or RGBa: colours weighted by how much they cover, or what is hidden would bleed when shrunk."""
    if strip.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(strip) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        return (strip if strip.mode == "RGBA" else strip.convert("RGBA")).convert("RGBa")
    return strip if strip.mode in ("L", "RGB", "CMYK") else strip.convert("RGB")


def _on_white(strip: Image.Image, factor: int) -> Image.Image:
    if factor > 1:
        strip = strip.reduce(factor)
    if strip.mode != "RGBa":
        return strip
    photo = strip.convert("RGBA")
    ground = Image.new("RGBA", photo.size, "white")
    ground.alpha_composite(photo)
    return ground.convert("RGB")


def _upright(pixels: Pixels, orientation: int) -> Pixels:
    turned: NDArray[np.uint8] = pixels
    if orientation in (5, 6, 7, 8):
        turned = turned.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        turned = turned[:, ::-1]
    if orientation in (3, 4, 7, 8):
        turned = turned[::-1]
    return np.ascontiguousarray(turned)
