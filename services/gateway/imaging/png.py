"""PNG by its chunks (W3C PNG, third edition)."""

import zlib
from collections.abc import Iterator, Sequence

from PIL import PngImagePlugin

from services.gateway.imaging.parts import BadPhoto, Metadata, Size, check_profile, damaged, exif_with_only
from services.gateway.imaging.profile import colours_only
from shared.containers import PNG_SIGNATURE, Chunk, png_chunks
from shared.limits import MAX_PHOTO_BYTES, MAX_PROFILE_BYTES

# Pixels and what they mean as colours, with the most bytes that each may have; all else goes.
_PIXELS = {b"IHDR": 13, b"PLTE": 768, b"IDAT": MAX_PHOTO_BYTES, b"tRNS": 256, b"bKGD": 6, b"pHYs": 9, b"sBIT": 4}
_COLOURS = {b"iCCP": MAX_PROFILE_BYTES, b"cHRM": 32, b"gAMA": 4, b"sRGB": 1, b"cICP": 4, b"mDCV": 24, b"cLLI": 8}
_PICTURE = _PIXELS | _COLOURS
_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # of a pixel, by how colours are coded
# Where the first pixel of each pass is, and how far the next ones are: all at once, or by Adam7.
_PASSES = (
    ((0, 0, 1, 1),),
    ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)),
)
# Bytes at a time: what isn't inflated yet is copied after each step.
_INFLATED_FROM, _INFLATED_TO = 64 * 1024, 1024 * 1024
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
    raise _no_header()


def strip(body: bytes) -> tuple[bytes, Metadata]:
    """The picture alone, and what was taken out.

    Raises BadContainer when the file ends before its last chunk or has too many, and BadPhoto for a profile that is
    none.
    """
    metadata = Metadata()
    beside: dict[bytes, Chunk] = {}  # each once, and before the pixels: decoders disagree about more
    pixels: list[Chunk] = []
    profile, profile_bytes = b"", 0
    for chunk in png_chunks(body):
        if len(chunk.payload) > _PICTURE.get(chunk.kind, -1):
            _note(chunk, metadata)
        elif chunk.kind == b"IDAT":
            pixels.append(chunk)
        elif not pixels:
            beside.setdefault(chunk.kind, chunk)
        if chunk.kind == b"iCCP":
            inflated = _inflated(_after_keyword(chunk)[1][1:], _MOST_PROFILE + 1)
            profile_bytes += len(inflated)
            check_profile(profile_bytes, _MOST_PROFILE)
            profile = profile or inflated
    if b"IHDR" not in beside or len(beside[b"IHDR"].payload) != _PIXELS[b"IHDR"]:
        raise _no_header()
    parts: list[bytes | memoryview] = [PNG_SIGNATURE]
    parts += [_profile(profile) if chunk.kind == b"iCCP" else chunk.raw for chunk in beside.values()]
    if exif := exif_with_only(metadata.orientation()):
        parts.append(_chunk(b"eXIf", exif))
    parts += _until_complete(pixels, _bytes_of_pixels(beside[b"IHDR"]))
    return b"".join([*parts, _chunk(b"IEND", b"")]), metadata


def _profile(profile: bytes) -> bytes:
    colours = colours_only(profile)
    return _chunk(b"iCCP", b"icc\0\0" + zlib.compress(colours, 9)) if colours else b""


def _until_complete(pixels: Sequence[Chunk], most: int) -> Iterator[bytes | memoryview]:
    """The chunks up to where the stream in them ends: what follows is nobody's. One that doesn't end stays as it is.

    Raises BadPhoto when they inflate to more than the picture has: decoders stop there and leave the rest unread.
    """
    stream, left = zlib.decompressobj(), most
    for chunk in pixels:
        for at in range(0, len(chunk.payload), _INFLATED_FROM):
            piece = chunk.payload[at : at + _INFLATED_FROM]
            try:
                while piece and not stream.eof:
                    left -= len(stream.decompress(piece, _INFLATED_TO))
                    piece = memoryview(stream.unconsumed_tail)
                    if left < 0:
                        raise damaged("its image data are more than its pixels")
            except zlib.error as why:
                raise damaged(f"its image data can't be unpacked ({why})") from why
            if stream.eof:
                used = min(at + _INFLATED_FROM, len(chunk.payload)) - len(stream.unused_data)
                if used:
                    yield chunk.raw if used == len(chunk.payload) else _chunk(b"IDAT", bytes(chunk.payload[:used]))
                return
        yield chunk.raw


def _bytes_of_pixels(header: Chunk) -> int:
    """Inflated, with one byte a row that says how it is filtered; of an interlaced picture the sum of its passes."""
    width, height = (int.from_bytes(header.payload[at : at + 4], "big") for at in (0, 4))
    depth, colour, interlaced = header.payload[8], header.payload[9], header.payload[12]
    bits = depth * _SAMPLES.get(colour, 4)
    passes = [(-(-(width - x) // across), -(-(height - y) // down)) for x, y, across, down in _PASSES[interlaced == 1]]
    return sum(rows * (1 + -(-columns * bits // 8)) for columns, rows in passes if columns > 0)


def _no_header() -> BadPhoto:
    return damaged("the PNG image header is missing or incomplete")


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
