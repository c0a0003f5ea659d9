"""Rows learn what a generalist's classes don't know, and leave to them what they do."""

from collections.abc import Sequence

import numpy as np

from learning.rows import Lesson, Numbers, fit_rows
from shared.vision.heads import Array, softmax, unit_rows

WIDTH = 8
AXES = np.eye(WIDTH, dtype=np.float32)
PEAR, PLUM, VASE = 0, 1, 2
NO_PRODUCT = 3
CLASS_LEAVES = np.array([VASE, NO_PRODUCT])  # what the generalist was trained on


def around(axes: Sequence[int], each: int, seed: int) -> Array:
    """Unit rows, so many about each of the axes."""
    noise = np.random.default_rng(seed).normal(size=(each * len(axes), WIDTH), scale=0.15)
    return unit_rows(np.abs(np.repeat(AXES[list(axes)], each, axis=0) + noise).astype(np.float32))


def seen(rooted: Array) -> Array:
    """Logits of the generalist: the third axis is a vase, the fourth no product, and of others it knows nothing."""
    logits: Array = 6 * rooted[:, [2, 3]]
    return logits


def lesson(rooted: Array, leaves: Sequence[int]) -> Lesson:
    return Lesson(rooted, seen(rooted), np.array(leaves, np.intp), np.ones(len(leaves)))


def probabilities(rows: Array, row_leaves: Sequence[int], asked: Array, class_leaves: Numbers = CLASS_LEAVES) -> Array:
    """n x (L + 1)."""
    p = softmax(np.concatenate([seen(asked), asked @ rows], axis=1))
    of_leaf: Array = p @ np.eye(NO_PRODUCT + 1, dtype=np.float32)[[*class_leaves, *row_leaves]]
    return of_leaf


def test_leaves_that_lie_apart_are_learned() -> None:
    rows = fit_rows(lesson(around([0, 1], 20, 1), [PEAR] * 20 + [PLUM] * 20), CLASS_LEAVES, [PEAR, PLUM], [1, 1])
    assert rows.shape == (WIDTH, 2)
    found = probabilities(rows, [PEAR, PLUM], around([0, 1], 10, 2))
    assert (found.argmax(axis=1) == np.repeat([PEAR, PLUM], 10)).all()
    assert found.max(axis=1).mean() > 0.9


def test_a_photo_of_no_product_teaches_rows_to_be_silent() -> None:
    # Something that the generalist doesn't know lies between the pears and the fourth axis.
    shelf = unit_rows(around([0], 20, 3) + around([4], 20, 4))
    pears, asked = around([0], 20, 1), unit_rows(around([0], 10, 5) + around([4], 10, 6))
    alone = fit_rows(lesson(pears, [PEAR] * 20), CLASS_LEAVES, [PEAR], [1])
    taught = fit_rows(
        lesson(np.concatenate([pears, shelf]), [PEAR] * 20 + [NO_PRODUCT] * 20), CLASS_LEAVES, [PEAR], [1]
    )
    assert taught.shape == (WIDTH, 1)
    before, after = (probabilities(rows, [PEAR], asked) for rows in (alone, taught))
    assert before[:, PEAR].mean() > 0.9
    assert after[:, PEAR].mean() < 0.1
    assert after[:, NO_PRODUCT].mean() > 0.4  # the rest is what the generalist gives to vases
    assert probabilities(taught, [PEAR], around([0], 10, 7))[:, PEAR].mean() > 0.9


def test_a_row_of_a_leaf_that_has_a_class_too_is_added_to_it() -> None:
    # Vases as the generalist knows them, and such as it doesn't.
    known, new = around([2], 20, 1), around([5], 20, 2)
    rows = fit_rows(lesson(np.concatenate([known, new]), [VASE] * 40), CLASS_LEAVES, [VASE], [1])
    found = probabilities(rows, [VASE], np.concatenate([around([2], 10, 3), around([5], 10, 4)]))
    assert (found[:, VASE] > 0.9).all()


def test_what_the_generalist_knows_stays_its_own() -> None:
    shown, told = around([0, 2], 20, 1), [PEAR] * 20 + [VASE] * 20
    rows = fit_rows(lesson(shown, told), CLASS_LEAVES, [PEAR], [1])
    found = probabilities(rows, [PEAR], around([2], 10, 2))
    assert (found[:, VASE] > 0.9).all()


def test_what_counts_more_is_learned_more() -> None:
    shown = around([0], 20, 1)
    both = np.concatenate([shown, shown])
    told = np.array([PEAR] * 20 + [PLUM] * 20)
    weights = np.repeat([3.0, 1.0], 20)
    rows = fit_rows(Lesson(both, seen(both), told, weights), CLASS_LEAVES, [PEAR, PLUM], [1, 1])
    found = probabilities(rows, [PEAR, PLUM], shown)
    assert found[:, PEAR].mean() > 2 * found[:, PLUM].mean()


def test_a_row_says_less_the_fewer_of_its_neighbours_were_shown() -> None:
    shown, told = around([0, 1], 20, 1), [PEAR] * 20 + [PLUM] * 20
    pears = around([0], 10, 2)
    few_shown, all_shown = (
        probabilities(fit_rows(lesson(shown, told), CLASS_LEAVES, [PEAR, PLUM], shares), [PEAR, PLUM], pears)[:, PEAR]
        for shares in ([0.001, 1], [1, 1])
    )
    assert (few_shown < all_shown).all()
