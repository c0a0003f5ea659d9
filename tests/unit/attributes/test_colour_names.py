import cv2
import numpy as np
import pytest

from services.attributes.colour_names import (
    BROADER,
    INDOORS,
    NAMES,
    STUDIO,
    ColourName,
    LabColour,
    centre_of,
    ciede2000,
    names_of_lab,
)

SHINING: tuple[ColourName, ...] = ("silver", "gold", "bronze", "rose gold")
# Of the test data that Sharma, Wu and Dalal publish with the formula (2005).
PAIRS = [
    ((50, 2.6772, -79.7751), (50, 0, -82.7485), 2.0425),
    ((50, 3.1571, -77.2803), (50, 0, -82.7485), 2.8615),
    ((50, 0, 0), (50, -1, 2), 2.3669),
    ((50, 2.49, -0.001), (50, -2.49, 0.0009), 7.1792),
    ((50, 2.5, 0), (73, 25, -18), 27.1492),
    ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
    ((2.0776, 0.0795, -1.1350), (0.9033, -0.0636, -0.5514), 0.9082),
]


def lab(red: int, green: int, blue: int) -> LabColour:
    lightness, a, b = cv2.cvtColor(np.array([[(red, green, blue)]], np.float32) / 255, cv2.COLOR_RGB2LAB)[0, 0]
    return float(lightness), float(a), float(b)


def names(colour: LabColour) -> list[ColourName]:
    return [one.name for one in names_of_lab(colour)]


@pytest.mark.parametrize(("one", "other", "wanted"), PAIRS)
def test_differences_are_those_that_the_formulas_authors_publish(
    one: LabColour, other: LabColour, wanted: float
) -> None:
    assert ciede2000(one, other) == pytest.approx(wanted, abs=1e-4)
    assert ciede2000(other, one) == pytest.approx(wanted, abs=1e-4)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("multicolour", *SHINING)])
def test_the_middle_of_a_name_is_certainly_called_so_and_at_no_distance(name: ColourName) -> None:
    *_, finest = names_of_lab(centre_of(name))
    assert (finest.name, finest.certainty > 0.6, finest.distance) == (name, True, 0)


@pytest.mark.parametrize("name", SHINING)
def test_metals_are_named_where_they_shine_and_only_there(name: ColourName) -> None:
    assert names_of_lab(centre_of(name), shines=True)[-1].name == name
    assert name not in names(centre_of(name))


def test_a_finer_name_follows_the_broader_one_which_is_no_less_certain() -> None:
    for finer, broader in BROADER.items():
        first, second = names_of_lab(centre_of(finer), shines=finer != "navy")
        assert (first.name, second.name) == (broader, finer)
        assert first.certainty >= second.certainty


def test_a_colour_between_two_names_is_less_certain() -> None:
    assert names_of_lab((74.5, 0, 0))[0].certainty < names_of_lab((92, 0, 0))[0].certainty


def test_a_colour_further_from_the_middle_is_at_a_greater_distance() -> None:
    assert names_of_lab(lab(150, 30, 40))[0].distance > names_of_lab(lab(185, 30, 38))[0].distance > 0


@pytest.mark.parametrize(
    ("rgb", "name"),
    [
        ((0, 0, 255), "blue"),  # CIELAB's hue of it is a purple's
        ((75, 0, 130), "purple"),
        ((0, 150, 160), "blue"),
        ((60, 170, 120), "green"),
        ((255, 255, 90), "yellow"),
        ((150, 220, 60), "green"),
        ((225, 85, 85), "red"),
        ((255, 182, 193), "pink"),
        ((148, 140, 118), "brown"),
    ],
)
def test_colours_that_are_easily_misnamed(rgb: tuple[int, int, int], name: ColourName) -> None:
    assert names(lab(*rgb))[0] == name


def test_light_grey_is_white_in_a_dim_room_and_grey_in_a_studio() -> None:
    assert [names_of_lab((77, 0, 0), light)[0].name for light in (INDOORS, STUDIO)] == ["white", "grey"]


def test_dark_violet_is_black_under_a_sky_and_blue_in_a_studio() -> None:
    dark = (17.0, 6.0, -9.0)
    assert [names_of_lab(dark, light)[0].name for light in (INDOORS, STUDIO)] == ["black", "blue"]
