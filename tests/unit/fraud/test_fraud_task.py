import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from vitrine.events.v1 import image_pb2

from services.fraud.__main__ import wiring
from services.fraud.bank import BLOCKED_DISTANCE, RedisBank, Revision
from services.fraud.removals import GROUP as REMOVALS
from services.fraud.task import REVIEW_AT, FraudTask, copy_strength, judged
from shared.errors import Poison, Transient
from shared.photo_store import open_photo_store
from shared.photos import Photo
from shared.stream.fetching import fetch_from
from shared.stream.known_good import known_good, plant
from shared.stream.serving import WorkerSettings
from shared.stream.task import Finding
from shared.vision.decode import decode
from tests.fakes_vision import FakeBank, FakeReader, jpeg, photo_of, scenery
from tests.unit.fraud.pictures_of_text import card, chart

ALLOW, REVIEW, BLOCK = (
    image_pb2.Fraud.DECISION_ALLOW,
    image_pb2.Fraud.DECISION_REVIEW,
    image_pb2.Fraud.DECISION_BLOCK,
)
PICTURE = jpeg(scenery(1))
MIRRORED = jpeg(np.ascontiguousarray(scenery(1)[:, ::-1]), 60)
LOOK_ALIKE = jpeg(scenery(2))


def score(task: FraudTask, photo: Photo) -> list[image_pb2.ImageScored]:
    task.prepare(photo)
    (found,) = task.infer([photo], [None])
    messages = [finding.message for finding in task.conclude(photo, found)]
    assert all(isinstance(message, image_pb2.ImageScored) for message in messages)
    return list(messages)  # type: ignore[arg-type]


def reasons(scored: image_pb2.ImageScored) -> list[str]:
    return [reason.code for reason in scored.fraud.reasons]


@pytest.fixture
def bank() -> FakeBank:
    return FakeBank()


@pytest.fixture
def task(bank: FakeBank) -> FraudTask:
    return FraudTask(FakeReader("garments", "t-shirt"), bank)


def test_an_honest_photo_is_allowed(task: FraudTask) -> None:
    (scored,) = score(task, photo_of(PICTURE, category="T-Shirts"))
    assert (scored.fraud.decision, scored.fraud.score, reasons(scored)) == (ALLOW, 0, [])
    assert scored.assessment.listing_id == "L1"
    assert scored.assessment.pack == "fake@1"


def test_another_sellers_copy_is_blocked_with_its_evidence(task: FraudTask) -> None:
    score(task, photo_of(PICTURE, "original", "S1", at_us=10))
    (scored,) = score(task, photo_of(MIRRORED, "copy", "S2", at_us=20))
    assert (scored.fraud.decision, reasons(scored)) == (BLOCK, ["copy"])
    (reason,) = scored.fraud.reasons
    assert (reason.other_listing_id, reason.other_photo_sha256) == ("original", "sha-of-original")
    assert reason.distance <= 8
    assert (reason.other_seller_id, reason.other_uploaded_at.ToMicroseconds()) == ("S1", 10)
    assert scored.fraud.score == pytest.approx(reason.strength) == pytest.approx(copy_strength(reason.distance))


def test_the_explanation_names_nobody_else(task: FraudTask) -> None:
    at_us = 1_790_000_000_000_000  # 2026-09-21
    score(task, photo_of(PICTURE, "listing-of-another", "victim", at_us=at_us, sha256="c0ffee"))
    (scored,) = score(task, photo_of(PICTURE, "copy", "thief", at_us=at_us + 1))
    (reason,) = scored.fraud.reasons
    assert reason.explanation == (
        "Looks the same as a photo that another seller uploaded earlier (0 of 256 bits differ)."
    )


