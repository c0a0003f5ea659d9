"""Solid things in a photo: what of them is seen, how light falls on them, and the shadow that they throw."""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from studio.cloth import Sprite
from studio.fields import Field, Random, Size
from studio.rooms import Pinhole
from studio.scenes import Tone
from studio.solids import Solid, Surface, normals

_FINER = 1.3  # points are drawn on so many times finer a picture, then averaged: smooth edges
_STEP = 0.7  # pixels between neighbouring points, so that no gap is left
_SHADOWS = 300  # pixels of the picture from where the light comes


@dataclass(frozen=True)
class Light:
    """One large light and the room's own. `towards` is the unit vector to the light."""

    towards: Field
    strength: float
    room: float

    @staticmethod
    def drawn(random: Random) -> "Light":
        side, high = random.choice([-1, 1]) * random.uniform(0.2, 1.0), random.uniform(0.7, 1.5)
        towards = np.array([side, high, -random.uniform(0.35, 1.0)])
        strength = float(random.uniform(0.65, 0.9))
        return Light(towards / np.linalg.norm(towards), strength, float(random.uniform(0.4, 0.52)))


@dataclass(frozen=True)
class Seen:
    """What a photo has of a thing, of the photo's size: itself (premultiplied), and how dark it makes the ground."""

    layer: Sprite
    shadow: Field


def framed(solid: Solid, size: Size, pitch: float, fill: float, random: Random) -> Pinhole:
    """A camera for which the thing takes `fill` of the photo in the direction where it is tight."""
    every = np.vstack([one.points.reshape(-1, 3) for one in solid])
    extent = float((every.max(0) - every.min(0)).max())
    aim = float(every[:, 1].max() + every[:, 1].min()) / 2
    distance = extent * random.uniform(2.6, 4.5)
    camera = Pinhole(size, 1.0, distance, pitch, aim, (0.0, 0.0), float(random.normal(0, 0.025)))
    spots = camera.project(every)
    low, high = spots.min(0), spots.max(0)
    focal = fill * min(size[1] / (high[0] - low[0]), size[0] / (high[1] - low[1]))
    slack = np.maximum(0, (np.array([size[1], size[0]]) - focal * (high - low)) / 2)
    middle = np.array([size[1], size[0]]) / 2 - focal * (low + high) / 2 + random.uniform(-0.4, 0.4, 2) * slack
    return Pinhole(size, float(focal), distance, pitch, aim, (float(middle[0]), float(middle[1])), camera.roll)


def seen(solid: Solid, camera: Pinhole, light: Light, ground: Tone) -> Seen:
    """The thing under the light, above a ground of such a tone."""
    size = round(camera.size[0] * _FINER), round(camera.size[1] * _FINER)
    fine = Pinhole(
        size,
        camera.focal * _FINER,
        camera.distance,
        camera.pitch,
        camera.aim,
        (camera.centre[0] * _FINER, camera.centre[1] * _FINER),
        camera.roll,
    )
    picture = _lit(_gathered(solid, _lens(fine), size), fine, _Shade.of(solid, light), light, ground)
    layers = cv2.resize(picture, (camera.size[1], camera.size[0]), interpolation=cv2.INTER_AREA)
    return Seen(Sprite(layers[..., :3], layers[..., 3]), _on_ground(solid, camera, light))


View = Callable[[Field], tuple[Field, Field]]  # points (n, 3) to pixels (n, 2) and depth (n,)


def _lens(camera: Pinhole) -> View:
    def view(points: Field) -> tuple[Field, Field]:
        x, y, z = (points[:, k] for k in range(3))
        cos, sin = np.float32(np.cos(camera.pitch)), np.float32(np.sin(camera.pitch))
        y = y - np.float32(camera.aim)
        depth = np.maximum(np.float32(0.05), z * cos - y * sin + np.float32(camera.distance))
        right, down = x / depth * np.float32(camera.focal), -(y * cos + z * sin) / depth * np.float32(camera.focal)
        c, s = np.float32(np.cos(camera.roll)), np.float32(np.sin(camera.roll))
        cx, cy = (np.float32(middle) for middle in camera.centre)
        return np.stack([right * c - down * s + cx, right * s + down * c + cy], 1), depth

    return view


