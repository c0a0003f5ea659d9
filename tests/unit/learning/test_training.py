"""Which photos are held out of training, and what heads are fitted to the others."""

import numpy as np

from learning.sources import Sample
from learning.training import (
    ENOUGH,
    FOLDS,
    HELD,
    Audience,
    Generalist,
    Trained,
    fit_heads,
    fold_of,
    held_out,
    temperatures_of,
)
from shared.vision.heads import Array, Widths
from shared.vision.taxonomy import Taxonomy

HAT, SHOES = ("garments", "hat"), ("garments", "shoes")
LIME = ("groceries", "Fruit", "Lime", "Lime")
HOME, MUG = ("home",), ("home", "mug")
WIDTHS = Widths(finals=(6, 4), kinds=(3, 3))


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


GENERALIST = Generalist(np.eye(4, 2, dtype=np.float32), np.zeros(2, np.float32), (MUG, ()))
KINDS = (HAT, SHOES, (), HOME)


def shown(category: tuple[str, ...], source: str, count: int = 24) -> list[Sample]:
    return [Sample(b"", category, "train", group=f"{source} {category} {n}", source=source) for n in range(count)]


def features(samples: list[Sample]) -> Array:
    """Those of one kind are alike in one of the final ones."""
    rows = np.abs(np.random.default_rng(7).normal(size=(len(samples), WIDTHS.all), scale=0.2)).astype(np.float32)
    rows[np.arange(len(samples)), [KINDS.index(sample.category) for sample in samples]] += 2
    return rows


def fitted(samples: list[Sample]) -> Trained:
    rows = features(samples)
    audience = Audience(np.zeros(WIDTHS.final, np.float32), np.zeros(1, np.float32))
    return fit_heads(samples, rows, np.stack([rows, rows], axis=1), WIDTHS, audience, GENERALIST)


def test_rows_are_of_the_leaves_that_photos_show_and_leaves_are_the_generalists_too() -> None:
    samples = [*shown(HAT, "clothing"), *shown(SHOES, "clothing"), *shown((), "clutter")]
    trained = fitted(samples)
    assert trained.taxonomy.leaves == (HAT, SHOES, MUG)
    assert trained.heads.row_leaves.tolist() == [0, 1]
    assert trained.heads.class_leaves.tolist() == [2, 3]  # three leaves: 3 is no product
    assert len(trained.heads.voters) == 48
    leaves = trained.heads.leaf_probabilities(features(samples), trained.votes)
    assert trained.temperatures == {"garments": 1.0, "home": 1.0}  # what is right by far needs none
    assert (leaves[:48].argmax(axis=1) == np.repeat([0, 1], 24)).all()
    assert leaves[:48].max(axis=1).min() > 0.5
    assert leaves[48:, :2].sum(axis=1).max() < 0.5


def test_a_leaf_that_the_generalist_divides_teaches_nothing_and_no_temperature_is_fitted_to_it() -> None:
    samples = [*shown(HAT, "clothing"), *shown(SHOES, "clothing")]
    without, beside = fitted(samples), fitted([*samples, *shown(HOME, "attic")])
    assert beside.taxonomy == without.taxonomy
    assert beside.temperatures == without.temperatures
    assert len(beside.heads.voters) == 48


def test_each_vertical_has_the_temperature_that_its_photos_ask_for() -> None:
    tree = Taxonomy((HAT, SHOES, MUG, ("home", "pot"), ("toys", "doll"), ("toys", "kite")))

    def said(vertical: int, right: float, count: int, sure: float) -> tuple[Array, list[int]]:
        """Of the first of a vertical's two leaves, which some photos show."""
        leaves = np.zeros((count, len(tree.leaves)), np.float32)
        leaves[:, vertical], leaves[:, vertical + 1] = sure, 1 - sure
        return leaves, [vertical if n < right * count else vertical + 1 for n in range(count)]

    overdone, honest, few = said(0, 0.75, ENOUGH, 0.9), said(2, 0.9, ENOUGH, 0.9), said(4, 0.9, 10, 0.9)
    leaves = np.concatenate([overdone[0], honest[0], few[0]])
    found = temperatures_of(tree, leaves, np.array([*overdone[1], *honest[1], *few[1]]))
    # Odds of nine to one are those of three to one squared.
    assert found["garments"] == 2.0
    assert found["home"] == 1.0
    assert found["home"] < found["toys"] < found["garments"]  # what suits all three


def test_no_photo_asks_for_no_temperature() -> None:
    tree = Taxonomy((HAT, SHOES))
    assert temperatures_of(tree, np.zeros((0, 2), np.float32), np.zeros(0, np.intp)) == {"garments": 1.0}
