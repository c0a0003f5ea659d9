"""Whether to trust a photo: is it another seller's, and does it show what is claimed?"""

from collections.abc import Sequence
from math import prod

import structlog
from vitrine.events.v1 import image_pb2, listing_pb2

from services.fraud.bank import BLOCKED_DISTANCE, Bank, BankedPhoto, Marked, Match
from services.fraud.pdq import BITS, MATCH_DISTANCE, fingerprint_of
from shared.claims import claims_meaning, contradiction
from shared.photos import Photo
from shared.product_taxonomy import product_taxonomy
from shared.stream.assessment import assess
from shared.stream.task import Finding, SeesCategories

log = structlog.get_logger()

COPY = "copy"
CATEGORY_MISMATCH = "category_mismatch"

# A copy at the limit still counts for more than any doubt about a category.
WEAKEST_COPY = 0.75
BLOCK_AT = 1.0 - (1.0 - WEAKEST_COPY) * BLOCKED_DISTANCE / MATCH_DISTANCE
# A wrong accusation costs a reviewer's minute and an honest seller's hour. So a mismatch weighs as much as the category
# is surely seen, times as what is claimed surely lies far from it: a phone that shows a shirt is reviewed where both
# are seven tenths sure, shoes that show a hat where both are nine.
REVIEW_AT = 0.5


class FraudTask:
    """Scores a photo, and once more any later copies that it turns out to be the original of."""

    name = "fraud"

    def __init__(self, reader: SeesCategories, bank: Bank) -> None:
        self._reader = reader
        self._bank = bank

    def warm_up(self) -> None:
        self._reader.warm_up()
        mismatches(listing_pb2.Claims(category="shirt"), image_pb2.Category(taxonomy_id="aa"))

    def prepare(self, photo: Photo) -> None:
        """Decodes for the trunk and for the hash. Raises Poison."""
        self._reader.prepare(photo)
        fingerprint_of(photo)

    def infer(self, photos: Sequence[Photo], inputs: Sequence[None]) -> Sequence[image_pb2.Category]:
        """One category per photo. Raises OutOfMemory."""
        self._reader.see(photos)
        return self._reader.categories(photos)

    def takes_long(self, found: image_pb2.Category) -> bool:
        return False

    def conclude(self, photo: Photo, found: image_pb2.Category) -> Sequence[Finding]:
        """The photo's ImageScored, then new ones for other listings' later copies. Raises Transient.

        Nothing for a photo that the bank doesn't hold for its listing's: nothing is known of it, that it is no copy
        least of all. Whichever revision holds has its own photos scored.

        The self-test's photo is nobody's: it asks whether the bank is there, and leaves nothing in it.
        """
        upload = photo.upload
        alone = image_pb2.ImageScored(
            assessment=assess(upload, self._reader.pack_name, self._reader.generation),
            fraud=judged(mismatches(upload.claims, found)),
        )
        if photo.self_test:
            self._bank.ping()
            return [_finding(alone)]
        fingerprint = fingerprint_of(photo)
        if not fingerprint.usable:
            return [_finding(alone)]
        marked = self._bank.meet(_banked(alone, upload), fingerprint, alone.SerializeToString())
        if marked is None:
            log.info("not scored: no photo of its listing", listing=upload.listing_id, sha256=upload.photo.sha256)
            return []
        mine = [scored_again(one) for one in marked if _is_of(one, upload)]
        others = [scored_again(one) for one in marked if not _is_of(one, upload) and _concerns_another_seller(one)]
        return [_finding(scored) for scored in (*(mine or [alone]), *others)]


def mismatches(claims: listing_pb2.Claims, seen: image_pb2.Category) -> list[image_pb2.Reason]:
    """At most one reason. None when the claims or the photo are not understood, or not surely enough."""
    if not seen.taxonomy_id:
        return []
    meaning = claims_meaning(claims)
    strength = seen.confidence * contradiction(meaning, seen.taxonomy_id)
    if meaning.likeliest is None or strength < REVIEW_AT:
        return []
    claimed, path = claims.category or claims.title, " > ".join(seen.path)
    understood = product_taxonomy()[meaning.likeliest].name()
    return [
        image_pb2.Reason(
            code=CATEGORY_MISMATCH,
            strength=strength,
            explanation=f"Claimed as “{claimed}” ({understood}), but the photo shows {path} "
            f"(probability {seen.confidence:.2f}).",
            claimed=claimed,
            seen=path,
        )
    ]


