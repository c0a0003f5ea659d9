"""Cloth laid piece by piece on a square canvas, then lit as one relief."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from studio.fields import Field, Random, cloudy, grain, resized, ridges, smooth

Colour = tuple[float, float, float]  # red, green, blue, 0 to 1
Point = tuple[float, float] | tuple[float, float, float]  # x, y and, if the outline is round there, 1

CANVAS = 800  # pixels; the canvas spans -1.1 to 1.1 in both directions, y downwards
_UNIT = CANVAS / 2.2


@dataclass(frozen=True)
class Sprite:
    """A lit product without its surroundings: RGB and coverage, both 0 to 1, (height, width, 3) and (height, width)."""

    rgb: Field
    alpha: Field


def mirrored(half: Sequence[Point]) -> list[Point]:
    """An outline that is symmetric about x = 0, from its right half listed from top to bottom."""
    left: list[Point] = [(-p[0], *p[1:]) for p in reversed(half)]
    return [*half, *left]


def curve(points: Sequence[Point], closed: bool = True, steps: int = 10) -> Field:
    """Pixel positions (n, 2) along a cubic Hermite spline; a point without its third value is a corner."""
    knots = np.array([(p[0], p[1]) for p in points], np.float64)
    round_ = np.array([p[2] if len(p) == 3 else 0.0 for p in points])[:, None]
    count = len(knots)
    following, preceding = np.roll(knots, -1, 0), np.roll(knots, 1, 0)
    through = following - preceding
    through /= np.maximum(np.hypot(*through.T), 1e-9)[:, None]
    # As long as the segment that they lead along, lest a long neighbour bulges a short one.
    ahead, behind = (np.hypot(*step.T)[:, None] for step in (following - knots, knots - preceding))
    leave = round_ * through * ahead + (1 - round_) * (following - knots)
    arrive = round_ * through * behind + (1 - round_) * (knots - preceding)
    t = np.linspace(0, 1, steps, endpoint=False)[:, None, None]
    segments = count if closed else count - 1
    a, b = knots[:segments], following[:segments]
    m, n = leave[:segments], np.roll(arrive, -1, 0)[:segments]
    path = (2 * t**3 - 3 * t**2 + 1) * a + (t**3 - 2 * t**2 + t) * m + (3 * t**2 - 2 * t**3) * b + (t**3 - t**2) * n
    path = path.transpose(1, 0, 2).reshape(-1, 2)
    if not closed:
        path = np.vstack([path, knots[-1:]])
    return pixels(path)


def moved(path: Field, right: float, down: float) -> Field:
    """A path shifted by so many pixels."""
    return np.asarray(path + np.array([right, down]))


def pixels(points: Field) -> Field:
    return np.asarray(points) * _UNIT + CANVAS / 2


Box = tuple[slice, slice]  # rows, columns


def box_around(path: Field, margin: float) -> Box:
    """The part of the canvas within `margin` pixels of a path; never empty."""
    left, top = np.clip(np.floor(path.min(0) - margin).astype(int), 0, CANVAS - 2)
    right, bottom = np.clip(np.ceil(path.max(0) + margin).astype(int), 2, CANVAS)
    return np.s_[int(top) : max(int(bottom), int(top) + 2), int(left) : max(int(right), int(left) + 2)]


def _fixed(path: Field, box: Box) -> Field:
    """The points in sixteenths of a pixel from the box's corner, as OpenCV draws."""
    return np.round((path - (box[1].start, box[0].start)) * 16).astype(np.int32)


def _extent(box: Box) -> tuple[int, int]:
    return box[0].stop - box[0].start, box[1].stop - box[1].start


WHOLE: Box = np.s_[0:CANVAS, 0:CANVAS]


def filled(path: Field, box: Box = WHOLE) -> Field:
    """Coverage of the polygon within the box, with smooth edges."""
    mask = np.zeros(_extent(box), np.uint8)
    cv2.fillPoly(mask, [_fixed(path, box)], 255, cv2.LINE_AA, 4)
    return mask.astype(np.float32) / np.float32(255)


def stroked(paths: Iterable[Field], width: float, box: Box = WHOLE) -> Field:
    """Coverage of open lines of so many pixels' width within the box."""
    mask = np.zeros(_extent(box), np.uint8)
    cv2.polylines(mask, [_fixed(path, box) for path in paths], False, 255, max(1, round(width)), cv2.LINE_AA, 4)
    return mask.astype(np.float32) / np.float32(255)


