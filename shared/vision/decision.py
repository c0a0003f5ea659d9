"""What to say of a photo, by what a wrong name costs: the leaf, a node above it, or nothing."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from shared.vision.taxonomy import Judgement, Path, Taxonomy

ABOVE = 0.5  # of what a node above a leaf tells


@dataclass(frozen=True)
class Decision:
    """Names the node of the greatest expected gain, or none where no node has one.

    A right leaf gains 1, no name 0, and a wrong name costs `wrong_name`, 0 or more. A right node above gains at most
    half: half of 1 - log(leaves below) / log(leaves), the share of the bits by which it narrows the leaves down.
    """

    taxonomy: Taxonomy
    wrong_name: float

    def judge(self, probabilities: NDArray[np.float32]) -> list[Judgement]:
        """One per row of n x L calibrated probabilities; what a row lacks to 1 is the probability of no product.

        The confidence of a name is the probability that it is right; that of no name, with an empty path, is the
        probability that the name which came nearest would have been wrong.
        """
        of_nodes = probabilities @ self._leaves_below.T
        gains = of_nodes * self._worth - (1 - of_nodes) * np.float32(self.wrong_name)
        best = gains.argmax(axis=1)
        rows = np.arange(len(probabilities))
        return [
            self._named(int(node), float(p)) if gain > 0 else Judgement((), _share(1 - float(p)), complete=False)
            for node, p, gain in zip(best, of_nodes[rows, best], gains[rows, best], strict=True)
        ]

    def _named(self, node: int, probability: float) -> Judgement:
        return Judgement(self._nodes[node], _share(probability), complete=self._nodes[node] in self._leaves)

    @cached_property
    def _nodes(self) -> tuple[Path, ...]:
        """The deepest first: of a node and the only one below it, that is the one to name."""
        return tuple(reversed(self.taxonomy.nodes))

    @cached_property
    def _leaves(self) -> frozenset[Path]:
        return frozenset(self.taxonomy.leaves)

    @cached_property
    def _leaves_below(self) -> NDArray[np.float32]:
        """Nodes x L: 1 where the leaf is at or below the node."""
        below = [[leaf[: len(node)] == node for leaf in self.taxonomy.leaves] for node in self._nodes]
        return np.array(below, np.float32)

    @cached_property
    def _worth(self) -> NDArray[np.float32]:
        """Nodes: what a right name gains."""
        leaves = self._leaves_below.sum(axis=1)
        told = 1 - np.log(leaves) / np.log(max(len(self.taxonomy.leaves), 2))
        worth: NDArray[np.float32] = np.where(leaves == 1, told, ABOVE * told).astype(np.float32)
        return worth


def _share(probability: float) -> float:
    """Without what rounding added."""
    return min(max(probability, 0.0), 1.0)
