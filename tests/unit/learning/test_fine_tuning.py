"""A run can be stopped and goes on as if it had not been; and it learns."""

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from learning.fine_tuning import (
    Augmented,
    Classifier,
    Epoch,
    Phase,
    Photos,
    Picked,
    Recipe,
    RunUnusable,
    Stepped,
    batches_of,
    fine_tune,
    optimiser_for,
    predict,
    rates_for,
)
from learning.sources import PhotosUnusable
from shared.vision.taxonomy import Taxonomy
from shared.vision.trunk import canvases_of, nearest_canvas

TREE = Taxonomy((("garments", "hat"), ("garments", "shoes"), ("groceries", "Fruit", "Lime", "Lime")))
# Without loaders: once OpenVINO has run in a process, one that has forked them crashes when it starts another program.
RECIPE = Recipe((Phase(32, 2), Phase(48, 1)), batch=8, warm_up_steps=2, ema=0.5, frozen_blocks=1, loaders=0)


@pytest.fixture(scope="module")
def photos() -> Photos:
    """Red, green or blue, each with some noise."""
    random = np.random.default_rng(1)
    leaf = np.arange(30) % 3
    pixels = random.integers(0, 90, (30, 64, 64, 3))
    pixels[np.arange(30), :, :, leaf] += 150
    kids = np.where(leaf == 2, -1, np.arange(30) % 2)
    # Most are square; the others fill no batch of their own.
    ratios = np.where(np.arange(30) % 10 == 9, 16 / 9, 1.0).astype(np.float32)
    return Photos(pixels.astype(np.uint8), ratios, leaf.astype(np.int64), kids.astype(np.int64))


class Stopped(Exception):
    pass


def run(
    photos: Photos, folder: Path, stop_after: int | None = None, recipe: Recipe = RECIPE
) -> dict[str, torch.Tensor]:
    torch.manual_seed(5)
    start = Classifier("tf_efficientnet_lite0", len(TREE.leaves), dropout=0.2, frozen_blocks=recipe.frozen_blocks)
    learn, held = Picked(photos, np.arange(24)), Picked(photos, np.arange(24, 30))

    def finished(epoch: Epoch) -> None:
        if epoch.epoch + 1 == stop_after:
            raise Stopped

    return fine_tune(start, learn, held, TREE, recipe, folder, lambda _step, _total: None, finished).state_dict()


def test_a_stopped_run_goes_on_to_the_very_weights_of_one_that_was_not(photos: Photos, tmp_path: Path) -> None:
    through = run(photos, tmp_path / "through")
    with pytest.raises(Stopped):
        run(photos, tmp_path / "stopped", stop_after=1)
    resumed = run(photos, tmp_path / "stopped")
    assert all(torch.equal(through[name], resumed[name]) for name in through)


def test_a_folder_with_another_recipes_run_is_refused(photos: Photos, tmp_path: Path) -> None:
    with pytest.raises(Stopped):
        run(photos, tmp_path, stop_after=1)
    with pytest.raises(RunUnusable, match="another recipe"):
        run(photos, tmp_path, recipe=replace(RECIPE, seed=2))


@pytest.mark.parametrize("body", [b"", b"no checkpoint", b"PK\x03\x04 cut off", pickle.dumps([1, 2])])
def test_a_damaged_checkpoint_is_named_with_the_way_out(photos: Photos, tmp_path: Path, body: bytes) -> None:
    (tmp_path / "checkpoint.pt").write_bytes(body)
    with pytest.raises(RunUnusable, match=r"checkpoint\.pt .*: delete it, or name another folder"):
        run(photos, tmp_path)


def test_too_few_photos_for_a_batch_are_refused(photos: Photos, tmp_path: Path) -> None:
    with pytest.raises(PhotosUnusable, match="24 photos to learn from don't fill a batch of 25"):
        run(photos, tmp_path, recipe=replace(RECIPE, batch=25))


def test_steps_and_epochs_are_told(photos: Photos, tmp_path: Path) -> None:
    steps: list[tuple[Stepped, int]] = []
    epochs: list[Epoch] = []
    start = Classifier("tf_efficientnet_lite0", len(TREE.leaves))
    picked = Picked(photos, np.arange(30))
    fine_tune(start, picked, picked, TREE, RECIPE, tmp_path, lambda s, n: steps.append((s, n)), epochs.append)
    assert [step.number for step, _ in steps] == list(range(1, 10))
    assert {total for _, total in steps} == {9}
    assert [(epoch.epoch, epoch.side) for epoch in epochs] == [(0, 32), (1, 32), (2, 48)]


