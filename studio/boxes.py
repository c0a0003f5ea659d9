"""Cartons as bodies: printed sheets folded into boxes and stood in a room."""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from studio.cloth import Colour, shifted
from studio.fields import Field, Random, Size, cloudy, grain, smooth
from studio.prints import Carton, Goods, front, side
from studio.rooms import Pinhole, pasted, room
from studio.scenes import Tone

Corner = tuple[float, float, float]  # x right, y up, z away


@dataclass(frozen=True)
class Stand:
    """Where and how a box stands: turned by `yaw` radians about its vertical axis, which goes through (x, z)."""

    yaw: float
    x: float = 0.0
    z: float = 0.0

    def corners(self, points: list[Corner]) -> Field:
        """World positions (n, 3) of points given from the middle of the box's foot."""
        cos, sin = np.cos(self.yaw), np.sin(self.yaw)
        turn = np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]])
        return np.asarray(np.array(points) @ turn.T + (self.x, 0, self.z))


def standing(
    carton: Carton, goods: Goods, size: Size, floor: str, floor_tone: Tone, wall_tone: Tone, random: Random
) -> Field:
    """A carton on a table or a floor before a wall, as a float32 RGB scene of `size`."""
    camera = _camera(carton, size, random)
    back = random.uniform(0.9, 3.4)
    scene = room(camera, floor, floor_tone, wall_tone, back, random)
    for _ in range(int(random.integers(0, 3))):
        _bystander(scene, camera, wall_tone, back, random)
    _folded(scene, camera, Stand(random.uniform(0.15, 0.65) * random.choice([-1, 1])), carton, goods, random)
    return scene


def _camera(carton: Carton, size: Size, random: Random) -> Pinhole:
    tall = carton.height + _roof(carton)
    distance = random.uniform(5.0, 8.0)
    # So far zoomed that the box fills a good part of the photo in the direction where it is tight.
    extent = max(tall * size[1] / size[0], (carton.width + carton.depth * 0.6) * 1.15)
    focal = random.uniform(0.56, 0.74) * size[1] * distance / extent
    centre = size[1] * random.uniform(0.44, 0.56), size[0] * random.uniform(0.46, 0.54)
    return Pinhole(size, focal, distance, random.uniform(0.08, 0.5), tall / 2, centre, random.normal(0, 0.03))


def _roof(carton: Carton) -> float:
    return 0.55 * carton.depth if carton.gable else 0.0


def _bystander(scene: Field, camera: Pinhole, tone: Tone, back: float, random: Random) -> None:
    """A plain box further back, out of focus: a jar, a canister, a book."""
    half, tall = random.uniform(0.25, 0.6), random.uniform(0.5, 1.9)
    place = Stand(
        random.uniform(-0.6, 0.6), random.choice([-1, 1]) * random.uniform(0.9, 2.2), random.uniform(0.5, 1.0) * back
    )
    r, g, b = np.clip(np.array(tone) * random.uniform(0.35, 1.1) + random.normal(0, 0.12, 3), 0.05, 0.95)
    colour = (float(r), float(g), float(b))
    layer = scene.copy()
    foot: list[Corner] = [(-half, 0, -half), (half, 0, -half), (half, 0, half), (-half, 0, half)]
    _shadow(layer, camera, place.corners(foot), tall, random)
    for darker, face in _faces(half, tall, half, place.yaw):
        texture = np.full((64, 64, 3), shifted(colour, -darker), np.float32)
        pasted(layer, texture, camera.project(place.corners(face)))
    scene[:] = cv2.GaussianBlur(layer, (0, 0), 2.2)


def _faces(w: float, h: float, d: float, yaw: float) -> list[tuple[float, list[Corner]]]:
    """The flank that shows, the front and the lid of a box, each with how much darker than the front it is."""
    x = w if yaw > 0 else -w
    flank: list[Corner] = [(x, h, -d), (x, h, d), (x, 0, d), (x, 0, -d)]
    if x < 0:
        flank = [flank[1], flank[0], flank[3], flank[2]]
    face: list[Corner] = [(-w, h, -d), (w, h, -d), (w, 0, -d), (-w, 0, -d)]
    lid: list[Corner] = [(-w, h, d), (w, h, d), (w, h, -d), (-w, h, -d)]
    return [(0.25, flank), (0.0, face), (0.05, lid)]


