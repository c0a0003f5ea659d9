"""Categories as a tree, and how far down it a photo's probabilities carry.

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
    def _inner(self) -> tuple[tuple[Path, NDArray[np.intp]], ...]:
        """Inner nodes with the numbers of the leaves below, the deepest first."""
        inner = (node for node in reversed(self.nodes) if node not in self.leaves)
        return tuple((node, self._below(node)) for node in inner)

    def _below(self, node: Path) -> NDArray[np.intp]:
        return np.array([i for i, leaf in enumerate(self.leaves) if leaf[: len(node)] == node], np.intp)

    def number(self, leaf: Sequence[str]) -> int:
        """Raises ValueError for what is no leaf."""
        return self.leaves.index(tuple(leaf))

    def likeliest(self, probabilities: NDArray[np.float32], most: int, at_least: float) -> list[tuple[Path, float]]:
        """The likeliest leaves that are likely enough, the likeliest first. `probabilities`: one per leaf."""
        order = np.argsort(-probabilities, kind="stable")[:most]
        return [(self.leaves[i], min(float(probabilities[i]), 1.0)) for i in order if probabilities[i] >= at_least]

    def judge(self, probabilities: NDArray[np.float32], leaf_at_least: float, node_at_least: float) -> Judgement:
        """The likeliest leaf when it is likely enough, else the deepest node that is. `probabilities`: one per leaf.

        A leaf has a bar of its own: being right about one of a hundred leaves is worth saying at a lower probability.
        """
        best = int(probabilities.argmax())
        if (confidence := float(probabilities[best])) >= leaf_at_least:
            return Judgement(self.leaves[best], min(confidence, 1.0), complete=True)
        for node, below in self._inner:
            if (confidence := float(probabilities[below].sum())) >= node_at_least:
                return Judgement(node, min(confidence, 1.0), complete=False)
        return Judgement((), 1.0, complete=False)
