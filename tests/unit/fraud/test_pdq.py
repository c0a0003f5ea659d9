import cv2
import numpy as np
import pytest

from services.fraud.pdq import BITS, MATCH_DISTANCE, distances, fingerprint, fingerprint_of
from shared.photos import Photo, Pixels
from shared.vision.decode import decode
from tests.fakes_vision import jpeg, photo_of, scenery

TURNS = {
    "as it is": lambda p: p,
    "mirrored": lambda p: p[:, ::-1],
    "upside down": lambda p: p[::-1],
    "turned by 90": lambda p: np.rot90(p),
    "turned by 180": lambda p: np.rot90(p, 2),
    "turned by 270": lambda p: np.rot90(p, 3),
    "transposed": lambda p: p.transpose(1, 0, 2),
    "transposed the other way": lambda p: p[::-1, ::-1].transpose(1, 0, 2),
}


@pytest.mark.parametrize("turn", TURNS)
def test_a_turned_or_mirrored_photo_is_exactly_one_of_the_eight_variants(turn: str) -> None:
    picture = scenery(1)
    turned = np.ascontiguousarray(TURNS[turn](picture))
    assert fingerprint(turned).hex in fingerprint(picture).variants


def bits_between(one: Pixels, other: Pixels) -> int:
    return int(distances(fingerprint(one), [fingerprint(other).hex])[0])


def test_distances_are_nearly_the_same_from_both_sides() -> None:
    one, other = scenery(1), np.ascontiguousarray(scenery(1)[:, ::-1])
    other = np.asarray(cv2.GaussianBlur(other, (0, 0), 4), np.uint8)
    # Not exactly: a mirrored photo's coefficients have another median.
    assert abs(bits_between(one, other) - bits_between(other, one)) <= 4


@pytest.mark.parametrize("quality", [30, 60, 90])
def test_a_recompressed_photo_matches(quality: int) -> None:
    assert bits_between(scenery(2), decode(jpeg(scenery(2), quality))) <= 10


@pytest.mark.parametrize("scale", [0.4, 0.7, 1.9])
def test_a_resized_photo_matches(scale: float) -> None:
    other = cv2.resize(scenery(3), None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    assert bits_between(scenery(3), np.asarray(other, np.uint8)) <= 10


def test_a_photo_without_its_outermost_strip_matches() -> None:
    picture = scenery(4)
    assert bits_between(picture, picture[8:-8, 10:-10]) <= MATCH_DISTANCE


def test_different_pictures_differ_in_about_half_of_the_bits() -> None:
    bits = [bits_between(scenery(seed), scenery(seed + 1)) for seed in range(10, 30)]
    assert min(bits) > 60  # the nearest of eight variants of each


def test_a_smaller_decode_changes_few_bits() -> None:
    body = jpeg(scenery(5, 1500, 2000))
    assert bits_between(decode(body), decode(body, 224)) <= 8


def test_a_flat_photo_has_no_usable_fingerprint() -> None:
    assert not fingerprint(np.full((300, 300, 3), 180, np.uint8)).usable
    assert fingerprint(scenery(6)).usable


def test_a_photo_is_hashed_and_decoded_once() -> None:
    decoded: list[int | None] = []

    def counting(body: bytes, at_least: int | None) -> Pixels:
        decoded.append(at_least)
        return scenery(7)

    photo = Photo(b"", photo_of(b"").upload, counting)
    assert fingerprint_of(photo) is fingerprint_of(photo)
    assert decoded == [224]


def test_hashes_are_64_hex_digits_and_distances_count_their_bits() -> None:
    mine = fingerprint(scenery(8))
    assert len(mine.hex) == 64
    assert distances(mine, []).tolist() == []
    assert distances(mine, [mine.hex]).tolist() == [0]
    opposite = f"{int(mine.hex, 16) ^ (2**BITS - 1):064x}"
    assert distances(mine, [opposite])[0] > 60
