"""Where on a photo the product is: not the ground, not who wears it, not the trousers below the shirt that is sold.

A small network says of each spot of a photo how likely it shows the product, something worn above the waist, and
something worn below it. It lies beside the packs, since it is the same for all: `vitrine train regions` makes it.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Protocol, Self, get_args

import numpy as np
import timm
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from shared.errors import Unusable
from shared.photos import Photo, Pixels
from shared.settings import Settings
from shared.vision.pack import MODELS, sha256_of
from shared.vision.runtime import Runtime, known_good, open_device, open_runtime
from shared.vision.trunk import MEAN, STD, canvases_of, imagenet, nearest_canvas, resized

Region = Literal["product", "upper", "lower"]
REGIONS: tuple[Region, ...] = get_args(Region)

SHIPPED = MODELS / "regions"
WEIGHTS = "regions.safetensors"
SPEC = "regions.json"
SIDE = 224  # pixels that the shorter side of a photo is decoded to: the trunks' decode is shared
CANVASES = canvases_of(128)  # a third of a trunk's pixels are enough to tell a shirt from an arm

ENCODER = "tf_efficientnet_lite0"
STAGES = 5  # of the encoder's seven: the last two see half as finely, and are three quarters of its weights
# Channels of the stages whose maps are a quarter, an eighth and a sixteenth as high as the picture.
TAPPED = {1: 24, 2: 40, 4: 112}
GRID = 32  # spots along each side of an answer
STRIDE = 4  # pixels of the picture for one of the network's maps
WIDTH = 48

INPUT = "input/regions"
MAPS = "regions"
Maps = NDArray[np.float32]  # len(REGIONS) x height x width: log odds, over the whole photo


class RegionNetwork(nn.Module):
    """The first stages of an EfficientNet-Lite0 under a feature pyramid (Lin et al., CVPR 2017)."""

    def __init__(self) -> None:
        super().__init__()
        encoder: Any = timm.create_model(ENCODER, pretrained=False, num_classes=0)
        self.stem = nn.Sequential(encoder.conv_stem, encoder.bn1)
        self.stages = nn.ModuleList(encoder.blocks[:STAGES])
        self.across = nn.ModuleList(nn.Conv2d(channels, WIDTH, 1) for channels in TAPPED.values())
        self.smooth = nn.ModuleList(_separable() for _ in TAPPED)
        self.regions = nn.Conv2d(WIDTH, len(REGIONS), 1)

    @classmethod
    def on_imagenet(cls) -> Self:
        """To be trained, on ImageNet's weights. Raises Unusable where their package is not installed."""
        network = cls()
        encoder: Any = imagenet([ENCODER]).trunks[0]
        network.stem.load_state_dict(nn.Sequential(encoder.conv_stem, encoder.bn1).state_dict())
        network.stages.load_state_dict(nn.ModuleList(encoder.blocks[:STAGES]).state_dict())
        return network

    def forward(self, pictures: Tensor) -> Tensor:
        """n x height x width x RGB, uint8, to n rows of len(REGIONS) * GRID * GRID: one length for all canvases."""
        grid = functional.interpolate(self.maps(pictures), size=(GRID, GRID), mode="bilinear")
        return grid.flatten(1)

    def maps(self, pictures: Tensor) -> Tensor:
        """n x height x width x RGB, uint8, to n x len(REGIONS) x height / STRIDE x width / STRIDE: log odds."""
        seen = self.stem(pictures.permute(0, 3, 1, 2).to(torch.float32).div(255).sub(MEAN).div(STD))
        tapped = []
        for number, stage in enumerate(self.stages):
            seen = stage(seen)
            if number in TAPPED:
                tapped.append(seen)
        *finer, coarsest = (across(seen) for across, seen in zip(self.across, tapped, strict=True))
        *smoothers, first = self.smooth
        found = first(coarsest)
        for level, smooth in zip(reversed(finer), reversed(smoothers), strict=True):
            found = smooth(level + functional.interpolate(found, scale_factor=2.0, mode="nearest"))
        maps: Tensor = self.regions(found)
        return maps


def _separable() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(WIDTH, WIDTH, 5, padding=2, groups=WIDTH, bias=False),
        nn.BatchNorm2d(WIDTH),
        nn.Conv2d(WIDTH, WIDTH, 1, bias=False),
        nn.BatchNorm2d(WIDTH),
        nn.ReLU6(),
    )


