"""What is said of a photo follows from what a wrong name costs."""

import numpy as np
import pytest

from shared.vision.decision import Decision
from shared.vision.taxonomy import Judgement, Taxonomy

HAT, SHOES = ("garments", "hat"), ("garments", "shoes")
MUG, POT = ("home", "kitchen", "mug"), ("home", "kitchen", "pot")
TREE = Taxonomy((HAT, SHOES, MUG, POT))


def judged(*probabilities: float, wrong_name: float = 1.0) -> Judgement:
    [found] = Decision(TREE, wrong_name).judge(np.array([probabilities], np.float32))
    return found


def test_a_sure_leaf_is_named_with_its_probability() -> None:
    found = judged(0.1, 0.0, 0.8, 0.1)
    assert (found.path, found.complete) == (MUG, True)
    assert found.confidence == pytest.approx(0.8)


def test_between_two_leaves_the_deepest_node_above_both_is_named() -> None:
    found = judged(0.02, 0.02, 0.49, 0.47)
    assert (found.path, found.complete) == (("home", "kitchen"), False)  # home has the same leaves below, and says less
    assert found.confidence == pytest.approx(0.96)


def test_nothing_is_named_that_would_cost_more_than_it_gains() -> None:
    # A leaf at .6 gains .6 and costs .4 times the cost of a wrong name.
    assert judged(0.6, 0, 0, 0.4, wrong_name=1.4).path == HAT
    assert judged(0.6, 0, 0, 0.4, wrong_name=1.6).path == ()


def test_a_node_is_worth_half_of_the_bits_that_it_tells() -> None:
    # Two of four leaves: half of a leaf's bits, and a node above gains half of those. So .8 gains .2 and costs .2.
    assert judged(0.4, 0.4, 0.1, 0.1, wrong_name=0.9).path == ("garments",)
    assert judged(0.4, 0.4, 0.1, 0.1, wrong_name=1.1).path == ()


def test_what_is_probably_no_product_is_unknown_with_the_probability_that_a_name_were_wrong() -> None:
    found = judged(0.1, 0.0, 0.0, 0.05)
    assert (found.path, found.complete) == ((), False)
    assert found.confidence == pytest.approx(0.9)


def test_a_wrong_name_that_costs_nothing_leaves_nothing_unknown() -> None:
    assert judged(0.01, 0, 0, 0, wrong_name=0).path == HAT
    assert judged(0.25, 0.25, 0.25, 0.25, wrong_name=0).complete


def test_rows_are_judged_each_for_itself_and_there_may_be_none() -> None:
    rows = np.array([[1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 1]], np.float32)
    decision = Decision(TREE, wrong_name=1)
    assert [found.path for found in decision.judge(rows)] == [HAT, (), POT]
    assert decision.judge(rows[:0]) == []


def test_a_tree_of_one_leaf_can_be_named() -> None:
    [found] = Decision(Taxonomy((HAT,)), wrong_name=1).judge(np.ones((1, 1), np.float32))
    assert found == Judgement(HAT, 1.0, complete=True)
