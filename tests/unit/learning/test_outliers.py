"""What strangers teach: a direction in which they differ from known photos where distance alone does not tell."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]

from learning import outliers
from learning.outliers import fit_direction
from shared.vision.heads import Array, remoteness, unit_rows

AXES = np.eye(6, dtype=np.float32)


def around(centres: Array, each: int, seed: int, spread: float = 0.15) -> Array:
    """Unit rows of a space of six dimensions."""
    noise = np.random.default_rng(seed).normal(size=(each * len(centres), 6), scale=spread)
    return unit_rows((np.repeat(centres, each, axis=0) + noise).astype(np.float32))


def known(each: int, seed: int) -> Array:
    """Known photos of three kinds."""
    return around(AXES[:3], each, seed)


def strange(each: int, seed: int) -> Array:
    """Between two kinds, and a little to one side of each."""
    between = np.stack([AXES[0] + AXES[1], AXES[1] + AXES[2], AXES[0] + AXES[2]])
    return np.concatenate([around(between, each, seed), around(AXES[:3] + 0.4 * AXES[3], each, seed + 1)])


LANDMARKS, UNSEEN, STRANGE = known(30, 1), known(10, 2), strange(10, 3)


def overlap(known: Array, strange: Array) -> float:
    """The share of pairs in which the stranger is not the stranger one."""
    return float((strange[:, None] <= known[None, :]).mean())


def test_strangers_are_told_from_known_photos_that_are_as_remote() -> None:
    asked, strangers = known(50, 5), strange(50, 6)
    direction = fit_direction(LANDMARKS, UNSEEN, STRANGE)
    remote = remoteness(asked, LANDMARKS), remoteness(strangers, LANDMARKS)
    without, found = overlap(*remote), overlap(remote[0] - asked @ direction, remote[1] - strangers @ direction)
    assert without > 0.1
    assert found < without / 2


def test_it_is_that_of_a_logistic_regression() -> None:
    similarity = LANDMARKS @ LANDMARKS.T
    np.fill_diagonal(similarity, -1)
    lost = 1 - (LANDMARKS * LANDMARKS).sum(axis=1)
    remote = np.append(1 - similarity.max(axis=1) + lost, remoteness(np.concatenate([UNSEEN, STRANGE]), LANDMARKS))
    inputs = np.column_stack([np.concatenate([LANDMARKS, UNSEEN, STRANGE]), outliers.DISTANCE_SCALE * remote])
    counts = [len(LANDMARKS), len(UNSEEN), len(STRANGE)]
    weights = np.repeat([0.5 / counts[0], 0.5 / counts[1], 1 / counts[2]], counts)
    theirs = LogisticRegression(C=outliers.EVIDENCE, tol=1e-10, max_iter=10_000)
    [coefficients] = theirs.fit(inputs, np.repeat([0, 0, 1], counts), sample_weight=weights).coef_
    expected = -coefficients[:-1] / (outliers.DISTANCE_SCALE * coefficients[-1])
    assert fit_direction(LANDMARKS, UNSEEN, STRANGE) == pytest.approx(expected, rel=0.002, abs=0.002)


def test_strangers_that_lie_nearer_than_known_photos_do_not_turn_the_direction_round() -> None:
    """Without a bound on what distance says, what is near would count as strange, and the direction the wrong way."""
    near = around(AXES[:3] + 0.1 * AXES[3], 20, 3, spread=0.01)
    direction = fit_direction(LANDMARKS, UNSEEN, near)
    asked = known(50, 5)
    assert overlap(remoteness(asked, LANDMARKS), remoteness(near, LANDMARKS)) > 0.8
    assert overlap(*(remoteness(rows, LANDMARKS) - rows @ direction for rows in (asked, near))) < 0.3


def test_without_strangers_distance_alone_tells() -> None:
    assert not fit_direction(LANDMARKS, UNSEEN, STRANGE[:0]).any()
