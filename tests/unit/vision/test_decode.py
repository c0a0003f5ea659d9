"""Photos become upright RGB pixels, or one clear reason why not."""

import struct
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from shared.errors import Poison
from shared.limits import MAX_PHOTO_BYTES, MAX_PHOTO_PIXELS
from shared.vision import decode as decoding
from shared.vision.decode import decode

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def corners(width: int = 640, height: int = 480) -> Image.Image:
    """Red, green, blue and white quarters, from the top left in reading order."""
    image = Image.new("RGB", (width, height))
    for (x, y), colour in zip([(0, 0), (1, 0), (0, 1), (1, 1)], (RED, GREEN, BLUE, WHITE), strict=True):
        image.paste(colour, (x * width // 2, y * height // 2, (x + 1) * width // 2, (y + 1) * height // 2))
    return image


def encoded(image: Image.Image, kind: str = "JPEG", **options: object) -> bytes:
    body = BytesIO()
    image.save(body, kind, **options)
    return body.getvalue()


def quarters(pixels: np.ndarray) -> list[tuple[int, ...]]:
    height, width = pixels.shape[:2]
    at = [(height // 4, width // 4), (height // 4, width * 3 // 4)]
    at += [(height * 3 // 4, x) for _, x in at[:2]]
    return [tuple(round(v / 255) * 255 for v in pixels[y, x]) for y, x in at]


# What EXIF 2.32 says has to be done to the stored picture to see it upright.
UNDONE = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", UNDONE)
def test_every_orientation_comes_out_upright(kind: str, orientation: int) -> None:
    undone = UNDONE[orientation]
    stored = corners() if undone is None else corners().transpose(undone)
    exif = Image.Exif()
    exif[0x0112] = orientation
    for at_least in (None, 100):
        pixels = decode(encoded(stored, kind, exif=exif), at_least)
        assert quarters(pixels) == [RED, GREEN, BLUE, WHITE]
        assert pixels.shape[1] > pixels.shape[0]
        assert pixels.flags.c_contiguous


def test_a_large_photo_is_decoded_smaller_but_never_below_what_was_asked() -> None:
    pixels = decode(encoded(corners(3000, 2000)), 224)
    assert 224 <= min(pixels.shape[:2]) < 2 * 224 + 100


def test_a_small_photo_is_never_enlarged() -> None:
    assert decode(encoded(corners(40, 30)), 224).shape == (30, 40, 3)


def test_all_pixels_are_kept_unless_fewer_are_asked_for() -> None:
    assert decode(encoded(corners(3000, 2000)), None).shape == (2000, 3000, 3)


@pytest.mark.parametrize("mode", ["CMYK", "L"])
def test_jpegs_of_other_colour_spaces_become_rgb(mode: str) -> None:
    pixels = decode(encoded(corners().convert(mode)), 224)
    assert pixels.shape[2] == 3
    assert pixels.dtype == np.uint8


def test_what_is_transparent_becomes_white() -> None:
    assert (decode(encoded(Image.new("RGBA", (8, 8), (0, 0, 0, 0)), "PNG")) == 255).all()


def test_sixteen_bit_greys_keep_their_brightness() -> None:
    grey = Image.fromarray(np.full((8, 8), 0x8000, np.uint16))
    assert (decode(encoded(grey, "PNG")) == 0x80).all()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"this is text",
        encoded(corners())[:3000],
        encoded(corners(), "PNG")[:500],
        encoded(corners(), "WEBP")[:200],
        encoded(corners(), "GIF"),
        encoded(corners(), "TIFF"),
    ],
    ids=["empty", "text", "truncated JPEG", "truncated PNG", "truncated WebP", "GIF", "TIFF"],
)
@pytest.mark.parametrize("at_least", [None, 64])
def test_what_is_no_whole_photo_is_unreadable(body: bytes, at_least: int | None) -> None:
    with pytest.raises(Poison) as why:
        decode(body, at_least)
    assert why.value.code == "unreadable"


def png_claiming(width: int, height: int) -> bytes:
    """A PNG of a few bytes whose header claims any size."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("size", [(60_000, 60_000), (MAX_PHOTO_PIXELS // 1000 + 1, 1000), (40_000, 10)])
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_header_that_claims_too_much_is_refused_before_decoding(size: tuple[int, int]) -> None:
    with pytest.raises(Poison) as why:
        decode(png_claiming(*size))
    assert why.value.code == "too_large"


def test_too_many_bytes_are_refused_unread() -> None:
    with pytest.raises(Poison) as why:
        decode(bytes(MAX_PHOTO_BYTES + 1))
    assert why.value.code == "too_large"


def test_photos_that_must_be_decoded_whole_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight at once held eight pictures of 50 megapixels, and a pod has memory for one."""
    at_once, most = 0, 0
    by_pillow = decoding._by_pillow

    def counted(image: Image.Image, at_least: int | None) -> NDArray[np.uint8]:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        time.sleep(0.01)
        at_once -= 1
        return by_pillow(image, at_least)

    monkeypatch.setattr(decoding, "_by_pillow", counted)
    monkeypatch.setattr(decoding, "LARGE_PIXELS", 1000)
    large, small = (encoded(Image.new("RGBA", (side, side), (9, 9, 9, 99)), "PNG") for side in (100, 20))
    with ThreadPoolExecutor(8) as threads:
        assert {one.shape for one in threads.map(decode, [large] * 16)} == {(100, 100, 3)}
        assert most == 1
        list(threads.map(decode, [small] * 16))
        assert most > 1


def test_what_is_transparent_does_not_bleed_into_what_is_not_when_it_is_made_smaller() -> None:
    image = Image.new("RGBA", (80, 80), (255, 0, 0, 0))  # red that nobody sees
    image.paste((0, 0, 255, 255), (0, 0, 40, 80))
    made = decode(encoded(image, "PNG"), 10)
    assert made.shape == (10, 10, 3)
    assert (made[:, :5] == (0, 0, 255)).all()
    assert (made[:, 5:] == 255).all()
