"""What the built-in pack says of real photos that took no part in its training, and of strangers."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from vitrine.events.v1 import image_pb2

from learning.evaluation import calibration_error
from learning.scenes import read_catalogue
from learning.sources import FIRST_SOURCES, Sample, read_samples
from learning.strangers import photos_of_packages
from local.colours import Told, colour_called
from shared.photos import Photo
from shared.settings import Settings
from shared.vision.reader import Reader, open_reader, photo_of
from tests.conftest import home
from tests.fleet.conftest import PROJECT

# What models/builtin/MODEL_CARD.md reports.
MEASURED = {"garments": 0.896, "groceries, fine": 0.882, "groceries, coarse": 0.926}
COLOURS = 0.81  # of `vitrine evaluate colour`, on products that nothing was learned from
SLACK = 0.02

Answered = list[tuple[Sample, image_pb2.Category]]


@pytest.fixture(scope="module")
def reader() -> Reader:
    return open_reader(Settings(home=home()))


@pytest.fixture(scope="module")
def val(photos: Path) -> list[Sample]:
    return [one for one in read_samples(photos) if one.split == "val" and one.source in FIRST_SOURCES]


@pytest.fixture(scope="module")
def answered(reader: Reader, val: list[Sample]) -> Answered:
    """To every val photo."""

    def prepared(sample: Sample) -> Photo:
        photo = photo_of(sample.body())
        reader.prepare(photo)
        return photo

    with ThreadPoolExecutor(2) as pool:
        opened = list(pool.map(prepared, val))
    return list(zip(val, (one for some in batches(opened) for one in reader.categories(some)), strict=True))


@pytest.mark.parametrize("asked", MEASURED)
def test_accuracy_on_real_photos_is_at_most_two_points_under_the_measured(answered: Answered, asked: str) -> None:
    """Those called unknown count as wrong."""
    domain, depth = asked.split(",")[0], 3 if "coarse" in asked else None
    right = [
        tuple(said.path[:depth]) == sample.category[:depth] for sample, said in answered if sample.category[0] == domain
    ]
    assert len(right) > 250
    assert np.mean(right) >= MEASURED[asked] - SLACK


def test_whoever_asks_by_vitrine_analyze_is_answered_the_same(answered: Answered) -> None:
    some = answered[::25]
    lines = analyzed([sample.photo for sample, _ in some if isinstance(sample.photo, Path)])
    assert [line["photo"] for line in lines] == [str(sample.photo) for sample, _ in some]
    assert [line["category"]["path"] for line in lines] == [list(said.path) for _, said in some]
    assert [line["category"]["label"] or "" for line in lines] == [said.label for _, said in some]


def test_colours_on_a_shops_photos_are_mostly_those_that_it_names(photos: Path) -> None:
    held = [(photo.path, colour_called(photo.colour)) for photo in read_catalogue(photos) if photo.is_held]
    judged = [(path, wanted) for path, wanted in held if wanted]
    lines = analyzed([path for path, _ in judged])
    right = [
        Told("", wanted, line["attributes"]["colour"]["value"]).is_right
        for (_, wanted), line in zip(judged, lines, strict=True)
    ]
    assert len(right) > 80
    assert np.mean(right) >= COLOURS - SLACK


def test_confidences_are_honest_and_few_known_photos_are_called_unknown(answered: Answered) -> None:
    right = np.array([tuple(said.path) == sample.category and bool(said.label) for sample, said in answered])
    assert calibration_error(np.array([said.confidence for _, said in answered]), right) < 0.05
    assert np.mean([not said.path for _, said in answered]) < 0.02


def test_most_photographs_that_hardly_show_a_product_are_unknown(reader: Reader) -> None:
    found = reader.categories([photo_of(path.read_bytes()) for path in photos_of_packages()])
    assert len(found) >= 10
    assert np.mean([not category.label and not category.path for category in found]) >= 0.5


def test_an_edited_copy_is_nearer_than_any_other_photo(val: list[Sample], reader: Reader) -> None:
    some = val[::20]
    originals = [photo_of(sample.body()) for sample in some]
    cropped = [photo_of(b"") for _ in some]
    for photo, original in zip(cropped, originals, strict=True):
        pixels = original.pixels(None)
        height, width = pixels.shape[:2]
        inner = np.ascontiguousarray(pixels[height // 20 : -(height // 20), width // 20 : -(width // 20)])
        photo.once("pixels/224", lambda inner=inner: inner)  # type: ignore[misc]
    nearest = (reader.vectors(cropped) @ reader.vectors(originals).T).argmax(axis=1)
    assert np.mean(nearest == np.arange(len(some))) >= 0.95


def analyzed(photos: list[Path]) -> list[dict[str, Any]]:
    """The lines of `vitrine analyze`."""
    command = [sys.executable, "-c", "from cli.__main__ import main; main()", "analyze", *map(str, photos)]
    env = os.environ | {"VITRINE_HOME": str(home())}
    done = subprocess.run(command, env=env, cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def batches(photos: list[Photo], size: int = 32) -> Iterator[list[Photo]]:
    return (photos[i : i + size] for i in range(0, len(photos), size))
