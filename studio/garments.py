"""Garments as flat pieces of cloth: a cut is the pattern that they are sewn from."""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from studio import lettering
from studio.cloth import (
    CANVAS,
    FABRICS,
    Cloth,
    Colour,
    Point,
    Sprite,
    curve,
    filled,
    mirrored,
    moved,
    pixels,
    shifted,
)
from studio.fields import Field, Random, grain


@dataclass(frozen=True)
class Upper:
    """What is worn on the trunk: t-shirt, shirt, longsleeve, hoodie and dress. Lengths are in canvas units."""

    name: str
    label: str
    fabrics: tuple[str, ...]
    length: float = 1.35
    shoulder: float = 0.46
    chest: float = 0.47
    waist: float = 0.46
    hem: float = 0.48
    neck: float = 0.17
    neck_depth: float = 0.11
    neck_shape: str = "crew"  # crew, v, collar, hood
    armhole: float = 0.36
    sleeve: float = 0.40
    sleeve_angle: float = 0.75  # radians below the horizontal
    sleeve_width: float = 0.17
    elbow: float = 0.15  # radians that the lower arm turns further down
    cuffed: bool = False
    buttons: bool = False
    pocket: str = ""  # chest, kangaroo
    skirt_from: float = 0.0  # where a dress is gathered, 0: nowhere
    ruffle: bool = False
    hem_curve: float = 0.02
    print: str = ""  # words, stripe, badge


@dataclass(frozen=True)
class Lower:
    """Pants and shorts."""

    name: str
    label: str
    fabrics: tuple[str, ...]
    length: float = 1.75
    waist: float = 0.34
    hip: float = 0.42
    thigh: float = 0.24
    knee: float = 0.17
    hem: float = 0.15
    spread: float = 0.10
    rise: float = 0.46
    elastic: bool = False
    fly: bool = True
    pockets: bool = True
    cuff: bool = False


@dataclass(frozen=True)
class Skirt:
    name: str
    label: str
    fabrics: tuple[str, ...]
    length: float = 1.15
    waist: float = 0.36
    hem: float = 0.68
    hem_curve: float = 0.10
    pleats: int = 0
    band: float = 0.08
    tiers: int = 0


@dataclass(frozen=True)
class Hat:
    name: str
    label: str
    fabrics: tuple[str, ...]
    form: str = "cap"  # cap, beanie, bucket
    width: float = 0.62
    height: float = 0.72
    brim: float = 0.36


@dataclass(frozen=True)
class Shoes:
    name: str
    label: str
    fabrics: tuple[str, ...]
    form: str = "sneaker"  # sneaker, loafer
    length: float = 1.25
    width: float = 0.44
    toe: float = 0.8


Cut = Upper | Lower | Skirt | Hat | Shoes


@dataclass(frozen=True)
class Dye:
    """The colour that the whole appears in, and the one of patterns, prints and trims."""

    base: Colour
    accent: Colour


def sewn(cut: Cut, fabric: str, dye: Dye, random: Random, hung: bool, light: float) -> Sprite:
    """One exemplar of a cut: folds, and small differences of its lie, come from `random`."""
    cloth = Cloth(random)
    albedo = FABRICS[fabric](random, dye.base, dye.accent)
    texture = {"knitted": 0.05, "denim": 0.05, "heather": 0.04}.get(fabric, 0.025)
    builders: dict[type, Callable[..., None]] = {
        Upper: _upper, Lower: _lower, Skirt: _skirt, Hat: _hat, Shoes: _shoes,
    }  # fmt: skip
    if hung:
        _hanger(cut, cloth)
    builders[type(cut)](cut, cloth, albedo, dye, random)
    stiff = isinstance(cut, Hat | Shoes)
    cloth.wrinkle(0.14 if stiff else float(random.uniform(0.65, 1.2)), hang=0.8 if hung else 0.0)
    return cloth.lit(light, texture, contrast=0.8 if stiff else 1.0)


