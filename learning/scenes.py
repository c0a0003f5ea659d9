"""Photos of which is known where the product is, though nobody drew it.

A shop that photographs a garment once and recolours the photo has drawn the garment's outline: it is where two such
photos differ. What lies alone on a plain ground is cut out by its colours (learning/cutouts.py).
"""

import csv
import zlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np

from learning.cutouts import cut_out
from learning.sources import FIRST_SOURCES, PhotosUnusable, Sample, read_samples
from shared.photos import Pixels
from shared.vision.cutting import Lab, Map, Mask
from shared.vision.decode import decode
from shared.vision.regions import REGIONS

LONGEST = 448  # pixels of a side that scenes are kept at
HELD = 4  # one product in so many is held out of training, with all its photos

WORN_ABOVE = frozenset({"upper"})
WORN_BELOW = frozenset({"lower"})
WORN_BOTH = frozenset({"upper", "lower"})
NOT_WORN: frozenset[str] = frozenset()
# The catalogue's kinds, and the labels of clothing/; whatever else is worn above the waist is not named.
BELOW = frozenset({"Pants", "Shorts", "pants", "shorts", "skirt"})
BOTH = frozenset({"dress"})
ELSEWHERE = frozenset({"Bags", "Watches", "Fitness Equipment", "Training Video (DVD case)", "shoes", "hat"})

ALIKE, DYED = 4.0, 9.0  # CIE76 up to which a pixel is the same on two photos, and from which on it was recoloured
WHITE = 97  # L of the ground in the catalogue
CLEAR_GARMENT, CLEAR_OBJECT = 0.75, 0.6  # how clearly what is cut out has to stand out


@dataclass(frozen=True)
class Scene:
    """A photo, and what is known of each pixel: as many as it has."""

    picture: Pixels
    product: Mask
    figure: Mask  # what is not ground: the product, and on a person the person too
    worn: frozenset[str]  # regions that the product belongs to, beside "product"
    sure: Map | None = None  # 0 where nothing is known, to 1; None: 1 everywhere

    @property
    def on_person(self) -> bool:
        """Then what is beside the product may be another garment."""
        return bool((self.figure & ~self.product).mean() > 0.01)

    def targets(self) -> tuple[Map, Map]:
        """What each region should be, and how much it counts: height x width x len(REGIONS), 0 to 1."""
        targets = np.zeros((*self.product.shape, len(REGIONS)), np.float32)
        weights = np.ones_like(targets)
        beside = self.figure & ~self.product
        for number, region in enumerate(REGIONS):
            if region == "product" or region in self.worn:
                targets[:, :, number] = self.product
            elif self.worn and self.on_person:
                weights[:, :, number] = ~beside
        if self.worn == WORN_BOTH:
            # A dress: which part of it is above the waist is not known.
            weights[:, :, 1:] = ~self.product[:, :, None]
        return targets, weights if self.sure is None else weights * self.sure[:, :, None]


@dataclass(frozen=True, slots=True)
class Shown:
    """A photo of the catalogue with its label."""

    path: Path
    kind: str
    colour: str
    product: str  # photos of one show the same thing in several colours
    name: str = ""  # what the shop calls it

    @property
    def is_held(self) -> bool:
        """Whether it takes no part in training."""
        return zlib.crc32(self.product.encode()) % HELD == 0

    @property
    def worn(self) -> frozenset[str]:
        return worn_of(self.kind)


def worn_of(kind: str) -> frozenset[str]:
    """The regions that a garment of this kind belongs to."""
    if kind in ELSEWHERE:
        return NOT_WORN
    return WORN_BOTH if kind in BOTH else WORN_BELOW if kind in BELOW else WORN_ABOVE


def read_catalogue(folder: Path) -> list[Shown]:
    """The photos of catalogue/ under the folder. Raises PhotosUnusable."""
    try:
        with (folder / "catalogue" / "labels.csv").open(newline="") as file:
            return [
                Shown(
                    folder / "catalogue" / "images" / row["image"],
                    row["label"],
                    row["color"],
                    row["group"],
                    row.get("name", ""),
                )
                for row in csv.DictReader(file)
            ]
    except (OSError, KeyError) as why:
        raise PhotosUnusable(f"{folder} has no catalogue/labels.csv as it should be: {why}") from why


def read_picture(path: Path) -> Pixels:
    """At most LONGEST pixels a side."""
    pixels = decode(path.read_bytes(), LONGEST)
    scale = LONGEST / max(pixels.shape[:2])
    if scale >= 1:
        return pixels
    size = (round(pixels.shape[1] * scale), round(pixels.shape[0] * scale))
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


# --- recoloured photos ------------------------------------------------------------------------------------------------
def recoloured(photos: Sequence[Shown]) -> Iterator[tuple[Shown, Scene]]:
    """Those of one pose in several colours, each with the part that was recoloured as its product."""
    by_product = defaultdict[str, list[Shown]](list)
    for photo in photos:
        by_product[photo.product].append(photo)
    for same in by_product.values():
        pictures = [read_picture(photo.path) for photo in same]
        labs = [_lab(picture) for picture in pictures]
        for pose in _poses(labs):
            differs = np.max([_apart(labs[one], labs[other]) for one, other in combinations(pose, 2)], axis=0)
            for number in pose:
                figure = figure_on_white(pictures[number])
                product = _whole(differs > DYED) & figure
                if product.mean() >= 0.04:
                    yield same[number], Scene(pictures[number], product, figure, same[number].worn)


