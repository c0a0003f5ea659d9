"""A pack is used only when it is whole, and nothing in it is ever unpickled."""

import ast
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from safetensors.numpy import load_file, save_file

from cli.packs import packs
from learning.vocabulary import NOT_KNOWN, categories_of, imagenet_leaves
from shared.product_taxonomy import product_taxonomy
from shared.settings import Settings
from shared.vision import pack as packing
from shared.vision.pack import HEADS, MANIFEST, MODELS, TRUNK, PackUnusable, open_pack, sha256_of
from shared.vision.reader import runtime_of
from shared.vision.runtime import DeviceAbsent, open_device
from shared.vision.taxonomy import Taxonomy
from tests.fakes_vision import BUILTIN

REPOSITORY = Path(packing.__file__).parents[2]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(MODELS / "builtin", tmp_path / "builtin"))


def rewrite(folder: Path, **changes: object) -> None:
    path = folder / MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_the_built_in_pack_is_whole_and_small() -> None:
    pack = open_pack("builtin")
    assert set(imagenet_leaves()) < set(pack.taxonomy.leaves)
    assert len(pack.taxonomy.leaves) > 400
    assert sum(file.stat().st_size for file in pack.folder.iterdir()) < 30 * 1024 * 1024


def test_attributes_are_those_of_a_category_and_of_all_above_it() -> None:
    pack = open_pack("builtin")
    assert pack.attributes_of(("garments", "hat")) == ("colour", "audience")
    assert "memory" in pack.attributes_of(("electronics", "phone"))
    assert pack.attributes_of(("packages", "carton")) == ("colour", "brand", "size", "volume", "weight")
    assert pack.meaning_of(("groceries", "Packages", "Milk", "Arla-Standard-Milk")).carries_text
    assert not pack.meaning_of(("groceries", "Fruit", "Kiwi", "Kiwi")).carries_text
    assert not pack.meaning_of(()).carries_text


def test_what_is_said_of_a_category_holds_below_it_until_something_else_is_said() -> None:
    pack = open_pack("builtin")
    shirt, carton = pack.meaning_of(("garments", "shirt")), pack.meaning_of(("packages", "carton"))
    assert (shirt.brands, shirt.bare_sizes, shirt.largest_print_is_brand) == (("garments",), True, False)
    assert (carton.brands, carton.bare_sizes, carton.largest_print_is_brand) == (("groceries",), False, True)


def test_the_built_in_pack_means_what_one_trained_now_would() -> None:
    pack = open_pack("builtin")
    assert pack.manifest.categories == categories_of(pack.taxonomy)


def test_a_pack_of_new_categories_says_of_each_that_it_has_no_id() -> None:
    specs = categories_of(Taxonomy((("oddments", "kite"), ("garments", "hat"))))
    above, new = (spec for spec in specs if spec.path[:1] == ("oddments",))
    assert new.path == ("oddments", "kite")
    assert above.no_taxonomy == new.no_taxonomy == NOT_KNOWN
    assert above.taxonomy is new.taxonomy is None


def test_every_node_of_the_built_in_pack_has_an_id_that_exists_or_says_why_not() -> None:
    nodes = {leaf[:depth] for leaf in BUILTIN.taxonomy for depth in range(1, len(leaf) + 1)}
    said = {spec.path: spec for spec in BUILTIN.categories if spec.path}
    assert said.keys() == nodes
    for spec in said.values():
        assert (spec.taxonomy is None) != (spec.no_taxonomy is None), spec
        assert spec.taxonomy is None or product_taxonomy().get(spec.taxonomy), spec
        assert spec.no_taxonomy != NOT_KNOWN, spec


@pytest.mark.parametrize(
    ("path", "taxonomy_id"),
    [
        (("garments", "t-shirt"), "aa-1-13-8"),
        (("garments",), "aa"),
        (("groceries", "Fruit", "Apple", "Granny-Smith"), "fb-2-10-7-1"),
        (("groceries", "Packages"), "fb"),
        (("groceries", "Packages", "Milk", "Arla-Standard-Milk"), "fb-1-9"),
        (("electronics", "phone"), "el-4-8-5"),
        (("packages",), ""),
        ((), ""),
    ],
)
def test_a_path_has_the_id_of_its_deepest_node_that_has_one(path: tuple[str, ...], taxonomy_id: str) -> None:
    assert open_pack("builtin").taxonomy_id(path) == taxonomy_id


@pytest.mark.parametrize(
    ("hat", "said"),
    [
        ([{}], "neither taxonomy nor no_taxonomy is said of garments/hat: .*vitrine taxonomy find"),
        ([{"taxonomy": "aa-2-999"}], "the product taxonomy has no id 'aa-2-999' for garments/hat"),
        ([{"taxonomy": "aa-2-17", "no_taxonomy": "a hat"}], "both said of garments/hat"),
        ([{"taxonomy": "aa-2-17"}, {"taxonomy": "aa-2"}], "said of garments/hat, or one twice"),
        ([{"no_taxonomy": ""}], "no_taxonomy"),
    ],
)
def test_a_category_without_an_id_or_a_reason_is_refused(copy: Path, hat: list[dict[str, str]], said: str) -> None:
    path = ["garments", "hat"]
    categories = [one for one in json.loads((copy / MANIFEST).read_text())["categories"] if one["path"] != path]
    rewrite(copy, categories=[*categories, *({"path": path} | one for one in hat)])
    with pytest.raises(PackUnusable, match=said) as why:
        open_pack(str(copy))
    assert "\n" not in str(why.value)