def test_nothing_is_said_of_a_photo_that_its_listing_no_longer_has(task: FraudTask, bank: FakeBank) -> None:
    bank.keep_only(Revision("L1", "S1", 5, ("other",), b""))
    assert score(task, photo_of(PICTURE, "L1", "S1", revision=4)) == []
    assert score(task, photo_of(PICTURE, "L1", "stranger", revision=6)) == []
    bank.forget("L1", "S1")
    assert score(task, photo_of(PICTURE, "L1", "S1", revision=6)) == []


def test_when_the_listing_first_had_the_photo_counts_and_not_when_it_was_edited(task: FraudTask) -> None:
    score(task, photo_of(PICTURE, "stolen", "thief", at_us=20))
    mine, again = score(task, photo_of(PICTURE, "original", "owner", at_us=50, shown_us=10, revision=2))
    assert (mine.assessment.listing_id, mine.fraud.decision) == ("original", ALLOW)
    assert (again.assessment.listing_id, again.fraud.decision) == ("stolen", BLOCK)


def test_an_owner_who_removes_a_photo_and_lists_it_anew_is_not_accused_by_the_copy(
    task: FraudTask, bank: FakeBank
) -> None:
    score(task, photo_of(PICTURE, "original", "owner", at_us=10))
    score(task, photo_of(PICTURE, "stolen", "thief", at_us=20))
    bank.forget("original", "owner")
    mine, again = score(task, photo_of(PICTURE, "anew", "owner", at_us=50))
    assert (mine.assessment.listing_id, mine.fraud.decision) == ("anew", ALLOW)
    assert (again.assessment.listing_id, again.fraud.decision) == ("stolen", BLOCK)


def test_an_owner_who_drops_a_photo_and_restores_it_is_not_accused_by_the_copy(task: FraudTask, bank: FakeBank) -> None:
    score(task, photo_of(PICTURE, "original", "owner", at_us=10, sha256="s"))
    score(task, photo_of(PICTURE, "stolen", "thief", at_us=20))
    bank.keep_only(Revision("original", "owner", 30, ("other",), b""))
    bank.keep_only(Revision("original", "owner", 40, ("s",), b""))
    mine, *_ = score(task, photo_of(PICTURE, "original", "owner", at_us=40, sha256="s", revision=40))
    assert (mine.assessment.listing_id, mine.fraud.decision) == ("original", ALLOW)


def test_a_suppliers_picture_is_reviewed_whoever_was_first_with_it(task: FraudTask) -> None:
    (first,) = score(task, photo_of(PICTURE, "squatted", "squatter", at_us=10))
    latest = {}
    for n in range(4):
        for one in score(task, photo_of(PICTURE, f"L{n}", f"S{n}", at_us=20 + n)):
            latest[one.assessment.listing_id] = one
    assert first.fraud.decision == ALLOW
    assert {listing: one.fraud.decision for listing, one in latest.items()} == {f"L{n}": REVIEW for n in range(4)}
    assert latest["L0"].fraud.reasons[0].explanation.endswith("several sellers show it).")


def test_while_the_bank_is_rebuilt_a_copy_is_reviewed_and_afterwards_blocked(task: FraudTask, bank: FakeBank) -> None:
    bank.begin_rebuild()
    score(task, photo_of(PICTURE, "original", "S1", at_us=10))
    (reviewed,) = score(task, photo_of(PICTURE, "copy", "S2", at_us=20))
    bank.end_rebuild()
    (blocked,) = score(task, photo_of(PICTURE, "copy", "S2", at_us=20))
    assert (reviewed.fraud.decision, blocked.fraud.decision) == (REVIEW, BLOCK)
    assert list(bank.withheld()) == [("copy", "sha-of-copy")]


def test_a_decision_that_changes_is_another_result(task: FraudTask, bank: FakeBank) -> None:
    score(task, photo_of(PICTURE, "original", "S1", at_us=10))
    bank.begin_rebuild()
    reviewed = concluded(task, photo_of(PICTURE, "copy", "S2", at_us=20))
    bank.end_rebuild()
    blocked, again = (concluded(task, photo_of(PICTURE, "copy", "S2", at_us=20)) for _ in range(2))
    assert reviewed.id_parts != blocked.id_parts == again.id_parts


