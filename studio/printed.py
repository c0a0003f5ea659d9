"""Things that say what they are: books with their titles, packets of snacks with their brands."""

import cv2
import numpy as np

from studio import lettering
from studio.cloth import Colour, shifted
from studio.fields import Field, Random, Size, cloudy, smooth
from studio.paints import Paint
from studio.solids import FOIL, PAPER, Finish, Solid, face, moved, painted, sheet


def book(form: str, paint: Paint, random: Random) -> Solid:
    """hardback: boards over the pages' edge. paperback: thin and flush. album: broad and thin. Standing, shut."""
    wide, tall, deep = {
        "hardback": (random.uniform(0.74, 0.82), random.uniform(1.1, 1.2), random.uniform(0.12, 0.22)),
        "paperback": (random.uniform(0.66, 0.72), random.uniform(1.0, 1.1), random.uniform(0.12, 0.2)),
        "album": (random.uniform(1.0, 1.1), random.uniform(1.0, 1.15), random.uniform(0.08, 0.12)),
    }[form]
    gloss = Finish(0.35 if random.random() < 0.6 else 0.08)
    over = 0.025 if form != "paperback" else 0.0
    front = _cover(form, paint, wide / tall, random)
    back = np.full((8, 8, 3), paint.base, np.float32)
    solid = moved(face(wide, tall, front, gloss), (0, 0, -deep / 2)) + moved(
        face(wide, tall, back, gloss), (0, 0, deep / 2)
    )
    spine = face(deep, tall, _spine(paint, deep / tall), gloss)
    solid += moved(spine, (-wide / 2, 0, 0), yaw=np.pi / 2)
    leaves = _leaves(random)
    inner = deep - 0.03
    solid += moved(face(inner, tall - 2 * over, leaves, PAPER), (wide / 2 - over, over, 0), yaw=np.pi / 2)
    for y in (over, tall - over):
        top = sheet(
            lambda u, v: ((u - 0.5) * (wide - over), 0 * u, (0.5 - v) * inner), leaves.transpose(1, 0, 2), PAPER, 12
        )
        solid += moved(top, (-over / 2, y, 0))
    edge = painted(shifted(paint.base, -0.1))
    for z in (-deep / 2 + 0.008, deep / 2 - 0.008):
        for x in (wide / 2,):
            solid += moved(face(0.016, tall, edge, gloss), (x, 0, z), yaw=np.pi / 2)
    return solid


def _leaves(random: Random) -> Field:
    lines = 0.86 + 0.09 * random.random((1, 60, 1)) * np.ones((32, 1, 3))
    return np.asarray(lines * np.array([1.0, 0.97, 0.9]), np.float32)


def _spine(paint: Paint, ratio: float) -> Field:
    tall = 900
    wide = max(40, round(tall * ratio))
    spine = np.full((wide, tall, 3), shifted(paint.base, -0.12), np.float32)
    ink = _ink(paint.base)
    words = lettering.fitted(paint.label.title, round(0.6 * tall), round(0.55 * wide), paint.typeface, bold=True)
    lettering.stamp(spine, words, 0.06 * tall, (wide - words.shape[0]) / 2, ink)
    name = lettering.fitted(paint.label.brand, round(0.25 * tall), round(0.36 * wide), paint.typeface)
    lettering.stamp(spine, name, 0.7 * tall, (wide - name.shape[0]) / 2, ink)
    return np.ascontiguousarray(spine.transpose(1, 0, 2)[:, ::-1])


def _ink(ground: Colour) -> Colour:
    return (0.96, 0.95, 0.91) if sum(ground) < 1.7 else (0.1, 0.1, 0.13)


_BLURBS = ("a novel", "with forty pictures", "the second book of three", "new, revised edition", "stories")


