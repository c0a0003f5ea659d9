"""What a pack's embedding has to beat: colours alone, the same network untrained, and as ImageNet left it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch

from learning.evaluation import embedding_figures
from learning.sources import Sample
from learning.training import Advance, features_of
from shared.errors import Unusable
from shared.photos import Pixels
from shared.settings import Settings
from shared.vision.heads import Array, unit_rows
from shared.vision.runtime import Rows, Runtime, open_device, open_runtime
from shared.vision.trunk import IMAGENET, Canvas, Network, imagenet

BINS = 8  # of hue, of saturation and of brightness
RANDOM_SEED = 3


class BaselineAbsent(Unusable):
    """There are no ImageNet weights of the pack's architectures here. One line."""


@dataclass(frozen=True)
class Baseline:
    """A runtime of whose features the first `final` ones, at unit length, are the vector."""

    name: str
    runtime: Runtime
    final: int

    def vectors(self, features: Array) -> Array:
        """n x final, unit rows."""
        return unit_rows(features[:, : self.final])

    def embed(self, pictures: Sequence[Pixels]) -> Array:
        return self.vectors(self.runtime.features(pictures))

    def figures(
        self, samples: Sequence[Sample], canvases: Sequence[Canvas], seen: Advance, copied: Advance
    ) -> dict[str, float]:
        """As of a pack's embedding. Raises PhotosUnusable."""
        vectors = self.vectors(features_of(samples, self.runtime, canvases, seen))
        return embedding_figures(samples, vectors, self.embed, canvases, copied)


class ColourHistogram:
    """An engine that sees only which colours there are: BINS x BINS x BINS of hue, saturation and brightness.

    The roots of the shares: then a cosine is the Bhattacharyya coefficient of two histograms.
    """

    name = "colour histogram"

    def features(self, pictures: Sequence[Pixels]) -> Rows:
        return np.stack([_colours(picture) for picture in pictures])


def baselines(
    architectures: Sequence[str], canvases: Sequence[Canvas], settings: Settings
) -> Mapping[str, Callable[[], Baseline]]:
    """What opens each, by name; calling it may raise BaselineAbsent and DeviceAbsent."""
    return {
        "colour histogram": lambda: Baseline("colour histogram", Runtime(ColourHistogram(), ()), BINS**3),
        "random trunk": lambda: _of_network(
            "random trunk", untrained(architectures), architectures, canvases, settings
        ),
        "ImageNet trunk": lambda: _of_network(
            "ImageNet trunk", _imagenet(architectures), architectures, canvases, settings
        ),
    }


def untrained(architectures: Sequence[str]) -> Network:
    """The same one each time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(RANDOM_SEED)
        return Network(architectures).eval()


def _of_network(
    name: str, network: Network, architectures: Sequence[str], canvases: Sequence[Canvas], settings: Settings
) -> Baseline:
    device = open_device(settings.device)
    identity = f"{name} {' '.join(architectures)} {RANDOM_SEED}"
    runtime = open_runtime(network, canvases, identity, device, settings.threads, settings.home / "cache")
    return Baseline(name, runtime, sum(network.finals))


def _imagenet(architectures: Sequence[str]) -> Network:
    for unknown in (name for name in architectures if name not in IMAGENET):
        raise BaselineAbsent(f"no package is known to carry ImageNet weights of {unknown}")
    try:
        return imagenet(architectures).eval()
    except Unusable as why:
        raise BaselineAbsent(str(why)) from why


def _colours(picture: Pixels) -> Rows:
    hsv = cv2.cvtColor(picture, cv2.COLOR_RGB2HSV)
    counts = cv2.calcHist([hsv], [0, 1, 2], None, [BINS] * 3, [0, 180, 0, 256, 0, 256])
    roots: Rows = np.sqrt(counts.ravel() / counts.sum()).astype(np.float32)
    return roots