def _hanger(cut: Cut, cloth: Cloth) -> None:
    """A wire hook, and for what has no shoulders a bar with two clips."""
    steel = (0.5, 0.5, 0.52)
    top = -cut.length / 2 if isinstance(cut, Upper | Lower | Skirt) else 0.0
    if isinstance(cut, Upper):
        wood = (0.45, 0.31, 0.2)
        yoke: list[Point] = [
            (0, top - 0.06, 1),
            (cut.shoulder * 0.9, top + 0.1, 1),
            (cut.shoulder * 0.9, top + 0.15, 1),
        ]
        cloth.lay(curve([yoke[0], *mirrored(yoke[1:])]), wood, puff=1.0)
        start = top - 0.05
    else:
        waist = cut.waist if isinstance(cut, Lower | Skirt) else 0.3
        start = top - 0.09
        cloth.wire(pixels(np.array([[-waist, start], [waist, start]])), 8, steel)
        for x in (-0.75 * waist, 0.75 * waist):
            clip = np.array(
                [[x - 0.035, start - 0.02], [x + 0.035, start - 0.02], [x + 0.035, top + 0.06], [x - 0.035, top + 0.06]]
            )
            cloth.lay(pixels(clip), (0.2, 0.2, 0.21), puff=0.6)
    hook: list[Point] = [
        (0, start),
        (0, start - 0.07, 1),
        (0.055, start - 0.12, 1),
        (0, start - 0.18, 1),
        (-0.05, start - 0.14),
    ]
    cloth.wire(curve(hook, False), 6, steel)


def _jitter(random: Random, value: float, by: float = 0.04) -> float:
    return float(value * (1 + random.uniform(-by, by)))


def _sleeve(cut: Upper, random: Random, top: float, side: int) -> tuple[Field, Field]:
    """The outline of a sleeve and its cuff line, both in pixels."""
    angle = cut.sleeve_angle + random.uniform(-0.12, 0.12)
    length = _jitter(random, cut.sleeve)
    shoulder = np.array([cut.shoulder, top + 0.09])
    armpit = np.array([cut.chest, top + cut.armhole + 0.06])
    upper = np.array([np.cos(angle), np.sin(angle)])
    bend = angle + cut.elbow + random.uniform(-0.1, 0.1)
    lower = np.array([np.cos(bend), np.sin(bend)])
    elbow = shoulder + upper * length * 0.5
    wrist = elbow + lower * length * 0.5
    across = np.array([-lower[1], lower[0]]) * cut.sleeve_width
    middle = (np.array([-upper[1], upper[0]]) + np.array([-lower[1], lower[0]])) / 2
    inner_elbow = elbow + middle * (cut.sleeve_width * 0.55 + np.linalg.norm(armpit - shoulder) * 0.32)
    inside = np.array([cut.chest - 0.16, top + 0.25])
    knots = (
        (shoulder + np.array([-0.06, -0.01]), 0),
        (shoulder, 0),
        (elbow, 1),
        (wrist, 0),
        (wrist + across, 0),
        (inner_elbow, 1),
        (armpit, 0),
        (inside, 0),
    )
    flip: list[Point] = [(side * float(at[0]), float(at[1]), round_) for at, round_ in knots]
    cuff = np.array([wrist, wrist + across]) * (side, 1)
    inner = -0.055 * lower * (side, 1)
    return curve(flip), pixels(np.vstack([cuff, cuff + inner]))


