"""Every photo is looked at whole, in about as many pixels, little distorted, and as softly as in training."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torchvision.transforms import v2  # type: ignore[import-untyped]
from vitrine.events.v1 import image_pb2

from learning.fine_tuning import Phase, Recipe
from learning.making import KEPT_SIDE
from shared.photos import Photo, Pixels
from shared.vision.decode import decode
from shared.vision.pack import PackUnusable
from shared.vision.runtime import Torch, known_good
from shared.vision.trunk import (
    RATIOS,
    SCALE,
    STEP,
    Canvas,
    Network,
    canvases_of,
    detail_of,
    fitted,
    load_network,
    model_input,
    nearest_canvas,
    resized,
    save_network,
)

SHAPES = canvases_of(224)


def photo(height: int, width: int) -> Pixels:
    """Brighter towards its lower right corner."""
    rows, columns = np.indices((height, width))
    bright = 255 * (rows / (height - 1) + columns / (width - 1)) / 2
    return np.repeat(bright[:, :, None], 3, axis=2).astype(np.uint8)


def test_canvases_are_the_shapes_of_photos_with_about_as_many_pixels_each() -> None:
    assert SHAPES == ((224, 224), (256, 192), (192, 256), (288, 160), (160, 288))
    for side in (160, 192, 224):
        for height, width in canvases_of(side):
            assert height % STEP == width % STEP == 0
            assert 0.85 * side**2 <= height * width <= 1.15 * side**2


@pytest.mark.parametrize("side", [1, 32, 64])
def test_small_sides_have_fewer_shapes_and_the_square_first(side: int) -> None:
    found = canvases_of(side)
    assert len(set(found)) == len(found) < len(RATIOS)
    assert found[0][0] == found[0][1]


@pytest.mark.parametrize(
    ("height", "width", "canvas"),
    [
        (500, 500, (224, 224)),
        (1024, 768, (256, 192)),
        (768, 1024, (192, 256)),
        (1920, 1080, (288, 160)),
        (300, 900, (160, 288)),
        (450, 500, (224, 224)),
    ],
)
def test_a_photo_is_fitted_whole_to_the_canvas_nearest_in_shape(height: int, width: int, canvas: Canvas) -> None:
    found = fitted(photo(height, width), SHAPES)
    assert found.shape == (*canvas, 3)
    assert found[0, 0, 0] < 6 and found[-1, -1, 0] > 249


@pytest.mark.parametrize("canvases", [SHAPES, canvases_of(224)[:1]])
def test_a_photo_is_decoded_with_detail_enough_for_its_canvas_and_once(canvases: Sequence[Canvas]) -> None:
    asked: list[int | None] = []

    def decode(_body: bytes, at_least: int | None) -> Pixels:
        asked.append(at_least)
        return photo(400, 300)

    one = Photo(b"", image_pb2.ImageUploaded(), decode)
    height, width = nearest_canvas(400 / 300, canvases)
    assert model_input(one, canvases).shape == (height, width, 3)
    assert model_input(one, canvases) is model_input(one, canvases)
    assert asked == [detail_of(canvases)] == [224]


def sharpness(pictures: Iterable[Pixels]) -> float:
    """Geometric mean of the Laplacian's energy beside the picture's variance."""
    greys = [cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32) for picture in pictures]
    energies = [(cv2.Laplacian(grey, cv2.CV_32F) ** 2).mean() / grey.var() for grey in greys]
    return float(np.exp(np.mean(np.log(energies))))


def test_photos_are_shown_as_softly_as_the_trunks_learned_them(photos: Path) -> None:
    """Trunks learn from crops of the pictures that are kept, at 192 and at 224."""
    torch.manual_seed(1)
    some = [decode(path.read_bytes(), KEPT_SIDE) for path in sorted((photos / "clothing" / "val").rglob("*.jpg"))[::8]]

    def framed(picture: Pixels, side: int) -> Pixels:
        canvas = nearest_canvas(picture.shape[0] / picture.shape[1], canvases_of(side))
        crop = v2.RandomResizedCrop(canvas, scale=(Recipe((Phase(side, 1),)).least_crop, 1.0), antialias=True)
        kept = torch.from_numpy(resized(picture, (KEPT_SIDE, KEPT_SIDE))).permute(2, 0, 1)
        return np.ascontiguousarray(crop(kept).permute(1, 2, 0).numpy())

    learned = {side: sharpness(framed(picture, side) for picture in some) for side in (192, 224)}
    served = sharpness(fitted(picture, SHAPES) for picture in some)
    assert 0.9 * learned[224] < served < 1.1 * learned[192]


LITE = "tf_efficientnet_lite0"


@pytest.fixture(scope="module")
def network() -> Network:
    """Untrained."""
    torch.manual_seed(3)
    return Network([LITE]).eval()


def test_filters_come_back_from_8_bits_to_half_a_step_of_their_channel(network: Network, tmp_path: Path) -> None:
    save_network(network, tmp_path / "trunk")
    again = load_network([LITE], tmp_path / "trunk").trunks.state_dict()
    for name, tensor in network.trunks.state_dict().items():
        if tensor.ndim > 1:
            flat = tensor.flatten(1)
            step = flat.abs().amax(1, keepdim=True) / 127
            assert ((again[name].flatten(1) - flat).abs() <= 0.51 * step).all(), name
        else:
            torch.testing.assert_close(again[name], tensor, rtol=1e-3, atol=1e-6)


def test_a_trunk_of_8_bits_sees_nearly_what_it_saw_in_a_quarter_of_the_bytes(network: Network, tmp_path: Path) -> None:
    save_network(network, tmp_path / "trunk")
    whole = sum(tensor.numel() * tensor.element_size() for tensor in network.trunks.state_dict().values())
    assert (tmp_path / "trunk").stat().st_size < 0.3 * whole
    pictures = list(known_good((96, 96)))
    before, after = (
        Torch(one, torch.device("cpu")).features(pictures)
        for one in (network, load_network([LITE], tmp_path / "trunk"))
    )
    cosines = (before * after).sum(axis=1) / np.linalg.norm(before, axis=1) / np.linalg.norm(after, axis=1)
    assert cosines.min() > 0.99


def test_a_filter_of_zeros_stays_one(network: Network, tmp_path: Path) -> None:
    silenced = Network([LITE])
    silenced.load_state_dict(network.state_dict())
    with torch.no_grad():
        silenced.trunks[0].conv_stem.weight[0].zero_()  # type: ignore[union-attr, index]
    save_network(silenced, tmp_path / "trunk")
    again = load_network([LITE], tmp_path / "trunk").trunks.state_dict()["0.conv_stem.weight"]
    assert (again[0] == 0).all() and torch.isfinite(again).all()


def test_8_bits_without_their_scale_are_refused(network: Network, tmp_path: Path) -> None:
    save_network(network, tmp_path / "trunk")
    kept = {name: tensor for name, tensor in load_file(tmp_path / "trunk").items() if not name.endswith(SCALE)}
    save_file(kept, tmp_path / "trunk")
    with pytest.raises(PackUnusable, match=f"not the weights of {LITE}"):
        load_network([LITE], tmp_path / "trunk")
