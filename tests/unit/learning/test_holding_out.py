"""What is held out takes no part in the fit, and is judged by the nearest node that is still known."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from learning.by_source import Verdict
from learning.holding_out import CLASS_FOLDS, verdict_without, without_each_class, without_each_source
from learning.sources import CLOTHING, GROCERY, PhotosUnusable, Sample
from learning.training import refit
from shared.vision.heads import Array
from shared.vision.pack import Pack
from shared.vision.taxonomy import Path
from tests.fakes_packs import HAT, KIWI, LEAVES, LEMON, LIME, SHIRT, features, knowing_all, sample, samples

NODES = frozenset({("garments",), HAT, ("groceries",), ("groceries", "Fruit"), KIWI[:3], KIWI})


class Recorded:
    """Fits nothing, and remembers what it was given to fit to."""

    def __init__(self) -> None:
        self.given: list[list[Sample]] = []

    def __call__(self, pack: Pack, samples: Sequence[Sample], features: Array) -> Pack:
        assert len(samples) == len(features)
        self.given.append(list(samples))
        return pack


def test_a_source_is_judged_by_heads_that_know_nothing_of_it() -> None:
    some, fit = samples(), Recorded()
    answers = without_each_source(knowing_all(some), some, features(some), fit)
    assert [{one.source for one in given} for given in fit.given] == [{GROCERY}, {CLOTHING}]
    assert [(one.source, one.truth) for one in answers] == [
        *((CLOTHING, leaf) for leaf in (HAT, SHIRT)),
        *((GROCERY, leaf) for leaf in (LEMON, LIME, KIWI)),
    ]


def test_a_class_is_judged_by_heads_that_know_nothing_of_it() -> None:
    some, fit, steps = samples(), Recorded(), list[int]()
    answers = without_each_class(knowing_all(some), some, features(some), fit, steps.append)
    assert sorted(one.truth for one in answers) == sorted(LEAVES)
    assert [set(LEAVES) - {one.category for one in given} for given in fit.given] == [{leaf} for leaf in sorted(LEAVES)]
    assert sum(steps) == CLASS_FOLDS


def test_photos_of_no_product_are_learned_from_and_are_no_class() -> None:
    some = [*samples(), replace(sample(HAT, 300), category=(), source="clutter")]
    fit = Recorded()
    answers = without_each_class(knowing_all(samples()), some, features(some), fit)
    assert all(one.truth for one in answers)
    assert all(any(not one.category for one in given) for given in fit.given)


def test_one_source_alone_cannot_be_held_out() -> None:
    some = [one for one in samples() if one.source == CLOTHING]
    with pytest.raises(PhotosUnusable, match="of clothing alone no source can be held out"):
        without_each_source(knowing_all(samples()), some, features(some), Recorded())


@pytest.mark.parametrize(
    ("truth", "said", "verdict"),
    [
        (SHIRT, ("garments",), Verdict.RIGHT),
        (SHIRT, HAT, Verdict.WRONG),
        (SHIRT, (), Verdict.UNKNOWN),
        (LIME, ("groceries", "Fruit"), Verdict.RIGHT),  # citrus went with its fruits
        (LIME, ("groceries",), Verdict.NEAR),
        (LIME, KIWI, Verdict.WRONG),
        (HAT, HAT, Verdict.RIGHT),  # something else taught it
        (("home", "mug"), (), Verdict.RIGHT),  # nothing above it is known
        (("home", "mug"), HAT, Verdict.WRONG),
        ((), (), Verdict.RIGHT),
    ],
)
def test_of_what_was_never_learned_the_nearest_node_above_is_right(truth: Path, said: Path, verdict: Verdict) -> None:
    assert verdict_without(NODES, truth, said) is verdict


def test_a_refitted_pack_knows_only_what_it_is_given() -> None:
    some = samples()
    given = [one for one in some if one.category != LIME]
    without = refit(knowing_all(some), given, features(given))
    assert without.taxonomy.leaves == tuple(leaf for leaf in LEAVES if leaf != LIME)
    assert without.manifest.taxonomy == without.taxonomy.leaves
    learned = [one for one in given if one.split == "train"]
    judged = without.judge(features(learned))
    assert [one.path for one in judged] == [one.category for one in learned]
    assert len(without.heads.voters) == len(learned)
    assert np.allclose(np.linalg.norm(without.heads.voters, axis=1), 1, atol=1e-5)


def test_a_pack_refitted_to_photos_of_no_product_has_no_row_for_them() -> None:
    some = [*samples(), replace(sample(HAT, 300, "train"), category=(), source="clutter")]
    again = refit(knowing_all(samples()), some, features(some))
    assert again.heads.row_leaves.tolist() == list(range(len(LEAVES)))
    assert len(again.heads.voters) == len(LEAVES)
    [judged] = again.judge(features(some[-1:]))
    assert judged.path == ()


def test_a_pack_is_not_refitted_to_photos_of_which_none_shows_a_product() -> None:
    clutter = [replace(sample(HAT, 300, "train"), category=(), source="clutter")]
    with pytest.raises(PhotosUnusable, match="none shows a product"):
        refit(knowing_all(samples()), clutter, features(clutter))
