"""The pack on real photographs: strangers are unknown, confidences honest, copies near."""

from pathlib import Path

import numpy as np
import pytest

from shared.settings import Settings
from shared.vision.evaluation import calibration_error, strangers
from shared.vision.reader import Reader, open_reader, photo_of
from shared.vision.training import Sample, read_samples
from tests.conftest import home


@pytest.fixture(scope="module")
def reader() -> Reader:
    return open_reader(Settings(home=home()))


def test_real_photographs_of_neither_domain_are_unknown(reader: Reader) -> None:
    found = reader.categories([photo_of(path.read_bytes()) for path in strangers()])
    assert len(found) >= 10
    assert np.mean([not category.label and not category.path for category in found]) >= 0.9


def test_confidences_are_honest_and_few_known_photos_are_called_unknown(photos: Path, reader: Reader) -> None:
    some = [sample for sample in read_samples(photos) if sample.split == "val"][::3]
    found = [category for batch in batches(some) for category in reader.categories([photo_of(s.body()) for s in batch])]
    right = np.array([tuple(c.path) == s.category and bool(c.label) for c, s in zip(found, some, strict=True)])
    assert calibration_error(np.array([c.confidence for c in found]), right) < 0.12
    assert np.mean([not category.path for category in found]) < 0.04


def test_an_edited_copy_is_nearer_than_any_other_photo(photos: Path, reader: Reader) -> None:
    some = [sample for sample in read_samples(photos) if sample.split == "val"][::20]
    originals = [photo_of(sample.body()) for sample in some]
    cropped = [photo_of(b"") for _ in some]
    for photo, original in zip(cropped, originals, strict=True):
        pixels = original.pixels(None)
        height, width = pixels.shape[:2]
        inner = np.ascontiguousarray(pixels[height // 20 : -(height // 20), width // 20 : -(width // 20)])
        photo.once("pixels/224", lambda inner=inner: inner)  # type: ignore[misc]
    nearest = (reader.vectors(cropped) @ reader.vectors(originals).T).argmax(axis=1)
    assert np.mean(nearest == np.arange(len(some))) >= 0.95


def batches(samples: list[Sample], size: int = 32) -> list[list[Sample]]:
    return [samples[i : i + size] for i in range(0, len(samples), size)]
