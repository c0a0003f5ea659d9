"""Whoever lays a photo on a square, between bars or in a border has the same photo still."""

from collections.abc import Callable

import cv2
import numpy as np
import pytest

from services.fraud.margins import without_margins
from services.fraud.pdq import MATCH_DISTANCE, Fingerprint, distances, fingerprint
from shared.photos import Pixels
from shared.vision.decode import decode
from studio import demo_catalogue
from tests.fakes_vision import jpeg, scenery


def framed(
    pixels: Pixels, top: float, bottom: float, left: float, right: float, colour: tuple[int, int, int] = (255, 255, 255)
) -> Pixels:
    """The photo with margins, in shares of its sides."""
    height, width = pixels.shape[:2]
    sides = (round(top * height), round(bottom * height), round(left * width), round(right * width))
    return np.asarray(cv2.copyMakeBorder(pixels, *sides, cv2.BORDER_CONSTANT, value=colour), dtype=np.uint8)


def square(pixels: Pixels) -> Pixels:
    height, width = pixels.shape[:2]
    above, beside = max(0, width - height) / 2 / height, max(0, height - width) / 2 / width
    return framed(pixels, above, above, beside, beside)


def bits_between(one: Fingerprint, other: Fingerprint) -> int:
    return int(distances(one, [other.hex, *other.trimmed[:1]]).min())


FRAMES: dict[str, Callable[[Pixels], Pixels]] = {
    "a white square": square,
    "a border of 2 %": lambda p: framed(p, 0.02, 0.02, 0.02, 0.02),
    "a border of 5 %": lambda p: framed(p, 0.05, 0.05, 0.05, 0.05),
    "a wide border": lambda p: framed(p, 0.3, 0.3, 0.3, 0.3),
    "black bars at the sides": lambda p: framed(p, 0, 0, 0.4, 0.4, (0, 0, 0)),
    "grey bars above and below": lambda p: framed(p, 0.25, 0.25, 0, 0, (127, 128, 130)),
    "a beige margin on two sides": lambda p: framed(p, 0, 0.3, 0, 0.2, (240, 225, 200)),
    "a red border in a white one": lambda p: framed(
        framed(p, 0.05, 0.05, 0.05, 0.05, (200, 20, 20)), 0.1, 0.1, 0.1, 0.1
    ),
    "a white square in black bars": lambda p: framed(square(p), 0, 0, 0.2, 0.2, (0, 0, 0)),
}


@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize("quality", [60, 90])
def test_a_framed_copy_matches_whichever_came_first(frame: str, quality: int) -> None:
    for seed in range(4):
        original = fingerprint(decode(jpeg(scenery(seed)), 224))
        copy = fingerprint(decode(jpeg(FRAMES[frame](scenery(seed)), quality), 224))
        assert bits_between(copy, original) <= MATCH_DISTANCE
        assert bits_between(original, copy) <= MATCH_DISTANCE


def test_a_copy_on_a_white_square_keeps_all_of_the_backdrop_that_the_original_has() -> None:
    # Drawn in front of backdrops that are nearly of one colour.
    honest = [
        one for one in demo_catalogue(306, 30) if one.expected.decision == "allow" and not one.expected.looks_like
    ]
    for photo in (decode(one.photos[0]) for one in honest):
        copy = fingerprint(decode(jpeg(square(photo)), 224))
        assert bits_between(copy, fingerprint(photo)) <= MATCH_DISTANCE


def test_two_different_frames_of_one_photo_match() -> None:
    one, other = FRAMES["a wide border"](scenery(1)), FRAMES["black bars at the sides"](scenery(1))
    assert bits_between(fingerprint(one), fingerprint(other)) <= MATCH_DISTANCE


def test_a_framed_and_mirrored_copy_matches() -> None:
    copy = square(np.ascontiguousarray(scenery(2)[:, ::-1]))
    assert bits_between(fingerprint(copy), fingerprint(scenery(2))) <= MATCH_DISTANCE


def test_different_photos_in_one_frame_do_not_match() -> None:
    framed_photos = [fingerprint(square(scenery(seed))) for seed in range(10, 20)]
    pairs = [(a, b) for n, a in enumerate(framed_photos) for b in framed_photos[:n]]
    assert min(bits_between(one, other) for one, other in pairs) > 60


def test_a_photo_without_margins_has_one_hash() -> None:
    assert without_margins(scenery(3)) is None
    assert fingerprint(scenery(3)).trimmed == ()


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (200, 300)])
def test_a_photo_of_one_colour_has_no_inside(shape: tuple[int, int]) -> None:
    assert without_margins(np.full((*shape, 3), 90, np.uint8)) is None


def test_a_speck_on_white_is_no_photo() -> None:
    picture = np.full((400, 400, 3), 255, np.uint8)
    picture[190:210, 190:210] = scenery(4)[:20, :20]
    assert without_margins(picture) is None


def test_a_small_photo_on_a_large_ground_is_known_by_its_inside() -> None:
    picture = framed(np.asarray(cv2.resize(scenery(5), (300, 220)), dtype=np.uint8), 1.2, 1.2, 1.2, 1.2)
    assert bits_between(fingerprint(picture), fingerprint(scenery(5))) <= MATCH_DISTANCE
