"""What a colour is called: the colour values of Shopify's Standard Product Taxonomy, in British spelling.

Names are given in CIE LCh: by hue where there is colour, by lightness where there is none. A finer name comes after the
broader one that it belongs to, so that who asks for blue finds what is navy.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

ColourName = Literal[
    "black", "white", "grey", "red", "orange", "yellow", "green", "blue", "navy", "purple", "pink", "brown", "beige",
    "silver", "gold", "bronze", "rose gold", "multicolour",
]  # fmt: skip
NAMES: tuple[ColourName, ...] = get_args(ColourName)
BROADER: dict[ColourName, ColourName] = {"navy": "blue", "silver": "grey", "bronze": "brown", "rose gold": "pink"}

Lab = NDArray[np.float32]  # n x 3 or height x width x 3: L 0 to 100, a and b about -100 to 100
LabColour = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Light:
    """What the light of a photo does to cloth without colour."""

    white_from: float  # lightness from which it is called white
    violet: float  # chroma up to which dark cloth may look violet and be none


INDOORS = Light(white_from=74, violet=13)
STUDIO = Light(white_from=80, violet=8.5)  # before a ground that is white

SAMPLES = [(dl, da, db) for dl in (-6.0, 0.0, 6.0) for da in (-4.0, 0.0, 4.0) for db in (-4.0, 0.0, 4.0)]

_CENTRES: dict[ColourName, tuple[int, int, int]] = {
    "black": (26, 26, 28),
    "white": (244, 244, 242),
    "grey": (128, 129, 131),
    "red": (190, 28, 36),
    "orange": (234, 120, 32),
    "yellow": (242, 205, 55),
    "green": (40, 122, 66),
    "blue": (38, 98, 184),
    "navy": (25, 35, 74),
    "purple": (110, 56, 140),
    "pink": (238, 148, 176),
    "brown": (104, 66, 42),
    "beige": (218, 198, 164),
    "silver": (190, 192, 195),
    "gold": (206, 168, 78),
    "bronze": (150, 106, 66),
    "rose gold": (214, 158, 142),
}


@dataclass(frozen=True, slots=True)
class Name:
    """`certainty`: how far from the next name it is, 0.4 to 1. `distance`: CIEDE2000 from the middle of its like."""

    name: ColourName
    certainty: float
    distance: float


def names_of(pixels: Lab, light: Light = INDOORS, shines: bool = False) -> tuple[Name, ...]:
    """The names of n pixels of one cloth, the broadest first: one, or two where there is a finer one.

    Folds and shade change lightness most and hue least, so lightness is taken from the lit parts. `shines`: as metal
    does, so what has a metal's colour is called by it.
    """
    lightness, a, b = np.sort(pixels, axis=0).T  # each by itself
    middle = len(pixels) // 2
    # Whole units: no name hangs on less, and shops sell few dyes, so most are known already.
    lit = round(float(lightness[int(0.7 * (len(pixels) - 1))]))
    return names_of_lab((lit, round(float(a[middle])), round(float(b[middle]))), light, shines)


@lru_cache(2**14)
def names_of_lab(colour: LabColour, light: Light = INDOORS, shines: bool = False) -> tuple[Name, ...]:
    """The names of a colour as it appears in good light, the broadest first."""
    name = _called(colour, light, shines)
    # What a camera's white balance and a compressor do to a colour anyhow.
    lightness, a, b = colour
    near = [_called((lightness + dl, a + da, b + db), light, shines) for dl, da, db in SAMPLES]
    return tuple(_name(one, colour, near) for one in (BROADER.get(name), name) if one)


def _name(name: ColourName, colour: LabColour, near: Sequence[ColourName]) -> Name:
    votes = sum(name in (one, BROADER.get(one)) for one in near)
    return Name(name, 0.4 + 0.6 * votes / len(near), ciede2000(colour, centre_of(name)))


def _called(colour: LabColour, light: Light, shines: bool) -> ColourName:
    return (_metal(colour) if shines else None) or _rule(colour, light)


@lru_cache
def centre_of(name: ColourName) -> LabColour:
    """The middle of what is called so, in CIE Lab."""
    srgb = np.array([[_CENTRES[name]]], np.float32) / 255
    lightness, a, b = cv2.cvtColor(srgb, cv2.COLOR_RGB2LAB)[0, 0]
    return float(lightness), float(a), float(b)


def ciede2000(one: LabColour, other: LabColour) -> float:
    """The difference of two colours that people see: 1 is hardly any, 100 black from white.

    Sharma, Wu, Dalal: The CIEDE2000 color-difference formula (2005).
    """
    (l1, a1, b1), (l2, a2, b2) = one, other
    c7 = ((np.hypot(a1, b1) + np.hypot(a2, b2)) / 2) ** 7
    stretched = 1.5 - 0.5 * np.sqrt(c7 / (c7 + 25.0**7))
    a1, a2 = a1 * stretched, a2 * stretched
    c1, c2 = np.hypot(a1, b1), np.hypot(a2, b2)
    h1, h2 = np.degrees(np.arctan2(b1, a1)) % 360, np.degrees(np.arctan2(b2, a2)) % 360
    grey = c1 * c2 == 0
    turn = 0.0 if grey else (h2 - h1 + 180) % 360 - 180
    mean_h = h1 + h2 if grey else (h1 + turn / 2) % 360
    mean_l, mean_c = (l1 + l2) / 2, (c1 + c2) / 2
    dl, dc, dh = l2 - l1, c2 - c1, 2 * np.sqrt(c1 * c2) * np.sin(np.radians(turn) / 2)
    t = 1 + sum(
        weight * np.cos(np.radians(times * mean_h + shift))
        for weight, times, shift in ((-0.17, 1, -30), (0.24, 2, 0), (0.32, 3, 6), (-0.20, 4, -63))
    )
    of_l = 1 + 0.015 * (mean_l - 50) ** 2 / np.sqrt(20 + (mean_l - 50) ** 2)
    of_c, of_h = 1 + 0.045 * mean_c, 1 + 0.015 * mean_c * t
    rotation = -2 * np.sqrt(mean_c**7 / (mean_c**7 + 25.0**7))
    rotation *= np.sin(np.radians(60 * np.exp(-(((mean_h - 275) / 25) ** 2))))
    squared = (dl / of_l) ** 2 + (dc / of_c) ** 2 + (dh / of_h) ** 2 + rotation * (dc / of_c) * (dh / of_h)
    return float(np.sqrt(squared))


def _metal(colour: LabColour) -> ColourName | None:
    """The metal of what shines in this colour, if there is one."""
    lightness = colour[0]
    chroma, hue = _chroma_and_hue(colour)
    if chroma < 8:
        return "silver" if lightness > 40 else None
    if 68 <= hue <= 95 and chroma > 18:
        return "gold" if lightness > 45 else "bronze"
    if 50 <= hue < 68 and chroma > 18 and lightness < 62:
        return "bronze"
    return "rose gold" if 25 <= hue < 60 and lightness > 58 and chroma < 34 else None


def _chroma_and_hue(colour: LabColour) -> tuple[float, float]:
    _, a, b = colour
    return float(np.hypot(a, b)), float(np.degrees(np.arctan2(b, a))) % 360


def _rule(colour: LabColour, light: Light) -> ColourName:
    lightness = colour[0]
    chroma, hue = _chroma_and_hue(colour)
    if lightness < 22 and chroma < (9.0 if 130 <= hue <= 310 else 12.0 + 0.2 * lightness):
        return "black"  # lamps and reflexes tint it warm more than cold, so dark green and navy are told apart sooner
    if chroma < _least_chroma(lightness, hue, light):
        return _achromatic(lightness, light)
    return _chromatic(lightness, chroma, hue)


def _least_chroma(lightness: float, hue: float, light: Light) -> float:
    """Below it a colour passes for grey. Lamplight tints white towards yellow, daylight's shade towards blue."""
    if 50 <= hue <= 110:
        return 11.0 if lightness > 75 else 9.0
    if 220 <= hue <= 340:
        # Dark cloth under a cool sky looks violet.
        return light.violet if lightness < 45 and hue > 290 else 11.0
    return 7.5