def concluded(task: FraudTask, photo: Photo) -> Finding:
    task.prepare(photo)
    (found,) = task.infer([photo], [None])
    (finding,) = task.conclude(photo, found)
    return finding


def test_an_honest_look_alike_is_allowed(task: FraudTask) -> None:
    score(task, photo_of(PICTURE, "one", "S1", at_us=10))
    (scored,) = score(task, photo_of(LOOK_ALIKE, "other", "S2", at_us=20))
    assert (scored.fraud.decision, reasons(scored)) == (ALLOW, [])


def test_a_sellers_own_photo_in_another_listing_is_no_crime(task: FraudTask) -> None:
    score(task, photo_of(PICTURE, "one", "S1", at_us=10))
    (scored,) = score(task, photo_of(PICTURE, "other", "S1", at_us=20))
    assert (scored.fraud.decision, reasons(scored)) == (ALLOW, [])


def test_an_original_that_arrives_second_scores_the_later_copy_again(task: FraudTask) -> None:
    (before,) = score(task, photo_of(MIRRORED, "copy", "S2", at_us=20, category="phone"))
    assert reasons(before) == ["category_mismatch"]
    mine, again = score(task, photo_of(PICTURE, "original", "S1", at_us=10))
    assert (mine.assessment.listing_id, mine.fraud.decision) == ("original", ALLOW)
    assert (again.assessment.listing_id, again.fraud.decision) == ("copy", BLOCK)
    assert reasons(again) == ["copy", "category_mismatch"]
    assert again.assessment.assessed_at.ToMicroseconds() > before.assessment.assessed_at.ToMicroseconds()
    assert again.assessment.photo_sha256 == before.assessment.photo_sha256
    assert again.assessment.revision == before.assessment.revision


def test_an_owner_who_lists_the_photo_again_after_a_thief_is_not_accused(task: FraudTask) -> None:
    score(task, photo_of(PICTURE, "original", "owner", at_us=10))
    score(task, photo_of(PICTURE, "stolen", "thief", at_us=20))
    mine, *others = score(task, photo_of(PICTURE, "again", "owner", at_us=30))
    assert (mine.assessment.listing_id, mine.fraud.decision, others) == ("again", ALLOW, [])


def test_an_owner_who_was_accused_is_cleared_when_the_original_arrives(task: FraudTask) -> None:
    score(task, photo_of(PICTURE, "stolen", "thief", at_us=20))
    (accused,) = score(task, photo_of(PICTURE, "again", "owner", at_us=30))
    assert accused.fraud.decision == BLOCK
    scored = {one.assessment.listing_id: one for one in score(task, photo_of(PICTURE, "original", "owner", at_us=10))}
    assert {listing: one.fraud.decision for listing, one in scored.items()} == {
        "original": ALLOW,
        "stolen": BLOCK,
        "again": ALLOW,
    }


def test_a_redelivered_copy_is_scored_the_same(task: FraudTask) -> None:
    score(task, photo_of(PICTURE, "original", "S1", at_us=10))
    first, second = (score(task, photo_of(MIRRORED, "copy", "S2", at_us=20)) for _ in range(2))
    assert [one.fraud for one in first] == [one.fraud for one in second]


class AwayBank(FakeBank):
    def ping(self) -> None:
        raise Transient("the hash bank did not answer")


async def test_the_self_tests_photo_is_scored_but_neither_kept_nor_compared(tmp_path: Path) -> None:
    store = open_photo_store(str(tmp_path))
    await plant(store)
    photo = await fetch_from(store, decode)(await known_good(store))
    bank = FakeBank()
    (scored,) = score(FraudTask(FakeReader("garments", "t-shirt"), bank), photo)
    assert (scored.fraud.decision, bank.met) == (ALLOW, [])
    with pytest.raises(Transient):
        score(FraudTask(FakeReader("garments", "t-shirt"), AwayBank()), photo.fresh())