def test_a_manifest_from_before_categories_had_ids_is_told_how_many_lack_them(copy: Path) -> None:
    categories = json.loads((copy / MANIFEST).read_text())["categories"]
    for one in categories:
        one.pop("taxonomy", None)
        one.pop("no_taxonomy", None)
    rewrite(copy, categories=categories)
    with pytest.raises(PackUnusable, match=r"is said of [a-z]+ and \d+ more: give each an entry"):
        open_pack(str(copy))


def test_a_manifest_from_before_categories_had_meanings_is_told_what_to_do(copy: Path) -> None:
    manifest = json.loads((copy / MANIFEST).read_text())
    del manifest["categories"]
    (copy / MANIFEST).write_text(json.dumps(manifest | {"attributes": [{"path": [], "attributes": ["colour"]}]}))
    with pytest.raises(PackUnusable, match=r"manifest\.json: .*replace attributes by categories"):
        open_pack(str(copy))


def test_a_pack_from_before_names_had_a_cost_is_told_what_to_do(copy: Path) -> None:
    rewrite(copy, bars={"leaf_at_least": 0.4, "node_at_least": 0.6, "strange_beyond": 0.3})
    with pytest.raises(PackUnusable, match=r"manifest\.json: .*bars: packs made before wrong_name .* anew") as why:
        open_pack(str(copy))
    assert "\n" not in str(why.value)


def test_each_trunk_says_how_many_final_features_it_has(copy: Path) -> None:
    trunk = json.loads((copy / MANIFEST).read_text())["trunk"]
    rewrite(copy, trunk=trunk | {"finals": trunk["finals"][:-1]})
    with pytest.raises(PackUnusable, match="2 finals for 3 architectures"):
        open_pack(str(copy))


def test_a_pack_from_before_verticals_had_temperatures_is_told_what_to_do(copy: Path) -> None:
    votes = json.loads((copy / MANIFEST).read_text())["votes"]
    rewrite(copy, votes=votes | {"temperature": 1.2})
    with pytest.raises(PackUnusable, match="votes: leave temperature out: each vertical has its own in temperatures"):
        open_pack(str(copy))


@pytest.mark.parametrize(
    ("temperatures", "said"),
    [({"garment": 1.5}, "temperatures: garment is no vertical"), ({"garments": 0.9}, r"temperatures\.garments")],
)
def test_temperatures_soften_and_are_of_verticals(copy: Path, temperatures: dict[str, float], said: str) -> None:
    rewrite(copy, temperatures=temperatures)
    with pytest.raises(PackUnusable, match=said):
        open_pack(str(copy))


def test_a_vertical_is_as_sure_as_its_temperature_lets_it_be(copy: Path) -> None:
    features = np.abs(np.random.default_rng(3).normal(size=(4, open_pack("builtin").heads.widths.all))).astype(
        np.float32
    )
    rewrite(copy, temperatures={})
    as_is = open_pack(str(copy)).probabilities(features)
    rewrite(copy, temperatures={"garments": 3.0})
    softer = open_pack(str(copy)).probabilities(features)
    garments = np.array([leaf[0] == "garments" for leaf in open_pack(str(copy)).taxonomy.leaves])
    np.testing.assert_allclose(softer[:, ~garments], as_is[:, ~garments], atol=1e-6)
    assert (softer[:, garments].max(axis=1) < as_is[:, garments].max(axis=1)).all()


@pytest.mark.parametrize("cost", [-0.1, float("nan"), float("inf")])
def test_a_wrong_name_costs_nothing_or_more(copy: Path, cost: float) -> None:
    rewrite(copy, wrong_name=cost)
    with pytest.raises(PackUnusable, match="wrong_name"):
        open_pack(str(copy))


def test_a_manifest_from_before_claims_were_compared_with_ids_is_told_what_to_do(copy: Path) -> None:
    categories = json.loads((copy / MANIFEST).read_text())["categories"]
    rewrite(copy, categories=[*categories[:-1], categories[-1] | {"kinds": ["top"]}])
    with pytest.raises(PackUnusable, match=r"manifest\.json: .*leave kinds out: .* is taxonomy") as why:
        open_pack(str(copy))
    assert "\n" not in str(why.value)


@pytest.mark.parametrize(
    ("category", "said"),
    [
        ({"path": ["garment"], "attributes": ["audience"]}, "garment is not in the taxonomy"),
        ({"path": ["garments", "hat"], "attributes": ["brand"]}, "no brands for garments/hat"),
    ],
)
def test_a_meaning_that_would_be_lost_is_refused(copy: Path, category: dict[str, object], said: str) -> None:
    nodes = {leaf[:depth] for leaf in BUILTIN.taxonomy for depth in range(1, len(leaf) + 1)}
    rest = [{"path": node, "no_taxonomy": "not what is tested"} for node in sorted(nodes)]
    rewrite(copy, categories=[*rest, category])
    with pytest.raises(PackUnusable, match=said):
        open_pack(str(copy))


