"""What is printed on cartons: brand, product, picture, quantity, and the small print on the side."""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from studio import lettering
from studio.cloth import Colour, shifted
from studio.fields import Field, Random
from studio.lettering import Typeface


@dataclass(frozen=True)
class Carton:
    """A kind of box and how its front is laid out. Sizes are in canvas units of about a decimetre."""

    name: str
    width: float
    height: float
    depth: float
    gable: bool
    layout: str  # a key of LAYOUTS
    motif: str  # a key of MOTIFS


@dataclass(frozen=True)
class Goods:
    """What is printed on it."""

    brand: str
    product: str
    quantity: str  # "1 L", "500 g"
    base: Colour
    accent: Colour
    paper: Colour
    typeface: Typeface


_PIXELS = 330  # a print's pixels per unit


def blank(height: float, width: float, colour: Colour) -> Field:
    return np.full((round(height * _PIXELS), round(width * _PIXELS), 3), colour, np.float32)


def _polygon(sheet: Field, points: Field, colour: Colour) -> None:
    cv2.fillPoly(sheet, [np.round(np.asarray(points) * 16).astype(np.int32)], colour, cv2.LINE_AA, 4)


def _disc(sheet: Field, x: float, y: float, radius: float, colour: Colour) -> None:
    cv2.circle(sheet, (round(x * 16), round(y * 16)), round(radius * 16), colour, -1, cv2.LINE_AA, 4)


def _centred(
    sheet: Field, words: str, top: float, size: float, colour: Colour, face: Typeface, bold: bool = False
) -> None:
    width = sheet.shape[1]
    ink = lettering.fitted(words, int(width * 0.88), round(size), face, bold)
    lettering.stamp(sheet, ink, (width - ink.shape[1]) / 2, top, colour)


def fruit(sheet: Field, x: float, y: float, r: float, goods: Goods, random: Random) -> None:
    for dx, dy, k in ((0.5, 0.2, 0.8), (-0.45, 0.25, 0.85), (0.0, -0.15, 1.0)):
        for step in range(8):
            f = 1 - step / 9
            tone = shifted(goods.accent, -0.25 + 0.05 * step)
            _disc(sheet, x + (dx - 0.1 * (1 - f)) * r, y + (dy - 0.12 * (1 - f)) * r, 0.55 * k * r * f, tone)
    leaf = np.array([[0, -0.7], [0.25, -1.0], [0.7, -1.0], [0.4, -0.7]]) * r + (x, y)
    _polygon(sheet, leaf, (0.25, 0.5, 0.2))


def glass(sheet: Field, x: float, y: float, r: float, goods: Goods, random: Random) -> None:
    _disc(sheet, x, y, r * 1.12, shifted(goods.base, 0.2))
    body = np.array([[-0.5, -0.9], [0.5, -0.9], [0.38, 0.9], [-0.38, 0.9]]) * r + (x, y)
    _polygon(sheet, body, shifted(goods.base, 0.75))
    fill = np.array([[-0.46, -0.5], [0.46, -0.5], [0.36, 0.84], [-0.36, 0.84]]) * r + (x, y)
    _polygon(sheet, fill, (0.98, 0.97, 0.94))
    _polygon(
        sheet, np.array([[0.2, -0.85], [0.32, -0.85], [0.25, 0.8], [0.17, 0.8]]) * r + (x, y), shifted(goods.base, 0.9)
    )


def ears(sheet: Field, x: float, y: float, r: float, goods: Goods, random: Random) -> None:
    for lean in (-0.35, 0.0, 0.35):
        for k in range(6):
            cy, cx = y + r * (0.5 - 0.25 * k), x + lean * r * (0.4 + 0.28 * k)
            for side in (-1, 1):
                centre = (round((cx + side * 0.1 * r) * 16), round(cy * 16))
                axes = (round(0.07 * r * 16), round(0.16 * r * 16))
                cv2.ellipse(sheet, centre, axes, side * 25 + lean * 30, 0, 360, goods.accent, -1, cv2.LINE_AA, 4)