def _cover(form: str, paint: Paint, ratio: float, random: Random) -> Field:
    """A picture, the title in large letters, the author."""
    tall = 900
    wide = round(tall * ratio)
    picture = int(random.integers(4))
    cover = np.full((tall, wide, 3), paint.base, np.float32)
    if picture == 0:
        _hills(cover, paint, random)
    elif picture == 1:
        band = cover[round(0.4 * tall) : round(0.86 * tall)]
        band[:] = _blurred(paint.accent, (band.shape[0], wide), random)
    elif picture == 2:
        _portrait(cover, paint, random)
    else:
        _town(cover, paint, random)
    dark = picture in (0, 3)
    ink = _ink(shifted(paint.base, 0.35) if picture == 0 else paint.base)
    words = paint.label.title.split(" ")
    middle = (len(words) + 1) // 2
    rows = [" ".join(part) for part in (words[:middle], words[middle:]) if part]
    block = lettering.stacked(rows, round(0.78 * wide), paint.typeface)
    if block.shape[0] > 0.3 * tall:
        block = cv2.resize(block, (round(block.shape[1] * 0.3 * tall / block.shape[0]), round(0.3 * tall)))
    lettering.stamp(cover, block, (wide - block.shape[1]) / 2, 0.08 * tall, ink)
    blurb = _BLURBS[int(random.integers(len(_BLURBS)))]
    line = lettering.fitted(blurb, round(0.7 * wide), 30, paint.typeface, italic=True)
    lettering.stamp(cover, line, (wide - line.shape[1]) / 2, 0.03 * tall, ink)
    name = lettering.fitted(paint.label.brand, round(0.7 * wide), round(0.07 * tall), paint.typeface)
    low_ink = _ink(shifted(paint.base, -0.5)) if dark else ink
    lettering.stamp(cover, name, (wide - name.shape[1]) / 2, 0.875 * tall, low_ink)
    return np.clip(cover, 0, 1)


def _blurred(colour: Colour, size: Size, random: Random, amount: float = 1.0) -> Field:
    """A photograph of nothing that can be told: patches of light, out of focus."""
    light = 0.9 + amount * (0.22 * smooth(random, size, random.uniform(200, 400)) - 0.1)
    tint = amount * np.stack([0.06 * smooth(random, size, 300) for _ in range(3)], 2)
    specks = 0.1 * amount * cloudy(random, size, random.uniform(80, 250))[..., None]
    return np.asarray(np.clip(np.asarray(colour) * (light[..., None] + tint) + specks, 0, 1), np.float32)


def _hills(cover: Field, paint: Paint, random: Random) -> None:
    """Ridges in the haze under a sun."""
    tall, wide = cover.shape[:2]
    cover[:] = _blurred(shifted(paint.base, 0.3), (tall, wide), random, 0.5)
    centre = (round(random.uniform(0.3, 0.7) * wide), round(0.5 * tall))
    cv2.circle(cover, centre, round(0.1 * wide), shifted(paint.accent, 0.3), -1, cv2.LINE_AA)
    x = np.arange(wide)
    for k, share in enumerate((0.05, -0.25, -0.5, -0.7)):
        ridge = tall * (0.55 + 0.08 * k) + 0.04 * tall * np.sin(x / wide * random.uniform(4, 9) + random.uniform(0, 6))
        ridge += 12 * smooth(random, (1, wide), random.uniform(40, 90))[0]
        line = np.concatenate([np.stack([x, ridge], 1), [[wide, tall], [0, tall]]])
        mask = np.zeros((tall, wide), np.uint8)
        cv2.fillPoly(mask, [line.astype(np.int32)], 255, cv2.LINE_AA)
        hill = _blurred(shifted(paint.base, share), (tall, wide), random, 0.7)
        cover += (hill - cover) * (mask[..., None] / np.float32(255))


def _portrait(cover: Field, paint: Paint, random: Random) -> None:
    """Somebody's head and shoulders against the light."""
    tall, wide = cover.shape[:2]
    cover[round(0.4 * tall) :] = _blurred(paint.accent, (tall - round(0.4 * tall), wide), random)
    mask = np.zeros((tall, wide), np.uint8)
    x, turn = round(random.uniform(0.42, 0.58) * wide), random.uniform(-12, 12)
    size = round(0.13 * tall)
    cv2.ellipse(mask, (x, round(0.6 * tall)), (round(0.78 * size), size), turn, 0, 360, 255, -1, cv2.LINE_AA)
    cv2.ellipse(mask, (x, round(0.7 * tall)), (round(0.32 * size), size), 0, 0, 360, 255, -1, cv2.LINE_AA)
    cv2.ellipse(mask, (x, round(0.96 * tall)), (round(2.1 * size), round(1.6 * size)), 0, 0, 360, 255, -1, cv2.LINE_AA)
    soft = cv2.GaussianBlur(mask, (0, 0), 4)[..., None] / np.float32(255)
    figure = _blurred(shifted(paint.base, -0.55), (tall, wide), random)
    cover += (figure - cover) * soft
    cover[round(0.86 * tall) :] = paint.base