def _folded(scene: Field, camera: Pinhole, stand: Stand, carton: Carton, goods: Goods, random: Random) -> None:
    w, h, d = carton.width / 2, carton.height, carton.depth / 2

    def seen(points: list[Corner]) -> Field:
        return camera.project(stand.corners(points))

    foot: list[Corner] = [(-w, 0, -d), (w, 0, -d), (w, 0, d), (-w, 0, d)]
    _shadow(scene, camera, stand.corners(foot), h, random)
    (_, flank), (_, face), (_, lid) = _faces(w, h, d, stand.yaw)
    pasted(scene, side(carton, goods, random) * np.float32(random.uniform(0.68, 0.86)), seen(flank))
    pasted(scene, _bent(front(carton, goods, random), random), seen(face))
    if carton.gable:
        _gable(scene, seen, carton, goods, stand.yaw, random)
    else:
        top = np.full((200, 300, 3), shifted(goods.base, 0.05), np.float32)
        top[96:104] *= 0.85
        pasted(scene, top * np.float32(1.05), seen(lid))
    _worn(scene, seen([(-w, h, -d), (-w, 0, -d)]), seen([(w, h, -d), (w, 0, -d)]), seen([(-w, h, -d), (w, h, -d)]))


def _bent(sheet: Field, random: Random) -> Field:
    """Card is never flat: light rises and falls a little over it."""
    size = sheet.shape[0], sheet.shape[1]
    light = 1 + 0.06 * np.linspace(1, -1, size[0], dtype=np.float32)[:, None]
    light = light + 0.02 * smooth(random, size, (400, 160), random.uniform(0, 3)) + 0.012 * grain(random, size)
    return np.asarray(sheet * light[..., None], np.float32)


def _gable(
    scene: Field, seen: Callable[[list[Corner]], Field], carton: Carton, goods: Goods, yaw: float, random: Random
) -> None:
    """The pitched roof of a milk carton, with its folded triangle and its sealed ridge."""
    w, h, d, roof = carton.width / 2, carton.height, carton.depth / 2, _roof(carton)
    x = w if yaw > 0 else -w
    card = np.full((200, 300, 3), goods.base, np.float32) * (1 + 0.02 * cloudy(random, (200, 300), 60, 2))[..., None]
    _patch(scene, seen([(x, h, -d), (x, h + roof, 0), (x, h, d)]), shifted(goods.base, -0.45))
    _patch(scene, seen([(x, h, -d), (x * 0.8, h + roof * 0.9, 0), (x, h, d)]), shifted(goods.base, -0.3))
    pasted(scene, card * np.float32(1.04), seen([(-w, h + roof, 0), (w, h + roof, 0), (w, h, -d), (-w, h, -d)]))
    ridge: list[Corner] = [(-w, h + roof + 0.18, 0), (w, h + roof + 0.18, 0), (w, h + roof, 0), (-w, h + roof, 0)]
    pasted(scene, card * np.float32(0.9), seen(ridge))


def _patch(scene: Field, points: Field, colour: Colour) -> None:
    cv2.fillPoly(scene, [np.round(points * 16).astype(np.int32)], colour, cv2.LINE_AA, 4)


def _worn(scene: Field, *edges: Field) -> None:
    """Card shows a little paler along its folds."""
    mark = np.zeros(scene.shape[:2], np.uint8)
    for edge in edges:
        cv2.polylines(mark, [np.round(edge * 16).astype(np.int32)], False, 255, 2, cv2.LINE_AA, 4)
    scene += (0.9 - scene) * (mark.astype(np.float32) * np.float32(0.35 / 255))[..., None]


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
