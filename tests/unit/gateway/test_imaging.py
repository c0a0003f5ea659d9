"""Which photos come in, and that only metadata leave them."""

import io
import struct
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image, ImageCms, ImageOps, PngImagePlugin

from services.gateway import imaging
from services.gateway.imaging import PhotoLimits, clean, jpeg, png, read_header
from services.gateway.imaging.parts import BadPhoto
from services.gateway.imaging.profile import colours_only
from shared.containers import png_chunks
from shared.limits import MAX_PHOTO_SIDE
from shared.vision.decode import decode
from tests.profiles import SPACES, profile

ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
MIB = 1024 * 1024
GPS_SECRET = b"52.520008"
XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description xmp:CreatorTool="Adobe Lightroom 9" '
    b'exif:GPSLatitude="52.520008"/></x:xmpmeta>'
)


def picture(width: int = 64, height: int = 48, mode: str = "RGB", seed: int = 0) -> Image.Image:
    """Noise on a gradient: no two pixels alike, so a change of any would show."""
    rng = np.random.default_rng(seed)
    bands = len(mode)
    ramp = np.linspace(0, 200, width, dtype=np.uint8)[None, :, None]
    pixels = ramp + rng.integers(0, 55, (height, width, bands), dtype=np.uint8)
    return Image.fromarray(pixels[:, :, 0] if bands == 1 else pixels, mode)


def exif(orientation: int = 1, software: str = "") -> Image.Exif:
    tags = Image.Exif()
    tags[ExifTags.Base.Orientation] = orientation
    tags[ExifTags.Base.Make] = "Secret Camera Co"
    if software:
        tags[ExifTags.Base.Software] = software
    tags.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSMapDatum] = GPS_SECRET.decode()
    return tags


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def with_everything(image: Image.Image, kind: str, orientation: int, **options: Any) -> bytes:
    common: dict[str, Any] = {"exif": exif(orientation), "icc_profile": ICC, **options}
    if kind == "PNG":
        texts = PngImagePlugin.PngInfo()
        texts.add_text("Author", "a secret seller")
        texts.add_itxt("XML:com.adobe.xmp", XMP.decode())
        texts.add_text("Comment", "packed secret", zip=True)
        return saved(image, kind, pnginfo=texts, **common)
    if kind == "JPEG":
        return saved(image, kind, xmp=XMP, comment=b"a secret comment", **common)
    return saved(image, kind, xmp=XMP, **common)


def jpeg_segment(marker: int, payload: bytes) -> bytes:
    return bytes((0xFF, marker)) + struct.pack(">H", len(payload) + 2) + payload


def after_start(jpeg: bytes, *segments: bytes) -> bytes:
    return jpeg[:2] + b"".join(segments) + jpeg[2:]


def png_chunk(kind: bytes, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload)) + kind + payload + struct.pack(">I", zlib.crc32(kind + payload))


def pixels(body: bytes) -> tuple[str, tuple[int, int], bytes]:
    with Image.open(io.BytesIO(body)) as image:
        return image.mode, image.size, image.tobytes()


def upright(body: bytes) -> bytes:
    with Image.open(io.BytesIO(body)) as image:
        return ImageOps.exif_transpose(image).tobytes()


def refusal(body: bytes, limits: PhotoLimits | None = None) -> BadPhoto:
    with pytest.raises(BadPhoto) as caught:
        clean(body, limits)
    assert caught.value.message.endswith(".") and caught.value.remedy.endswith("."), "both are sentences"
    return caught.value


# --- metadata leave, the picture stays ------------------------------------------------------------------------------


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(
    kind=st.sampled_from(["JPEG", "PNG", "WEBP"]),
    mode=st.sampled_from(["RGB", "L", "RGBA"]),
    width=st.integers(32, 130),
    height=st.integers(32, 90),
    orientation=st.integers(0, 9),
    progressive=st.booleans(),
    restarts=st.integers(0, 3),
    seed=st.integers(0, 2**16),
)
def test_pixels_profile_and_orientation_stay_and_all_else_goes(
    kind: str, mode: str, width: int, height: int, orientation: int, progressive: bool, restarts: int, seed: int
) -> None:
    if kind == "JPEG" and mode == "RGBA":
        mode = "CMYK"
    image = picture(width, height, mode, seed)
    options: dict[str, Any] = {}
    if kind == "JPEG":
        options = {"progressive": progressive, "restart_marker_rows": restarts, "quality": 40 + seed % 60}
    if kind == "WEBP":
        options = {"lossless": progressive}
    before = with_everything(image, kind, orientation, **options)

    photo = clean(before)

    assert pixels(photo.body) == pixels(before)
    assert upright(photo.body) == upright(before)
    with Image.open(io.BytesIO(photo.body)) as after:
        assert after.info["icc_profile"] == colours_only(ICC)
        assert set(after.getexif()) <= {ExifTags.Base.Orientation}
        assert "xmp" not in after.info and "comment" not in after.info
        assert (photo.width, photo.height) == ImageOps.exif_transpose(after).size
    for secret in (GPS_SECRET, b"secret", b"Secret", b"Lightroom"):
        assert secret not in photo.body
    assert clean(photo.body).body == photo.body, "a clean photo has nothing more to lose"


