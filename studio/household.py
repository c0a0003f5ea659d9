"""What stands in a home: mugs, pots and pans, lamps, chairs."""

import numpy as np

from studio import lettering
from studio.cloth import Colour, shifted
from studio.fields import Field, Random
from studio.paints import Paint
from studio.solids import (
    CLOTH,
    GLAZE,
    PLASTIC,
    SATIN,
    STEEL,
    Finish,
    Knot,
    Solid,
    brushed,
    disc,
    lofted,
    mottled,
    moved,
    painted,
    rectangle,
    ring,
    slab,
    spline,
    tube,
    turned,
    wooden,
    woven,
)

_STEEL: Colour = (0.80, 0.80, 0.80)
_WOODS: tuple[Colour, ...] = ((0.62, 0.42, 0.25), (0.42, 0.26, 0.15), (0.78, 0.62, 0.43))


def mug(form: str, paint: Paint, random: Random) -> Solid:
    """straight, barrel, tapered or bell: glazed, with one handle, and something printed on some."""
    wide, tall = random.uniform(0.38, 0.46), random.uniform(0.85, 1.1)
    outer: list[Knot] = [
        (wide * r, tall * y)
        for r, y in {
            "straight": [(0.94, 0.0), (1.0, 0.04), (1.0, 0.3), (1.0, 0.6), (1.0, 0.98)],
            "barrel": [(0.72, 0.0), (0.86, 0.08), (1.05, 0.35), (1.08, 0.6), (0.98, 0.98)],
            "tapered": [(0.68, 0.0), (0.74, 0.04), (0.84, 0.35), (0.94, 0.7), (1.02, 0.98)],
            "bell": [(0.62, 0.0), (0.66, 0.06), (0.8, 0.25), (0.9, 0.6), (1.1, 0.98)],
        }[form]
    ]
    path = [(float(r), float(y)) for r, y in spline(outer, 40)]
    lip = path[-1][0]
    inner = [(r - 0.045, y) for r, y in reversed(path) if y > 0.07]
    profile = [(0.0, 0.0), *path, (lip - 0.012, tall), (lip - 0.03, tall), *inner, (0.0, 0.06)]
    inside = paint.base if random.random() < 0.5 else (0.93, 0.92, 0.9)
    texture = _glazed(paint, inside, len(path) / len(profile), random)
    body = turned(profile, texture, GLAZE, columns=96, rows=110, sharp=True)

    def wall(y: float) -> float:
        return float(np.interp(y * tall, [at for _, at in path], [r for r, _ in path])) - 0.03

    top, low, out = random.uniform(0.78, 0.86), random.uniform(0.2, 0.3), random.uniform(0.26, 0.34)
    bow = [(wall(top), top * tall, 0), (wall(top) + 0.6 * out, (top + 0.03) * tall, 0)]
    bow += [(wall(top) + out, 0.62 * tall, 0), (wall(low) + 0.85 * out, 0.4 * tall, 0), (wall(low), low * tall, 0)]
    handle = tube(spline(bow, 60), random.uniform(0.045, 0.062), painted(paint.base), GLAZE, 1.5, up=(0, 0, 1))
    return [body, handle]


def _glazed(paint: Paint, inside: Colour, outside: float, random: Random) -> Field:
    """From the foot over the rim to the inner bottom; what is printed is on both flanks."""
    sheet_ = np.empty((600, 900, 3), np.float32)
    edge = round(600 * 0.55)
    sheet_[:] = inside
    sheet_[:edge] = paint.base
    style = int(random.integers(4))
    if style == 1:
        sheet_[round(edge * 0.62) : round(edge * 0.7)] = paint.accent
    elif style == 2:
        words = lettering.fitted(paint.label.title.upper(), 190, 60, paint.typeface, bold=True)
        for middle in (300, 600):
            part = sheet_[round(edge * 0.45) : round(edge * 0.8)][::-1]
            lettering.stamp(part, words, middle - words.shape[1] / 2, 10, paint.accent)
    elif style == 3:
        y, x = np.mgrid[0:edge, 0:900]
        dots = np.hypot((x % 60) - 30, (y % 60) - 30) < 11
        sheet_[:edge][dots] = paint.accent
    return sheet_


