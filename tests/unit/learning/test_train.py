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
from learning.fine_tuning import Phase, Recipe, predict
from learning.making import next_of, recipe_for
from learning.training import Audience
from learning.trunks import GENERALIST, Member, classifier_to_train, generalist, joined, member_of, members_of
from learning.vocabulary import imagenet_classes
from shared.errors import Unusable
from shared.vision.pack import TRUNK, Pack, PackUnusable, open_pack
from shared.vision.runtime import Rows, Torch, known_good
from shared.vision.trunk import IMAGENET, Network, imagenet, imagenet_classifier, save_network
from tests.fakes_vision import labelled_photos

SIDE = 96
PICTURES = known_good((SIDE, SIDE))
RECIPE = Recipe((Phase(64, 0),))


@pytest.fixture(scope="module")
def builtin() -> Pack:
    return open_pack("builtin")


def member(seed: int, architecture: str) -> Member:
    """Untrained."""
    torch.manual_seed(seed)
    random = np.random.default_rng(seed)
    weight, bias = random.normal(size=1280).astype(np.float32), random.normal(size=1).astype(np.float32)
    return Member(architecture, Network([architecture]).trunks[0].state_dict(), Audience(weight, bias))


def audience_logits(members: list[Member]) -> Rows:
    network, audience = joined(members)
    final = Torch(network, torch.device("cpu")).features(list(PICTURES))[:, : sum(network.finals)]
    return final @ audience.weight + audience.bias


def test_what_goes_on_from_a_pack_says_what_that_trunk_of_the_pack_says(builtin: Pack) -> None:
    for one in members_of(builtin):
        classifier = classifier_to_train(one.architecture, RECIPE, [one], leaves=3)
        _, kids = predict(classifier, PICTURES, (SIDE, SIDE))
        np.testing.assert_allclose(kids, audience_logits([one]), atol=1e-3)
        again = member_of(one.architecture, classifier)
        np.testing.assert_array_equal(again.audience.weight, one.audience.weight)


def test_a_packs_members_together_are_the_pack(builtin: Pack) -> None:
    members = members_of(builtin)
    assert [one.architecture for one in members] == list(builtin.manifest.trunk.architectures[:-1])
    network, audience = joined(members)
    spec = builtin.manifest.trunk
    assert (network.architectures, network.finals, network.stages) == (spec.architectures, spec.finals, spec.stages)
    np.testing.assert_allclose(audience.weight, builtin.heads.audience_weight, atol=1e-6)
    np.testing.assert_allclose(audience.bias, builtin.heads.audience_bias, atol=1e-6)


def test_trunks_side_by_side_say_the_mean_of_what_each_says() -> None:
    members = [member(1, "tf_efficientnet_lite0"), member(2, "tf_efficientnet_lite2")]
    each = [audience_logits([one]) for one in members]
    np.testing.assert_allclose(audience_logits(members), (each[0] + each[1]) / 2, atol=1e-3)


def test_the_generalist_stands_last_as_imagenet_made_it_and_is_not_asked_for_the_audience() -> None:
    network, audience = joined([member(1, "tf_efficientnet_lite2")])
    assert network.architectures == ("tf_efficientnet_lite2", GENERALIST)
    assert not audience.weight[-network.finals[-1] :].any()
    made = imagenet([GENERALIST]).trunks[0].state_dict()
    for name, tensor in network.trunks[-1].state_dict().items():
        torch.testing.assert_close(tensor, made[name])


def test_classes_that_say_nothing_are_none_of_the_generalists() -> None:
    given = generalist()
    silent = {one.number for one in imagenet_classes() if one.path is None}
    assert silent
    assert given.weight.shape == (1280, 1000 - len(silent)) and given.bias.shape == (1000 - len(silent),)
    assert given.paths == tuple(one.path for one in imagenet_classes() if one.number not in silent)
    weight, bias = imagenet_classifier(GENERALIST)
    first = min(silent)
    np.testing.assert_array_equal(given.weight[:, first], weight[:, first + 1])
    np.testing.assert_array_equal(given.bias[first], bias[first + 1])


def test_only_a_trunk_that_goes_on_does_so_at_half_the_rates(builtin: Pack) -> None:
    recipe = Recipe((Phase(160, 2),), seed=3)
    fine_tuned, *_ = builtin.manifest.trunk.architectures
    on = recipe_for(fine_tuned, builtin, recipe)
    assert (on.trunk_rate, on.head_rate, on.start) == (
        recipe.trunk_rate / 2,
        recipe.head_rate / 2,
        builtin.manifest.pack_name,
    )
    assert recipe_for("tf_efficientnet_lite1", builtin, recipe) == recipe
    assert recipe_for(fine_tuned, None, recipe) == recipe


def test_a_packs_generalist_is_nothing_to_go_on_from(builtin: Pack) -> None:
    trunk = builtin.manifest.trunk.model_copy(
        update={"architectures": ("tf_efficientnet_lite2", GENERALIST), "finals": (1280, 1280)}
    )
    alone = replace(builtin, manifest=builtin.manifest.model_copy(update={"trunk": trunk}))
    assert recipe_for(GENERALIST, alone, RECIPE) == RECIPE


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
    lite0, first = ("pack", "--architecture", "tf_efficientnet_lite0"), str(tmp_path / "first")
    trained(tmp_path, "first", *lite0, "--phases", "64x0")
    trained(tmp_path, "second", *lite0, "--phases", "64x1", "--start", first)
    packs = [open_pack(str(tmp_path / name)) for name in ("first", "second")]
    before, after = (pack.manifest for pack in packs)
    # Beside the trunk that is trained stands the generalist, whose leaves are known too.
    assert after.trunk.architectures == ("tf_efficientnet_lite0", GENERALIST)
    assert {("garments", "hat"), ("music", "strings", "violin")} < set(after.taxonomy)
    assert before.runs == ()  # ImageNet's trunk as it is
    assert [(run["start"], run["phases"]) for run in after.runs] == [("first@1", "1 at 64 px")]
    assert after.files[TRUNK] != before.files[TRUNK]
    assert {"garments_top1", "groceries_fine_top1", "copies_mean"} < after.measured.keys()
    card = (tmp_path / "second" / CARD).read_text()
    assert "| trunk | tf_efficientnet_lite0 |" in card


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
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(IMAGENET, "tf_efficientnet_lite0", "no_such_package")
    with pytest.raises(Unusable, match="no_such_package is not installed"):
        classifier_to_train("tf_efficientnet_lite0", Recipe((Phase(64, 0),)), [], leaves=3)


def test_a_pack_whose_trunk_is_another_network_is_not_gone_on_from(builtin: Pack, tmp_path: Path) -> None:
    save_network(Network(["tf_efficientnet_lite0"]), tmp_path / TRUNK)
    with pytest.raises(PackUnusable, match=re.escape(f"{tmp_path / TRUNK}: not the weights of")):
        members_of(replace(builtin, folder=tmp_path))
