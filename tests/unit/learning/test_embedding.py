"""The embedding's projection learns what is told apart, beyond what linear discriminants give."""

import numpy as np
import pytest
from numpy.typing import NDArray

from learning.embedding import discriminants, fit_embedding
from shared.vision.heads import Array, unit_rows

CLASSES, FEATURES, PHOTOS = 8, 96, 2560
random = np.random.default_rng(4)
CLASS_AXES = random.normal(size=(CLASSES, FEATURES))


def drawn(seed: int) -> tuple[Array, Array, NDArray[np.intp]]:
    """Photos (rows), two views of each, and classes. The last half of the features varies with every view."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, CLASSES, PHOTOS)
    photos = CLASS_AXES[labels] + 0.8 * random.normal(size=(PHOTOS, FEATURES))
    noise = np.repeat([0.1, 2.5], FEATURES // 2)
    shown = photos[:, None] + noise * random.normal(size=(PHOTOS, 3, FEATURES))
    rows = shown.astype(np.float32)
    return rows[:, 0], rows[:, 1:], labels.astype(np.intp)


def recalls(mean: Array, projection: Array) -> tuple[float, float]:
    """On photos not trained on: how often a view lies closest to its photo, and the next photo is of its class."""
    rows, views, labels = drawn(seed=2)
    photos, others = (unit_rows(np.asarray((some - mean) @ projection, np.float32)) for some in (rows, views[:, 0]))
    copies = float(((others @ photos.T).argmax(1) == np.arange(PHOTOS)).mean())
    similarity = photos @ photos.T
    np.fill_diagonal(similarity, -1)
    return copies, float((labels[similarity.argmax(1)] == labels).mean())


@pytest.fixture(scope="module")
def fitted() -> tuple[Array, Array]:
    return fit_embedding(*drawn(seed=1))


def test_training_brings_a_photos_views_closer_and_keeps_its_class_close(fitted: tuple[Array, Array]) -> None:
    rows, _, labels = drawn(seed=1)
    copies_before, class_before = recalls(*discriminants(rows, labels))
    copies, same_class = recalls(*fitted)
    assert copies > copies_before + 0.02
    assert same_class > class_before - 0.02


def test_the_same_photos_and_seed_give_the_same_projection(fitted: tuple[Array, Array]) -> None:
    np.testing.assert_array_equal(fit_embedding(*drawn(seed=1))[1], fitted[1])
