"""Fine-tunes a trunk with a classifier on top: one softmax over all leaves, and kids or adult for garments.

Deterministic given a seed, a machine and its number of threads: the order and augmentation of an epoch follow from the
seed and the epoch's number alone. So a run that was stopped goes on from its last whole epoch as if nothing had been.
"""

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import timm
import torch
from numpy.typing import NDArray
from timm.optim import param_groups_weight_decay
from timm.scheduler.cosine_lr import CosineLRScheduler
from timm.utils.model_ema import ModelEmaV3
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2  # type: ignore[import-untyped]

from learning.sources import PhotosUnusable
from shared.errors import Unusable
from shared.vision.taxonomy import Taxonomy
from shared.vision.trunk import MEAN, STD, Canvas, canvases_of, nearest_canvas

CHECKPOINTS = 2  # of which kind they are: what the optimiser's state means goes with the code that wrote it
EVALUATED_AT_ONCE = 64
WAY_OUT = "delete it, or name another folder"
MIXUP = 0.4  # the beta distribution's parameter: mostly one photo with a little of another


class RunUnusable(Unusable):
    """What a run left in its folder is no state of this run. The message says what to do."""


@dataclass(frozen=True, slots=True)
class Phase:
    """So many epochs on pictures of about side x side pixels, in the photos' shapes."""

    side: int
    epochs: int


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to fine-tune. The rates are those of AdamW at their peak; both follow one cosine."""

    phases: tuple[Phase, ...]
    trunk_rate: float = 6e-4
    head_rate: float = 3e-3
    decay: float = 0.02
    batch: int = 48
    warm_up_steps: int = 150
    clip: float = 2.0
    dropout: float = 0.2
    smoothing: float = 0.1
    ema: float = 0.996
    # Of the losses beside the leaf's: that of the node above it, and that of the audience.
    parent_share: float = 0.3
    audience_share: float = 0.15
    # The stem and the first blocks know edges and textures already: kept as they are, a step costs a third less.
    frozen_blocks: int = 2
    # Few photos are soon known by heart. Skipping layers at random keeps a trunk from it, and so do batches of mixed
    # photos: CutMix (ICCV 2019) or MixUp (ICLR 2018).
    drop_path: float = 0.2
    mixed_share: float = 0.5  # of the batches
    least_crop: float = 0.35
    loaders: int = 2  # processes that augment while the network computes; 0: none, in turn with it
    seed: int = 1
    start: str = "ImageNet"  # whose weights are fine-tuned

    @property
    def epochs(self) -> int:
        return sum(phase.epochs for phase in self.phases)

    def side(self, epoch: int) -> int:
        """The side of the square pictures of an epoch, counted from 0; the others have about as many pixels."""
        sides = [phase.side for phase in self.phases for _ in range(phase.epochs)]
        return sides[epoch]


@dataclass(frozen=True)
class Photos:
    """What is learned from: n photos squeezed to one size, and what is on them."""

    pixels: NDArray[np.uint8]  # n x side x side x RGB; may be a memory map
    ratios: NDArray[np.float32]  # n: height over width of the photo
    leaf: NDArray[np.int64]  # n
    kids: NDArray[np.int64]  # n: 1 kids, 0 adult, -1 not known

    def __len__(self) -> int:
        return len(self.leaf)


@dataclass(frozen=True)
class Picked:
    """Some rows of Photos: they stay where they are."""

    photos: Photos
    rows: NDArray[np.intp]

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True, slots=True)
class Stepped:
    """What one step gave: over the batch's augmented pictures."""

    epoch: int
    number: int  # of all steps, from 1
    loss: float
    accuracy: float


@dataclass(frozen=True, slots=True)
class Epoch:
    """What one epoch gave. `held_out` is the accuracy of the averaged weights on photos that are not trained on."""

    epoch: int
    side: int
    loss: float
    accuracy: float
    held_out: float


