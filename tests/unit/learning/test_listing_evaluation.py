"""What names add to photos is counted as it is."""

from pathlib import Path

import numpy as np
import pytest
from vitrine.events.v1 import image_pb2

from learning.listing_evaluation import (
    ABOVE,
    BESIDE,
    BY_CLAIMS,
    BY_PHOTO,
    JOINED,
    RIGHT,
    SURELY_WRONG,
    UNKNOWN,
    WRONG,
    Answer,
    listing_answers,
    outcome,
    outcome_shares,
    right_by_origin,
    right_ids,
)
from learning.scenes import Shown
from shared.product_taxonomy import product_taxonomy
from shared.vision.pack import Pack, open_pack
from shared.vision.taxonomy import Judgement

Category = image_pb2.Category


@pytest.mark.parametrize(
    ("answered", "how"),
    [
        ("aa-1-12", RIGHT),
        ("aa-1-12-8", RIGHT),
        ("aa-1", ABOVE),
        ("aa", ABOVE),
        ("aa-1-14", BESIDE),
        ("aa-8", WRONG),
        ("el-4", WRONG),
        ("", UNKNOWN),
    ],
)
def test_an_answer_is_compared_with_the_kind_that_the_shop_names(answered: str, how: str) -> None:
    assert outcome(answered, right_ids("Pants")) == how


@pytest.mark.parametrize("kind", ["Bags", "Hoodies & Sweatshirts", "Training Video (DVD case)", "Watches"])
def test_a_kinds_ids_exist(kind: str) -> None:
    assert all(one in product_taxonomy() for one in right_ids(kind))


def test_outcomes_are_shares_of_those_by_one() -> None:
    answers = [
        Answer("Pants", BY_PHOTO, Category(taxonomy_id="aa-1-12", confidence=0.9)),
        Answer("Pants", BY_PHOTO, Category(taxonomy_id="aa-1-14", confidence=0.9)),
        Answer("Pants", BY_PHOTO, Category(taxonomy_id="el", confidence=0.7)),
        Answer("Pants", BY_PHOTO, Category(confidence=0.9)),
        Answer("Pants", JOINED, Category(taxonomy_id="aa-1-12", origin=Category.ORIGIN_BOTH)),
        Answer("Pants", JOINED, Category(taxonomy_id="aa-8", origin=Category.ORIGIN_BOTH)),
    ]
    by_photo = {RIGHT: 0.25, ABOVE: 0, BESIDE: 0.25, UNKNOWN: 0.25, WRONG: 0.25, SURELY_WRONG: 0.25}
    assert outcome_shares(answers, BY_PHOTO) == by_photo
    assert right_by_origin(answers) == {"both": (2, 1)}


def test_a_name_says_which_garment_of_a_photo_is_sold(monkeypatch: pytest.MonkeyPatch) -> None:
    pack = open_pack("builtin")
    shirt, pants = ("garments", "t-shirt"), ("garments", "pants")
    seen = Judgement(shirt, 0.6, complete=True), [(shirt, 0.6), (pants, 0.3)]
    monkeypatch.setattr(Pack, "classify", lambda _pack, rows: [seen for _ in rows])
    photos = [Shown(Path("a.jpg"), "Pants", "Blue", "p1", "Sahara Yoga Pants")]
    answers = list(listing_answers(pack, photos, np.zeros((1, pack.manifest.trunk.widths.all), np.float32)))
    assert {one.by: one.outcome for one in answers} == {BY_PHOTO: BESIDE, BY_CLAIMS: UNKNOWN, JOINED: RIGHT}
