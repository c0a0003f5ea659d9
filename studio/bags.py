"""Bags: backpacks, handbags and totes."""

from collections.abc import Callable, Sequence

import numpy as np

from studio import lettering
from studio.cloth import Colour, shifted
from studio.fields import Field, Random
from studio.paints import Paint
from studio.solids import (
    CLOTH,
    LEATHER,
    STEEL,
    Finish,
    Solid,
    Surface,
    dented,
    lofted,
    mottled,
    moved,
    painted,
    rectangle,
    sheet,
    slab,
    spline,
    tube,
    woven,
)

Level = tuple[float, float, float]  # height, half width, half depth

_BRASS: Colour = (0.80, 0.66, 0.36)
_NICKEL: Colour = (0.78, 0.79, 0.80)


def _front(levels: Sequence[Level], square: float) -> Callable[[Field, Field], Field]:
    """How far in front of its axis a lofted body's face is at (x, y)."""
    path = spline(levels, 200)

    def depth(x: Field, y: Field) -> Field:
        wide, deep = np.interp(y, path[:, 0], path[:, 1]), np.interp(y, path[:, 0], path[:, 2])
        share = np.clip(np.abs(x) / np.maximum(wide, 1e-3), 0, 0.995)
        return np.asarray(-deep * (1 - share**square) ** (1 / square))

    return depth


def _sewn_line(path: Field, colour: Colour, width: float = 0.011) -> Surface:
    return tube(path, width, painted(colour), Finish(0.25), sides=10)


def _across(depth: Callable[[Field, Field], Field], knots: Sequence[Sequence[float]], out: float = 0.0) -> Field:
    """A path over a body's face through knots of (x, y)."""
    flat = spline(knots, 60)
    return np.stack([flat[:, 0], flat[:, 1], depth(flat[:, 0], flat[:, 1]) - out], 1)


def _buckle(width: float, height: float, colour: Colour) -> Solid:
    return moved(slab(rectangle(width, height, 0.015), 0.03, painted(colour), STEEL), pitch=-np.pi / 2)


def backpack(form: str, paint: Paint, random: Random) -> Solid:
    """day: rounded, zipped, with an outer pocket. flap: closed by a flap and two straps. slim: boxy, for a laptop."""
    wide, tall, deep = random.uniform(0.44, 0.52), random.uniform(1.3, 1.5), random.uniform(0.2, 0.27)
    cloth = woven(paint.base, random, int(random.integers(70, 130)))
    dark = shifted(paint.base, -0.55) if sum(paint.base) > 0.6 else shifted(paint.base, 0.18)
    square = {"day": 3.2, "flap": 3.6, "slim": 5.5}[form]
    crown = {"day": 0.6, "flap": 0.8, "slim": 0.82}[form]
    levels: list[Level] = [
        (0.0, 0.8 * wide, 0.7 * deep),
        (0.06, 0.96 * wide, 0.98 * deep),
        (0.4 * tall, wide, 1.08 * deep),
        (0.75 * tall, 0.94 * wide, 0.92 * deep),
        (0.93 * tall, crown * wide + 0.06, 0.7 * deep),
        (tall, 0.66 * crown * wide, 0.36 * deep),
    ]
    depth = _front(levels, square)
    solid = [dented(lofted(levels, cloth, CLOTH, square), random, 0.012)]
    if form != "slim":
        solid += _pocket(
            0.7 * wide,
            0.46 * tall,
            0.55 * deep,
            0.06,
            float(depth(np.zeros(1), np.array([0.25]))[0]),
            paint,
            cloth,
            random,
        )
    if form == "flap":
        solid += _flap(wide, tall, deep, depth, paint, random)
    else:
        start, top = 0.34 * tall, 0.95 * tall
        arch = [(-0.86 * wide, start), (-0.84 * wide, 0.7 * tall), (-0.5 * wide, top), (0, 0.985 * tall)]
        arch += [(-x, y) for x, y in reversed(arch[:-1])]
        solid.append(_sewn_line(_across(depth, arch, 0.008), dark, 0.014))
        pull = _across(depth, [(0.42 * wide, 0.93 * tall), (0.44 * wide, 0.86 * tall)], 0.02)
        solid.append(tube(pull, 0.014, painted(_NICKEL), STEEL, 0.5))
    if form == "slim":
        y = 0.55 * tall
        solid.append(_sewn_line(_across(depth, [(-0.8 * wide, y), (0, y), (0.8 * wide, y)], 0.008), dark, 0.014))
        patch = sheet(
            lambda u, v: (
                (u - 0.5) * 0.3,
                0.34 * tall - v * 0.12,
                depth((u - 0.5) * 0.3, 0.34 * tall - v * 0.12) - 0.01,
            ),
            _patch(paint, 0.3 / 0.12),
            LEATHER,
            16,
        )
        solid.append(patch)
    for side in (-1, 1):
        shoulder = [
            (side * 0.2 * wide, 0.94 * tall, 0.6 * deep),
            (side * 0.5 * wide, 0.9 * tall, deep + 0.16),
            (side * 0.86 * wide, 0.55 * tall, deep + 0.22),
            (side * 0.95 * wide, 0.2 * tall, deep + 0.1),
            (side * 0.8 * wide, 0.06 * tall, 0.7 * deep),
        ]
        solid.append(tube(spline(shoulder, 60), 0.075, woven(dark, random, 40), CLOTH, 0.28, up=(1, 0, 0)))
    grab = [(-0.09, 0.97 * tall, 0.3 * deep), (-0.08, tall + 0.09, 0.3 * deep), (0.08, tall + 0.09, 0.3 * deep)]
    solid.append(tube(spline([*grab, (0.09, 0.97 * tall, 0.3 * deep)], 40), 0.032, painted(dark), CLOTH, 0.5))
    return solid