class Classifier(nn.Module):
    """A trunk of timm's EfficientNet family, a leaf's logit each, and the logit of kids."""

    def __init__(
        self, architecture: str, leaves: int, dropout: float = 0.0, frozen_blocks: int = 0, drop_path: float = 0.0
    ) -> None:
        super().__init__()
        trunk: Any = timm.create_model(architecture, pretrained=False, num_classes=0, drop_path_rate=drop_path)
        features: int = trunk.num_features
        self.trunk: Any = trunk
        self.dropout = nn.Dropout(dropout)
        self.leaf = nn.Linear(features, leaves)
        self.audience = nn.Linear(features, 1)
        self._frozen_blocks = frozen_blocks
        for module in self._frozen():
            module.requires_grad_(False)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """n x 3 x height x width to n x leaves and n."""
        net = self.trunk
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self._frozen_blocks):
            maps = net.bn1(net.conv_stem(pixels))
            for block in net.blocks[: self._frozen_blocks]:
                maps = block(maps)
        for block in net.blocks[self._frozen_blocks :]:
            maps = block(maps)
        pooled = self.dropout(net.bn2(net.conv_head(maps)).mean((2, 3)))
        return self.leaf(pooled), self.audience(pooled)[:, 0]

    def train(self, mode: bool = True) -> "Classifier":
        """What is frozen keeps its statistics too."""
        super().train(mode)
        for module in self._frozen():
            module.eval()
        return self

    def _frozen(self) -> Iterator[nn.Module]:
        if self._frozen_blocks:
            yield self.trunk.conv_stem
            yield self.trunk.bn1
            yield from self.trunk.blocks[: self._frozen_blocks]


def fine_tune(
    start: Classifier,
    learn: Picked,
    held_out: Picked,
    taxonomy: Taxonomy,
    recipe: Recipe,
    folder: Path,
    stepped: Callable[[Stepped, int], None],
    finished: Callable[[Epoch], None],
) -> Classifier:
    """The averaged weights after the last epoch; `start` is changed. A run begun in this folder is continued.

    `stepped` is told each step and how many there are in all, `finished` each epoch. Raises ValueError when the folder
    holds a run of another recipe or of other photos, and when there are too few photos for a batch.
    """
    run = _Run(start, learn, taxonomy, recipe, folder)
    for epoch in range(run.epochs_done, recipe.epochs):
        loss, accuracy = run.epoch(epoch, stepped)
        said = Epoch(epoch, recipe.side(epoch), loss, accuracy, accuracy_of(run.averaged, held_out, recipe.side(epoch)))
        run.save(epoch + 1)
        finished(said)
    return run.averaged


def accuracy_of(model: Classifier, photos: Picked, side: int) -> float:
    """Top-1 over all leaves, on whole pictures. 0 without photos."""
    if not len(photos):
        return 0.0
    right = 0
    for canvas, numbers in _by_canvas(photos, canvases_of(side)).items():
        for some in np.array_split(photos.rows[numbers], math.ceil(len(numbers) / EVALUATED_AT_ONCE)):
            leaf, _ = predict(model, photos.photos.pixels[some], canvas)
            right += int((leaf.argmax(1) == photos.photos.leaf[some]).sum())
    return right / len(photos)