def test_a_jpeg_without_metadata_stays_as_it_is_byte_for_byte() -> None:
    before = saved(picture(), "JPEG")
    assert clean(before).body == before


def test_a_paletted_png_with_transparency_keeps_both() -> None:
    image = picture().quantize(16)
    before = saved(image, "PNG", transparency=3, gamma=0.45, dpi=(300, 300))
    assert pixels(clean(before).body) == pixels(before)
    assert b"tRNS" in clean(before).body and b"pHYs" in clean(before).body


def test_sixteen_bits_and_interlacing_survive() -> None:
    deep = Image.fromarray(np.arange(64 * 48, dtype=np.uint16).reshape(48, 64) * 20)
    before = saved(deep, "PNG")
    assert pixels(clean(before).body) == pixels(before)


def test_orientation_is_kept_by_a_tag_of_its_own_right_after_jfif() -> None:
    after = clean(saved(picture(), "JPEG", exif=exif(6))).body
    assert after[2:4] == b"\xff\xe0" and after[20:22] == b"\xff\xe1" and after[24:30] == b"Exif\0\0"


def test_thumbnails_in_jfif_headers_go() -> None:
    plain = saved(picture(), "JPEG")
    header = b"JFIF\0\x01\x02\x00\x00\x01\x00\x01\x02\x02" + b"THUMBNAIL123"
    with_thumbnail = plain[:2] + jpeg_segment(0xE0, header) + jpeg_segment(0xE0, b"JFXX\0\x10thumb") + plain[20:]
    after = clean(with_thumbnail).body
    assert b"THUMBNAIL" not in after and b"JFXX" not in after
    assert pixels(after) == pixels(plain)


def test_the_second_picture_of_an_mpo_goes() -> None:
    out = io.BytesIO()
    picture(seed=1).save(out, "MPO", save_all=True, append_images=[picture(seed=2)])
    before = out.getvalue()
    after = clean(before).body
    assert len(after) < len(before) * 0.6
    with Image.open(io.BytesIO(after)) as image:
        assert image.format == "JPEG"
    assert pixels(after) == pixels(before)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_what_follows_the_end_goes(kind: str) -> None:
    before = saved(picture(), kind)
    assert clean(before + b"ZIP archive or another video").body == before


def test_stray_bytes_between_jpeg_segments_go() -> None:
    plain = saved(picture(), "JPEG")
    assert clean(plain[:20] + b"\0\0\0" + plain[20:]).body == plain


def test_fill_bytes_before_a_marker_are_understood() -> None:
    plain = saved(picture(), "JPEG")
    assert clean(plain[:2] + b"\xff\xff" + plain[2:]).body == plain


@pytest.mark.parametrize(("orientation", "flags"), [(1, 0x20), (6, 0x28)])
def test_a_webp_says_of_itself_what_it_still_carries(orientation: int, flags: int) -> None:
    after = clean(with_everything(picture(), "WEBP", orientation)).body
    assert after[12:16] == b"VP8X" and after[20] & 0x2C == flags, "profile, EXIF if turned, and no XMP"
    assert int.from_bytes(after[4:8], "little") == len(after) - 8


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_unreadable_exif_is_no_reason_to_refuse_a_photo() -> None:
    body = after_start(saved(picture(), "JPEG"), jpeg_segment(0xE1, b"Exif\0\0MM\0*\xff\xff\xff\xff junk"))
    assert clean(body).body == saved(picture(), "JPEG")


# --- what fraud scoring is told -------------------------------------------------------------------------------------


