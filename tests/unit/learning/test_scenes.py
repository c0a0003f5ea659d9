from pathlib import Path

import cv2
import numpy as np
import pytest

from learning.cutouts import cut_out
from learning.scenes import (
    NOT_WORN,
    WORN_ABOVE,
    WORN_BELOW,
    WORN_BOTH,
    Scene,
    Shown,
    figure_on_white,
    read_catalogue,
    recoloured,
    worn_of,
)
from learning.sources import PhotosUnusable
from learning.views import Views, dyed, full_length
from shared.photos import Pixels
from shared.vision.cutting import Mask, lab_of
from shared.vision.regions import CANVASES, REGIONS, STRIDE
from tests.fakes_vision import jpeg, scenery

SKIN = (205, 160, 130)


def shape(top: int, bottom: int, left: int = 60, right: int = 180) -> Mask:
    mask = np.zeros((320, 240), np.bool_)
    mask[top:bottom, left:right] = True
    return mask


HEAD, SHIRT, TROUSERS = shape(20, 80, 95, 145), shape(80, 220), shape(220, 320)


def wearing(shirt: tuple[int, int, int], trousers: tuple[int, int, int] = (60, 60, 70)) -> Pixels:
    picture = np.full((320, 240, 3), 255, np.uint8)
    for part, colour in ((HEAD, SKIN), (SHIRT, shirt), (TROUSERS, trousers)):
        picture[part] = colour
    return picture


def shown(folder: Path, name: str, picture: Pixels, kind: str = "Tees", product: str = "t1") -> Shown:
    path = folder / f"{name}.jpg"
    path.write_bytes(jpeg(picture, 95))
    return Shown(path, kind, name, product)


def overlap(one: Mask, other: Mask) -> float:
    return float((one & other).sum() / (one | other).sum())


def on_person() -> Scene:
    return Scene(wearing((180, 30, 40)), SHIRT, HEAD | SHIRT | TROUSERS, WORN_ABOVE)


def test_what_differs_between_two_colours_of_a_photo_is_the_product(tmp_path: Path) -> None:
    photos = [shown(tmp_path, "red", wearing((180, 30, 40))), shown(tmp_path, "blue", wearing((40, 60, 190)))]
    scenes = [scene for _, scene in recoloured(photos)]
    assert len(scenes) == 2
    assert all(overlap(scene.product, SHIRT) > 0.93 for scene in scenes)
    assert all(overlap(scene.figure, HEAD | SHIRT | TROUSERS) > 0.95 for scene in scenes)


def test_other_products_and_other_poses_are_not_compared(tmp_path: Path) -> None:
    other_pose = np.roll(wearing((40, 60, 190)), 40, axis=1)
    photos = [
        shown(tmp_path, "red", wearing((180, 30, 40))),
        shown(tmp_path, "blue", wearing((40, 60, 190)), product="t2"),
        shown(tmp_path, "green", other_pose),
    ]
    assert list(recoloured(photos)) == []


def test_white_inside_the_figure_is_not_the_ground() -> None:
    picture = wearing((255, 255, 255))
    picture[SHIRT & ~shape(84, 216, 64, 176)] = (200, 200, 205)  # its seams
    assert figure_on_white(picture)[150, 120]
    assert not figure_on_white(picture)[10, 10]


@pytest.mark.parametrize(
    ("kind", "worn"),
    [("Tees", WORN_ABOVE), ("Shorts", WORN_BELOW), ("dress", WORN_BOTH), ("Watches", NOT_WORN), ("hat", NOT_WORN)],
)
def test_garments_belong_to_the_regions_that_they_cover(kind: str, worn: frozenset[str]) -> None:
    assert worn_of(kind) == worn


def test_of_trousers_below_a_shirt_it_is_not_known_that_they_are_none() -> None:
    targets, weights = on_person().targets()
    product, upper, lower = (REGIONS.index(region) for region in ("product", "upper", "lower"))
    assert overlap(targets[:, :, upper] > 0, SHIRT) == 1
    assert not targets[:, :, lower].any()
    assert not weights[TROUSERS][:, lower].any()
    assert weights[TROUSERS][:, [product, upper]].all()
    assert weights[SHIRT][:, lower].all()


def test_a_garment_on_the_floor_is_cut_out_and_where_nothing_stands_out_that_is_said() -> None:
    picture = np.full((320, 240, 3), (170, 125, 85), np.uint8)
    picture[SHIRT] = (40, 60, 190)
    product, clarity = cut_out(picture)
    assert overlap(product, SHIRT) > 0.9
    assert clarity > 0.75
    assert cut_out(np.full((320, 240, 3), 120, np.uint8))[1] < 0.05


def test_a_dyed_garment_has_another_colour_and_all_else_keeps_its_own() -> None:
    random, picture = np.random.default_rng(3), on_person().picture
    changed = [dyed(picture, SHIRT, random) for _ in range(8)]
    inner = cv2.erode(SHIRT.astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    outer = cv2.dilate(SHIRT.astype(np.uint8), np.ones((9, 9), np.uint8)) == 0
    assert len({tuple(np.median(lab_of(one)[inner], axis=0).round()) for one in changed}) == 8
    assert all((one[outer] == picture[outer]).all() for one in changed)


def test_a_person_at_full_length_wears_both_and_which_is_for_sale_counts_little() -> None:
    below = Scene(wearing(SKIN, (30, 90, 50)), TROUSERS, HEAD | SHIRT | TROUSERS, WORN_BELOW)
    joined = full_length(on_person(), below, np.random.default_rng(1))
    assert joined is not None
    scene, (targets, weights) = joined
    upper, lower = targets[:, :, REGIONS.index("upper")] > 0, targets[:, :, REGIONS.index("lower")] > 0
    assert not (upper & lower).any()
    assert np.flatnonzero(upper.any(axis=1)).mean() < np.flatnonzero(lower.any(axis=1)).mean()
    assert np.median(scene.picture[lower], axis=0) == pytest.approx((30, 90, 50), abs=3)
    assert (weights[upper | lower][:, REGIONS.index("product")] < 0.5).all()


def test_views_fit_a_canvas_and_their_targets_are_a_stride_as_high() -> None:
    alone = Scene(scenery(1, 200, 240), shape(0, 200)[:200], shape(0, 200)[:200], NOT_WORN)
    views = Views([on_person()], [alone], [scenery(2)])
    random = np.random.default_rng(1)
    for _ in range(60):
        view = views.draw(random)
        height, width = view.picture.shape[:2]
        assert (height, width) in CANVASES
        assert view.targets.shape == view.weights.shape == (height // STRIDE, width // STRIDE, len(REGIONS))
        assert 0 <= view.targets.min() <= view.targets.max() <= 1


def test_the_same_seed_draws_the_same_views() -> None:
    views = Views([on_person()], [on_person()], [scenery(2)])
    one, other = (views.draw(np.random.default_rng(7)) for _ in range(2))
    assert (one.picture == other.picture).all()
    assert (one.targets == other.targets).all()


def test_a_folder_without_a_catalogue_is_named(tmp_path: Path) -> None:
    with pytest.raises(PhotosUnusable, match="catalogue"):
        read_catalogue(tmp_path)