def rates(total: int, recipe: Recipe) -> list[tuple[float, float]]:
    """The rates of the trunk and of the linear layers, step by step."""
    optimiser = optimiser_for(Classifier("tf_efficientnet_lite0", 3), recipe)
    schedule = rates_for(optimiser, recipe, total)
    seen = []
    for step in range(1, total + 1):
        schedule.step_update(step)
        each = [group["lr"] for group in optimiser.param_groups]
        assert len(set(each)) == 2
        seen.append((each[0], each[-1]))
    return seen


def test_rates_rise_to_their_peaks_and_then_fall_along_one_cosine() -> None:
    recipe = replace(RECIPE, trunk_rate=1.0, head_rate=5.0, warm_up_steps=10)
    seen = rates(110, recipe)
    trunk = [rate for rate, _ in seen]
    assert [head for _, head in seen] == pytest.approx([5 * rate for rate in trunk])
    assert trunk[:11] == pytest.approx([step / 11 for step in range(1, 12)])
    assert trunk[10:] == pytest.approx([0.5 + 0.5 * np.cos(np.pi * n / 100) for n in range(100)])


@pytest.mark.parametrize("total", [1, 2, 4, 9])
def test_no_step_of_a_short_run_is_taken_at_a_rate_of_zero(total: int) -> None:
    assert all(0 < rate <= 1 for rate, _ in rates(total, replace(RECIPE, trunk_rate=1.0, head_rate=2.0)))


def test_biases_and_norms_do_not_decay() -> None:
    model = Classifier("tf_efficientnet_lite0", 3, frozen_blocks=1)
    groups = optimiser_for(model, RECIPE).param_groups
    for group in groups:
        assert all((parameter.ndim > 1) == bool(group["weight_decay"]) for parameter in group["params"])
    learned = [parameter for group in groups for parameter in group["params"]]
    assert len(learned) == len({id(one) for one in learned}) == sum(p.requires_grad for p in model.parameters())


def test_what_is_frozen_stays_as_it_was(photos: Photos, tmp_path: Path) -> None:
    torch.manual_seed(5)
    before = Classifier("tf_efficientnet_lite0", len(TREE.leaves), frozen_blocks=1).state_dict()
    after = run(photos, tmp_path)
    assert torch.equal(before["trunk.conv_stem.weight"], after["trunk.conv_stem.weight"])
    assert torch.equal(before["trunk.bn1.running_mean"], after["trunk.bn1.running_mean"])
    assert not torch.equal(before["trunk.conv_head.weight"], after["trunk.conv_head.weight"])


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_mixed_photos_teach_the_leaves_and_not_the_audience(photos: Photos, tmp_path: Path, share: float) -> None:
    torch.manual_seed(5)
    before = Classifier("tf_efficientnet_lite0", len(TREE.leaves), frozen_blocks=1).state_dict()
    after = run(photos, tmp_path, recipe=replace(RECIPE, mixed_share=share))
    assert not torch.equal(before["leaf.bias"], after["leaf.bias"])
    assert torch.equal(before["audience.bias"], after["audience.bias"]) == (share == 1.0)


def test_an_augmented_picture_is_of_the_shape_asked_for_and_never_twice_the_same(photos: Photos) -> None:
    views = Augmented(Picked(photos, np.arange(30)), [(40, 40), (60, 30)], least_crop=0.35)
    torch.manual_seed(1)
    first, leaf, kids = views[4, (60, 30)]
    second, _, _ = views[4, (60, 30)]
    assert (first.shape, first.dtype, leaf, kids) == ((3, 60, 30), torch.uint8, 1, 0)
    assert not torch.equal(first, second)


def test_a_batch_is_of_one_shape_and_only_the_last_few_photos_are_squeezed_or_left_out(photos: Photos) -> None:
    shapes = canvases_of(224)
    ratios = np.array([1, 1, 1.3, 1.4, 1.34, 1.8, 0.7, 0.75, 0.5, 0.56, 1.01], np.float32)
    picked = Picked(replace(photos, ratios=np.concatenate([np.ones(5, np.float32), ratios])), np.arange(5, 16))
    batches = batches_of(picked, shapes, 2, torch.Generator().manual_seed(1))
    chosen = [number for batch in batches for number, _ in batch]
    assert len(batches) == 5 and len(set(chosen)) == 10
    assert all(len({canvas for _, canvas in batch}) == 1 for batch in batches)
    squeezed = [number for batch in batches for number, its in batch if its != nearest_canvas(ratios[number], shapes)]
    assert len(squeezed) <= 3
    assert {canvas for batch in batches for number, canvas in batch if number in squeezed} <= {(224, 224)}
    again = batches_of(picked, shapes, 2, torch.Generator().manual_seed(2))
    assert again != batches


def test_predictions_have_a_logit_per_leaf(photos: Photos) -> None:
    leaf, kids = predict(Classifier("tf_efficientnet_lite0", 3), photos.pixels[:5], (32, 64))
    assert (leaf.shape, kids.shape) == ((5, 3), (5,))
