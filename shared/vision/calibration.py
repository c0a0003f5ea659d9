"""Makes probabilities honest: by a temperature for each vertical, since the leaves of some are more alike."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from shared.vision.heads import Array
from shared.vision.taxonomy import Taxonomy

LEAST = np.float32(1e-9)  # what a leaf has at least, so that a vertical that is impossible has no sum of zero


@dataclass(frozen=True)
class Temperatures:
    """One or more by vertical, the first of a path's names; 1, which changes nothing, for those that are not named.

    Guo et al., On Calibration of Modern Neural Networks, ICML 2017; here only among the leaves of a vertical.
    """

    taxonomy: Taxonomy
    by_vertical: Mapping[str, float]

    def applied(self, leaves: Array) -> Array:
        """n x L probabilities, softened among the leaves of each vertical: the vertical keeps its own."""
        softened: Array = np.power(leaves + LEAST, self._exponents)
        scale: Array = (leaves @ self._verticals) / (softened @ self._verticals)
        applied: Array = softened * (scale @ self._verticals.T)
        return applied

    @cached_property
    def _exponents(self) -> Array:
        """L."""
        temperatures = [self.by_vertical.get(vertical, 1.0) for vertical in self.taxonomy.verticals]
        exponents: Array = (1 / np.array(temperatures)).astype(np.float32)
        return exponents

    @cached_property
    def _verticals(self) -> Array:
        """L x verticals: 1 where the leaf is the vertical's."""
        names, numbers = np.unique(self.taxonomy.verticals, return_inverse=True)
        belongs: Array = np.eye(len(names), dtype=np.float32)[numbers]
        return belongs