def pot(form: str, paint: Paint, random: Random) -> Solid:
    """stewpot: two ears and a lid. saucepan: one long handle. frying: flat, with one long handle."""
    steel = random.random() < 0.5
    colour: Colour = _STEEL if steel else paint.base
    finish = STEEL if steel else GLAZE
    body_texture = brushed(colour, random) if steel else mottled(colour, random, 0.02)
    wide = random.uniform(0.6, 0.72)
    tall = {"stewpot": random.uniform(0.62, 0.85), "saucepan": random.uniform(0.48, 0.62), "frying": 0.16}[form]
    flare = 1.18 if form == "frying" else 1.0
    black = (0.06, 0.06, 0.065)
    outer: list[Knot] = [(0.0, 0.0), (wide * 0.93, 0.0), (wide, 0.06), (wide * flare, tall)]
    inner: list[Knot] = [
        (wide * flare + 0.03, tall + 0.02),
        (wide * flare - 0.02, tall),
        (wide - 0.03, 0.06),
        (0, 0.03),
    ]
    lining = painted(black) if form == "frying" or not steel else brushed((0.7, 0.7, 0.7), random)
    solid = [turned(outer, body_texture, finish, 96, 60, sharp=True)]
    solid.append(turned(inner, lining, Finish(0.35) if form == "frying" else STEEL, 96, 60, sharp=True))
    grip = black if random.random() < 0.7 or form == "frying" else _WOODS[0]
    if form == "stewpot":
        for side in (-1, 1):
            x, y = side * wide, 0.75 * tall
            ear = [(x * 0.98, y, -0.16), (x + side * 0.16, y + 0.02, -0.14), (x + side * 0.2, y + 0.02, 0)]
            ear += [(px, py, -pz) for px, py, pz in reversed(ear[:-1])]
            solid.append(tube(spline(ear, 40), 0.035, painted(_STEEL if steel else black), finish, up=(0, 1, 0)))
    else:
        long, y = random.uniform(0.9, 1.15), 0.8 * tall
        start = wide * flare
        arm = spline([(start - 0.03, y, 0), (start + 0.2, y + 0.1, 0), (start + long, y + 0.2, 0)], 60)
        width = np.interp(np.linspace(0, 1, 60), [0, 0.2, 0.4, 0.9, 1], [0.03, 0.035, 0.06, 0.07, 0.045])
        solid.append(tube(arm, width, painted(grip), PLASTIC, 0.5, up=(0, 0, 1)))
        solid.append(tube(arm[:16], 0.036, painted(_STEEL), STEEL, 0.6, up=(0, 0, 1)))
    if form != "frying" and (form == "stewpot" or random.random() < 0.4):
        lid: list[Knot] = [
            (wide * 1.02, tall + 0.02),
            (wide * 0.9, tall + 0.08),
            (0.3, tall + 0.15),
            (0.0, tall + 0.16),
        ]
        solid.append(turned(lid, body_texture, finish, 96, 40))
        knob: list[Knot] = [
            (0.05, tall + 0.15),
            (0.045, tall + 0.21),
            (0.11, tall + 0.26),
            (0.09, tall + 0.31),
            (0, tall + 0.32),
        ]
        solid.append(turned(knob, painted(black if not steel else _STEEL), finish))
    return moved(solid, yaw=random.uniform(-0.5, 0.5))


