"""Pillow as every process uses it: which formats are opened, what can go wrong, which way is up, and whose turn it is.

No torch: the gateway decodes too.
"""

import re
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO

import simplejpeg  # type: ignore[import-untyped]
from PIL import AvifImagePlugin, ExifTags, Image, PngImagePlugin
from pillow_heif import register_heif_opener

from shared import heif
from shared.containers import TooManyParts, scans_of
from shared.limits import (
    DECODING_BYTES,
    MAX_PHOTO_PIXELS,
    MAX_PHOTO_SIDE,
    MAX_TEXT_BYTES,
    SUSPICIOUS_PIXELS,
    SUSPICIOUS_PIXELS_A_BYTE,
)

# Photos are decoded on threads of our own. Of a HEIF's several pictures only the primary is looked at: its thumbnail
# may show something else.
register_heif_opener(thumbnails=False, depth_images=False, aux_images=False, decode_threads=1)
AvifImagePlugin.DEFAULT_MAX_THREADS = 1
PngImagePlugin.MAX_TEXT_MEMORY = MAX_TEXT_BYTES

# What Pillow and its plugins raise on bad data.
UNREADABLE = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    IndexError,
    TypeError,
    KeyError,
    MemoryError,
    RuntimeError,
    struct.error,
    Image.DecompressionBombError,
)

_SHOWN_AS_STORED = ("JPEG", "PNG", "WEBP")
_UNREAD = re.compile("([0-9]+) extraneous bytes before marker 0xd9")
_BEFORE_RESTART = re.compile("extraneous bytes before marker 0xd[0-7]")
_INTRICATE = ("HEIF", "AVIF")
# Bytes for each pixel while one is decoded whole, as measured: the decoder's own planes, then Pillow's four. HEIC and
# AVIF with two bytes a sample, no colour left out, and transparency.
_BYTES_A_PIXEL = {"PNG": 5, "WEBP": 17, "HEIF": 16, "AVIF": 18, "JPEG": 4, "MPO": 4}
_COEFFICIENTS = 8  # of a progressive JPEG, which is held whole: two bytes for each of three colours, or of four
_OUTPUT = 3  # RGB


