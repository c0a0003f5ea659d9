"""Photos become upright RGB pixels, or one clear reason why not."""

import struct
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms

from shared.decoding import Room
from shared.errors import Poison
from shared.limits import MAX_PHOTO_BYTES, MAX_PHOTO_PIXELS
from shared.vision import decode as decoding
from shared.vision.decode import decode
from tests.profiles import SPACES, SRGB, profile

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


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "HEIF", "AVIF"])
@pytest.mark.parametrize("orientation", UNDONE)
def test_every_orientation_comes_out_upright(kind: str, orientation: int) -> None:
    undone = UNDONE[orientation]
    stored = corners() if undone is None else corners().transpose(undone)
    exif = Image.Exif()
    exif[0x0112] = orientation
    body = encoded(stored, kind, exif=exif.tobytes())
    for at_least in (None, 100):
        pixels = decode(body, at_least)
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


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "HEIF", "AVIF"])
def test_what_is_transparent_becomes_white(kind: str) -> None:
    assert (decode(encoded(Image.new("RGBA", (64, 64), (0, 0, 0, 0)), kind)) >= 254).all()


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
        encoded(corners(), "HEIF")[:-100],
        encoded(corners(), "AVIF")[:-100],
        b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
        encoded(corners(), "GIF"),
        encoded(corners(), "TIFF"),
    ],
    ids=[
        "empty",
        "text",
        "truncated JPEG",
        "truncated PNG",
        "truncated WebP",
        "truncated HEIC",
        "truncated AVIF",
        "HEIC brand alone",
        "GIF",
        "TIFF",
    ],
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


def test_large_photos_are_decoded_in_the_room_that_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
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

    large, small = (encoded(Image.new("RGBA", (side, side), (9, 9, 9, 99)), "PNG") for side in (100, 20))
    monkeypatch.setattr(decoding, "_by_pillow", counted)
    monkeypatch.setattr(decoding, "ROOM", Room(100_000))
    with ThreadPoolExecutor(8) as threads:
        assert {one.shape for one in threads.map(decode, [large] * 16)} == {(100, 100, 3)}
        assert most == 1
        list(threads.map(decode, [small] * 16))
        assert most > 1


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P"])
def test_strips_make_the_picture_that_one_piece_makes(kind: str, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    noise = np.random.default_rng(3).integers(0, 256, (203, 117, 4), np.uint8)
    body = encoded(Image.fromarray(noise).convert(mode), kind, lossless=True)
    whole = [decode(body, at_least) for at_least in (None, 30)]
    monkeypatch.setattr(decoding, "STRIP_PIXELS", 117 * 20)
    for before, at_least in zip(whole, (None, 30), strict=True):
        assert (decode(body, at_least) == before).all()


def test_what_is_transparent_does_not_bleed_into_what_is_not_when_it_is_made_smaller() -> None:
    image = Image.new("RGBA", (80, 80), (255, 0, 0, 0))  # red that nobody sees
    image.paste((0, 0, 255, 255), (0, 0, 40, 80))
    made = decode(encoded(image, "PNG"), 10)
    assert made.shape == (10, 10, 3)
    assert (made[:, :5] == (0, 0, 255)).all()
    assert (made[:, 5:] == 255).all()


# --- colours ----------------------------------------------------------------------------------------------------------


def as_stored(rgb: np.ndarray, matrix: np.ndarray, gamma: float) -> NDArray[np.uint8]:
    """The numbers that mean the same colours in another space."""
    x = rgb / 255
    linear = np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)
    stored = np.clip(linear @ SRGB.T @ np.linalg.inv(matrix).T, 0, 1) ** (1 / gamma)
    return np.asarray(np.round(stored * 255), dtype=np.uint8)


def swatches() -> NDArray[np.uint8]:
    colours = np.array([(200, 40, 30), (30, 60, 160), (230, 140, 30), (40, 140, 60), (128, 128, 128), (250, 250, 250)])
    return np.repeat(np.repeat(colours.reshape(2, 3, 3), 64, axis=0), 64, axis=1).astype(np.uint8)


def furthest(pixels: np.ndarray, from_: np.ndarray) -> int:
    """Between the middles of swatches."""
    return int(np.abs(pixels[32::64, 32::64].astype(int) - from_[32::64, 32::64]).max())


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "HEIF", "AVIF"])
@pytest.mark.parametrize("space", SPACES)
def test_colours_are_those_that_people_see(kind: str, space: str) -> None:
    stored = Image.fromarray(as_stored(swatches(), *SPACES[space]))
    chroma: dict[str, dict[str, object]] = {"PNG": {}, "HEIF": {"chroma": 444}, "AVIF": {"subsampling": "4:4:4"}}
    options = chroma.get(kind, {"subsampling": 0}) | ({} if kind == "PNG" else {"quality": 97})
    body = encoded(stored, kind, icc_profile=profile(*SPACES[space]), **options)
    for at_least in (None, 100):
        assert furthest(decode(body, at_least), swatches()) <= 8