def _patch(paint: Paint, ratio: float) -> Field:
    patch = np.full((120, round(120 * ratio), 3), shifted(paint.accent, -0.1), np.float32)
    words = lettering.fitted(paint.label.brand, patch.shape[1] - 30, 70, paint.typeface, bold=True)
    ink = (0.1, 0.1, 0.1) if sum(paint.accent) > 1.3 else (0.93, 0.92, 0.9)
    lettering.stamp(patch, words, (patch.shape[1] - words.shape[1]) / 2, 10, ink)
    return patch


def _pocket(
    wide: float, tall: float, deep: float, low: float, front: float, paint: Paint, cloth: Field, random: Random
) -> Solid:
    """A pocket with its zip on a body's face."""
    levels: list[Level] = [
        (0.0, 0.84 * wide, 0.6 * deep),
        (0.05, 0.98 * wide, 0.95 * deep),
        (0.5 * tall, wide, deep),
        (0.88 * tall, 0.93 * wide, 0.8 * deep),
        (tall, 0.75 * wide, 0.3 * deep),
    ]
    depth = _front(levels, 3.4)
    y = 0.84 * tall
    zip_ = _across(
        depth, [(-0.92 * wide, 0.72 * tall), (-0.6 * wide, y), (0.6 * wide, y), (0.92 * wide, 0.72 * tall)], 0.006
    )
    pull = _across(depth, [(0.55 * wide, y), (0.57 * wide, y - 0.09)], 0.018)
    solid = [
        dented(lofted(levels, cloth, CLOTH, 3.4), random, 0.008),
        _sewn_line(zip_, shifted(paint.base, -0.6), 0.013),
        tube(pull, 0.012, painted(_NICKEL), STEEL, 0.5),
    ]
    size = (0.26, 0.1)
    at = 0.45 * tall
    solid.append(
        sheet(
            lambda u, v: ((u - 0.5) * size[0], at - v * size[1], depth((u - 0.5) * size[0], at - v * size[1]) - 0.008),
            _patch(paint, size[0] / size[1]),
            LEATHER,
            16,
        )
    )
    return moved(solid, (0, low, front + 0.35 * deep))


def _flap(
    wide: float, tall: float, deep: float, depth: Callable[[Field, Field], Field], paint: Paint, random: Random
) -> Solid:
    """A lid from the back over the top and down the front, held by two straps with buckles."""
    end = 0.5 * tall

    def lid(u: Field, v: Field) -> tuple[Field, Field, Field]:
        x = (u - 0.5) * 2 * 0.9 * wide
        over = np.clip(v / 0.35, 0, 1)
        down = np.clip((v - 0.35) / 0.65, 0, 1)
        y = tall * (0.99 - 0.1 * (np.abs(2 * u - 1) ** 3)) + 0.05 * np.sin(np.pi * over) - down * (tall - end)
        y = y + 0.05 * np.abs(2 * u - 1) ** 6 * down
        front = (
            np.minimum(depth(x * 0.9, np.minimum(y, 0.93 * tall)), -0.45 * deep)
            - 0.04
            - 0.06 * np.sin(np.pi * np.clip(down, 0, 1))
        )
        z = np.where(v < 0.35, 0.5 * deep + (front - 0.5 * deep) * over, front)
        return x, y, z

    solid = [dented(sheet(lid, woven(shifted(paint.base, 0.06), random), CLOTH), random, 0.006)]
    leather = mottled((0.36, 0.22, 0.13), random)
    for side in (-1, 1):
        x = side * 0.45 * wide
        y = np.linspace(0.9 * tall, 0.2 * tall, 50)
        z = np.minimum(depth(np.full(50, x), y), -0.5 * deep) - 0.3 * deep
        solid.append(tube(np.stack([np.full(50, x), y, z - 0.05], 1), 0.045, leather, LEATHER, 0.25, up=(1, 0, 0)))
        solid += moved(_buckle(0.12, 0.1, _BRASS), (x, 0.42 * tall, float(z[30]) - 0.06))
    return solid


