"""Training goes on from a pack where that pack stands, and puts trunks side by side."""

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from cli.train import train
from learning.card import CARD
from learning.ensemble import Member, classifier_to_train, joined, members_of, members_to_start_from, take_over
from learning.fine_tuning import Classifier, Phase, Recipe, predict
from learning.making import FEWEST_STRANGERS, _demand_same_photos, next_of, recipe_for, strangers_to_learn
from learning.sources import PhotosUnusable, Sample
from learning.training import Linear
from shared.errors import Unusable
from shared.vision.pack import TRUNK, Pack, PackUnusable, open_pack
from shared.vision.runtime import Rows, Torch, known_good
from shared.vision.taxonomy import Taxonomy
from shared.vision.trunk import IMAGENET, Network, save_network
from tests.fakes_vision import jpeg, labelled_photos

SIDE = 96
PICTURES = known_good((SIDE, SIDE))


@pytest.fixture(scope="module")
def builtin() -> Pack:
    return open_pack("builtin")


def member(seed: int, architecture: str) -> Member:
    """Untrained."""
    torch.manual_seed(seed)
    random = np.random.default_rng(seed)
    trunk = Network([architecture]).trunks[0]
    linear = Linear(
        leaf_weight=random.normal(size=(1280, 3)).astype(np.float32),
        leaf_bias=random.normal(size=3).astype(np.float32),
        audience_weight=random.normal(size=1280).astype(np.float32),
        audience_bias=random.normal(size=1).astype(np.float32),
    )
    return Member(architecture, trunk.state_dict(), linear)


def logits(members: list[Member]) -> tuple[Rows, Rows]:
    network, linear = joined(members)
    final = Torch(network, torch.device("cpu")).features(list(PICTURES))[:, : network.final]
    return final @ linear.leaf_weight + linear.leaf_bias, final @ linear.audience_weight + linear.audience_bias


def test_what_goes_on_from_a_pack_says_what_that_trunk_of_the_pack_says(builtin: Pack) -> None:
    for one in members_of(builtin):
        classifier = Classifier(one.architecture, len(builtin.taxonomy.leaves))
        take_over(classifier, one)
        leaf, kids = predict(classifier, PICTURES, (SIDE, SIDE))
        expected_leaf, expected_kids = logits([one])
        np.testing.assert_allclose(leaf, expected_leaf, atol=1e-3)
        np.testing.assert_allclose(kids, expected_kids, atol=1e-3)


def test_a_packs_members_together_say_what_the_pack_says(builtin: Pack) -> None:
    network, linear = joined(members_of(builtin))
    assert (network.final, network.stages) == (builtin.manifest.trunk.final, builtin.manifest.trunk.stages)
    for name in ("leaf_weight", "leaf_bias", "audience_weight", "audience_bias"):
        np.testing.assert_allclose(getattr(linear, name), getattr(builtin.heads, name), atol=1e-6)


def test_trunks_side_by_side_say_the_mean_of_what_each_says() -> None:
    members = [member(1, "tf_efficientnet_lite0"), member(2, "tf_efficientnet_lite2")]
    each = [logits([one]) for one in members]
    leaf, kids = logits(members)
    np.testing.assert_allclose(leaf, (each[0][0] + each[1][0]) / 2, atol=1e-3)
    np.testing.assert_allclose(kids, (each[0][1] + each[1][1]) / 2, atol=1e-3)


def test_a_pack_of_other_categories_cannot_be_gone_on_from(builtin: Pack) -> None:
    fewer = replace(builtin, taxonomy=Taxonomy(builtin.taxonomy.leaves[:-1]))
    with pytest.raises(PhotosUnusable, match="other categories"):
        members_to_start_from(fewer, builtin.taxonomy)