def _upper(cut: Upper, cloth: Cloth, albedo: Field, dye: Dye, random: Random) -> None:
    top = -cut.length / 2 - (0.12 if cut.neck_shape == "hood" else 0.0)
    chest, waist, hem = (_jitter(random, w) for w in (cut.chest, cut.waist, cut.hem))
    bottom = top + cut.length
    depth = cut.neck_depth

    if cut.neck_shape == "hood":
        _hood_behind(cut, cloth, albedo, dye, top)
    else:
        behind = curve([(-cut.neck, top, 1), (0, top + 0.035, 1), (cut.neck, top, 1), (0, top + depth + 0.08, 1)])
        cloth.lay(behind, _darker(albedo, 0.55), puff=0.3)
        tag = pixels(np.array([[-0.035, top + 0.05], [0.035, top + 0.05], [0.035, top + 0.10], [-0.035, top + 0.10]]))
        cloth.paint(filled(tag), (0.9, 0.9, 0.88))

    for side in (1, -1):
        if cut.sleeve > 0:
            outline, cuff = _sleeve(cut, random, top, side)
            cloth.lay(outline, albedo, puff=0.9)
            cloth.seam(cuff[2:], 2.0, 2)
            if cut.cuffed:
                edge = np.vstack([cuff[:2], cuff[3], cuff[2]])
                cloth.lay(edge, _darker(albedo, 0.93), puff=0.6)
            elif random.random() < 0.7:
                cloth.stitch(cuff[2:], shifted(dye.base, 0.3))

    drop = 0.09
    half: list[Point] = [(cut.neck, top, 0), (cut.shoulder, top + drop, 0)]
    if cut.sleeve > 0:
        half += [(cut.shoulder - 0.015, top + drop + 0.14, 1), (chest, top + cut.armhole + 0.07, 0)]
    else:
        half += [(cut.shoulder - 0.06, top + drop + 0.12, 1), (chest, top + cut.armhole, 0)]
    middle = cut.skirt_from or 0.55
    half += [(waist, top + cut.length * middle, 1)]
    half += [(hem, bottom - cut.hem_curve, 0), (hem * 0.5, bottom, 1)]
    if cut.neck_shape == "v":
        neckline: list[Point] = [(-cut.neck, top, 0), (0, top + depth * 2, 0)]
    else:
        neckline = [(-cut.neck, top, 0), (-cut.neck * 0.72, top + depth * 0.75, 1), (0, top + depth, 1)]
        neckline.append((cut.neck * 0.72, top + depth * 0.75, 1))
    cloth.lay(curve([*neckline, *mirrored(half)[:-1]]), albedo, puff=1.1)

    if cut.sleeve > 0:
        for side in (1, -1):
            arm: list[Point] = [
                (side * cut.shoulder, top + drop),
                (side * (cut.shoulder - 0.015), top + drop + 0.14, 1),
            ]
            arm.append((side * chest, top + cut.armhole + 0.07))
            cloth.seam(curve(arm, closed=False), 2.5, 2)
    hemline = curve(
        [(-hem, bottom - cut.hem_curve - 0.05), (0, bottom - 0.05, 1), (hem, bottom - cut.hem_curve - 0.05)], False
    )
    if cut.cuffed:
        band: list[Point] = [
            (-hem, bottom - cut.hem_curve - 0.09),
            (0, bottom - 0.09, 1),
            (hem, bottom - cut.hem_curve - 0.09),
        ]
        band += [(hem * 0.93, bottom, 1), (0, bottom + 0.02, 1), (-hem * 0.93, bottom, 1)]
        cloth.lay(curve(band), _ribbed(_darker(albedo, 0.93)), puff=0.6)
    else:
        cloth.seam(hemline, 1.6, 2)
        cloth.stitch(hemline, shifted(dye.base, 0.25))

    _neckband(cut, cloth, albedo, dye, top)
    if cut.skirt_from:
        _gathers(cut, cloth, random, top, waist, hem, bottom)
    if cut.buttons:
        _placket(cloth, albedo, dye, top + (depth if cut.neck_shape != "collar" else 0.10), bottom)
    if cut.pocket == "chest":
        _patch(cloth, albedo, dye, 0.12, top + 0.36, 0.19, 0.22)
    if cut.pocket == "kangaroo":
        pouch: list[Point] = [
            (-0.20, bottom - 0.46),
            (0.20, bottom - 0.46),
            (0.31, bottom - 0.22),
            (0.31, bottom - 0.10),
        ]
        pouch += [(-0.31, bottom - 0.10), (-0.31, bottom - 0.22)]
        cloth.lay(curve(pouch), albedo, puff=0.5)
        cloth.stitch(curve(pouch), shifted(dye.base, -0.3))
    _print(cut, cloth, dye, random, top)
    for side in (1, -1):
        pit = np.array([side * (chest - 0.02), top + cut.armhole + 0.09])
        for k in range(3):
            to = np.array([side * (chest - 0.28 - 0.1 * k), top + cut.armhole + 0.02 + 0.16 * k])
            sag = (pit + to) / 2 + (0, 0.05 * random.uniform(-1, 1))
            cloth.crease(curve([(*pit,), (*sag, 1), (*to,)], False), random.uniform(1.5, 4), random.uniform(10, 22))


def _darker(albedo: Field, factor: float) -> Field:
    return np.asarray(albedo * np.float32(factor), np.float32)


def _ribbed(albedo: Field, period: float = 7) -> Field:
    x = np.arange(CANVAS, dtype=np.float32)
    return np.asarray(albedo * (0.9 + 0.12 * np.sin(2 * np.pi * x / period))[None, :, None], np.float32)