def handbag(form: str, paint: Paint, random: Random) -> Solid:
    """structured: two arched handles. satchel: a flap and one handle. baguette: low and wide, under the arm."""
    metal = _BRASS if random.random() < 0.6 else _NICKEL
    wide, tall, deep = {
        "structured": (random.uniform(0.55, 0.66), random.uniform(0.72, 0.86), random.uniform(0.18, 0.24)),
        "satchel": (random.uniform(0.52, 0.62), random.uniform(0.62, 0.74), random.uniform(0.15, 0.2)),
        "baguette": (random.uniform(0.6, 0.7), random.uniform(0.42, 0.5), random.uniform(0.1, 0.15)),
    }[form]
    slope = random.uniform(0.74, 0.92)
    levels: list[Level] = [
        (0.0, 0.95 * wide, 0.9 * deep),
        (0.04, wide, deep),
        (0.5 * tall, (0.5 + 0.5 * slope) * wide, 0.82 * deep),
        (0.92 * tall, slope * wide, 0.42 * deep),
        (tall, (slope - 0.04) * wide, 0.22 * deep),
    ]
    square = 6.0
    depth = _front(levels, square)
    leather = mottled(paint.base, random, 0.04, 30)
    trim = shifted(paint.base, -0.3) if sum(paint.base) > 0.5 else shifted(paint.base, 0.15)
    solid = [dented(lofted(levels, leather, LEATHER, square), random, 0.003, 36)]
    for side in (-1, 1):
        edge = [(side * 0.93 * (wide + (slope - 1) * wide * t), t * tall) for t in (0.04, 0.3, 0.6, 0.93)]
        solid.append(_sewn_line(_across(depth, edge, 0.004), trim))
    if form == "structured":
        solid += _arched(0.45 * wide, tall, random.uniform(0.42, 0.6), deep, trim, metal, random)
        solid.append(
            _sewn_line(
                _across(depth, [(-0.8 * wide, 0.9 * tall), (0, 0.9 * tall), (0.8 * wide, 0.9 * tall)], 0.004), trim
            )
        )
        solid += moved(
            _buckle(0.14, 0.05, metal), (0, 0.72 * tall, float(depth(np.zeros(1), np.array([0.72 * tall]))[0]) - 0.02)
        )
    else:
        solid += _closing(wide, tall, deep, slope, depth, paint, metal, random)
        high = random.uniform(0.3, 0.42) if form == "satchel" else random.uniform(0.5, 0.62)
        reach = 0.35 * wide if form == "satchel" else 0.8 * wide
        bow = [(-reach, 0.96 * tall, 0), (-0.8 * reach, tall + 0.75 * high, 0), (0, tall + high, 0)]
        bow += [(-x, y, z) for x, y, z in reversed(bow[:-1])]
        solid.append(tube(spline(bow, 80), 0.04, mottled(trim, random), LEATHER, 0.6, up=(0, 0, 1)))
        for side in (-1, 1):
            solid += moved(_buckle(0.09, 0.08, metal), (side * reach, 0.97 * tall, -0.03))
    return solid


def _arched(
    reach: float, tall: float, high: float, deep: float, colour: Colour, metal: Colour, random: Random
) -> Solid:
    """Two handles, one before the other, with the rings that hold them."""
    solid: Solid = []
    for z, lean in ((-0.75 * deep, -0.1), (0.55 * deep, 0.12)):
        bow = [(-reach, 0.72 * tall, z), (-reach, tall, 0.8 * z), (-0.75 * reach, tall + 0.75 * high, 0.8 * z + lean)]
        bow += [(0, tall + high, 0.8 * z + 1.4 * lean)]
        bow += [(-x, y, at) for x, y, at in reversed(bow[:-1])]
        solid.append(tube(spline(bow, 90), 0.034, mottled(colour, random), LEATHER, up=(0, 0, 1)))
        for side in (-1, 1):
            solid += moved(_buckle(0.07, 0.11, metal), (side * reach, 0.86 * tall, z - 0.035))
    return solid


