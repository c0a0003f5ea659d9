"""The hash bank and the join hold the same photos for a listing's, whatever comes in whichever order and how often."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from vitrine.events.v1 import enriched_pb2, image_pb2, listing_pb2

from services.fraud.bank import Bank, BankedPhoto
from services.fraud.pdq import Fingerprint
from services.fraud.removals import apply
from services.fraud.task import FraudTask
from services.recommendation import fields
from services.recommendation.fields import Update
from shared.photos import Photo
from shared.topics import IMAGE_SCORED, LISTING_CHANGED
from tests.fakes_vision import FakeReader, jpeg, photo_of, scenery

PHOTOS = ("a", "b", "c", "d")
HASHED = {sha: Fingerprint((random.Random(sha).randbytes(32).hex(),), 100) for sha in PHOTOS}
LISTING, SELLER = "L", "S1"


def changed(listing: str, revision: int, photos: Sequence[str], title: str = "") -> listing_pb2.ListingChanged:
    change = listing_pb2.ListingChanged(listing_id=listing, revision=revision)
    change.listing.seller_id = SELLER
    change.listing.claims.title = title
    change.listing.photos.extend(listing_pb2.Photo(sha256=sha) for sha in photos)
    return change


def removed(listing: str, revision: int) -> listing_pb2.ListingChanged:
    return listing_pb2.ListingChanged(
        listing_id=listing, revision=revision, removed=listing_pb2.ListingRemoved(seller_id=SELLER)
    )


@dataclass
class Both:
    """The join's fields beside the bank, each told in an order of its own."""

    bank: Bank
    listing: str
    known: dict[str, bytes] = field(default_factory=dict)

    def hear(self, change: listing_pb2.ListingChanged) -> None:
        apply(self.bank, change.SerializeToString())

    def join(self, change: listing_pb2.ListingChanged) -> None:
        self._merge(fields.read(LISTING_CHANGED.name, self.listing.encode(), change.SerializeToString()))

    def score(self, revision: int, sha: str) -> None:
        photo = BankedPhoto(self.listing, sha, SELLER, revision, 1, revision, 0)
        if self.bank.meet(photo, HASHED[sha], b"") is None:
            return
        scored = image_pb2.ImageScored(fraud=image_pb2.Fraud(decision=image_pb2.Fraud.DECISION_ALLOW))
        scored.assessment.listing_id, scored.assessment.photo_sha256 = self.listing, sha
        scored.assessment.revision = revision
        self.take(scored)

    def take(self, scored: image_pb2.ImageScored) -> None:
        self._merge(fields.read(IMAGE_SCORED.name, self.listing.encode(), scored.SerializeToString()))

    def current_in_the_bank(self, probe: str) -> set[str]:
        """Those that a stranger's copies are found to follow."""
        found = set()
        for sha in PHOTOS:
            copy = BankedPhoto(f"probe-{probe}", f"{sha}-copied", "stranger", 1, 1, 10**9, 0)
            marked = self.bank.meet(copy, HASHED[sha], b"")
            assert marked is not None
            found |= {match.sha256 for one in marked for match in one.matches if match.listing_id == self.listing}
        return found

    def record(self) -> fields.Enriched:
        record = fields.enriched(self.known)
        assert record is not None
        return record

    def _merge(self, update: Update) -> None:
        self.known = fields.merged(self.known, [update])


def history(chance: random.Random, listing: str) -> list[listing_pb2.ListingChanged]:
    """Changes of few revisions, so that many tie; seldom a removal."""
    changes = [
        changed(listing, chance.randint(1, 3), chance.sample(PHOTOS, chance.randint(1, 3)), chance.choice("xyz"))
        for _ in range(chance.randint(1, 6))
    ]
    return [*changes, *([removed(listing, chance.randint(1, 3))] if chance.random() < 0.15 else [])]


@pytest.mark.parametrize("seed", range(60))
def test_both_hold_the_same_photos_and_no_listing_waits_for_ever(bank: Bank, seed: int) -> None:
    chance = random.Random(seed)
    both = Both(bank, f"{LISTING}{seed}")
    changes = history(chance, both.listing)
    steps = [(step, change) for change in changes for step in ("hear", "join")]
    steps += [(sha.sha256, change) for change in changes for sha in change.listing.photos]
    steps += chance.choices(steps, k=len(steps) // 2)  # delivered again
    chance.shuffle(steps)
    for step, change in steps:
        if step == "hear":
            both.hear(change)
        elif step == "join":
            both.join(change)
        else:
            both.score(change.revision, step)
    record = both.record()
    assert both.current_in_the_bank(str(seed)) == {photo.photo.sha256 for photo in record.photos}
    assert not any(enriched_pb2.FACET_FRAUD in photo.missing for photo in record.photos)


@pytest.mark.parametrize("stolen_holds", [True, False])
@pytest.mark.parametrize("stolen_first", [True, False])
@pytest.mark.parametrize("heard_first", [True, False])
def test_of_two_changes_of_one_revision_no_stolen_photo_is_shown(
    bank: Bank, stolen_holds: bool, stolen_first: bool, heard_first: bool
) -> None:
    """Were bank and join to hold different ones, a thief could have one looked at and the other shown."""
    task = FraudTask(FakeReader("garments", "t-shirt"), bank)
    stolen, own = jpeg(scenery(1)), jpeg(scenery(5))
    scored(task, photo_of(stolen, "original", "victim", at_us=10))
    changes = [
        changed("X", 1000, ["aa"], title="b" if stolen_holds else "a"),
        changed("X", 1000, ["bb"], title="a" if stolen_holds else "b"),
    ]
    uploads = [
        photo_of(body, "X", SELLER, at_us=30, sha256=sha, revision=1000) for sha, body in (("aa", stolen), ("bb", own))
    ]
    both = Both(bank, "X")
    if heard_first:
        told(both, changes if stolen_first else changes[::-1])
    results = [one for upload in uploads for one in scored(task, upload) if one.assessment.listing_id == "X"]
    if not heard_first:
        told(both, changes if stolen_first else changes[::-1])
    for result in results:
        both.take(result)
    record = both.record()
    assert [photo.photo.sha256 for photo in record.photos] == ["aa" if stolen_holds else "bb"]
    assert fields.shown(record) is not stolen_holds


def told(both: Both, changes: Sequence[listing_pb2.ListingChanged]) -> None:
    for change in changes:
        both.hear(change)
        both.join(change)


def scored(task: FraudTask, photo: Photo) -> list[image_pb2.ImageScored]:
    task.prepare(photo)
    (found,) = task.infer([photo], [None])
    return [finding.message for finding in task.conclude(photo, found)]  # type: ignore[misc]