def test_only_a_trunk_that_goes_on_does_so_at_half_the_rates(builtin: Pack) -> None:
    recipe = Recipe((Phase(160, 2),), seed=3)
    on = recipe_for("tf_efficientnet_lite0", builtin, recipe)
    assert (on.trunk_rate, on.head_rate, on.start) == (
        recipe.trunk_rate / 2,
        recipe.head_rate / 2,
        builtin.manifest.pack_name,
    )
    assert recipe_for("tf_efficientnet_lite1", builtin, recipe) == recipe
    assert recipe_for("tf_efficientnet_lite0", None, recipe) == recipe


def test_a_pack_supersedes_the_one_that_it_replaces(builtin: Pack, tmp_path: Path) -> None:
    assert next_of(builtin.folder) == (builtin.manifest.version + 1, builtin.manifest.generation + 1)
    assert next_of(tmp_path) == (1, 1)


def to(folder: Path, name: str) -> list[str]:
    """The command's options for a pack of that name, of the photos in the folder."""
    return ["--data", str(folder / "photos"), "--to", str(folder / name), "--drawn", "1"]


def trained(folder: Path, name: str, *words: str) -> None:
    """Trains a pack of the photos in the folder.

    In a process of its own: one that has forked loaders after OpenVINO ran crashes when it starts another program.
    """
    command = [str(Path(sys.executable).with_name("vitrine")), "train", *words, *to(folder, name)]
    variables = os.environ | {"VITRINE_HOME": str(folder / "home")}
    ended = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=400)
    assert ended.returncode == 0, ended.stderr


@pytest.mark.timeout(900)  # it trains on whatever the cores have left
def test_a_pack_is_made_of_photos_and_gone_on_from(tmp_path: Path) -> None:
    labelled_photos(tmp_path / "photos", each=12)  # with those drawn a batch of 48, and a few held out
    strange = ("--strangers", str(strangers(tmp_path / "strangers", FEWEST_STRANGERS)))
    lite0, first = ("pack", "--architecture", "tf_efficientnet_lite0"), str(tmp_path / "first")
    trained(tmp_path, "first", *lite0, "--phases", "64x0")
    trained(tmp_path, "second", *lite0, "--phases", "64x1", "--start", first, *strange)
    # This one forks nothing: no process of its own, which would load all libraries once more.
    home = {"VITRINE_HOME": str(tmp_path / "home")}
    unknown = CliRunner(env=home).invoke(train, ["unknown", first, *strange, *to(tmp_path, "third")])
    assert unknown.exit_code == 0, unknown.output
    packs = [open_pack(str(tmp_path / name)) for name in ("first", "second", "third")]
    before, after, third = (pack.manifest for pack in packs)
    assert [bool(pack.heads.known_direction.any()) for pack in packs] == [False, True, True]
    assert before.runs == ()  # ImageNet's trunk as it is
    assert [(run["start"], run["phases"]) for run in after.runs] == [("first@1", "1 at 64 px")]
    assert after.files[TRUNK] != before.files[TRUNK]
    assert {"garments_top1", "groceries_fine_top1", "copies_mean"} < after.measured.keys()
    # What is unknown was learned anew, and vectors stay comparable.
    assert (third.pack_name, third.generation, third.embedding, third.files[TRUNK]) == (
        "third@2",
        2,
        before.embedding,
        before.files[TRUNK],
    )
    np.testing.assert_array_equal(packs[2].heads.voters, packs[0].heads.voters)
    assert (
        "learned_strangers_cross_fitted_unknown"
        in after.measured.keys() & third.measured.keys() - before.measured.keys()
    )
    card = (tmp_path / "second" / CARD).read_text()
    assert "| trunk | tf_efficientnet_lite0 |" in card and f"| strangers, learned from | {FEWEST_STRANGERS} |" in card