def copies(photo: Marked) -> list[image_pb2.Reason]:
    """At most one reason: the earliest look-alike, unless it is the seller's own. Then the photo is theirs to use.

    What the bank's evidence isn't enough to block for counts as the weakest of copies. Neither is a picture of text:
    suppliers hand the same size chart to all of their sellers.
    """
    if not photo.matches or photo.matches[0].seller_id == photo.seller_id:
        return []
    original = photo.matches[0]
    is_sure = photo.blocked or original.distance > BLOCKED_DISTANCE
    reason = image_pb2.Reason(
        code=COPY,
        strength=copy_strength(original.distance) if is_sure and not photo.of_text else WEAKEST_COPY,
        explanation=_copy_explanation(photo, original),
        other_listing_id=original.listing_id,
        other_photo_sha256=original.sha256,
        distance=original.distance,
        other_seller_id=original.seller_id,
    )
    reason.other_uploaded_at.FromMicroseconds(original.uploaded_us)
    return [reason]


def copy_strength(distance: int) -> float:
    """From 1 for the very same hash down to WEAKEST_COPY at the largest distance that is a match."""
    return 1.0 - (1.0 - WEAKEST_COPY) * min(distance, MATCH_DISTANCE) / MATCH_DISTANCE


def judged(reasons: Sequence[image_pb2.Reason]) -> image_pb2.Fraud:
    """The score is the probability that at least one reason holds, were they independent.

    Only a copy blocks, and only a close one: its evidence can be laid side by side. What is seen may be seen wrongly.
    """
    score = 1.0 - prod(1.0 - reason.strength for reason in reasons)
    if any(reason.code == COPY and reason.strength >= BLOCK_AT for reason in reasons):
        decision = image_pb2.Fraud.DECISION_BLOCK
    elif score >= REVIEW_AT:
        decision = image_pb2.Fraud.DECISION_REVIEW
    else:
        decision = image_pb2.Fraud.DECISION_ALLOW
    return image_pb2.Fraud(score=score, decision=decision, reasons=reasons)


def scored_again(photo: Marked) -> image_pb2.ImageScored:
    """What was found in the photo alone, and what the bank knows of it by now; dated so that it replaces both."""
    scored = image_pb2.ImageScored.FromString(photo.scored)
    scored.fraud.CopyFrom(judged([*copies(photo), *scored.fraud.reasons]))
    scored.assessment.assessed_at.FromMicroseconds(photo.at_us)
    return scored


def _finding(scored: image_pb2.ImageScored) -> Finding:
    """Scored again because of another look-alike, or with another decision, it is another result."""
    decision = image_pb2.Fraud.Decision.Name(scored.fraud.decision)
    return Finding(scored, (decision, *(reason.other_listing_id for reason in scored.fraud.reasons)))


def _banked(alone: image_pb2.ImageScored, upload: image_pb2.ImageUploaded) -> BankedPhoto:
    has_shown = upload.photo.HasField("uploaded_at")
    return BankedPhoto(
        listing_id=upload.listing_id,
        sha256=upload.photo.sha256,
        seller_id=upload.seller_id,
        revision=upload.revision,
        generation=alone.assessment.generation,
        # When the listing first had the photo, whatever became of it since; events of old don't say.
        uploaded_us=(upload.photo.uploaded_at if has_shown else upload.uploaded_at).ToMicroseconds(),
        assessed_us=alone.assessment.assessed_at.ToMicroseconds(),
    )


def _is_of(marked: Marked, upload: image_pb2.ImageUploaded) -> bool:
    return (marked.listing_id, marked.sha256) == (upload.listing_id, upload.photo.sha256)


def _concerns_another_seller(photo: Marked) -> bool:
    """Else its score is what it was: one's own photos never change it, unless it was accused before."""
    return photo.accused or any(match.seller_id != photo.seller_id for match in photo.matches)


def _copy_explanation(photo: Marked, original: Match) -> str:
    """For the seller: names nobody else, nor what is theirs."""
    shown = "A picture of text, with the same text as one" if photo.of_text else "Looks the same as a photo"
    many = "; several sellers show it" if photo.stock else ""
    return f"{shown} that another seller uploaded earlier ({original.distance} of {BITS} bits differ{many})."