def test_the_editor_is_that_of_exif_then_of_xmp_then_of_png() -> None:
    by_exif = clean(saved(picture(), "JPEG", exif=exif(software="Adobe Photoshop 26"), xmp=XMP))
    by_xmp = clean(saved(picture(), "WEBP", xmp=XMP))
    texts = PngImagePlugin.PngInfo()
    texts.add_text("Software", "GIMP 3.0")
    by_png = clean(saved(picture(), "PNG", pnginfo=texts))
    editors = [photo.metadata.editor for photo in (by_exif, by_xmp, by_png)]
    assert editors == ["Adobe Photoshop 26", "Adobe Lightroom 9", "GIMP 3.0"]


def test_a_photo_straight_from_a_camera_has_an_empty_summary() -> None:
    summary = clean(saved(picture(), "JPEG", exif=exif())).metadata
    assert (summary.editor, summary.generator, summary.c2pa) == ("", "", False)


@pytest.mark.parametrize(
    ("keyword", "text", "generator"),
    [
        ("parameters", "a red shirt\nSteps: 20, Sampler: Euler a, CFG scale: 7", "Stable Diffusion"),
        ("prompt", '{"3": {"class_type": "KSampler"}}', "ComfyUI"),
        ("Description", "a red shirt Job ID: 1 by Midjourney", "Midjourney"),
        ("Comment", "a shirt as seen by my cat", ""),
    ],
)
def test_a_generator_is_recognised_in_png_texts(keyword: str, text: str, generator: str) -> None:
    for packed in (False, True):
        texts = PngImagePlugin.PngInfo()
        texts.add_text(keyword, text, zip=packed)
        assert clean(saved(picture(), "PNG", pnginfo=texts)).metadata.generator == generator


def test_a_generator_is_recognised_in_exif_written_as_utf_16() -> None:
    tags = Image.Exif()
    comment = b"UNICODE\0" + "Steps: 20, Sampler: DPM".encode("utf-16-be")
    tags.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.UserComment] = comment
    assert clean(saved(picture(), "JPEG", exif=tags)).metadata.generator == "Stable Diffusion"


def test_the_standard_word_for_generated_media_counts_too() -> None:
    xmp = b"<x:xmpmeta>Iptc4xmpExt:DigitalSourceType=.../digitalsourcetype/trainedAlgorithmicMedia</x:xmpmeta>"
    assert clean(saved(picture(), "JPEG", xmp=xmp)).metadata.generator == "unnamed"


def test_c2pa_manifests_are_noticed_and_taken_out() -> None:
    box = b"JP\0\1\0\0\0\1\0\0\0\x2ajumb\0\0\0\x22jumdc2pa\0\x11\0\x10 Adobe_Firefly"
    jpeg = clean(after_start(saved(picture(), "JPEG"), jpeg_segment(0xEB, box)))
    plain = saved(picture(), "PNG")
    png = clean(plain[:33] + png_chunk(b"caBX", box) + plain[33:])
    riff = saved(picture(), "WEBP", exif=exif())[12:] + b"C2PA" + struct.pack("<I", len(box) + 1) + box + b"\0"
    webp = clean(b"RIFF" + struct.pack("<I", len(riff) + 4) + b"WEBP" + riff)
    for photo in (jpeg, png, webp):
        assert photo.metadata.c2pa and photo.metadata.generator == "Adobe Firefly"
        assert b"jumb" not in photo.body


def test_a_text_that_inflates_without_end_costs_a_bounded_megabyte() -> None:
    plain = saved(picture(), "PNG")
    bomb = png_chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b"x" * 200_000_000, 9))
    assert clean(plain[:33] + bomb + plain[33:]).body == plain


def test_all_texts_of_a_photo_together_are_inflated_to_a_bounded_megabyte() -> None:
    plain = saved(picture(), "PNG")
    texts = png_chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b"x" * MIB, 9)) * 200
    texts += png_chunk(b"iTXt", b"Comment\0\1\0\0\0" + zlib.compress(b"x" * MIB, 9)) * 200
    _, metadata = png.strip(plain[:33] + texts + plain[33:])
    assert sum(map(len, metadata.notes)) < 1.1 * MIB
    assert clean(plain[:33] + texts + plain[33:]).body == plain, "metadata go anyway, however long they are"


