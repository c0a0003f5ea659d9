"""Features of labelled photos, and the heads that are fitted to a fine-tuned trunk's features.

Everything is learned from the train split. What has to be fitted on answers to photos not seen before (temperatures,
distances of known photos) is fitted on photos of that split which the trunk's training was not shown, and the val split
is only measured.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from math import nan
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh  # type: ignore[import-untyped]

from learning.embedding import fit_embedding
from learning.outliers import fit_direction
from learning.sources import PhotosUnusable, Sample, of_leaves
from shared.errors import Poison
from shared.photo_formats import SUFFIXES
from shared.photos import Pixels
from shared.vision.decode import decode
from shared.vision.heads import Array, Heads, Votes, described, remoteness, sigmoid, unit_rows
from shared.vision.pack import Pack
from shared.vision.runtime import Runtime
from shared.vision.taxonomy import Path as CategoryPath
from shared.vision.taxonomy import Taxonomy
from shared.vision.trunk import Canvas, detail_of, fitted, resized

FOLDS = 8
HELD = 12  # one photo in so many is held out of the trunk's training, or a few more
# Of photos held out, how many may be called unknown. Where strangers taught what they are like, few have to be.
FALSE_UNKNOWN = 0.0075
FALSE_UNKNOWN_UNTAUGHT = 0.03
KNOWN_DIMENSIONS = 128
NEIGHBOURS = 10
SOFTNESS = 0.05
# Not fitted: of groceries held out near likenesses are among those trained on, so votes seem needless there.
SHARE = 0.25
BATCH = 32

Advance = Callable[[int], None]


def drawn_samples(photos: Iterable[tuple[bytes, CategoryPath]]) -> list[Sample]:
    """Rendered photos."""
    return [
        Sample(body, path, "train", group=f"drawn {number}", staged=True) for number, (body, path) in enumerate(photos)
    ]


def strange_samples(photos: Iterable[Path]) -> list[Sample]:
    """Photos of nothing that a pack knows."""
    return [Sample(photo, ("unknown",), "val", group=photo.name) for photo in photos]


def photos_under(folder: Path) -> list[Path]:
    """The photos below a folder by name, so that those of one folder lie side by side."""
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)


def features_of(samples: Sequence[Sample], runtime: Runtime, canvases: Sequence[Canvas], advance: Advance) -> Array:
    """One row per sample, as serving sees them. Raises PhotosUnusable. `advance` is told how many photos were done."""
    with ThreadPoolExecutor(2, thread_name_prefix="decode") as pool:
        return features_of_pictures(pool.map(lambda sample: _input(sample, canvases), samples), runtime, advance)


def features_of_pictures(pictures: Iterable[Pixels], runtime: Runtime, advance: Advance) -> Array:
    """One row per picture of a shape that the network looks at."""
    rows: list[Array] = []
    left = iter(pictures)
    while batch := list(islice(left, BATCH)):
        rows.append(runtime.features(batch))
        advance(len(batch))
    return np.concatenate(rows)


@dataclass(frozen=True)
class Kept:
    """Pictures of one size, and the shapes of the photos that were squeezed into them."""

    pixels: NDArray[np.uint8]  # n x side x side x RGB, as a memory map: loaders share its pages
    ratios: Array  # n: height over width of the photo


def pictures_of(samples: Sequence[Sample], side: int, cache: Path, advance: Advance) -> Kept:
    """One picture per sample, kept in the cache. Raises PhotosUnusable."""
    path, ratios_path = (cache / f"{what}-{_key(samples, side)}.npy" for what in ("pictures", "ratios"))
    if path.is_file() and ratios_path.is_file():
        advance(len(samples))
        return Kept(np.load(path, mmap_mode="r", allow_pickle=False), np.load(ratios_path, allow_pickle=False))
    cache.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".new")
    pictures = np.lib.format.open_memmap(beside, mode="w+", dtype=np.uint8, shape=(len(samples), side, side, 3))
    ratios = np.empty(len(samples), np.float32)
    with ThreadPoolExecutor(2, thread_name_prefix="decode") as pool:
        for number, pixels in enumerate(pool.map(lambda sample: _decoded(sample, side), samples)):
            pictures[number] = resized(pixels, (side, side))
            ratios[number] = pixels.shape[0] / pixels.shape[1]
            advance(1)
    pictures.flush()
    np.save(ratios_path, ratios)
    beside.replace(path)
    return Kept(pictures, ratios)


def _input(sample: Sample, canvases: Sequence[Canvas]) -> Pixels:
    return fitted(_decoded(sample, detail_of(canvases)), canvases)


def _decoded(sample: Sample, at_least: int) -> Pixels:
    try:
        return decode(sample.body(), at_least)
    except (OSError, Poison) as why:
        name = sample.photo if isinstance(sample.photo, Path) else "a drawn photo"
        raise PhotosUnusable(f"{name}: {why}") from why


def _key(samples: Sequence[Sample], side: int) -> str:
    digest = hashlib.sha256(f"squeezed to {side}".encode())
    for sample in samples:
        if isinstance(sample.photo, bytes):
            digest.update(hashlib.sha256(sample.photo).digest())
        else:
            digest.update(f"{sample.photo.resolve()} {sample.photo.stat().st_size}\n".encode())
    return digest.hexdigest()[:16]


@dataclass(frozen=True)
class Linear:
    """A classifier's last layers: leaves (G x L and L) and kids or adult (G and 1)."""

    leaf_weight: Array
    leaf_bias: Array
    audience_weight: Array
    audience_bias: Array