def _neckband(cut: Upper, cloth: Cloth, albedo: Field, dye: Dye, top: float) -> None:
    n, d = cut.neck, cut.neck_depth
    if cut.neck_shape == "crew":
        path = curve(
            [(-n, top), (-n * 0.72, top + d * 0.75, 1), (0, top + d, 1), (n * 0.72, top + d * 0.75, 1), (n, top)], False
        )
        cloth.band(path, 15, _ribbed(_darker(albedo, 0.9)))
        cloth.seam(moved(path, 0, 9), 1.5, 2)
    elif cut.neck_shape == "v":
        path = curve([(-n, top), (0, top + d * 2), (n, top)], False)
        cloth.band(path, 14, _darker(albedo, 0.9))
    elif cut.neck_shape == "collar":
        for side in (1, -1):
            fold: list[Point] = [
                (side * 0.0, top + 0.13, 0),
                (side * n * 0.55, top - 0.015, 1),
                (side * (n + 0.01), top - 0.03, 0),
                (side * (n + 0.10), top + 0.10, 0),
                (side * (n * 0.75 + 0.02), top + 0.24, 0),
            ]
            cloth.lay(curve(fold), albedo, puff=0.9, shade=0.45)
            cloth.stitch(moved(curve([fold[3], fold[4], fold[0]], False), 0, -6), shifted(dye.base, 0.3))


def _hood_behind(cut: Upper, cloth: Cloth, albedo: Field, dye: Dye, top: float) -> None:
    n = cut.neck + 0.13
    outer: list[Point] = [(0, top - 0.38, 1), (n * 0.68, top - 0.29, 1), (n, top - 0.05, 1), (n * 0.85, top + 0.14, 1)]
    hood = [*mirrored(outer[1:])]
    cloth.lay(curve([outer[0], *hood]), albedo, puff=1.6)
    inner: list[Point] = [
        (0, top - 0.24, 1),
        (n * 0.52, top - 0.18, 1),
        (n * 0.6, top + 0.0, 1),
        (n * 0.3, top + 0.17, 1),
    ]
    cloth.lay(curve([inner[0], *mirrored(inner[1:])]), _darker(albedo, 0.5), puff=0.2)
    cloth.relief -= 10 * cv2.GaussianBlur(filled(curve([inner[0], *mirrored(inner[1:])])), (0, 0), 14)


def _strings(cloth: Cloth, dye: Dye, top: float, neck: float, random: Random) -> None:
    for side in (1, -1):
        end = (side * (neck * 0.4 + random.uniform(0, 0.08)), top + random.uniform(0.36, 0.52))
        path = curve([(side * neck * 0.5, top + 0.1), (side * neck * 0.55, top + 0.25, 1), end], False)
        cloth.cord(path, 7, dye.accent)


def _gathers(cut: Upper, cloth: Cloth, random: Random, top: float, waist: float, hem: float, bottom: float) -> None:
    line = top + cut.length * cut.skirt_from
    cloth.seam(curve([(-waist, line), (0, line + 0.02, 1), (waist, line)], False), 5, 4)
    for t in np.linspace(-0.9, 0.9, 13) + random.uniform(-0.05, 0.05, 13):
        start, end = (t * waist, line + 0.02), (t * hem * 1.02, bottom - random.uniform(0.0, 0.35))
        middle = ((start[0] + end[0]) / 2 + random.uniform(-0.02, 0.02), (start[1] + end[1]) / 2, 1)
        cloth.crease(curve([start, middle, end], False), random.uniform(3, 8), random.uniform(12, 26))
    if cut.ruffle:
        for level in (0.82,):
            y = line + (bottom - line) * level
            cloth.seam(curve([(-hem * 0.95, y), (0, y + 0.03, 1), (hem * 0.95, y)], False), 5, 4)


def _placket(cloth: Cloth, albedo: Field, dye: Dye, start: float, end: float) -> None:
    strip = pixels(np.array([[-0.035, start], [0.035, start], [0.035, end], [-0.035, end]]))
    cloth.lay(strip, albedo, puff=0.35, shade=0.35)
    for x in (-0.028, 0.028):
        cloth.stitch(pixels(np.array([[x, start], [x, end]])), shifted(dye.base, -0.2), 0.35)
    for y in np.arange(start + 0.06, end - 0.05, 0.19):
        disc = curve([(-0.016, y, 1), (0, y - 0.016, 1), (0.016, y, 1), (0, y + 0.016, 1)])
        cloth.lay(disc, dye.accent, puff=0.4, shade=0.5)


def _patch(cloth: Cloth, albedo: Field, dye: Dye, x: float, y: float, width: float, height: float) -> None:
    path: list[Point] = [(x, y), (x + width, y), (x + width, y + height * 0.85), (x + width / 2, y + height)]
    path.append((x, y + height * 0.85))
    cloth.lay(curve(path), albedo, puff=0.35, shade=0.3)
    cloth.stitch(curve(path), shifted(dye.base, -0.25), 0.4)