def dashed(path: Field, dash: float = 6, gap: float = 4) -> list[Field]:
    """Stitches along a path of pixels."""
    steps = np.hypot(*np.diff(path, axis=0).T)
    length = np.concatenate([[0], np.cumsum(steps)])
    starts = np.arange(0, length[-1] - dash, dash + gap)
    return [
        np.stack([np.interp([s, s + dash], length, path[:, 0]), np.interp([s, s + dash], length, path[:, 1])], 1)
        for s in starts
    ]


class Cloth:
    """A garment in the making. Pieces are laid from the undermost to the uppermost; `lit` ends it."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.rgb = np.zeros((CANVAS, CANVAS, 3), np.float32)
        self.alpha = np.zeros((CANVAS, CANVAS), np.float32)
        self.relief = np.zeros((CANVAS, CANVAS), np.float32)

    def lay(self, path: Field, albedo: Field | Colour, puff: float = 1.0, shade: float = 0.3) -> None:
        """Puts a piece on top: it rounds off towards its edge and throws a narrow shadow on what lies under it.

        `albedo` is a colour or (CANVAS, CANVAS, 3).
        """
        box = box_around(path, 24)
        m = filled(path, box)
        shadow: Field = cv2.GaussianBlur(m, (0, 0), 6) * (1 - m)
        rgb = self.rgb[box]
        rgb *= (1 - shade * shadow)[..., None]
        colour = np.asarray(albedo, np.float32) if isinstance(albedo, tuple) else albedo[box]
        rgb += (colour - rgb) * m[..., None]
        inside = cv2.distanceTransform((m > 0.5).astype(np.uint8), cv2.DIST_L2, 3)
        rise = puff * (11 - 5 * np.exp(inside * np.float32(-1 / 7)) - 6 * np.exp(inside * np.float32(-1 / 40)))
        relief = self.relief[box]
        relief += (rise - 0.65 * relief) * m
        np.maximum(self.alpha[box], m, out=self.alpha[box])

    def seam(self, path: Field, depth: float = 3.0, width: float = 3.0) -> None:
        """A sewn line: a groove, with stitches beside it only where `stitch` puts them."""
        box = box_around(path, 12)
        groove = cv2.GaussianBlur(stroked([path], width, box), (0, 0), 1.6)
        self.relief[box] -= depth * groove
        self.rgb[box] *= (1 - 0.18 * groove)[..., None]

    def stitch(self, path: Field, colour: Colour, strength: float = 0.5) -> None:
        box = box_around(path, 4)
        thread = stroked(dashed(path), 2, box) * np.float32(strength)
        rgb = self.rgb[box]
        rgb += (np.asarray(colour, np.float32) - rgb) * thread[..., None]

    def paint(self, coverage: Field, colour: Colour | Field) -> None:
        """Dyes or prints without changing the relief; `coverage` and a colour that is no tuple are (CANVAS, CANVAS)."""
        x, y, width, height = cv2.boundingRect((coverage > 0).astype(np.uint8))
        box = np.s_[y : y + height, x : x + width]
        ink = np.asarray(colour, np.float32) if isinstance(colour, tuple) else colour[box]
        rgb = self.rgb[box]
        rgb += (ink - rgb) * (coverage[box] * (self.alpha[box] > 0.5))[..., None]

    def wire(self, path: Field, width: float, colour: Colour) -> None:
        """Something thin that also shows where there is no cloth."""
        box = box_around(path, width + 4)
        line = stroked([path], width, box)
        self.rgb[box] += (np.asarray(colour, np.float32) - self.rgb[box]) * line[..., None]
        self.relief[box] += 4 * cv2.GaussianBlur(line, (0, 0), 1.5)
        np.maximum(self.alpha[box], line, out=self.alpha[box])

    def cord(self, path: Field, width: float, colour: Colour, drop: tuple[int, int] = (3, 4)) -> None:
        """A lace or a drawstring on top, with its shadow `drop` pixels right and down."""
        box = box_around(path, 24)
        cord = stroked([path], width, box)
        fallen = cv2.GaussianBlur(np.roll(cord, drop, (1, 0)), (0, 0), 3)
        rgb = self.rgb[box]
        rgb *= (1 - 0.42 * fallen)[..., None]
        rgb += (np.asarray(colour, np.float32) - rgb) * (cord * (self.alpha[box] > 0.5))[..., None]
        self.relief[box] += 4 * cv2.GaussianBlur(cord, (0, 0), 1.7)

    def band(self, path: Field, width: float, albedo: Field, depth: float = 2.0) -> None:
        """A strip of cloth along a path, such as the ribbing of a neckline."""
        box = box_around(path, width + 4)
        strip = stroked([path], width, box)
        rgb = self.rgb[box]
        rgb += (albedo[box] - rgb) * (strip * (self.alpha[box] > 0.5))[..., None]
        self.relief[box] += depth * cv2.GaussianBlur(strip, (0, 0), 1.2)

    def crease(self, path: Field, height: float, width: float) -> None:
        """A fold along a path: a ridge that fades out at both ends."""
        box = box_around(path, 1.5 * width + 4)
        rows, columns = _extent(box)
        ridge: Field = np.zeros((rows // 2, columns // 2), np.float32)
        points = _fixed(path / 2, np.s_[box[0].start // 2 :, box[1].start // 2 :])
        count = len(points) - 1
        for i in range(count):
            strength = float(np.sin(np.pi * (i + 0.5) / count))
            cv2.line(
                ridge, points[i].tolist(), points[i + 1].tolist(), strength, max(1, round(width / 2)), cv2.LINE_8, 4
            )
        ridge = cv2.GaussianBlur(ridge, (0, 0), width / 3)
        self.relief[box] += height * cv2.resize(ridge, (columns, rows), interpolation=cv2.INTER_LINEAR)

    def wrinkle(self, amount: float, hang: float = 0.0) -> None:
        """Lays the cloth in folds; `hang` from 0 (flat, folds in all directions) to 1 (falls straight down)."""
        half = (CANVAS // 2, CANVAS // 2)
        lean = self.random.uniform(-0.5, 0.5) * (1 - hang) + np.pi / 2 * 1.0
        broad = smooth(self.random, half, (260 + 240 * hang, 75), lean)
        fine = smooth(self.random, half, (110, 45), self.random.uniform(-0.9, 0.9) + (lean if hang else 0))
        sharp = ridges(smooth(self.random, half, (170, 80), lean + self.random.uniform(-0.6, 0.6)))
        calm = np.clip(0.5 + 0.6 * cloudy(self.random, half, 200, 2), 0.05, 1.3)
        folds = (3.0 * broad + 1.1 * fine + 5.0 * (sharp - 0.4)) * calm
        self.relief += amount * resized(folds.astype(np.float32), (CANVAS, CANVAS))

    def lit(self, light: float, texture: float = 0.03, gloss: float = 0.0, contrast: float = 1.0) -> Sprite:
        """The garment under light from the direction `light` (radians), with the grain of its fabric."""
        relief = cv2.GaussianBlur(self.relief, (0, 0), 1.3)
        dx = cv2.Sobel(relief, cv2.CV_32F, 1, 0, scale=0.125)
        dy = cv2.Sobel(relief, cv2.CV_32F, 0, 1, scale=0.125)
        slope = dx * np.float32(np.cos(light)) + dy * np.float32(np.sin(light))
        slope = slope / (1 + np.abs(slope) * 0.55)
        hollow = relief - cv2.GaussianBlur(cv2.resize(relief, None, fx=0.25, fy=0.25), (0, 0), 8).repeat(4, 0).repeat(
            4, 1
        )
        shade = 0.93 + contrast * (0.42 * slope + 0.012 * np.clip(hollow, -12, 12))
        rgb = self.rgb * np.clip(shade, 0.3, 1.35)[..., None]
        if gloss:
            rgb += (gloss * np.clip(slope - 0.1, 0, 1) ** 1.5)[..., None]
        fibres = grain(self.random, (CANVAS, CANVAS))
        rgb *= (1 + texture * fibres)[..., None]
        return Sprite(np.clip(rgb, 0, 1), self.alpha)


def shifted(colour: Colour, by: float) -> Colour:
    """Lighter (by > 0) or darker, -1 to 1."""
    target = 1.0 if by > 0 else 0.0
    r, g, b = (c + (target - c) * abs(by) for c in colour)
    return r, g, b


def plain(random: Random, base: Colour, _accent: Colour) -> Field:
    mottle = 1 + 0.02 * cloudy(random, (CANVAS, CANVAS), 120, 3)
    return np.asarray(np.asarray(base, np.float32) * mottle[..., None], np.float32)


def _waves(random: Random) -> tuple[Field, Field]:
    """Canvas coordinates that wander a little, so that a pattern follows the cloth."""
    y, x = np.mgrid[0:CANVAS, 0:CANVAS].astype(np.float32)
    return x + 5 * cloudy(random, (CANVAS, CANVAS), 260, 2), y + 5 * cloudy(random, (CANVAS, CANVAS), 260, 2)


def _mix(base: Colour, accent: Colour, weight: Field) -> Field:
    low, high = np.asarray(base, np.float32), np.asarray(accent, np.float32)
    return np.asarray(low + (high - low) * weight[..., None], np.float32)


def striped(random: Random, base: Colour, accent: Colour) -> Field:
    _, y = _waves(random)
    period = random.uniform(38, 80)
    return _mix(base, accent, np.clip(4 * (np.sin(2 * np.pi * y / period) - random.uniform(0, 0.5)) + 0.5, 0, 1))


def pinstriped(random: Random, base: Colour, accent: Colour) -> Field:
    x, _ = _waves(random)
    period = random.uniform(16, 30)
    return _mix(base, accent, np.clip(3 * (np.sin(2 * np.pi * x / period) - 0.55), 0, 0.8))


def checked(random: Random, base: Colour, accent: Colour) -> Field:
    x, y = _waves(random)
    period = random.uniform(50, 84)

    def bands(along: Field) -> Field:
        broad = np.clip(3 * np.sin(2 * np.pi * along / period) + 0.5, 0, 1)
        thin = np.clip(6 * (np.cos(2 * np.pi * along / period + 0.4) - 0.93), 0, 1)
        return np.asarray(0.42 * broad + 0.3 * thin, np.float32)

    return _mix(base, accent, np.clip(bands(x) + bands(y), 0, 1))


def dotted(random: Random, base: Colour, accent: Colour) -> Field:
    x, y = _waves(random)
    period = random.uniform(26, 44)
    row = np.floor(y / period)
    u = (x / period + 0.5 * (row % 2)) % 1 - 0.5
    v = (y / period) % 1 - 0.5
    return _mix(base, accent, np.clip((0.24 - np.hypot(u, v)) * period * 0.7 + 0.5, 0, 1))


def flowered(random: Random, base: Colour, accent: Colour) -> Field:
    size = (CANVAS, CANVAS)
    petals = np.clip(3 * (smooth(random, size, 46) - 0.9) + 0.5, 0, 1)
    leaves = np.clip(3 * (smooth(random, size, (60, 30), random.uniform(0, 3)) - 1.1) + 0.5, 0, 1)
    ground = _mix(base, accent, petals)
    return np.asarray(
        ground + (np.asarray(shifted(accent, -0.45), np.float32) - ground) * leaves[..., None], np.float32
    )


def heather(random: Random, base: Colour, accent: Colour) -> Field:
    fibres = cv2.GaussianBlur(grain(random, (CANVAS, CANVAS)), (0, 0), sigmaX=2.2, sigmaY=0.6)
    return np.asarray(plain(random, base, accent) * (1 + 0.16 * fibres)[..., None], np.float32)


def knitted(random: Random, base: Colour, accent: Colour) -> Field:
    x, y = _waves(random)
    rows = np.abs(np.sin(np.pi * (y + 4 * np.abs((x / 11) % 1 - 0.5)) / 7))
    ribs = np.abs(np.sin(np.pi * x / 11))
    return np.asarray(plain(random, base, accent) * (0.78 + 0.16 * rows + 0.12 * ribs)[..., None], np.float32)


def denim(random: Random, base: Colour, accent: Colour) -> Field:
    size = (CANVAS, CANVAS)
    twill = cv2.GaussianBlur(grain(random, size), (0, 0), sigmaX=0.5, sigmaY=3.0)
    washed = 0.10 * cloudy(random, size, 150, 3) + 0.35 * twill
    return np.asarray(plain(random, base, accent) * (1 + 0.5 * washed)[..., None], np.float32)


FABRICS = {
    weave.__name__: weave for weave in (plain, striped, pinstriped, checked, dotted, flowered, heather, knitted, denim)
}
