"""The parts of a photo's file: JPEG segments (ITU-T T.81, Annex B), PNG chunks (W3C PNG, third edition) and
WebP chunks (RFC 9649).

Files come from strangers: each walk takes time in proportion to the bytes, whatever they are, and at most MAX_PARTS
steps. What would cost a decoder more than its pixels do is refused here, by gateway and workers alike.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared.limits import MAX_PARTS, MAX_SCANNED_PIXELS, MAX_SCANS, MAX_STRAY_BYTES

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
JPEG_SIGNATURE = b"\xff\xd8\xff"

EOI, SOS = 0xD9, 0xDA
# Start of frame, whichever coding; C4, C8 and CC are tables and a reserved code.
SOF = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_SEQUENTIAL = frozenset((0xC0, 0xC1, 0xC9))

# What makes a marker after an FF. The others are a literal FF, restarts and fill bytes: decoders pass over them within
# a scan and between segments alike.
_MARKERS = frozenset(range(0x02, 0xFF)) - frozenset(range(0xD0, 0xD8))
_IS_MARKER = np.array([code in _MARKERS for code in range(256)])
_NARROW, _WIDE = 256, 64 * 1024  # bytes looked at together: few where the next marker is near


class BadContainer(ValueError):
    """The file can't be followed to its end; the message says why, as the end of a sentence."""


class TooManyParts(BadContainer):
    """Following it, or decoding it, would cost more than a photo of its size may."""


@dataclass(frozen=True, slots=True)
class Segment:
    """`raw` is all of it; `payload` comes after the length. A scan's compressed data have no marker: 0."""

    marker: int
    raw: memoryview
    payload: bytes = b""


@dataclass(frozen=True, slots=True)
class Frame:
    """What a JPEG's frame header says. A sequential one may come in one scan, a progressive one never does."""

    width: int
    height: int
    components: int
    sequential: bool


@dataclass(frozen=True, slots=True)
class Chunk:
    """A part of a PNG or WebP. `raw` is all of it, a WebP's padding too."""

    kind: bytes
    raw: memoryview
    payload: memoryview


# --- JPEG -------------------------------------------------------------------------------------------------------------


def jpeg_segments(body: bytes) -> Iterator[Segment]:
    """Between start and end marker, in order. Raises BadContainer when the data end before the end marker.

    A few bytes between segments that belong to none are passed over, as decoders do.
    """
    view, codes = memoryview(body), np.frombuffer(body, np.uint8)
    at, stray = 2, 0
    for _ in range(MAX_PARTS):
        start = _next_marker(body, codes, at)
        if start == len(body):
            break
        stray += start - at
        if stray > MAX_STRAY_BYTES:
            raise TooManyParts(f"more than {MAX_STRAY_BYTES:,} bytes that belong to no segment")
        marker, begin = body[start + 1], start + 2
        if marker == EOI:
            return
        end = begin + int.from_bytes(body[begin : begin + 2], "big")
        if not begin + 2 <= end <= len(body):
            break
        yield Segment(marker, view[start:end], body[begin + 2 : end])
        at = end
        if marker == SOS:
            at = _next_marker(body, codes, end)
            yield Segment(0, view[end:at])
    else:
        raise TooManyParts(f"more than {MAX_PARTS:,} segments")
    raise BadContainer("the JPEG data end early")


def frame_of(header: Segment) -> Frame:
    """Raises BadContainer when the header is cut off."""
    said = header.payload
    if len(said) < 6:
        raise BadContainer("the JPEG frame header is cut off")
    width, height = int.from_bytes(said[3:5], "big"), int.from_bytes(said[1:3], "big")
    return Frame(width, height, said[5], header.marker in _SEQUENTIAL)


def check_scans(scans: int, frame: Frame) -> None:
    """A scan of a few bytes lets a decoder go over every pixel. Raises TooManyParts."""
    most = min(MAX_SCANS, MAX_SCANNED_PIXELS // max(frame.width * frame.height, 1))
    if scans > most:
        raise TooManyParts(f"more scans than the {most} that {frame.width:,} × {frame.height:,} pixels may come in")


def _next_marker(body: bytes, codes: NDArray[np.uint8], at: int) -> int:
    """Where the FF stands that begins the next marker; len(body) when there is none. `codes` are the same bytes."""
    if at + 1 < len(body) and body[at] == 0xFF and body[at + 1] in _MARKERS:
        return at  # nearly always
    width = _NARROW
    while at + 1 < len(body):
        followers = codes[at + 1 : at + 1 + width]
        markers = np.flatnonzero((codes[at : at + len(followers)] == 0xFF) & _IS_MARKER[followers])
        if len(markers):
            return at + int(markers[0])
        at += len(followers)
        width = min(width * 2, _WIDE)
    return len(body)


# --- PNG --------------------------------------------------------------------------------------------------------------


def png_chunks(body: bytes) -> Iterator[Chunk]:
    """Up to and with IEND, in order. Raises BadContainer when the data end before it."""
    view = memoryview(body)
    at = len(PNG_SIGNATURE)
    for _ in range(MAX_PARTS):
        end = at + 12 + int.from_bytes(body[at : at + 4], "big")
        if end > len(body):
            raise BadContainer("the PNG data end early")
        chunk = Chunk(body[at + 4 : at + 8], view[at:end], view[at + 8 : end - 4])
        yield chunk
        if chunk.kind == b"IEND":
            return
        at = end
    raise TooManyParts(f"more than {MAX_PARTS:,} chunks")


# --- WebP -------------------------------------------------------------------------------------------------------------


def webp_chunks(body: bytes) -> Iterator[Chunk]:
    """As many as the RIFF header says there are, in order. Raises BadContainer when the data end before."""
    view = memoryview(body)
    at, stop = 12, 8 + int.from_bytes(body[4:8], "little")
    if stop > len(body):
        raise BadContainer("the WebP data end early")
    for _ in range(MAX_PARTS):
        if at + 8 > stop:
            return
        length = int.from_bytes(body[at + 4 : at + 8], "little")
        end = at + 8 + length
        if end > stop:
            raise BadContainer("the WebP data end early")
        padded = end + length % 2
        raw = view[at:padded] if padded <= stop else memoryview(bytes(view[at:end]) + b"\0")
        yield Chunk(body[at : at + 4], raw, view[at + 8 : end])
        at = padded
    raise TooManyParts(f"more than {MAX_PARTS:,} chunks")


# --- before decoding --------------------------------------------------------------------------------------------------


def scans_of(body: bytes) -> int:
    """How often a decoder goes over all pixels: once but for JPEGs of many scans.

    Raises TooManyParts for a photo whose parts would cost a decoder more than its pixels do. What can't be followed is
    left to the decoder, which says better what is wrong.
    """
    scans = 0
    try:
        if body.startswith(JPEG_SIGNATURE):
            for scans in _scans_of_jpeg(body):  # noqa: B007  as many as can be followed
                pass
        elif body.startswith(PNG_SIGNATURE):
            for _ in png_chunks(body):
                pass
    except TooManyParts:
        raise
    except BadContainer:
        pass
    return max(scans, 1)


def _scans_of_jpeg(body: bytes) -> Iterator[int]:
    """Counts them. Most have one, and only their beginning is looked at."""
    frame, scans = Frame(0, 0, 0, sequential=False), 0
    for segment in jpeg_segments(body):
        if segment.marker in SOF:
            frame = frame_of(segment)
        elif segment.marker == SOS:
            if frame.sequential and segment.payload[:1] == bytes([frame.components]):
                return
            scans += 1
            check_scans(scans, frame)
            yield scans
