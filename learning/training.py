"""Features of labelled photos, and the heads that are fitted to them.

Everything is learned from the train split. What has to be fitted on answers to photos not seen before (temperatures) is
fitted on photos of that split which the trunks' training was not shown, and the val split is only measured.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from learning.embedding import fit_embedding
from learning.rows import Lesson, Numbers, fit_rows
from learning.sources import PhotosUnusable, Sample, leaves_of
from shared.errors import Poison
from shared.photo_formats import SUFFIXES
from shared.photos import Pixels
from shared.vision.calibration import Temperatures
from shared.vision.decode import decode
from shared.vision.heads import Array, Heads, Votes, Widths, described, rooted, sigmoid, unit_rows
from shared.vision.pack import Pack
from shared.vision.runtime import Runtime
from shared.vision.taxonomy import Path as CategoryPath
from shared.vision.taxonomy import Taxonomy
from shared.vision.trunk import Canvas, detail_of, fitted, resized

FOLDS = 8
HELD = 12  # one photo in so many is held out of the trunk's training, or a few more
NEIGHBOURS = 10
SOFTNESS = 0.05
# Not fitted: of groceries held out near likenesses are among those trained on, so votes seem needless there.
SHARE = 0.5
TEMPERATURES = tuple(1 + tenths / 10 for tenths in range(21))  # that are tried
ENOUGH = 100  # photos held out of a vertical, for a temperature of its own
BATCH = 32

Advance = Callable[[int], None]


def drawn_samples(photos: Iterable[tuple[bytes, CategoryPath]]) -> list[Sample]:
    """Rendered photos."""
    return [
        Sample(body, path, "train", group=f"drawn {number}", staged=True) for number, (body, path) in enumerate(photos)
    ]


def strange_samples(photos: Iterable[Path]) -> list[Sample]:
    """Photos of no product."""
    return [Sample(photo, (), "val", group=photo.name) for photo in photos]


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
class Audience:
    """The layer that tells kids from adults."""

    weight: Array  # G
    bias: Array  # 1


@dataclass(frozen=True)
class Generalist:
    """What the last trunk was trained on before: C classes, of its g final features."""

    weight: Array  # g x C
    bias: Array  # C
    paths: tuple[CategoryPath, ...]  # C: the leaves that classes are; () for no product

    def logits(self, features: Array, widths: Widths) -> Array:
        """n x C."""
        logits: Array = features[:, widths.final - widths.finals[-1] : widths.final] @ self.weight + self.bias
        return logits

    def numbers(self, taxonomy: Taxonomy) -> Numbers:
        """C: numbers of leaves; as many as there are for no product."""
        return np.array([taxonomy.number(path) if path else len(taxonomy.leaves) for path in self.paths], np.intp)


@dataclass(frozen=True)
class Trained:
    """Heads, how neighbours vote in them, and what calibrates them."""

    heads: Heads
    taxonomy: Taxonomy
    votes: Votes
    temperatures: Mapping[str, float]  # by vertical


def taught_taxonomy(samples: Iterable[Sample]) -> Taxonomy:
    """The leaves that the samples teach."""
    return Taxonomy(leaves_of(sample.category for sample in samples))


def held_out(samples: Sequence[Sample]) -> NDArray[np.bool_]:
    """One photo in ten or so of each source's train split: whole groups, and never all that a category has.

    None of a node above some leaf.
    """
    leaves = {*taught_taxonomy(samples).leaves, ()}
    judged = [
        number
        for number, sample in enumerate(samples)
        if sample.split == "train" and not sample.staged and sample.category in leaves
    ]
    folds = fold_of([samples[number] for number in judged])
    # The second fold: a category with one group has it in the first.
    second = {samples[number].group for number, fold in zip(judged, folds, strict=True) if fold == 1}
    held = np.zeros(len(samples), np.bool_)
    for source in {samples[number].source for number in judged}:
        numbers = [number for number in judged if samples[number].source == source]
        others = [number for number in numbers if samples[number].group in second]
        # Where categories have few groups, the second ones are many photos: only every so manieth is held out then.
        every = max(1, round(len(others) * HELD / len(numbers)))
        kept = set(list(dict.fromkeys(samples[number].group for number in others))[::every])
        held[[number for number in others if samples[number].group in kept]] = True
    return held


def fit_heads(
    samples: Sequence[Sample], features: Array, views: Array, widths: Widths, audience: Audience, generalist: Generalist
) -> Trained:
    """From the samples of the train split; the others are not looked at. One row of features per sample.

    `views`: photos of the train split x views x features. The trunks and their audience were trained on all of these
    but `held_out`. A sample of a node above some leaf teaches nothing.
    """
    given = _Given(samples, features, views, widths, generalist)
    # A leaf to the photos may be a node above some to the generalist: then nobody can say which of those is right.
    held = held_out(samples) & (given.labels >= 0)
    votes = Votes(NEIGHBOURS, SOFTNESS, SHARE)
    # As if the photos held out did not exist: then they are asked about.
    leaves = given.heads(~held, audience).leaf_probabilities(features[held], votes)
    temperatures = temperatures_of(given.taxonomy, leaves, given.labels[held])
    asked = [sample for sample, out in zip(samples, held, strict=True) if out]
    kids = np.array([-1 if sample.kids is None else int(sample.kids) for sample in asked])
    complete = _with_audience_calibrated(given.heads(np.ones_like(held), audience), features[held], kids)
    return Trained(complete, given.taxonomy, votes, temperatures)


@dataclass(frozen=True)
class _Given:
    """What heads are fitted to: see fit_heads."""

    samples: Sequence[Sample]
    features: Array
    views: Array
    widths: Widths
    generalist: Generalist

    @cached_property
    def taxonomy(self) -> Taxonomy:
        return _taxonomy_of(self.samples, self.generalist.paths)

    @cached_property
    def labels(self) -> Numbers:
        return _labels(self.samples, self.taxonomy)

    @cached_property
    def _train(self) -> NDArray[np.bool_]:
        return np.array([sample.split == "train" for sample in self.samples])

    @cached_property
    def _seen(self) -> Array:
        return described(self.features, self.widths)

    @cached_property
    def _seen_views(self) -> Array:
        """Photos of the train split x views x features."""
        return np.stack([described(view, self.widths) for view in self.views.swapaxes(0, 1)], axis=1)

    def heads(self, among: NDArray[np.bool_], audience: Audience) -> Heads:
        """From those of the train split that are among these."""
        learned = self._train & among & (self.labels >= 0)
        known = learned & (self.labels < len(self.taxonomy.leaves))
        row_leaves = np.unique(self.labels[known])
        of_rows = np.searchsorted(row_leaves, self.labels[known])
        mean, projection = fit_embedding(self._seen[known], self._seen_views[known[self._train]], of_rows)
        shown = learned[self._train]
        rows = _rows_of(
            np.concatenate([self.features[learned], *self.views[shown].swapaxes(0, 1)]),
            np.tile(self.labels[learned], 1 + self.views.shape[1]),
            [self.samples[i].source for i in np.flatnonzero(learned).tolist()] * (1 + self.views.shape[1]),
            self.widths,
            self.generalist,
            self.taxonomy,
            row_leaves,
        )
        return Heads(
            class_weight=self.generalist.weight,
            class_bias=self.generalist.bias,
            class_leaves=self.generalist.numbers(self.taxonomy).astype(np.float32),
            row_weight=rows,
            row_leaves=row_leaves.astype(np.float32),
            audience_weight=audience.weight,
            audience_bias=audience.bias,
            embedding_mean=mean,
            embedding_projection=projection,
            voters=unit_rows(np.subtract(self._seen[known], mean) @ projection),
            voter_leaves=self.labels[known].astype(np.float32),
            widths=self.widths,
            leaves=len(self.taxonomy.leaves),
        )


def refit(pack: Pack, samples: Sequence[Sample], features: Array) -> Pack:
    """The pack as if it had learned from these samples of the train split only, one row of features per sample.

    Trunks, the generalist's classes and the embedding's projection stay. Rows are learned from the photos as they are,
    without the augmented views that a pack's own are learned from as well. Raises PhotosUnusable where none shows a
    product.
    """
    heads, before = pack.heads, pack.taxonomy
    paths = tuple(before.leaves[int(n)] if n < heads.leaves else () for n in heads.class_leaves)
    generalist = Generalist(heads.class_weight, heads.class_bias, paths)
    learned = [n for n, sample in enumerate(samples) if sample.split == "train"]
    samples, features = [samples[n] for n in learned], features[learned]
    taxonomy = _taxonomy_of(samples, paths)
    labels, classes = _labels(samples, taxonomy), generalist.numbers(taxonomy)
    taught = labels >= 0
    known = taught & (labels < len(taxonomy.leaves))
    if not known.any():
        raise PhotosUnusable("of the photos that are left to learn from none shows a product: give another source too")
    sources = [samples[n].source for n in np.flatnonzero(taught).tolist()]
    row_leaves = np.unique(labels[known])
    refitted = replace(
        heads,
        class_leaves=classes.astype(np.float32),
        row_weight=_rows_of(features[taught], labels[taught], sources, heads.widths, generalist, taxonomy, row_leaves),
        row_leaves=row_leaves.astype(np.float32),
        voters=heads.vectors(features[known]),
        voter_leaves=labels[known].astype(np.float32),
        leaves=len(taxonomy.leaves),
    )
    manifest = pack.manifest.model_copy(update={"taxonomy": taxonomy.leaves})
    return Pack(pack.folder, manifest, taxonomy, refitted)


def _taxonomy_of(samples: Iterable[Sample], paths: Iterable[CategoryPath]) -> Taxonomy:
    """The leaves that the samples teach, and the generalist's."""
    return Taxonomy(leaves_of([*paths, *(sample.category for sample in samples)]))


