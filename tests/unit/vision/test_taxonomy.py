"""How far down the tree a photo's probabilities carry, and how sure the answer says that it is."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from learning.sources import Sample
from learning.training import FOLDS, HELD, fit_unknown, fold_of, held_out
from shared.vision.heads import Heads, Votes, unit_rows
from shared.vision.taxonomy import Judgement, Taxonomy

HAT, SHOES = ("garments", "hat"), ("garments", "shoes")
LIME, LEMON = ("groceries", "Fruit", "Lime", "Lime"), ("groceries", "Fruit", "Lemon", "Lemon")
TREE = Taxonomy((HAT, SHOES, LIME, LEMON))


def judged(*probabilities: float) -> Judgement:
    return TREE.judge(np.array(probabilities, np.float32), leaf_at_least=0.4, node_at_least=0.6)


def test_a_sure_leaf_is_named_with_its_probability() -> None:
    found = judged(0.7, 0.1, 0.1, 0.1)
    assert (found.path, found.label) == (HAT, "hat")
    assert found.confidence == pytest.approx(0.7)


def test_between_two_leaves_the_path_stops_at_their_parent_and_the_label_is_unknown() -> None:
    found = judged(0.05, 0.15, 0.39, 0.38)
    assert (found.path, found.label) == (("groceries", "Fruit"), None)
    assert found.confidence == pytest.approx(0.77)


def test_when_not_even_the_top_is_sure_the_path_is_empty() -> None:
    assert judged(0.25, 0.25, 0.25, 0.25) == Judgement((), 1.0, complete=False)


def test_a_leaf_named_like_its_parent_is_told_apart_by_its_path() -> None:
    assert LIME in TREE.nodes
    assert LIME[:3] in TREE.nodes
    assert TREE.number(LIME) == 2


def test_folds_never_divide_a_group_and_each_category_is_in_all() -> None:
    samples = [Sample(b"", HAT, "train", group=f"sender {n // 3}") for n in range(60)]
    samples += [Sample(b"", LIME, "train", group=f"visit {n // 2}") for n in range(32)]
    folds = fold_of(samples)
    for group in {sample.group for sample in samples}:
        assert len({folds[i] for i, sample in enumerate(samples) if sample.group == group}) == 1
    for category in (HAT, LIME):
        assert {folds[i] for i, s in enumerate(samples) if s.category == category} == set(range(FOLDS))


def test_staged_pictures_and_the_only_group_of_a_category_are_never_held_out() -> None:
    samples = [Sample(b"", HAT, "train", group=f"sender {n}") for n in range(16)]
    samples += [Sample(b"", SHOES, "train", group="one seller") for _ in range(9)]
    samples += [Sample(b"", HAT, "train", group=f"drawn {n}", staged=True) for n in range(16)]
    samples += [Sample(b"", HAT, "val", group=f"other {n}") for n in range(16)]
    held = held_out(samples)
    assert held[:16].sum() == 2
    assert not held[16:].any()


def test_of_categories_with_few_groups_not_each_has_one_held_out() -> None:
    kinds = [("groceries", "Fruit", f"fruit {n}", f"fruit {n}") for n in range(24)]
    samples = [Sample(b"", kind, "train", group=f"{kind} {n // 8}") for kind in kinds for n in range(32)]
    held = held_out(samples)
    assert held.sum() == len(samples) / HELD
    whole = {sample.group for sample, out in zip(samples, held, strict=True) if not out}
    assert not whole & {sample.group for sample, out in zip(samples, held, strict=True) if out}


WIDTHS = (12, 5, 5)
VOTES = Votes(neighbours=3, softness=0.1, share=0.5, temperature=1.0)


def arrays(**changes: np.ndarray) -> dict[str, np.ndarray]:
    random = np.random.default_rng(2)
    made: dict[str, Any] = {
        "leaf_weight": random.normal(size=(12, 4)).astype(np.float16),
        "leaf_bias": np.zeros(4, np.float32),
        "audience_weight": np.zeros(12, np.float32),
        "audience_bias": np.zeros(1, np.float32),
        "embedding_mean": np.zeros(22, np.float32),
        "embedding_projection": random.normal(size=(22, 8)).astype(np.float16),
        "voters": unit_rows(random.normal(size=(9, 8)).astype(np.float32)),
        "voter_leaves": np.arange(9, dtype=np.float32) % 4,
        "known_projection": random.normal(size=(22, 6)).astype(np.float16),
        "known_landmarks": unit_rows(random.normal(size=(9, 6)).astype(np.float32)),
        "known_direction": np.zeros(6, np.float32),
        "known_distances": np.linspace(0, 1, 101, dtype=np.float32),
    }
    return made | changes


def test_heads_give_probabilities_and_unit_vectors() -> None:
    features = np.abs(np.random.default_rng(3).normal(size=(5, 22))).astype(np.float32)
    heads = Heads.from_arrays(arrays(), WIDTHS)
    assert heads.leaf_probabilities(features, VOTES).sum(axis=1) == pytest.approx(np.ones(5), abs=1e-5)
    assert np.linalg.norm(heads.vectors(features), axis=1) == pytest.approx(np.ones(5), abs=1e-5)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"leaf_bias": np.zeros(3, np.float32)}, "leaf_bias has shape"),
        ({"surprise": np.zeros(3, np.float32)}, "surprise"),
        ({"leaf_bias": np.full(4, np.nan, np.float32)}, "not finite"),
        ({"leaf_weight": np.zeros(4, np.float32)}, "leaf_weight has 1 dimensions"),
        ({"voter_leaves": np.full(9, 4, np.float32)}, "leaves that there are not"),
    ],
)
def test_heads_that_do_not_fit_together_are_refused(changes: dict[str, np.ndarray], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Heads.from_arrays(arrays(**changes), WIDTHS)


def test_a_photo_that_is_known_has_its_neighbours_leaf() -> None:
    features = np.abs(np.random.default_rng(4).normal(size=(9, 22))).astype(np.float32)
    alone = Heads.from_arrays(arrays(), WIDTHS)
    heads = Heads.from_arrays(arrays(voters=alone.vectors(features)), WIDTHS)
    only_votes = Votes(neighbours=1, softness=0.1, share=1.0, temperature=1.0)
    assert (heads.leaf_probabilities(features, only_votes).argmax(axis=1) == np.arange(9) % 4).all()


def test_what_the_landmarks_space_cannot_hold_is_strange() -> None:
    widths, axes = (4,), np.eye(4, dtype=np.float32)
    # Photos were known along the first two axes only, and all of them are like the first.
    kept = axes[:, :2]
    changes = {
        "known_projection": kept,
        "known_landmarks": (axes @ kept)[:1].repeat(9, axis=0),
        "known_direction": np.zeros(2, np.float32),
    }
    shapes = {"leaf_weight": (4, 4), "audience_weight": (4,), "embedding_mean": (4,), "embedding_projection": (4, 8)}
    heads = Heads.from_arrays(arrays(**{n: np.zeros(s, np.float32) for n, s in shapes.items()}, **changes), widths)
    known, unlike_any, lost, half_lost = heads.strangeness(np.stack([*axes[:3], axes[0] + axes[3]]))
    assert (known, unlike_any, lost) == pytest.approx((0, 1, 2), abs=1e-6)
    # The square roots of both halves weigh the same: half of its energy is lost.
    assert half_lost == pytest.approx(1 - np.sqrt(0.5) + 0.5, abs=1e-6)
    # What lies in the direction of known photos is less strange, by as much as it lies there.
    knowing = replace(heads, known_direction=np.array([0, 0.25], np.float32))
    assert knowing.strangeness(np.stack([axes[0], axes[1], axes[2]])) == pytest.approx((0, 0.75, 2), abs=1e-6)


def test_where_strangers_taught_fewer_known_photos_may_be_called_unknown() -> None:
    random = np.random.default_rng(6)
    samples = [Sample(b"", HAT, "train", group=f"sender {n}") for n in range(960)]
    features = np.abs(random.normal(size=(960, 22), loc=2)).astype(np.float32)
    strange = np.abs(random.normal(size=(60, 22))).astype(np.float32)
    untaught = fit_unknown(samples, features, WIDTHS, strange[:0])
    taught = fit_unknown(samples, features, WIDTHS, strange)
    # Of photos held out three in a hundred, or fewer than one, are stranger than the bar.
    assert untaught.beyond == pytest.approx(untaught.distances[97], abs=1e-6)
    assert taught.distances[99] < taught.beyond < taught.distances[100]


def test_a_temperature_above_one_makes_less_sure_and_changes_no_answer() -> None:
    features = np.abs(np.random.default_rng(5).normal(size=(7, 22))).astype(np.float32)
    heads = Heads.from_arrays(arrays(), WIDTHS)
    sure = heads.leaf_probabilities(features, VOTES)
    less = heads.leaf_probabilities(features, Votes(3, 0.1, 0.5, temperature=2.0))
    assert (less.argmax(axis=1) == sure.argmax(axis=1)).all()
    assert (less.max(axis=1) < sure.max(axis=1)).all()