@pytest.mark.parametrize("marker", [0xE1, 0xEB, 0xED, 0xFE])
def test_metadata_are_read_up_to_a_bound_on_all_of_them(marker: int) -> None:
    payload = b"http://ns.adobe.com/xap/1.0/\0" + b"x" * 60_000
    body = after_start(saved(picture(), "JPEG"), *[jpeg_segment(marker, payload)] * 100)
    _, metadata = jpeg.strip(body)
    assert len(metadata.xmp) + sum(map(len, metadata.notes)) == MIB
    assert clean(body).body == saved(picture(), "JPEG")


def test_the_orientation_is_found_behind_any_amount_of_other_metadata() -> None:
    turned = saved(picture(64, 48), "JPEG", exif=exif(6))
    comments = [jpeg_segment(0xFE, b"x" * 60_000)] * 40
    assert clean(after_start(turned, *comments)).width == 48


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow has one for each tag
def test_exif_that_points_everywhere_costs_no_more_than_its_bytes() -> None:
    entries = b"".join(struct.pack("<HHII", tag, 7, 50_000, 8) for tag in range(5000))
    tiff = b"II*\0\x08\0\0\0" + struct.pack("<H", 5000) + entries + b"\0" * 4
    plain = saved(picture(), "PNG")
    before = time.thread_time()
    assert clean(plain[:33] + png_chunk(b"eXIf", tiff * 20) + plain[33:]).body == plain
    assert time.thread_time() - before < 1


# --- refusals -------------------------------------------------------------------------------------------------------


def test_an_empty_file_is_refused_as_empty() -> None:
    assert refusal(b"").code == "empty-photo"


def test_text_is_not_a_photo() -> None:
    assert refusal(b"<html>this is no photo</html>").code == "not-a-photo"


@pytest.mark.parametrize(
    ("start", "name"),
    [
        (b"II*\0\x08\0\0\0", "TIFF"),
        (b"BM\x36\0\0\0", "BMP"),
        (b"%PDF-1.7", "PDF"),
        (b"\xff\x0a\xfa", "JPEG XL"),
    ],
)
def test_other_types_are_called_by_their_name(start: bytes, name: str) -> None:
    why = refusal(start + b"\0" * 100)
    assert why.code == "unsupported-type" and name in why.message
    assert "JPEG, PNG, WebP, HEIC and AVIF" in why.remedy


def animation(kind: str) -> bytes:
    return saved(picture(seed=1), kind, save_all=True, append_images=[picture(seed=2)], duration=100)


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP"])
def test_animations_are_refused_as_such(kind: str) -> None:
    assert refusal(animation(kind)).code == "animated-photo"


