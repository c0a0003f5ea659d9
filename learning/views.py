"""Scenes shown otherwise: in other dyes, before other grounds, nearer, cut off, tilted, in another light."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import cv2
import numpy as np

from learning.scenes import WORN_ABOVE, WORN_BELOW, WORN_BOTH, Scene
from shared.photos import Pixels
from shared.vision.cutting import Map, Mask
from shared.vision.regions import CANVASES, REGIONS, STRIDE
from shared.vision.trunk import nearest_canvas

Random = np.random.Generator
Of = TypeVar("Of")

DYED = 0.6  # of the scenes are shown in another colour
FULL_LENGTH = 0.15  # of the views: a shirt above, trousers below, of two photos
GROUND = {True: 0.5, False: 0.3}  # of the scenes on persons, and of those without, are shown on another ground
NEAR = 0.3  # of the views show a detail
TURNED = 0.25
LEAST_PIXELS = 50


@dataclass(frozen=True)
class View:
    """What the network is shown, and what it should say: see Scene.targets; both a STRIDEth as high."""

    picture: Pixels
    targets: Map
    weights: Map


class Views:
    """Draws views of scenes, each another."""

    def __init__(self, worn: Sequence[Scene], alone: Sequence[Scene], grounds: Sequence[Pixels]) -> None:
        """`worn`: on persons; `alone`: without."""
        self._worn = worn
        self._alone = alone
        self._above = [scene for scene in worn if scene.worn == WORN_ABOVE and scene.sure is None]
        self._below = [scene for scene in worn if scene.worn == WORN_BELOW and scene.sure is None]
        self._grounds = [*grounds, *(scene.picture for scene in alone if not scene.worn)]

    def draw(self, random: Random) -> View:
        scene, (targets, weights) = self._scene(random)
        if random.random() < GROUND[scene.on_person]:
            ground = self._ground(scene.product.shape, random)
            scene = replace(scene, picture=_laid_on(scene.picture, scene.figure, ground))
        return _framed(scene.picture, targets, weights, random)

    def _scene(self, random: Random) -> tuple[Scene, tuple[Map, Map]]:
        drawn = random.random()
        if drawn < FULL_LENGTH and self._above and self._below:
            above, below = (self._dyed(_one(scenes, random), random) for scenes in (self._above, self._below))
            if (joined := full_length(above, below, random)) is not None:
                return joined
        scene = self._dyed(_one(self._worn if drawn < 0.72 and self._worn else self._alone, random), random)
        if scene.on_person and random.random() < 0.2:
            scene = replace(scene, picture=_in_other_light(scene.picture, scene.figure & ~scene.product, random))
        return scene, scene.targets()

    def _dyed(self, scene: Scene, random: Random) -> Scene:
        share = DYED if scene.on_person else DYED / 2
        return replace(scene, picture=dyed(scene.picture, scene.product, random)) if random.random() < share else scene

    def _ground(self, shape: tuple[int, ...], random: Random) -> Pixels:
        height, width = shape
        if random.random() < 0.35:
            return _plain_ground(height, width, random)
        source = _one(self._grounds, random)
        tall, wide = (max(8, int(side * random.uniform(0.3, 1))) for side in source.shape[:2])
        top = int(random.integers(0, source.shape[0] - tall + 1))
        left = int(random.integers(0, source.shape[1] - wide + 1))
        ground = cv2.resize(source[top : top + tall, left : left + wide], (width, height))
        blur = random.choice([0, 1, 3, 8])
        return np.asarray(cv2.GaussianBlur(ground, (0, 0), float(blur)) if blur else ground, dtype=np.uint8)


def dyed(picture: Pixels, product: Mask, random: Random) -> Pixels:
    """The product in another colour: a third of a photo's cloths are grey, black or white, or of skin's colours."""
    if product.sum() < LEAST_PIXELS:
        return picture
    lab = cv2.cvtColor(picture, cv2.COLOR_RGB2LAB).astype(np.float32)
    mean = lab[product].mean(axis=0)
    dye = _dye(random)
    contrast = random.uniform(0.6, 1.1) * np.clip(dye[0] / max(mean[0], 20), 0.5, 1.6)
    shown = lab - mean
    shown *= np.array([contrast, *[random.choice([0.0, 0.4, 1.0])] * 2], np.float32)
    cloth = np.clip(dye + shown, (3, 0, 0), (253, 255, 255)).astype(np.uint8)
    soft = cv2.GaussianBlur(product.astype(np.float32), (3, 3), 0.7)[:, :, None]
    return np.asarray(picture * (1 - soft) + cv2.cvtColor(cloth, cv2.COLOR_LAB2RGB) * soft, dtype=np.uint8)


def _dye(random: Random) -> Map:
    """A colour in OpenCV's 8-bit Lab."""
    kind = random.random()
    if kind < 0.2:
        return np.array([random.choice([25, 40, 90, 140, 190, 235, 245]), *random.normal(128, 2, 2)], np.float32)
    if kind < 0.4:  # skin, beige, brown
        return np.array([random.uniform(60, 225), 128 + random.uniform(3, 18), 128 + random.uniform(8, 28)], np.float32)
    hue, chroma = random.uniform(0, 2 * np.pi), random.uniform(8, 65)
    return np.array([random.uniform(40, 220), 128 + chroma * np.cos(hue), 128 + chroma * np.sin(hue)], dtype=np.float32)


