"""Whatever is sent as a photo is a clean photo or a bad one, after an effort that its size bounds."""

import io
import struct
import sys
import time
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image, ImageCms, PngImagePlugin

from services.gateway.imaging import BadPhoto, CleanPhoto, clean, jpeg, png, webp
from shared.containers import BadContainer

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, of odd tags

BOUNDED = settings(max_examples=200, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
CPU_SECONDS = 1.0  # of one small photo: a hundred times what it takes


def saved(kind: str, mode: str = "RGB", **options: Any) -> bytes:
    out = io.BytesIO()
    Image.effect_noise((48, 40), 60).convert(mode).save(out, kind, **options)
    return out.getvalue()


def metadata() -> dict[str, Any]:
    tags = Image.Exif()
    tags[ExifTags.Base.Orientation] = 6
    tags[ExifTags.Base.Software] = "An editor"
    tags.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitude] = (1.0, 2.0, 3.0)
    return {"exif": tags, "icc_profile": ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()}


def texts() -> PngImagePlugin.PngInfo:
    info = PngImagePlugin.PngInfo()
    info.add_text("Software", "An editor")
    info.add_text("Comment", "packed", zip=True)
    info.add_itxt("XML:com.adobe.xmp", "<x/>", zip=True)
    return info


SEEDS = {
    "JPEG": [
        saved("JPEG", comment=b"a comment", xmp=b"<x/>", **metadata()),
        saved("JPEG", progressive=True, restart_marker_rows=1),
        saved("JPEG", "CMYK", progressive=True),
        saved("JPEG", "L"),
    ],
    "PNG": [
        saved("PNG", pnginfo=texts(), **metadata()),
        saved("PNG", "P", transparency=0),
        saved("PNG", "1"),
        saved("PNG", "LA"),
    ],
    "WEBP": [
        saved("WEBP", xmp=b"<x/>", **metadata()),
        saved("WEBP", "RGBA", lossless=True, **metadata()),
        saved("WEBP"),
        saved("WEBP", lossless=True),
    ],
}


def check(body: bytes) -> None:
    began = time.thread_time()
    try:
        photo = clean(body)
    except BadPhoto as why:
        assert why.code and why.message.endswith(".") and why.remedy.endswith(".")
    else:
        assert isinstance(photo, CleanPhoto)
        assert len(photo.body) <= len(body) + 100, "what is stored is what came, less something"
        assert clean(photo.body).body == photo.body
    assert time.thread_time() - began < CPU_SECONDS


# --- mutations --------------------------------------------------------------------------------------------------------

TELLING = st.sampled_from(
    (
        b"",
        b"\0",
        b"\xff",
        b"\x7f\xff\xff\xff",
        b"\xff\xff\xff\xff",
        b"\0\0\0\0",
        b"\xff\xd8",
        b"\xff\xd9",
        b"\xff\xda",
        b"IEND",
    )
)
MUTATION = st.tuples(
    st.floats(0, 1), st.integers(0, 20), TELLING | st.binary(max_size=12), st.sampled_from((1, 1, 1, 500))
)


@pytest.mark.parametrize("kind", SEEDS)
@BOUNDED
@given(data=st.data(), mutations=st.lists(MUTATION, min_size=1, max_size=5))
def test_a_photo_with_wrong_bytes_is_clean_or_bad(
    kind: str, data: st.DataObject, mutations: list[tuple[float, int, bytes, int]]
) -> None:
    body = data.draw(st.sampled_from(SEEDS[kind]))
    for where, cut, put, times in mutations:
        at = int(where * min(len(body), data.draw(st.sampled_from((64, 700, len(body))))))
        body = body[:at] + put * times + body[at + cut :]
    check(body)


# --- generated --------------------------------------------------------------------------------------------------------

TIMES = st.sampled_from((1, 1, 2, 30))
PAYLOAD = st.binary(max_size=40) | st.sampled_from((b"", bytes(10), bytes(70), b"\xff" * 300))


def segment(marker: int, payload: bytes) -> bytes:
    return bytes((0xFF, marker)) + struct.pack(">H", len(payload) + 2) + payload