@dataclass(frozen=True)
class Trained:
    """Heads, how neighbours vote in them, and from where on a photo is strange."""

    heads: Heads
    taxonomy: Taxonomy
    votes: Votes
    strange_beyond: float
    # Of the strangers learned from, by directions learned without them and their neighbours in the folder; else nan.
    strangers_found: float


def taxonomy_of(samples: Iterable[Sample]) -> Taxonomy:
    """Of those that teach a leaf."""
    return Taxonomy(tuple(sorted({sample.category for sample in of_leaves(samples)})))


def held_out(samples: Sequence[Sample]) -> NDArray[np.bool_]:
    """One photo in ten or so of each domain's train split: whole groups, and never all that a category has.

    None of those that teach no leaf.
    """
    leaves = {sample.category for sample in of_leaves(samples)}
    judged = [
        number
        for number, sample in enumerate(samples)
        if sample.split == "train" and not sample.staged and sample.category in leaves
    ]
    folds = fold_of([samples[number] for number in judged])
    # The second fold: a category with one group has it in the first.
    second = {samples[number].group for number, fold in zip(judged, folds, strict=True) if fold == 1}
    held = np.zeros(len(samples), np.bool_)
    for domain in {samples[number].category[0] for number in judged}:
        numbers = [number for number in judged if samples[number].category[0] == domain]
        others = [number for number in numbers if samples[number].group in second]
        # Where categories have few groups, the second ones are many photos: only every so manieth is held out then.
        every = max(1, round(len(others) * HELD / len(numbers)))
        kept = set(list(dict.fromkeys(samples[number].group for number in others))[::every])
        held[[number for number in others if samples[number].group in kept]] = True
    return held