def _print(cut: Upper, cloth: Cloth, dye: Dye, random: Random, top: float) -> None:
    if cut.neck_shape == "hood":
        _strings(cloth, dye, top, cut.neck, random)
    if not cut.print:
        return
    kind, _, words = cut.print.partition(":")
    middle = int(CANVAS / 2 + (top + cut.armhole + 0.18) * CANVAS / 2.2)
    if kind == "words":
        sheet = lettering.stacked(words.split("/"), 250, bold=True)
        coverage = np.zeros((CANVAS, CANVAS), np.float32)
        h, w = sheet.shape
        y, x = middle - h // 2, (CANVAS - w) // 2
        coverage[y : y + h, x : x + w] = sheet
        worn = np.clip(0.93 - 0.12 * np.clip(grain(random, (CANVAS, CANVAS)) - 1, 0, 1), 0, 1)
        cloth.paint(coverage * worn, dye.accent)
    elif kind == "bar":
        y = (middle - CANVAS / 2) / (CANVAS / 2.2)
        block = pixels(np.array([[-1, y - 0.09], [1, y - 0.09], [1, y + 0.09], [-1, y + 0.09]]))
        cloth.paint(filled(block), dye.accent)
    elif kind == "disc":
        y = (middle - CANVAS / 2) / (CANVAS / 2.2)
        ring = curve([(-0.2, y, 1), (0, y - 0.2, 1), (0.2, y, 1), (0, y + 0.2, 1)])
        cloth.paint(filled(ring), dye.accent)
        cloth.paint(
            filled(
                curve([(-0.2, y + 0.05), (0.2, y + 0.05), (0.14, y + 0.14, 1), (0, y + 0.2, 1), (-0.14, y + 0.14, 1)])
            ),
            shifted(dye.accent, -0.35),
        )


def _lower(cut: Lower, cloth: Cloth, albedo: Field, dye: Dye, random: Random) -> None:
    top, bottom = -cut.length / 2, cut.length / 2
    crotch = top + cut.rise
    legs = []
    for side in (1, -1):
        spread = cut.spread + random.uniform(-0.025, 0.03)
        shin = (crotch + bottom) / 2 + 0.05
        centre_knee, centre_hem = cut.hip * 0.52 + spread * 0.5, cut.hip * 0.5 + spread
        knee, hem = _jitter(random, cut.knee), _jitter(random, cut.hem)
        outline: list[Point] = [(0.0, top, 0), (cut.waist, top, 0), (cut.hip, top + cut.rise * 0.6, 1)]
        outline.append((max(cut.hip, centre_knee) * 0.5 + (centre_knee + cut.thigh) * 0.5, crotch + 0.1, 1))
        if cut.length > 1.2:
            outline.append((centre_knee + knee, shin, 1))
        outline += [(centre_hem + hem, bottom, 0), (centre_hem - hem, bottom + 0.015, 0)]
        if cut.length > 1.2:
            outline.append((centre_knee - knee, shin, 1))
        outline += [(0.015, crotch + 0.03, 0), (0.0, crotch, 0)]
        path = curve([(side * p[0], *p[1:]) for p in outline])
        legs.append((side, centre_hem, hem))
        cloth.lay(path, albedo, puff=1.0)
        cuff = 0.10 if cut.cuff else 0.045
        line = pixels(
            np.array([[side * (centre_hem - hem), bottom - cuff], [side * (centre_hem + hem), bottom - cuff]])
        )
        cloth.seam(line, 2.5, 3)
        cloth.stitch(line, shifted(dye.base, 0.35))
        inseam = curve([(side * 0.03, crotch + 0.02), (side * (centre_hem - hem + 0.015), bottom)], False)
        cloth.seam(inseam, 1.0, 2)
        for _ in range(4):
            y = crotch + random.uniform(-0.1, 0.25)
            start, end = (side * 0.03, crotch + 0.02), (side * (cut.hip - 0.04), y)
            sag = ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2 + 0.04, 1)
            cloth.crease(curve([start, sag, end], False), random.uniform(2, 5), random.uniform(10, 20))
        if cut.length > 1.2:
            for _ in range(4):
                y = (crotch + bottom) / 2 + random.uniform(-0.1, 0.3)
                a = (side * (centre_knee - cut.knee * 0.8), y)
                b = (side * (centre_knee + cut.knee * 0.9), y + random.uniform(-0.12, 0.12))
                cloth.crease(
                    curve([a, ((a[0] + b[0]) / 2, y + 0.05, 1), b], False), random.uniform(1, 4), random.uniform(8, 16)
                )
    cloth.seam(curve([(0, top + 0.05), (0, crotch - 0.06), (0, crotch)], False), 4, 3)
    band = pixels(
        np.array(
            [
                [-cut.waist - 0.005, top],
                [cut.waist + 0.005, top],
                [cut.waist + 0.012, top + 0.085],
                [-cut.waist - 0.012, top + 0.085],
            ]
        )
    )
    back = curve([(-cut.waist, top, 0), (0, top + 0.035, 1), (cut.waist, top, 0), (0, top - 0.03, 1)])
    cloth.lay(band, _ribbed(albedo, 11) if cut.elastic else albedo, puff=0.5)
    cloth.lay(back, _darker(albedo, 0.55), puff=0.1, shade=0.1)
    if cut.elastic:
        for side in (1, -1):
            path = curve([(side * 0.01, top + 0.05), (side * 0.05, top + 0.16, 1), (side * 0.03, top + 0.30)], False)
            cloth.cord(path, 6, dye.accent)
    else:
        for x in (-0.26, -0.13, 0.16, 0.28):
            loop = pixels(
                np.array(
                    [
                        [x - 0.012, top - 0.005],
                        [x + 0.012, top - 0.005],
                        [x + 0.012, top + 0.095],
                        [x - 0.012, top + 0.095],
                    ]
                )
            )
            cloth.lay(loop, albedo, puff=0.3, shade=0.4)
        cloth.lay(
            curve([(-0.022, top + 0.045, 1), (0, top + 0.02, 1), (0.022, top + 0.045, 1), (0, top + 0.07, 1)]),
            (0.72, 0.66, 0.55),
            puff=0.5,
        )
    if cut.fly and not cut.elastic:
        fly = curve([(0.07, top + 0.09), (0.07, crotch - 0.14, 1), (0.0, crotch - 0.04)], False)
        cloth.stitch(fly, shifted(dye.accent, 0.1), 0.6)
    if cut.pockets:
        for side in (1, -1):
            mouth = curve(
                [
                    (side * cut.waist * 0.55, top + 0.09),
                    (side * cut.waist * 0.72, top + 0.2, 1),
                    (side * (cut.hip - 0.015), top + 0.25),
                ],
                False,
            )
            cloth.seam(mouth, 4, 3)
            cloth.stitch(moved(mouth, 0, 7), shifted(dye.accent, 0.1), 0.6)


