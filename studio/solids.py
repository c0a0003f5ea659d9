"""Solid things as surfaces: grids of points that are turned, swept, lofted or bent, and what they are made of.

Lengths are in units of about two decimetres: x goes right, y up, z away from who looks, and things stand on y = 0.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from studio.cloth import Colour
from studio.fields import Field, Random, Size, cloudy, grain, smooth

Place = tuple[float, float, float]
Knot = tuple[float, float]


@dataclass(frozen=True)
class Finish:
    """How a surface takes light: `gloss` from 0 (cloth) to 1 (glaze), `metal` from 0 to 1 (mirrors the room in its own
    colour), `glow` the share of its colour that shines by itself."""

    gloss: float = 0.1
    metal: float = 0.0
    glow: float = 0.0


CLOTH = Finish(0.03)
LEATHER = Finish(0.3)
PLASTIC = Finish(0.4)
RUBBER = Finish(0.12)
PAPER = Finish(0.05)
GLAZE = Finish(0.85)
STEEL = Finish(0.8, 0.9)
SATIN = Finish(0.45, 0.55)
FOIL = Finish(0.8, 0.25)
SCREEN = Finish(0.5, 0.0, 0.85)


@dataclass(frozen=True)
class Surface:
    """`points` are (rows, columns, 3), evenly spaced enough to be drawn straight between them; `texture` is RGB of any
    size, stretched over them."""

    points: Field
    texture: Field
    finish: Finish = PLASTIC

    @property
    def size(self) -> Size:
        return self.points.shape[0], self.points.shape[1]


Solid = list[Surface]

# Radians by which a closed tube runs on into its own beginning: no seam shows.
OVERLAP = 0.2


# --- colours ----------------------------------------------------------------------------------------------------------


def painted(colour: Colour) -> Field:
    return np.full((2, 2, 3), colour, np.float32)


def mottled(colour: Colour, random: Random, amount: float = 0.05, wavelength: float = 60) -> Field:
    """A colour with stains and specks, as leather, stoneware and brushed metal have."""
    size = (256, 256)
    light = 1 + amount * cloudy(random, size, wavelength, 3) + 0.4 * amount * grain(random, size)
    return np.asarray(np.asarray(colour, np.float32) * light[..., None], np.float32)


def woven(colour: Colour, random: Random, threads: int = 90) -> Field:
    """Canvas or nylon: `threads` across."""
    y, x = np.mgrid[0:512, 0:512].astype(np.float32) * np.float32(np.pi * threads / 512)
    light = (
        0.95 + 0.07 * np.sin(x) * np.sin(y) + 0.05 * grain(random, (512, 512)) + 0.03 * cloudy(random, (512, 512), 120)
    )
    return np.asarray(np.asarray(colour, np.float32) * light[..., None], np.float32)


def brushed(colour: Colour, random: Random) -> Field:
    """Metal with fine scratches along its columns."""
    scratches = cv2.GaussianBlur(grain(random, (256, 256)), (0, 0), sigmaX=12, sigmaY=0.6)
    return np.asarray(np.asarray(colour, np.float32) * (1 + 0.25 * scratches)[..., None], np.float32)


def wooden(colour: Colour, random: Random) -> Field:
    figure = smooth(random, (256, 256), (500, 40)) + 0.5 * smooth(random, (256, 256), (300, 14))
    light = 1 - 0.1 * np.sin(3 * figure) + 0.04 * grain(random, (256, 256))
    return np.asarray(np.asarray(colour, np.float32) * light[..., None], np.float32)


# --- shapes -----------------------------------------------------------------------------------------------------------


def spline(knots: Sequence[Sequence[float]] | Field, count: int) -> Field:
    """(count, dimensions) along a Catmull-Rom spline through the knots, evenly spaced."""
    p = np.asarray(knots, np.float64)
    p = np.vstack([2 * p[0] - p[1], p, 2 * p[-1] - p[-2]])
    t = np.linspace(0, 1, 16, endpoint=False)[:, None, None]
    a, b, c, d = p[:-3], p[1:-2], p[2:-1], p[3:]
    path = 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
    path = np.vstack([path.transpose(1, 0, 2).reshape(-1, p.shape[1]), p[-2:-1]])
    return evenly(path, count)


def evenly(path: Field, count: int) -> Field:
    """A polyline walked in `count` steps of one length."""
    length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(path, axis=0), axis=1))])
    at = np.linspace(0, length[-1], count)
    return np.stack([np.interp(at, length, path[:, k]) for k in range(path.shape[1])], 1)


def turned(
    profile: Sequence[Knot], texture: Field, finish: Finish, columns: int = 72, rows: int = 64, sharp: bool = False
) -> Surface:
    """A profile of (radius, height) turned about the vertical axis; its seam is at the back. `sharp` keeps corners."""
    path = evenly(np.asarray(profile, np.float64), rows) if sharp else spline(profile, rows)
    angle = np.linspace(0, 2 * np.pi, columns)
    x, z = -np.sin(angle), np.cos(angle)
    points = np.stack([path[:, :1] * x, np.repeat(path[:, 1:], columns, 1), path[:, :1] * z], 2)
    return Surface(points.astype(np.float32), texture, finish)


def tube(
    path: Field,
    radius: float | Field,
    texture: Field,
    finish: Finish,
    flat: float = 1.0,
    up: Place = (0.0, 1.0, 0.0),
    sides: int = 20,
) -> Surface:
    """A rod or strap along a path (n, 3) of places, closed at both ends.

    `flat` is its thickness in the direction that is square to the path and to `up`, as a share of that across.
    """
    p = np.asarray(path, np.float64)
    along = np.gradient(p, axis=0)
    along /= np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-9)
    normal = np.asarray(up, np.float64) - along * (along @ np.asarray(up))[:, None]
    # Where the path runs along `up` itself, the frame of the places before leads on.
    normal[0] += 1e-6 * np.array([1.0, 0.3, 0.2])
    for k in range(1, len(p)):
        if np.linalg.norm(normal[k]) < 0.15:
            normal[k] = normal[k - 1] - along[k] * (normal[k - 1] @ along[k])
        normal[k] /= max(float(np.linalg.norm(normal[k])), 1e-9)
        if normal[k] @ normal[k - 1] < 0:
            normal[k] *= -1
    normal[0] /= np.linalg.norm(normal[0])
    across = np.cross(along, normal)
    angle = np.linspace(0, 2 * np.pi, sides)
    r = np.broadcast_to(np.asarray(radius, np.float64), (len(p),)).copy()
    ring = np.cos(angle)[None, :, None] * normal[:, None] + flat * np.sin(angle)[None, :, None] * across[:, None]
    points = p[:, None] + r[:, None, None] * ring
    points = np.concatenate([np.repeat(p[:1, None], sides, 1), points, np.repeat(p[-1:, None], sides, 1)])
    return Surface(points.astype(np.float32), texture, finish)


def ring(radius: float, thickness: float, texture: Field, finish: Finish, flat: float = 1.0) -> Surface:
    """A torus that lies on y = 0 about the origin."""
    angle = np.linspace(0, 2 * np.pi + OVERLAP, 73)
    path = np.stack([radius * np.sin(angle), np.zeros(73), radius * np.cos(angle)], 1)
    return tube(path, thickness, texture, finish, flat)


def ball(radius: float, texture: Field, finish: Finish, squash: Place = (1.0, 1.0, 1.0)) -> Surface:
    """A sphere about the origin, or an ellipsoid; its texture is a map of longitude and latitude."""
    angle = np.linspace(np.pi / 2, -np.pi / 2, 60)
    profile = [(float(radius * np.cos(a)), float(radius * np.sin(a))) for a in angle]
    surface = turned(profile, texture, finish, sharp=True)
    return replace(surface, points=surface.points * np.asarray(squash, np.float32))


def lofted(
    levels: Sequence[tuple[float, float, float]], texture: Field, finish: Finish, square: float = 4.0, rows: int = 72
) -> Surface:
    """A closed body through levels of (height, half width, half depth), each a superellipse of the power `square`.

    The texture's middle column is the front; it has its seam at the back.
    """
    path = spline(levels, rows)
    path = np.vstack([path[0] * (1, 0, 0), path, path[-1] * (1, 0, 0)])
    angle = np.linspace(0, 2 * np.pi, 97)
    sin, cos = -np.sin(angle), np.cos(angle)
    x = np.sign(sin) * np.abs(sin) ** (2 / square)
    z = np.sign(cos) * np.abs(cos) ** (2 / square)
    outline = evenly(np.stack([x, z], 1), 97)
    outline[0] = outline[-1] = (0, 1)
    points = np.stack(
        [
            np.maximum(path[:, 1:2], 0) * outline[:, 0],
            np.repeat(path[:, :1], 97, 1),
            np.maximum(path[:, 2:], 0) * outline[:, 1],
        ],
        2,
    )
    return Surface(points.astype(np.float32), texture, finish)


def slab(outline: Field, thickness: float, texture: Field, finish: Finish, bevel: float = 0.02) -> Surface:
    """A plate on y = 0 whose outline (n, 2) of x and z can be seen whole from its middle; its edge is rounded."""
    o = np.asarray(outline, np.float64)
    o = evenly(np.vstack([o, o[:1]]), 97)
    middle = o[:-1].mean(0)
    reach = np.linalg.norm(o - middle, axis=1).min()
    quarter = np.linspace(0, np.pi / 2, 6)
    b = min(bevel, thickness / 2)
    edge = [(1 - b * (1 - np.sin(a)) / reach, thickness - b * (1 - np.cos(a))) for a in quarter]
    rows = [(0.0, thickness), (0.5, thickness), *edge, *((s, thickness - y) for s, y in reversed(edge)), (0.0, 0.0)]
    path = evenly(np.array(rows), 48)
    path[-1] = rows[-1]
    flat = middle + path[:, :1, None] * (o - middle)[None]
    points = np.stack([flat[..., 0], np.repeat(path[:, 1:], len(o), 1), flat[..., 1]], 2)
    return Surface(points.astype(np.float32), texture, finish)


def rectangle(width: float, depth: float, corner: float) -> Field:
    """An outline for `slab`, with round corners, about the origin."""
    w, d = width / 2 - corner, depth / 2 - corner
    angle = np.linspace(0, np.pi / 2, 8)
    turns = [
        (x * w + corner * np.cos(angle + start), z * d + corner * np.sin(angle + start))
        for x, z, start in ((1, 1, 0), (-1, 1, np.pi / 2), (-1, -1, np.pi), (1, -1, 1.5 * np.pi))
    ]
    return np.vstack([np.stack(turn, 1) for turn in turns])


def disc(radius: float) -> Field:
    """An outline for `slab`."""
    angle = np.linspace(0, 2 * np.pi, 96, endpoint=False)
    return radius * np.stack([np.sin(angle), np.cos(angle)], 1)


def sheet(
    shape: Callable[[Field, Field], tuple[Field, Field, Field]], texture: Field, finish: Finish, count: int = 64
) -> Surface:
    """A bent sheet: `shape` gives x, y and z for u, left to right, and v, top to bottom, both from 0 to 1."""
    v, u = np.mgrid[0 : 1 : count * 1j, 0 : 1 : count * 1j]
    x, y, z = shape(u, v)
    return Surface(np.stack(np.broadcast_arrays(x, y, z), 2).astype(np.float32), texture, finish)


def face(width: float, height: float, texture: Field, finish: Finish) -> Surface:
    """An upright flat sheet on y = 0 that looks at who looks."""
    return sheet(lambda u, v: ((u - 0.5) * width, (1 - v) * height, np.zeros_like(u)), texture, finish, 12)


# --- moving -----------------------------------------------------------------------------------------------------------


def moved(
    surfaces: Surface | Iterable[Surface], to: Place = (0, 0, 0), pitch: float = 0, yaw: float = 0, roll: float = 0
) -> Solid:
    """Turned about x (`pitch`: what is upright leans away), then z (`roll`), then y (`yaw`), then shifted; radians."""
    cx, sx, cy, sy, cz, sz = (f(a) for a in (pitch, yaw, roll) for f in (np.cos, np.sin))
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    turn = (about_y @ about_z @ about_x).astype(np.float32)
    shift = np.asarray(to, np.float32)
    each = [surfaces] if isinstance(surfaces, Surface) else surfaces
    return [replace(one, points=one.points @ turn.T + shift) for one in each]


def scaled(surfaces: Iterable[Surface], by: float | Place) -> Solid:
    factor = np.asarray(by, np.float32)
    return [replace(one, points=one.points * factor) for one in surfaces]


def standing(surfaces: Sequence[Surface]) -> Solid:
    """Set down, so that the lowest point is at y = 0 and the middle of the thing on the vertical axis."""
    every = np.vstack([one.points.reshape(-1, 3) for one in surfaces])
    low, high = every.min(0), every.max(0)
    middle = (low + high) / 2
    return moved(surfaces, (-float(middle[0]), -float(low[1]), -float(middle[2])))


def dented(surface: Surface, random: Random, amount: float, wavelength: float = 24) -> Surface:
    """Cloth, leather and foil don't keep their shape: points go in and out by about `amount`, over so many rows."""
    rows, columns = surface.points.shape[:2]
    bumps = smooth(random, (rows, columns), (wavelength * 1.3, wavelength), random.uniform(0, 3))
    bumps = bumps + 0.4 * smooth(random, (rows, columns), wavelength / 2.5, random.uniform(0, 3))
    bumps[:, -1] = bumps[:, 0]
    return replace(surface, points=surface.points + (amount * bumps)[..., None] * normals(surface.points))


def normals(points: Field) -> Field:
    """Unit vectors square to a grid of points; where the grid shrinks to one point, those beside it."""
    down, right = np.gradient(points, axis=0), np.gradient(points, axis=1)
    square = np.cross(down, right)
    length = np.linalg.norm(square, axis=2, keepdims=True)
    unit = square / np.maximum(length, 1e-12)
    thin = length[..., 0].mean(1) < 1e-3 * length.mean()
    if thin.any() and not thin.all():
        good = np.flatnonzero(~thin)
        unit[thin] = unit[good[np.abs(good[None] - np.flatnonzero(thin)[:, None]).argmin(1)]]
    return np.asarray(unit, np.float32)