def _labels(samples: Iterable[Sample], taxonomy: Taxonomy) -> Numbers:
    """n: numbers of leaves, as many as there are for no product, -1 for a node above some."""
    numbers = {leaf: number for number, leaf in enumerate(taxonomy.leaves)} | {(): len(taxonomy.leaves)}
    return np.array([numbers.get(sample.category, -1) for sample in samples], np.intp)


def _rows_of(
    features: Array,
    labels: Numbers,
    sources: Sequence[str],
    widths: Widths,
    generalist: Generalist,
    taxonomy: Taxonomy,
    row_leaves: Numbers,
) -> Array:
    """G x R: a row for each of the leaves. A source counts as the square root of its photos."""
    names, counts = np.unique(sources, return_counts=True)
    of_source = dict(zip(names.tolist(), (1 / np.sqrt(counts)).tolist(), strict=True))
    lesson = Lesson(
        rooted=rooted(features, widths),
        classes=generalist.logits(features, widths),
        leaves=labels,
        weights=np.array([of_source[source] for source in sources]),
    )
    verticals = taxonomy.verticals
    there, shown = Counter(verticals), Counter(verticals[leaf] for leaf in row_leaves)
    shares = [shown[verticals[leaf]] / there[verticals[leaf]] for leaf in row_leaves]
    return fit_rows(lesson, generalist.numbers(taxonomy), row_leaves.tolist(), shares)