def predict(
    model: Classifier, pixels: NDArray[np.uint8], canvas: Canvas
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """n x leaves logits and n logits of kids, for n x any x any x RGB."""
    model.eval()
    device = next(model.parameters()).device
    with torch.inference_mode():
        resized = v2.functional.resize(torch.from_numpy(pixels).permute(0, 3, 1, 2), list(canvas), antialias=True)
        leaf, kids = model(_scaled(resized.to(device)).contiguous(memory_format=torch.channels_last))
    return leaf.float().cpu().numpy(), kids.float().cpu().numpy()


class _Run:
    """The state of one run: what a checkpoint holds."""

    def __init__(self, model: Classifier, learn: Picked, taxonomy: Taxonomy, recipe: Recipe, folder: Path) -> None:
        self._model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._device = next(model.parameters()).device
        self._learn = learn
        self._recipe = recipe
        self._path = folder / "checkpoint.pt"
        self._parents = _parents(taxonomy).to(self._device)
        self._leaves = len(taxonomy.leaves)
        self._mix = v2.RandomChoice(
            [v2.CutMix(num_classes=self._leaves), v2.MixUp(alpha=MIXUP, num_classes=self._leaves)]
        )
        self._kids_weight = _kids_weight(learn.photos.kids[learn.rows])
        self._ema = ModelEmaV3(model, decay=recipe.ema)
        self._optimiser = optimiser_for(model, recipe)
        self._steps_per_epoch = len(learn) // recipe.batch
        if recipe.epochs and not self._steps_per_epoch:
            raise PhotosUnusable(f"{len(learn)} photos to learn from don't fill a batch of {recipe.batch}: add more")
        self._rates = rates_for(self._optimiser, recipe, self._steps_per_epoch * recipe.epochs)
        self._identity = _identity(learn, recipe)
        self.epochs_done = 0
        folder.mkdir(parents=True, exist_ok=True)
        if self._path.is_file():
            self._load()

    @property
    def averaged(self) -> Classifier:
        averaged: Classifier = self._ema.module
        return averaged

    def epoch(self, epoch: int, stepped: Callable[[Stepped, int], None]) -> tuple[float, float]:
        """Mean loss and accuracy over its augmented pictures."""
        self._model.train()
        torch.manual_seed(self._recipe.seed * 1_000_003 + epoch)
        losses, accuracies = [], []
        for number, (pixels, leaf, kids) in enumerate(self._batches(epoch)):
            done = epoch * self._steps_per_epoch + number + 1
            self._rates.step_update(done)
            loss, right = self._step(pixels.to(self._device), leaf.to(self._device), kids.to(self._device))
            losses.append(loss)
            accuracies.append(right)
            stepped(Stepped(epoch, done, loss, right), self._steps_per_epoch * self._recipe.epochs)
        return float(np.mean(losses)), float(np.mean(accuracies))

    def _step(self, pixels: Tensor, leaf: Tensor, kids: Tensor) -> tuple[float, float]:
        shown, truth = _scaled(pixels), functional.one_hot(leaf, self._leaves).float()
        if torch.rand(()) < self._recipe.mixed_share:
            shown, truth = self._mix(shown, leaf)
            # A mixture of kids' and adults' wear is neither: mixed photos teach nothing of the audience.
            kids = torch.full_like(kids, -1)
        logits, audience = self._model(shown.contiguous(memory_format=torch.channels_last))
        loss = functional.cross_entropy(logits, truth, label_smoothing=self._recipe.smoothing)
        loss = loss + self._recipe.parent_share * self._parent_loss(logits, truth)
        loss = loss + self._recipe.audience_share * self._audience_loss(audience, kids)
        if not torch.isfinite(loss):
            raise FloatingPointError("the loss is no longer finite: lower the rates")
        self._optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self._model.parameters(), self._recipe.clip)
        self._optimiser.step()
        self._ema.update(self._model)
        return loss.item(), float((logits.detach().argmax(1) == truth.argmax(1)).float().mean())

    def _parent_loss(self, logits: Tensor, truth: Tensor) -> Tensor:
        """Cross-entropy of the node above the leaf: an apple taken for another apple is half right."""
        above = functional.softmax(logits, dim=1) @ self._parents
        return -(truth @ self._parents * above.clamp_min(1e-6).log()).sum(1).mean()

    def _audience_loss(self, logits: Tensor, kids: Tensor) -> Tensor:
        known = kids >= 0
        weight = torch.where(kids == 1, self._kids_weight, 1.0)
        each = functional.binary_cross_entropy_with_logits(logits, kids.clamp_min(0).float(), reduction="none")
        return (each * weight * known).sum() / known.sum().clamp_min(1)

    def _batches(self, epoch: int) -> "DataLoader[Any]":
        order = torch.Generator().manual_seed(self._recipe.seed * 7_919 + epoch)
        canvases = canvases_of(self._recipe.side(epoch))
        return DataLoader(
            Augmented(self._learn, canvases, self._recipe.least_crop),
            batch_sampler=batches_of(self._learn, canvases, self._recipe.batch, order),
            num_workers=self._recipe.loaders,
            generator=order,
            prefetch_factor=4 if self._recipe.loaders else None,
        )

    def save(self, epochs_done: int) -> None:
        self.epochs_done = epochs_done
        state = {
            "identity": self._identity,
            "epochs_done": epochs_done,
            "model": self._model.state_dict(),
            "averaged": self._ema.module.state_dict(),
            "optimiser": self._optimiser.state_dict(),
        }
        beside = self._path.with_suffix(".new")
        torch.save(state, beside)
        beside.replace(self._path)

    def _load(self) -> None:
        try:
            state: dict[str, Any] = torch.load(self._path, map_location=self._device, weights_only=True)
        except (EOFError, RuntimeError, UnpicklingError) as why:
            raise RunUnusable(f"{self._path} can't be read: {WAY_OUT}") from why
        if not isinstance(state, dict) or state.get("identity") != self._identity:
            raise RunUnusable(f"{self._path} is of another recipe or of other photos: {WAY_OUT}")
        self._model.load_state_dict(state["model"])
        self._ema.module.load_state_dict(state["averaged"])
        self._optimiser.load_state_dict(state["optimiser"])
        self.epochs_done = state["epochs_done"]


Showing = tuple[int, Canvas]  # which photo, and the shape that it is wanted in


