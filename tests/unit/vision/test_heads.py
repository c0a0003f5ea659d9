"""A leaf's probability is the sum of its classes' and rows', and neighbours share in leaves that have known photos."""

from dataclasses import replace

import numpy as np
import pytest

from shared.vision.heads import Array, Heads, Votes, Widths, described, rooted, softmax, unit_rows

WIDTHS = Widths(finals=(7, 5), kinds=(3, 2))
LEAVES = 4  # the last has no known photos
NO_PRODUCT = LEAVES
CLASS_LEAVES = [0, 1, 1, NO_PRODUCT, 3, NO_PRODUCT]
ROW_LEAVES = [0, 2]
KNOWN = 9
UNMIXED = Votes(neighbours=3, softness=0.1, share=0.0)
VOTES = replace(UNMIXED, share=0.5)
ONLY_VOTES = Votes(neighbours=1, softness=0.1, share=1.0)


def arrays(**changes: np.ndarray) -> dict[str, np.ndarray]:
    random = np.random.default_rng(2)
    made: dict[str, np.ndarray] = {
        "class_weight": random.normal(size=(WIDTHS.finals[-1], len(CLASS_LEAVES))).astype(np.float16),
        "class_bias": random.normal(size=len(CLASS_LEAVES)).astype(np.float32),
        "class_leaves": np.array(CLASS_LEAVES, np.float32),
        "row_weight": 3 * random.normal(size=(WIDTHS.final, len(ROW_LEAVES))).astype(np.float16),
        "row_leaves": np.array(ROW_LEAVES, np.float32),
        "audience_weight": np.zeros(WIDTHS.final, np.float32),
        "audience_bias": np.zeros(1, np.float32),
        "embedding_mean": np.zeros(WIDTHS.all, np.float32),
        "embedding_projection": random.normal(size=(WIDTHS.all, 8)).astype(np.float16),
        "voters": unit_rows(random.normal(size=(KNOWN, 8)).astype(np.float32)),
        "voter_leaves": np.arange(KNOWN, dtype=np.float32) % 3,
    }
    return made | changes


def heads(**changes: np.ndarray) -> Heads:
    return Heads.from_arrays(arrays(**changes), WIDTHS, LEAVES)


def photos(count: int, seed: int = 3) -> Array:
    return np.abs(np.random.default_rng(seed).normal(size=(count, WIDTHS.all))).astype(np.float32)


def test_widths_tell_how_many_features_there_are() -> None:
    assert (WIDTHS.final, WIDTHS.all) == (12, 17)


def test_a_leafs_probability_is_the_sum_of_its_classes_and_its_rows() -> None:
    features, given = photos(5), heads()
    # The generalist is the last trunk: its five features follow seven others.
    classes = features[:, 7:12] @ given.class_weight + given.class_bias
    p = softmax(np.concatenate([classes, rooted(features, WIDTHS) @ given.row_weight], axis=1))
    expected = np.stack([p[:, 0] + p[:, 6], p[:, 1] + p[:, 2], p[:, 7], p[:, 4]], axis=1)
    np.testing.assert_allclose(given.leaf_probabilities(features, UNMIXED), expected, atol=1e-4)


@pytest.mark.parametrize("votes", [UNMIXED, VOTES])
def test_what_falls_to_no_product_is_no_leafs(votes: Votes) -> None:
    features = photos(5)
    some = heads().leaf_probabilities(features, votes)
    assert some.shape == (5, LEAVES)
    assert ((some >= 0) & (some.sum(axis=1, keepdims=True) < 1)).all()
    no_product = heads(class_bias=np.where(np.array(CLASS_LEAVES) == NO_PRODUCT, 60, 0).astype(np.float32))
    assert (no_product.leaf_probabilities(features, votes) < 0.01).all()


def test_where_all_classes_are_products_the_leaves_have_all() -> None:
    products = heads(class_leaves=np.minimum(np.array(CLASS_LEAVES, np.float32), LEAVES - 1))
    sums = products.leaf_probabilities(photos(5), VOTES).sum(axis=1)
    assert sums == pytest.approx(np.ones(5), abs=1e-4)