def test_a_still_gif_is_an_unsupported_type() -> None:
    assert refusal(saved(picture(), "GIF")).code == "unsupported-type"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_photo_cut_off_anywhere_is_damaged(kind: str) -> None:
    whole = saved(picture(), kind)
    for length in [*range(16, len(whole) - 1, max(1, len(whole) // 50)), len(whole) - 1]:
        assert refusal(whole[:length]).code == "damaged-photo", length


def test_a_jpeg_cut_off_and_given_an_end_marker_is_damaged() -> None:
    whole = saved(picture(640, 480), "JPEG", quality=90)
    assert refusal(whole[: len(whole) // 2] + b"\xff\xd9").code == "damaged-photo"


def test_a_png_with_a_flipped_bit_is_damaged() -> None:
    body = bytearray(saved(picture(), "PNG"))
    body[len(body) // 2] ^= 0x10
    assert refusal(bytes(body)).code == "damaged-photo"


def jpeg_claiming(width: int, height: int) -> bytes:
    plain = saved(picture(), "JPEG")
    at = plain.index(b"\xff\xc0") + 5
    return plain[:at] + struct.pack(">HH", height, width) + plain[at + 4 :]


def png_claiming(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return saved(picture(), "PNG")[:8] + png_chunk(b"IHDR", header) + saved(picture(), "PNG")[33:]


def webp_claiming(width: int, height: int) -> bytes:
    canvas = b"\0\0\0\0" + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    chunks = b"VP8X" + struct.pack("<I", 10) + canvas + saved(picture(), "WEBP")[12:]
    return b"RIFF" + struct.pack("<I", len(chunks) + 4) + b"WEBP" + chunks


@pytest.mark.parametrize("claiming", [jpeg_claiming, png_claiming, webp_claiming])
def test_too_many_pixels_are_refused_from_the_header(claiming: Callable[[int, int], bytes]) -> None:
    why = refusal(claiming(60_000, 60_000) if claiming is not webp_claiming else claiming(16_000, 16_000))
    assert why.code == "too-many-pixels" and "50,000,000" in why.message


@pytest.mark.parametrize("size", [(32, MAX_PHOTO_SIDE + 1), (MAX_PHOTO_SIDE + 1, 32)])
def test_a_side_that_the_workers_would_not_decode_is_refused_from_the_header(size: tuple[int, int]) -> None:
    why = refusal(png_claiming(*size))
    assert why.code == "side-too-long" and "30,001" in why.message and "30,000" in why.message


def test_the_longest_side_that_comes_in_is_one_that_the_workers_decode() -> None:
    body = saved(Image.new("L", (MAX_PHOTO_SIDE, 32)), "PNG")
    assert decode(clean(body).body).shape == (32, MAX_PHOTO_SIDE, 3)


def test_tiny_pictures_are_refused() -> None:
    assert refusal(saved(picture(1, 1), "PNG")).code == "photo-too-small"
    assert refusal(saved(picture(400, 31), "JPEG")).code == "photo-too-small"
    assert read_header(saved(picture(400, 32), "JPEG")).height == 32


def test_bytes_are_limited_before_anything_is_looked_at() -> None:
    assert refusal(b"\xff\xd8\xff" + b"\0" * 2000, PhotoLimits(max_bytes=2000)).code == "photo-too-large"


def before_end(body: bytes, part: bytes) -> bytes:
    end = body.rindex(b"\xff\xd9") if body.startswith(b"\xff\xd8") else len(body) - 12
    return body[:end] + part + body[end:]


def png_with(*chunks: bytes) -> bytes:
    plain = saved(picture(), "PNG")
    return plain[:33] + b"".join(chunks) + plain[33:]


def webp_with(*chunks: tuple[bytes, bytes]) -> bytes:
    parts = [kind + struct.pack("<I", len(payload)) + payload for kind, payload in chunks]
    content = b"WEBP" + b"".join(parts) + saved(picture(), "WEBP")[12:]
    return b"RIFF" + struct.pack("<I", len(content)) + content


CANVAS = (b"VP8X", b"\x20\0\0\0\x3f\0\0\x2f\0\0")


@pytest.mark.parametrize(
    "body",
    [
        after_start(saved(picture(), "JPEG"), *[jpeg_segment(0xE2, b"ICC_PROFILE\0\1\1" + b"x" * 60_000)] * 80),
        png_with(png_chunk(b"iCCP", b"x\0\0" + zlib.compress(b"x" * 5 * MIB))),
        png_with(*[png_chunk(b"iCCP", b"x\0\0" + zlib.compress(b"x" * 900_000))] * 2),
        webp_with(CANVAS, (b"ICCP", b"x" * 5 * MIB)),
    ],
)
def test_a_colour_profile_is_limited_in_all_its_parts(body: bytes) -> None:
    assert refusal(body).code == "profile-too-large"


@pytest.mark.parametrize(
    "body",
    [
        after_start(saved(picture(), "JPEG"), jpeg_segment(0xDB, b"") * 10_001),
        after_start(saved(picture(), "JPEG"), jpeg_segment(0xFE, b"") * 10_001),
        png_with(png_chunk(b"IDAT", b"") * 10_001),
        webp_with(*[(b"XMP ", b"")] * 10_001),
        after_start(saved(picture(), "JPEG"), (b"\xff" * 9 + jpeg_segment(0xFE, b"")) * 9_000),
    ],
)
def test_a_photo_of_too_many_parts_is_refused(body: bytes) -> None:
    assert refusal(body).code == "too-many-parts"


def test_a_jpeg_of_too_many_scans_is_refused_before_it_is_decoded() -> None:
    body = saved(picture(), "JPEG", progressive=True)
    scan = body[body.rindex(b"\xff\xc4") : -2]
    assert clean(body[:-2] + scan * 50 + b"\xff\xd9").width == 64, "some more than usual do no harm"
    why = refusal(body[:-2] + scan * 6000 + b"\xff\xd9")
    assert why.code == "too-many-parts" and "64 × 48" in why.message


@pytest.mark.parametrize("fill", [60_000, 4_000_000])
@pytest.mark.parametrize("where", ["after the start", "in the scan", "instead of the rest"])
def test_a_jpeg_filled_with_ff_is_answered_in_a_moment(fill: int, where: str) -> None:
    whole, ff = saved(picture(), "JPEG"), b"\xff" * fill
    body = {
        "after the start": whole[:2] + ff + b"\0",
        "in the scan": whole[:-2] + ff + b"\0",
        "instead of the rest": whole[: len(whole) // 2] + ff,
    }[where]
    before = time.thread_time()
    assert refusal(body).code == "damaged-photo"
    assert time.thread_time() - before < 1


def gif(width: int, height: int) -> bytes:
    size = struct.pack("<HH", width, height)
    return b"GIF89a" + size + b"\0\0\0,\0\0\0\0" + size + b"\0\x02\x02L\x01\0;"


@pytest.mark.parametrize("body", [gif(65535, 65535), b"GIF89a", gif(64, 48)[:20], b"GIF89a" + b"\x21\xfe\1x" * 10**6])
def test_any_gif_is_refused_as_one(body: bytes) -> None:
    before = time.thread_time()
    assert refusal(body).code == "unsupported-type"
    assert time.thread_time() - before < 1


@pytest.mark.parametrize(
    "body",
    [
        webp_with((b"VP8X", b"")),
        webp_with((b"VP8X", b"\0" * 9)),
        b"RIFF\0\0\0\0WEBP",
        b"RIFF\x04\0\0\0WEBP",
        b"\xff\xd8\xff",
        b"\x89PNG\r\n\x1a\n",
    ],
)
def test_headers_that_are_cut_off_are_damage(body: bytes) -> None:
    assert refusal(body).code == "damaged-photo"


def test_a_late_or_second_canvas_goes() -> None:
    plain = webp_with(CANVAS)
    for late in ((b"VP8X", b""), (b"VP8X", b"\0" * 4 + b"\xff" * 6)):
        content = plain[8:] + late[0] + struct.pack("<I", len(late[1])) + late[1]
        assert clean(b"RIFF" + struct.pack("<I", len(content)) + content).body == clean(plain).body


def test_a_second_frame_header_is_damage() -> None:
    whole = saved(picture(), "JPEG")
    at = whole.index(b"\xff\xc0")
    twice = whole[:at] + jpeg_segment(0xC0, b"\x08\x75\x30\x75\x30\1\1\x11\0") + whole[at:]
    assert refusal(twice).code in ("damaged-photo", "too-many-pixels")
    twice = whole[: at + 19] + jpeg_segment(0xC0, b"\x08\x75\x30\x75\x30\1\1\x11\0") + whole[at + 19 :]
    assert refusal(twice).code == "damaged-photo"


SECRET = b"48.137154N 11.575382E, a seller's flat"


@pytest.mark.parametrize(
    "body",
    [
        after_start(saved(picture(), "JPEG"), jpeg_segment(0xDC, SECRET)),
        after_start(saved(picture(), "JPEG"), jpeg_segment(0xF0, SECRET)),
        after_start(saved(picture(), "JPEG"), jpeg_segment(0xEE, b"Adobe\0\x64\0\0\0\0\1" + SECRET)),
        png_with(png_chunk(b"bKGD", SECRET)),
        png_with(png_chunk(b"gAMA", SECRET)),
        webp_with((b"ICCP", SECRET)),
        webp_with(CANVAS, (b"ALPH", b"\0" * 2), (b"ALPH", SECRET)),
        after_start(saved(picture(), "JPEG"), jpeg_segment(0xE2, b"ICC_PROFILE\0\1\1" + SECRET)),
        after_start(saved(picture(), "JPEG"), jpeg_segment(0xE2, b"ICC_PROFILE\0\1\1" + ICC + SECRET)),
        after_start(saved(picture(), "JPEG"), jpeg_segment(0xE2, b"ICC_PROFILE\0\1\2" + ICC + SECRET)),
        before_end(saved(picture(), "JPEG"), jpeg_segment(0xE0, b"JFIF\0" + SECRET)),
        png_with(png_chunk(b"iCCP", SECRET + b"\0\0" + zlib.compress(ICC))),
        png_with(png_chunk(b"iCCP", b"x\0\0" + zlib.compress(ICC) + SECRET)),
        png_with(png_chunk(b"iCCP", b"x\0\0" + zlib.compress(SECRET, 0))),
        before_end(saved(picture(), "PNG"), png_chunk(b"IDAT", SECRET)),
        before_end(saved(picture(), "PNG"), png_chunk(b"pHYs", SECRET[:9])),
        before_end(saved(picture(), "PNG"), png_chunk(b"PLTE", SECRET)),
        webp_with(CANVAS, (b"ICCP", ICC + SECRET)),
        webp_with(CANVAS, (b"ICCP", SECRET)),
    ],
)
def test_no_part_of_the_picture_is_a_place_to_hide_in(body: bytes) -> None:
    try:
        assert SECRET[:9] not in clean(body).body
    except BadPhoto as why:
        assert why.code == "damaged-photo"


def test_of_an_adobe_header_only_how_the_colours_are_coded_stays() -> None:
    plain = saved(picture(mode="CMYK"), "JPEG")
    at = plain.index(b"Adobe")
    written = plain[: at + 5] + b"48.1N " + plain[at + 11 :]
    assert len(written) == len(plain)
    assert b"48.1N" not in clean(written).body
    assert pixels(clean(written).body) == pixels(plain)


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("side", [64, 2100])
def test_what_follows_a_jpegs_pixels_before_its_end_goes(progressive: bool, side: int) -> None:
    """A large flat one is decoded by a helper."""
    image = picture(64, 64) if side == 64 else Image.new("RGB", (side, side), "teal")
    plain = saved(image, "JPEG", progressive=progressive)
    # A decoder reads up to eight bytes ahead, and says nothing of those.
    after = clean(before_end(plain, SECRET)).body
    assert SECRET[8:] not in after
    assert len(after) <= len(plain) + 8
    assert pixels(after) == pixels(plain)
    assert clean(after).body == after


@pytest.mark.parametrize(
    "tail", [b"\xaa\xaa" + b"\xff" * 200_000, (b"\xaa\xaa" + b"\xff" * 50) * 4000, b"\xaa\xff" * 9_000]
)
def test_fill_bytes_after_a_jpegs_pixels_are_not_taken_away_one_by_one(
    tail: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = 0
    decode = imaging._decode

    def counted(body: bytes) -> tuple[int, int, int]:
        nonlocal looks
        looks += 1
        return decode(body)

    monkeypatch.setattr(imaging, "_decode", counted)
    before = saved(picture(), "JPEG")
    with suppress(BadPhoto):
        assert tail[:50] not in clean(before[:-2] + tail + before[-2:]).body
    assert looks <= 4


@pytest.mark.parametrize("number", range(8))
def test_bytes_that_end_with_a_restart_marker_do_not_survive_as_pixels(number: int) -> None:
    before = saved(picture(), "JPEG")
    hidden = b"SECRET-GPS 52.5200 13.4050 " * 50 + bytes([0xFF, 0xD0 + number])
    assert refusal(before[:-2] + hidden + before[-2:]).code == "damaged-photo"


def test_what_follows_a_pngs_pixels_in_their_last_chunk_goes() -> None:
    plain = saved(picture(), "PNG")
    data = zlib.compress(zlib.decompress(plain[41 : 41 + int.from_bytes(plain[33:37], "big")]))
    start, end = plain[:33], png_chunk(b"IEND", b"")
    body = start + png_chunk(b"IDAT", data[:100]) + png_chunk(b"IDAT", data[100:] + SECRET) + end
    assert clean(body).body == start + png_chunk(b"IDAT", data[:100]) + png_chunk(b"IDAT", data[100:]) + end


def test_a_png_with_more_rows_than_it_has_is_damaged() -> None:
    plain = saved(picture(), "PNG")
    rows = zlib.decompress(plain[41 : 41 + int.from_bytes(plain[33:37], "big")])
    body = plain[:33] + png_chunk(b"IDAT", zlib.compress(rows + SECRET, 0)) + png_chunk(b"IEND", b"")
    assert "more than its pixels" in refusal(body).message
    body = plain[:33] + png_chunk(b"IDAT", zlib.compress(rows + bytes(300_000_000), 1)) + png_chunk(b"IEND", b"")
    assert "more than its pixels" in refusal(body).message


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGB", "RGBA", "I;16"])
@pytest.mark.parametrize("size", [(32, 32), (33, 47), (71, 40)])
def test_the_rows_of_any_png_are_counted_right(mode: str, size: tuple[int, int]) -> None:
    image = Image.fromarray(np.zeros(size[::-1], np.uint16)) if mode == "I;16" else picture(*size).convert(mode)
    body = saved(image, "PNG")
    header = next(chunk for chunk in png_chunks(body) if chunk.kind == b"IHDR")
    data = b"".join(bytes(chunk.payload) for chunk in png_chunks(body) if chunk.kind == b"IDAT")
    assert png._bytes_of_pixels(header) == len(zlib.decompress(data))


@pytest.mark.parametrize("size", [(32, 32), (33, 47), (71, 40)])
def test_an_interlaced_png_comes_in_with_as_many_rows_as_it_has_and_no_more(size: tuple[int, int]) -> None:
    image = picture(*size)
    shown = np.asarray(image)
    passes = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
    rows = b"".join(b"\0" + row.tobytes() for x, y, dx, dy in passes for row in shown[y::dy, x::dx])

    def interlaced(rows: bytes) -> bytes:
        header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", *size, 8, 2, 0, 0, 1))
        parts = header + png_chunk(b"IDAT", zlib.compress(rows)) + png_chunk(b"IEND", b"")
        return b"\x89PNG\r\n\x1a\n" + parts

    assert pixels(clean(interlaced(rows)).body)[2] == image.tobytes()
    assert refusal(interlaced(rows + b"x")).code == "damaged-photo"


# --- colour profiles ------------------------------------------------------------------------------------------------


def cube_through(icc: bytes) -> bytes:
    """What a profile makes of colours all over the space."""
    levels = np.linspace(0, 255, 17).astype(np.uint8)
    cube = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(17, -1, 3)
    srgb = ImageCms.createProfile("sRGB")
    transform = ImageCms.buildTransform(ImageCms.ImageCmsProfile(io.BytesIO(icc)), srgb, "RGB", "RGB")
    converted = ImageCms.applyTransform(Image.fromarray(np.ascontiguousarray(cube)), transform)
    assert converted is not None
    return converted.tobytes()


@pytest.mark.parametrize("space", SPACES)
def test_a_profile_means_the_same_colours_without_its_texts(space: str) -> None:
    icc = profile(*SPACES[space], {b"dmnd": b"text\0\0\0\0" + SECRET, b"cprt": b"text\0\0\0\0" + SECRET})
    assert SECRET in icc
    kept = colours_only(icc)
    assert SECRET not in kept and b"wide" not in kept
    assert cube_through(kept) == cube_through(icc)
    assert colours_only(kept) == kept
    assert ImageCms.getProfileName(ImageCms.ImageCmsProfile(io.BytesIO(kept))).strip() == ""


def test_what_no_reader_makes_colours_of_is_no_profile() -> None:
    icc = profile(*SPACES["ProPhoto"])
    overlapping = bytearray(ICC.ljust(100_000, b"x"))
    overlapping[128:132] = (12).to_bytes(4, "big")
    for at, name in enumerate((b"A2B0", b"A2B1", b"A2B2", b"rTRC", b"gTRC", b"bTRC")):
        overlapping[132 + 12 * at : 144 + 12 * at] = struct.pack(">4sII", name, 300 + 4 * at, 90_000)
        overlapping[300 + 4 * at : 304 + 4 * at] = b"curv"
    for none in (b"", SECRET, icc[:200], icc.replace(b"acsp", b"nope"), icc.replace(b"mntr", b"link"), overlapping):
        assert colours_only(bytes(none)) == b""


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "HEIF", "AVIF"])
def test_the_texts_of_a_profile_leave_every_format(kind: str) -> None:
    icc = profile(*SPACES["Display P3"], {b"cprt": b"text\0\0\0\0" + SECRET})
    before = saved(picture(), kind, icc_profile=icc)
    after = clean(before).body
    assert SECRET not in after
    with Image.open(io.BytesIO(after)) as image:
        assert image.info["icc_profile"] == colours_only(icc)
    assert (decode(after) == decode(before)).all()


def test_a_profile_of_many_segments_stays_whole() -> None:
    table = b"curv\0\0\0\0" + struct.pack(">I", 60_000) + np.arange(60_000, dtype=">u2").tobytes()
    icc = profile(*SPACES["Adobe RGB"], {b"rTRC": table, b"gTRC": table[:-4]})
    after = clean(saved(picture(), "JPEG", icc_profile=icc)).body
    with Image.open(io.BytesIO(after)) as image:
        assert image.info["icc_profile"] == colours_only(icc)
    assert len(colours_only(icc)) > 200_000