def full_length(above: Scene, below: Scene, random: Random) -> tuple[Scene, tuple[Map, Map]] | None:
    """A person in the upper garment of one photo and the lower one of another; None where they don't fit together."""
    waist = _rows(above.product)[1] - int(random.integers(0, 16))
    shirt = np.flatnonzero(above.product[max(0, waist - 16) : waist + 1].any(axis=0))
    top = _rows(below.product)[0]
    belt = np.flatnonzero(below.product[top : top + 16].any(axis=0))
    if len(shirt) < 8 or len(belt) < 8 or waist < 16:
        return None
    scale = float(np.clip(np.ptp(shirt) * random.uniform(0.75, 1.0) / max(8.0, float(np.ptp(belt))), 0.4, 1.6))
    legs, legs_figure, legs_product = (
        cv2.resize(part[top:], None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        for part in (below.picture, below.figure.astype(np.uint8), below.product.astype(np.uint8))
    )
    shift = round(float(shirt.mean() - scale * belt.mean()))
    left, right = max(0, -shift), max(0, shift)  # of the shirt's photo, of the trousers'
    height, width = waist + len(legs), max(above.picture.shape[1] + left, legs.shape[1] + right)
    picture = np.full((height, width, 3), 255, np.uint8)
    figure, upper, lower = (np.zeros((height, width), np.bool_) for _ in range(3))
    feet = slice(waist, height), slice(right, right + legs.shape[1])
    picture[feet], figure[feet], lower[feet] = legs, legs_figure > 0, legs_product > 0
    # Arms end at the waist; the shirt hangs over it.
    hang = min(len(above.picture), waist + 14, height)
    body = slice(0, hang), slice(left, left + above.picture.shape[1])
    shown = above.figure[:hang].copy()
    shown[waist:] &= above.product[waist:hang]
    picture[body] = np.where(shown[:, :, None], above.picture[:hang], picture[body])
    figure[body] |= shown
    upper[body] = above.product[:hang] & shown
    lower[body] &= ~shown
    targets = np.zeros((height, width, len(REGIONS)), np.float32)
    for region, mask in (("product", upper | lower), ("upper", upper), ("lower", lower)):
        targets[:, :, REGIONS.index(region)] = mask
    weights = np.ones_like(targets)
    weights[:, :, REGIONS.index("product")][upper | lower] = 0.3  # which of the two is for sale is not known
    return Scene(picture, upper | lower, figure, WORN_BOTH), (targets, weights)


def _rows(mask: Mask) -> tuple[int, int]:
    rows = np.flatnonzero(mask.any(axis=1))
    return int(rows[0]), int(rows[-1])


def _in_other_light(picture: Pixels, part: Mask, random: Random) -> Pixels:
    changed = picture.copy()
    changed[part] = np.clip(picture[part] * random.uniform(0.6, 1.35) + random.normal(0, 5, 3), 0, 255)
    return changed


def _plain_ground(height: int, width: int, random: Random) -> Pixels:
    tone = random.uniform(160, 255) if random.random() < 0.5 else random.uniform(30, 255)
    colour = tone + random.normal(0, random.choice([2, 2, 25]), 3)
    down = np.linspace(random.uniform(0.75, 1.1), random.uniform(0.75, 1.1), height)[:, None, None]
    across = np.linspace(random.uniform(0.85, 1.1), random.uniform(0.85, 1.1), width)[None, :, None]
    grain = random.normal(0, 2, (height, width, 3))
    return np.asarray(np.clip(colour * down * across + grain, 0, 255), dtype=np.uint8)


def _laid_on(picture: Pixels, figure: Mask, ground: Pixels) -> Pixels:
    inner = cv2.erode(figure.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(np.float32)
    soft = cv2.GaussianBlur(inner, (3, 3), 0.8)[:, :, None]
    return np.asarray(picture * soft + ground * (1 - soft), dtype=np.uint8)


def _framed(picture: Pixels, targets: Map, weights: Map, random: Random) -> View:
    """Part of it, or all of it and more, in the canvas that its shape asks for."""
    height, width = targets.shape[:2]
    ratio = float(np.exp(random.uniform(-0.2, 0.2)))
    rows, columns = np.nonzero(targets[:, :, 0] > 0.5)
    if len(rows) > LEAST_PIXELS and random.random() < NEAR:
        scale = random.uniform(0.22, 0.55)
        tall, wide = min(height, height * scale * ratio), min(width, width * scale / ratio)
        spot = int(random.integers(len(rows)))
        y = float(np.clip(rows[spot] + random.normal(0, 0.1) * tall, tall / 2, height - tall / 2))
        x = float(np.clip(columns[spot] + random.normal(0, 0.1) * wide, wide / 2, width - wide / 2))
    else:
        scale = float(random.choice([1.0, random.uniform(0.55, 1), random.uniform(1, 1.35)]))
        tall, wide = height * scale * ratio, width * scale / ratio
        y = height / 2 + abs(height - tall) / 2 * random.uniform(-1, 1)
        x = width / 2 + abs(width - wide) / 2 * random.uniform(-1, 1)
    return _seen_through((x, y, wide, tall), picture, targets, weights, random)


def _seen_through(
    window: tuple[float, float, float, float], picture: Pixels, targets: Map, weights: Map, random: Random
) -> View:
    """A window's middle, width and height."""
    x, y, wide, tall = window
    canvas = nearest_canvas(tall / wide, CANVASES)
    across, down = canvas[1] / wide, canvas[0] / tall
    flipped = -1 if random.random() < 0.5 else 1
    turn = np.array(
        [[flipped * across, 0, canvas[1] / 2 - flipped * across * x], [0, down, canvas[0] / 2 - down * y], [0, 0, 1]]
    )
    if random.random() < TURNED:
        tilt = cv2.getRotationMatrix2D((canvas[1] / 2, canvas[0] / 2), float(random.normal(0, 8)), 1)
        turn = np.vstack([tilt, [0, 0, 1]]) @ turn
    to_canvas, size = turn[:2], (canvas[1], canvas[0])
    # What lies beyond the photo: more of the same, of which nothing is known, or a plain margin.
    goes_on = bool(random.random() < 0.5)
    rim = np.concatenate([picture[0], picture[-1], picture[:, 0], picture[:, -1]])
    beyond = {"borderMode": cv2.BORDER_REPLICATE} if goes_on else {"borderValue": np.median(rim, axis=0).tolist()}
    soft = cv2.GaussianBlur(picture, (0, 0), max(0.3, 0.35 / min(across, down)))
    shown = cv2.warpAffine(soft, to_canvas, size, flags=cv2.INTER_LINEAR, **beyond)
    unknown = (0.0 if goes_on else 1.0,) * len(REGIONS)
    return View(
        _photographed(np.asarray(shown, np.uint8), random),
        _coarse(cv2.warpAffine(targets, to_canvas, size)),
        _coarse(cv2.warpAffine(weights, to_canvas, size, borderValue=unknown)),
    )


def _photographed(picture: Pixels, random: Random) -> Pixels:
    """As another camera would, in another light."""
    lit = picture * np.exp(random.normal(0, 0.12)) * np.exp(random.normal(0, 0.05, 3))
    lit = (lit - 128) * np.exp(random.normal(0, 0.12)) + 128 + random.normal(0, 2, lit.shape)
    return np.asarray(np.clip(lit, 0, 255), dtype=np.uint8)


def _coarse(of_pixels: cv2.typing.MatLike) -> Map:
    height, width = of_pixels.shape[:2]
    return np.asarray(
        cv2.resize(of_pixels, (width // STRIDE, height // STRIDE), interpolation=cv2.INTER_AREA), dtype=np.float32
    )


def _one(among: Sequence[Of], random: Random) -> Of:
    return among[int(random.integers(len(among)))]
