"""What a pack gets right on photos that took no part in its training."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shared.vision.heads import Array
from shared.vision.pack import Pack
from shared.vision.training import Sample

# Photographs that other packages carry, of neither garments nor groceries.
STRANGERS = {
    "skimage": (
        "data/astronaut.png",
        "data/brick.png",
        "data/camera.png",
        "data/chelsea.png",
        "data/coffee.png",
        "data/coins.png",
        "data/grass.png",
        "data/gravel.png",
        "data/hubble_deep_field.jpg",
        "data/moon.png",
        "data/motorcycle_left.png",
        "data/retina.jpg",
        "data/rocket.jpg",
    ),
    "sklearn": ("datasets/images/china.jpg", "datasets/images/flower.jpg"),
}


def strangers() -> list[Path]:
    """Real photographs of neither domain, from those packages that are installed."""
    found: list[Path] = []
    for package, names in STRANGERS.items():
        if (spec := find_spec(package)) is not None and spec.origin is not None:
            found += [path for name in names if (path := Path(spec.origin).parent / name).is_file()]
    return found


def measured(pack: Pack, samples: Sequence[Sample], features: Array, strange: Array) -> dict[str, float]:
    """Figures by name, from the samples of the val split (one row of features each) and features of strangers.

    An unknown or half-known photo counts as wrong, except that its path counts for the coarse figure.
    """
    val = np.array([i for i, sample in enumerate(samples) if sample.split == "val"], np.intp)
    truth = [samples[i].category for i in val]
    judged = pack.judge(features[val])
    right = np.array([j.complete and j.path == t for j, t in zip(judged, truth, strict=True)])
    coarse = np.array([j.path[:3] == t[:3] for j, t in zip(judged, truth, strict=True)])
    garment = np.array([t[0] == "garments" for t in truth])
    named = np.array([j.complete for j in judged])
    confidence = np.array([j.confidence for j in judged])
    kids = np.array([samples[i].kids is True for i in val])[garment]
    said = pack.heads.kids_probability(features[val][garment]) >= 0.5
    return {
        "garments_top1": _share(right[garment]),
        "groceries_fine_top1": _share(right[~garment]),
        "groceries_coarse_top1": _share(coarse[~garment]),
        "calibration_error": calibration_error(confidence[named], right[named]),
        "unknown": _share(np.array([not j.path for j in judged])),
        "without_leaf": _share(~named),
        "strangers_unknown": _share(np.array([not j.path for j in pack.judge(strange)])),
        "strangers_photos": float(len(strange)),
        "audience_balanced_accuracy": (_share(said[kids]) + _share(~said[~kids])) / 2,
        "embedding_same_class_nearest": _same_class(pack, samples, features, val),
    }


def calibration_error(confidence: NDArray[np.float64], right: NDArray[np.bool_], bins: int = 15) -> float:
    """Expected calibration error: the gap of confidence and accuracy, over bins of equal width, weighted by photos."""
    which = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = [abs(confidence[which == b].sum() - right[which == b].sum()) for b in range(bins)]
    return float(sum(gaps) / max(len(confidence), 1))


def _same_class(pack: Pack, samples: Sequence[Sample], features: Array, val: NDArray[np.intp]) -> float:
    """How often the nearest training photo of a val photo shows the same leaf."""
    train = np.array([i for i, sample in enumerate(samples) if sample.split == "train"], np.intp)
    vectors = pack.heads.vectors(features)
    nearest = train[(vectors[val] @ vectors[train].T).argmax(axis=1)]
    return _share(np.array([samples[i].category == samples[n].category for i, n in zip(val, nearest, strict=True)]))


def _share(found: NDArray[np.bool_]) -> float:
    return float(found.mean()) if len(found) else 0.0
