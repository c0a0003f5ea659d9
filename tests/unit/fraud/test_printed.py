"""Pictures of text are told from photos, and compared by their text."""

from collections.abc import Callable
from itertools import combinations

import cv2
import numpy as np
import pytest

from services.fraud.pdq import MATCH_DISTANCE, TEXT_MATCH_DISTANCE, distances, fingerprint
from services.fraud.printed import is_of_text
from shared.photos import Pixels
from shared.vision.decode import decode
from studio.demo import demo_catalogue
from tests.fakes_vision import jpeg, scenery
from tests.unit.fraud.pictures_of_text import card, chart, logo, washing_label

KINDS = {
    "chart": chart,
    "dark chart": lambda seed: chart(seed, "Maßtabelle", "midnightblue", "white"),
    "card": card,
    "logo": logo,
    "washing label": washing_label,
}


def bits_between(one: Pixels, other: Pixels) -> int:
    return int(distances(fingerprint(one), [fingerprint(other).hex])[0])


def uploaded(pixels: Pixels, quality: int = 90) -> Pixels:
    return decode(jpeg(pixels, quality), 224)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("quality", [50, 90])
def test_pictures_of_text_are_known_as_such(kind: str, quality: int) -> None:
    assert all(is_of_text(uploaded(KINDS[kind](seed), quality)) for seed in range(6))


@pytest.mark.parametrize("kind", KINDS)
def test_different_texts_of_one_layout_do_not_match(kind: str) -> None:
    pictures = [fingerprint(uploaded(KINDS[kind](seed))) for seed in range(20)]
    bits = [int(distances(one, [other.hex])[0]) for one, other in combinations(pictures, 2)]
    assert np.mean(np.array(bits) <= MATCH_DISTANCE) < 0.01
    assert np.mean(np.array(bits) <= TEXT_MATCH_DISTANCE) < 0.01


GROUNDS = [("midnightblue", "white"), ("black", "gold"), ("teal", "white"), ("lightpink", "purple"), ("white", "black")]


@pytest.mark.parametrize(("ground", "ink"), GROUNDS)
@pytest.mark.parametrize("side", [400, 500, 600])
@pytest.mark.parametrize("quality", [60, 75, 90])
def test_small_charts_are_known_on_every_ground_however_compressed(
    ground: str, ink: str, side: int, quality: int
) -> None:
    small = cv2.resize(chart(1, "Maßtabelle", ground, ink), (side, side), interpolation=cv2.INTER_AREA)
    assert is_of_text(uploaded(np.asarray(small, dtype=np.uint8), quality))


def halved(picture: Pixels) -> Pixels:
    return np.asarray(cv2.resize(picture, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), dtype=np.uint8)


COPIES: dict[str, Callable[[Pixels], Pixels]] = {
    "recompressed": lambda p: uploaded(p, 50),
    "half the size": lambda p: uploaded(halved(p), 75),
    "mirrored": lambda p: uploaded(np.ascontiguousarray(p[:, ::-1])),
    "upside down": lambda p: uploaded(np.ascontiguousarray(p[::-1, ::-1])),
    "turned": lambda p: uploaded(np.ascontiguousarray(np.rot90(p))),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("copy", COPIES)
def test_the_same_text_matches(kind: str, copy: str) -> None:
    picture = KINDS[kind](3)
    assert bits_between(uploaded(picture), COPIES[copy](picture)) <= TEXT_MATCH_DISTANCE


def product_on_white(seed: int) -> Pixels:
    """A textured shape on pure white, as cut out for a shop."""
    picture = np.full((700, 600, 3), 255, np.uint8)
    shape = np.zeros((700, 600), np.uint8)
    cv2.ellipse(shape, (300, 350), (80 + 40 * (seed % 4), 250), 10 * seed, 0, 360, 1, -1)
    cloth = np.clip(scenery(seed, 700, 600).astype(np.float64) * 0.4 + 40 * (seed % 5), 0, 250).astype(np.uint8)
    picture[shape == 1] = cloth[shape == 1]
    return picture


def test_products_on_white_and_scenes_are_no_pictures_of_text() -> None:
    assert not any(is_of_text(uploaded(product_on_white(seed))) for seed in range(12))
    assert not any(is_of_text(uploaded(scenery(seed))) for seed in range(6))
    assert not is_of_text(np.full((300, 300, 3), 255, np.uint8))
    assert not is_of_text(np.zeros((1, 1, 3), np.uint8))


def test_drawn_products_are_no_pictures_of_text() -> None:
    """Cartons and phones carry text: what it stands on has shades."""
    photos = [photo for listing in demo_catalogue(5, 20) for photo in listing.photos]
    assert not any(is_of_text(decode(photo, 224)) for photo in photos)
