"""Categories as a tree, and how far down it one is known.

A category is identified by its path from the most general node to the leaf; some leaves share their name with the node
above them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Judgement:
    """How far a category is known. `complete` says that the path ends in a leaf."""

    path: Path
    confidence: float
    complete: bool

    @property
    def label(self) -> str | None:
        return self.path[-1] if self.complete else None


@dataclass(frozen=True)
class Taxonomy:
    """The leaves in the order of the classifier's outputs."""

    leaves: tuple[Path, ...]

    @cached_property
    def nodes(self) -> tuple[Path, ...]:
        """Every node but the root, the general ones first."""
        nodes = {leaf[:depth] for leaf in self.leaves for depth in range(1, len(leaf) + 1)}
        return tuple(sorted(nodes, key=lambda path: (len(path), path)))

    @cached_property
    def verticals(self) -> tuple[str, ...]:
        """Of each leaf the name of the most general node above it."""
        return tuple(leaf[0] for leaf in self.leaves)

    def number(self, leaf: Sequence[str]) -> int:
        """Raises ValueError for what is no leaf."""
        return self.leaves.index(tuple(leaf))

    def likeliest(self, probabilities: NDArray[np.float32], most: int, at_least: float) -> list[tuple[Path, float]]:
        """The likeliest leaves that are likely enough, the likeliest first. `probabilities`: one per leaf."""
        order = np.argsort(-probabilities, kind="stable")[:most]
        return [(self.leaves[i], min(float(probabilities[i]), 1.0)) for i in order if probabilities[i] >= at_least]
