"""On real photos: copies are found, and strangers are not taken for copies."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from services.fraud.pdq import MATCH_DISTANCE, Fingerprint, distances, fingerprint
from shared.photos import Pixels
from shared.vision.decode import decode
from tests.fakes_vision import jpeg

COPIED = 100


@pytest.fixture(scope="module")
def pictures(photos: Path) -> dict[str, Pixels]:
    """Full-size val photos by name: 300 garments and 150 groceries, with whatever near-duplicates there are."""
    return {path.stem: decode(path.read_bytes(), None) for path in sorted(val_photos(photos))}


def val_photos(photos: Path) -> list[Path]:
    garments = sorted((photos / "clothing" / "val").rglob("*.jpg"))[:300]
    groceries = sorted((photos / "grocery" / "val").rglob("*.jpg"))[::2][:150]
    return [*garments, *groceries]


@pytest.fixture(scope="module")
def originals(pictures: dict[str, Pixels]) -> dict[str, Fingerprint]:
    hashed = {name: fingerprint(picture) for name, picture in pictures.items()}
    return {name: one for name, one in hashed.items() if one.usable}


@pytest.fixture(scope="module")
def sellers(photos: Path) -> dict[str, str]:
    with (photos / "clothing" / "labels.csv").open(encoding="utf-8") as table:
        return {row["image"]: row["sender_id"] for row in csv.DictReader(table)}


def cropped(picture: Pixels, share: float) -> Pixels:
    height, width = picture.shape[:2]
    rows, columns = max(1, round(height * share)), max(1, round(width * share))
    return np.ascontiguousarray(picture[rows:-rows, columns:-columns])


EDITS: dict[str, tuple[Callable[[Pixels], Any], float]] = {
    "recompressed": (lambda p: decode(jpeg(p, 45)), 1.0),
    "mirrored and recompressed": (lambda p: decode(jpeg(np.ascontiguousarray(p[:, ::-1]), 70)), 1.0),
    "halved": (lambda p: cv2.resize(p, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), 1.0),
    "brightened": (lambda p: cv2.convertScaleAbs(p, alpha=1.1, beta=12), 0.98),
    "without 1 % at each edge": (lambda p: cropped(p, 0.01), 0.9),
}


@pytest.mark.parametrize("edit", EDITS)
def test_edited_copies_match_their_originals(
    edit: str, pictures: dict[str, Pixels], originals: dict[str, Fingerprint]
) -> None:
    change, at_least = EDITS[edit]
    names = list(originals)[:: max(1, len(originals) // COPIED)][:COPIED]
    bits = np.array(
        [
            distances(fingerprint(np.asarray(change(pictures[name]), np.uint8)), [originals[name].hex])[0]
            for name in names
        ]
    )
    found = float((bits <= MATCH_DISTANCE).mean())
    print(f"{edit}: {found:.0%} of {len(names)} found, median {np.median(bits):.0f} bits, at most {max(bits)}")
    assert found >= at_least


def test_photos_of_different_sellers_do_not_match(originals: dict[str, Fingerprint], sellers: dict[str, str]) -> None:
    names = list(originals)
    hashes = [originals[name].hex for name in names]
    wrong, pairs = [], 0
    for i, name in enumerate(names):
        for other, bits in zip(names[:i], distances(originals[name], hashes[:i]), strict=True):
            if sellers.get(name, "shop") == sellers.get(other, "shop"):
                continue
            pairs += 1
            if bits <= MATCH_DISTANCE:
                wrong.append((name, other, int(bits)))
    print(f"false matches: {len(wrong)} of {pairs} pairs {wrong}")
    assert pairs > 50_000
    assert not wrong