def _skirt(cut: Skirt, cloth: Cloth, albedo: Field, dye: Dye, random: Random) -> None:
    top, bottom = -cut.length / 2, cut.length / 2
    hem = _jitter(random, cut.hem)
    half: list[Point] = [
        (cut.waist, top, 0),
        ((cut.waist + hem) / 2 + 0.03, top + cut.length * 0.45, 1),
        (hem, bottom - cut.hem_curve, 0),
    ]
    half.append((hem * 0.5, bottom - cut.hem_curve * 0.2, 1))
    back = curve(
        [
            (-hem * 0.97, bottom - cut.hem_curve, 0),
            (0, bottom - cut.hem_curve * 1.3, 1),
            (hem * 0.97, bottom - cut.hem_curve, 0),
            (0, bottom, 1),
        ]
    )
    cloth.lay(back, _darker(albedo, 0.6), puff=0.2)
    cloth.lay(curve(mirrored(half)), albedo, puff=1.0)
    count = cut.pleats or 9
    for t in np.linspace(-0.92, 0.92, count) + random.uniform(-0.02, 0.02, count) * (0.3 if cut.pleats else 1):
        start = (t * cut.waist, top + cut.band)
        end = (
            t * hem * 1.0,
            bottom - cut.hem_curve * (0.2 + 0.8 * t * t) - (0 if cut.pleats else random.uniform(0, 0.4)),
        )
        middle = ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2, 1)
        path = curve([start, middle, end], False)
        if cut.pleats:
            cloth.seam(path, 5, 3)
            cloth.crease(moved(path, 9, 0), 5, 16)
        else:
            cloth.crease(path, random.uniform(3, 7), random.uniform(14, 30))
    for k in range(cut.tiers):
        y = top + cut.length * (k + 1) / (cut.tiers + 1)
        w = cut.waist + (hem - cut.waist) * (k + 1) / (cut.tiers + 1) + 0.03
        cloth.seam(curve([(-w, y), (0, y + 0.05, 1), (w, y)], False), 6, 5)
    line = curve(
        [(-hem, bottom - cut.hem_curve - 0.04), (0, bottom - 0.04, 1), (hem, bottom - cut.hem_curve - 0.04)], False
    )
    cloth.seam(line, 1.5, 2)
    band = curve(
        [
            (-cut.waist, top),
            (0, top + 0.02, 1),
            (cut.waist, top),
            (cut.waist + 0.015, top + cut.band),
            (0, top + cut.band + 0.03, 1),
            (-cut.waist - 0.015, top + cut.band),
        ]
    )
    cloth.lay(band, _ribbed(_darker(albedo, 0.95), 9), puff=0.5)
    inner = curve([(-cut.waist, top, 0), (0, top + 0.025, 1), (cut.waist, top, 0), (0, top - 0.025, 1)])
    cloth.lay(inner, _darker(albedo, 0.5), puff=0.1, shade=0.1)


