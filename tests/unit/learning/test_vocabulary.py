"""The pack's tree, and where ImageNet's classes and the photos' labels lie in it."""

from collections import Counter
from importlib.resources import files

import pytest

from learning.vocabulary import (
    NOT_KNOWN,
    categories_of,
    imagenet_classes,
    imagenet_leaves,
    label_path,
    label_paths,
    tree,
)
from services.attributes.reading import require_known_brands
from shared.product_taxonomy import ids_down_to, is_at_or_below, product_taxonomy
from shared.vision.pack import SHIPPED, read_manifest
from studio.training import CARTON, PHONE
from studio.wares import KINDS

LEAVES = set(tree().leaves)
NODES = set(tree().nodes)
SPECS = {spec.path: spec for spec in categories_of(tree())}
# Told apart by what they are where the taxonomy tells them apart by other things: one is a toy, one no potato.
ELSEWHERE = {("sports", "balls", "beach-ball"), ("groceries", "Vegetables", "Potato", "Sweet-Potato")}
CLOTHING = (
    "blazer blouse body dress hat hoodie longsleeve outwear pants polo shirt shoes shorts skirt t-shirt top undershirt"
)
OBJECTS = (
    "chandelier clutter/non-product dollar_bill euphonium gramophone headphone inline_skate menorah metronome scissors "
    "stapler wheelchair wrench"
)


def spelled(path: str) -> tuple[str, ...]:
    return tuple(path.split("/"))


# --- the tree ---------------------------------------------------------------------------------------------------------


def test_the_tree_has_hundreds_of_leaves_and_keeps_those_that_the_built_in_pack_has() -> None:
    assert len(LEAVES) >= 400
    assert set(read_manifest(SHIPPED).taxonomy) <= LEAVES


def test_no_leaf_has_a_node_below_it_and_no_node_lacks_one() -> None:
    above = {leaf[:depth] for leaf in LEAVES for depth in range(1, len(leaf))}
    assert above.isdisjoint(LEAVES)
    assert above | LEAVES == NODES


def test_every_leaf_is_there_for_a_class_a_label_a_drawn_ware_or_the_built_in_pack() -> None:
    known = {*imagenet_leaves(), *label_paths(), *read_manifest(SHIPPED).taxonomy}
    known |= {kind.path for kind in KINDS.values()}
    alone = {leaf for leaf in LEAVES - known if leaf[:-1] not in label_paths()}
    assert alone == set()


def test_names_are_spelled_alike() -> None:
    built_in = {node[:depth] for node in read_manifest(SHIPPED).taxonomy for depth in range(1, len(node) + 1)}
    for node in NODES - built_in:
        name = node[-1]
        assert name.replace("-", "").isalnum(), node
        assert name.islower() or (node[0] == "groceries" and len(node) == 2), node


# --- ids --------------------------------------------------------------------------------------------------------------


def test_every_node_has_an_id_that_exists_or_says_why_it_has_none() -> None:
    assert SPECS.keys() == NODES | {()}
    for path, spec in SPECS.items():
        if path:
            assert (spec.taxonomy is None) != (spec.no_taxonomy is None), spec
            assert spec.taxonomy is None or spec.taxonomy in product_taxonomy(), spec
            assert spec.no_taxonomy != NOT_KNOWN, spec


def test_an_id_lies_at_or_below_the_nearest_above() -> None:
    """What is known of a thing only in part had better be no contradiction to what it is."""

    def nearest(path: tuple[str, ...]) -> str:
        ids = [SPECS[path[:depth]].taxonomy for depth in range(1, len(path))]
        return next((one for one in reversed(ids) if one is not None), "")

    outside = {
        path
        for path, spec in SPECS.items()
        if spec.taxonomy is not None and not is_at_or_below(spec.taxonomy, nearest(path))
    }
    assert outside == ELSEWHERE


def test_the_table_of_nodes_has_no_row_twice_and_no_empty_one() -> None:
    lines = (files("learning") / "nodes.tsv").read_text("utf-8").splitlines()
    rows = [line.split("\t") for line in lines if not line.startswith("#")][1:]
    assert len({path for path, _, _ in rows}) == len(rows) == len(NODES)
    assert all(bool(category_id) != bool(reason) for _, category_id, reason in rows)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("accessories/watch", "Watches"),
        ("electronics/computers/laptop", "Laptops"),
        ("furniture/chair", "Chairs"),
        ("groceries/Snacks/crisps", "Chips"),
        ("home/kitchen/mug", "Mugs"),
        ("home/lighting/lamp", "Lamps"),
        ("music/wind/euphonium", "Euphoniums"),
        ("sports/balls/football", "Soccer Balls"),
        ("tools/scissors", "Craft & Office Scissors"),
    ],
)
def test_ids_are_those_of_what_the_leaves_are(path: str, name: str) -> None:
    category_id = SPECS[spelled(path)].taxonomy
    assert category_id is not None
    assert product_taxonomy()[category_id].name() == name