@dataclass(frozen=True)
class _Places:
    """Where between the rows and the columns of a grid its values are wanted: as many as leave no gap in a picture."""

    rows: Field
    columns: Field

    @staticmethod
    def of(points: Field, view: View, step: float) -> "_Places":
        rows, columns = points.shape[:2]
        spots = view(points.reshape(-1, 3))[0].reshape(rows, columns, 2)
        down = np.abs(np.diff(spots, axis=0)).max(2).max(1)
        right = np.abs(np.diff(spots, axis=1)).max(2).max(0)
        return _Places(_between(down / step), _between(right / step))

    @property
    def size(self) -> Size:
        return len(self.rows), len(self.columns)

    def values(self, grid: Field, points: Size) -> Field:
        """Of a grid that is stretched over as many points as the other one had."""
        tall, wide = len(self.rows), len(self.columns)
        if grid.shape[0] > tall and grid.shape[1] > wide:
            # Finer than it is looked at: averaged, or it would flicker.
            grid = cv2.resize(grid, (wide, tall), interpolation=cv2.INTER_AREA)
        x = self.columns * np.float32((grid.shape[1] - 1) / max(1, points[1] - 1))
        y = self.rows * np.float32((grid.shape[0] - 1) / max(1, points[0] - 1))
        along, down = np.repeat(x[None], tall, 0), np.repeat(y[:, None], wide, 1)
        return cv2.remap(grid, along, down, cv2.INTER_LINEAR)


def _between(longer: Field) -> Field:
    """Each interval cut into so many parts, rounded up, and at most some hundreds."""
    parts = np.clip(np.ceil(longer), 1, 400).astype(int)
    cuts = [np.arange(count, dtype=np.float32) / count + k for k, count in enumerate(parts)]
    return np.concatenate([*cuts, np.array([len(parts)], np.float32)]).astype(np.float32)


@dataclass(frozen=True)
class _Pixels:
    """The places that are seen, by pixel: (n,) or (n, 3). `at` is the pixel's number, row by row."""

    size: Size
    at: Field
    depth: Field
    points: Field
    normals: Field
    colours: Field
    gloss: Field
    metal: Field
    glow: Field


def _nearest(solid: Solid, view: View, size: Size, step: float = _STEP) -> tuple[Field, list[_Places], list[int]]:
    """For each pixel the depth in millionths, and below it in 32 bits the number of the nearest point."""
    nearest = np.full(size[0] * size[1], np.iinfo(np.uint64).max, np.uint64)
    places, firsts, first = [], [], 0
    for surface in solid:
        wanted = _Places.of(surface.points, view, step)
        spots, depth = view(wanted.values(surface.points, surface.size).reshape(-1, 3))
        x, y = np.rint(spots[:, 0]).astype(np.int64), np.rint(spots[:, 1]).astype(np.int64)
        inside = np.flatnonzero((x >= 0) & (y >= 0) & (x < size[1]) & (y < size[0]))
        key = (depth[inside] * 1e6).astype(np.uint64) << np.uint64(32) | (inside + first).astype(np.uint64)
        np.minimum.at(nearest, y[inside] * size[1] + x[inside], key)
        places.append(wanted)
        firsts.append(first)
        first += len(depth)
    return nearest, places, [*firsts, first]


def _gathered(solid: Solid, view: View, size: Size) -> _Pixels:
    nearest, places, firsts = _nearest(solid, view, size)
    at = np.flatnonzero(nearest != np.iinfo(np.uint64).max)
    depth = (nearest[at] >> np.uint64(32)).astype(np.float32) * np.float32(1e-6)
    number = (nearest[at] & np.uint64(0xFFFFFFFF)).astype(np.int64)
    points, square, colours = (np.empty((len(at), 3), np.float32) for _ in range(3))
    finishes = np.empty((len(at), 3), np.float32)
    for surface, wanted, first, end in zip(solid, places, firsts, firsts[1:], strict=False):
        mine = np.flatnonzero((number >= first) & (number < end))
        if not mine.size:
            continue
        which = number[mine] - first
        points[mine] = wanted.values(surface.points, surface.size).reshape(-1, 3)[which]
        square[mine] = wanted.values(normals(surface.points), surface.size).reshape(-1, 3)[which]
        colours[mine] = wanted.values(surface.texture, surface.size).reshape(-1, 3)[which]
        finishes[mine] = (surface.finish.gloss, surface.finish.metal, surface.finish.glow)
    square /= np.maximum(np.linalg.norm(square, axis=1, keepdims=True), 1e-6)
    return _Pixels(size, at, depth, points, square, colours, *finishes.T)


