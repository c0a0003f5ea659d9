"""Categories are known by their paths."""

import numpy as np
import pytest

from shared.vision.taxonomy import Judgement, Taxonomy

HAT, SHOES = ("garments", "hat"), ("garments", "shoes")
LIME, LEMON = ("groceries", "Fruit", "Lime", "Lime"), ("groceries", "Fruit", "Lemon", "Lemon")
TREE = Taxonomy((HAT, SHOES, LIME, LEMON))


def test_a_leaf_named_like_its_parent_is_told_apart_by_its_path() -> None:
    assert LIME in TREE.nodes
    assert LIME[:3] in TREE.nodes
    assert TREE.number(LIME) == 2


def test_the_nodes_above_come_before_those_below() -> None:
    assert TREE.nodes[:2] == (("garments",), ("groceries",))
    assert set(TREE.nodes[-2:]) == {LIME, LEMON}


def test_only_leaves_have_a_number() -> None:
    with pytest.raises(ValueError):
        TREE.number(LIME[:3])


def test_a_label_is_a_leafs_alone() -> None:
    assert Judgement(HAT, 0.9, complete=True).label == "hat"
    assert Judgement(LIME[:2], 0.9, complete=False).label is None


def test_the_likeliest_leaves_are_those_likely_enough_in_their_order() -> None:
    found = TREE.likeliest(np.array([0.1, 0.5, 0.05, 0.3], np.float32), most=3, at_least=0.2)
    assert [path for path, _ in found] == [SHOES, LEMON]
    assert [p for _, p in found] == pytest.approx([0.5, 0.3])