def bowl(sheet: Field, x: float, y: float, r: float, goods: Goods, random: Random) -> None:
    half = np.array([[np.cos(a), np.sin(a) * 0.8] for a in np.linspace(0, np.pi, 24)]) * r + (x, y)
    _polygon(sheet, half, shifted(goods.base, 0.8))
    for _ in range(46):
        a, d = random.uniform(0, 2 * np.pi), np.sqrt(random.uniform(0, 1)) * 0.85
        tone = shifted((0.82, 0.6, 0.28), float(random.uniform(-0.25, 0.3)))
        _disc(sheet, x + r * d * np.cos(a), y - 0.05 * r + 0.28 * r * d * np.sin(a), 0.11 * r, tone)


def hill(sheet: Field, x: float, y: float, r: float, goods: Goods, random: Random) -> None:
    for k, tone in enumerate((shifted(goods.accent, 0.3), goods.accent, shifted(goods.accent, -0.3))):
        t = np.linspace(-1.2, 1.2, 20)
        ridge = np.stack([t, 0.2 * k - 0.3 * np.cos(t * 2 + k * 1.3)], 1)
        _polygon(sheet, np.vstack([ridge, [[1.2, 0.9], [-1.2, 0.9]]]) * r + (x, y), tone)
    _disc(sheet, x + 0.5 * r, y - 0.7 * r, 0.22 * r, (0.98, 0.85, 0.4))


def drops(sheet: Field, x: float, y: float, r: float, goods: Goods, random: Random) -> None:
    for dx, dy, k in ((0, 0, 1.0), (0.6, 0.3, 0.55), (-0.6, 0.35, 0.5)):
        cx, cy, q = x + dx * r, y + dy * r, 0.5 * k * r
        _disc(sheet, cx, cy, q, goods.accent)
        _polygon(
            sheet,
            np.array([[cx - q * 0.9, cy - q * 0.4], [cx, cy - 2 * q], [cx + q * 0.9, cy - q * 0.4]]),
            goods.accent,
        )
        _disc(sheet, cx - q * 0.3, cy, q * 0.25, shifted(goods.accent, 0.7))


MOTIFS: dict[str, Callable[[Field, float, float, float, Goods, Random], None]] = {
    motif.__name__: motif for motif in (fruit, glass, ears, bowl, hill, drops)
}


def banner(sheet: Field, carton: Carton, goods: Goods, random: Random) -> None:
    """The brand in a coloured band on top, the motif in the middle, the quantity below."""
    h, w = sheet.shape[:2]
    sheet[: int(h * 0.3)] = goods.base
    _centred(sheet, goods.brand, h * 0.07, w * 0.22, goods.paper, goods.typeface, bold=True)
    _centred(sheet, goods.product, h * 0.33, w * 0.13, shifted(goods.base, -0.3), goods.typeface, bold=True)
    MOTIFS[carton.motif](sheet, w * 0.5, h * 0.64, w * 0.27, goods, random)
    sheet[int(h * 0.95) :] = goods.accent
    _centred(sheet, goods.quantity, h * 0.94 - w * 0.21, w * 0.15, (0.1, 0.1, 0.1), goods.typeface)


def flooded(sheet: Field, carton: Carton, goods: Goods, random: Random) -> None:
    """All in the base colour; the words on a pale wave at the foot."""
    h, w = sheet.shape[:2]
    sheet[:] = goods.base
    t = np.linspace(0, 1, 30)
    wave = np.stack([t * w, h * (0.55 + 0.04 * np.sin(t * 6.3))], 1)
    _polygon(sheet, np.vstack([wave, [[w, h], [0, h]]]), goods.paper)
    MOTIFS[carton.motif](sheet, w * 0.5, h * 0.36, w * 0.25, goods, random)
    _centred(sheet, goods.brand, h * 0.05, w * 0.2, goods.paper, goods.typeface, bold=True)
    _centred(sheet, goods.product, h * 0.64, w * 0.14, shifted(goods.base, -0.45), goods.typeface, bold=True)
    _centred(sheet, goods.quantity, h * 0.81, w * 0.13, (0.12, 0.12, 0.12), goods.typeface)


