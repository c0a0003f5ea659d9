"""What products lie on, hang against or stand before: float32 RGB pictures, 0 to 1."""

from collections.abc import Callable

import cv2
import numpy as np

from studio.fields import Field, Random, Size, cloudy, grain, ramp, resized, ridges, smooth

Tone = tuple[float, float, float]


def _tinted(tone: Tone, brightness: Field) -> Field:
    return np.asarray(np.asarray(tone, np.float32) * brightness[..., None], np.float32)


def planks(random: Random, size: Size, tone: Tone) -> Field:
    """Boards of a floor or a table top; each has its own tint and grain."""
    side = int(np.hypot(*size)) + 4
    width = int(random.uniform(0.1, 0.24) * min(size))
    figure = smooth(random, (side, side), (900, width / 3.2)) + 0.5 * smooth(random, (side, side), (500, width / 9))
    rings = 0.5 + 0.5 * np.sin(3.1 * figure)
    pores = cv2.GaussianBlur(grain(random, (side, side)), (0, 0), sigmaX=7, sigmaY=0.6)
    rows = np.arange(side) // width
    shades = random.normal(1, 0.07, rows[-1] + 1)
    bright = (1 - 0.16 * rings + 0.22 * pores) * shades[rows][:, None]
    bright[np.arange(side) % width < 3] *= 0.55
    for row in range(rows[-1] + 1):
        for x in np.cumsum(random.uniform(0.5, 1.4, 6)) * side / 3:
            bright[row * width : (row + 1) * width, int(x) : int(x) + 3] *= 0.6
    return _turned(random, _tinted(tone, bright.astype(np.float32)), size)


def _turned(random: Random, picture: Field, size: Size) -> Field:
    angle = random.choice([0.0, 90.0]) + random.uniform(-12, 12)
    side = picture.shape[0]
    matrix = cv2.getRotationMatrix2D((side / 2, side / 2), float(angle), 1.03)
    matrix[:, 2] += ((size[1] - side) / 2, (size[0] - side) / 2)
    return cv2.warpAffine(picture, matrix, (size[1], size[0]), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)


def sheet(random: Random, size: Size, tone: Tone) -> Field:
    """A bed sheet with broad and sharp folds."""
    half = (size[0] // 2, size[1] // 2)
    lean = random.uniform(0, np.pi)
    folds = 13 * smooth(random, half, (300, 150), lean) + 6 * ridges(smooth(random, half, (220, 120), lean + 0.5))
    relief = _wandering(random, folds + 2 * cloudy(random, half, 90, 2))
    dx = cv2.Sobel(relief, cv2.CV_32F, 1, 0, scale=0.125)
    dy = cv2.Sobel(relief, cv2.CV_32F, 0, 1, scale=0.125)
    slope = dx * float(np.cos(lean + 1.2)) + dy * float(np.sin(lean + 1.2))
    bright = 0.95 + random.uniform(0.25, 0.5) * slope / (1 + np.abs(slope))
    weave = 1 + 0.02 * grain(random, size)
    return _tinted(tone, resized(bright.astype(np.float32), size) * weave)


def _wandering(random: Random, field: Field) -> Field:
    """The field with its straight lines bent."""
    size = field.shape[0], field.shape[1]
    y, x = np.mgrid[0 : size[0], 0 : size[1]].astype(np.float32)
    right, down = (34 * smooth(random, size, 260, random.uniform(0, 3)) for _ in range(2))
    return cv2.remap(field, x + right, y + down, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)


def carpet(random: Random, size: Size, tone: Tone) -> Field:
    """Short pile: fine bright and dark tufts over soft patches where it was trodden."""
    tufts = cv2.GaussianBlur(grain(random, size), (0, 0), 1.4) * 0.5
    bright = 1 + random.uniform(0.12, 0.3) * tufts * 2 + 0.025 * cloudy(random, size, 240, 3)
    return _tinted(tone, bright)


def rug(random: Random, size: Size, tone: Tone) -> Field:
    """A patterned rug: mirrored ornaments in three tints of one colour and one contrast."""
    quarter = (size[0] // 2 + 2, size[1] // 2 + 2)
    ornament = smooth(random, quarter, random.uniform(70, 130)) + 0.6 * smooth(random, quarter, 40)
    ornament = np.vstack([ornament, ornament[::-1]])
    ornament = np.hstack([ornament, ornament[:, ::-1]])[: size[0], : size[1]]
    level = np.digitize(ornament, (-0.8, 0.3, 1.1))
    base = np.asarray(tone, np.float32)
    contrast = np.clip(base[[2, 0, 1]] * 0.8 + 0.15, 0, 1)
    inks = np.stack([base * 0.55, base, np.clip(base * 1.35 + 0.05, 0, 1), contrast]).astype(np.float32)
    flat = cv2.GaussianBlur(inks[level], (0, 0), 1.5)
    return np.asarray(flat * (1 + 0.14 * cv2.GaussianBlur(grain(random, size), (0, 0), 1.0))[..., None], np.float32)


def wall(random: Random, size: Size, tone: Tone) -> Field:
    """Painted plaster."""
    bumps = cv2.GaussianBlur(grain(random, size), (0, 0), 1.6)
    bright = 1 + 0.05 * bumps + 0.012 * cloudy(random, size, 300, 3) + 0.06 * ramp(size, random.uniform(0, 6.3))
    return _tinted(tone, bright)


def table(random: Random, size: Size, tone: Tone) -> Field:
    """A smooth laminate top with a soft sheen."""
    bright = 1 + 0.012 * grain(random, size) + 0.01 * cloudy(random, size, 500, 2)
    return _tinted(tone, bright + 0.12 * ramp(size, random.uniform(0, 6.3)))


def tiles(random: Random, size: Size, tone: Tone) -> Field:
    """Floor tiles with joints."""
    side = int(np.hypot(*size)) + 4
    step = int(random.uniform(0.22, 0.4) * min(size))
    y, x = np.mgrid[0:side, 0:side]
    tints = random.normal(1, 0.03, (side // step + 1, side // step + 1))
    bright = tints[y // step, x // step] + 0.015 * cloudy(random, (side, side), 80, 3)
    joint = ((y % step) < 5) | ((x % step) < 5)
    bright = np.where(joint, 0.72, bright).astype(np.float32)
    return _turned(random, _tinted(tone, cv2.GaussianBlur(bright, (0, 0), 0.8)), size)


SURFACES: dict[str, Callable[[Random, Size, Tone], Field]] = {
    surface.__name__: surface for surface in (planks, sheet, carpet, rug, wall, table, tiles)
}
