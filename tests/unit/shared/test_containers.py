"""However a file is made, following it is cheap, and what would cost a decoder too much is refused before."""

import io
import struct
import time
import zlib
from collections.abc import Callable, Iterator

import pytest
from PIL import Image

from shared.containers import (
    BadContainer,
    TooManyParts,
    jpeg_segments,
    png_chunks,
    scans_of,
    webp_chunks,
)
from shared.errors import Poison
from shared.limits import MAX_PARTS, MAX_SCANNED_PIXELS, MAX_SCANS, MAX_STRAY_BYTES
from shared.vision.decode import decode

MIB = 1024 * 1024
START, END = b"\xff\xd8", b"\xff\xd9"


def segment(marker: int, payload: bytes = b"") -> bytes:
    return bytes((0xFF, marker)) + struct.pack(">H", len(payload) + 2) + payload


def frame(width: int, height: int, marker: int = 0xC2, components: int = 1) -> bytes:
    return segment(marker, struct.pack(">BHHB", 8, height, width, components) + b"\1\x11\0" * components)


def scan(data: bytes = b"\x2a", components: int = 1) -> bytes:
    return segment(0xDA, bytes([components]) + b"\1\0" * components + b"\0\x3f\0") + data


def png(*chunks: tuple[bytes, bytes]) -> bytes:
    body = b"\x89PNG\r\n\x1a\n"
    for kind, payload in chunks:
        body += struct.pack(">I", len(payload)) + kind + payload + struct.pack(">I", zlib.crc32(kind + payload))
    return body


def webp(*chunks: tuple[bytes, bytes]) -> bytes:
    content = b"WEBP" + b"".join(kind + struct.pack("<I", len(p)) + p + b"\0" * (len(p) % 2) for kind, p in chunks)
    return b"RIFF" + struct.pack("<I", len(content)) + content


def cpu_seconds(call: Callable[[], object]) -> float:
    began = time.thread_time()
    call()
    return time.thread_time() - began


def follow(walk: Callable[[bytes], Iterator[object]], body: bytes) -> None:
    try:
        for _ in walk(body):
            pass
    except BadContainer:
        return


# --- time -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "pattern", [b"\xff", b"\xff\0", b"\xff\xd0", b"\xff\xff\0", b"\xff\x01", b"\0", b"\xff\xff\xd0"]
)
@pytest.mark.parametrize(
    "before", [b"", segment(0xDB, b"table"), frame(64, 48) + scan(), scan() + segment(0xDB, b"table")]
)
@pytest.mark.parametrize("after", [b"", b"\0", END])
def test_four_mebibytes_of_a_jpeg_are_followed_in_a_moment_whatever_they_are(
    before: bytes, pattern: bytes, after: bytes
) -> None:
    body = START + before + pattern * (4 * MIB // len(pattern)) + after
    assert cpu_seconds(lambda: follow(jpeg_segments, body)) < 1


@pytest.mark.parametrize(
    ("walk", "body"),
    [
        (jpeg_segments, START + segment(0xE1) * 1_000_000),
        (jpeg_segments, START + b"\xff\xff\xff" * 1000 + (b"\xff\xff" + segment(0xDB)) * 500_000),
        (jpeg_segments, START + scan(b"") * 500_000),
        (png_chunks, png((b"IHDR", bytes(13))) + png((b"IDAT", b""))[8:] * 500_000),
        (webp_chunks, webp(*[(b"EXIF", b"")] * 500_000)),
    ],
)
def test_parts_beyond_the_limit_are_not_followed(walk: Callable[[bytes], Iterator[object]], body: bytes) -> None:
    followed = 0
    with pytest.raises(TooManyParts, match="more than 10,000"):
        for _ in walk(body):
            followed += 1
    assert followed <= 2 * MAX_PARTS


def test_bytes_between_segments_are_limited_in_all() -> None:
    gap = b"\xff" * 1000
    few, many = MAX_STRAY_BYTES // 1000, MAX_STRAY_BYTES // 1000 + 1
    assert len(list(jpeg_segments(START + (gap + segment(0xDB)) * few + END))) == few
    with pytest.raises(TooManyParts, match="belong to no segment"):
        list(jpeg_segments(START + (gap + segment(0xDB)) * many + END))


# --- scans ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("marker", [0xC2, 0xCA, 0xC0, 0xC1, 0xC9])
def test_scans_are_limited_however_the_jpeg_is_coded(marker: int) -> None:
    many = START + frame(64, 48, marker, components=3) + scan() * (MAX_SCANS + 1) + END
    with pytest.raises(TooManyParts, match="scans"):
        scans_of(many)
    scans_of(START + frame(64, 48, marker, components=3) + scan() * MAX_SCANS + END)


def test_the_more_pixels_the_fewer_scans() -> None:
    most = MAX_SCANNED_PIXELS // (7000 * 7000)
    assert 18 <= most < MAX_SCANS, "what encoders write of the largest photo is accepted"
    scans_of(START + frame(7000, 7000) + scan() * most + END)
    with pytest.raises(TooManyParts, match=f"{most} that 7,000 × 7,000 pixels"):
        scans_of(START + frame(7000, 7000) + scan() * (most + 1) + END)


def test_scans_of_a_file_that_is_cut_off_count_too() -> None:
    with pytest.raises(TooManyParts, match="scans"):
        scans_of(START + frame(64, 48) + scan() * 6000)


def test_of_an_ordinary_jpeg_only_the_beginning_is_read() -> None:
    header = START + frame(64, 48, 0xC0, components=3) + scan(components=3)
    scans_of(header + b"\xff\0" * 20 * MIB)
    assert cpu_seconds(lambda: scans_of(header + b"\xff\0" * MIB)) < 0.05


@pytest.mark.parametrize("progressive", [False, True])
def test_what_encoders_write_passes(progressive: bool) -> None:
    for mode in ("L", "RGB", "CMYK"):
        out = io.BytesIO()
        Image.new(mode, (200, 100)).save(out, "JPEG", progressive=progressive)
        scans_of(out.getvalue())


# --- at the decoder ---------------------------------------------------------------------------------------------------


def progressive_photo() -> bytes:
    out = io.BytesIO()
    Image.effect_noise((64, 48), 50).save(out, "JPEG", progressive=True)
    return out.getvalue()


def test_whoever_decodes_refuses_a_jpeg_of_too_many_scans() -> None:
    body = progressive_photo()
    last = body.rindex(b"\xff\xc4")
    with pytest.raises(Poison, match="too_large: more scans") as caught:
        decode(body[:-2] + body[last:-2] * 6000 + END)
    assert caught.value.code == "too_large"


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_whoever_decodes_refuses_a_photo_of_too_many_parts(kind: str) -> None:
    out = io.BytesIO()
    Image.new("RGB", (64, 48)).save(out, kind)
    body = out.getvalue()
    at, part = (2, segment(0xE1)) if kind == "JPEG" else (33, png((b"tEXt", b""))[8:])
    with pytest.raises(Poison, match="too_large: more than 10,000"):
        decode(body[:at] + part * 1_000_000 + body[at:])
