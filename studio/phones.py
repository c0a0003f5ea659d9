"""Phones lying on a surface: the back with its print, or the front with a lit screen that states the model."""

from dataclasses import dataclass

import cv2
import numpy as np

from studio import lettering
from studio.cloth import Colour, Sprite, shifted
from studio.fields import Field, Random, grain, ramp, smooth
from studio.lettering import Typeface


@dataclass(frozen=True)
class Handset:
    """The shape of a model. Its picture is `ratio` times as high as wide."""

    name: str
    ratio: float
    corner: float  # of the width
    lenses: tuple[tuple[float, float], ...]  # centres, in widths from the top left
    island: tuple[float, float, float, float] | None  # left, top, right, bottom of the camera's plate, in widths
    lens: float
    bezel: float
    notch: str  # hole, drop, bar
    settings_style: str  # list, cards, table, panel


@dataclass(frozen=True)
class Model:
    """What it is called and has inside."""

    brand: str
    model: str
    memory: str  # "128 GB"
    body: Colour
    screen: Colour
    typeface: Typeface


WIDTH = 560
_MARGIN = 40


def _rounded(height: int, width: int, inset: float, corner: float) -> Field:
    """Coverage (height, width) of a rectangle with round corners, `inset` pixels from the border."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    dx = np.abs(x - (width - 1) / 2) - ((width - 1) / 2 - inset - corner)
    dy = np.abs(y - (height - 1) / 2) - ((height - 1) / 2 - inset - corner)
    outside = np.hypot(np.maximum(dx, 0), np.maximum(dy, 0)) + np.minimum(np.maximum(dx, dy), 0)
    return np.asarray(np.clip(corner - outside + 0.5, 0, 1), np.float32)


def _over(sheet: Field, coverage: Field, colour: Colour | Field) -> None:
    sheet += (np.asarray(colour, np.float32) - sheet) * coverage[..., None]


def _blank(handset: Handset) -> tuple[Field, int, int, float]:
    height, width = round(WIDTH * handset.ratio) + 2 * _MARGIN, WIDTH + 2 * _MARGIN
    return np.zeros((height, width, 3), np.float32), height, width, handset.corner * WIDTH


def _frame(sheet: Field, height: int, width: int, corner: float, colour: Colour) -> Field:
    alpha = _rounded(height, width, _MARGIN, corner)
    _over(sheet, alpha, shifted(colour, 0.25))
    _over(sheet, _rounded(height, width, _MARGIN + 4, corner - 4), shifted(colour, -0.35))
    return alpha


def back(handset: Handset, model: Model, random: Random) -> Sprite:
    sheet, height, width, corner = _blank(handset)
    alpha = _frame(sheet, height, width, corner, model.body)
    glass = np.asarray(model.body, np.float32) * (1 + 0.16 * ramp((height, width), random.uniform(0.5, 1.1)))[..., None]
    streak = np.clip(1 - np.abs(ramp((height, width), 0.6) - random.uniform(-0.4, 0.4)) / 0.22, 0, 1)
    glass = glass + 0.10 * (streak**2)[..., None] + 0.008 * grain(random, (height, width))[..., None]
    _over(sheet, _rounded(height, width, _MARGIN + 8, corner - 8), glass)

    def pixel(x: float, y: float) -> tuple[float, float]:
        return _MARGIN + x * WIDTH, _MARGIN + y * WIDTH

    if handset.island:
        left, top, right, bottom = handset.island
        plate = np.zeros((height, width), np.float32)
        (x0, y0), (x1, y1) = pixel(left, top), pixel(right, bottom)
        patch = _rounded(round(y1 - y0), round(x1 - x0), 0, min(y1 - y0, x1 - x0) * 0.28)
        plate[round(y0) : round(y0) + patch.shape[0], round(x0) : round(x0) + patch.shape[1]] = patch
        sheet *= (1 - 0.45 * cv2.GaussianBlur(plate, (0, 0), 9) * (1 - plate))[..., None]
        _over(sheet, plate, shifted(model.body, -0.18))
        rim = plate - cv2.erode(plate, np.ones((5, 5), np.uint8))
        sheet += 0.22 * rim[..., None]
    for x, y in handset.lenses:
        cx, cy = pixel(x, y)
        rings = (
            (1.0, shifted(model.body, 0.35)),
            (0.88, (0.05, 0.05, 0.06)),
            (0.6, (0.1, 0.11, 0.14)),
            (0.36, (0.02, 0.02, 0.03)),
        )
        for share, tone in rings:
            _circle(sheet, cx, cy, handset.lens * WIDTH * share, tone)
        _circle(
            sheet,
            cx - handset.lens * WIDTH * 0.2,
            cy - handset.lens * WIDTH * 0.22,
            handset.lens * WIDTH * 0.12,
            (0.55, 0.6, 0.8),
        )
    flash = pixel(handset.lenses[-1][0] + handset.lens * 1.9, handset.lenses[-1][1])
    _circle(sheet, *flash, 0.024 * WIDTH, (0.97, 0.94, 0.8))

    ink = shifted(model.body, 0.88) if sum(model.body) < 1.6 else shifted(model.body, -0.8)
    for words, at, size, bold in (
        (model.brand, 0.52, 0.125, True),
        (model.model, 0.63, 0.085, True),
        (model.memory, 0.82, 0.09, True),
    ):
        line = lettering.fitted(words, int(WIDTH * 0.8), round(size * WIDTH), model.typeface, bold)
        lettering.stamp(sheet, line, (width - line.shape[1]) / 2, _MARGIN + at * (height - 2 * _MARGIN), ink)
    return Sprite(np.clip(sheet, 0, 1), alpha)


def _circle(sheet: Field, x: float, y: float, radius: float, colour: Colour) -> None:
    cv2.circle(sheet, (round(x * 16), round(y * 16)), round(radius * 16), colour, -1, cv2.LINE_AA, 4)


def front(handset: Handset, model: Model, random: Random) -> Sprite:
    sheet, height, width, corner = _blank(handset)
    alpha = _frame(sheet, height, width, corner, model.body)
    _over(sheet, _rounded(height, width, _MARGIN + 7, corner - 7), (0.03, 0.03, 0.035))
    bezel = handset.bezel * WIDTH
    inset = round(_MARGIN + bezel)
    high, wide = height - 2 * inset, width - 2 * inset
    screen = _screen(handset, model, high, wide, random)
    coverage = _rounded(high, wide, 0, max(6.0, corner - bezel))
    spot = sheet[inset : inset + high, inset : inset + wide]
    _over(spot, coverage, screen)
    middle = width / 2
    if handset.notch == "hole":
        _circle(sheet, middle, inset + 0.05 * WIDTH, 0.026 * WIDTH, (0.01, 0.01, 0.01))
    elif handset.notch == "drop":
        _circle(sheet, middle, inset + 0.01 * WIDTH, 0.05 * WIDTH, (0.01, 0.01, 0.01))
    else:
        half = 0.16 * WIDTH
        cv2.rectangle(
            sheet,
            (round(middle - half), inset - 2),
            (round(middle + half), round(inset + 0.045 * WIDTH)),
            (0.01, 0.01, 0.01),
            -1,
        )
    sheen = np.clip(1 - np.abs(ramp((height, width), 0.9) - random.uniform(-0.5, 0.5)) / 0.3, 0, 1)
    sheet += (0.05 * sheen * alpha)[..., None]
    return Sprite(np.clip(sheet, 0, 1), alpha)


def _screen(handset: Handset, model: Model, high: int, wide: int, random: Random) -> Field:
    style = handset.settings_style
    dark = style in ("panel", "table")
    paper = (0.09, 0.10, 0.13) if dark else (0.95, 0.955, 0.965)
    ink = (0.93, 0.94, 0.96) if dark else (0.1, 0.11, 0.14)
    sheet = np.full((high, wide, 3), paper, np.float32)
    face = model.typeface

    def write(words: str, x: float, y: float, size: float, tone: Colour, bold: bool = False) -> None:
        sheet_line = lettering.fitted(words, int(wide * (0.94 - x)), round(size * wide), face, bold)
        lettering.stamp(sheet, sheet_line, x * wide, y * high, tone)

    def card(top: float, bottom: float, tone: Colour) -> None:
        patch = _rounded(round((bottom - top) * high), round(wide * 0.92), 0, 0.04 * wide)
        x, y = round(wide * 0.04), round(top * high)
        _over(sheet[y : y + patch.shape[0], x : x + patch.shape[1]], patch, tone)

    write(f"{random.integers(8, 21)}:{random.integers(10, 59)}", 0.05, 0.008, 0.05, ink)
    faint = shifted(ink, 0.4 if not dark else -0.35)
    if style in ("cards", "panel"):
        hero = model.screen
        card(0.09, 0.36, hero)
        glow = smooth(random, (round(0.27 * high), round(wide * 0.92)), (260, 160), 0.6)
        patch = _rounded(glow.shape[0], glow.shape[1], 0, 0.04 * wide)
        y, x = round(0.09 * high), round(wide * 0.04)
        sheet[y : y + glow.shape[0], x : x + glow.shape[1]] *= (1 + 0.12 * np.clip(glow, -1, 1) * patch)[..., None]
        light = (0.98, 0.98, 0.98) if sum(hero) < 1.9 else (0.08, 0.08, 0.1)
        write(model.brand, 0.1, 0.13, 0.13, light, bold=True)
        write(model.model, 0.1, 0.23, 0.09, light)
        top = 0.40
    else:
        write("About phone", 0.06, 0.06, 0.085, ink, bold=True)
        top = 0.14
    rows = (("Brand", model.brand), ("Model", model.model), ("Storage", model.memory), ("Battery", "5000 mAh"))
    for k, (title, value) in enumerate(rows):
        row = top + 0.125 * k
        if style in ("cards", "list"):
            card(row, row + 0.11, (1.0, 1.0, 1.0))
        else:
            sheet[round((row + 0.118) * high)] = shifted(paper, 0.25)
        write(title, 0.1, row + 0.004, 0.055, faint)
        write(value, 0.1, row + 0.042, 0.085, ink, bold=True)
    sheet[round(0.975 * high) : round(0.98 * high), round(0.35 * wide) : round(0.65 * wide)] = faint
    return sheet
