"""What is worn, listened to, played or worked with: watches, sunglasses, headphones, laptops, balls, scissors."""

import cv2
import numpy as np

from studio import lettering
from studio.cloth import Colour, shifted
from studio.fields import Field, Random, grain, ramp, smooth
from studio.paints import Paint
from studio.solids import (
    LEATHER,
    OVERLAP,
    PLASTIC,
    RUBBER,
    SATIN,
    SCREEN,
    STEEL,
    Finish,
    Solid,
    Surface,
    ball,
    brushed,
    disc,
    mottled,
    moved,
    painted,
    rectangle,
    ring,
    sheet,
    slab,
    spline,
    tube,
    turned,
)

_STEEL: Colour = (0.80, 0.81, 0.82)
_GOLD: Colour = (0.85, 0.68, 0.36)
_BLACK: Colour = (0.06, 0.06, 0.065)
_GLASS = Finish(0.95)


def _flat(width: float, depth: float, texture: Field, finish: Finish) -> Surface:
    """A sheet on y = 0 that is read from the front."""
    return sheet(lambda u, v: ((u - 0.5) * width, np.zeros_like(u), (0.5 - v) * depth), texture, finish, 24)


def _dial(radius: float, picture: Field, finish: Finish) -> Surface:
    """A round sheet on y = 0 with a square picture on it, whose corners are lost."""
    count = 80
    v, u = np.mgrid[-1 : 1 : count * 1j, -1 : 1 : count * 1j].astype(np.float32)
    # The square's grid pressed into the disc; the picture is bent so that it comes out straight.
    x, y = u * np.sqrt(1 - v**2 / 2), v * np.sqrt(1 - u**2 / 2)
    side = picture.shape[0]
    places = [cv2.resize((1 + one) / 2 * (side - 1), (side, side)).astype(np.float32) for one in (x, y)]
    bent = cv2.remap(picture, places[0], places[1], cv2.INTER_LINEAR)
    points = np.stack([radius * x, np.zeros_like(x), -radius * y], 2)
    return Surface(points.astype(np.float32), bent, finish)


# --- watches ----------------------------------------------------------------------------------------------------------


def watch(form: str, paint: Paint, random: Random) -> Solid:
    """field: numerals, a leather strap. chrono: three small dials, a steel bracelet. dress: bare and thin. digital: a
    screen in resin. They stand on their closed straps."""
    gold = random.random() < 0.35 and form != "chrono"
    metal = _GOLD if gold else _STEEL
    radius = {"field": 0.3, "chrono": 0.34, "dress": 0.28, "digital": 0.32}[form] * random.uniform(0.94, 1.06)
    solid: Solid = []
    if form == "digital":
        case = slab(rectangle(2.05 * radius, 2.2 * radius, 0.35 * radius), 0.17, painted(paint.base), PLASTIC, 0.05)
        solid.append(case)
        solid += moved(_flat(1.62 * radius, 1.62 * radius, _digits(paint, random), _GLASS), (0, 0.174, 0))
        for x in (-1, 1):
            for z in (-1, 1):
                pusher = slab(disc(0.05), 0.07, painted(_STEEL), STEEL)
                solid += moved(pusher, (x * (1.02 * radius), 0.09, z * 0.45 * radius), roll=-x * np.pi / 2)
    else:
        profile = [(radius * 0.9, 0.0), (radius, 0.04), (radius, 0.13), (radius * 0.94, 0.17), (radius * 0.86, 0.155)]
        solid.append(turned(profile, painted(metal), STEEL, 96, 40, sharp=True))
        solid += moved(_dial(0.88 * radius, _clock(form, paint, metal, random), Finish(0.5)), (0, 0.152, 0))
        crown = turned([(0.0, 0.09), (0.05, 0.085), (0.055, 0.0)], brushed(metal, random), STEEL, sharp=True)
        solid += moved(crown, (radius, 0.09, 0), roll=-np.pi / 2)
        if form == "chrono":
            for place in (-0.55, 0.55):
                pusher = turned([(0.0, 0.09), (0.035, 0.085), (0.035, 0.0)], painted(metal), STEEL, sharp=True)
                solid += moved(pusher, (0.86 * radius, 0.09, place * radius), roll=-np.pi / 2)
        for x in (-1, 1):
            for z in (-1, 1):
                lug = spline(
                    [(x * 0.5 * radius, 0.1, z * 0.82 * radius), (x * 0.5 * radius, 0.06, z * 1.28 * radius)], 16
                )
                solid.append(tube(lug, 0.05, painted(metal), STEEL, 0.8))
    solid.append(_loop(form, paint, radius, metal, random))
    return moved(solid, pitch=random.uniform(0.1, 0.5) - np.pi / 2)


