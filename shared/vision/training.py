"""Trains a pack's heads on the trunk's frozen features: minutes on a CPU, and every figure it reports is honest.

The heads learn from the train split alone. What has to be fitted on answers to photos not seen before (the temperature
and the distances of known photos) is fitted by cross-fitting on that split, and the val split is only measured.
"""

import csv
import hashlib
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from shared.errors import Poison
from shared.photos import Pixels
from shared.vision.decode import decode
from shared.vision.heads import Array, Heads, compared, described, softmax, unit_rows
from shared.vision.layout import INPUT_SIZE
from shared.vision.taxonomy import Path as CategoryPath
from shared.vision.taxonomy import Taxonomy
from shared.vision.trunk import Trunk, squeezed

FOLDS = 4
DECAY = 3e-3
AUDIENCE_DECAY = 1e-2
FALSE_UNKNOWN = 0.04
EMBEDDING_DIMENSIONS = 256
EMBEDDING_SHRINKAGE = 0.3
KNOWN_DIMENSIONS = 128
BATCH = 32

Advance = Callable[[int], None]


class PhotosUnusable(Exception):
    """The folder to train on lacks something. One line that says what."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A labelled photo: a file, or bytes that were drawn."""

    photo: Path | bytes
    category: CategoryPath
    split: str  # "train" or "val"
    # Photos of one group resemble each other more than a stranger's would: folds never divide it.
    group: str
    kids: bool | None = None
    weight: float = 1.0

    def body(self) -> bytes:
        return self.photo if isinstance(self.photo, bytes) else self.photo.read_bytes()


def read_samples(folder: Path) -> list[Sample]:
    """The photos of clothing/ and grocery/ under the folder, train and val. Raises PhotosUnusable."""
    try:
        return [*_garments(folder / "clothing"), *_groceries(folder / "grocery")]
    except (OSError, KeyError, ValueError) as why:
        raise PhotosUnusable(f"{folder} is not laid out as the training photos are: {why}") from why


def _garments(folder: Path) -> Iterator[Sample]:
    with (folder / "labels.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            yield Sample(
                folder / row["split"] / row["label"] / f"{row['image']}.jpg",
                ("garments", row["label"]),
                row["split"],
                group=f"sender {row['sender_id']}",
                kids=row["kids"] == "True",
            )


def _groceries(folder: Path) -> Iterator[Sample]:
    with (folder / "classes.csv").open(newline="") as file:
        classes = {row["Class ID (int)"]: row for row in csv.DictReader(file)}
    for split in ("train", "val"):
        for line in (folder / f"{split}.txt").read_text().splitlines():
            path, fine, _coarse = (part.strip() for part in line.split(","))
            row = classes[fine]
            names = row["Coarse Class Name (str)"], row["Class Name (str)"]
            yield Sample(
                folder / path,
                ("groceries", Path(path).parts[1], *names),
                split,
                # Neighbours in the numbering were taken in one visit to one shop.
                group=f"{names} {int(Path(path).stem.rsplit('_', 1)[1]) // 8}",
            )


def drawn_samples(photos: Iterable[tuple[bytes, CategoryPath]], weight_beside_real: float) -> list[Sample]:
    """Rendered photos. Those of categories that real photos show as well count less."""
    return [
        Sample(
            body, path, "train", group=f"drawn {number}", weight=weight_beside_real if path[0] == "garments" else 1.0
        )
        for number, (body, path) in enumerate(photos)
    ]


def features_of(samples: Sequence[Sample], trunk: Trunk, trunk_sha256: str, cache: Path, advance: Advance) -> Array:
    """One row per sample, from the cache if these files went through this trunk before. Raises PhotosUnusable.

    Decoding runs in threads beside the trunk. `advance` is told how many photos were done.
    """
    path = cache / f"features-{_key(samples, trunk_sha256)}.npy"
    if path.is_file():
        advance(len(samples))
        kept: Array = np.load(path, allow_pickle=False).astype(np.float32)
        return kept
    rows: list[Array] = []
    with ThreadPoolExecutor(2, thread_name_prefix="decode") as pool:
        for inputs in _ahead(pool, (samples[i : i + BATCH] for i in range(0, len(samples), BATCH))):
            rows.append(trunk.features(inputs))
            advance(len(inputs))
    found = np.concatenate(rows)
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=cache, suffix=".npy", delete=False) as file:
        np.save(file, found.astype(np.float16))
    Path(file.name).replace(path)
    # As the next run will read them, so that a cache changes no figure.
    return found.astype(np.float16).astype(np.float32)


