"""Trains the region network (shared/vision/regions.py) on scenes whose regions are known (learning/scenes.py).

First on recoloured photos and what lies alone. Then also on the other photos of the same products, details and backs,
as far as what the network finds there has the product's colour.
"""

from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from learning.scenes import (
    Scene,
    Shown,
    clutter,
    figure_on_white,
    lying_alone,
    read_catalogue,
    read_picture,
    recoloured,
    things_on_white,
)
from learning.sources import PhotosUnusable
from learning.views import View, Views
from shared.photos import Pixels
from shared.vision.cutting import Lab, Map, lab_of, refined, small
from shared.vision.pack import sha256_of
from shared.vision.regions import (
    GRID,
    REGIONS,
    SPEC,
    WEIGHTS,
    Maps,
    RegionNetwork,
    RegionSpec,
    region_input,
    save_regions,
)

SAME_COLOUR = 12.0  # CIE76 with half of lightness: another photo of the same dye
SURE = 9.0  # up to so far from the product's middle colour a pixel is surely its
AVERAGED = 0.995

Stepped = Callable[[int, int, float], None]  # steps done, of how many, and the loss


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to train. The rates are those of AdamW at their peak; both follow a cosine in each round."""

    first_steps: int = 550
    steps: int = 2400
    batch: int = 16
    encoder_rate: float = 4e-4
    pyramid_rate: float = 2e-3
    decay: float = 0.02
    garments: int = 1500
    groceries: int = 250
    seed: int = 1


@dataclass(frozen=True)
class Learned:
    """What a run made of the photos."""

    network: RegionNetwork
    photos: dict[str, int]
    measured: dict[str, float]


def train_regions(folder: Path, recipe: Recipe, stepped: Stepped) -> Learned:
    """On the photos under the folder. Raises PhotosUnusable."""
    random = np.random.default_rng(recipe.seed)
    torch.manual_seed(recipe.seed)
    catalogue = read_catalogue(folder)
    known = list(recoloured(catalogue))
    taught = [scene for photo, scene in known if not photo.is_held]
    judged = [scene for photo, scene in known if photo.is_held]
    learned_from = [photo for photo in catalogue if not photo.is_held]
    alone = [*lying_alone(folder, recipe.garments, recipe.groceries, random)]
    # A handful: shown as often as many others.
    alone += 4 * list(things_on_white(learned_from))
    if not taught or not judged:
        raise PhotosUnusable(f"{folder / 'catalogue'} has too few photos of one product in several colours")
    grounds = clutter(folder)
    network = RegionNetwork.on_imagenet()
    network = _round(network, Views(taught, alone, grounds), recipe.first_steps, recipe, random, stepped)
    others = [*more_of(learned_from, known, network)]
    network = _round(network, Views([*taught, *others], alone, grounds), recipe.steps, recipe, random, stepped)
    photos = {
        "recoloured": len(taught),
        "of the same products": len(others),
        "alone": len(alone),
        "held out": len(judged),
    }
    return Learned(network, photos, measured(network, judged))


def write_regions(folder: Path, learned: Learned, recipe: Recipe) -> RegionSpec:
    """Weights and what is known of them."""
    folder.mkdir(parents=True, exist_ok=True)
    save_regions(learned.network, folder / WEIGHTS)
    run = {name: str(value) for name, value in asdict(recipe).items()}
    sha256 = sha256_of(folder / WEIGHTS)
    spec = RegionSpec(sha256=sha256, run=run, photos=learned.photos, measured=learned.measured)
    (folder / SPEC).write_text(spec.model_dump_json(indent=2) + "\n")
    return spec


def found_by(network: RegionNetwork, pixels: Pixels) -> Maps:
    """Log odds of each region on a photo of any size."""
    with torch.inference_mode():
        row: Maps = network(torch.from_numpy(region_input(pixels))[None])[0].numpy()
    return row.reshape(len(REGIONS), GRID, GRID)


def measured(network: RegionNetwork, scenes: Sequence[Scene]) -> dict[str, float]:
    """How much of what is product, and of what is found, is both: intersection over union, in the mean."""
    return {"product_iou": float(np.mean([_overlap(network, scene) for scene in scenes]))}


def _overlap(network: RegionNetwork, scene: Scene) -> float:
    height, width = scene.product.shape
    product = REGIONS.index("product")
    found = cv2.resize(found_by(network, scene.picture)[product], (width, height)) > 0
    return float((found & scene.product).sum() / (found | scene.product).sum())


# --- details and backs ------------------------------------------------------------------------------------------------
def more_of(photos: Sequence[Shown], known: Sequence[tuple[Shown, Scene]], network: RegionNetwork) -> Iterator[Scene]:
    """Of photos that aren't known, those on which the network finds the colour of the product that they show."""
    dyes = {(photo.product, photo.colour): _middle(lab_of(scene.picture), scene.product) for photo, scene in known}
    seen = {photo.path for photo, _ in known}
    for photo in photos:
        dye = dyes.get((photo.product, photo.colour))
        if photo.path not in seen and photo.worn and dye is not None:
            yield from _found(photo, dye, network)


