from collections.abc import Iterator

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from services.attributes.colour import Colour, colours_of
from services.attributes.colour_names import ColourName
from shared.photos import Pixels
from shared.vision.cutting import small
from shared.vision.regions import REGIONS, Maps, Region

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


def roughly(product: NDArray[np.bool_], **worn: NDArray[np.bool_]) -> Maps:
    """What the region network would say: right in the main, but soft, coarse, and unsure along the edges."""
    regions = {"product": product, "upper": product, "lower": np.zeros_like(product), **worn}
    coarse = [cv2.resize(regions[name].astype(np.float32), (32, 32), interpolation=cv2.INTER_AREA) for name in REGIONS]
    return np.stack([6 * cv2.blur(one, (3, 3)) - 3 for one in coarse]).astype(np.float32)


def judged(picture: Pixels, maps: Maps, region: Region = "product", may_shine: bool = False) -> list[Colour]:
    return colours_of(small(picture), maps, region, may_shine)


def test_the_cloths_colour_is_named_and_not_the_grounds() -> None:
    wrong = [
        (cloth, background, seed, found[0])
        for cloth, background in cases()
        for seed in range(3)
        if (found := judged(photo_of_shirt(CLOTHS[cloth], BACKGROUNDS[background], seed), roughly(shirt())))
        if cloth not in [colour.name for colour in found]
    ]
    print(f"{len(wrong)} of {len(CLOTHS) * len(BACKGROUNDS) * 3} wrong: {wrong}")
    assert len(wrong) <= 0.03 * len(CLOTHS) * len(BACKGROUNDS) * 3


def two_cloths() -> tuple[Pixels, NDArray[np.bool_]]:
    """Red above, navy below; and where below is."""
    picture = photo_of_shirt(CLOTHS["red"], BACKGROUNDS["wall"], 1)
    lower = shirt() & (np.arange(240)[:, None] > 140)
    picture[lower] = photo_of_shirt(CLOTHS["navy"], BACKGROUNDS["wall"], 1)[lower]
    return picture, lower


def test_two_cloths_give_two_colours_the_larger_first_and_the_broader_name_before_the_finer() -> None:
    picture, _ = two_cloths()
    found = judged(picture, roughly(shirt()))
    assert [colour.name for colour in found] == ["red", "blue", "navy"]
    assert found[0].share > found[1].share > 0.25
    assert [colour.confidence for colour in found] == sorted((colour.confidence for colour in found), reverse=True)


def test_the_colour_is_that_of_the_region_which_the_answer_is_about() -> None:
    picture, lower = two_cloths()
    maps = roughly(shirt(), upper=shirt() & ~lower, lower=lower)
    assert [colour.name for colour in judged(picture, maps, "upper")] == ["red"]
    assert [colour.name for colour in judged(picture, maps, "lower")] == ["blue", "navy"]


def test_a_garment_that_is_not_in_view_is_looked_for_where_the_product_is() -> None:
    picture = photo_of_shirt(CLOTHS["green"], BACKGROUNDS["wall"], 1)
    assert judged(picture, roughly(shirt()), "lower")[0].name == "green"


def test_what_the_network_is_unsure_of_belongs_to_whom_its_colour_belongs() -> None:
    picture = photo_of_shirt(CLOTHS["red"], BACKGROUNDS["sheet"], 1)
    sleeves = shirt() & ~(np.abs(np.arange(240)[None, :] - 120) < 50)
    maps = roughly(shirt() & ~sleeves)
    maps[:, cv2.resize(sleeves.astype(np.uint8), (32, 32)) > 0] = -0.5
    (red,) = judged(picture, maps)
    assert (red.name, red.share > 0.9) == ("red", True)


def test_print_of_many_colours_is_multicolour_and_says_the_largest_too() -> None:
    picture = photo_of_shirt(CLOTHS["white"], BACKGROUNDS["wall"], 1)
    for row, dye in enumerate([CLOTHS["red"], CLOTHS["yellow"], CLOTHS["green"], CLOTHS["blue"]]):
        band = shirt() & (np.abs(np.arange(240)[:, None] - (65 + 40 * row)) < 20)
        picture[band] = photo_of_shirt(dye, BACKGROUNDS["wall"], 1)[band]
    found = judged(picture, roughly(shirt()))
    assert found[0].name == "multicolour"
    assert {colour.name for colour in found[1:]} <= set(CLOTHS)