def _hat(cut: Hat, cloth: Cloth, albedo: Field, dye: Dye, random: Random) -> None:
    w, h = cut.width, cut.height
    if cut.form == "beanie":
        half: list[Point] = [(0, -h, 1), (w * 0.55, -h * 0.86, 1), (w * 0.93, -h * 0.25, 1), (w, h * 0.45, 0)]
        cloth.lay(curve([half[0], *mirrored(half[1:])]), albedo, puff=3)
        band: list[Point] = [(w * 1.03, h * 0.2, 1), (w * 1.02, h * 0.62, 1), (0, h * 0.74, 1)]
        edge = [*band, *[(-p[0], p[1], 1) for p in reversed(band[:-1])], (0, h * 0.32, 1)]
        cloth.lay(curve(edge), _ribbed(_darker(albedo, 0.95), 16), puff=2, shade=0.5)
    elif cut.form == "bucket":
        brim: list[Point] = [
            (0, h * 0.25, 1),
            (w * 1.0, h * 0.30, 1),
            (w * 1.35, h * 0.62, 1),
            (w * 0.7, h * 0.92, 1),
            (0, h * 1.0, 1),
        ]
        cloth.lay(curve([brim[0], *brim[1:], *[(-p[0], p[1], 1) for p in reversed(brim[1:-1])]]), albedo, puff=1.5)
        for k in range(1, 5):
            y = h * (0.55 + 0.1 * k)
            cloth.stitch(
                curve([(-w * 1.15, y - 0.14), (0, y, 1), (w * 1.15, y - 0.14)], False), shifted(dye.base, -0.3), 0.5
            )
        crown: list[Point] = [
            (0, -h * 0.7, 1),
            (w * 0.62, -h * 0.66, 1),
            (w * 0.85, h * 0.05, 1),
            (w * 0.97, h * 0.42, 0),
            (0, h * 0.58, 1),
        ]
        cloth.lay(
            curve([crown[0], *crown[1:], *[(-p[0], *p[1:]) for p in reversed(crown[1:-1])]]), albedo, puff=3, shade=0.5
        )
        cloth.seam(curve([(-w * 0.66, -h * 0.5), (0, -h * 0.38, 1), (w * 0.66, -h * 0.5)], False), 4, 3)
    else:
        crown = [(0, -h, 1), (w * 0.62, -h * 0.84, 1), (w * 0.98, -h * 0.2, 1), (w, h * 0.30, 0)]
        cloth.lay(curve([crown[0], *mirrored(crown[1:])]), albedo, puff=4)
        for t in (-0.55, 0.0, 0.55):
            seam = curve([(0, -h * 0.99), (t * w * 1.0, -h * 0.45, 1), (t * w * 1.25, h * 0.3)], False)
            cloth.seam(seam, 3, 3)
            cloth.stitch(moved(seam, 6, 0), shifted(dye.base, 0.25), 0.5)
        cloth.lay(curve([(-0.05, -h, 1), (0, -h - 0.035, 1), (0.05, -h, 1), (0, -h + 0.03, 1)]), albedo, puff=1)
        for t in (-0.5, 0.5):
            cloth.lay(
                curve(
                    [
                        (t * w - 0.018, -h * 0.5, 1),
                        (t * w, -h * 0.5 - 0.018, 1),
                        (t * w + 0.018, -h * 0.5, 1),
                        (t * w, -h * 0.5 + 0.018, 1),
                    ]
                ),
                _darker(albedo, 0.4),
                puff=0.2,
            )
        b = cut.brim
        visor: list[Point] = [
            (w * 1.0, h * 0.22, 0),
            (w * 1.05, h * 0.3 + b * 0.7, 1),
            (w * 0.55, h * 0.35 + b * 1.35, 1),
            (0, h * 0.38 + b * 1.5, 1),
        ]
        under: list[Point] = [(-w * 0.5, h * 0.16, 1), (0, h * 0.14, 1), (w * 0.5, h * 0.16, 1)]
        shape = [*visor, *[(-p[0], *p[1:]) for p in reversed(visor[:-1])], *under]
        cloth.lay(curve(shape), _darker(albedo, 0.95), puff=2, shade=0.5)
        for k in range(1, 5):
            f = 1 - 0.17 * k
            path = [(p[0] * (f * 0.5 + 0.5), h * 0.36 + (p[1] - h * 0.36) * f, 1.0) for p in visor]
            line = curve([*path, *[(-p[0], p[1], 1.0) for p in reversed(path[:-1])]], False)
            cloth.stitch(line, shifted(dye.base, 0.2), 0.45)
        badge = curve([(-0.14, -h * 0.28, 1), (0, -h * 0.28 - 0.12, 1), (0.14, -h * 0.28, 1), (0, -h * 0.28 + 0.12, 1)])
        cloth.paint(filled(badge), dye.accent)