def _loop(form: str, paint: Paint, radius: float, metal: Colour, random: Random) -> Surface:
    """The straps closed behind the watch, as about a wrist."""
    wide, deep = radius * random.uniform(0.5, 0.6), random.uniform(0.95, 1.15)
    texture, finish = _strap_texture(form, paint, metal, random)
    half = [(0.1, 0.85), (0.08, 1.1), (-0.06, 1.4), (-0.5 * deep, 1.75), (-0.85 * deep, 1.3)]
    path = [(0, y, z * radius) for y, z in half]
    path += [(0, -deep, 0.0)] + [(0, y, -z * radius) for y, z in reversed(half)]
    narrow = np.interp(np.linspace(-1, 1, 140), [-1, -0.8, 0, 0.8, 1], [1.1, 1.0, 0.8, 1.0, 1.1])
    return tube(spline(path, 140), wide * narrow, texture, finish, 0.11, up=(1, 0, 0), sides=40)


def _strap_texture(form: str, paint: Paint, metal: Colour, random: Random) -> tuple[Field, Finish]:
    """Along its rows the strap, along its columns around it."""
    y, x = np.mgrid[0:600, 0:200]
    if form == "chrono":
        link = (y % 40) < 34
        middle = np.abs(((x + 50) % 100) - 50) < 18
        shade = np.where(link, np.where(middle, 1.05, 0.85), 0.25).astype(np.float32)
        return np.asarray(np.asarray(metal, np.float32) * shade[..., None]), SATIN
    if form == "digital":
        groove = 0.85 + 0.15 * ((y % 60) < 50)
        return np.asarray(np.asarray(paint.base, np.float32) * groove[..., None], np.float32), RUBBER
    leather = cv2.resize(mottled(paint.base, random, 0.06, 20), (200, 600))
    seam = (np.abs(((x + 50) % 100) - 50) > 34) & (np.abs(((x + 50) % 100) - 50) < 38) & ((y % 14) < 9)
    leather[seam] = shifted(paint.base, 0.45)
    return leather, LEATHER