def temperatures_of(taxonomy: Taxonomy, leaves: Array, labels: Numbers) -> dict[str, float]:
    """For each vertical the temperature of the least negative log-likelihood, among the vertical's leaves.

    `leaves`: n x L, as heads give them of n photos that they didn't learn from. A vertical with few photos gets the one
    that suits all photos, every vertical weighing the same. None is below 1: photos held out are more like those that
    were learned from than a stranger's will be.
    """
    verticals = np.array(taxonomy.verticals)
    known = labels < len(taxonomy.leaves)
    leaves, labels = leaves[known], labels[known]
    of_photo = verticals[labels]
    names, numbers, counts = np.unique(of_photo, return_inverse=True, return_counts=True)
    rows = np.arange(len(labels))
    of_vertical = np.where(verticals == of_photo[:, None], leaves, 0).sum(axis=1)  # whatever the temperature

    def cost(temperature: float) -> NDArray[np.float64]:
        """By vertical, the mean of its photos."""
        softened = Temperatures(taxonomy, dict.fromkeys(taxonomy.verticals, temperature)).applied(leaves)
        costs = np.log(np.maximum(of_vertical, 1e-12) / np.maximum(softened[rows, labels], 1e-12))
        return np.bincount(numbers, costs, len(names)) / counts

    tried = {temperature: cost(temperature) for temperature in TEMPERATURES}
    for_all = min(tried, key=lambda t: tried[t].mean()) if len(names) else 1.0
    own = {
        str(name): min(tried, key=lambda t: tried[t][number])
        for number, name in enumerate(names)
        if counts[number] >= ENOUGH
    }
    return {vertical: own.get(vertical, for_all) for vertical in taxonomy.verticals}


def _with_audience_calibrated(heads: Heads, features: Array, kids: NDArray[np.intp]) -> Heads:
    """Kids and adults weighing the same: in a shop for children few photos show adults' wear."""
    known = kids >= 0
    features, kids = features[known], kids[known]
    weights = (0.5 / np.maximum(np.bincount(kids, minlength=2), 1))[kids]
    logits = features[:, : heads.widths.final] @ heads.audience_weight + heads.audience_bias

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