def fit_heads(
    samples: Sequence[Sample],
    features: Array,
    views: Array,
    widths: Sequence[int],
    classifier: Linear,
    strange: Array,
) -> Trained:
    """From the samples of the train split; the others are not looked at. One row of features per sample.

    `views`: photos of the train split x views x features. `classifier` is what the trunk was trained with, on all of
    these but `held_out`. `strange`: features of photos that should be called unknown, those alike side by side; may be
    empty.
    """
    held = held_out(samples)
    train = np.array([sample.split == "train" for sample in samples])
    taxonomy = taxonomy_of(samples)
    labels = np.array([taxonomy.number(sample.category) for sample in samples])
    seen = described(features, widths)
    seen_views = np.stack([described(view, widths) for view in views.swapaxes(0, 1)], axis=1)
    unknown = fit_unknown(samples, features, widths, strange)
    asked_samples = [sample for sample, out in zip(samples, held, strict=True) if out]
    asked = _HeldOut(features[held], labels[held], _domains(asked_samples))

    def heads(rows: NDArray[np.bool_]) -> Heads:
        mean, projection = fit_embedding(seen[rows], seen_views[rows[train]], labels[rows])
        return Heads(
            leaf_weight=classifier.leaf_weight,
            leaf_bias=classifier.leaf_bias,
            audience_weight=classifier.audience_weight,
            audience_bias=classifier.audience_bias,
            embedding_mean=mean,
            embedding_projection=projection,
            voters=unit_rows(np.subtract(seen[rows], mean) @ projection),
            voter_leaves=labels[rows].astype(np.float32),
            known_projection=unknown.projection,
            known_landmarks=unknown.landmarks[rows[train]],
            known_direction=unknown.direction,
            known_distances=unknown.distances,
            widths=tuple(widths),
        )

    # As if the photos held out did not exist: then they are asked about.
    votes = calibrated(Votes(NEIGHBOURS, SOFTNESS, SHARE, temperature=1.0), heads(train & ~held), asked)
    kids = np.array([-1 if sample.kids is None else int(sample.kids) for sample in asked_samples])
    complete = _with_audience_calibrated(heads(train), asked.features, kids)
    return Trained(complete, taxonomy, votes, unknown.beyond, unknown.strangers_found)


@dataclass(frozen=True)
class Unknown:
    """What tells known photos from strangers: the fields of Heads that begin with known, and from where on."""

    projection: Array
    landmarks: Array
    direction: Array
    distances: Array
    beyond: float
    # Of the strangers learned from, by directions learned without them and their neighbours in the folder; else nan.
    strangers_found: float

    def put_into(self, heads: Heads) -> Heads:
        """Their categories, audiences and vectors stay as they are."""
        return replace(
            heads,
            known_projection=self.projection,
            known_landmarks=self.landmarks,
            known_direction=self.direction,
            known_distances=self.distances,
        )


def fit_unknown(samples: Sequence[Sample], features: Array, widths: Sequence[int], strange: Array) -> Unknown:
    """From the samples of the train split; one row of features per sample. `strange`: see fit_heads."""
    held = held_out(samples)
    train = np.array([sample.split == "train" for sample in samples])
    seen = described(features, widths)
    projection = _principal(seen[train & ~held], KNOWN_DIMENSIONS)
    placed = seen @ projection
    asked = [sample for sample, out in zip(samples, held, strict=True) if out]
    strangeness = _cross_fitted(placed[train & ~held], placed[held], described(strange, widths) @ projection, asked)
    domains = _domains(asked)
    lost = FALSE_UNKNOWN if len(strange) else FALSE_UNKNOWN_UNTAUGHT
    beyond = max(float(np.quantile(strangeness.known[domains == domain], 1 - lost)) for domain in set(domains))
    return Unknown(
        projection=projection,
        landmarks=placed[train],
        direction=strangeness.direction,
        distances=np.quantile(strangeness.known, np.linspace(0, 1, 101)).astype(np.float32),
        beyond=beyond,
        strangers_found=float((strangeness.strange > beyond).mean()) if len(strange) else nan,
    )


@dataclass(frozen=True)
class _Strangeness:
    """A direction fitted to all, and what directions say that were fitted without a photo's group or neighbours."""

    direction: Array  # S
    known: Array  # m
    strange: Array  # n


def _cross_fitted(landmarks: Array, held: Array, strange: Array, held_samples: Sequence[Sample]) -> _Strangeness:
    """Directions from K x S landmarks, m x S photos held out, and n x S strangers, those alike side by side."""
    known_folds, strange_folds = fold_of(held_samples), np.arange(len(strange)) * FOLDS // max(len(strange), 1)
    known, others = remoteness(held, landmarks), remoteness(strange, landmarks)
    for fold in range(FOLDS):
        asked, of_strangers = known_folds == fold, strange_folds == fold
        direction = fit_direction(landmarks, held[~asked], strange[~of_strangers])
        known[asked] -= held[asked] @ direction
        others[of_strangers] -= strange[of_strangers] @ direction
    return _Strangeness(fit_direction(landmarks, held, strange), known, others)