def _town(cover: Field, paint: Paint, random: Random) -> None:
    """Lit windows under an evening sky."""
    tall, wide = cover.shape[:2]
    cover[:] = _blurred(paint.base, (tall, wide), random, 0.5)
    cover *= np.linspace(1.1, 0.7, tall, dtype=np.float32)[:, None, None]
    left = 0
    while left < wide:
        house, roof = int(random.uniform(0.07, 0.16) * wide), int(random.uniform(0.42, 0.68) * tall)
        tone = shifted(paint.base, -random.uniform(0.55, 0.8))
        cv2.rectangle(cover, (left, roof), (left + house, tall), tone, -1)
        for window in range(roof + 16, round(0.84 * tall), 28):
            for edge in range(left + 8, left + house - 10, 18):
                if random.random() < 0.5:
                    glow = shifted(paint.accent, float(random.uniform(-0.3, 0.5)))
                    cv2.rectangle(cover, (edge, window), (edge + 8, window + 13), glow, -1)
        left += house


def packet(form: str, paint: Paint, random: Random) -> Solid:
    """A bag of foil, crimped at head and foot. pillow: upright. wide: across. small: narrow, for one person."""
    wide, tall = {
        "pillow": (random.uniform(0.78, 0.86), random.uniform(1.1, 1.25)),
        "wide": (random.uniform(1.0, 1.1), random.uniform(0.9, 1.0)),
        "small": (random.uniform(0.62, 0.7), random.uniform(0.95, 1.05)),
    }[form]
    deep = random.uniform(0.17, 0.25)
    seal = 0.075
    front = _wrapper(paint, wide / tall, random)
    back = np.full((64, 64, 3), paint.base, np.float32)
    wrinkles = _wrinkles(random)
    solid: Solid = []
    for side, texture in ((-1, front), (1, back)):

        def bulged(u: Field, v: Field, side: int = side) -> tuple[Field, Field, Field]:
            s = np.abs(2 * u - 1)
            inner = np.clip((v - seal) / (1 - 2 * seal), 0, 1)
            end = np.sin(np.pi * inner) ** 0.55
            full = deep * np.sqrt(np.clip(1 - s**2.2, 0, 1)) * end
            draw = 1 - 0.1 * end * (1 - 0.3 * s)
            crimp = np.where((v < seal) | (v > 1 - seal), 0.006 * np.sin(v * 420), 0.0)
            ruck = wrinkles * np.sqrt(np.clip(full / deep, 0, 1)) * 0.03
            sag = 0.015 * np.sin(2 * np.pi * u) * (1 - inner)
            return (u - 0.5) * wide * draw, (1 - v) * tall + sag, side * (full + ruck) + crimp

        solid.append(sheet(bulged, texture, FOIL, wrinkles.shape[0]))
    return solid


def _wrinkles(random: Random) -> Field:
    """Radiating from the seals, where the foil is gathered, and shallow dents between."""
    size = 144
    v, u = np.mgrid[0 : 1 : size * 1j, 0 : 1 : size * 1j]
    dents = smooth(random, (size, size), (46, 30), random.uniform(0, 3)) * 0.5
    gathers = np.zeros((size, size))
    for _ in range(14):
        at, lean, wide = random.uniform(0.03, 0.97), random.normal(0, 0.12), random.uniform(0.012, 0.03)
        top = random.random() < 0.5
        down = v if top else 1 - v
        fade = np.exp(-down / random.uniform(0.12, 0.3))
        gathers += np.exp(-(((u - at - lean * down) / wide) ** 2)) * fade * random.choice([-1.2, 1.2])
    return np.asarray(dents + gathers, np.float32)


