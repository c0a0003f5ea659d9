"""What is read off the trunk's features: category, audience, vector, and whether the photo is like any we know.

Plain arrays and matrix products: the heads cost little beside the trunk, and need no framework.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Votes:
    """How the nearest known photos share in a category."""

    neighbours: int  # that vote
    softness: float  # cosine by which a vote's weight falls to 1/e
    share: float  # of their votes, beside the classifier's probability; 0 to 1
    temperature: float  # of both together, so that the outcome is calibrated


@dataclass(frozen=True)
class Heads:
    """F features of which G are final, L leaves, D dimensions of the embedding, K known photos, S of their space.

    `widths` says which features belong together: the final ones, then each kind of the stages before.
    """

    leaf_weight: Array  # G x L
    leaf_bias: Array  # L
    audience_weight: Array  # G
    audience_bias: Array  # 1
    embedding_mean: Array  # F
    embedding_projection: Array  # F x D
    voters: Array  # K x D, unit rows: the vectors of the known photos
    voter_leaves: Array  # K: whole numbers below L
    known_projection: Array  # F x S
    known_landmarks: Array  # K x S
    known_direction: Array  # S: where known photos lie, and strangers don't; zeros where no strangers taught it
    known_distances: Array  # ascending: how strange known photos are that were not trained on, in 100 equal shares
    widths: tuple[int, ...]

    def __post_init__(self) -> None:
        """Raises ValueError when the shapes don't belong together."""
        final, features = self.widths[0], sum(self.widths)
        _, leaves = _shape(self.leaf_weight, 2, "leaf_weight")
        _, dimensions = _shape(self.embedding_projection, 2, "embedding_projection")
        known, _ = _shape(self.voters, 2, "voters")
        _, space = _shape(self.known_projection, 2, "known_projection")
        expected = {
            "leaf_weight": (final, leaves),
            "leaf_bias": (leaves,),
            "audience_weight": (final,),
            "audience_bias": (1,),
            "embedding_mean": (features,),
            "embedding_projection": (features, dimensions),
            "voters": (known, dimensions),
            "voter_leaves": (known,),
            "known_projection": (features, space),
            "known_landmarks": (known, space),
            "known_direction": (space,),
            "known_distances": (101,),
        }
        for name, shape in expected.items():
            if (its_own := getattr(self, name).shape) != shape:
                raise ValueError(f"{name} has shape {its_own}, not {shape}")
        if not ((self.voter_leaves >= 0) & (self.voter_leaves < leaves)).all():
            raise ValueError("voter_leaves names leaves that there are not")

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[np.generic]], widths: Sequence[int]) -> Self:
        """Raises ValueError when one is missing, too many, not finite or of a wrong shape."""
        names = {field.name for field in fields(cls)} - {"widths"}
        if wrong := names ^ arrays.keys():
            raise ValueError(f"missing or unknown: {', '.join(sorted(wrong))}")
        heads = cls(**{name: array.astype(np.float32) for name, array in arrays.items()}, widths=tuple(widths))
        if bad := [name for name in sorted(names) if not np.isfinite(getattr(heads, name)).all()]:
            raise ValueError(f"not finite: {', '.join(bad)}")
        return heads

    def leaf_probabilities(self, features: Array, votes: Votes) -> Array:
        """n x L, rows that sum to 1: the classifier's word and that of the nearest known photos."""
        classified = softmax(features[:, : self.widths[0]] @ self.leaf_weight + self.leaf_bias)
        mixed = (1 - votes.share) * classified + votes.share * self._voted(self.vectors(features), votes)
        return softmax((np.log(mixed + np.float32(1e-6)) / np.float32(votes.temperature)).astype(np.float32))

    def without_leaf(self, leaf: int) -> "Heads":
        """As if no photo of it were known, but for what it taught the projections and the known direction."""
        others = self.voter_leaves != leaf
        bias = self.leaf_bias.copy()
        bias[leaf] = -1e9
        return replace(
            self,
            leaf_bias=bias,
            voters=self.voters[others],
            voter_leaves=self.voter_leaves[others],
            known_landmarks=self.known_landmarks[others],
        )

    def kids_probability(self, features: Array) -> Array:
        """n: that a garment is children's wear."""
        return sigmoid(features[:, : self.widths[0]] @ self.audience_weight + self.audience_bias)

    def vectors(self, features: Array) -> Array:
        """n x D, unit rows."""
        return unit_rows(np.subtract(described(features, self.widths), self.embedding_mean) @ self.embedding_projection)

    def strangeness(self, features: Array) -> Array:
        """n: how remote a photo is from known ones, less what its direction says for it. See learning.outliers."""
        projected = described(features, self.widths) @ self.known_projection
        strangeness = remoteness(projected, self.known_landmarks)
        strangeness -= projected @ self.known_direction
        return strangeness

    def share_nearer(self, strangeness: Array) -> Array:
        """n: the share of known photos that are less strange, 0 to 1."""
        shares = np.interp(strangeness, self.known_distances, np.linspace(0, 1, len(self.known_distances)))
        return shares.astype(np.float32)

    def _voted(self, vectors: Array, votes: Votes) -> Array:
        similarity = vectors @ self.voters.T
        count = min(votes.neighbours, similarity.shape[1])
        nearest = np.argpartition(-similarity, count - 1, axis=1)[:, :count]
        weights = softmax(np.take_along_axis(similarity, nearest, axis=1) / np.float32(votes.softness))
        voted = np.zeros((len(vectors), len(self.leaf_bias)), np.float32)
        leaves = self.voter_leaves.astype(np.intp)[nearest]
        np.add.at(voted, (np.arange(len(vectors))[:, None], leaves), weights)
        return voted


def remoteness(projected: Array, landmarks: Array) -> Array:
    """n: cosine distance to the nearest landmark, and the share of a photo that the landmarks' space can't hold.

    Of n x S and K x S. That space holds nearly all of known photos; of a stranger much is lost. The loss is the
    residual of ViM, Wang et al., CVPR 2022.
    """
    lost = 1 - (projected * projected).sum(axis=1)
    nearest = (projected @ landmarks.T).max(axis=1)
    remote: Array = (1 - nearest + lost).astype(np.float32)
    return remote


def described(features: Array, widths: Sequence[int]) -> Array:
    """What distances are measured in: each kind of feature at unit length, the final ones' square roots at twice it.

    The roots keep a few strong activations from drowning the many weak ones.
    """
    final, *kinds = np.split(features, np.cumsum(widths)[:-1], axis=1)
    # They are averages of a ReLU's output, so never negative but by rounding.
    rooted = np.sqrt(np.maximum(final, np.float32(0)))
    return unit_rows(np.concatenate([2 * unit_rows(rooted), *map(unit_rows, kinds)], axis=1))


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
