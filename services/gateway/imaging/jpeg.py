"""JPEG by its segments (ITU-T T.81, Annex B): find the size, and leave out what isn't the picture."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from services.gateway.imaging.parts import Metadata, Size, damaged, exif_with_only

SOI, EOI, SOS, COM = 0xD8, 0xD9, 0xDA, 0xFE
APP0, APP1, APP2, APP11, APP13, APP14, APP15 = 0xE0, 0xE1, 0xE2, 0xEB, 0xED, 0xEE, 0xEF
# Start of frame, whichever coding; C4, C8 and CC are tables and a reserved code.
_SOF = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}

_EXIF, _XMP, _ICC = b"Exif\0", b"http://ns.adobe.com/", b"ICC_PROFILE\0"
_JFIF, _JFIF_BYTES = b"JFIF\0", 14

_MARKER = re.compile(rb"\xff+[^\x00\xff]")
_ALONE = frozenset((0x01, *range(0xD0, 0xD8)))  # markers without a length
# Within a scan FF00 is a literal FF and FFD0 to FFD7 restart it; any other code ends it.
_END_OF_SCAN = re.compile(rb"\xff+[^\x00\xd0-\xd7\xff]")


@dataclass(frozen=True, slots=True)
class Segment:
    """`raw` is all of it; a scan's includes the compressed data that follow. `payload` comes after the length."""

    marker: int
    raw: memoryview
    payload: bytes


def size(body: bytes) -> Size:
    """From the frame header. Raises BadPhoto when there is none."""
    for segment in segments(body):
        if segment.marker in _SOF and len(segment.payload) >= 6:
            height = int.from_bytes(segment.payload[1:3], "big")
            width = int.from_bytes(segment.payload[3:5], "big")
            return Size(width, height)
        if segment.marker == SOS:
            break
    raise damaged("no JPEG frame header was found")


def strip(body: bytes) -> tuple[bytes, Metadata]:
    """The picture alone, and what was taken out. Raises BadPhoto when the file ends before its end marker."""
    metadata = Metadata()
    kept: list[Segment] = []
    for segment in segments(body):
        if _belongs_to_picture(segment):
            kept.append(segment)
        else:
            _note(segment, metadata)
    parts: list[bytes | memoryview] = [b"\xff\xd8"]
    if kept and kept[0].marker == APP0:  # first by its standard
        parts.append(_without_thumbnail(kept.pop(0)))
    if exif := exif_with_only(metadata.orientation()):
        parts.append(_segment(APP1, b"Exif\0\0" + exif))
    parts += [_without_thumbnail(segment) if segment.marker == APP0 else segment.raw for segment in kept]
    # What comes after the end is another picture (MPO, gain maps, motion photos) or none: it goes.
    return b"".join([*parts, b"\xff\xd9"]), metadata


def segments(body: bytes) -> Iterator[Segment]:
    """Between start and end marker, in order. Raises BadPhoto when the data end before the end marker.

    Bytes between segments that belong to none are passed over, as decoders do.
    """
    view = memoryview(body)
    at = 2
    while found := _MARKER.search(body, at):
        marker, begin = body[found.end() - 1], found.end()
        if marker == EOI:
            return
        if marker in _ALONE:
            at = begin
            continue
        end = begin + int.from_bytes(body[begin : begin + 2], "big")
        if not begin + 2 <= end <= len(body):
            break
        payload = body[begin + 2 : end]
        if marker == SOS:
            following = _END_OF_SCAN.search(body, end)
            if following is None:
                break
            end = following.start()
        yield Segment(marker, view[begin - 2 : end], payload)
        at = end
    raise damaged("the JPEG data end early")


def _belongs_to_picture(segment: Segment) -> bool:
    match segment.marker:
        case marker if not (APP0 <= marker <= APP15 or marker == COM):
            return True
        case 0xE0:
            return segment.payload.startswith(_JFIF) and len(segment.payload) >= _JFIF_BYTES
        case 0xE2:
            return segment.payload.startswith(_ICC)
        case 0xEE:  # says how the colours are coded
            return segment.payload.startswith(b"Adobe")
        case _:
            return False


def _note(segment: Segment, metadata: Metadata) -> None:
    payload = segment.payload
    if segment.marker == APP1 and payload.startswith(_EXIF):
        metadata.exif = metadata.exif or payload[6:]
    elif segment.marker == APP1 and payload.startswith(_XMP):
        metadata.xmp += payload
    elif segment.marker in (COM, APP11, APP13):
        metadata.notes.append(payload)
        # JPEG universal metadata boxes; C2PA's say so in their description box.
        metadata.c2pa |= segment.marker == APP11 and payload.startswith(b"JP") and b"c2pa" in payload


def _without_thumbnail(jfif: Segment) -> bytes:
    return _segment(APP0, jfif.payload[: _JFIF_BYTES - 2] + b"\0\0")


def _segment(marker: int, payload: bytes) -> bytes:
    return bytes((0xFF, marker)) + (len(payload) + 2).to_bytes(2, "big") + payload
