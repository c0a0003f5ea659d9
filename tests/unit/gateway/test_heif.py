"""HEIC, HEIF and AVIF come in as other photos do: the coded picture stays, and all else goes."""

import io
import struct
import time
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image, ImageCms

from services.gateway.imaging import BadPhoto, PhotoLimits, clean, read_header
from services.gateway.imaging.profile import colours_only
from shared import heif
from shared.vision.decode import decode

KINDS = ["HEIF", "AVIF"]
SECRET = b"52.520008"
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:D xmp:CreatorTool="Adobe Lightroom 9" a="52.520008"/></x:xmpmeta>'


def picture(width: int = 96, height: int = 64, mode: str = "RGB") -> Image.Image:
    rng = np.random.default_rng(0)
    small = rng.integers(0, 255, (8, 8, len(mode)), dtype=np.uint8)
    return Image.fromarray(small[:, :, 0] if mode == "L" else small, mode).resize((width, height))


def exif(orientation: int = 1) -> bytes:
    tags = Image.Exif()
    tags[ExifTags.Base.Orientation] = orientation
    tags[ExifTags.Base.Make] = "Secret Camera Co"
    tags[ExifTags.Base.Software] = "Photos 9"
    tags.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSMapDatum] = SECRET.decode()
    return tags.tobytes()


def saved(kind: str, image: Image.Image | None = None, **options: Any) -> bytes:
    out = io.BytesIO()
    (image or picture()).save(out, kind, **options)
    return out.getvalue()


def pixels(body: bytes) -> tuple[str, tuple[int, int], bytes]:
    with Image.open(io.BytesIO(body)) as image:
        return image.mode, image.size, image.tobytes()


def refusal(body: bytes, limits: PhotoLimits | None = None) -> BadPhoto:
    with pytest.raises(BadPhoto) as caught:
        clean(body, limits)
    return caught.value


@pytest.mark.parametrize(("kind", "media_type"), [("HEIF", "image/heic"), ("AVIF", "image/avif")])
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_coded_picture_its_profile_and_its_turn_stay_and_all_else_goes(
    kind: str, media_type: str, mode: str, orientation: int
) -> None:
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    before = saved(kind, picture(mode=mode), exif=exif(orientation), xmp=XMP, icc_profile=icc)
    assert SECRET in before
    photo = clean(before)
    assert photo.media_type == media_type
    assert pixels(photo.body) == pixels(before)
    assert (decode(photo.body) == decode(before)).all()
    assert (photo.height, photo.width) == decode(before).shape[:2]
    for secret in (SECRET, b"Secret", b"Lightroom", b"Photos 9", b"x265"):
        assert secret not in photo.body
    with Image.open(io.BytesIO(photo.body)) as after:
        assert after.info["icc_profile"] == colours_only(icc)
    assert photo.metadata.editor == "Photos 9"
    assert clean(photo.body).body == photo.body, "a clean photo has nothing more to lose"


def test_tiles_as_phones_write_them_stay_joined() -> None:
    before = saved("HEIF", picture(500, 300), tile_size=128, exif=exif(6))
    photo = clean(before)
    assert (photo.width, photo.height) == (300, 500)
    assert pixels(photo.body) == pixels(before) and SECRET not in photo.body


def test_thumbnails_and_further_pictures_go() -> None:
    import pillow_heif

    several = pillow_heif.from_pillow(picture(300, 200))
    several.add_from_pillow(picture(300, 200, "L"))
    sides: list[int | None] = [64]
    several[0].info["thumbnails"] = sides
    out = io.BytesIO()
    several.save(out)
    items = heif.picture_of(clean(out.getvalue()).body).items
    assert len(heif.picture_of(out.getvalue()).items) == len(items) == 1
    assert len(clean(out.getvalue()).body) < len(out.getvalue())


@pytest.mark.parametrize("kind", KINDS)
def test_what_lies_between_and_after_boxes_goes(kind: str) -> None:
    plain = saved(kind)
    for more in (box(b"free", SECRET), box(b"uuid", bytes(16) + SECRET), box(b"mpvd", SECRET)):
        assert SECRET not in clean(plain + more).body
        assert pixels(clean(plain + more).body) == pixels(plain)


