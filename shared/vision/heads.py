"""What is read off the trunk's features: category, audience, vector, and whether the photo is like any we know.

Plain arrays and matrix products: the heads cost microseconds beside the trunk, and need no framework.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Self

import numpy as np
from numpy.typing import NDArray

from shared.vision.layout import FINAL, STAGES

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Heads:
    """F described features, G of the trunk's final ones, L leaves, D dimensions of the embedding, K landmarks of S."""

    leaf_weight: Array  # F x L, temperature included
    leaf_bias: Array  # L
    audience_weight: Array  # F
    audience_bias: Array  # 1
    embedding_mean: Array  # G
    embedding_projection: Array  # G x D
    known_projection: Array  # G x S
    known_landmarks: Array  # K x S, unit rows
    known_distances: Array  # ascending: how far known photos lie from their landmark, in 100 equal shares

    def __post_init__(self) -> None:
        """Raises ValueError when the shapes don't belong together."""
        f, leaves = _shape(self.leaf_weight, 2, "leaf_weight")
        expected = {
            "leaf_bias": (leaves,),
            "audience_weight": (f,),
            "audience_bias": (1,),
            "embedding_mean": (FINAL,),
            "embedding_projection": (FINAL, _shape(self.embedding_projection, 2, "embedding_projection")[1]),
            "known_projection": (FINAL, _shape(self.known_projection, 2, "known_projection")[1]),
            "known_landmarks": (len(self.known_landmarks), self.known_projection.shape[1]),
            "known_distances": (101,),
        }
        for name, shape in expected.items():
            if (found := getattr(self, name).shape) != shape:
                raise ValueError(f"{name} has shape {found}, not {shape}")

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[np.generic]]) -> Self:
        """Raises ValueError when one is missing, too many, not finite or of a wrong shape."""
        names = {field.name for field in fields(cls)}
        if wrong := names ^ arrays.keys():
            raise ValueError(f"missing or unknown: {', '.join(sorted(wrong))}")
        heads = cls(**{name: array.astype(np.float32) for name, array in arrays.items()})
        if bad := [name for name in sorted(names) if not np.isfinite(getattr(heads, name)).all()]:
            raise ValueError(f"not finite: {', '.join(bad)}")
        return heads

    def leaf_probabilities(self, features: Array) -> Array:
        """n x L, rows that sum to 1."""
        return softmax(described(features) @ self.leaf_weight + self.leaf_bias)

    def kids_probability(self, features: Array) -> Array:
        """n: that a garment is children's wear."""
        return sigmoid(described(features) @ self.audience_weight + self.audience_bias)

    def vectors(self, features: Array) -> Array:
        """n x D, unit rows."""
        return unit_rows(np.subtract(compared(features), self.embedding_mean) @ self.embedding_projection)

    def strangeness(self, features: Array) -> Array:
        """n: cosine distance to the nearest landmark; 0 to 2, large for what is like nothing that was trained on."""
        similarity = unit_rows(compared(features) @ self.known_projection) @ self.known_landmarks.T
        nearest: Array = (1 - similarity.max(axis=1)).astype(np.float32)
        return nearest

    def share_nearer(self, strangeness: Array) -> Array:
        """n: the share of known photos that lie nearer to their landmark, 0 to 1."""
        shares = np.interp(strangeness, self.known_distances, np.linspace(0, 1, len(self.known_distances)))
        return shares.astype(np.float32)


def described(features: Array) -> Array:
    """What the classifiers see: each kind of feature at unit length, the final ones also by their square roots.

    The roots keep a few strong activations from drowning the many weak ones.
    """
    final = features[:, :FINAL]
    edges = np.cumsum([FINAL, *(width for width in STAGES for _ in range(2))])
    kinds = np.split(features, edges[:-1], axis=1)[1:]
    return np.concatenate([unit_rows(part) for part in (final, _rooted(final), *kinds)], axis=1)


def compared(features: Array) -> Array:
    """What distances are measured in: the final features' square roots at unit length, n x FINAL."""
    return unit_rows(_rooted(features[:, :FINAL]))


def _rooted(final: Array) -> Array:
    """They are averages of a ReLU's output, so never negative."""
    rooted: Array = np.sqrt(np.maximum(final, np.float32(0)))
    return rooted


def softmax(logits: Array) -> Array:
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    normed: Array = e / e.sum(axis=1, keepdims=True)
    return normed


def sigmoid(logits: Array) -> Array:
    p: Array = np.float32(1) / (np.float32(1) + np.exp(-np.clip(logits, -60, 60)))
    return p


def unit_rows(rows: Array) -> Array:
    """A row of zeros stays one."""
    normed: Array = rows / np.maximum(np.sqrt((rows * rows).sum(axis=1, keepdims=True)), np.float32(1e-12))
    return normed


def _shape(array: Array, dimensions: int, name: str) -> tuple[int, ...]:
    if array.ndim != dimensions:
        raise ValueError(f"{name} has {array.ndim} dimensions, not {dimensions}")
    shape: tuple[int, ...] = array.shape
    return shape