def _found(photo: Shown, dye: Lab, network: RegionNetwork) -> Iterator[Scene]:
    picture = read_picture(photo.path)
    lab = lab_of(small(picture))
    height, width = lab.shape[:2]
    (worn,) = photo.worn
    odds = cv2.resize(found_by(network, picture)[REGIONS.index(worn)], (width, height))
    product = refined(lab, odds)
    if product.mean() < 0.04 or _apart(_middle(lab, product), dye) > SAME_COLOUR:
        return
    own = product & (_apart(lab, _middle(lab, product)) < SURE)
    sure = ((product == (odds > 0)) | own).astype(np.float32)
    size = picture.shape[1], picture.shape[0]
    yield Scene(
        picture,
        cv2.resize(product.astype(np.float32), size) > 0.5,
        figure_on_white(picture),
        photo.worn,
        sure=(cv2.resize(sure, size) > 0.9).astype(np.float32),
    )


def _middle(lab: Lab, product: np.ndarray) -> Lab:
    return np.asarray(np.median(lab[product], axis=0), dtype=np.float32)


def _apart(one: Lab, other: Lab) -> Map:
    return np.asarray(np.sqrt((((one - other) * np.array([0.5, 1, 1], np.float32)) ** 2).sum(axis=-1)), np.float32)


# --- training ---------------------------------------------------------------------------------------------------------
def _round(
    network: RegionNetwork, views: Views, steps: int, recipe: Recipe, random: np.random.Generator, stepped: Stepped
) -> RegionNetwork:
    """Returns the averaged weights."""
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    averaged = deepcopy(network)
    encoder = [*network.stem.parameters(), *network.stages.parameters()]
    rates = {"encoder": recipe.encoder_rate, "pyramid": recipe.pyramid_rate}
    pyramid = [*network.across.parameters(), *network.smooth.parameters(), *network.regions.parameters()]
    optimiser = torch.optim.AdamW(
        [{"params": encoder, "lr": rates["encoder"]}, {"params": pyramid, "lr": rates["pyramid"]}],
        weight_decay=recipe.decay,
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, [*rates.values()], total_steps=steps, pct_start=min(0.3, 50 / steps), cycle_momentum=False
    )
    network.train()
    # ImageNet's statistics: batches of a few scenes know them worse.
    network.stem.eval()
    network.stages.eval()
    for step, batch in enumerate(_batches(views, steps, recipe.batch, random), start=1):
        loss = _loss(network, batch)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(network.parameters(), 2.0)
        optimiser.step()
        schedule.step()
        optimiser.zero_grad()
        _follow(averaged, network, min(AVERAGED, step / (step + 20)))
        stepped(step, steps, loss.item())
    return averaged.eval()


def _batches(views: Views, steps: int, size: int, random: np.random.Generator) -> Iterator[list[View]]:
    """Of one shape each."""
    waiting: dict[tuple[int, ...], list[View]] = {}
    made = 0
    while made < steps:
        view = views.draw(random)
        alike = waiting.setdefault(view.picture.shape, [])
        alike.append(view)
        if len(alike) == size:
            made += 1
            yield waiting.pop(view.picture.shape)


def _loss(network: RegionNetwork, batch: Sequence[View]) -> Tensor:
    """Cross entropy, and a share of soft Dice, which counts small regions as much as large ones."""
    odds = network.maps(torch.from_numpy(np.stack([view.picture for view in batch])))
    targets, weights = (
        torch.from_numpy(np.stack(part)).permute(0, 3, 1, 2)
        for part in ([view.targets for view in batch], [view.weights for view in batch])
    )
    entropy = functional.binary_cross_entropy_with_logits(odds, targets, weights, reduction="sum") / weights.sum()
    found, wanted = torch.sigmoid(odds) * weights, targets * weights
    both, either = (found * targets).sum((2, 3)), found.sum((2, 3)) + wanted.sum((2, 3))
    return entropy + 0.3 * (1 - (2 * both + 1) / (either + 1)).mean()


def _follow(averaged: RegionNetwork, network: RegionNetwork, kept: float) -> None:
    with torch.no_grad():
        for mine, theirs in zip(averaged.state_dict().values(), network.state_dict().values(), strict=True):
            if mine.dtype.is_floating_point:
                mine.lerp_(theirs, 1 - kept)
            else:
                mine.copy_(theirs)
