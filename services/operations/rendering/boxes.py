"""Cartons: printed sheets folded into boxes and seen by a pinhole camera."""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from services.operations.rendering import lettering
from services.operations.rendering.cloth import Colour, shifted
from services.operations.rendering.fields import Field, Random, Size, cloudy, grain, smooth
from services.operations.rendering.lettering import Typeface
from services.operations.rendering.scenes import SURFACES, Tone


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


def _sheet(height: float, width: float, colour: Colour) -> Field:
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
    _centred(sheet, goods.quantity, h * 0.945 - w * 0.19, w * 0.13, (0.1, 0.1, 0.1), goods.typeface, bold=True)


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


def _side(carton: Carton, goods: Goods, random: Random) -> Field:
    """Small print, a nutrition table and a barcode."""
    sheet = _sheet(carton.height, carton.depth, goods.paper)
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


@dataclass(frozen=True)
class Pinhole:
    """A camera that looks down at a point on the vertical axis."""

    size: Size
    focal: float
    distance: float
    pitch: float
    aim: float  # the height above ground that it looks at

    def project(self, points: Field) -> Field:
        """World (n, 3) with x right, y up, z away, to pixels (n, 2)."""
        p = np.asarray(points, np.float64) - (0, self.aim, 0)
        cos, sin = np.cos(self.pitch), np.sin(self.pitch)
        up = p[:, 1] * cos + p[:, 2] * sin
        away = np.maximum(0.05, -p[:, 1] * sin + p[:, 2] * cos + self.distance)
        x = self.focal * p[:, 0] / away + self.size[1] / 2
        y = -self.focal * up / away + self.size[0] / 2
        return np.stack([x, y], 1)