def _poses(labs: Sequence[Lab]) -> Iterator[list[int]]:
    """Numbers of photos, two or more, that show the same outline with the same skin."""
    left = list(range(len(labs)))
    while left:
        first, *others = left
        pose = [first, *(other for other in others if _same_pose(labs[first], labs[other]))]
        if len(pose) > 1:
            yield pose
        left = [number for number in left if number not in pose]


def _same_pose(one: Lab, other: Lab) -> bool:
    if one.shape != other.shape:
        return False
    outlines = one[:, :, 0] < WHITE, other[:, :, 0] < WHITE
    either = outlines[0] | outlines[1]
    overlap = (outlines[0] & outlines[1]).sum() / max(1, either.sum())
    return bool(overlap > 0.9 and (_apart(one, other) < ALIKE)[either].mean() > 0.08)


def _lab(picture: Pixels) -> Lab:
    """In floats, softened: what differs by coding alone is the same."""
    soft = cv2.GaussianBlur(picture, (0, 0), 1.0).astype(np.float32) / 255
    return np.asarray(cv2.cvtColor(soft, cv2.COLOR_RGB2LAB), dtype=np.float32)


def _apart(one: Lab, other: Lab) -> Map:
    return np.asarray(np.sqrt(((one - other) ** 2).sum(axis=2)), dtype=np.float32)


def _whole(mask: Mask) -> Mask:
    """Without specks, and with its small holes filled."""
    opened = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, _disc(5))
    return np.asarray(cv2.morphologyEx(opened, cv2.MORPH_CLOSE, _disc(13)), dtype=np.bool_)


def _disc(side: int) -> Pixels:
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)), dtype=np.uint8)


def figure_on_white(picture: Pixels) -> Mask:
    """All but the white that reaches the photo's rim."""
    lab = cv2.cvtColor(picture, cv2.COLOR_RGB2LAB).astype(np.int16)
    white = (lab[:, :, 0] > 248) & (abs(lab[:, :, 1] - 128) < 4) & (abs(lab[:, :, 2] - 128) < 4)
    _, parts = cv2.connectedComponents(white.astype(np.uint8), connectivity=4)
    outer = np.unique(np.concatenate([parts[0], parts[-1], parts[:, 0], parts[:, -1]]))
    return np.asarray(~np.isin(parts, outer[outer > 0]), dtype=np.bool_)


# --- cut out ----------------------------------------------------------------------------------------------------------
def lying_alone(folder: Path, garments: int, groceries: int, random: np.random.Generator) -> Iterator[Scene]:
    """Garments, things and groceries of the train split, as far as they stand out clearly. Raises PhotosUnusable."""
    photos = (sample for source in FIRST_SOURCES for sample in read_samples(folder / source))
    samples = [sample for sample in photos if sample.split == "train" and not sample.staged]
    worn = [sample for sample in samples if sample.category[0] == "garments"]
    eaten = [sample for sample in samples if sample.category[0] != "garments"]
    for sample in _some(worn, garments, random):
        yield from _clear(_path(sample), worn_of(sample.category[-1]), CLEAR_GARMENT)
    for sample in _some(eaten, groceries, random):
        yield from _clear(_path(sample), NOT_WORN, CLEAR_OBJECT)
    for path, label in _objects(folder):
        if not _is_clutter(label):
            yield from _clear(path, NOT_WORN, CLEAR_OBJECT)


def things_on_white(photos: Sequence[Shown]) -> Iterator[Scene]:
    """The catalogue's bags and watches."""
    for photo in photos:
        if not photo.worn:
            picture = read_picture(photo.path)
            figure = figure_on_white(picture)
            yield Scene(picture, figure, figure, NOT_WORN)


def clutter(folder: Path) -> list[Pixels]:
    """Photos of no product, for grounds."""
    return [read_picture(path) for path, label in _objects(folder) if _is_clutter(label)]


def _clear(path: Path, worn: frozenset[str], clear: float) -> Iterator[Scene]:
    picture = read_picture(path)
    product, clarity = cut_out(picture)
    if clarity >= clear:
        yield Scene(picture, product, product, worn)


def _objects(folder: Path) -> list[tuple[Path, str]]:
    with (folder / "objects" / "labels.csv").open(newline="") as file:
        return [(folder / "objects" / "images" / row["image"], row["label"]) for row in csv.DictReader(file)]


def _is_clutter(label: str) -> bool:
    return label.startswith("clutter")


def _path(sample: Sample) -> Path:
    assert isinstance(sample.photo, Path)
    return sample.photo


def _some(samples: Sequence[Sample], count: int, random: np.random.Generator) -> Iterator[Sample]:
    return (samples[number] for number in random.permutation(len(samples))[:count])
