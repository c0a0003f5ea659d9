"""Every photo is looked at whole, in about as many pixels, little distorted, and as softly as in training."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torchvision.transforms import v2  # type: ignore[import-untyped]
from vitrine.events.v1 import image_pb2

from learning.fine_tuning import Phase, Recipe
from learning.making import KEPT_SIDE
from shared.photos import Photo, Pixels
from shared.vision.decode import decode
from shared.vision.trunk import (
    RATIOS,
    STEP,
    Canvas,
    canvases_of,
    detail_of,
    fitted,
    model_input,
    nearest_canvas,
    resized,
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