def studio(cloth: tuple[int, int, int], white: tuple[int, int, int]) -> Pixels:
    """A shirt before paper, in a light in which paper looks so."""
    picture = np.full((240, 240, 3), 255, np.float32)
    picture[shirt()] = cloth
    return np.asarray(np.clip(picture * np.array(white) / 255, 0, 255), dtype=np.uint8)


@pytest.mark.parametrize("white", [(255, 255, 255), (255, 246, 232), (236, 246, 255)])
def test_the_tint_of_a_white_ground_is_taken_off(white: tuple[int, int, int]) -> None:
    (grey,) = judged(studio((150, 150, 150), white), roughly(shirt()))
    assert grey.name == "grey"
    assert grey.distance < 15


def test_grey_before_white_paper_is_not_called_white() -> None:
    assert judged(studio((192, 192, 192), (255, 255, 255)), roughly(shirt()))[0].name == "grey"
    assert judged(studio((240, 240, 240), (255, 255, 255)), roughly(shirt()))[0].name == "white"


def test_the_ground_that_is_seen_through_a_handle_is_not_the_products_colour() -> None:
    picture = studio((225, 130, 150), (255, 255, 255))
    hole = np.zeros((240, 240), np.bool_)
    hole[80:195, 70:170] = True
    picture[hole] = 255
    (pink,) = judged(picture, roughly(shirt()))
    assert (pink.name, pink.share > 0.9) == ("pink", True)


def test_a_white_shirt_before_white_is_white() -> None:
    assert judged(studio((254, 254, 254), (255, 255, 255)), roughly(shirt()))[0].name == "white"


def shining(colour: tuple[int, int, int]) -> Pixels:
    """From shade to reflexes, as polished metal shows them."""
    bands = 0.35 + 0.8 * np.abs(np.arange(240) % 60 / 30 - 1)[:, None, None]
    picture = np.full((240, 240, 3), 255, np.float32)
    picture[shirt()] = np.broadcast_to(np.array(colour) * bands, picture.shape)[shirt()]
    return np.clip(picture, 0, 255).astype(np.uint8)


def test_what_shines_has_a_metals_name_unless_it_is_cloth() -> None:
    silver, gold = shining((170, 172, 175)), shining((206, 160, 60))
    assert [colour.name for colour in judged(silver, roughly(shirt()), may_shine=True)] == ["grey", "silver"]
    assert judged(gold, roughly(shirt()), may_shine=True)[0].name == "gold"
    stripes = shining((170, 172, 175)) // 128 * 128 + 40  # two tones: a print
    assert "silver" not in [colour.name for colour in judged(stripes, roughly(shirt()), may_shine=True)]
    assert "silver" not in [colour.name for colour in judged(silver, roughly(shirt()))]


def test_the_same_photo_gives_the_same_answer() -> None:
    picture = photo_of_shirt(CLOTHS["green"], BACKGROUNDS["wood"], 3)
    assert judged(picture, roughly(shirt())) == judged(picture.copy(), roughly(shirt()))


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (9, 9), (224, 4000)])
@pytest.mark.parametrize("value", [0, 128, 255])
@pytest.mark.parametrize("odds", [-9.0, 0.0, 9.0])
def test_photos_of_any_shape_and_of_one_tone_have_an_answer(shape: tuple[int, int], value: int, odds: float) -> None:
    found = judged(np.full((*shape, 3), value, np.uint8), np.full((3, 24, 40), odds, np.float32))
    assert found
    assert all(0 < colour.confidence < 1 for colour in found)


def test_noise_has_an_answer_too() -> None:
    noise = np.random.default_rng(1)
    maps = noise.normal(0, 3, (3, 40, 24)).astype(np.float32)
    assert judged(noise.integers(0, 256, (200, 150, 3), np.uint8), maps, "upper")