def test_a_sellers_listing_that_is_called_as_the_self_tests_is_compared_like_any(task: FraudTask) -> None:
    score(task, photo_of(PICTURE, "original", "S1", at_us=10))
    copy = photo_of(PICTURE, "canary", "canary", at_us=20)
    (scored,) = score(task, copy)
    assert scored.fraud.decision == BLOCK
    copy.upload.ClearField("uploaded_at")
    bank = FakeBank()
    score(FraudTask(FakeReader("garments", "t-shirt"), bank), copy)
    assert bank.met != [], "whatever its upload says"


@pytest.mark.parametrize("frame", [(0, 0, 200, 200), (80, 80, 0, 0), (30, 30, 30, 30), (12, 12, 12, 12)])
def test_a_copy_in_a_frame_is_not_allowed(task: FraudTask, frame: tuple[int, int, int, int]) -> None:
    score(task, photo_of(PICTURE, "original", "S1", at_us=10))
    framed = jpeg(cv2.copyMakeBorder(scenery(1), *frame, cv2.BORDER_CONSTANT, value=(255, 255, 255)).astype(np.uint8))
    (scored,) = score(task, photo_of(framed, "copy", "S2", at_us=20))
    assert (scored.fraud.decision, reasons(scored)) == (BLOCK, ["copy"])


def test_two_sellers_own_pictures_of_text_are_allowed(task: FraudTask) -> None:
    for number, picture in enumerate((chart(1), chart(2), card(1), card(2))):
        (scored,) = score(task, photo_of(jpeg(picture), f"L{number}", f"S{number}", at_us=number))
        assert scored.fraud.decision == ALLOW


def test_the_same_picture_of_text_is_reviewed_and_never_blocked_and_says_what_it_is(task: FraudTask) -> None:
    score(task, photo_of(jpeg(chart(1)), "one", "S1", at_us=10))
    for at_us, quality in ((20, 90), (30, 60)):
        (scored,) = score(task, photo_of(jpeg(chart(1), quality), f"other-{quality}", "S2", at_us=at_us))
        assert (scored.fraud.decision, reasons(scored)) == (REVIEW, ["copy"])
        assert scored.fraud.reasons[0].explanation.startswith("A picture of text, with the same text as one that")


def test_flat_photos_match_nobody(task: FraudTask) -> None:
    flat = jpeg(np.full((300, 300, 3), 200, np.uint8))
    score(task, photo_of(flat, "one", "S1", at_us=10))
    (scored,) = score(task, photo_of(flat, "other", "S2", at_us=20))
    assert scored.fraud.decision == ALLOW


def test_after_two_copies_at_once_the_later_one_is_blocked_whatever_the_order() -> None:
    for _ in range(20):
        task = FraudTask(FakeReader("garments", "t-shirt"), FakeBank())
        uploads = [photo_of(PICTURE, "first", "S1", at_us=10), photo_of(MIRRORED, "second", "S2", at_us=20)]
        with ThreadPoolExecutor(2) as threads:
            answers = [
                one for some in threads.map(lambda photo, task=task: score(task, photo), uploads) for one in some
            ]
        assert latest_decisions(answers) == {"first": ALLOW, "second": BLOCK}


def latest_decisions(answers: Sequence[image_pb2.ImageScored]) -> dict[str, Any]:
    ordered = sorted(answers, key=lambda one: one.assessment.assessed_at.ToMicroseconds())
    return {one.assessment.listing_id: one.fraud.decision for one in ordered}


def mismatch(claim: str, *path: str, confidence: float = 0.95, title: str = "") -> image_pb2.ImageScored:
    task = FraudTask(FakeReader(*path, confidence=confidence), FakeBank())
    (scored,) = score(task, photo_of(PICTURE, category=claim, title=title))
    return scored


