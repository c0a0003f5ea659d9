"""PNG by its chunks (W3C PNG, third edition)."""

import zlib

from PIL import PngImagePlugin

from services.gateway.imaging.parts import Metadata, Size, check_profile, damaged, exif_with_only
from shared.containers import PNG_SIGNATURE, Chunk, png_chunks
from shared.limits import MAX_PHOTO_BYTES, MAX_PROFILE_BYTES

# Pixels and what they mean as colours, with the most bytes that each may have; all else goes.
_PIXELS = {b"IHDR": 13, b"PLTE": 768, b"IDAT": MAX_PHOTO_BYTES, b"tRNS": 256, b"bKGD": 6, b"pHYs": 9, b"sBIT": 4}
_COLOURS = {b"iCCP": MAX_PROFILE_BYTES, b"cHRM": 32, b"gAMA": 4, b"sRGB": 1, b"cICP": 4, b"mDCV": 24, b"cLLI": 8}
_PICTURE = _PIXELS | _COLOURS
_MOST_KEYWORD = 79
_TEXTS = frozenset((b"tEXt", b"zTXt", b"iTXt"))
_MOST_PROFILE = PngImagePlugin.MAX_TEXT_CHUNK  # the decoder inflates no more


def size(body: bytes) -> Size:
    """What the image header says. Raises BadPhoto when there is none, and BadContainer."""
    width = height = 0
    for chunk in png_chunks(body):
        if chunk.kind == b"IHDR" and len(chunk.payload) == 13 and not width:
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
    """The picture alone, and what was taken out.

    Raises BadContainer when the file ends before its last chunk or has too many, and BadPhoto for a profile that is
    none.
    """
    metadata = Metadata()
    kept: list[Chunk] = []
    profile = 0
    for chunk in png_chunks(body):
        if len(chunk.payload) > _PICTURE.get(chunk.kind, -1):
            _note(chunk, metadata)
        elif chunk.kind != b"IHDR" or not kept:
            kept.append(chunk)
        if chunk.kind == b"iCCP":
            profile += len(_inflated(_after_keyword(chunk)[1][1:], _MOST_PROFILE + 1))
            check_profile(profile, _MOST_PROFILE)
    parts: list[bytes | memoryview] = [PNG_SIGNATURE]
    exif = exif_with_only(metadata.orientation())
    for chunk in kept:
        if exif and chunk.kind == b"IDAT":
            parts.append(_chunk(b"eXIf", exif))
            exif = b""
        parts.append(chunk.raw)
    return b"".join([*parts, _chunk(b"IEND", b"")]), metadata


def _note(chunk: Chunk, metadata: Metadata) -> None:
    if chunk.kind == b"eXIf":
        metadata.read_exif(chunk.payload)
    elif chunk.kind == b"caBX":
        metadata.c2pa = True
        metadata.notes.append(metadata.read(chunk.payload))
    elif chunk.kind in _TEXTS and metadata.room:
        keyword, text = _text(chunk, metadata.room)
        text = metadata.read(text)
        if keyword == b"XML:com.adobe.xmp":
            metadata.xmp += text
        elif keyword == b"Software":
            metadata.software = text.decode("latin-1")
        elif keyword == b"Raw profile type exif":  # ImageMagick's way, before eXIf was standard
            metadata.exif = metadata.exif or _raw_profile(text)
        else:
            metadata.notes.append(keyword + b" " + text)


def _text(chunk: Chunk, most: int) -> tuple[bytes, bytes]:
    """Keyword and text; of a compressed one at most so many bytes."""
    keyword, rest = _after_keyword(chunk)
    if chunk.kind == b"zTXt":
        return keyword, _inflated(rest[1:], most)
    if chunk.kind == b"iTXt":
        compressed, rest = rest[:1] == b"\1", rest[2:]
        text = rest.split(b"\0", 2)[-1]  # after a language and a translated keyword
        return keyword, _inflated(text, most) if compressed else text
    return keyword, rest


def _after_keyword(chunk: Chunk) -> tuple[bytes, bytes]:
    keyword, _, rest = bytes(chunk.payload).partition(b"\0")
    return keyword[:_MOST_KEYWORD], rest


def _inflated(data: bytes, most: int) -> bytes:
    """As far as it can be inflated, and `most` bytes at most, which must be some: to zlib 0 is no limit."""
    try:
        return zlib.decompressobj().decompress(data, most)
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