@dataclass(frozen=True)
class _Shade:
    """How far from the light the nearest points are, as the light sees the thing."""

    view: View
    depth: Field
    reach: float

    @staticmethod
    def of(solid: Solid, light: Light) -> "_Shade":
        every = np.vstack([one.points.reshape(-1, 3) for one in solid])
        middle = (every.min(0) + every.max(0)) / 2
        reach = float(np.linalg.norm(every - middle, axis=1).max())
        right = np.cross(light.towards, (0.0, 1.0, 0.0))
        right = right / np.linalg.norm(right)
        up = np.cross(right, light.towards)
        axes = np.stack([right, up, -light.towards], 1).astype(np.float32)

        def view(points: Field) -> tuple[Field, Field]:
            turned = (points - middle.astype(np.float32)) @ axes
            return (turned[:, :2] / reach * 0.48 + 0.5) * _SHADOWS, turned[:, 2] + np.float32(2 * reach)

        nearest = _nearest(solid, view, (_SHADOWS, _SHADOWS), 1.0)[0]
        far = nearest == np.iinfo(np.uint64).max
        depth = np.where(far, np.inf, (nearest >> np.uint64(32)).astype(np.float32) * 1e-6)
        return _Shade(view, depth.reshape(_SHADOWS, _SHADOWS), reach)

    def falls_on(self, points: Field, square: Field) -> Field:
        """1 where the light is kept off by something else, 0 where it gets through, softly between: (n,)."""
        spots, depth = self.view(points + square * np.float32(0.012 * self.reach))
        dark = np.zeros(len(points), np.float32)
        for dx, dy in (
            (0, 0),
            (2.5, 0),
            (-2.5, 0),
            (0, 2.5),
            (0, -2.5),
            (1.8, 1.8),
            (-1.8, -1.8),
            (1.8, -1.8),
            (-1.8, 1.8),
        ):
            x = np.clip(np.rint(spots[:, 0] + dx).astype(int), 0, _SHADOWS - 1)
            y = np.clip(np.rint(spots[:, 1] + dy).astype(int), 0, _SHADOWS - 1)
            dark += self.depth[y, x] < depth - 0.02 * self.reach
        return np.asarray(dark / 9, np.float32)


def _spread(values: Field, pixels: _Pixels) -> Field:
    picture = np.zeros((pixels.size[0] * pixels.size[1], *values.shape[1:]), np.float32)
    picture[pixels.at] = values
    return picture.reshape(*pixels.size, *values.shape[1:])


