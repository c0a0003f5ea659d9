"""Photographs of templates: one call, one JPEG."""

import numpy as np

from studio import boxes
from studio.camera import Exposure, Pose, composed, placed, taken
from studio.cloth import Sprite
from studio.daylight import Light, framed, seen
from studio.fields import Field, Random, Size
from studio.garments import Cut, Dye, Hat, Shoes, sewn
from studio.paints import Paint
from studio.phones import Handset, Model, back, front
from studio.prints import Carton, Goods
from studio.rooms import room
from studio.scenes import SURFACES, Tone
from studio.solids import moved, standing
from studio.wares import KINDS, Ware

Setting = tuple[str, Tone]  # a key of SURFACES and its tone

# From so many radians on, a camera looks down on what lies there, not into a room.
_STEEP = 0.9
_FORMATS: tuple[Size, ...] = ((1000, 760), (960, 720), (800, 600), (900, 900))
_FORMATS_OF_WARES: tuple[Size, ...] = ((800, 640), (760, 620), (700, 700), (620, 760))


def _format(random: Random) -> Size:
    return _FORMATS[int(random.integers(len(_FORMATS)))]


def garment(cut: Cut, fabric: str, dye: Dye, setting: Setting, random: Random) -> bytes:
    """A garment laid out on, or hung before, a surface. Hung where the surface is a wall."""
    size = _format(random)
    light = float(random.uniform(-2.9, -0.3))
    hung = setting[0] == "wall" and not isinstance(cut, Hat | Shoes)
    sprite = sewn(cut, fabric, dye, random, hung, light)
    ground = SURFACES[setting[0]](random, size, setting[1])
    turn = random.normal(0, 0.03 if hung else 0.11)
    pose = _posed(sprite, size, float(turn), random)
    return taken(composed(ground, placed(sprite, pose, size), light, 9.0), Exposure.drawn(random), random)


def _posed(sprite: Sprite, size: Size, turn: float, random: Random, least: float = 0.74, most: float = 0.9) -> Pose:
    """So large that the product fills between `least` and `most` of the photo in the direction where it is tight."""
    rows, columns = np.flatnonzero(sprite.alpha.max(1) > 0.5), np.flatnonzero(sprite.alpha.max(0) > 0.5)
    tall, wide = rows[-1] - rows[0], columns[-1] - columns[0]
    cos, sin = abs(np.cos(turn)), abs(np.sin(turn))
    turned = tall * cos + wide * sin, wide * cos + tall * sin
    zoom = random.uniform(least, most) * min(size[0] / turned[0], size[1] / turned[1])
    h, w = sprite.alpha.shape
    off = np.array([(columns[0] + columns[-1]) / 2 - w / 2, (rows[0] + rows[-1]) / 2 - h / 2]) * zoom
    centre = np.array([size[1], size[0]]) * (0.5 + random.uniform(-0.03, 0.03, 2))
    c, s = np.cos(turn), np.sin(turn)
    shifted = centre - np.array([c * off[0] - s * off[1], s * off[0] + c * off[1]])
    tilt = (float(random.uniform(-0.08, 0.08)), float(random.uniform(-0.18, 0.05)))
    return Pose((float(shifted[0]), float(shifted[1])), w * zoom, turn, tilt)


def carton(box: Carton, goods: Goods, setting: Setting, wall: Tone, random: Random) -> bytes:
    """A carton standing on a surface before a wall."""
    scene = boxes.standing(box, goods, _format(random), *setting, wall, random)
    return taken(scene, Exposure.drawn(random), random)


def phone(handset: Handset, model: Model, view: str, setting: Setting, random: Random) -> bytes:
    """A phone lying on a surface; `view` is "back" or "front"."""
    size = _format(random)
    light = float(random.uniform(-2.9, -0.3))
    sprite = (back if view == "back" else front)(handset, model, random)
    ground: Field = SURFACES[setting[0]](random, size, setting[1])
    pose = _posed(sprite, size, float(random.normal(0, 0.10)), random, 0.72, 0.9)
    return taken(composed(ground, placed(sprite, pose, size), light, 12.0, 0.6), Exposure.drawn(random), random)


def ware(design: Ware, paint: Paint, setting: Setting, wall: Tone, random: Random) -> bytes:
    """A solid thing: on a seamless backdrop, in a room, or on what it lies on."""
    kind = KINDS[design.kind]
    size = _FORMATS_OF_WARES[int(random.integers(len(_FORMATS_OF_WARES)))]
    drawn = kind.draw(design.form, paint, random)
    solid = standing(moved(drawn, yaw=random.uniform(-kind.yaw, kind.yaw)))
    camera = framed(solid, size, float(random.uniform(*kind.pitch)), float(random.uniform(0.68, 0.9)), random)
    ground = setting[1]
    if random.random() < 0.4:
        ground = (0.95, 0.95, 0.95) if random.random() < 0.7 else wall
        scene: Field = np.full((*size, 3), ground, np.float32)
    elif camera.pitch > _STEEP:
        scene = SURFACES[setting[0]](random, size, ground)
    else:
        scene = room(camera, *setting, wall, float(random.uniform(0.9, 3.4)), random)
    thing = seen(solid, camera, Light.drawn(random), ground)
    scene = scene * (1 - thing.shadow)[..., None]
    scene = scene * (1 - thing.layer.alpha)[..., None] + thing.layer.rgb
    return taken(np.asarray(scene, np.float32), Exposure.drawn(random), random)