def test_one_flipped_byte_is_told_with_the_file_it_is_in(copy: Path) -> None:
    body = bytearray((copy / HEADS).read_bytes())
    body[-7] ^= 1
    (copy / HEADS).write_bytes(body)
    with pytest.raises(PackUnusable, match=r"heads\.safetensors: sha256 is") as why:
        open_pack(str(copy))
    assert "\n" not in str(why.value)


def test_a_wrong_shape_is_told_even_when_the_checksum_is_right(copy: Path) -> None:
    arrays = load_file(copy / HEADS)
    save_file(arrays | {"class_bias": np.zeros(3, np.float32)}, copy / HEADS)
    rewrite(copy, files={name: sha256_of(copy / name) for name in (TRUNK, HEADS)})
    with pytest.raises(PackUnusable, match="class_bias has shape"):
        open_pack(str(copy))


def test_classes_of_leaves_that_there_are_not_are_refused(copy: Path) -> None:
    taxonomy = json.loads((copy / MANIFEST).read_text())["taxonomy"]
    taxonomy.remove(["garments", "hat"])
    categories = [
        one for one in json.loads((copy / MANIFEST).read_text())["categories"] if one["path"] != ["garments", "hat"]
    ]
    rewrite(copy, taxonomy=taxonomy, categories=categories)
    with pytest.raises(PackUnusable, match=r"heads\.safetensors: class_leaves names leaves that there are not"):
        open_pack(str(copy))


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"name": "builtin"}'])
def test_a_broken_manifest_is_one_line(copy: Path, text: str) -> None:
    (copy / MANIFEST).write_text(text)
    with pytest.raises(PackUnusable, match=r"manifest\.json") as why:
        open_pack(str(copy))
    assert "\n" not in str(why.value)


def test_a_pickle_in_place_of_the_heads_is_refused_even_under_its_own_checksum(copy: Path) -> None:
    (copy / HEADS).write_bytes(b"\x80\x04cos\nsystem\n(S'true'\ntR.")
    rewrite(copy, files={name: sha256_of(copy / name) for name in (TRUNK, HEADS)})
    with pytest.raises(PackUnusable, match=r"heads\.safetensors"):
        open_pack(str(copy))


def test_a_missing_pack_is_one_line() -> None:
    with pytest.raises(PackUnusable, match="no model pack 'nowhere'"):
        open_pack("nowhere")


@pytest.mark.parametrize("name", [TRUNK, HEADS])
def test_a_manifest_that_vouches_for_no_weights_is_refused(copy: Path, name: str) -> None:
    files = json.loads((copy / MANIFEST).read_text())["files"]
    rewrite(copy, files={each: sha256 for each, sha256 in files.items() if each != name})
    with pytest.raises(PackUnusable, match=f"does not name {name}"):
        open_pack(str(copy))


def test_another_networks_weights_are_one_line(copy: Path, tmp_path: Path) -> None:
    trunk = json.loads((copy / MANIFEST).read_text())["trunk"]
    rewrite(copy, trunk=trunk | {"architectures": 3 * ["tf_efficientnet_lite1"]})
    with pytest.raises(PackUnusable, match=r"trunk\.safetensors: not the weights of tf_efficientnet_lite1 and") as why:
        runtime_of(open_pack(str(copy)), Settings(home=tmp_path))
    assert "\n" not in str(why.value)


@pytest.mark.parametrize("wanted", ["gpu", "cuda"])
def test_a_device_that_is_absent_or_unheard_of_fails_at_start(wanted: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(DeviceAbsent, match="VITRINE_DEVICE"):
        open_device(wanted)


def test_nothing_that_serves_can_unpickle() -> None:
    """Training loads ImageNet weights and its own checkpoints, of both the weights only."""
    modules = [*REPOSITORY.glob("shared/**/*.py"), *REPOSITORY.glob("services/**/*.py")]
    assert Path(packing.__file__) in modules
    for path in modules:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = {alias.name for alias in node.names} | {getattr(node, "module", None)}
                assert names.isdisjoint({"pickle", "joblib", "dill", "cloudpickle"}), path
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("torch.load", "np.load", "numpy.load"):
                said = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
                assert said.get("weights_only") == "True" or said.get("allow_pickle") == "False", path


def test_verify_ends_in_failure_when_any_pack_is_broken(copy: Path) -> None:
    (copy / HEADS).unlink()
    found = CliRunner().invoke(packs, ["verify", "builtin", str(copy)])
    assert found.exit_code == 1
    assert f"{BUILTIN.pack_name}: 3 files are whole" in found.output
    assert "No such file" in found.output


def test_show_names_categories_and_figures() -> None:
    found = CliRunner().invoke(packs, ["show", "builtin"])
    assert found.exit_code == 0
    assert "category    electronics / phone  el-4-8-5\n" in found.output
    assert "garments top1" in found.output