def _pasted(scene: Field, texture: Field, corners: Field) -> None:
    """Warps a texture onto the quadrilateral whose corners go clockwise from the texture's top left."""
    h, w = texture.shape[:2]
    low = np.maximum(np.floor(corners.min(0)).astype(int) - 1, 0)
    high = np.minimum(np.ceil(corners.max(0)).astype(int) + 1, (scene.shape[1], scene.shape[0]))
    if np.any(high <= low):
        return
    target = (corners - low).astype(np.float32)
    matrix = cv2.getPerspectiveTransform(np.array([[0, 0], [w, 0], [w, h], [0, h]], np.float32), target)
    extent = (int(high[0] - low[0]), int(high[1] - low[1]))
    warped = cv2.warpPerspective(texture, matrix, extent, flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REPLICATE)
    mask = np.zeros(extent[::-1], np.uint8)
    cv2.fillPoly(mask, [np.round(target * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
    spot = scene[low[1] : high[1], low[0] : high[0]]
    spot += (warped - spot) * (mask.astype(np.float32) / 255)[..., None]


def _room(camera: Pinhole, floor: str, floor_tone: Tone, wall_tone: Tone, back: float, random: Random) -> Field:
    scene = np.zeros((*camera.size, 3), np.float32)
    reach = 9.0
    wall_sheet = SURFACES["wall"](random, (500, 700), wall_tone)
    wall_corners = [[-reach, reach, back], [reach, reach, back], [reach, 0, back], [-reach, 0, back]]
    _pasted(scene, wall_sheet, camera.project(np.array(wall_corners, float)))
    near = -camera.distance * 0.82
    ground = SURFACES[floor](random, (900, 1200), floor_tone)
    corners = [[-reach / 2, 0, back], [reach / 2, 0, back], [reach / 2, 0, near], [-reach / 2, 0, near]]
    _pasted(scene, ground, camera.project(np.array(corners, float)))
    return scene


def standing(
    carton: Carton, goods: Goods, size: Size, floor: str, floor_tone: Tone, wall_tone: Tone, random: Random
) -> Field:
    """A carton on a table or a floor before a wall, as a float32 RGB scene of `size`."""
    w, h, d = carton.width / 2, carton.height, carton.depth / 2
    roof = 0.55 * carton.depth if carton.gable else 0.0
    tall = h + roof
    pitch = random.uniform(0.12, 0.38)
    distance = random.uniform(5.5, 8.0)
    share = random.uniform(0.62, 0.78)
    extent = max(tall * size[1] / size[0], (carton.width + carton.depth * 0.6) * 1.15)
    focal = share * size[1] * distance / extent if extent > 0 else 1.0
    camera = Pinhole(size, focal, distance, pitch, tall / 2 * random.uniform(0.9, 1.1))
    scene = _room(camera, floor, floor_tone, wall_tone, random.uniform(1.2, 3.0), random)

    yaw = random.uniform(0.2, 0.6) * random.choice([-1, 1])
    turn = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])

    def seen(points: list[tuple[float, float, float]]) -> Field:
        return camera.project(np.array(points) @ turn.T)

    _shadow(scene, camera, np.array([[-w, 0, -d], [w, 0, -d], [w, 0, d], [-w, 0, d]]) @ turn.T, tall, random)

    front = _sheet(carton.height, carton.width, goods.paper)
    LAYOUTS[carton.layout](front, carton, goods, random)
    side = _side(carton, goods, random)
    sheen = 1 + 0.06 * np.linspace(1, -1, front.shape[0], dtype=np.float32)[:, None, None]
    front = front * sheen * (1 + 0.012 * grain(random, front.shape[:2]))[..., None]
    front *= (1 + 0.02 * smooth(random, front.shape[:2], (400, 160), random.uniform(0, 3)))[..., None]
    left_dark, right_dark = (0.72, 0.84) if random.random() < 0.5 else (0.84, 0.7)
    x = -w if yaw < 0 else w
    # The side that shows: with the front turned to the right (yaw < 0) its left flank comes into view.
    x = w if np.sin(yaw) > 0 else -w
    flank = [(x, h, -d), (x, h, d), (x, 0, d), (x, 0, -d)]
    if x < 0:
        flank = [flank[1], flank[0], flank[3], flank[2]]
    _pasted(scene, side * (left_dark if x < 0 else right_dark), seen(flank))
    _pasted(scene, front, seen([(-w, h, -d), (w, h, -d), (w, 0, -d), (-w, 0, -d)]))
    if carton.gable:
        cap = np.full((200, 300, 3), goods.base, np.float32) * (1 + 0.02 * cloudy(random, (200, 300), 60, 2))[..., None]
        triangle = seen([(x, h, -d), (x, h + roof, 0), (x, h, d)])
        fold = seen([(x, h, -d), (x * 0.8, h + roof * 0.9, 0), (x, h, d)])
        _polygon_on(scene, triangle, shifted(goods.base, -0.45))
        _polygon_on(scene, fold, shifted(goods.base, -0.3))
        _pasted(scene, cap * 1.04, seen([(-w, h + roof, 0), (w, h + roof, 0), (w, h, -d), (-w, h, -d)]))
        ridge = seen([(-w, h + roof + 0.18, 0), (w, h + roof + 0.18, 0), (w, h + roof, 0), (-w, h + roof, 0)])
        _pasted(scene, cap * 0.9, ridge)
    else:
        top = np.full((200, 300, 3), shifted(goods.base, 0.05), np.float32)
        top[96:104] *= 0.85
        _pasted(scene, top * 1.05, seen([(-w, h, d), (w, h, d), (w, h, -d), (-w, h, -d)]))
    _edges(scene, seen([(-w, h, -d), (-w, 0, -d)]), seen([(w, h, -d), (w, 0, -d)]), seen([(-w, h, -d), (w, h, -d)]))
    return scene


def _polygon_on(scene: Field, points: Field, colour: Colour) -> None:
    cv2.fillPoly(scene, [np.round(points * 16).astype(np.int32)], colour, cv2.LINE_AA, 4)


def _edges(scene: Field, *edges: Field) -> None:
    """Worn paper: card shows a little paler along its folds."""
    mark = np.zeros(scene.shape[:2], np.uint8)
    for edge in edges:
        cv2.polylines(mark, [np.round(edge * 16).astype(np.int32)], False, 255, 2, cv2.LINE_AA, 4)
    scene += (0.9 - scene) * (mark.astype(np.float32) / 255 * 0.35)[..., None]


def _shadow(scene: Field, camera: Pinhole, foot: Field, tall: float, random: Random) -> None:
    away = np.array([random.uniform(-0.9, 0.9), 0.0, random.uniform(0.1, 0.7)]) * tall
    size = (scene.shape[0] // 2, scene.shape[1] // 2)
    soft = np.zeros(size, np.float32)
    hull = cv2.convexHull(camera.project(np.vstack([foot, foot * 0.9 + away])).astype(np.float32) / 2)
    cv2.fillPoly(soft, [np.round(hull * 16).astype(np.int32)], 1.0, cv2.LINE_8, 4)
    soft = cv2.GaussianBlur(soft, (0, 0), 14)
    contact = np.zeros(size, np.float32)
    grown = camera.project(foot * 1.06) / 2
    cv2.fillPoly(contact, [np.round(grown * 16).astype(np.int32)], 1.0, cv2.LINE_8, 4)
    contact = cv2.GaussianBlur(contact, (0, 0), 5)
    dark = cv2.resize(np.clip(0.33 * soft + 0.5 * contact, 0, 0.8), (scene.shape[1], scene.shape[0]))
    scene *= (1 - dark)[..., None]