def _achromatic(lightness: float, light: Light) -> ColourName:
    if lightness < 30:
        return "black"
    return "white" if lightness > light.white_from else "grey"


def _chromatic(lightness: float, chroma: float, hue: float) -> ColourName:
    if hue < 20 or hue >= 345:
        return _reddish(lightness, chroma, hue)
    if hue < 45:
        return _warm_red(lightness, chroma, hue)
    if hue < 72:
        return _orange_or_brown(lightness, chroma)
    if hue < (112 if lightness > 70 and chroma > 30 else 105):
        return "green" if hue > 93 and lightness < 52 else _yellowish(lightness, chroma)  # olive is a green
    if hue < 187:
        return "green"
    if hue < _purple_from(chroma):
        return "navy" if lightness < (32 if chroma < 18 else 25) and chroma < 60 else "blue"
    if hue < 325:
        return "navy" if lightness < 20 and chroma < 30 else "purple"
    return "pink" if lightness > 58 else "purple"


def _purple_from(chroma: float) -> float:
    """CIELAB bends blue towards purple: the bluest blue of a screen has a hue of 306 degrees."""
    return 297 + min(11.0, max(0.0, 0.5 * (chroma - 55)))


def _reddish(lightness: float, chroma: float, hue: float) -> ColourName:
    purple = hue >= 345
    coral = 14 <= hue < 20 and chroma > 36 and lightness < 70
    if (lightness > 58 and not coral) or (lightness > 48 and purple):
        return "pink"
    if chroma < 16 and lightness < 40:
        return "brown"
    return "purple" if purple and lightness < 32 else "red"


def _warm_red(lightness: float, chroma: float, hue: float) -> ColourName:
    if lightness > 66 and chroma < 38:
        return "pink"
    if chroma < 30:
        return "brown" if lightness < 62 else "beige"
    return "red" if lightness < 58 or chroma < 55 or hue < 40 else "orange"


def _orange_or_brown(lightness: float, chroma: float) -> ColourName:
    if chroma < 28:
        return "beige" if lightness > 58 else "brown"
    # A vivid orange in a dim room is still no brown.
    if lightness < (42 if chroma > 45 else 52):
        return "brown"
    return "orange" if chroma > 42 else "beige" if lightness > 66 else "brown"


def _yellowish(lightness: float, chroma: float) -> ColourName:
    if chroma < 32:
        return "beige" if lightness > 62 else "brown"
    if lightness < 45:
        return "brown" if chroma < 40 else "green"
    return "yellow" if lightness > 58 else "brown"