def _shoes(cut: Shoes, cloth: Cloth, albedo: Field, dye: Dye, random: Random) -> None:
    """A pair seen from above, toes up."""
    half_length, width = cut.length / 2, cut.width / 2
    for side in (-1, 1):
        cx = side * (width + 0.06)

        def at(x: float, y: float, round_: float = 1, cx: float = cx, side: int = side) -> Point:
            return (cx + side * x * width, y * half_length, round_)

        t = cut.toe
        sole = [at(-0.15, -1.04), at(0.55 * t, -0.92), at(1.02, -0.45), at(0.78, 0.2), at(0.82, 0.75), at(0.3, 1.03)]
        sole += [at(-0.45, 1.02), at(-0.82, 0.7), at(-0.72, 0.15), at(-0.95, -0.45), at(-0.75 * t, -0.88)]
        white = (0.93, 0.92, 0.9) if cut.form == "sneaker" else shifted(dye.base, -0.6)
        cloth.lay(curve(sole), white, puff=1.0)
        upper = [(cx + (p[0] - cx) * 0.9, p[1] * 0.96, 1.0) for p in sole]
        cloth.lay(curve(upper), albedo, puff=3.5, shade=0.4)
        mouth = [at(0.0, -0.1), at(0.52, 0.1), at(0.6, 0.6), at(0.2, 0.9), at(-0.3, 0.9), at(-0.62, 0.6), at(-0.5, 0.1)]
        if cut.form == "sneaker":
            tongue = [at(-0.42, -0.55, 0), at(0.42, -0.55, 0), at(0.5, 0.2), at(0, 0.32), at(-0.5, 0.2)]
            cloth.lay(curve(tongue), _darker(albedo, 0.85), puff=1.5, shade=0.5)
        cloth.lay(curve(mouth), _darker(albedo, 0.9), puff=2.0, shade=0.2)
        opening = [(cx + (p[0] - cx) * 0.78, (p[1] - 0.25) * 0.82 + 0.25, 1.0) for p in mouth]
        cloth.lay(curve(opening), _darker(albedo, 0.35), puff=0.2, shade=0.0)
        insole = [(cx + (p[0] - cx) * 0.66, (p[1] - 0.25) * 0.7 + 0.28, 1.0) for p in mouth]
        cloth.lay(curve(insole), shifted(dye.accent, -0.25), puff=0.6, shade=0.0)
        cloth.relief -= 8 * cv2.GaussianBlur(filled(curve(opening)), (0, 0), 8)
        if cut.form == "sneaker":
            cap = [
                at(-0.72, -0.62),
                at(0, -0.56),
                at(0.72, -0.62),
                at(0.5 * t, -0.9),
                at(-0.12, -1.0),
                at(-0.62 * t, -0.86),
            ]
            cloth.lay(curve(cap), white, puff=2.5, shade=0.3)
            for k in range(5):
                y = -0.46 + 0.115 * k
                lace = curve(
                    [
                        at(-0.42 - 0.02 * k, y, 0),
                        at(0.0, y + 0.035),
                        at(0.42 + 0.02 * k, y + random.uniform(-0.02, 0.02), 0),
                    ],
                    False,
                )
                cloth.cord(lace, 11, (0.95, 0.94, 0.92), drop=(0, 5))
        else:
            cloth.seam(curve([at(-0.7, -0.35), at(0, -0.75), at(0.7, -0.35)], False), 4, 3)
            strap = [at(-0.75, -0.25, 0), at(0.8, -0.22, 0), at(0.75, -0.06, 0), at(-0.7, -0.08, 0)]
            cloth.lay(curve(strap), _darker(albedo, 0.9), puff=1.0, shade=0.4)
