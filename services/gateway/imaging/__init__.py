"""Which photos come in, and what of them: checked from the header, decoded once, and freed of metadata.

Metadata leave by segment, not by re-encoding: the pixels stay as they are bit for bit, and so do the orientation and
what a profile says of colours. EXIF, GPS, XMP, IPTC, comments, a profile's texts, thumbnails, further pictures and
whatever follows the pixels go.
No torch, no service: decoders and bytes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from vitrine.events.v1 import listing_pb2

from services.gateway.imaging import heif, jpeg, png, webp
from services.gateway.imaging.foreign import describe
from services.gateway.imaging.parts import BadPhoto, Metadata, Size, damaged, editor_of, generator_of
from shared.apart import HELPERS
from shared.containers import JPEG_SIGNATURE, PNG_SIGNATURE, BadContainer, TooManyParts
from shared.decoding import ROOM, UNREADABLE, decode_whole, opened, orientation_of
from shared.heif import is_heif
from shared.limits import ACCEPTED_PHOTO_PIXELS, MAX_PHOTO_BYTES, MAX_PHOTO_SIDE
from shared.photo_formats import NAMES

__all__ = ["BadPhoto", "CleanPhoto", "Header", "PhotoLimits", "clean", "read_header", "too_large"]

T = TypeVar("T")

ACCEPTED = f"{NAMES} are accepted."


@dataclass(frozen=True, slots=True)
class PhotoLimits:
    """What a photo may measure. Decoded pixels are what memory is spent on, so they are limited beside the bytes."""

    max_bytes: int = MAX_PHOTO_BYTES
    max_pixels: int = ACCEPTED_PHOTO_PIXELS
    min_side: int = 32


@dataclass(frozen=True, slots=True)
class Header:
    """What a photo's first bytes say. `width` and `height` as stored, before orientation."""

    media_type: str
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class CleanPhoto:
    """A photo that decodes, without its metadata. `width` and `height` are those of the upright picture."""

    body: bytes
    media_type: str
    width: int
    height: int
    metadata: listing_pb2.PhotoMetadata


# Each costs another decoding of the whole photo. One takes nearly everything away, the next what was read ahead.
_TRIMS = 3


@dataclass(frozen=True, slots=True)
class _Format:
    name: str
    media_type: Callable[[bytes], str]
    size: Callable[[bytes], Size]
    strip: Callable[[bytes], tuple[bytes, Metadata]]


_JPEG = _Format("JPEG", lambda _: "image/jpeg", jpeg.size, jpeg.strip)
_PNG = _Format("PNG", lambda _: "image/png", png.size, png.strip)
_WEBP = _Format("WEBP", lambda _: "image/webp", webp.size, webp.strip)
_HEIF = _Format("HEIF", heif.media_type, heif.size, heif.strip)


def read_header(body: bytes, limits: PhotoLimits | None = None) -> Header:
    """Check type, bytes and pixels without decoding anything. The file's name and declared type play no part.

    Raises BadPhoto: empty-photo, photo-too-large, not-a-photo, unsupported-type, animated-photo, damaged-photo,
    too-many-parts, too-many-pixels, side-too-long or photo-too-small.
    """
    limits = limits or PhotoLimits()
    if not body:
        raise BadPhoto("empty-photo", "The photo is empty: 0 bytes arrived.", "Check that the file was read and sent.")
    if len(body) > limits.max_bytes:
        raise too_large(limits.max_bytes)
    kind = _format_of(body)
    size = _followed(kind.size, body)
    if size.animated:
        raise animated(f"a {kind.name}")
    _check_pixels(size, limits)
    return Header(kind.media_type(body), size.width, size.height)