def batches_of(photos: Picked, canvases: Sequence[Canvas], size: int, order: torch.Generator) -> list[list[Showing]]:
    """Whole batches, each of one shape. What is left over of all shapes comes as the first canvas, if it fills any."""
    batches: list[list[Showing]] = []
    left: list[Showing] = []
    for canvas, numbers in _by_canvas(photos, canvases).items():
        shuffled = numbers[torch.randperm(len(numbers), generator=order).numpy()].tolist()
        whole = len(shuffled) // size * size
        batches += [[(number, canvas) for number in shuffled[i : i + size]] for i in range(0, whole, size)]
        left += [(number, canvases[0]) for number in shuffled[whole:]]
    batches += [left[i : i + size] for i in range(0, len(left) // size * size, size)]
    return [batches[i] for i in torch.randperm(len(batches), generator=order).tolist()]


def _by_canvas(photos: Picked, canvases: Sequence[Canvas]) -> dict[Canvas, NDArray[np.intp]]:
    """The numbers of the photos that are nearest to each in shape."""
    nearest = [nearest_canvas(ratio, canvases) for ratio in photos.photos.ratios[photos.rows].tolist()]
    numbers_of = {
        canvas: np.array([i for i, its in enumerate(nearest) if its == canvas], np.intp) for canvas in canvases
    }
    return {canvas: numbers for canvas, numbers in numbers_of.items() if len(numbers)}


class Augmented(Dataset[Any]):
    """Each photo as it might have been taken: framed, mirrored, lit, tilted, partly hidden.

    3 x height x width, uint8.
    """

    def __init__(self, photos: Picked, canvases: Sequence[Canvas], least_crop: float) -> None:
        self._photos = photos
        self._views = {
            canvas: v2.Compose(
                [
                    v2.RandomResizedCrop(canvas, scale=(least_crop, 1.0), antialias=True),
                    v2.RandomHorizontalFlip(),
                    v2.TrivialAugmentWide(),
                    v2.RandomErasing(p=0.2, value=128),
                ]
            )
            for canvas in canvases
        }

    def __len__(self) -> int:
        return len(self._photos)

    def __getitem__(self, showing: Showing) -> tuple[Tensor, int, int]:
        number, canvas = showing
        row, photos = self._photos.rows[number], self._photos.photos
        pixels = torch.from_numpy(np.array(photos.pixels[row])).permute(2, 0, 1)
        return self._views[canvas](pixels), int(photos.leaf[row]), int(photos.kids[row])


def _scaled(pixels: Tensor) -> Tensor:
    return pixels.to(torch.float32).div_(255).sub_(MEAN).div_(STD)


def _parents(taxonomy: Taxonomy) -> Tensor:
    """leaves x nodes above a leaf: 1 where the leaf lies below the node."""
    above = sorted({leaf[:-1] for leaf in taxonomy.leaves})
    return torch.tensor([[float(leaf[:-1] == node) for node in above] for leaf in taxonomy.leaves])


def _kids_weight(kids: NDArray[np.int64]) -> float:
    """That of a photo of kids' wear beside one of adults', so that both sides weigh the same."""
    return float((kids == 0).sum() / max(1, (kids == 1).sum()))


def optimiser_for(model: Classifier, recipe: Recipe) -> torch.optim.Optimizer:
    """AdamW at the recipe's peak rates. Biases and norms don't decay."""
    rates = ((model.trunk, recipe.trunk_rate), (model.leaf, recipe.head_rate), (model.audience, recipe.head_rate))
    groups = [
        group | {"lr": rate} for module, rate in rates for group in param_groups_weight_decay(module, recipe.decay)
    ]
    return torch.optim.AdamW(groups)


def rates_for(optimiser: torch.optim.Optimizer, recipe: Recipe, steps: int) -> CosineLRScheduler:
    """Sets the rates before each step, which are counted from 1: up to their peaks, then down one cosine."""
    warm_up = min(recipe.warm_up_steps, steps // 5)
    return CosineLRScheduler(
        optimiser,
        t_initial=max(2, steps - warm_up),  # of 1 timm warns; it makes no difference to a single step
        warmup_t=warm_up + 1,
        warmup_prefix=True,
        t_in_epochs=False,
    )


def _identity(learn: Picked, recipe: Recipe) -> str:
    digest = hashlib.sha256(json.dumps([CHECKPOINTS, asdict(recipe)]).encode())
    digest.update(learn.rows.tobytes())
    digest.update(learn.photos.leaf.tobytes())
    digest.update(learn.photos.ratios.tobytes())
    return digest.hexdigest()