def test_a_pack_is_not_written_over_the_one_that_is_read(builtin: Pack, tmp_path: Path) -> None:
    words = ["unknown", "--data", str(tmp_path), "--strangers", str(tmp_path)]
    found = CliRunner().invoke(train, [*words, "--to", str(builtin.folder)])
    assert CliRunner().invoke(train, [*words, "--to", str(tmp_path / "New_Pack")]).exit_code == 2
    assert found.exit_code == 2 and "name another folder with --to" in found.output


def test_what_is_unknown_is_not_learned_from_photos_of_other_categories(builtin: Pack, tmp_path: Path) -> None:
    labelled_photos(tmp_path / "photos")
    words = ["unknown", "--data", str(tmp_path / "photos"), "--strangers", str(tmp_path / "photos")]
    found = CliRunner().invoke(train, [*words, "--to", str(tmp_path / "new"), "--drawn", "1"])
    assert found.exit_code == 1 and f"{builtin.folder} knows other categories" in found.output
    assert not (tmp_path / "new").exists()


def test_what_is_unknown_is_not_learned_from_other_photos_than_the_packs(builtin: Pack) -> None:
    category, *_ = builtin.taxonomy.leaves
    one = [Sample(b"", leaf, "train", group=str(number)) for number, leaf in enumerate(builtin.taxonomy.leaves)]
    with pytest.raises(PhotosUnusable, match="made of other photos"):
        _demand_same_photos(builtin, [*one, Sample(b"", category, "train", group="another")])


def test_photos_of_which_none_can_be_held_out_or_measured_on_are_refused_before_anything_is_learned(
    tmp_path: Path,
) -> None:
    photos = labelled_photos(tmp_path / "photos")
    words = ["pack", "--data", str(photos), "--to", str(tmp_path / "new"), "--phases", "64x0", "--drawn", "0"]
    few = CliRunner().invoke(train, words)
    assert few.exit_code == 1 and "too few photos" in few.output
    (photos / "grocery" / "val.txt").write_text("")
    labels = photos / "clothing" / "labels.csv"
    labels.write_text("\n".join(line for line in labels.read_text().splitlines() if ",val," not in line))
    none = CliRunner().invoke(train, words)
    assert none.exit_code == 1 and "no photo of the val split" in none.output
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("phases", ["64", "64xmany", "0x1", "-64x1", "64x-1"])
def test_phases_that_make_no_sense_are_refused_before_anything_is_learned(tmp_path: Path, phases: str) -> None:
    words = ["pack", "--data", str(tmp_path), "--to", str(tmp_path / "new"), "--phases", phases]
    found = CliRunner().invoke(train, words)
    assert found.exit_code == 2 and "--phases" in found.output


def test_without_the_package_that_carries_imagenets_weights_its_name_is_said(
    builtin: Pack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(IMAGENET, "tf_efficientnet_lite0", "no_such_package")
    with pytest.raises(Unusable, match="no_such_package is not installed"):
        classifier_to_train("tf_efficientnet_lite0", Recipe((Phase(64, 0),)), [], builtin.taxonomy)


def test_a_pack_whose_trunk_is_another_network_is_not_gone_on_from(builtin: Pack, tmp_path: Path) -> None:
    save_network(Network(["tf_efficientnet_lite0"]), tmp_path / TRUNK)
    with pytest.raises(PackUnusable, match=re.escape(f"{tmp_path / TRUNK}: not the weights of")):
        members_of(replace(builtin, folder=tmp_path))


def test_too_few_strangers_teach_nothing(tmp_path: Path) -> None:
    folder = strangers(tmp_path, FEWEST_STRANGERS - 1)
    assert strangers_to_learn(None) == []
    with pytest.raises(PhotosUnusable, match=f"{folder} has 49 photos"):
        strangers_to_learn(folder)


def strangers(folder: Path, count: int) -> Path:
    folder.mkdir(exist_ok=True)
    for seed in range(count):
        noise = np.random.default_rng(seed).integers(0, 256, (96, 128, 3), np.uint8)
        (folder / f"{seed:02d}.jpg").write_bytes(jpeg(noise))
    return folder
