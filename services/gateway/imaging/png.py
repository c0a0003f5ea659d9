"""PNG by its chunks (W3C PNG, third edition)."""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from services.gateway.imaging.parts import Metadata, Size, damaged, exif_with_only

SIGNATURE = b"\x89PNG\r\n\x1a\n"

# Pixels and what they mean as colours; all else goes.
_PICTURE = frozenset((b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"bKGD", b"pHYs", b"sBIT")) | frozenset(
    (b"cHRM", b"gAMA", b"iCCP", b"sRGB", b"cICP", b"mDCV", b"cLLI")
)
_TEXTS = frozenset((b"tEXt", b"zTXt", b"iTXt"))
_LONGEST_TEXT = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Chunk:
    kind: bytes
    raw: memoryview
    payload: memoryview


def size(body: bytes) -> Size:
    """From the image header. Raises BadPhoto when there is none."""
    width = height = 0
    for chunk in chunks(body):
        if chunk.kind == b"IHDR" and len(chunk.payload) == 13:
            width = int.from_bytes(chunk.payload[:4], "big")
            height = int.from_bytes(chunk.payload[4:8], "big")
        elif not width:
            break
        elif chunk.kind == b"acTL":
            return Size(width, height, animated=True)
        elif chunk.kind == b"IDAT":  # an animation says so before
            return Size(width, height)
    raise damaged("the PNG image header is missing or incomplete")


def strip(body: bytes) -> tuple[bytes, Metadata]:
    """The picture alone, and what was taken out. Raises BadPhoto when the file ends before its last chunk."""
    metadata = Metadata()
    kept: list[Chunk] = []
    for chunk in chunks(body):
        if chunk.kind in _PICTURE:
            kept.append(chunk)
        else:
            _note(chunk, metadata)
    parts: list[bytes | memoryview] = [SIGNATURE]
    exif = exif_with_only(metadata.orientation())
    for chunk in kept:
        if exif and chunk.kind == b"IDAT":
            parts.append(_chunk(b"eXIf", exif))
            exif = b""
        parts.append(chunk.raw)
    return b"".join(parts), metadata


def chunks(body: bytes) -> Iterator[Chunk]:
    """Up to and with IEND, in order. Raises BadPhoto when the data end before it."""
    view = memoryview(body)
    at = len(SIGNATURE)
    while at + 12 <= len(body):
        end = at + 12 + int.from_bytes(body[at : at + 4], "big")
        if end > len(body):
            break
        chunk = Chunk(body[at + 4 : at + 8], view[at:end], view[at + 8 : end - 4])
        yield chunk
        if chunk.kind == b"IEND":
            return
        at = end
    raise damaged("the PNG data end early")


def _note(chunk: Chunk, metadata: Metadata) -> None:
    if chunk.kind == b"eXIf":
        metadata.exif = bytes(chunk.payload)
    elif chunk.kind == b"caBX":
        metadata.c2pa = True
        metadata.notes.append(bytes(chunk.payload))
    elif chunk.kind in _TEXTS:
        keyword, text = _text(chunk)
        if keyword == b"XML:com.adobe.xmp":
            metadata.xmp += text
        elif keyword == b"Software":
            metadata.software = text.decode("latin-1")
        elif keyword == b"Raw profile type exif":  # ImageMagick's way, before eXIf was standard
            metadata.exif = metadata.exif or _raw_profile(text)
        else:
            metadata.notes.append(keyword + b" " + text)


def _text(chunk: Chunk) -> tuple[bytes, bytes]:
    keyword, _, rest = bytes(chunk.payload).partition(b"\0")
    if chunk.kind == b"zTXt":
        return keyword, _inflated(rest[1:])
    if chunk.kind == b"iTXt":
        compressed, rest = rest[:1] == b"\1", rest[2:]
        text = rest.split(b"\0", 2)[-1]  # after a language and a translated keyword
        return keyword, _inflated(text) if compressed else text
    return keyword, rest


def _inflated(data: bytes) -> bytes:
    try:
        return zlib.decompressobj().decompress(data, _LONGEST_TEXT)
    except zlib.error:
        return b""


def _raw_profile(text: bytes) -> bytes:
    """A name, a length, then lines of hex."""
    try:
        profile = bytes.fromhex(text.decode("ascii").split(maxsplit=2)[2])
    except (ValueError, IndexError):
        return b""
    return profile.removeprefix(b"Exif\0\0")


def _chunk(kind: bytes, payload: bytes) -> bytes:
    crc = zlib.crc32(kind + payload)
    return len(payload).to_bytes(4, "big") + kind + payload + crc.to_bytes(4, "big")
