from collections.abc import Iterator

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from services.attributes.colour import NAMES, ColourName, colours_of, name_of_lab
from shared.photos import Pixels

CLOTHS: dict[ColourName, tuple[int, int, int]] = {
    "black": (24, 24, 27),
    "white": (235, 235, 232),
    "grey": (128, 130, 133),
    "red": (186, 28, 34),
    "orange": (228, 112, 28),
    "yellow": (236, 200, 50),
    "green": (38, 116, 62),
    "blue": (40, 92, 180),
    "navy": (24, 32, 66),
    "purple": (108, 52, 134),
    "pink": (232, 140, 168),
    "brown": (104, 64, 38),
    "beige": (214, 192, 156),
}
BACKGROUNDS = {"wood": (170, 125, 85), "wall": (205, 205, 200), "carpet": (70, 75, 85), "sheet": (120, 150, 185)}
Picture = NDArray[np.float32]


def textured(colour: tuple[int, int, int], random: np.random.Generator, size: int = 240) -> Picture:
    """Grain in stripes, as of planks or a weave."""
    stripes = random.normal(0, 9, (1, size, 1)) + random.normal(0, 5, (size, size, 1))
    return np.asarray(np.array(colour, np.float32) + cv2.GaussianBlur(stripes, (0, 0), 1.2)[:, :, None], np.float32)


def folds(random: np.random.Generator, size: int = 240) -> Picture:
    """How much light each spot of cloth gets: 0.65 to 1.1."""
    coarse = random.uniform(0.65, 1.1, (6, 9)).astype(np.float32)
    return np.asarray(cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)[:, :, None], np.float32)


def shirt(size: int = 240) -> NDArray[np.bool_]:
    left = [(95, 45), (60, 60), (25, 110), (55, 125), (65, 105), (65, 205)]
    outline = np.array([*left, *((size - x, y) for x, y in reversed(left))], np.int32)
    return cv2.fillPoly(np.zeros((size, size), np.uint8), [outline], 1).astype(np.bool_)


def photo_of_shirt(cloth: tuple[int, int, int], background: tuple[int, int, int], seed: int) -> Pixels:
    """A folded shirt before something, both lit from one side, by a lamp of some tint, with a shadow."""
    random = np.random.default_rng(seed)
    mask = shirt()
    scene = textured(background, random)
    scene[np.roll(mask, (6, 5), (0, 1))] *= 0.72
    scene[mask] = (textured(cloth, random) * folds(random))[mask]
    lamp = np.linspace(0.82, 1.08, 240, dtype=np.float32)[None, :, None]
    tint = np.array(random.uniform(0.96, 1.03, 3), np.float32)
    noisy = scene * lamp * tint + random.normal(0, 3, scene.shape)
    return np.clip(cv2.GaussianBlur(noisy, (0, 0), 0.8), 0, 255).astype(np.uint8)


def cases() -> Iterator[tuple[ColourName, str]]:
    return ((cloth, background) for cloth in CLOTHS for background in BACKGROUNDS)


def test_the_cloths_colour_is_named_and_not_the_backgrounds() -> None:
    wrong = [
        (cloth, background, seed, found[0])
        for cloth, background in cases()
        for seed in range(3)
        if (found := colours_of(photo_of_shirt(CLOTHS[cloth], BACKGROUNDS[background], seed)))[0].name != cloth
    ]
    print(f"{len(wrong)} of {len(CLOTHS) * len(BACKGROUNDS) * 3} wrong: {wrong}")
    assert len(wrong) <= 0.03 * len(CLOTHS) * len(BACKGROUNDS) * 3


@pytest.mark.parametrize("name", CLOTHS)
def test_every_name_has_a_colour_that_is_certainly_it(name: ColourName) -> None:
    lab = cv2.cvtColor(np.array([[CLOTHS[name]]], np.float32) / 255, cv2.COLOR_RGB2LAB)[0, 0]
    found, certainty = name_of_lab(*map(float, lab))
    assert (found, certainty > 0.6) == (name, True)


def test_a_colour_between_two_names_is_less_certain() -> None:
    assert name_of_lab(74.5, 0, 0)[1] < name_of_lab(92, 0, 0)[1]


def test_two_cloths_give_two_colours_the_larger_first() -> None:
    picture = photo_of_shirt(CLOTHS["red"], BACKGROUNDS["wall"], 1)
    lower = shirt() & (np.arange(240)[:, None] > 140)
    picture[lower] = photo_of_shirt(CLOTHS["navy"], BACKGROUNDS["wall"], 1)[lower]
    found = colours_of(picture)
    assert [colour.name for colour in found] == ["red", "navy"]
    assert found[0].share > found[1].share > 0.25


def test_the_same_photo_gives_the_same_answer() -> None:
    picture = photo_of_shirt(CLOTHS["green"], BACKGROUNDS["wood"], 3)
    assert colours_of(picture) == colours_of(picture.copy())


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (9, 9), (224, 4000)])
@pytest.mark.parametrize("value", [0, 128, 255])
def test_photos_of_any_shape_and_of_one_tone_have_an_answer(shape: tuple[int, int], value: int) -> None:
    found = colours_of(np.full((*shape, 3), value, np.uint8))
    assert 1 <= len(found) <= 2
    assert all(colour.name in NAMES and 0 < colour.confidence < 1 for colour in found)


def test_noise_has_an_answer_too() -> None:
    assert colours_of(np.random.default_rng(1).integers(0, 256, (200, 150, 3), np.uint8))