def slanted(sheet: Field, carton: Carton, goods: Goods, random: Random) -> None:
    """Two halves along a diagonal."""
    h, w = sheet.shape[:2]
    _polygon(sheet, np.array([[0, h * 0.45], [w, h * 0.3], [w, h], [0, h]]), goods.base)
    _polygon(sheet, np.array([[0, h * 0.45], [w, h * 0.3], [w, h * 0.33], [0, h * 0.48]]), goods.accent)
    _centred(sheet, goods.brand, h * 0.08, w * 0.24, goods.base, goods.typeface, bold=True)
    _centred(sheet, goods.product, h * 0.2, w * 0.12, (0.15, 0.15, 0.15), goods.typeface)
    MOTIFS[carton.motif](sheet, w * 0.5, h * 0.66, w * 0.24, goods, random)
    _centred(sheet, goods.quantity, h * 0.86, w * 0.13, goods.paper, goods.typeface, bold=True)


def framed(sheet: Field, carton: Carton, goods: Goods, random: Random) -> None:
    """A pale label inside a coloured border with stripes."""
    h, w = sheet.shape[:2]
    sheet[:] = goods.base
    for k in range(0, w, max(6, w // 12)):
        sheet[:, k : k + w // 40] = shifted(goods.base, 0.25)
    sheet[int(h * 0.12) : int(h * 0.9), int(w * 0.07) : int(w * 0.93)] = goods.paper
    _centred(sheet, goods.brand, h * 0.16, w * 0.19, goods.accent, goods.typeface, bold=True)
    MOTIFS[carton.motif](sheet, w * 0.5, h * 0.48, w * 0.22, goods, random)
    _centred(sheet, goods.product, h * 0.66, w * 0.13, (0.12, 0.12, 0.12), goods.typeface, bold=True)
    _centred(sheet, goods.quantity, h * 0.79, w * 0.11, (0.2, 0.2, 0.2), goods.typeface)


LAYOUTS: dict[str, Callable[[Field, Carton, Goods, Random], None]] = {
    layout.__name__: layout for layout in (banner, flooded, slanted, framed)
}


def front(carton: Carton, goods: Goods, random: Random) -> Field:
    """The face that sells, as float32 RGB, _PIXELS a unit."""
    sheet = blank(carton.height, carton.width, goods.paper)
    LAYOUTS[carton.layout](sheet, carton, goods, random)
    return sheet


def side(carton: Carton, goods: Goods, random: Random) -> Field:
    """Small print, a nutrition table and a barcode."""
    sheet = blank(carton.height, carton.depth, goods.paper)
    h, w = sheet.shape[:2]
    sheet[: int(h * 0.18)] = goods.base
    _centred(sheet, goods.brand, h * 0.04, w * 0.16, goods.paper, goods.typeface, bold=True)
    grey = (0.35, 0.35, 0.35)
    for row in range(9):
        y = int(h * (0.24 + 0.028 * row))
        sheet[y : y + max(2, h // 130), int(w * 0.1) : int(w * random.uniform(0.6, 0.9))] = grey
    for row in range(7):
        y = int(h * (0.53 + 0.03 * row))
        sheet[y : y + 1, int(w * 0.1) : int(w * 0.9)] = grey
        sheet[y + 4 : y + 4 + h // 140, int(w * 0.14) : int(w * random.uniform(0.3, 0.5))] = grey
        sheet[y + 4 : y + 4 + h // 140, int(w * 0.7) : int(w * 0.84)] = grey
    x = w * 0.2
    sheet[int(h * 0.79) : int(h * 0.94), int(w * 0.15) : int(w * 0.85)] = (0.97, 0.97, 0.97)
    while x < w * 0.8:
        bar = random.uniform(1, 4)
        sheet[int(h * 0.805) : int(h * 0.925), int(x) : int(x + bar)] = (0.08, 0.08, 0.08)
        x += bar + random.uniform(1, 4)
    return sheet