def _wrapper(paint: Paint, ratio: float, random: Random) -> Field:
    """The brand on a patch, the product, a heap of crisps, and the weight."""
    tall = 1000
    wide = round(tall * ratio)
    wrap = np.full((tall, wide, 3), paint.base, np.float32)
    wrap += (np.asarray(shifted(paint.base, 0.4), np.float32) - wrap) * np.clip(
        1 - np.hypot(*np.meshgrid(np.linspace(-1, 1, wide), np.linspace(-1, 1, tall))), 0, 1
    )[..., None].astype(np.float32)
    t = np.linspace(0, 1, 40)
    swing = random.uniform(-0.08, 0.08)
    wave = np.stack([t * wide, tall * (0.56 + swing * np.sin(t * 6.3))], 1)
    cv2.fillPoly(
        wrap, [np.vstack([wave, [[wide, tall], [0, tall]]]).astype(np.int32)], shifted(paint.base, -0.3), cv2.LINE_AA
    )
    tilt = random.uniform(-12, 4)
    patch = (round(wide / 2), round(0.27 * tall))
    cv2.ellipse(
        wrap, patch, (round(0.43 * wide), round(0.13 * tall)), tilt, 0, 360, shifted(paint.accent, 0.6), -1, cv2.LINE_AA
    )
    cv2.ellipse(wrap, patch, (round(0.4 * wide), round(0.115 * tall)), tilt, 0, 360, paint.accent, -1, cv2.LINE_AA)
    words = lettering.fitted(paint.label.brand, round(0.66 * wide), 150, paint.typeface, bold=True, italic=True)
    lettering.stamp(wrap, words, (wide - words.shape[1]) / 2, 0.27 * tall - words.shape[0] / 2, _ink(paint.accent))
    for row, words_ in enumerate(paint.label.title.split(" ", 1)):
        name = lettering.fitted(words_, round(0.7 * wide), 84, paint.typeface, bold=True)
        lettering.stamp(wrap, name, (wide - name.shape[1]) / 2, (0.41 + 0.075 * row) * tall, _ink(paint.base))
    _heap(wrap, 0.46 * wide, 0.71 * tall, 0.34 * wide, random)
    quantity = lettering.fitted(paint.label.quantity, round(0.4 * wide), 58, paint.typeface, bold=True)
    lettering.stamp(wrap, quantity, 0.6 * wide, 0.835 * tall, _ink(shifted(paint.base, -0.3)))
    for y in (0, tall - 75):
        wrap[y : y + 75] = shifted(paint.base, -0.1)
        wrap[y : y + 75 : 9] = shifted(paint.base, 0.2)
    return np.clip(wrap, 0, 1)


def _heap(wrap: Field, x: float, y: float, reach: float, random: Random) -> None:
    """Crisps: pale gold ovals with brown rims, the near ones on top."""
    for k in range(26):
        share = k / 26
        spread = reach * (1.1 - 0.3 * share)
        at = (x + random.uniform(-1, 1) * spread, y + (share - 0.5) * 0.55 * reach + random.uniform(-0.1, 0.1) * reach)
        axes = (round(reach * random.uniform(0.24, 0.34)), round(reach * random.uniform(0.14, 0.24)))
        turn = random.uniform(0, 180)
        centre = (round(at[0]), round(at[1]))
        tone = shifted((0.93, 0.75, 0.38), float(random.uniform(-0.15, 0.2)))
        cv2.ellipse(wrap, centre, axes, turn, 0, 360, shifted(tone, -0.4), -1, cv2.LINE_AA)
        inner = (max(1, axes[0] - 5), max(1, axes[1] - 5))
        cv2.ellipse(wrap, centre, inner, turn, 0, 360, tone, -1, cv2.LINE_AA)
        lit = (centre[0] - axes[0] // 5, centre[1] - axes[1] // 4)
        cv2.ellipse(wrap, lit, (inner[0] // 2, inner[1] // 3), turn, 0, 360, shifted(tone, 0.3), -1, cv2.LINE_AA)