def lamp(form: str, paint: Paint, random: Random) -> Solid:
    """drum or cone: a shade on a turned foot. desk: a jointed arm with a metal head."""
    if form == "desk":
        return _desk_lamp(paint, random)
    tall, wide = random.uniform(0.75, 1.0), random.uniform(0.2, 0.3)
    foots: tuple[list[Knot], ...] = (
        [(0.0, 0.0), (wide, 0.0), (wide, 0.04), (0.06, 0.1), (0.035, 0.2), (0.03, 0.7), (0.03, 1.0)],
        [
            (0.0, 0.0),
            (0.7 * wide, 0.0),
            (0.8 * wide, 0.05),
            (1.25 * wide, 0.4),
            (0.7 * wide, 0.75),
            (0.09, 0.9),
            (0.05, 1.0),
        ],
        [
            (0.0, 0.0),
            (wide, 0.0),
            (wide, 0.05),
            (0.4 * wide, 0.14),
            (0.75 * wide, 0.35),
            (0.3 * wide, 0.6),
            (0.05, 1.0),
        ],
    )
    foot = foots[int(random.integers(3))]
    lit = random.random() < 0.6
    profile = [(r, y * tall) for r, y in foot]
    ceramic = random.random() < 0.6
    solid = [
        turned(
            profile[1:],
            mottled(paint.base, random, 0.03) if ceramic else brushed((0.75, 0.62, 0.38), random),
            GLAZE if ceramic else SATIN,
            sharp=False,
        )
    ]
    high = random.uniform(0.5, 0.65)
    low_r = random.uniform(0.42, 0.55)
    top_r = low_r * (random.uniform(0.88, 1.0) if form == "drum" else random.uniform(0.4, 0.6))
    start = tall - 0.1
    linen = shifted(paint.accent, 0.5) if sum(paint.accent) > 1.2 else (0.93, 0.88, 0.78)
    texture = woven(linen, random, 60)
    if lit:
        fall = np.linspace(0.75, 1.12, 256, dtype=np.float32)
        warm = np.concatenate([fall, fall[::-1]])[:, None, None] * np.array([1.08, 1.0, 0.82], np.float32)
        texture = np.clip(texture * warm, 0, 1.1).astype(np.float32)
    shade = [(low_r, start), ((low_r + top_r) / 2, start + high / 2), (top_r, start + high)]
    solid.append(turned(shade, texture, Finish(0.03, 0, 0.75 if lit else 0.15), 96))
    for r, y in ((low_r, start), (top_r, start + high)):
        solid += moved(ring(r, 0.012, painted(shifted(linen, -0.1)), CLOTH), (0, y, 0))
    solid.append(
        turned(
            [(0.03, tall - 0.1), (0.03, start + high + 0.02), (0.0, start + high + 0.06)],
            painted((0.7, 0.6, 0.4)),
            STEEL,
        )
    )
    return solid


def _desk_lamp(paint: Paint, random: Random) -> Solid:
    base = turned([(0.0, 0.06), (0.2, 0.055), (0.3, 0.04), (0.31, 0.0)], painted(paint.base), PLASTIC)
    lean = random.uniform(0.3, 0.5)
    elbow = (-lean, 0.75, 0.0)
    head = (elbow[0] + random.uniform(0.6, 0.75), random.uniform(1.15, 1.35), 0.0)
    rods = [tube(spline([(0, 0.03, 0), elbow], 30), 0.022, painted(_STEEL), STEEL)]
    rods.append(tube(spline([elbow, head], 30), 0.022, painted(_STEEL), STEEL))
    joint = moved(slab(disc(0.05), 0.08, painted(paint.base), PLASTIC), elbow, pitch=np.pi / 2)
    shade: list[Knot] = [(0.05, 0.3), (0.09, 0.26), (0.12, 0.14), (0.26, 0.0)]
    inner: list[Knot] = [(0.25, 0.0), (0.11, 0.14), (0.0, 0.2)]
    hood = [turned(shade, painted(paint.base), GLAZE), turned(inner, painted((1.0, 0.96, 0.85)), Finish(0.2, 0, 0.8))]
    hood = moved(hood, (head[0] + 0.06, head[1] - 0.16, 0), roll=random.uniform(0.25, 0.5))
    return [base, *rods, *joint, *hood]


