"""How far down the tree a photo's probabilities carry, and how sure the answer says that it is."""

import numpy as np
import pytest

from shared.vision.heads import Heads, softmax, unit_rows
from shared.vision.layout import FEATURES, FINAL
from shared.vision.taxonomy import Judgement, Taxonomy
from shared.vision.training import FOLDS, Sample, fitted_temperature, fold_of

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


def test_a_nodes_probability_is_the_sum_of_its_leaves() -> None:
    rows = np.array([[0.1, 0.2, 0.3, 0.4]], np.float32)
    assert TREE.probability(rows, ("groceries",))[0] == pytest.approx(0.7)


def test_the_temperature_undoes_overconfidence() -> None:
    random = np.random.default_rng(1)
    honest = random.normal(0, 1.5, (4000, 5)).astype(np.float32)
    labels = np.array([random.choice(5, p=p / p.sum()) for p in softmax(honest).astype(np.float64)])
    assert fitted_temperature(honest, labels) == pytest.approx(1, abs=0.15)
    assert fitted_temperature(honest * 2.5, labels) == pytest.approx(2.5, abs=0.4)


def test_folds_never_divide_a_group_and_each_category_is_in_all() -> None:
    samples = [Sample(b"", HAT, "train", group=f"sender {n // 3}") for n in range(60)]
    samples += [Sample(b"", LIME, "train", group=f"visit {n // 2}") for n in range(16)]
    folds = fold_of(samples)
    for group in {sample.group for sample in samples}:
        assert len({folds[i] for i, sample in enumerate(samples) if sample.group == group}) == 1
    for category in (HAT, LIME):
        assert {folds[i] for i, s in enumerate(samples) if s.category == category} == set(range(FOLDS))


def arrays(**changes: np.ndarray) -> dict[str, np.ndarray]:
    width = 2 * FINAL + FEATURES - FINAL
    random = np.random.default_rng(2)
    return {
        "leaf_weight": random.normal(size=(width, 4)).astype(np.float16),
        "leaf_bias": np.zeros(4, np.float32),
        "audience_weight": np.zeros(width, np.float32),
        "audience_bias": np.zeros(1, np.float32),
        "embedding_mean": np.zeros(FINAL, np.float32),
        "embedding_projection": random.normal(size=(FINAL, 8)).astype(np.float16),
        "known_projection": random.normal(size=(FINAL, 6)).astype(np.float16),
        "known_landmarks": unit_rows(random.normal(size=(9, 6)).astype(np.float32)),
        "known_distances": np.linspace(0, 1, 101, dtype=np.float32),
    } | changes


def test_heads_give_probabilities_and_unit_vectors() -> None:
    features = np.abs(np.random.default_rng(3).normal(size=(5, FEATURES))).astype(np.float32)
    heads = Heads.from_arrays(arrays())
    assert heads.leaf_probabilities(features).sum(axis=1) == pytest.approx(np.ones(5), abs=1e-5)
    assert np.linalg.norm(heads.vectors(features), axis=1) == pytest.approx(np.ones(5), abs=1e-5)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"leaf_bias": np.zeros(3, np.float32)}, "leaf_bias has shape"),
        ({"surprise": np.zeros(3, np.float32)}, "surprise"),
        ({"leaf_bias": np.full(4, np.nan, np.float32)}, "not finite"),
        ({"leaf_weight": np.zeros(4, np.float32)}, "leaf_weight has 1 dimensions"),
    ],
)
def test_heads_that_do_not_fit_together_are_refused(changes: dict[str, np.ndarray], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Heads.from_arrays(arrays(**changes))