def test_neighbours_share_only_among_leaves_that_have_known_photos() -> None:
    features, given = photos(6), heads()
    before = given.leaf_probabilities(features, UNMIXED)
    for votes in (VOTES, ONLY_VOTES):
        after = given.leaf_probabilities(features, votes)
        np.testing.assert_allclose(after[:, 3], before[:, 3], atol=1e-4)
        np.testing.assert_allclose(after[:, :3].sum(axis=1), before[:, :3].sum(axis=1), atol=1e-4)
        assert np.abs(after[:, :3] - before[:, :3]).max() > 0.01


def test_a_photo_that_is_known_has_its_neighbours_leaf_and_what_the_classifier_gives_to_all_of_these() -> None:
    features = photos(KNOWN, seed=4)
    given = heads(voters=heads().vectors(features))
    found = given.leaf_probabilities(features, ONLY_VOTES)
    theirs = given.leaf_probabilities(features, UNMIXED)[:, :3].sum(axis=1)
    np.testing.assert_allclose(found[np.arange(KNOWN), np.arange(KNOWN) % 3], theirs, atol=1e-4)


def test_more_neighbours_are_asked_for_than_there_are_known_photos() -> None:
    few = heads(voters=np.eye(8, dtype=np.float32)[:2], voter_leaves=np.array([0, 2], np.float32))
    assert few.leaf_probabilities(photos(3), replace(VOTES, neighbours=10)).shape == (3, LEAVES)


def test_vectors_have_unit_length() -> None:
    assert np.linalg.norm(heads().vectors(photos(5)), axis=1) == pytest.approx(np.ones(5), abs=1e-5)


def test_no_trunk_outweighs_another_however_large_its_features_are() -> None:
    features = photos(4)
    louder = features.copy()
    louder[:, :7] *= 100
    np.testing.assert_allclose(rooted(louder, WIDTHS), rooted(features, WIDTHS), atol=1e-6)
    assert np.linalg.norm(rooted(features, WIDTHS)[:, 7:], axis=1) == pytest.approx(np.full(4, np.sqrt(0.5)), abs=1e-5)


def test_features_that_rounding_made_negative_count_as_none() -> None:
    features = photos(2)
    features[:, 0] = -1e-4
    assert np.isfinite(rooted(features, WIDTHS)).all() and np.isfinite(described(features, WIDTHS)).all()
    assert (rooted(features, WIDTHS)[:, 0] == 0).all()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"surprise": np.zeros(3, np.float32)}, "missing or unknown: surprise"),
        ({"class_bias": np.full(6, np.nan, np.float32)}, "not finite: class_bias"),
        ({"class_weight": np.zeros(5, np.float32)}, "class_weight has 1 dimensions, not 2"),
        ({"class_weight": np.zeros((12, 6), np.float32)}, r"class_weight has shape \(12, 6\), not \(5, 6\)"),
        ({"class_bias": np.zeros(5, np.float32)}, "class_bias has shape"),
        ({"row_weight": np.zeros((5, 2), np.float32)}, r"row_weight has shape \(5, 2\), not \(12, 2\)"),
        ({"row_leaves": np.zeros(3, np.float32)}, "row_leaves has shape"),
        ({"audience_weight": np.zeros(5, np.float32)}, "audience_weight has shape"),
        ({"embedding_mean": np.zeros(12, np.float32)}, "embedding_mean has shape"),
        ({"voters": np.zeros((9, 7), np.float32)}, "voters has shape"),
        ({"class_leaves": np.full(6, LEAVES + 1, np.float32)}, "class_leaves names leaves that there are not"),
        ({"row_leaves": np.array([0, NO_PRODUCT], np.float32)}, "row_leaves names leaves that there are not"),
        ({"row_leaves": np.array([-1, 0], np.float32)}, "row_leaves names leaves that there are not"),
        ({"voter_leaves": np.full(9, LEAVES, np.float32)}, "voter_leaves names leaves that there are not"),
    ],
)
def test_heads_that_do_not_fit_together_are_refused(changes: dict[str, np.ndarray], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        heads(**changes)


def test_heads_that_lack_something_are_refused() -> None:
    given = arrays()
    del given["row_leaves"]
    with pytest.raises(ValueError, match="missing or unknown: row_leaves"):
        Heads.from_arrays(given, WIDTHS, LEAVES)