def png_chunk(kind: bytes, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload)) + kind + payload + struct.pack(">I", zlib.crc32(kind + payload))


def riff_chunk(kind: bytes, payload: bytes) -> bytes:
    return kind + struct.pack("<I", len(payload)) + payload + b"\0" * (len(payload) % 2)


def parts_of(kind: str) -> st.SearchStrategy[bytes]:
    """One part, made up or one that a photo really has."""
    if kind == "JPEG":
        markers = st.sampled_from(
            (0xC0, 0xC1, 0xC2, 0xC4, 0xC9, 0xDA, 0xDB, 0xDC, 0xDD, 0xE0, 0xE1, 0xE2, 0xEB, 0xEE, 0xFE)
        )
        made = st.builds(segment, markers, PAYLOAD)
        real = [bytes(part.raw) for seed in SEEDS[kind] for part in jpeg.jpeg_segments(seed)]
        return made | st.sampled_from(real) | st.sampled_from((b"\xff", b"\xff\xd0", b"\0", b"\xff\0", b"\xff\xff\xff"))
    if kind == "PNG":
        kinds = st.sampled_from(
            (b"IHDR", b"PLTE", b"IDAT", b"tRNS", b"iCCP", b"acTL", b"eXIf", b"zTXt", b"iTXt", b"tEXt", b"caBX")
        )
        made = st.builds(png_chunk, kinds, PAYLOAD | PAYLOAD.map(lambda inner: b"a\0\0" + zlib.compress(inner)))
        return made | st.sampled_from([bytes(part.raw) for seed in SEEDS[kind] for part in png.png_chunks(seed)])
    kinds = st.sampled_from((b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ICCP", b"EXIF", b"XMP ", b"ANIM", b"ANMF", b"C2PA"))
    made = st.builds(riff_chunk, kinds, PAYLOAD)
    return made | st.sampled_from([bytes(part.raw) for seed in SEEDS[kind] for part in webp.webp_chunks(seed)])


WRAPPED: dict[str, Callable[[bytes], bytes]] = {
    "JPEG": lambda inside: b"\xff\xd8" + inside + b"\xff\xd9",
    "PNG": lambda inside: b"\x89PNG\r\n\x1a\n" + inside + png_chunk(b"IEND", b""),
    "WEBP": lambda inside: b"RIFF" + struct.pack("<I", len(inside) + 4) + b"WEBP" + inside,
}


@pytest.mark.parametrize("kind", SEEDS)
@BOUNDED
@given(data=st.data())
def test_a_photo_put_together_from_parts_is_clean_or_bad(kind: str, data: st.DataObject) -> None:
    parts = data.draw(st.lists(st.tuples(parts_of(kind), TIMES), max_size=10))
    check(WRAPPED[kind](b"".join(part * times for part, times in parts)))


@BOUNDED
@given(
    st.sampled_from([b"", b"GIF89a", b"\0\0\0\x18ftypheic", b"II*\0", b"BM", b"RIFF", b"\xff\xd8", b"\x89PNG"]),
    st.binary(),
)
def test_any_other_bytes_are_a_bad_photo(start: bytes, rest: bytes) -> None:
    check(start + rest)


# --- effort -----------------------------------------------------------------------------------------------------------


def calls_of(work: Callable[[], object]) -> int:
    """How many functions it calls, Python's and C's."""
    count = 0

    def counted(_frame: object, event: str, _argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(counted)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize("kind", SEEDS)
@settings(max_examples=12, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_taking_a_file_apart_takes_steps_in_proportion_to_its_parts(kind: str, data: st.DataObject) -> None:
    strip = {"JPEG": jpeg.strip, "PNG": png.strip, "WEBP": webp.strip}[kind]
    part = data.draw(parts_of(kind))

    def steps(times: int) -> int:
        def work() -> None:
            try:
                strip(WRAPPED[kind](part * times))
            except (BadContainer, BadPhoto):
                return

        return calls_of(work)

    assert steps(2000) <= 2.2 * steps(1000) + 100