def chair(form: str, paint: Paint, random: Random) -> Solid:
    """slat: wooden, with bars in its back. padded: cushions on wooden legs. folding: crossed legs, plain boards."""
    wood = (
        wooden(_WOODS[int(random.integers(3))], random)
        if form != "folding" or random.random() < 0.6
        else painted(paint.base)
    )
    if form == "folding":
        return _folding(paint, wood, random)
    w, d, high = random.uniform(0.42, 0.48), random.uniform(0.4, 0.46), 0.92
    solid: Solid = []
    out = 0.1 if form == "padded" else 0.02
    for x in (-1, 1):
        for z in (-1, 1):
            leg = spline([(x * (w - 0.08), high, z * (d - 0.08)), (x * (w - 0.06 + out), 0, z * (d - 0.06 + out))], 40)
            solid.append(tube(leg, np.linspace(0.045, 0.032, 40), wood, Finish(0.25)))
    if form == "padded":
        return solid + _padded(w, d, high, paint, random)
    seat = slab(
        rectangle(2 * w, 2 * d, 0.08), 0.07, wood if random.random() < 0.5 else woven(paint.base, random), CLOTH
    )
    solid += moved(seat, (0, high - 0.02, 0))
    top = random.uniform(1.0, 1.15)
    for x in (-1, 1):
        post = spline(
            [(x * (w - 0.05), high, d - 0.06), (x * (w - 0.05), high + 0.5, d), (x * (w - 0.04), high + top, d + 0.14)],
            40,
        )
        solid.append(tube(post, 0.042, wood, Finish(0.25)))
    across = random.random() < 0.5
    for level in (0.35, 0.6, 0.85) if across else (0.16, 0.88):
        z = d + 0.14 * (level / top) ** 1.5
        bar = spline(
            [(-w + 0.05, high + level * top, z), (0, high + level * top, z + 0.05), (w - 0.05, high + level * top, z)],
            40,
        )
        solid.append(tube(bar, 0.075, wood, Finish(0.25), 0.25, up=(0, 1, 0)))
    if not across:
        for x in np.linspace(-0.6, 0.6, 4) * w:
            rod = spline([(x, high + 0.17 * top, d + 0.04), (x, high + 0.87 * top, d + 0.15)], 20)
            solid.append(tube(rod, 0.026, wood, Finish(0.25)))
    for x in (-1, 1):
        solid.append(
            tube(
                spline([(x * (w - 0.06), 0.4, -d + 0.08), (x * (w - 0.06), 0.4, d - 0.08)], 20),
                0.025,
                wood,
                Finish(0.25),
            )
        )
    return solid


def _padded(w: float, d: float, high: float, paint: Paint, random: Random) -> Solid:
    """A cushion to sit on, and one that leans behind it."""
    cloth = woven(paint.base, random, 60)
    seat = lofted(
        [(0.0, 0.94 * w, 0.94 * d), (0.06, w, d), (0.12, 0.99 * w, 0.98 * d), (0.16, 0.8 * w, 0.8 * d)], cloth, CLOTH, 5
    )
    tall, deep = random.uniform(0.85, 1.05), 0.09
    levels = [(0.0, 0.8 * w, 0.6 * deep), (0.05, 0.92 * w, deep), (0.6 * tall, 1.0 * w, deep)]
    levels += [(0.93 * tall, 0.86 * w, 0.8 * deep), (tall, 0.6 * w, 0.3 * deep)]
    back = moved(lofted(levels, cloth, CLOTH, 4), (0, high + 0.06, d - 0.06), pitch=random.uniform(0.12, 0.22))
    return [*moved(seat, (0, high - 0.06, 0)), *back]


def _folding(paint: Paint, wood: Field, random: Random) -> Solid:
    w, top = random.uniform(0.4, 0.46), random.uniform(1.75, 1.95)
    solid: Solid = []
    for x in (-w, w):
        solid.append(tube(spline([(x, 0, -0.45), (x, top, 0.5)], 40), 0.038, wood, Finish(0.25)))
        solid.append(tube(spline([(0.9 * x, 0, 0.45), (0.9 * x, 0.98, -0.3)], 40), 0.034, wood, Finish(0.25)))
    seat = slab(rectangle(2 * w - 0.1, 0.75, 0.05), 0.05, woven(paint.base, random), CLOTH)
    solid += moved(seat, (0, 0.92, 0), pitch=0.06)
    for y in (0.8, 0.93):
        z = -0.45 + 0.95 * y
        bar = spline([(-w, y * top, z), (0, y * top, z + 0.05), (w, y * top, z)], 30)
        solid.append(tube(bar, 0.085, wood, Finish(0.25), 0.22, up=(0, 1, 0)))
    for y, z in ((0.25, -0.31), (0.2, 0.3)):
        solid.append(tube(spline([(-w, y, z), (w, y, z)], 20), 0.025, wood, Finish(0.25)))
    return solid