def clean(body: bytes, limits: PhotoLimits | None = None) -> CleanPhoto:
    """Check a photo, decode it once to be sure, and take its metadata out. CPU work: not for the event loop.

    What was decoded is what is returned, so nothing is stored that was not seen to be sound. Raises BadPhoto, and
    Transient when a suspicious one could not be decoded in a process of its own.
    """
    header = read_header(body, limits)
    kind = _format_of(body)
    stripped, metadata = _followed(kind.strip, body)
    width, height, unread = _decode(stripped)
    for _ in range(_TRIMS):
        if not unread:
            break
        # Padding of some cameras, or whatever else: what no decoder reads is no part of the picture. One reads up to
        # eight bytes ahead and doesn't count them, so a few may be left for another turn.
        stripped = jpeg.without_last(stripped, unread)
        width, height, unread = _decode(stripped)
    if unread:
        raise damaged("what follows its last pixel is no padding of one kind")
    _check_pixels(Size(width, height), limits or PhotoLimits())  # a HEIF may show less than it holds
    summary = listing_pb2.PhotoMetadata(
        editor=editor_of(metadata), generator=generator_of(metadata), c2pa=metadata.c2pa
    )
    return CleanPhoto(stripped, header.media_type, width, height, summary)


def too_large(max_bytes: int) -> BadPhoto:
    """Also for those who stop reading when there is more than they may take."""
    return BadPhoto(
        "photo-too-large",
        f"The photo has more than {max_bytes:,} bytes ({max_bytes / 2**20:.0f} MiB), which is the most.",
        "Save it with a stronger compression or fewer pixels; 2,000 pixels a side are plenty.",
    )


def animated(what: str) -> BadPhoto:
    return BadPhoto(
        "animated-photo",
        f"The photo is {what} with several frames; a product photo is one still picture.",
        f"Send its best frame as a photo of its own. {ACCEPTED}",
    )


def _format_of(body: bytes) -> _Format:
    if body.startswith(JPEG_SIGNATURE):
        return _JPEG
    if body.startswith(PNG_SIGNATURE):
        return _PNG
    if body.startswith(b"RIFF") and body[8:12] == b"WEBP":
        return _WEBP
    if is_heif(body):
        return _HEIF
    other = describe(body)
    if other is None:
        raise BadPhoto(
            "not-a-photo",
            "The file is not an image, whatever its name says: its first bytes are those of no image format.",
            f"Send the photo itself. {ACCEPTED}",
        )
    if other.animated:
        raise animated(f"a {other.name}")
    raise BadPhoto(
        "unsupported-type", f"The photo is {other.name}, which is not accepted.", f"{other.remedy} {ACCEPTED}"
    )


def _followed(read: Callable[[bytes], T], body: bytes) -> T:
    """What `read` returns. Raises BadPhoto where the file can't be followed to its end."""
    try:
        return read(body)
    except TooManyParts as why:
        raise BadPhoto(
            "too-many-parts",
            f"The photo's file has {why}.",
            "Open it in an image editor and export it anew, as an ordinary JPEG.",
        ) from why
    except BadContainer as why:
        raise damaged(str(why)) from why


def _check_pixels(size: Size, limits: PhotoLimits) -> None:
    measured = f"{size.width:,} × {size.height:,} pixels"
    if size.width * size.height > limits.max_pixels:
        raise BadPhoto(
            "too-many-pixels",
            f"The photo's header says {measured}; at most {limits.max_pixels:,} pixels are accepted.",
            "Scale it down; 2,000 pixels a side are plenty.",
        )
    if max(size.width, size.height) > MAX_PHOTO_SIDE:
        raise BadPhoto(
            "side-too-long",
            f"The photo has {measured}; each side may have {MAX_PHOTO_SIDE:,} at most.",
            "Cut it into several photos, or scale it down.",
        )
    if min(size.width, size.height) < limits.min_side:
        raise BadPhoto(
            "photo-too-small",
            f"The photo has {measured}; each side must have {limits.min_side} at least.",
            "Send the photo in its original size, not its thumbnail.",
        )


def _decode(body: bytes) -> tuple[int, int, int]:
    """Width and height of the upright picture, and how many of its last bytes no decoder reads.

    Of a stripped one its turn is known from its beginning.
    """
    try:
        photo = opened(body)
        width, height = photo.image.size
        turned = orientation_of(photo.image) >= 5  # a quarter, mirrored or not
        room = photo.bytes_to_decode(min(width, height) // 8)
        if photo.is_suspicious:
            photo.image.close()
            unread = HELPERS.decode_whole(body, room, ROOM.take(room))
        else:
            with ROOM.take(room):
                unread = decode_whole(body, photo.image)
    except UNREADABLE as why:
        raise damaged(f"it could not be decoded ({why})") from why
    return (height, width, unread) if turned else (width, height, unread)