def _closing(
    wide: float,
    tall: float,
    deep: float,
    slope: float,
    depth: Callable[[Field, Field], Field],
    paint: Paint,
    metal: Colour,
    random: Random,
) -> Solid:
    """A flap over the front, its lower edge rounded, with its clasp."""
    reach = random.uniform(0.5, 0.62)

    def flap(u: Field, v: Field) -> tuple[Field, Field, Field]:
        side = np.abs(2 * u - 1)
        length = reach * tall * (1 - 0.3 * side**5)
        over = np.clip(v / 0.25, 0, 1)
        down = np.clip((v - 0.25) / 0.75, 0, 1)
        y = tall * 1.0 + 0.03 * np.sin(np.pi * over) - down * length
        x = (2 * u - 1) * wide * (slope + (1 - slope) * down * reach) * 0.99
        front = np.minimum(depth(0.96 * x, np.minimum(y, 0.96 * tall)), -0.2 * deep) - 0.022
        return x, y, np.where(v < 0.25, 0.22 * deep + (front - 0.22 * deep) * over, front)

    y = tall * (1 - reach) + 0.05
    z = float(depth(np.zeros(1), np.array([y]))[0]) - 0.05
    clasp = moved(_buckle(random.uniform(0.1, 0.16), random.uniform(0.07, 0.1), metal), (0, y, z))
    return [sheet(flap, mottled(shifted(paint.base, 0.04), random, 0.04, 30), LEATHER), *clasp]


def tote(form: str, paint: Paint, random: Random) -> Solid:
    """tall, wide or deep: canvas, open at the top, with two long handles; something is printed on the front."""
    wide, tall, deep = {
        "tall": (random.uniform(0.5, 0.56), random.uniform(1.15, 1.25), random.uniform(0.06, 0.1)),
        "wide": (random.uniform(0.66, 0.74), random.uniform(0.9, 1.0), random.uniform(0.1, 0.14)),
        "deep": (random.uniform(0.56, 0.64), random.uniform(0.86, 0.98), random.uniform(0.18, 0.24)),
    }[form]
    levels: list[Level] = [
        (0.0, 0.93 * wide, 0.8 * deep),
        (0.03, 0.97 * wide, deep),
        (0.45 * tall, wide, 1.1 * deep),
        (0.9 * tall, 0.99 * wide, 0.5 * deep),
        (tall, 0.98 * wide, 0.34 * deep),
    ]
    depth = _front(levels, 7.0)
    cloth = woven(paint.base, random, int(random.integers(110, 170)))
    solid = [dented(lofted(levels, _stencilled(cloth, wide, tall, deep, paint, random), CLOTH, 7.0), random, 0.014, 30)]
    hem = 0.93 * tall
    solid.append(
        _sewn_line(
            _across(depth, [(-0.93 * wide, hem), (0, hem), (0.93 * wide, hem)]), shifted(paint.base, -0.15), 0.006
        )
    )
    long = random.uniform(0.5, 0.75)
    handle = paint.base if random.random() < 0.7 else paint.accent
    for z, lean in ((-0.34 * deep - 0.03, -0.06), (0.3 * deep, 0.1)):
        bow = [(-0.42 * wide, 0.86 * tall, z), (-0.42 * wide, tall, z), (-0.34 * wide, tall + 0.75 * long, z + lean)]
        bow += [(0, tall + long, z + 1.5 * lean)]
        bow += [(-x, y, at) for x, y, at in reversed(bow[:-1])]
        solid.append(tube(spline(bow, 90), 0.05, woven(handle, random, 30), CLOTH, 0.16, up=(0, 0, 1)))
    return solid


def _stencilled(cloth: Field, wide: float, tall: float, deep: float, paint: Paint, random: Random) -> Field:
    """Cloth for the whole bag, from its seam at the back all around, with a figure and the brand on its front."""
    around, height = 1400, round(1400 * tall / (4 * (wide + deep)))
    whole = np.ascontiguousarray(np.tile(cloth, (-(-height // 512), 3, 1))[:height, :around])
    side = round(around * 1.1 * wide / (4 * (wide + deep)))
    side = min(side, height - 40)
    art = np.zeros((side, side), np.float32)
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    figure = int(random.integers(3))
    r = np.hypot(x, y + 0.25)
    if figure == 0:
        art[(r < 0.5) & ((y + 0.25) % 0.16 < 0.1)] = 1
    elif figure == 1:
        art[r < 0.32 + 0.16 * np.cos(7 * np.arctan2(y + 0.25, x))] = 1
    else:
        art[np.abs(np.abs(x) + np.abs(y + 0.25) - 0.42) < 0.06] = 1
    words = lettering.fitted(paint.label.brand.upper(), round(0.84 * side), side // 5, paint.typeface, bold=True)
    ink = np.zeros((side, side, 3), np.float32)
    lettering.stamp(ink, words, (side - words.shape[1]) / 2, 0.72 * side, (1.0, 1.0, 1.0))
    art = np.maximum(art, ink[..., 0])[..., None]
    # The texture's first row is the bag's foot.
    top, left = (height - side) // 2, (around - side) // 2
    spot = whole[top : top + side, left : left + side]
    spot += (np.asarray(paint.accent, np.float32) - spot) * art[::-1]
    return whole