@dataclass(frozen=True)
class _HeldOut:
    """Photos that took no part in training."""

    features: Array
    labels: NDArray[np.intp]
    domains: NDArray[np.str_]

    @property
    def weights(self) -> NDArray[np.float64]:
        """Every domain weighs the same, however many photos it has."""
        names, counts = np.unique(self.domains, return_counts=True)
        of = dict(zip(names, counts, strict=True))
        return np.array([1 / of[domain] / len(names) for domain in self.domains])


def _domains(samples: Sequence[Sample]) -> NDArray[np.str_]:
    return np.array([sample.category[0] for sample in samples])


def refit(pack: Pack, samples: Sequence[Sample], features: Array) -> Pack:
    """The pack as if it knew these samples of the train split only, one row of features per sample.

    Its leaves are those that they teach, and they alone vote and are known; the classifier and the projections stay.
    """
    taught = {sample.category for sample in samples if sample.split == "train"}
    kept = [number for number, leaf in enumerate(pack.taxonomy.leaves) if leaf in taught]
    taxonomy = Taxonomy(tuple(pack.taxonomy.leaves[number] for number in kept))
    known = [n for n, sample in enumerate(samples) if sample.split == "train" and sample.category in taxonomy.leaves]
    heads = pack.heads
    refitted = replace(
        heads,
        leaf_weight=heads.leaf_weight[:, kept],
        leaf_bias=heads.leaf_bias[kept],
        voters=heads.vectors(features[known]),
        voter_leaves=np.array([taxonomy.number(samples[n].category) for n in known], np.float32),
        known_landmarks=described(features[known], heads.widths) @ heads.known_projection,
    )
    manifest = pack.manifest.model_copy(update={"taxonomy": taxonomy.leaves})
    return Pack(pack.folder, manifest, taxonomy, refitted)


def calibrated(votes: Votes, heads: Heads, asked: _HeldOut) -> Votes:
    """The votes at the temperature of the least negative log-likelihood.

    Guo et al., On Calibration of Modern Neural Networks, ICML 2017.
    """
    rows = np.arange(len(asked.labels))

    def cost(votes: Votes) -> float:
        p = heads.leaf_probabilities(asked.features, votes)[rows, asked.labels]
        return float(-(asked.weights * np.log(p + 1e-12)).sum())

    return min((replace(votes, temperature=float(t)) for t in np.geomspace(0.4, 2.5, 19)), key=cost)


def _with_audience_calibrated(heads: Heads, features: Array, kids: NDArray[np.intp]) -> Heads:
    """Kids and adults weighing the same: in a shop for children few photos show adults' wear."""
    known = kids >= 0
    features, kids = features[known], kids[known]
    weights = (0.5 / np.maximum(np.bincount(kids, minlength=2), 1))[kids]
    logits = features[:, : heads.widths[0]] @ heads.audience_weight + heads.audience_bias

    def cost(temperature: float) -> float:
        p = sigmoid(logits / np.float32(temperature))
        return float(-(weights * np.log(np.where(kids == 1, p, 1 - p) + 1e-12)).sum())

    best = np.float32(min(np.geomspace(0.25, 4, 81), key=cost))
    return replace(heads, audience_weight=heads.audience_weight / best, audience_bias=heads.audience_bias / best)


def fold_of(samples: Sequence[Sample]) -> NDArray[np.intp]:
    """A fold for each sample: whole groups, dealt out in turn within each category so that no fold lacks one."""
    folds: dict[str, int] = {}
    dealt: dict[CategoryPath, int] = {}
    for sample in samples:
        if sample.group not in folds:
            folds[sample.group] = dealt.get(sample.category, 0) % FOLDS
            dealt[sample.category] = dealt.get(sample.category, 0) + 1
    return np.array([folds[sample.group] for sample in samples], np.intp)


def _principal(rows: Array, dimensions: int) -> Array:
    """The directions that carry most of the rows, not centred: strangers lie near the origin of no class."""
    width = rows.shape[1]
    most = width - min(dimensions, width), width - 1
    # By scipy: numpy would find all of them, which takes three times as long.
    _, directions = eigh((rows.T @ rows).astype(np.float64), subset_by_index=most)
    return np.asarray(directions[:, ::-1], np.float32)