def test_transparent_pictures_have_their_profile_applied_too() -> None:
    stored = Image.fromarray(as_stored(swatches(), *SPACES["ProPhoto"])).convert("RGBA")
    body = encoded(stored, "PNG", icc_profile=profile(*SPACES["ProPhoto"]))
    assert furthest(decode(body), swatches()) <= 6


def test_a_profile_of_srgb_changes_nothing() -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for kind in ("JPEG", "PNG"):
        assert (decode(encoded(corners(), kind, icc_profile=srgb)) == decode(encoded(corners(), kind))).all()


def test_grey_pictures_are_read_with_a_profile_for_colours_as_well_as_with_one_for_greys() -> None:
    for kind in ("JPEG", "PNG"):
        grey = encoded(Image.new("L", (64, 64), 100), kind, icc_profile=profile(*SPACES["ProPhoto"]))
        assert abs(int(decode(grey)[0, 0, 0]) - 119) <= 2  # (100 / 255) ** 1.8, as sRGB
        assert (decode(grey).std(axis=2) < 2).all()


OF_NO_USE = {
    "text": b"no profile",
    "zeros": bytes(4000),
    "cut": profile(*SPACES["ProPhoto"])[:200],
    "no signature": profile(*SPACES["ProPhoto"]).replace(b"acsp", b"nope"),
    "of other colours": profile(*SPACES["ProPhoto"]).replace(b"RGB ", b"CMYK"),
    "with calculations": profile(*SPACES["ProPhoto"], {b"D2B0": b"mpet" + bytes(100)}),
    "huge": profile(*SPACES["ProPhoto"]) + bytes(5 * 1024 * 1024),
}


# Pillow refuses a PNG with a huge one, as the gateway does.
@pytest.mark.parametrize(
    ("kind", "what"),
    [(kind, what) for kind in ("JPEG", "PNG") for what in OF_NO_USE if (kind, what) != ("PNG", "huge")],
)
def test_a_profile_that_is_no_use_is_ignored(kind: str, what: str) -> None:
    body = encoded(corners(), kind, icc_profile=OF_NO_USE[what])
    assert (decode(body) == decode(encoded(corners(), kind))).all()


# --- HEIC and AVIF ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["HEIF", "AVIF"])
def test_phones_photos_are_decoded(kind: str) -> None:
    pixels = decode(encoded(corners(800, 600), kind), 224)
    assert quarters(pixels) == [RED, GREEN, BLUE, WHITE]
    assert pixels.shape == (300, 400, 3)


def test_tiles_are_joined() -> None:
    assert quarters(decode(encoded(corners(800, 600), "HEIF", tile_size=256))) == [RED, GREEN, BLUE, WHITE]


def test_an_orientation_in_the_exif_of_a_heic_counts_for_nothing() -> None:
    """The turn of a HEIF is a property of its picture; EXIF repeats it."""
    plain = encoded(corners(), "HEIF", exif=exif_of(1))
    assert b"MM\0*" in plain
    turned = plain.replace(exif_of(1), exif_of(6))
    assert turned != plain
    assert decode(turned).shape == (480, 640, 3)


def exif_of(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif.tobytes().removeprefix(b"Exif\0\0")


def claiming(body: bytes, width: int, height: int) -> bytes:
    """What its boxes say; the coded picture stays as it is."""
    said = body.index(b"ispe") + 8
    return body[:said] + struct.pack(">II", width, height) + body[said + 8 :]


@pytest.mark.parametrize("kind", ["HEIF", "AVIF"])
@pytest.mark.parametrize("size", [(60_000, 60_000), (MAX_PHOTO_PIXELS // 1000 + 1, 1000), (40_000, 480)])
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_heif_whose_boxes_claim_too_much_is_refused_before_decoding(kind: str, size: tuple[int, int]) -> None:
    with pytest.raises(Poison) as why:
        decode(claiming(encoded(corners(), kind), *size))
    assert why.value.code == "too_large"


@pytest.mark.parametrize("kind", ["HEIF", "AVIF"])
def test_a_heif_whose_boxes_claim_less_than_is_coded_is_refused_before_decoding(kind: str) -> None:
    """Decoders make room for what is coded."""
    with pytest.raises(Poison, match="not a photo"):
        decode(claiming(encoded(corners(), kind), 64, 64))