def test_a_c2pa_manifest_is_noticed() -> None:
    manifest = box(b"uuid", bytes.fromhex("d8fec3d61b0e483c92975828877ec481") + b"jumb Adobe_Firefly")
    summary = clean(saved("AVIF") + manifest).metadata
    assert summary.c2pa and summary.generator == "Adobe Firefly"


def box(kind: bytes, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload) + 8) + kind + payload


# --- refusals ---------------------------------------------------------------------------------------------------------


def test_sequences_are_refused_as_animations() -> None:
    moving = saved("AVIF", save_all=True, append_images=[picture(mode="RGB").rotate(180)])
    assert refusal(moving).code == "animated-photo"
    for brand in (b"msf1", b"hevc", b"avis"):
        assert refusal(b"\0\0\0\x18ftyp" + brand + bytes(4) + b"mif1heic" + bytes(50)).code == "animated-photo"


@pytest.mark.parametrize("kind", KINDS)
def test_one_that_is_cut_off_anywhere_is_damaged(kind: str) -> None:
    whole = saved(kind, exif=exif())
    for length in [*range(12, len(whole) - 1, max(1, len(whole) // 60)), len(whole) - 1]:
        assert refusal(whole[:length]).code == "damaged-photo", length


def claiming(body: bytes, width: int, height: int) -> bytes:
    said = body.index(b"ispe") + 8
    return body[:said] + struct.pack(">II", width, height) + body[said + 8 :]


@pytest.mark.parametrize("kind", KINDS)
def test_too_many_pixels_are_refused_from_the_header(kind: str) -> None:
    assert refusal(claiming(saved(kind), 60_000, 60_000)).code == "too-many-pixels"
    assert refusal(claiming(saved(kind), 40_000, 64)).code == "side-too-long"
    assert refusal(saved(kind, picture(64, 16))).code == "photo-too-small"


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_coded_may_not_be_larger_than_the_header_says(kind: str) -> None:
    """A decoder makes room for what is coded, whatever the boxes say."""
    why = refusal(claiming(saved(kind, picture(640, 480)), 64, 64))
    assert why.code == "damaged-photo" and "larger than it says" in why.message


def test_a_grid_that_claims_more_than_its_tiles_cover_is_damaged() -> None:
    body = saved("HEIF", picture(500, 300), tile_size=128)
    plan = body.index(b"idat") + 8
    assert refusal(body[:plan] + struct.pack(">HH", 6000, 6000) + body[plan + 4 :]).code == "damaged-photo"
    assert refusal(body[: plan - 4] + b"\0\0\xff\xff" + body[plan:]).code == "damaged-photo"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [1, 2_000_000])
def test_many_boxes_or_units_cost_a_moment(kind: str, count: int) -> None:
    plain = saved(kind)
    started = time.process_time()
    with_boxes = plain + box(b"free", b"") * count
    if count == 1:
        assert clean(with_boxes).body == clean(plain).body
    else:
        assert refusal(with_boxes).code == "damaged-photo"
    assert time.process_time() - started < 2


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(kind=st.sampled_from(KINDS), at=st.integers(0, 900), replaced=st.binary(min_size=1, max_size=6))
def test_any_change_of_its_boxes_is_taken_or_refused_with_a_reason(kind: str, at: int, replaced: bytes) -> None:
    body = TILED if kind == "HEIF" else saved(kind, exif=exif())
    try:
        photo = clean(body[:at] + replaced + body[at + len(replaced) :])
    except BadPhoto:
        return
    assert SECRET not in photo.body


TILED = saved("HEIF", picture(300, 200), tile_size=128, exif=exif())


@pytest.mark.parametrize("kind", KINDS)
def test_its_header_says_what_it_is(kind: str) -> None:
    header = read_header(saved(kind))
    assert (header.width, header.height) == (96, 64)