@dataclass(frozen=True, slots=True)
class Opened:
    """A photo whose header was read. `pixels` is what a decoder makes room for: a HEIF's may be more than it shows."""

    image: Image.Image
    pixels: int
    scans: int  # times that a decoder goes over them
    stored: int  # bytes

    @property
    def is_suspicious(self) -> bool:
        """Whether it should be decoded where nothing else is harmed (shared/apart).

        HEIC and AVIF always: video decoders are the largest and youngest code that a photo reaches, with most of the
        known overflows. Of other formats what asks for far more work than its bytes can describe: a WebP of 38 bytes
        is a picture of 50 megapixels.
        """
        if self.image.format in _INTRICATE:
            return True
        return self.pixels * self.scans > max(SUSPICIOUS_PIXELS, SUSPICIOUS_PIXELS_A_BYTE * self.stored)

    def bytes_to_decode(self, at_least: int | None) -> int:
        """About what decoding holds at most beside the file itself, when the shorter side may shrink to `at_least`."""
        image = self.image
        factor = 1 if at_least is None else max(1, min(image.size) // max(at_least, 1))
        if image.format not in ("JPEG", "MPO"):
            return self.pixels * _BYTES_A_PIXEL[str(image.format)] + _OUTPUT * self.pixels // factor**2
        held = _COEFFICIENTS if image.info.get("progressive") else 0
        return self.pixels * held + (_BYTES_A_PIXEL["JPEG"] + _OUTPUT) * self.pixels // min(8, factor) ** 2


class TooLarge(ValueError):
    """A photo that is too large by its header; the message says how large, and how large a photo may be."""


def opened(body: bytes) -> Opened:
    """Reads the header, and how a JPEG is coded. Raises TooLarge, TooManyParts, HeifUnsupported, HeifDamaged, or
    another of UNREADABLE.
    """
    if not heif.is_heif(body):
        scans = scans_of(body)
        try:
            image = Image.open(BytesIO(body), formats=_SHOWN_AS_STORED)
        except Image.DecompressionBombError as why:
            raise TooLarge(f"{why}; at most {MAX_PHOTO_PIXELS} pixels are read") from why
        except ValueError as why:  # texts are inflated before there are pixels
            if "MAX_TEXT" not in str(why):
                raise
            raise TooManyParts(f"texts of more than {MAX_TEXT_BYTES:,} bytes, or one of very many") from why
        _check_size(*image.size)
        return Opened(image, image.width * image.height, scans, len(body))
    if heif.is_moving(body):
        raise heif.HeifUnsupported("a HEIF with several frames")
    picture = heif.picture_of(body)
    _check_size(picture.width, picture.height)
    image = Image.open(BytesIO(body), formats=("AVIF" if picture.is_avif else "HEIF",))
    _check_size(*image.size)
    return Opened(image, max(picture.pixels, image.width * image.height), 1, len(body))


def decode_whole(body: bytes, image: Image.Image) -> int:
    """To be sure that it can be. `image` is `body`, opened; closed when this returns.

    Returns how many bytes of a JPEG, at least, follow its last pixels and come before its end marker: nobody reads
    them. Every coefficient is read; of a JPEG an eighth of each side is computed, in a fraction of the time and memory.
    Raises one of UNREADABLE, also for a JPEG with a hole, which Pillow would fill with grey.
    """
    width, height = (side // 8 for side in image.size)
    with image:
        oddity = _oddity_of(body, width, height) if image.format in ("JPEG", "MPO") else "another format"
        if oddity:
            image.draft(None, (width, height))
            image.load()
    unread = _UNREAD.search(oddity)
    return int(unread[1]) if unread else 0


def _oddity_of(body: bytes, width: int, height: int) -> str:
    """What libjpeg-turbo says against a JPEG, if anything; Pillow has the last word. Raises ValueError for a hole."""
    try:
        simplejpeg.decode_jpeg(body, "GRAY", min_width=width, min_height=height, strict=True)
    except ValueError as why:
        if "premature end" in str(why).lower():
            raise ValueError("a part of the JPEG data is missing") from why
        if _BEFORE_RESTART.search(str(why)):
            raise ValueError("bytes that are no pixels stand before a restart marker") from why
        return str(why)  # CMYK, or what harms nothing
    return ""


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PHOTO_PIXELS or max(width, height) > MAX_PHOTO_SIDE:
        raise TooLarge(f"{width}x{height} pixels; at most {MAX_PHOTO_PIXELS} and {MAX_PHOTO_SIDE} a side are read")


def orientation_of(image: Image.Image) -> int:
    """How its pixels have to be turned, 1 to 8, as EXIF counts. Of a PNG it is known once that is decoded.

    HEIC comes upright. AVIF's own turn is told by Pillow as if it were EXIF's, which counts for nothing there.
    """
    if image.format == "HEIF":
        return 1
    if "exif" not in image.info and "Raw profile type exif" not in image.info:
        return 1  # getexif() would look into XMP, which browsers don't
    try:
        return _sensible(image.getexif().get(ExifTags.Base.Orientation))
    except UNREADABLE:
        return 1


def orientation_in(tiff: bytes) -> int:
    """The same, of an EXIF block without its prefix. A broken one says nothing: the photo itself may be sound."""
    exif = Image.Exif()
    try:
        exif.load(b"Exif\0\0" + tiff)
        return _sensible(exif.get(ExifTags.Base.Orientation))
    except UNREADABLE:
        return 1


def _sensible(stated: object) -> int:
    return stated if isinstance(stated, int) and 1 <= stated <= 8 else 1


class Room:
    """So many bytes of pictures are decoded at once in a process; who needs more than are free waits.

    In order of arrival, or small ones would keep a large one waiting for ever. One that needs more than all there is
    gets all there is, alone.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._free = most
        self._door = threading.Lock()
        self._left = threading.Condition()

    @contextmanager
    def take(self, wanted: int) -> Iterator[None]:
        """Entered when there is room."""
        taken = min(wanted, self._most)
        with self._door, self._left:
            self._left.wait_for(lambda: self._free >= taken)
            self._free -= taken
        try:
            yield
        finally:
            with self._left:
                self._free += taken
                self._left.notify_all()


ROOM = Room(DECODING_BYTES)
