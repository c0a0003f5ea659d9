"""WebP by its RIFF chunks (RFC 9649)."""

from collections.abc import Mapping

from services.gateway.imaging.parts import Metadata, Size, check_profile, damaged, exif_with_only
from services.gateway.imaging.profile import colours_only
from shared.containers import Chunk, webp_chunks

_CANVAS = b"VP8X"
_BITSTREAMS = frozenset((b"VP8 ", b"VP8L"))
_BESIDE = frozenset((b"ALPH", b"ICCP"))  # only beside a canvas
_PICTURE = _BITSTREAMS | _BESIDE | {_CANVAS}
_CANVAS_BYTES = 10
_ANIMATED, _HAS_XMP, _HAS_EXIF, _HAS_PROFILE = 0x02, 0x04, 0x08, 0x20


def size(body: bytes) -> Size:
    """From the canvas or the bitstream's own header, whichever is larger.

    Raises BadPhoto when there is neither, and BadContainer.
    """
    width = height = 0
    for chunk in webp_chunks(body):
        if chunk.kind == _CANVAS and not width:
            if len(chunk.payload) < _CANVAS_BYTES:
                raise damaged("the WebP canvas has no size")
            width = 1 + int.from_bytes(chunk.payload[4:7], "little")
            height = 1 + int.from_bytes(chunk.payload[7:10], "little")
            if chunk.payload[0] & _ANIMATED:
                return Size(width, height, animated=True)
        elif chunk.kind in _BITSTREAMS:
            own = _bitstream_size(chunk)
            return Size(max(width, own.width), max(height, own.height))
    raise damaged("no WebP picture was found")


def strip(body: bytes) -> tuple[bytes, Metadata]:
    """The picture alone, and what was taken out.

    Raises BadContainer when the data end early or have too many parts, and BadPhoto for a profile that is none.
    """
    metadata = Metadata()
    kept: list[Chunk] = []
    for chunk in webp_chunks(body):
        if chunk.kind not in _PICTURE:
            _note(chunk, metadata)
        elif _has_its_place(chunk.kind, {other.kind for other in kept}):
            kept.append(chunk)
            if chunk.kind == b"ICCP":
                check_profile(len(chunk.payload))
    extended = any(chunk.kind == _CANVAS for chunk in kept)
    exif = exif_with_only(metadata.orientation()) if extended else b""  # the simple form can't carry any
    profile = b"".join(colours_only(bytes(chunk.payload)) for chunk in kept if chunk.kind == b"ICCP")
    parts: list[bytes | memoryview] = []
    for chunk in kept:
        if chunk.kind == _CANVAS:
            parts.append(_flagged(chunk, {_HAS_EXIF: bool(exif), _HAS_PROFILE: bool(profile)}))
        elif chunk.kind != b"ICCP":
            parts.append(chunk.raw)
        elif profile:
            parts.append(_chunk(b"ICCP", profile))
    if exif:
        parts.append(_chunk(b"EXIF", exif))
    content = b"WEBP" + b"".join(parts)
    return b"RIFF" + len(content).to_bytes(4, "little") + content, metadata


def _has_its_place(kind: bytes, before: set[bytes]) -> bool:
    """The canvas comes first if at all, and everything once: decoders disagree about more."""
    if kind == _CANVAS:
        return not before
    if kind in _BESIDE:
        return _CANVAS in before and kind not in before
    return not before & _BITSTREAMS


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
    if chunk.kind == b"EXIF":
        prefixed = bytes(chunk.payload[:6]) == b"Exif\0\0"  # JPEG's, which some write against the standard
        metadata.read_exif(chunk.payload[6:] if prefixed else chunk.payload)
    elif chunk.kind == b"XMP ":
        metadata.xmp += metadata.read(chunk.payload)
    else:
        metadata.c2pa |= chunk.kind == b"C2PA"
        metadata.notes.append(metadata.read(chunk.payload))


def _flagged(header: Chunk, has: Mapping[int, bool]) -> bytes:
    kept = header.payload[0] & ~(_HAS_XMP | _HAS_EXIF | _HAS_PROFILE)
    flags = kept | sum(flag for flag, yes in has.items() if yes)
    return _chunk(_CANVAS, bytes([flags]) + bytes(header.payload[1:_CANVAS_BYTES]))


def _chunk(kind: bytes, payload: bytes) -> bytes:
    return kind + len(payload).to_bytes(4, "little") + payload + b"\0" * (len(payload) % 2)
