"""For whose eyes a record is: what is taken out of it before it leaves. Pure, and the record stays as it is."""

from vitrine.events.v1 import enriched_pb2, image_pb2, listing_pb2
from vitrine.recommendation.v1 import recommendation_pb2

from services.recommendation.fields import Enriched

View = recommendation_pb2.View
Judged = Enriched | enriched_pb2.EnrichedPhoto
SHOPPER, SELLER, REVIEWER = View.VIEW_SHOPPER, View.VIEW_SELLER, View.VIEW_REVIEWER

_COPY = "copy"
_BITS = 256  # of a PDQ hash


def what_is_wrong_with(view: int) -> str | None:
    """What is wrong with a request's view, for the caller; None when nothing is."""
    if view in View.values():
        return None
    return f"view is {view}; known are {', '.join(f'{name} ({number})' for name, number in View.items())}"


def seen_by(record: Enriched, view: int) -> Enriched | None:
    """A copy of what this view may see; None when that is nothing at all.

    Shoppers see no blocked listing and learn nothing of fraud, sellers what is held against them without whose the
    original is, reviewers everything. Where photos are kept and what their metadata said is for reviewers alone.
    """
    seen = Enriched()
    seen.CopyFrom(record)
    if view == REVIEWER:
        return seen
    if view != SELLER and record.fraud.decision == image_pb2.Fraud.DECISION_BLOCK:
        return None
    of_fraud = _without_others if view == SELLER else _without_fraud
    of_fraud(seen)
    for photo in seen.photos:
        _without_store(photo.photo)
        of_fraud(photo)
    return seen


def _without_store(photo: listing_pb2.Photo) -> None:
    photo.ClearField("object_key")
    photo.ClearField("metadata")


def _without_fraud(judged: Judged) -> None:
    judged.ClearField("fraud")
    if isinstance(judged, enriched_pb2.EnrichedPhoto) and enriched_pb2.FACET_FRAUD in judged.missing:
        judged.missing.remove(enriched_pb2.FACET_FRAUD)


def _without_others(judged: Judged) -> None:
    if judged.HasField("fraud"):  # looking at its reasons would make one
        reasons = [_told(reason) for reason in judged.fraud.reasons]
        del judged.fraud.reasons[:]
        judged.fraud.reasons.extend(reasons)


def _told(reason: image_pb2.Reason) -> image_pb2.Reason:
    """Made of what a seller may know, so that a field that reasons get later on is not told by default."""
    return image_pb2.Reason(
        code=reason.code,
        strength=reason.strength,
        explanation=_explanation(reason),
        distance=reason.distance,
        claimed=reason.claimed,
        seen=reason.seen,
    )


def _explanation(reason: image_pb2.Reason) -> str:
    """The text of older records names the other listing and its seller."""
    if reason.code != _COPY and not (reason.other_listing_id or reason.other_seller_id):
        return reason.explanation
    return (
        f"Looks the same as a photo that another seller showed first ({reason.distance} of {_BITS} bits differ). "
        "If it is yours, say so to the marketplace: its reviewers see both."
    )