def _clock(form: str, paint: Paint, metal: Colour, random: Random) -> Field:
    side = 520
    tones = ((0.95, 0.95, 0.93), (0.07, 0.07, 0.08), (0.10, 0.14, 0.26), shifted(paint.accent, -0.1))
    ground = tones[int(random.integers(4))]
    pale = sum(ground) > 1.5
    ink: Colour = (0.1, 0.1, 0.11) if pale else (0.94, 0.94, 0.92)
    plate = np.full((side, side, 3), ground, np.float32)
    plate *= (1 + 0.08 * ramp((side, side), 0.8))[..., None]
    middle = side / 2

    def at(turn: float, r: float) -> tuple[int, int]:
        x, y = middle + r * middle * np.sin(turn), middle - r * middle * np.cos(turn)
        return round(x * 16), round(y * 16)

    def hand(turn: float, length: float, width: int, colour: Colour, tail: float = 0.12) -> None:
        cv2.line(plate, at(turn + np.pi, tail), at(turn, length), colour, width, cv2.LINE_AA, 4)

    for minute in range(60):
        turn = minute * np.pi / 30
        if form != "dress":
            cv2.line(plate, at(turn, 0.92), at(turn, 0.97), ink, 2 if minute % 5 else 4, cv2.LINE_AA, 4)
        if minute % 5:
            continue
        hour = minute // 5 or 12
        if form == "field":
            words = lettering.line(str(hour), 62, paint.typeface, bold=True)
            x, y = middle + 0.74 * middle * np.sin(turn), middle - 0.74 * middle * np.cos(turn)
            lettering.stamp(plate, words, x - words.shape[1] / 2, y - words.shape[0] * 0.48, ink)
        else:
            start = 0.76 if form == "chrono" else 0.72
            cv2.line(plate, at(turn, start), at(turn, 0.9), ink, 12 if form == "chrono" else 6, cv2.LINE_AA, 4)
    if form == "chrono":
        for dx, dy in ((-0.42, 0.0), (0.42, 0.0), (0.0, 0.42)):
            cx, cy = middle * (1 + dx), middle * (1 + dy)
            tone = shifted(ground, 0.12 if not pale else -0.1)
            cv2.circle(plate, (round(cx), round(cy)), round(0.2 * middle), tone, -1, cv2.LINE_AA)
            cv2.circle(plate, (round(cx), round(cy)), round(0.2 * middle), ink, 2, cv2.LINE_AA)
            turn = random.uniform(0, 6.28)
            tip = (round(cx + 0.16 * middle * np.sin(turn)), round(cy - 0.16 * middle * np.cos(turn)))
            cv2.line(plate, (round(cx), round(cy)), tip, ink, 3, cv2.LINE_AA)
    name = lettering.fitted(paint.label.brand.upper(), 190, 34, paint.typeface, bold=True)
    lettering.stamp(plate, name, middle - name.shape[1] / 2, middle * 0.6, ink)
    past = float(random.uniform(8, 12) if random.random() < 0.6 else random.uniform(0, 60))
    hours = float(random.integers(1, 12)) + past / 60
    shine = metal if not pale and form != "field" else ink
    hand(hours * np.pi / 6, 0.48, 15 if form != "dress" else 8, shine)
    hand(past * np.pi / 30, 0.76, 11 if form != "dress" else 6, shine)
    hand(random.uniform(0, 6.28), 0.84, 3, (0.8, 0.15, 0.1), 0.25)
    cv2.circle(plate, (round(middle), round(middle)), 12, shine, -1, cv2.LINE_AA)
    return plate


def _digits(paint: Paint, random: Random) -> Field:
    side = 420
    plate = np.full((side, side, 3), _BLACK, np.float32)
    name = lettering.fitted(paint.label.brand.upper(), 260, 44, paint.typeface, bold=True)
    lettering.stamp(plate, name, (side - name.shape[1]) / 2, 22, (0.9, 0.9, 0.88))
    cv2.rectangle(plate, (14, 12), (side - 14, side - 14), paint.accent, 5, cv2.LINE_AA)
    screen: Colour = (0.66, 0.70, 0.60) if random.random() < 0.7 else (0.05, 0.06, 0.06)
    ink: Colour = (0.1, 0.12, 0.1) if screen[0] > 0.5 else (0.75, 0.95, 0.9)
    cv2.rectangle(plate, (36, 100), (side - 36, 330), screen, -1)
    hour, minute = int(random.integers(1, 13)), int(random.integers(60))
    _seven(plate, f"{hour:2}:{minute:02}", 48, 165, 62, 120, 13, ink)
    _seven(plate, f"{int(random.integers(1, 29)):2}", 270, 112, 24, 42, 5, ink)
    words = lettering.line(
        ("SU", "MO", "TU", "WE", "TH", "FR", "SA")[int(random.integers(7))], 44, paint.typeface, True
    )
    lettering.stamp(plate, words, 60, 102, ink)
    foot = lettering.fitted("WATER RESIST", 280, 34, paint.typeface)
    lettering.stamp(plate, foot, (side - foot.shape[1]) / 2, 340, (0.85, 0.85, 0.83))
    return plate