def test_the_leaves_reach_most_verticals_of_the_taxonomy() -> None:
    ids = [SPECS[leaf].taxonomy for leaf in LEAVES]
    verticals = Counter(ids_down_to(one)[0] for one in ids if one is not None)
    assert len([vertical for vertical, number in verticals.items() if number >= 3]) >= 15


# --- ImageNet ---------------------------------------------------------------------------------------------------------


def test_imagenet_s_thousand_classes_stand_in_the_order_of_their_ids_as_timm_has_them() -> None:
    synsets = (files("timm") / "data" / "_info" / "imagenet_synsets.txt").read_text().split()
    assert [one.number for one in imagenet_classes()] == list(range(1000))
    assert [one.synset for one in imagenet_classes()] == synsets == sorted(synsets)


def test_a_class_is_a_leaf_or_no_product() -> None:
    assert {one.path for one in imagenet_classes() if one.path} == set(imagenet_leaves()) <= LEAVES
    assert sum(bool(one.path) for one in imagenet_classes()) >= 400
    assert all(not one.path for one in imagenet_classes()[:398])  # animals


@pytest.mark.parametrize(
    ("number", "path"),
    [
        (419, "health/plaster"),  # Band Aid
        (487, "electronics/phone"),
        (504, "home/kitchen/mug"),
        (610, "garments/t-shirt"),  # jersey
        (681, "electronics/computers/laptop"),  # notebook
        (805, "sports/balls/football"),
        (834, "garments/blazer"),  # suit
        (948, "groceries/Fruit/Apple/Granny-Smith"),
        (955, "groceries/Fruit/jackfruit"),
        (999, "home/cleaning/toilet-paper"),
    ],
)
def test_a_class_is_the_leaf_that_its_photos_show(number: int, path: str) -> None:
    assert imagenet_classes()[number].path == spelled(path)


@pytest.mark.parametrize("name", ["tench", "airliner", "altar", "web site", "alp", "scuba diver"])
def test_what_nobody_sells_is_no_product(name: str) -> None:
    assert [one.path for one in imagenet_classes() if one.name == name] == [()]


# --- the studio, labels -----------------------------------------------------------------------------------------------


def test_what_the_studio_draws_are_leaves_each_of_one_kind() -> None:
    paths = [CARTON, PHONE, *(kind.path for kind in KINDS.values())]
    assert set(paths) <= LEAVES
    assert len(set(paths)) == len(paths)


def test_labels_are_nodes_and_most_are_leaves() -> None:
    assert set(label_paths()) <= NODES
    assert set(label_paths()) - LEAVES == {("accessories", "bags"), ("sports", "fitness")}


def test_every_label_of_the_photos_is_in_the_table() -> None:
    assert all(label_path("clothing", label) == ("garments", label) for label in CLOTHING.split())
    assert [label for label in OBJECTS.split() if not label_path("objects", label)] == ["clutter/non-product"]
    assert label_path("catalogue", "Bras & Tanks") == label_path("catalogue", "Tanks") == ("garments", "undershirt")


def test_a_label_that_the_table_lacks_is_named() -> None:
    with pytest.raises(ValueError, match=r"no label 'anchor' of 'objects'"):
        label_path("objects", "anchor")
    with pytest.raises(ValueError, match=r"'hat' of 'objects'"):
        label_path("objects", "hat")


# --- what is asked ----------------------------------------------------------------------------------------------------


def test_what_is_asked_of_categories_is_asked_of_nodes_and_of_lists_that_there_are() -> None:
    require_known_brands("of all leaves", SPECS.values())
    asked = [spec for spec in SPECS.values() if spec.attributes or spec.brands is not None]
    assert len(asked) >= 10


def test_a_manifest_of_the_whole_tree_can_be_written() -> None:
    manifest = read_manifest(SHIPPED)
    said = manifest.model_dump() | {"taxonomy": tree().leaves, "categories": categories_of(tree())}
    whole = type(manifest).model_validate(said)
    laptop, mug = (whole.meaning_of(spelled(path)) for path in ("electronics/computers/laptop", "home/kitchen/mug"))
    assert laptop.attributes == ("colour", "brand", "memory")
    assert laptop.brands == ("electronics",)
    assert mug.attributes == ("colour",)
    assert whole.meaning_of(spelled("groceries/Snacks/crisps")).attributes == ("colour", "brand", "weight")