def _ahead(pool: ThreadPoolExecutor, batches: Iterable[Sequence[Sample]]) -> Iterator[list[Pixels]]:
    """Decodes one batch while the one before is used."""
    waiting: list[Future[Pixels]] = []
    for batch in batches:
        started = [pool.submit(_input, sample) for sample in batch]
        if waiting:
            yield [future.result() for future in waiting]
        waiting = started
    yield [future.result() for future in waiting]


def _input(sample: Sample) -> Pixels:
    try:
        return squeezed(decode(sample.body(), INPUT_SIZE))
    except (OSError, Poison) as why:
        name = sample.photo if isinstance(sample.photo, Path) else "a drawn photo"
        raise PhotosUnusable(f"{name}: {why}") from why


def _key(samples: Sequence[Sample], trunk_sha256: str) -> str:
    digest = hashlib.sha256(f"{trunk_sha256} squeezed to {INPUT_SIZE}".encode())
    for sample in samples:
        if isinstance(sample.photo, bytes):
            digest.update(hashlib.sha256(sample.photo).digest())
        else:
            digest.update(f"{sample.photo.resolve()} {sample.photo.stat().st_size}\n".encode())
    return digest.hexdigest()[:16]


@dataclass(frozen=True)
class Trained:
    """Heads, and from where on a photo is strange."""

    heads: Heads
    taxonomy: Taxonomy
    strange_beyond: float
    temperature: float


def fit_heads(samples: Sequence[Sample], features: Array) -> Trained:
    """From the samples of the train split; the others are not looked at. One row of features per sample."""
    train = [i for i, sample in enumerate(samples) if sample.split == "train"]
    samples, features = [samples[i] for i in train], features[train]
    taxonomy = Taxonomy(tuple(sorted({sample.category for sample in samples})))
    labels = np.array([taxonomy.number(sample.category) for sample in samples])
    weights = np.array([sample.weight for sample in samples], np.float32)
    folds = fold_of(samples)
    seen = described(features)

    temperature = fitted_temperature(_held_out_logits(seen, labels, weights, folds, len(taxonomy.leaves)), labels)
    weight, bias = fit_softmax(seen, labels, weights, len(taxonomy.leaves), DECAY)
    audience_weight, audience_bias = _audience(samples, seen, folds)
    near = compared(features)
    mean, projection = embedding(near, labels)
    known = _principal(near, KNOWN_DIMENSIONS)
    landmarks = unit_rows(near @ known)
    distances = _held_out_distances(landmarks, folds)
    heads = Heads(
        leaf_weight=weight / temperature,
        leaf_bias=bias / temperature,
        audience_weight=audience_weight,
        audience_bias=audience_bias,
        embedding_mean=mean,
        embedding_projection=projection,
        known_projection=known,
        known_landmarks=landmarks,
        known_distances=np.quantile(distances, np.linspace(0, 1, 101)).astype(np.float32),
    )
    return Trained(heads, taxonomy, float(np.quantile(distances, 1 - FALSE_UNKNOWN)), temperature)


def fold_of(samples: Sequence[Sample]) -> NDArray[np.intp]:
    """A fold for each sample: whole groups, dealt out in turn within each category so that no fold lacks one."""
    folds: dict[str, int] = {}
    dealt: dict[CategoryPath, int] = {}
    for sample in samples:
        if sample.group not in folds:
            folds[sample.group] = dealt.get(sample.category, 0) % FOLDS
            dealt[sample.category] = dealt.get(sample.category, 0) + 1
    return np.array([folds[sample.group] for sample in samples], np.intp)


def fit_softmax(
    rows: Array, labels: NDArray[np.intp], weights: Array, classes: int, decay: float
) -> tuple[Array, Array]:
    """Multinomial logistic regression by L-BFGS: weight (columns of rows x classes) and bias for raw rows.

    Minimises the weighted mean cross-entropy plus `decay` times the squared weights of standardised rows.
    """
    mean = rows.mean(axis=0)
    spread = rows.std(axis=0) + np.float32(1e-4)
    x = torch.from_numpy((rows - mean) / spread)
    y = torch.from_numpy(labels)
    w = torch.from_numpy(weights / weights.sum())
    weight = torch.zeros(rows.shape[1], classes, requires_grad=True)
    bias = torch.zeros(classes, requires_grad=True)
    optimiser = torch.optim.LBFGS([weight, bias], max_iter=60, history_size=10, line_search_fn="strong_wolfe")

    def loss() -> float:
        optimiser.zero_grad()
        each = torch.nn.functional.cross_entropy(x @ weight + bias, y, reduction="none")
        total = (w * each).sum() + decay * weight.square().sum()
        total.backward()  # type: ignore[no-untyped-call]
        return total.item()

    optimiser.step(loss)  # type: ignore[no-untyped-call]
    raw: Array = weight.detach().numpy() / spread[:, None]
    return raw, (bias.detach().numpy() - mean @ raw).astype(np.float32)