_SEGMENTS = {
    "0": "abcdef", "1": "bc", "2": "abged", "3": "abgcd", "4": "fgbc", "5": "afgcd", "6": "afgedc", "7": "abc",
    "8": "abcdefg", "9": "abcdfg", " ": "",
}  # fmt: skip


def _seven(plate: Field, digits: str, x: int, y: int, wide: int, tall: int, thick: int, ink: Colour) -> None:
    """Digits of seven bars."""
    for digit in digits:
        if digit == ":":
            for dy in (0.3, 0.7):
                cv2.circle(plate, (x + thick, y + round(dy * tall)), thick // 2 + 2, ink, -1, cv2.LINE_AA)
            x += 3 * thick
            continue
        half = tall // 2
        bars = {
            "a": ((0, 0), (wide, 0)), "b": ((wide, 0), (wide, half)), "c": ((wide, half), (wide, tall)),
            "d": ((0, tall), (wide, tall)), "e": ((0, half), (0, tall)), "f": ((0, 0), (0, half)),
            "g": ((0, half), (wide, half)),
        }  # fmt: skip
        for bar in _SEGMENTS[digit]:
            (x0, y0), (x1, y1) = bars[bar]
            gap = thick // 2 + 1
            dx, dy = (gap, 0) if y0 == y1 else (0, gap)
            cv2.line(plate, (x + x0 + dx, y + y0 + dy), (x + x1 - dx, y + y1 - dy), ink, thick, cv2.LINE_AA)
        x += round(wide * 1.1) + thick


# --- sunglasses -------------------------------------------------------------------------------------------------------

_LENSES = {
    "wayfarer": [(0.1, 0.2), (0.5, 0.25), (0.92, 0.22), (0.88, -0.1), (0.62, -0.27), (0.3, -0.25), (0.12, -0.05)],
    "round": [(0.5 + 0.34 * np.cos(a), 0.34 * np.sin(a)) for a in np.linspace(0, 2 * np.pi, 9)[:-1]],
    "aviator": [(0.12, 0.2), (0.5, 0.27), (0.88, 0.2), (0.86, -0.05), (0.7, -0.3), (0.46, -0.37), (0.24, -0.2)],
}


def sunglasses(form: str, paint: Paint, random: Random) -> Solid:
    """wayfarer: a thick plastic frame. round and aviator: wire frames."""
    thick = form == "wayfarer"
    frame = painted(paint.base if thick else (_GOLD if random.random() < 0.5 else _STEEL))
    finish = Finish(0.7) if thick else STEEL
    width = random.uniform(0.026, 0.036) if thick else 0.016
    tint = ((0.05, 0.05, 0.06), (0.10, 0.07, 0.05), (0.06, 0.09, 0.07), (0.05, 0.07, 0.12))[int(random.integers(4))]
    fade = np.linspace(0.8, 2.4, 64, dtype=np.float32)[:, None, None] * np.asarray(tint, np.float32)
    lens_texture = np.repeat(fade, 64, 1)
    bend = random.uniform(0.12, 0.2)
    solid: Solid = []
    outline = np.array(_LENSES[form])
    loop = spline(np.vstack([outline, outline[:1], outline[1:2]]), 180)
    closes = int(np.argmin(np.linalg.norm(loop[90:] - outline[0], axis=1))) + 90
    loop = loop[: closes + 1]

    def curved(x: Field, y: Field) -> Field:
        return np.stack([x, y, bend * x**2], -1)

    for side in (-1, 1):
        rim = curved(side * loop[:, 0], loop[:, 1])
        solid.append(tube(rim, width, frame, finish, 1.3 if thick else 1.0, up=(0, 0, 1)))
        middle = outline.mean(0)
        share = np.linspace(1, 0, 24)[:, None, None]
        flat = middle + share * (loop - middle)
        lens = curved(side * flat[..., 0], flat[..., 1])
        lens[..., 2] -= 0.03 * (1 - share[..., 0] ** 2)
        solid.append(Surface(lens.astype(np.float32), lens_texture, _GLASS))
        hinge = (side * 0.95, 0.17, bend * 0.9 + 0.02)
        end = (side * 0.93, random.uniform(-0.1, -0.05), 1.55)
        temple = spline(
            [(side * 0.88, 0.17, bend * 0.75), hinge, (side * 0.97, 0.16, 1.1), end, (side * 0.9, -0.25, 1.8)], 80
        )
        solid.append(tube(temple, 0.042 if thick else 0.02, frame, finish, 0.5, up=(0, 1, 0)))
    bridge = [(-0.14, 0.12, 0.01), (0, 0.17, -0.02), (0.14, 0.12, 0.01)]
    solid.append(tube(spline(bridge, 30), width * 1.1, frame, finish, up=(0, 0, 1)))
    if form == "aviator":
        solid.append(tube(spline([(-0.4, 0.26, 0.03), (0, 0.27, -0.01), (0.4, 0.26, 0.03)], 30), width, frame, finish))
    return solid


# --- headphones -------------------------------------------------------------------------------------------------------


def headphones(form: str, paint: Paint, random: Random) -> Solid:
    """studio: large oval cups. on-ear: small round ones on a thin band. boom: with a microphone."""
    cup = {
        "studio": random.uniform(0.36, 0.42),
        "on-ear": random.uniform(0.26, 0.3),
        "boom": random.uniform(0.34, 0.4),
    }[form]
    oval = 1.18 if form == "studio" else 1.0
    half, rise = random.uniform(0.56, 0.64), random.uniform(0.75, 0.85)
    dark = shifted(paint.base, -0.5)
    angle = np.linspace(-np.pi / 2, np.pi / 2, 90)
    arch = np.stack([half * np.sin(angle), 0.55 + rise * np.cos(angle), np.zeros(90)], 1)
    solid = [tube(arch, 0.13 if form != "on-ear" else 0.075, painted(paint.base), PLASTIC, 0.22, up=(0, 0, 1))]
    pad = np.stack([0.95 * half * np.sin(angle), 0.5 + 0.97 * rise * np.cos(angle), np.zeros(90)], 1)[22:-22]
    solid.append(tube(pad, 0.14 if form != "on-ear" else 0.07, mottled(dark, random), LEATHER, 0.45, up=(0, 0, 1)))
    metal = random.random() < 0.5
    for side in (-1, 1):
        fork = spline([(side * half, 0.62, 0), (side * (half + 0.03), 0.35, 0), (side * (half + 0.02), 0.1, 0)], 30)
        solid.append(
            tube(fork, 0.05, painted(_STEEL if metal else dark), STEEL if metal else PLASTIC, 0.4, up=(0, 0, 1))
        )
        profile = [(0.0, 0.2), (0.55 * cup, 0.19), (0.9 * cup, 0.13), (cup, 0.06), (0.97 * cup, 0.0)]
        shell = [turned(profile, painted(paint.base), PLASTIC)]
        cap = [(0.0, 0.225), (0.5 * cup, 0.215), (0.52 * cup, 0.19)]
        shell.append(turned(cap, brushed(paint.accent if random.random() < 0.5 else _STEEL, random), SATIN))
        cushion = ring(
            0.74 * cup, 0.3 * cup, mottled(_BLACK if random.random() < 0.7 else dark, random, 0.03), LEATHER, 1.0
        )
        shell += moved(cushion, (0, -0.04, 0))
        shell.append(turned([(0.0, -0.02), (0.7 * cup, -0.02)], painted((0.03, 0.03, 0.03)), RUBBER))
        shell = [Surface(one.points * np.array([1, 1, oval], np.float32), one.texture, one.finish) for one in shell]
        lean = random.uniform(-0.1, 0.1)
        # The caps look outwards, the cushions at each other.
        solid += moved(moved(shell, roll=-side * np.pi / 2), (side * (half - 0.02), 0.08, 0), pitch=np.pi / 2, yaw=lean)
    if form == "boom":
        arm = [(-half, 0.0, -0.1), (-half + 0.02, -0.25, -0.4), (-0.25, -0.33, -0.62)]
        solid.append(tube(spline(arm, 40), 0.025, painted(_BLACK), RUBBER))
        solid += moved(ball(0.06, painted(_BLACK), RUBBER), arm[-1])
    return solid


# --- laptops ----------------------------------------------------------------------------------------------------------


def laptop(form: str, paint: Paint, random: Random) -> Solid:
    """slim: thin, narrow edges. office: thicker, with a wide frame about its screen. Open."""
    wide, deep = random.uniform(1.5, 1.7), random.uniform(1.02, 1.12)
    thick, frame = (0.05, 0.035) if form == "slim" else (0.1, 0.07)
    shell: Colour = ((0.74, 0.75, 0.76), (0.2, 0.2, 0.21), (0.55, 0.56, 0.58), paint.base)[int(random.integers(4))]
    texture = mottled(shell, random, 0.01)
    solid = [slab(rectangle(wide, deep, 0.06), thick, texture, SATIN)]
    solid += moved(_flat(0.88 * wide, 0.5 * deep, _keys(shell, random), PLASTIC), (0, thick + 0.003, 0.16 * deep))
    pad = shifted(shell, -0.08)
    solid += moved(slab(rectangle(0.34 * wide, 0.27 * deep, 0.02), 0.004, painted(pad), SATIN), (0, thick, -0.3 * deep))
    lid = moved(slab(rectangle(wide, deep, 0.06), 0.03, texture, SATIN), (0, 0, deep / 2))
    border = moved(_flat(0.985 * wide, 0.98 * deep, painted(_BLACK), Finish(0.6)), (0, 0.032, deep / 2))
    shown = _screen(paint, random)
    screen = moved(_flat(wide - 2 * frame, deep - 2.4 * frame, shown, SCREEN), (0, 0.035, deep / 2 + 0.2 * frame))
    lean = random.uniform(0.1, 0.45)
    # Turned up about the hinge, its screen towards who looks.
    solid += moved([*lid, *border, *screen], (0, thick, deep / 2), pitch=-(np.pi / 2 - lean))
    return solid


def _keys(shell: Colour, random: Random) -> Field:
    deck = np.full((330, 880, 3), shifted(shell, -0.25), np.float32)
    key = _BLACK if random.random() < 0.8 or sum(shell) < 0.9 else (0.9, 0.9, 0.9)
    ink = (0.85, 0.85, 0.85) if key == _BLACK else (0.2, 0.2, 0.2)
    letters = iter("QWERTYUIOPASDFGHJKLZXCVBNM" * 3)
    for row, tall in enumerate((34, 56, 56, 56, 56, 56)):
        y = 6 + (0 if row == 0 else 38 + 58 * (row - 1) - 2)
        widths = [60] * 14 if row != 5 else [60, 60, 60, 60, 360, 60, 60, 60, 60]
        if row in (2, 3, 4):
            widths = [60 + 22 * (row - 1), *[60] * 11, 880 - 12 * 60 - 22 * (row - 1) - 30]
        x = 8
        for width in widths:
            if x + 20 > 872:
                break
            cv2.rectangle(deck, (x, y), (min(x + width - 6, 872), y + tall - 6), key, -1, cv2.LINE_AA)
            if width == 60 and row:
                glyph = lettering.line(next(letters), 20)
                lettering.stamp(deck, glyph, x + 20, y + 12, ink)
            x += width + 2
    return deck


def _screen(paint: Paint, random: Random) -> Field:
    """A wallpaper, and a window or two of text or bars."""
    tall, wide = 420, 680
    low, high = np.asarray(paint.base, np.float32), np.asarray(paint.accent, np.float32)
    hills = np.clip(0.5 + 0.3 * smooth(random, (tall, wide), (500, 240), 0.5) + 0.4 * ramp((tall, wide), 1.2), 0, 1)
    shown = low * 0.8 + 0.1 + (high - low) * 0.8 * hills[..., None]
    shown = np.asarray(shown, np.float32)
    for _ in range(int(random.integers(0, 3))):
        x, y = int(random.integers(20, 300)), int(random.integers(20, 140))
        right, bottom = x + int(random.integers(220, 350)), y + int(random.integers(150, 240))
        cv2.rectangle(shown, (x, y), (right, bottom), (0.96, 0.96, 0.97), -1)
        cv2.rectangle(shown, (x, y), (right, y + 20), (0.82, 0.83, 0.85), -1)
        for k in range(int(random.integers(4, 8))):
            end = x + 16 + int(random.integers(60, right - x - 30))
            cv2.rectangle(shown, (x + 14, y + 36 + 16 * k), (end, y + 42 + 16 * k), (0.45, 0.47, 0.5), -1)
    cv2.rectangle(shown, (0, tall - 26), (wide, tall), (0.12, 0.13, 0.15), -1)
    for k in range(8):
        r, g, b = (float(c) for c in random.uniform(0.3, 0.95, 3))
        cv2.rectangle(shown, (220 + 30 * k, tall - 22), (240 + 30 * k, tall - 4), (r, g, b), -1)
    return np.clip(shown, 0, 1)


# --- balls ------------------------------------------------------------------------------------------------------------


def sports_ball(form: str, paint: Paint, random: Random) -> Solid:
    """football: pentagons and hexagons. basketball: black seams on pebbled orange. tennis: felt with one seam. beach:
    bands from pole to pole."""
    lat, lon = np.mgrid[np.pi / 2 : -np.pi / 2 : 500j, -np.pi : np.pi : 1000j]
    way = np.stack([np.cos(lat) * np.sin(lon), np.sin(lat), np.cos(lat) * np.cos(lon)], 2)
    speck = grain(random, (500, 1000))[..., None]
    if form == "football":
        texture, finish = _patches(way, paint), Finish(0.4)
    elif form == "basketball":
        texture = np.full((500, 1000, 3), (0.72, 0.34, 0.14), np.float32) * (1 + 0.1 * speck)
        bent = np.abs(way[..., 0] ** 2 - 0.36 - 0.55 * way[..., 1] ** 2) / 1.3
        seam = np.minimum(np.minimum(np.abs(way[..., 1]), np.abs(way[..., 2])), bent) < 0.016
        texture[seam] = (0.05, 0.05, 0.05)
        finish = Finish(0.2)
    elif form == "tennis":
        texture = np.full((500, 1000, 3), (0.78, 0.86, 0.25), np.float32) * (1 + 0.16 * speck)
        seam = np.abs(way[..., 1] - 0.62 * np.sin(2 * np.arctan2(way[..., 2], way[..., 0]))) < 0.035
        texture[seam] = (0.94, 0.94, 0.9)
        finish = Finish(0.02)
    else:
        colours = np.array([paint.base, (0.95, 0.95, 0.94), paint.accent, (0.95, 0.95, 0.94)], np.float32)
        band = np.floor((lon + np.pi) / (2 * np.pi) * 8).astype(int) % 4
        texture = colours[band]
        texture[np.abs(way[..., 1]) > 0.97] = (0.95, 0.95, 0.94)
        finish = Finish(0.7)
    tumbled = moved(
        ball(0.6, np.asarray(texture, np.float32), finish), pitch=random.uniform(-3, 3), roll=random.uniform(-3, 3)
    )
    return moved(tumbled, yaw=random.uniform(-3, 3))


def _patches(way: Field, paint: Paint) -> Field:
    """A truncated icosahedron: black where a corner of the icosahedron is near, seams between its faces."""
    golden = (1 + 5**0.5) / 2
    corners = [p for a in (-1, 1) for b in (-golden, golden) for p in ((0, a, b), (a, b, 0), (b, 0, a))]
    unit = np.array(corners) / np.hypot(1, golden)
    faces = []
    for i in range(12):
        for j in range(i):
            for k in range(j):
                near = unit[i] @ unit[j] > 0.4 and unit[j] @ unit[k] > 0.4 and unit[i] @ unit[k] > 0.4
                if near:
                    middle = unit[i] + unit[j] + unit[k]
                    faces.append(middle / np.linalg.norm(middle))
    to_corner = np.sort(way @ unit.T, axis=2)[..., -1]
    to_face = np.sort(way @ np.array(faces).T, axis=2)
    # A face of pentagon or hexagon is as far out as its own middle's nearness says; both meet where those are equal.
    pentagon, hexagon = (
        np.degrees(np.arccos(np.clip(to_corner, -1, 1))),
        np.degrees(np.arccos(np.clip(to_face[..., -1], -1, 1))),
    )
    next_ = np.degrees(np.arccos(np.clip(to_face[..., -2], -1, 1)))
    dark = pentagon - hexagon < -3.2
    seam = ((np.abs(pentagon - hexagon + 3.2) < 1.0) | (np.abs(next_ - hexagon) < 1.1)) & ~dark
    texture = np.full((*way.shape[:2], 3), (0.94, 0.94, 0.93), np.float32)
    texture[seam] = (0.55, 0.55, 0.55)
    texture[dark] = _BLACK if sum(paint.base) > 1.2 else paint.base
    return cv2.GaussianBlur(texture, (0, 0), 1.0)


# --- scissors ---------------------------------------------------------------------------------------------------------


def scissors(form: str, paint: Paint, random: Random) -> Solid:
    """office: like loops. tailor: one loop for the thumb, a long one for the fingers. craft: short, with round tips.
    They lie flat, open by some angle."""
    long = {"office": random.uniform(1.0, 1.2), "tailor": random.uniform(1.2, 1.4), "craft": random.uniform(0.6, 0.75)}[
        form
    ]
    wide = {"office": 0.085, "tailor": 0.105, "craft": 0.085}[form]
    opened = random.uniform(0.08, 0.4)
    steel = brushed((0.78, 0.79, 0.8), random)
    grip = painted(paint.base)
    solid: Solid = []
    for side in (-1, 1):
        tip = 0.03 if form == "craft" else 0.008
        outline = [(-1, -0.1), (-1, 0.1), (-0.8, 0.6 * long), (0.2 - tip / wide, long), (0.2 + tip / wide, long)]
        outline += [(0.35, 0.4 * long), (0.6, 0.05), (0.5, -0.1)]
        blade = np.array([(side * wide * x, z) for x, z in outline])
        half = moved(slab(blade, 0.03, steel, STEEL, 0.012), (0, 0.02 + 0.016 * side, 0))
        finger = form == "tailor" and side > 0
        rx, rz = (0.17, 0.34) if finger else (0.17, 0.22)
        at = (side * 0.24, 0.04, -0.5 - rz)
        angle = np.linspace(0, 2 * np.pi + OVERLAP, 73)
        loop = np.stack([at[0] + rx * np.cos(angle), np.full(73, at[1]), at[2] + rz * np.sin(angle)], 1)
        half.append(tube(loop, 0.05, grip, PLASTIC, 1.2))
        shank = spline([(-side * 0.02, 0.04, -0.06), (side * 0.06, 0.04, -0.3), (side * 0.14, 0.04, -0.56)], 40)
        half.append(tube(shank, np.linspace(0.06, 0.055, 40), grip, PLASTIC, 0.8))
        solid += moved(half, yaw=side * opened / 2 - side * 0.05)
    screw = turned([(0.0, 0.09), (0.04, 0.085), (0.05, 0.05)], painted(_STEEL), STEEL, sharp=True)
    return [*solid, *moved(screw, (0, 0, 0.1))]
