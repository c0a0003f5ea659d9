"""WebP by its RIFF chunks (RFC 9649)."""

from collections.abc import Iterator
from dataclasses import dataclass

from services.gateway.imaging.parts import Metadata, Size, damaged, exif_with_only

_PICTURE = frozenset((b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ICCP"))
_ANIMATED, _HAS_XMP, _HAS_EXIF = 0x02, 0x04, 0x08


@dataclass(frozen=True, slots=True)
class Chunk:
    kind: bytes
    raw: memoryview
    payload: memoryview


def size(body: bytes) -> Size:
    """From the canvas or the bitstream's own header, whichever is larger. Raises BadPhoto when there is neither."""
    width = height = 0
    for chunk in chunks(body):
        if chunk.kind == b"VP8X" and len(chunk.payload) >= 10:
            width = 1 + int.from_bytes(chunk.payload[4:7], "little")
            height = 1 + int.from_bytes(chunk.payload[7:10], "little")
            if chunk.payload[0] & _ANIMATED:
                return Size(width, height, animated=True)
        elif chunk.kind in (b"VP8 ", b"VP8L"):
            own = _bitstream_size(chunk)
            return Size(max(width, own.width), max(height, own.height))
    raise damaged("no WebP picture was found")


def strip(body: bytes) -> tuple[bytes, Metadata]:
    """The picture alone, and what was taken out. Raises BadPhoto when the data end early."""
    metadata = Metadata()
    kept: list[Chunk] = []
    for chunk in chunks(body):
        if chunk.kind in _PICTURE:
            kept.append(chunk)
        else:
            _note(chunk, metadata)
    extended = any(chunk.kind == b"VP8X" for chunk in kept)
    exif = exif_with_only(metadata.orientation()) if extended else b""  # the simple form can't carry any
    parts: list[bytes | memoryview] = [
        _flagged(chunk, bool(exif)) if chunk.kind == b"VP8X" else chunk.raw for chunk in kept
    ]
    if exif:
        parts.append(_chunk(b"EXIF", exif))
    content = b"WEBP" + b"".join(parts)
    return b"RIFF" + len(content).to_bytes(4, "little") + content, metadata


def chunks(body: bytes) -> Iterator[Chunk]:
    """As many as the RIFF header says there are, in order. Raises BadPhoto when the data end before."""
    view = memoryview(body)
    at, stop = 12, 8 + int.from_bytes(body[4:8], "little")
    if stop > len(body):
        raise damaged("the WebP data end early")
    while at + 8 <= stop:
        length = int.from_bytes(body[at + 4 : at + 8], "little")
        end = at + 8 + length
        if end > stop:
            raise damaged("the WebP data end early")
        padded = end + length % 2
        raw = view[at:padded] if padded <= stop else memoryview(bytes(view[at:end]) + b"\0")
        yield Chunk(body[at : at + 4], raw, view[at + 8 : end])
        at = padded


def _bitstream_size(chunk: Chunk) -> Size:
    data = chunk.payload
    if chunk.kind == b"VP8 " and len(data) >= 10 and bytes(data[3:6]) == b"\x9d\x01\x2a":
        width, height = (int.from_bytes(data[at : at + 2], "little") & 0x3FFF for at in (6, 8))
        return Size(width, height)
    if chunk.kind == b"VP8L" and len(data) >= 5 and data[0] == 0x2F:
        packed = int.from_bytes(data[1:5], "little")
        return Size(1 + (packed & 0x3FFF), 1 + (packed >> 14 & 0x3FFF))
    raise damaged("the WebP picture has no header")


def _note(chunk: Chunk, metadata: Metadata) -> None:
    payload = bytes(chunk.payload)
    if chunk.kind == b"EXIF":
        metadata.exif = payload.removeprefix(b"Exif\0\0")  # some write JPEG's prefix, against the standard
    elif chunk.kind == b"XMP ":
        metadata.xmp = payload
    else:
        metadata.c2pa |= chunk.kind == b"C2PA"
        metadata.notes.append(payload)


def _flagged(header: Chunk, has_exif: bool) -> bytes:
    flags = header.payload[0] & ~(_HAS_XMP | _HAS_EXIF) | (_HAS_EXIF if has_exif else 0)
    return _chunk(b"VP8X", bytes([flags]) + bytes(header.payload[1:]))


def _chunk(kind: bytes, payload: bytes) -> bytes:
    return kind + len(payload).to_bytes(4, "little") + payload + b"\0" * (len(payload) % 2)