def _held_out_logits(
    rows: Array, labels: NDArray[np.intp], weights: Array, folds: NDArray[np.intp], classes: int
) -> Array:
    logits = np.zeros((len(rows), classes), np.float32)
    for fold in range(FOLDS):
        out = folds == fold
        if out.any() and not out.all():
            weight, bias = fit_softmax(rows[~out], labels[~out], weights[~out], classes, DECAY)
            logits[out] = rows[out] @ weight + bias
    return logits


def fitted_temperature(logits: Array, labels: NDArray[np.intp]) -> float:
    """What the logits have to be divided by so that they are calibrated: the least negative log-likelihood.

    Guo et al., On Calibration of Modern Neural Networks, ICML 2017.
    """
    candidates = np.geomspace(0.25, 4, 81)
    rows = np.arange(len(labels))
    costs = [-np.log(softmax(logits / np.float32(t))[rows, labels] + 1e-12).mean() for t in candidates]
    return float(candidates[int(np.argmin(costs))])


def _audience(samples: Sequence[Sample], rows: Array, folds: NDArray[np.intp]) -> tuple[Array, Array]:
    """Kids against adult, both weighing the same: in a shop for children few photos show adults' wear."""
    asked = np.array([i for i, sample in enumerate(samples) if sample.kids is not None])
    kids = np.array([int(samples[i].kids or False) for i in asked])
    weights = (0.5 / np.maximum(np.bincount(kids, minlength=2), 1))[kids].astype(np.float32)
    rows, folds = rows[asked], folds[asked]
    logits = np.zeros((len(rows), 2), np.float32)
    for fold in range(FOLDS):
        out = folds == fold
        weight, bias = fit_softmax(rows[~out], kids[~out], weights[~out], 2, AUDIENCE_DECAY)
        logits[out] = rows[out] @ weight + bias
    temperature = _balanced_temperature(logits, kids, weights)
    weight, bias = fit_softmax(rows, kids, weights, 2, AUDIENCE_DECAY)
    difference: Array = (weight[:, 1] - weight[:, 0]) / temperature
    return difference, np.array([(bias[1] - bias[0]) / temperature], np.float32)


def _balanced_temperature(logits: Array, labels: NDArray[np.intp], weights: Array) -> float:
    candidates = np.geomspace(0.25, 4, 81)
    rows = np.arange(len(labels))
    costs = [-(weights * np.log(softmax(logits / np.float32(t))[rows, labels] + 1e-12)).sum() for t in candidates]
    return float(candidates[int(np.argmin(costs))])


def embedding(rows: Array, labels: NDArray[np.intp]) -> tuple[Array, Array]:
    """Mean and projection to EMBEDDING_DIMENSIONS: principal directions after whitening what varies within a class.

    Linear discriminant analysis, shrunk towards the plain covariance, so that what tells two things of one class apart
    stays in: copies of one photo lie closest, then its class, then the rest.
    """
    mean = rows.mean(axis=0)
    centred = (rows - mean).astype(np.float64)
    of_class = np.stack([centred[labels == c].mean(axis=0) for c in range(labels.max() + 1)])
    within = centred - of_class[labels]
    covariance = within.T @ within / len(rows)
    shrunk = covariance + EMBEDDING_SHRINKAGE * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
    values, directions = np.linalg.eigh(shrunk)
    whitening = directions / np.sqrt(values)
    _, principal = np.linalg.eigh((centred @ whitening).T @ (centred @ whitening))
    projection = whitening @ principal[:, ::-1][:, :EMBEDDING_DIMENSIONS]
    scaled = projection / np.abs(centred @ projection).mean()
    return mean, scaled.astype(np.float32)


def _principal(rows: Array, dimensions: int) -> Array:
    """The directions that carry most of the rows, not centred: strangers lie near the origin of no class."""
    _, directions = np.linalg.eigh((rows.T @ rows).astype(np.float64))
    return directions[:, ::-1][:, :dimensions].astype(np.float32)


def _held_out_distances(landmarks: Array, folds: NDArray[np.intp]) -> Array:
    """Of each landmark to the nearest one of another fold: how far photos lie that were not trained on."""
    distances = np.zeros(len(landmarks), np.float32)
    for fold in range(FOLDS):
        out = folds == fold
        distances[out] = 1 - (landmarks[out] @ landmarks[~out].T).max(axis=1)
    return distances
