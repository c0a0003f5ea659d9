"""A temperature softens probabilities among the leaves of a vertical, and leaves the verticals' own as they are."""

import numpy as np
import pytest

from shared.vision.calibration import Temperatures
from shared.vision.taxonomy import Taxonomy

TREE = Taxonomy((("garments", "hat"), ("garments", "shoes"), ("home", "kitchen", "mug"), ("home", "kitchen", "pot")))
SAID = np.array([[0.6, 0.1, 0.15, 0.05], [0.0, 0.0, 0.9, 0.1], [0.0, 0.0, 0.0, 0.0]], np.float32)


def test_a_vertical_keeps_its_probability_and_the_others_all() -> None:
    softer = Temperatures(TREE, {"garments": 2.0}).applied(SAID)
    assert softer[:, :2].sum(axis=1) == pytest.approx(SAID[:, :2].sum(axis=1), abs=1e-6)
    np.testing.assert_allclose(softer[:, 2:], SAID[:, 2:], atol=1e-6)


def test_above_one_it_makes_less_sure_and_changes_no_answer() -> None:
    softer = Temperatures(TREE, {"garments": 2.0, "home": 2.0}).applied(SAID)
    # Odds of six to one become those of its root.
    assert softer[0, 0] / softer[0, 1] == pytest.approx(6**0.5, rel=1e-4)
    assert (softer[:2].argmax(axis=1) == SAID[:2].argmax(axis=1)).all()
    assert softer[1, 2] < SAID[1, 2]


def test_what_is_certainly_no_product_stays_so() -> None:
    softer = Temperatures(TREE, {"garments": 3.0, "home": 3.0}).applied(SAID)
    assert (softer[2] == 0).all()
