"""What is read off the trunks' features: category, audience and vector.

Plain arrays and matrix products: the heads cost little beside the trunk, and need no framework.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Widths:
    """Which features belong together: each trunk's final ones, then each kind of the stages before."""

    finals: tuple[int, ...]
    kinds: tuple[int, ...]

    @property
    def final(self) -> int:
        """How many are final, of all trunks."""
        return sum(self.finals)

    @property
    def all(self) -> int:
        """How many there are."""
        return self.final + sum(self.kinds)


@dataclass(frozen=True, slots=True)
class Votes:
    """How the nearest known photos share in a category."""

    neighbours: int  # that vote
    softness: float  # cosine by which a vote's weight falls to 1/e
    share: float  # of their votes, beside the classifier's word, in leaves that have known photos; 0 to 1


@dataclass(frozen=True)
class Heads:
    """F features, G of them final, g of those the last trunk's; L leaves, D dimensions of a vector, K known photos.

    The last trunk is a generalist, left as it was: the C classes that it was trained on stand in one softmax beside R
    rows that were learned here. A leaf's probability is the sum of its classes' and rows'; what falls to classes that
    are no product is no leaf's.
    """

    class_weight: Array  # g x C
    class_bias: Array  # C
    class_leaves: Array  # C: whole numbers up to L, which stands for no product
    row_weight: Array  # G x R, of the final features as `rooted` gives them; without biases, see learning.rows
    row_leaves: Array  # R: whole numbers below L
    audience_weight: Array  # G
    audience_bias: Array  # 1
    embedding_mean: Array  # F
    embedding_projection: Array  # F x D
    voters: Array  # K x D, unit rows: the vectors of the known photos
    voter_leaves: Array  # K: whole numbers below L
    widths: Widths
    leaves: int  # L

    def __post_init__(self) -> None:
        """Raises ValueError when the shapes don't belong together."""
        final, features = self.widths.final, self.widths.all
        _, classes = _shape(self.class_weight, 2, "class_weight")
        _, rows = _shape(self.row_weight, 2, "row_weight")
        _, dimensions = _shape(self.embedding_projection, 2, "embedding_projection")
        known, _ = _shape(self.voters, 2, "voters")
        expected = {
            "class_weight": (self.widths.finals[-1], classes),
            "class_bias": (classes,),
            "class_leaves": (classes,),
            "row_weight": (final, rows),
            "row_leaves": (rows,),
            "audience_weight": (final,),
            "audience_bias": (1,),
            "embedding_mean": (features,),
            "embedding_projection": (features, dimensions),
            "voters": (known, dimensions),
            "voter_leaves": (known,),
        }
        for name, shape in expected.items():
            if (its_own := getattr(self, name).shape) != shape:
                raise ValueError(f"{name} has shape {its_own}, not {shape}")
        for name, most in (
            ("class_leaves", self.leaves),
            ("row_leaves", self.leaves - 1),
            ("voter_leaves", self.leaves - 1),
        ):
            named = getattr(self, name)
            if not ((named >= 0) & (named <= most)).all():
                raise ValueError(f"{name} names leaves that there are not")

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[np.generic]], widths: Widths, leaves: int) -> Self:
        """Raises ValueError when one is missing, too many, not finite, of a wrong shape or of leaves there are not."""
        names = {field.name for field in fields(cls)} - {"widths", "leaves"}
        if wrong := names ^ arrays.keys():
            raise ValueError(f"missing or unknown: {', '.join(sorted(wrong))}")
        whole = {name: array.astype(np.float32) for name, array in arrays.items()}
        heads = cls(**whole, widths=widths, leaves=leaves)
        if bad := [name for name in sorted(names) if not np.isfinite(getattr(heads, name)).all()]:
            raise ValueError(f"not finite: {', '.join(bad)}")
        return heads

    def leaf_probabilities(self, features: Array, votes: Votes) -> Array:
        """n x L: the classifier's word and that of the nearest known photos. What a row lacks to 1 is no product.

        They are not calibrated: see shared.vision.calibration.
        Neighbours share in what the classifier gives to leaves that have known photos: it says whether a photo shows
        any of these, they help to say which.
        """
        said = self._classified(features)
        voting = np.unique(self.voter_leaves.astype(np.intp))
        theirs = said[:, voting].sum(axis=1, keepdims=True) * self._voted(self.vectors(features), votes)
        said[:, voting] = (1 - votes.share) * said[:, voting] + votes.share * theirs[:, voting]
        return said[:, : self.leaves]

    def _classified(self, features: Array) -> Array:
        """n x (L + 1), rows that sum to 1; the last for no product."""
        final, last = self.widths.final, self.widths.finals[-1]
        logits = [
            features[:, final - last : final] @ self.class_weight + self.class_bias,
            rooted(features, self.widths) @ self.row_weight,
        ]
        return softmax(np.concatenate(logits, axis=1)) @ self._of_leaf

    @cached_property
    def _of_leaf(self) -> Array:
        """(C + R) x (L + 1): which class or row is which leaf's."""
        leaves = np.concatenate([self.class_leaves, self.row_leaves]).astype(np.intp)
        return np.eye(self.leaves + 1, dtype=np.float32)[leaves]

    def kids_probability(self, features: Array) -> Array:
        """n: that a garment is children's wear."""
        return sigmoid(features[:, : self.widths.final] @ self.audience_weight + self.audience_bias)

    def vectors(self, features: Array) -> Array:
        """n x D, unit rows."""
        return unit_rows(np.subtract(described(features, self.widths), self.embedding_mean) @ self.embedding_projection)

    def _voted(self, vectors: Array, votes: Votes) -> Array:
        similarity = vectors @ self.voters.T
        count = min(votes.neighbours, similarity.shape[1])
        nearest = np.argpartition(-similarity, count - 1, axis=1)[:, :count]
        weights = softmax(np.take_along_axis(similarity, nearest, axis=1) / np.float32(votes.softness))
        voted = np.zeros((len(vectors), self.leaves + 1), np.float32)
        leaves = self.voter_leaves.astype(np.intp)[nearest]
        np.add.at(voted, (np.arange(len(vectors))[:, None], leaves), weights)
        return voted


def rooted(features: Array, widths: Widths) -> Array:
    """n x G, unit rows: the final features' square roots, each trunk's at the same length.

    The roots keep a few strong activations from drowning the many weak ones.
    """
    finals = np.split(features[:, : widths.final], np.cumsum(widths.finals)[:-1], axis=1)
    # They are averages of a ReLU's output, so never negative but by rounding.
    return unit_rows(np.concatenate([unit_rows(np.sqrt(np.maximum(f, np.float32(0)))) for f in finals], axis=1))


def described(features: Array, widths: Widths) -> Array:
    """What distances are measured in: each kind of feature at unit length, the final ones' square roots at twice it."""
    final, *kinds = np.split(features, np.cumsum((widths.final, *widths.kinds))[:-1], axis=1)
    roots = np.sqrt(np.maximum(final, np.float32(0)))
    return unit_rows(np.concatenate([2 * unit_rows(roots), *map(unit_rows, kinds)], axis=1))


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