def _hollows(pixels: _Pixels, reach: float) -> Field:
    """How much of the room's light the neighbourhood takes: 0 in the open, towards 1 in folds and corners, (n,)."""
    small = (pixels.size[1] // 3, pixels.size[0] // 3)
    depth = cv2.resize(_spread(pixels.depth, pixels), small, interpolation=cv2.INTER_AREA)
    there = cv2.resize(_spread(np.ones_like(pixels.depth), pixels), small, interpolation=cv2.INTER_AREA)
    taken = np.zeros_like(depth)
    for sigma in (3.0, 9.0):
        weight = np.maximum(cv2.GaussianBlur(there, (0, 0), sigma), 1e-3)
        around = cv2.GaussianBlur(depth, (0, 0), sigma) / weight
        taken = taken + np.clip((depth / np.maximum(there, 1e-3) - around) / (0.09 * reach), 0, 1) * 0.5
    return np.asarray(cv2.resize(taken, (pixels.size[1], pixels.size[0])).reshape(-1)[pixels.at])


def _mirrored_room(towards: Field, light: Light, ground: Tone) -> Field:
    """What polished things mirror in the directions (n, 3): a pale ceiling, a dark band, softboxes, the ground."""
    up = towards[:, 1]
    brightness = 0.28 + 0.5 * np.clip(up * 1.6, 0, 1) - 0.16 * np.exp(-((up - 0.05) ** 2) / 0.02)
    side = np.clip((towards @ light.towards.astype(np.float32) - 0.7) / 0.2, 0, 1)
    strip = np.exp(-((towards[:, 0] + 0.72 * np.sign(light.towards[0])) ** 2) / 0.02) * (up > -0.2)
    sky = (brightness + 1.0 * side + 0.5 * strip)[:, None] * np.ones(3, np.float32)
    below = np.clip(-up * 4, 0, 1)[:, None]
    return np.asarray(sky + (0.75 * np.asarray(ground, np.float32) - sky) * below, np.float32)


def _lit(pixels: _Pixels, camera: Pinhole, shade: _Shade, light: Light, ground: Tone) -> Field:
    """RGB and coverage (height, width, 4), premultiplied."""
    cos, sin = np.cos(camera.pitch), np.sin(camera.pitch)
    eye = np.array([0, camera.aim + camera.distance * sin, -camera.distance * cos], np.float32)
    to_eye = eye - pixels.points
    to_eye /= np.linalg.norm(to_eye, axis=1, keepdims=True)
    facing = (pixels.normals * to_eye).sum(1)
    square = pixels.normals * np.where(facing < 0, -1, 1)[:, None].astype(np.float32)
    facing = np.abs(facing)
    towards = light.towards.astype(np.float32)
    direct = np.clip(square @ towards, 0, 1) * (1 - shade.falls_on(pixels.points, square))
    low = np.clip(0.63 + 0.37 * square[:, 1], 0, 1)[:, None]
    around = np.asarray(ground, np.float32) * 0.62 * (1 - low) + low
    open_ = 1 - 0.75 * _hollows(pixels, shade.reach)
    ambient = around * (light.room * 1.35 * open_)[:, None]
    mirrored = 2 * facing[:, None] * square - to_eye
    room = _mirrored_room(mirrored, light, ground) * (0.35 + 0.65 * open_)[:, None]
    gloss, metal, glow = (share[:, None] for share in (pixels.gloss, pixels.metal, pixels.glow))
    matt = pixels.colours * (ambient + (light.strength * direct)[:, None])
    half = towards + to_eye
    half /= np.linalg.norm(half, axis=1, keepdims=True)
    lobe = np.clip((square * half).sum(1), 0, 1)[:, None] ** (8 + 70 * gloss**2)
    edge = (0.04 + 0.5 * (1 - facing[:, None]) ** 5) * gloss
    shine = light.strength * direct[:, None] * lobe * gloss * 0.55
    colour = matt * (1 - 0.85 * metal) * (1 - edge) + pixels.colours * metal * room * 1.15 + edge * room
    colour = colour + shine * (1 - metal + metal * pixels.colours)
    colour = colour * (1 - glow) + glow * pixels.colours * 1.1
    return _spread(np.hstack([np.clip(colour, 0, 1.15), np.ones((len(colour), 1), np.float32)]), pixels)


def _on_ground(solid: Solid, camera: Pinhole, light: Light) -> Field:
    """How much darker the ground is under and beside the thing, (height, width), up to about 0.8."""
    small = camera.size[0] // 2, camera.size[1] // 2
    half = Pinhole(
        small,
        camera.focal / 2,
        camera.distance,
        camera.pitch,
        camera.aim,
        (camera.centre[0] / 2, camera.centre[1] / 2),
        camera.roll,
    )
    view = _lens(half)
    tall = max(float(one.points[..., 1].max()) for one in solid)
    away = (-light.towards / light.towards[1]).astype(np.float32)

    def fallen(points: Field) -> tuple[Field, Field]:
        return view(points + points[:, 1:2] * away)

    def below(points: Field) -> tuple[Field, Field]:
        return view(points * np.array([1, 0, 1], np.float32))

    cast = _covered(solid, fallen, small)
    foot = _covered(_foot(solid, 0.12 * tall), below, small)
    wide = 0.012 * small[0]
    soft = 0.45 * cv2.GaussianBlur(cast, (0, 0), 1.2 * wide) + 0.35 * cv2.GaussianBlur(cast, (0, 0), 4.5 * wide)
    contact = cv2.GaussianBlur(foot, (0, 0), wide)
    dark = np.clip(0.5 * soft + 0.4 * contact + 0.25 * cv2.GaussianBlur(foot, (0, 0), 5 * wide), 0, 0.8)
    return np.asarray(cv2.resize(dark, (camera.size[1], camera.size[0]), interpolation=cv2.INTER_LINEAR))


def _covered(solid: Solid, view: View, size: Size) -> Field:
    nearest = _nearest(solid, view, size, 0.9)[0]
    return np.asarray(nearest != np.iinfo(np.uint64).max, np.float32).reshape(size)


def _foot(solid: Solid, height: float) -> Solid:
    """What of it is at most so high: the rows of its grids that come down there."""
    kept = []
    for surface in solid:
        rows = np.flatnonzero((surface.points[..., 1] <= height).any(1))
        if rows.size:
            kept.append(Surface(surface.points[rows[0] : rows[-1] + 1], surface.texture))
    return kept