def test_a_false_category_is_reviewed_with_what_was_claimed_and_seen() -> None:
    scored = mismatch("Smartphones", "garments", "shoes")
    assert (scored.fraud.decision, reasons(scored)) == (REVIEW, ["category_mismatch"])
    (reason,) = scored.fraud.reasons
    assert (reason.claimed, reason.seen) == ("Smartphones", "garments > shoes")
    assert reason.explanation == (
        "Claimed as “Smartphones” (Mobile & Smart Phones), but the photo shows garments > shoes (probability 0.95)."
    )
    assert 0.85 < reason.strength < 0.95, "as sure as both are"
    assert scored.fraud.score == pytest.approx(reason.strength)


def test_what_only_the_title_says_is_compared_too() -> None:
    scored = mismatch("", "garments", "shoes", title="Mobile phone, worn once")
    (reason,) = scored.fraud.reasons
    assert reason.claimed == "Mobile phone, worn once"
    assert mismatch("Smartphones", "garments", "shoes", title="Shoe box with phone").fraud.decision == ALLOW


def test_a_false_category_alone_never_blocks() -> None:
    assert mismatch("Smartphones", "garments", "shoes", confidence=1.0).fraud.decision == REVIEW


@pytest.mark.parametrize(
    ("claim", "path", "confidence"),
    [
        ("blouse", ("garments", "t-shirt"), 0.99),
        ("gadget", ("garments", "t-shirt"), 0.99),
        ("", ("garments", "t-shirt"), 0.99),
        ("phone", (), 0.99),
        ("phone", ("garments", "t-shirt"), REVIEW_AT),
        ("shoes", ("garments", "t-shirt"), 0.75),
        ("milk", ("packages", "carton"), 0.99),
    ],
)
def test_no_reason_without_a_certain_contradiction(claim: str, path: tuple[str, ...], confidence: float) -> None:
    assert mismatch(claim, *path, confidence=confidence).fraud.decision == ALLOW


def test_between_worlds_apart_a_likely_contradiction_is_enough() -> None:
    assert mismatch("phone", "garments", "t-shirt", confidence=0.6).fraud.decision == REVIEW
    assert mismatch("shoes", "garments", "t-shirt", confidence=0.6).fraud.decision == ALLOW
    assert mismatch("shoes", "garments", "t-shirt", confidence=0.9).fraud.decision == REVIEW


def test_what_is_known_of_an_unknown_photo_can_contradict_too() -> None:
    task = FraudTask(FakeReader("garments", confidence=0.9, known=False), FakeBank())
    (scored,) = score(task, photo_of(PICTURE, category="phone"))
    assert reasons(scored) == ["category_mismatch"]


def copy_at(distance: int) -> image_pb2.Reason:
    return image_pb2.Reason(code="copy", strength=copy_strength(distance), distance=distance)


@pytest.mark.parametrize(
    ("distance", "decision"), [(0, BLOCK), (BLOCKED_DISTANCE, BLOCK), (BLOCKED_DISTANCE + 1, REVIEW), (31, REVIEW)]
)
def test_close_copies_are_blocked_and_distant_ones_reviewed(distance: int, decision: int) -> None:
    assert judged([copy_at(distance)]).decision == decision


def test_more_reasons_raise_the_score_but_never_above_one() -> None:
    one = judged([copy_at(31)]).score
    both = judged([copy_at(31), image_pb2.Reason(code="category_mismatch", strength=0.9)]).score
    assert one < both <= 1


def test_a_photo_that_cannot_be_decoded_is_poison(task: FraudTask) -> None:
    with pytest.raises(Poison):
        task.prepare(photo_of(b"no photo"))


def test_the_workers_commits_wait_for_the_banks_disk() -> None:
    settings = WorkerSettings(redis="redis://127.0.0.1:1/0", wait_for_disk=False)
    alone = wiring(settings, FakeReader("garments"))  # type: ignore[arg-type]
    assert isinstance(alone.keeper, RedisBank) and alone.other_groups == [REMOVALS]
    asyncio.run(alone.flushed())  # whoever does not wait for the disk asks nobody
