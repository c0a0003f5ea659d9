"""Who may see what of a record."""

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from vitrine.events.v1 import enriched_pb2, image_pb2, listing_pb2

from services.recommendation.fields import Enriched
from services.recommendation.views import REVIEWER, SELLER, SHOPPER, View, seen_by, what_is_wrong_with

UNSPECIFIED = View.VIEW_UNSPECIFIED
SECRETS = ("victim", "theirs", "abab", "photos/where", "Photoshop")
MISMATCH = image_pb2.Reason(
    code="category_mismatch",
    strength=0.9,
    explanation='Claimed as "phone", but the photo shows garments > t-shirt (probability 0.90).',
    claimed="phone",
    seen="garments > t-shirt",
)


def copied(**more: str) -> image_pb2.Reason:
    """As the fraud worker worded it before it kept names to itself."""
    return image_pb2.Reason(
        code=more.get("code", "copy"),
        strength=0.95,
        explanation="Looks the same as a photo of listing theirs, which seller victim uploaded first (4 of 256 bits).",
        other_listing_id="theirs",
        other_photo_sha256="ab" * 32,
        other_seller_id="victim",
        other_uploaded_at=Timestamp(seconds=1_772_357_400),
        distance=4,
    )


REVIEW, BLOCK = image_pb2.Fraud.DECISION_REVIEW, image_pb2.Fraud.DECISION_BLOCK


def record(*reasons: image_pb2.Reason, decision: image_pb2.Fraud.Decision.ValueType = REVIEW) -> Enriched:
    fraud = image_pb2.Fraud(score=0.95, decision=decision, reasons=reasons or [copied(), MISMATCH])
    photo = listing_pb2.Photo(
        sha256="cd" * 32,
        object_key="photos/where/cd",
        media_type="image/jpeg",
        metadata=listing_pb2.PhotoMetadata(editor="Photoshop"),
    )
    return Enriched(
        listing_id="mine",
        seller_id="thief",
        category=image_pb2.Category(label="t-shirt", path=["garments", "t-shirt"]),
        fraud=fraud,
        photos=[
            enriched_pb2.EnrichedPhoto(photo=photo, fraud=fraud),
            enriched_pb2.EnrichedPhoto(photo=photo, missing=[enriched_pb2.FACET_CATEGORY, enriched_pb2.FACET_FRAUD]),
        ],
    )


def seen_of(record: Enriched, view: int) -> Enriched:
    seen = seen_by(record, view)
    assert seen is not None
    return seen


@pytest.mark.parametrize("view", [UNSPECIFIED, SHOPPER])
def test_shoppers_see_no_blocked_listing(view: int) -> None:
    assert seen_by(record(decision=BLOCK), view) is None


@pytest.mark.parametrize("view", [UNSPECIFIED, SHOPPER, SELLER])
def test_nobody_but_reviewers_reads_of_others_or_of_the_store(view: int) -> None:
    seen = str(seen_of(record(), view))
    assert [secret for secret in SECRETS if secret in seen] == []


@pytest.mark.parametrize("view", [UNSPECIFIED, SHOPPER])
def test_shoppers_see_the_listing_and_nothing_of_fraud(view: int) -> None:
    seen = seen_of(record(), view)
    assert (seen.listing_id, seen.category.label, len(seen.photos)) == ("mine", "t-shirt", 2)
    assert not seen.HasField("fraud")
    assert not any(photo.HasField("fraud") for photo in seen.photos)
    assert list(seen.photos[1].missing) == [enriched_pb2.FACET_CATEGORY], "nor that a decision is still to come"
    assert seen.photos[0].photo.sha256 == "cd" * 32


def test_sellers_see_what_is_held_against_them() -> None:
    seen = seen_of(record(decision=BLOCK), SELLER)
    for fraud in (seen.fraud, seen.photos[0].fraud):
        assert (fraud.score, fraud.decision) == (0.95, BLOCK)
        copy, mismatch = fraud.reasons
        assert (copy.code, copy.strength, copy.distance) == ("copy", 0.95, 4)
        assert "another seller" in copy.explanation and "4 of 256 bits" in copy.explanation
        assert mismatch == MISMATCH
    assert not seen.photos[1].HasField("fraud"), "not judged yet differs from allowed"
    assert list(seen.photos[1].missing) == [enriched_pb2.FACET_CATEGORY, enriched_pb2.FACET_FRAUD]


def test_a_reason_of_another_kind_that_points_at_a_listing_is_worded_anew_too() -> None:
    assert "theirs" not in str(seen_of(record(copied(code="stock_photo")), SELLER))


def test_reviewers_see_everything() -> None:
    assert seen_of(record(decision=BLOCK), REVIEWER) == record(decision=BLOCK)


@pytest.mark.parametrize("view", View.values())
def test_the_record_stays_as_it_is(view: int) -> None:
    kept = record()
    seen_of(kept, view).listing_id = "another"
    assert kept == record()


def test_a_view_that_is_none_is_named() -> None:
    assert [what_is_wrong_with(view) for view in View.values()] == [None] * 4
    assert (what_is_wrong_with(7) or "").startswith("view is 7; known are VIEW_UNSPECIFIED (0), VIEW_SHOPPER (1)")
