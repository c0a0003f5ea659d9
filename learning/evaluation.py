"""What a pack gets right on photos that took no part in its training: the val split, and strangers.

Staged samples are never judged. A figure about no photos at all is left out rather than called 0.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from math import isnan, nan

import numpy as np
from numpy.typing import NDArray

from learning.by_source import Verdict, verdict_of
from learning.copies import EDITS, copies_of
from learning.sources import FIRST_SOURCES, Sample, judged_numbers
from learning.training import Advance
from shared.photos import Pixels
from shared.vision.decode import decode
from shared.vision.heads import Array
from shared.vision.pack import Pack
from shared.vision.runtime import Runtime
from shared.vision.taxonomy import Judgement
from shared.vision.taxonomy import Path as CategoryPath
from shared.vision.trunk import Canvas, detail_of, fitted

COPIED_AT_ONCE = 8  # photos whose copies are in memory together
NO_PRODUCT = "no product"
COPY_DETAIL = 2  # a copy is made of so many times the pixels that the trunk looks at: who copies has the whole photo

EmbedPictures = Callable[[Sequence[Pixels]], Array]
Marks = NDArray[np.bool_]


@dataclass(frozen=True)
class Answers:
    """What a pack says of photos whose category is known: n samples, n judgements, n x L probabilities."""

    samples: tuple[Sample, ...]
    judged: tuple[Judgement, ...]
    probabilities: Array
    leaves: tuple[CategoryPath, ...]

    @property
    def truth(self) -> list[CategoryPath]:
        return [sample.category for sample in self.samples]

    @cached_property
    def named(self) -> Marks:
        """n: a leaf was named."""
        return np.array([judgement.complete for judgement in self.judged], np.bool_)

    @cached_property
    def right(self) -> Marks:
        """n: the right leaf was named; of a label that is a node above some, one below it; of no product, nothing."""
        return np.array([verdict is Verdict.RIGHT for verdict in self.verdicts], np.bool_)

    @cached_property
    def verdicts(self) -> tuple[Verdict, ...]:
        """n: what each is worth."""
        pairs = zip(self.truth, self.judged, strict=True)
        return tuple(verdict_of(truth, judgement.path) for truth, judgement in pairs)

    @cached_property
    def confidence(self) -> NDArray[np.float64]:
        return np.array([judgement.confidence for judgement in self.judged], np.float64)

    def right_to(self, depth: int | None) -> Marks:
        """n: the path is right down to this depth; None: all of it."""
        pairs = zip(self.judged, self.truth, strict=True)
        return np.array([judgement.path[:depth] == truth[:depth] for judgement, truth in pairs], np.bool_)

    def of(self, domain: str) -> Marks:
        return np.array([truth[:1] == (domain,) for truth in self.truth], np.bool_)

    def among_likeliest(self, count: int) -> Marks:
        """n: the right leaf is among so many likeliest ones, whether or not any was named."""
        numbers = {leaf: number for number, leaf in enumerate(self.leaves)}
        labels = np.array([numbers.get(truth, -1) for truth in self.truth], np.intp)
        return top(self.probabilities, labels, count)


@dataclass(frozen=True)
class ClassFigures:
    """How a pack does on one category."""

    path: CategoryPath
    photos: int
    answered: int  # photos of any category that were said to be of this one
    right: int
    wrong_answer: str  # the most frequent one; empty when there was none

    @property
    def precision(self) -> float | None:
        return self.right / self.answered if self.answered else None

    @property
    def recall(self) -> float | None:
        return self.right / self.photos if self.photos else None


def of_first_sources(samples: Sequence[Sample]) -> NDArray[np.intp]:
    """The numbers of the samples that are from clothing/ and grocery/."""
    return np.array([i for i, sample in enumerate(samples) if sample.source in FIRST_SOURCES], np.intp)


def answers(pack: Pack, samples: Sequence[Sample], features: Array) -> Answers:
    """To the samples that a pack is judged by. One row of features per sample."""
    val = judged_numbers(samples)
    return Answers(
        samples=tuple(samples[i] for i in val),
        judged=tuple(pack.judge(features[val])),
        probabilities=pack.probabilities(features[val]),
        leaves=pack.taxonomy.leaves,
    )


def measured(
    pack: Pack,
    runtime: Runtime,
    samples: Sequence[Sample],
    features: Array,
    strange: Array,
    advance: Advance = lambda _photos: None,
) -> dict[str, float]:
    """Figures by name. One row of features per sample, train and val, and one per stranger.

    They are of the first sources alone, so that they can be compared with those of packs that knew no others.
    An unknown or half-known photo counts as wrong, except that its path counts for the coarse figure.
    `advance` is told of how many val photos the copies were looked for.
    """
    canvases = pack.manifest.trunk.canvases
    first = of_first_sources(samples)
    samples, features = [samples[i] for i in first], features[first]

    def embed(pictures: Sequence[Pixels]) -> Array:
        return pack.heads.vectors(runtime.features(pictures))

    return (
        answer_figures(answers(pack, samples, features))
        | _stranger_figures(pack, strange)
        | _audience_figures(pack, samples, features)
        | embedding_figures(samples, pack.heads.vectors(features), embed, canvases, advance)
    )


def answer_figures(given: Answers) -> dict[str, float]:
    """How often the category is right, and how honest its confidence is."""
    garments, groceries = given.of("garments"), given.of("groceries")
    among_five = given.among_likeliest(5)
    figures = {
        "garments_top1": _share(given.right[garments]),
        "garments_top5": _share(among_five[garments]),
        "groceries_fine_top1": _share(given.right[groceries]),
        "groceries_fine_top5": _share(among_five[groceries]),
        "groceries_coarse_top1": _share(given.right_to(3)[groceries]),
        "calibration_error": calibration_error(given.confidence[given.named], given.right[given.named])
        if given.named.any()
        else nan,
        "unknown": _share(np.array([not judgement.path for judgement in given.judged], np.bool_)),
        "without_leaf": _share(~given.named),
    }
    return _told(figures)


def embedding_figures(
    samples: Sequence[Sample],
    vectors: Array,
    embed: EmbedPictures,
    canvases: Sequence[Canvas],
    advance: Advance = lambda _photos: None,
) -> dict[str, float]:
    """How near to a photo its class and its copies lie. One unit row per sample; `embed` makes them of pictures."""
    val = judged_numbers(samples)
    judged = [samples[i] for i in val]
    figures = {"embedding_same_class_nearest": _same_class_nearest(samples, vectors, val)}
    for domain in ("garments", "groceries"):
        of_domain = np.array([i for i in val if samples[i].category[0] == domain], np.intp)
        labels = _numbered([samples[i].category for i in of_domain])
        figures[f"embedding_map_{domain}"] = mean_average_precision(vectors[of_domain], labels)
    return _told(figures) | copies_found(judged, vectors[val], embed, canvases, advance)


def calibration_error(confidence: NDArray[np.float64], right: Marks, bins: int = 15) -> float:
    """Expected calibration error: the gap of confidence and accuracy, over bins of equal width, weighted by photos."""
    which = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = [abs(confidence[which == b].sum() - right[which == b].sum()) for b in range(bins)]
    return float(sum(gaps) / max(len(confidence), 1))


def top(probabilities: Array, labels: NDArray[np.intp], count: int) -> Marks:
    """n: the label is one of so many likeliest columns of n x L. A label of -1 never is."""
    likeliest = np.argsort(-probabilities, axis=1, kind="stable")[:, :count]
    among: Marks = (likeliest == labels[:, None]).any(axis=1)
    return among


def average_precision(relevant: Marks) -> float:
    """The mean over relevant places of the precision up to there, of a whole ranking, best first. nan without any."""
    places = np.nonzero(relevant)[0]
    return float(((np.arange(len(places)) + 1) / (places + 1)).mean()) if len(places) else nan


def mean_average_precision(vectors: Array, labels: NDArray[np.intp]) -> float:
    """Each of n unit rows asks for those of its label among the n - 1 others; who is alone does not count."""
    similarity = vectors @ vectors.T
    precisions = [average_precision(_ranked(similarity[i], labels, i)) for i in range(len(labels))]
    counted = [value for value in precisions if not isnan(value)]
    return float(np.mean(counted)) if counted else nan


def copies_found(
    samples: Sequence[Sample],
    vectors: Array,
    embed: EmbedPictures,
    canvases: Sequence[Canvas],
    advance: Advance = lambda _photos: None,
) -> dict[str, float]:
    """How often, for each kind of copy, the nearest of the untouched photos is the one that was copied.

    One unit row per sample: of the photo untouched.
    """
    right = np.concatenate(
        [np.zeros((0, len(EDITS)), np.bool_), *_copies_right(samples, vectors, embed, canvases, advance)]
    )
    shares = {f"copies_{name}": _share(right[:, which]) for which, name in enumerate(EDITS)}
    return _told(shares | {"copies_mean": float(np.mean(list(shares.values())))})


def per_class(given: Answers) -> list[ClassFigures]:
    """A line for every category that was on a photo or in an answer, by path."""
    photos = Counter(given.truth)
    answered = Counter(judgement.path for judgement in given.judged if judgement.complete)
    right = Counter(truth for truth, good in zip(given.truth, given.right, strict=True) if good)
    wrong: dict[CategoryPath, Counter[str]] = {path: Counter() for path in photos}
    for truth, judgement, good in zip(given.truth, given.judged, given.right, strict=True):
        if not good:
            wrong[truth][said(judgement)] += 1
    return [
        ClassFigures(path, photos[path], answered[path], right[path], _most_frequent(wrong.get(path, Counter())))
        for path in sorted(photos.keys() | answered.keys())
    ]


def confusion(given: Answers) -> tuple[list[CategoryPath], NDArray[np.intp]]:
    """C categories and C x (C + 1) photos: of a row's category, said to be of a column's. Last: no leaf was named."""
    paths = [figures.path for figures in per_class(given)]
    number = {path: i for i, path in enumerate(paths)}
    counts = np.zeros((len(paths), len(paths) + 1), np.intp)
    for truth, judgement in zip(given.truth, given.judged, strict=True):
        counts[number[truth], number[judgement.path] if judgement.complete else len(paths)] += 1
    return paths, counts


def mistakes(given: Answers) -> list[tuple[Sample, Judgement]]:
    """What was said and is not so, the surest first. Having said nothing, or only what is so, is none."""
    given_all = zip(given.samples, given.judged, given.verdicts, strict=True)
    wrong = [(sample, judged) for sample, judged, verdict in given_all if verdict is Verdict.WRONG]
    return sorted(wrong, key=lambda pair: -pair[1].confidence)


def spelled(category: CategoryPath) -> str:
    """A label as people read it: "garments / hat", "no product"."""
    return " / ".join(category) or NO_PRODUCT


def said(judgement: Judgement) -> str:
    """A path as people read it: "garments / hat", "groceries / Fruit / ?", "unknown"."""
    if not judgement.path:
        return "unknown"
    return " / ".join(judgement.path if judgement.complete else (*judgement.path, "?"))


def _stranger_figures(pack: Pack, strange: Array) -> dict[str, float]:
    unknown = np.array([not judgement.path for judgement in pack.judge(strange)], np.bool_)
    return _told({"strangers_unknown": _share(unknown), "strangers_photos": float(len(strange))})


def _audience_figures(pack: Pack, samples: Sequence[Sample], features: Array) -> dict[str, float]:
    """Kids and adults weighing the same."""
    told = np.array([i for i in judged_numbers(samples) if samples[i].kids is not None], np.intp)
    kids = np.array([samples[i].kids is True for i in told], np.bool_)
    said_kids = pack.heads.kids_probability(features[told]) >= 0.5
    return _told({"audience_balanced_accuracy": (_share(said_kids[kids]) + _share(~said_kids[~kids])) / 2})


def _same_class_nearest(samples: Sequence[Sample], vectors: Array, val: NDArray[np.intp]) -> float:
    """How often the nearest training photo of a val photo shows the same leaf."""
    train = np.array([i for i, sample in enumerate(samples) if sample.split == "train"], np.intp)
    if not len(train):
        return nan
    nearest = train[(vectors[val] @ vectors[train].T).argmax(axis=1)]
    same = [samples[i].category == samples[n].category for i, n in zip(val, nearest, strict=True)]
    return _share(np.array(same, np.bool_))


def _ranked(similarity: Array, labels: NDArray[np.intp], asking: int) -> Marks:
    """Which of the others have the label of the one that asks, the most similar first."""
    order = np.argsort(-similarity, kind="stable")
    relevant: Marks = labels[order[order != asking]] == labels[asking]
    return relevant


def _copies_right(
    samples: Sequence[Sample], vectors: Array, embed: EmbedPictures, canvases: Sequence[Canvas], advance: Advance
) -> Iterator[Marks]:
    """Photos x kinds of copy, some photos at a time: whether the copied photo is the nearest."""
    with ThreadPoolExecutor(2, thread_name_prefix="copies") as pool:
        for start in range(0, len(samples), COPIED_AT_ONCE):
            numbers = range(start, min(start + COPIED_AT_ONCE, len(samples)))
            pictures = [
                one for copies in pool.map(lambda n: _copies(samples[n], n, canvases), numbers) for one in copies
            ]
            nearest = (embed(pictures) @ vectors.T).argmax(axis=1).reshape(len(numbers), len(EDITS))
            yield nearest == np.array(numbers)[:, None]
            advance(len(numbers))


def _copies(sample: Sample, number: int, canvases: Sequence[Canvas]) -> list[Pixels]:
    pixels = decode(sample.body(), COPY_DETAIL * detail_of(canvases))
    return [fitted(copy, canvases) for copy in copies_of(pixels, number)]


def _numbered(categories: Sequence[CategoryPath]) -> NDArray[np.intp]:
    numbers = {category: number for number, category in enumerate(sorted(set(categories)))}
    return np.array([numbers[category] for category in categories], np.intp)


def _most_frequent(counted: Counter[str]) -> str:
    return counted.most_common(1)[0][0] if counted else ""


def _told(figures: dict[str, float]) -> dict[str, float]:
    """Those that some photo told."""
    return {name: value for name, value in figures.items() if not isnan(value)}


def _share(marks: Marks) -> float:
    return float(marks.mean()) if len(marks) else nan
