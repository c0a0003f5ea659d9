"""An answer is right, near, unknown or wrong, and each source counts by itself."""

from collections.abc import Sequence
from dataclasses import replace
from math import isnan

import pytest

from learning.by_source import (
    COSTS,
    Verdict,
    answers_of,
    by_source,
    curve,
    hierarchical_f1,
    mean_of,
    verdict_of,
)
from learning.sources import Sample
from shared.vision.taxonomy import Judgement, Path
from tests.fakes_packs import HAT, KIWI, LEAVES, LEMON, LIME, features, knowing_all, samples

IDS = {HAT: "aa-2-17", LIME: "fb-2-10-7-10-5", LEMON: "fb-2-10-7-10-3", LIME[:3]: "fb-2-10-7-10"}


def id_of(path: Sequence[str]) -> str:
    return IDS.get(tuple(path), "")


def shown(source: str, truth: Path) -> Sample:
    return Sample(b"", truth, "val", group="", source=source)


def said(path: Path, confidence: float = 0.9) -> Judgement:
    return Judgement(path, confidence, complete=path in LEAVES)


@pytest.mark.parametrize(
    ("truth", "answer", "verdict"),
    [
        (HAT, HAT, Verdict.RIGHT),
        (LIME, LIME[:3], Verdict.NEAR),
        (LIME, LIME[:1], Verdict.NEAR),
        (LIME, (), Verdict.UNKNOWN),
        (LIME, LEMON, Verdict.WRONG),  # however much they share
        (LIME, HAT[:1], Verdict.WRONG),
        (LIME[:3], LIME[:3], Verdict.RIGHT),
        (LIME[:3], LEMON, Verdict.RIGHT),  # the label says no more than citrus
        (LIME[:3], LIME[:2], Verdict.NEAR),
        (LIME[:3], KIWI, Verdict.WRONG),
        ((), (), Verdict.RIGHT),
        ((), HAT, Verdict.WRONG),
        ((), HAT[:1], Verdict.WRONG),
    ],
)
def test_an_answer_is_worth_what_it_tells_of_the_truth(truth: Path, answer: Path, verdict: Verdict) -> None:
    assert verdict_of(truth, answer) is verdict


def test_a_row_for_each_source_and_their_mean() -> None:
    photos = [shown("shop", HAT)] * 3 + [shown("shop", LIME), shown("clutter", ())]
    judged = [said(HAT), said(LIME, 0.8), said(LIME, 0.79), said(LIME[:2]), said(())]
    rows = by_source(answers_of(photos, judged), id_of)
    assert [(row.source, row.photos) for row in rows] == [("shop", 4), ("clutter", 1)]
    shop, clutter = rows
    assert (shop.right, shop.near, shop.unknown, shop.wrong, shop.surely_wrong) == (0.25, 0.25, 0, 0.5, 0.25)
    assert (clutter.right, clutter.unknown, clutter.wrong) == (1, 0, 0)
    assert isnan(clutter.f1) and "f1" not in clutter.shares
    mean = mean_of(rows)
    assert (mean.photos, mean.right, mean.wrong, mean.f1) == (5, 0.625, 0.25, shop.f1)


def test_hierarchical_f1_is_of_all_ids_down_to_the_answer_and_the_truth() -> None:
    assert hierarchical_f1([("aa-2-17", "aa-2-17")]) == 1
    # Two of three answered ids are true, and two of four true ones answered.
    assert hierarchical_f1([("aa-1-2", "aa-1-3-4")]) == pytest.approx(2 * 2 / (3 + 4))
    # Silence costs recall, a name for no product precision; all photos' ids are counted together.
    assert hierarchical_f1([("aa-1", "aa-1"), ("", "aa-1"), ("el", "")]) == pytest.approx(2 * 2 / (3 + 4))
    assert hierarchical_f1([("aa", "el")]) == 0
    assert isnan(hierarchical_f1([("", "")]))


def test_the_dearer_a_wrong_name_the_less_is_named() -> None:
    some = samples()
    pack = knowing_all(some)
    rows = curve(pack, some, features(some))
    assert [cost for cost, _ in rows] == list(COSTS)
    assert all(row.right == 1 for _, row in rows)  # each photo is its own nearest neighbour
    votes = pack.manifest.votes.model_copy(update={"share": 0.0})  # the classifier tells none from another
    heads = replace(pack.heads, row_weight=0 * pack.heads.row_weight, class_bias=0 * pack.heads.class_bias)
    unsure = replace(pack, manifest=pack.manifest.model_copy(update={"votes": votes}), heads=heads)
    unknown = [row.unknown for _, row in curve(unsure, some, features(some))]
    assert unknown == sorted(unknown) and (unknown[0], unknown[-1]) == (0, 1)
