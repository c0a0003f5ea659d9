"""A pinhole camera, and the floor and wall that it sees behind what stands in a room."""

from dataclasses import dataclass

import cv2
import numpy as np

from studio.fields import Field, Random, Size
from studio.scenes import SURFACES, Tone


@dataclass(frozen=True)
class Pinhole:
    """A camera that looks down, by `pitch` radians, at a point on the vertical axis.

    That point appears at `centre` (x, y in pixels); the picture is turned about it by `roll` radians.
    """

    size: Size
    focal: float
    distance: float
    pitch: float
    aim: float  # the height above ground that it looks at
    centre: tuple[float, float]
    roll: float

    def project(self, points: Field) -> Field:
        """World (n, 3) with x right, y up, z away, to pixels (n, 2)."""
        p = np.asarray(points, np.float64) - (0, self.aim, 0)
        cos, sin = np.cos(self.pitch), np.sin(self.pitch)
        up = p[:, 1] * cos + p[:, 2] * sin
        away = np.maximum(0.05, -p[:, 1] * sin + p[:, 2] * cos + self.distance)
        flat = self.focal * np.stack([p[:, 0] / away, -up / away], 1)
        c, s = np.cos(self.roll), np.sin(self.roll)
        return np.asarray(flat @ np.array([[c, s], [-s, c]]) + self.centre)


def pasted(scene: Field, texture: Field, corners: Field) -> None:
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
    spot += (warped - spot) * (mask.astype(np.float32) / np.float32(255))[..., None]


def room(camera: Pinhole, floor: str, floor_tone: Tone, wall_tone: Tone, back: float, random: Random) -> Field:
    """A floor and, `back` behind the vertical axis, a wall: float32 RGB of the camera's size."""
    scene = np.empty((*camera.size, 3), np.float32)
    scene[:] = wall_tone
    reach = 10.0
    wall = SURFACES[("wall", "wall", "tiles", "planks")[int(random.integers(4))]](random, (800, 1100), wall_tone)
    corners = [[-reach / 2, reach / 2, back], [reach / 2, reach / 2, back], [reach / 2, 0, back], [-reach / 2, 0, back]]
    # Behind the lens's depth of field.
    pasted(scene, cv2.GaussianBlur(wall, (0, 0), 1.5), camera.project(np.array(corners)))
    near = -camera.distance * 0.8
    ground = SURFACES[floor](random, (900, 1200), floor_tone)
    edges = [[-reach / 2, 0, back], [reach / 2, 0, back], [reach / 2, 0, near], [-reach / 2, 0, near]]
    pasted(scene, ground, camera.project(np.array(edges)))
    if random.random() < 0.5:
        _lamp(scene, camera, back, random)
    return scene


def _lamp(scene: Field, camera: Pinhole, back: float, random: Random) -> None:
    """A patch of light on the wall, as a lamp or a window throws it."""
    x, y = camera.project(np.array([[random.uniform(-2, 2), random.uniform(0.8, 2.6), back]]))[0]
    small = np.zeros((scene.shape[0] // 8, scene.shape[1] // 8), np.float32)
    radius = random.uniform(0.2, 0.5) * small.shape[1]
    cv2.ellipse(small, (round(x / 8), round(y / 8)), (round(radius), round(radius * 1.4)), 0, 0, 360, 1.0, -1)
    small = cv2.GaussianBlur(small, (0, 0), random.uniform(4, 12))
    light = cv2.resize(small, (scene.shape[1], scene.shape[0]), interpolation=cv2.INTER_LINEAR)
    scene *= (1 + random.uniform(0.15, 0.4) * light)[..., None]