class RegionSpec(BaseModel):
    """What is known of the weights beside it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sha256: str = Field(description="Of the weights")
    run: dict[str, str] = Field(description="How they were trained: settings by name")
    photos: dict[str, int] = Field(description="How many of which they learned from and were measured on")
    measured: dict[str, float] = Field(description="On photos that took no part in training")


class Finds(Protocol):
    """What is needed of a Runtime."""

    def features(self, pictures: Sequence[Pixels]) -> NDArray[np.float32]: ...


class Regions:
    """Finds regions on photos. `prepare` runs on any CPU thread, `see` on the device's; answers stay on the photo."""

    def __init__(self, runtime: Finds) -> None:
        self._runtime = runtime

    def warm_up(self) -> None:
        """Looks at a known-good picture. Raises RuntimeError when the answer is not finite."""
        if not np.isfinite(self._runtime.features(list(known_good(CANVASES[0], 1)))).all():
            raise RuntimeError("the regions of a known-good picture are not finite")

    def prepare(self, photo: Photo) -> None:
        """Decode and resize. Raises Poison."""
        _input(photo)

    def see(self, photos: Sequence[Photo]) -> None:
        """One forward for those not seen yet. Raises OutOfMemory, and Poison for one that was not prepared."""
        new = [photo for photo in dict.fromkeys(photos) if not photo.knows(MAPS)]
        if new:
            pictures = [_input(photo) for photo in new]
            for photo, row in zip(new, self._runtime.features(pictures), strict=True):
                _keep(photo, row.reshape(len(REGIONS), GRID, GRID))

    def maps(self, photo: Photo) -> Maps:
        """Of a photo that was seen. Raises LookupError for another."""
        return photo.once(MAPS, _never)


def region_input(pixels: Pixels) -> Pixels:
    """The whole photo in the nearest canvas, distorted where the shapes differ."""
    return resized(pixels, nearest_canvas(pixels.shape[0] / pixels.shape[1], CANVASES))


def open_regions(settings: Settings, folder: Path = SHIPPED) -> Regions:
    """The network on the fastest engine of this machine. Raises RegionsUnusable and DeviceAbsent."""
    return Regions(runtime_of_regions(settings, folder))


def runtime_of_regions(settings: Settings, folder: Path = SHIPPED) -> Runtime:
    """Raises RegionsUnusable and DeviceAbsent."""
    spec = read_spec(folder)
    network = load_regions(folder / WEIGHTS, spec.sha256)
    device = open_device(settings.device)
    return open_runtime(network, CANVASES, spec.sha256, device, settings.threads, settings.home / "cache")


class RegionsUnusable(Unusable):
    """The region network's files are missing or broken. One line that says which and why."""


def read_spec(folder: Path) -> RegionSpec:
    """Raises RegionsUnusable."""
    path = folder / SPEC
    try:
        return RegionSpec.model_validate_json(path.read_bytes())
    except OSError as why:
        raise RegionsUnusable(f"{path}: {why.strerror}") from why
    except ValidationError as why:
        raise RegionsUnusable(f"{path}: {why.errors()[0]['msg']}") from why


def load_regions(path: Path, sha256: str) -> RegionNetwork:
    """From safetensors, evaluated, at full precision, once the checksum agrees. Raises RegionsUnusable."""
    network = RegionNetwork()
    try:
        if sha256_of(path) != sha256:
            raise RegionsUnusable(f"{path}: its sha256 is not the one that {SPEC} names")
        state = network.state_dict()
        network.load_state_dict(_counters(state) | {name: t.float() for name, t in load_file(path).items()})
    except OSError as why:
        raise RegionsUnusable(f"{path}: {why.strerror}") from why
    except (RuntimeError, SafetensorError, ValueError) as why:
        raise RegionsUnusable(f"{path}: not the region network's weights: {str(why).splitlines()[0]}") from why
    return network.eval()


def save_regions(network: RegionNetwork, path: Path) -> None:
    """At half precision."""
    state = network.state_dict()
    save_file({name: t.half().contiguous() for name, t in state.items() if name not in _counters(state)}, path)
    # safetensors makes it for the owner only, and a container serves as someone else.
    path.chmod(0o644)


def _counters(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Counts of batches seen: nothing that serving needs."""
    return {name: tensor for name, tensor in state.items() if name.endswith("num_batches_tracked")}


def _input(photo: Photo) -> Pixels:
    return photo.once(INPUT, lambda: region_input(photo.pixels(SIDE)))


def _keep(photo: Photo, maps: Maps) -> None:
    photo.once(MAPS, lambda: maps)


def _never() -> Maps:
    raise LookupError("asked before it was answered")
