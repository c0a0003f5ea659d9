"""What is known of one listing, and how that becomes its record. Pure: no Redis, no Kafka, no clock.

A listing's fields are byte strings by name: "change", and for each photo "category/SHA256", "attributes/SHA256",
"fraud/SHA256" and "embedding/SPACE/SHA256". Each begins with its rank, big-endian, and goes on with the message as it
came. Of two values of one field the greater byte string wins: that is the order (removed, revision, generation,
assessed_at), and among equals the bytes decide. So the events may come in any order and any number of
times.
"""

import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from google.protobuf.timestamp_pb2 import Timestamp
from numpy.typing import NDArray
from vitrine.events.v1 import enriched_pb2, image_pb2, listing_pb2

from shared.claims.weighing import category_of
from shared.errors import Poison
from shared.events import parse
from shared.topics import (
    IMAGE_ATTRIBUTED,
    IMAGE_CLASSIFIED,
    IMAGE_EMBEDDED,
    IMAGE_SCORED,
    LISTING_CHANGED,
)

Vector = NDArray[np.float32]
Fields = Mapping[str, bytes]
Result = image_pb2.ImageClassified | image_pb2.ImageAttributed | image_pb2.ImageEmbedded | image_pb2.ImageScored
Enriched = enriched_pb2.EnrichedListing

SOURCES = (LISTING_CHANGED, IMAGE_CLASSIFIED, IMAGE_ATTRIBUTED, IMAGE_EMBEDDED, IMAGE_SCORED)

FACETS = (
    enriched_pb2.FACET_CATEGORY,
    enriched_pb2.FACET_ATTRIBUTES,
    enriched_pb2.FACET_EMBEDDING,
    enriched_pb2.FACET_FRAUD,
)

_RANK = struct.Struct(">?QIQ")  # removed, revision, generation, microseconds since 1970
_LAST_SECOND = 253_402_300_799  # of the year 9999, where protobuf's timestamps end
_CHANGE = "change"
_CATEGORY = "category"
_ATTRIBUTES = "attributes"
_EMBEDDING = "embedding"
_FRAUD = "fraud"
_WORST_FIRST = (image_pb2.Fraud.DECISION_BLOCK, image_pb2.Fraud.DECISION_REVIEW, image_pb2.Fraud.DECISION_ALLOW)


@dataclass(frozen=True, slots=True)
class Update:
    """One event, checked: which field of which listing it offers a value for."""

    listing_id: str
    field: str
    ranked: bytes
    # Of an embedding only: vectors of one space have one dimension.
    space: str = ""
    dimension: int = 0
    # Of a change only: whose listing it says that it is. Removals of old don't say.
    seller: str = ""


# --- an event becomes an update ---------------------------------------------------------------------------------------


def read(topic: str, key: bytes, value: bytes) -> Update:
    """Raises Poison("undecodable") or Poison("invalid"); `topic` is one of SOURCES."""
    update = _READERS[topic](value)
    if key != update.listing_id.encode():
        raise Poison("invalid", f"the key is {key[:80]!r}, the message is about listing {update.listing_id!r}")
    return update


def _read_change(value: bytes) -> Update:
    change = parse(listing_pb2.ListingChanged, value)
    _demand(change.listing_id != "", "listing_id is missing")
    _demand(change.revision > 0, f"revision {change.revision} is not a time")
    kind = change.WhichOneof("change")
    _demand(kind is not None, "neither listing nor removed is set")
    _demand(kind == "removed" or len(change.listing.photos) > 0, "the listing has no photos")
    _demand(all(photo.sha256 for photo in change.listing.photos), "a photo has no sha256")
    rank = _RANK.pack(kind == "removed", change.revision, 0, 0)
    return Update(change.listing_id, _CHANGE, rank + value, seller=_seller_of(change))


def _read_classified(value: bytes) -> Update:
    message = parse(image_pb2.ImageClassified, value)
    _demand(message.HasField("category"), "category is missing")
    return _result(_CATEGORY, message.assessment, value)


def _read_attributed(value: bytes) -> Update:
    return _result(_ATTRIBUTES, parse(image_pb2.ImageAttributed, value).assessment, value)


def _read_embedded(value: bytes) -> Update:
    message = parse(image_pb2.ImageEmbedded, value)
    _demand(message.space != "", "the vector's space is missing")
    length = float(np.linalg.norm(np.asarray(message.vector, np.float32)))
    _demand(bool(abs(length - 1) < 0.01), f"the vector's length is {length}, not 1")  # NaN fails too
    update = _result(f"{_EMBEDDING}/{message.space}", message.assessment, value)
    return replace(update, space=message.space, dimension=len(message.vector))


def _read_scored(value: bytes) -> Update:
    message = parse(image_pb2.ImageScored, value)
    _demand(message.fraud.decision in _WORST_FIRST, "the fraud decision is none of allow, review and block")
    return _result(_FRAUD, message.assessment, value)


_READERS = {
    LISTING_CHANGED.name: _read_change,
    IMAGE_CLASSIFIED.name: _read_classified,
    IMAGE_ATTRIBUTED.name: _read_attributed,
    IMAGE_EMBEDDED.name: _read_embedded,
    IMAGE_SCORED.name: _read_scored,
}


def _result(facet: str, assessment: image_pb2.Assessment, value: bytes) -> Update:
    _demand(assessment.listing_id != "", "assessment.listing_id is missing")
    _demand(assessment.photo_sha256 != "", "assessment.photo_sha256 is missing")
    _demand(assessment.revision > 0, f"assessment.revision {assessment.revision} is not a time")
    _demand(_is_time(assessment.assessed_at), "assessment.assessed_at is no time from 1970 to 9999")
    rank = _RANK.pack(False, assessment.revision, assessment.generation, assessment.assessed_at.ToMicroseconds())
    return Update(assessment.listing_id, f"{facet}/{assessment.photo_sha256}", rank + value)


def _is_time(time: Timestamp) -> bool:
    """Any number may stand on the wire; as microseconds these fit the rank."""
    return 0 <= time.seconds <= _LAST_SECOND and 0 <= time.nanos < 1_000_000_000


def _demand(holds: bool, otherwise: str) -> None:
    if not holds:
        raise Poison("invalid", otherwise)


# --- updates become fields --------------------------------------------------------------------------------------------


def merged(fields: Fields, updates: Iterable[Update]) -> dict[str, bytes]:
    """The fields after these updates, without what no longer belongs to the listing.

    A result for a photo of the current revision stays, however old: the same bytes look the same. So does one for a
    revision still to come, and for the current one even if it doesn't name the photo: another change of the same
    revision may. Everything else goes, and after a removal all results do. A photo that leaves and comes back is looked
    at anew, since each revision has all of its photos looked at.
    """
    known = dict(fields)
    for update in updates:
        if not refuses(known, update):
            known[update.field] = max(update.ranked, known.get(update.field, b""))
    if (change := change_of(known)) is None:
        return known
    current = {photo.sha256 for photo in change.listing.photos}
    return {
        field: ranked
        for field, ranked in known.items()
        if field == _CHANGE
        or (change.HasField("listing") and (_sha256(field) in current or _revision(ranked) >= change.revision))
    }


def refuses(fields: Fields, update: Update) -> bool:
    """Whether the update would give the listing to another seller: it belongs to whoever was known to have it first.

    The one rule for which order counts. All changes of a listing lie in one partition, and the gateway lets none pass
    that another seller asks for; so this is for whoever else may write to the topic.
    """
    if update.field != _CHANGE or not update.seller or (known := change_of(fields)) is None:
        return False
    return _seller_of(known) not in ("", update.seller)


def change_instead(fields: Fields, update: Update) -> bytes | None:
    """The change that stands where the update's does not, as it came; None when that stands, or is no change."""
    current = fields.get(_CHANGE)
    return None if update.field != _CHANGE or current in (None, update.ranked) else _message(current)


def change_of(fields: Fields) -> listing_pb2.ListingChanged | None:
    """The current revision, or the removal; None while only results have come."""
    return listing_pb2.ListingChanged.FromString(_message(fields[_CHANGE])) if _CHANGE in fields else None


def _seller_of(change: listing_pb2.ListingChanged) -> str:
    return change.removed.seller_id if change.HasField("removed") else change.listing.seller_id


def _sha256(field: str) -> str:
    return field.rpartition("/")[2]


def _revision(ranked: bytes) -> int:
    _, revision, _, _ = _RANK.unpack_from(ranked)
    return int(revision)


def _message(ranked: bytes) -> bytes:
    return ranked[_RANK.size :]


# --- fields become the record -----------------------------------------------------------------------------------------


def enriched(fields: Fields) -> Enriched | None:
    """The joined record; None until the listing itself is known.

    Its category is what is sold, by the first photo and the claims together; a photo's own is what is seen in it.

    What is seen in a photo holds for every revision that shows this photo. A fraud decision also rests on the claims,
    so for each revision it is waited for anew; until then the photo's decision is missing, while the listing as a whole
    keeps the earlier one: an edit doesn't free a blocked listing. The listing has a decision as soon as every photo
    was scored once, or one blocks.
    """
    if (change := change_of(fields)) is None:
        return None
    if change.HasField("removed"):
        return Enriched(listing_id=change.listing_id, revision=change.revision, status=Enriched.STATUS_REMOVED)
    photos = [_photo(fields, photo, change.revision) for photo in change.listing.photos]
    record = Enriched(
        listing_id=change.listing_id,
        revision=change.revision,
        seller_id=change.listing.seller_id,
        claims=change.listing.claims,
        status=_status(photos),
        attributes=_best(photos),
        embedding_space=photos[0].embedding_space,
        photos=photos,
    )
    if (seen := _classified(fields, photos[0].photo)) is not None:
        record.category.CopyFrom(category_of(seen, change.listing.claims))
    if fraud := _worst([_fraud(fields, photo.photo.sha256) for photo in photos]):
        record.fraud.CopyFrom(fraud)
    return record


def shown(record: Enriched) -> bool:
    """Whether shoppers may find it: not removed, and trusted: every photo scored at least once, none blocked."""
    return record.status != Enriched.STATUS_REMOVED and record.fraud.decision in (
        image_pb2.Fraud.DECISION_ALLOW,
        image_pb2.Fraud.DECISION_REVIEW,
    )


def vectors(fields: Fields) -> dict[str, Vector]:
    """The vector of the listing, which is that of its first photo, in each space that has one. Float32, unit length."""
    change = change_of(fields)
    if change is None or not change.HasField("listing"):
        return {}
    embeddings = _embeddings(fields, change.listing.photos[0].sha256)
    return {_embedded(ranked).space: vector_in(ranked) for ranked in embeddings}


def embedding_field(space: str, sha256: str) -> str:
    return f"{_EMBEDDING}/{space}/{sha256}"


def vector_in(ranked: bytes) -> Vector:
    """The vector in an embedding's part."""
    vector = np.asarray(_embedded(ranked).vector, np.float32)
    return vector / np.float32(np.linalg.norm(vector))


def uploaded_at(fields: Fields) -> float | None:
    """When the current revision was uploaded, in seconds since 1970, as its results say; None when none does."""
    change = change_of(fields)
    if change is None:
        return None
    times = [
        stamp.seconds + stamp.nanos / 1e9
        for field, ranked in fields.items()
        if field != _CHANGE and _revision(ranked) == change.revision
        if (stamp := _result_message(field, ranked).assessment.uploaded_at).seconds
    ]
    return min(times, default=None)


def _photo(fields: Fields, photo: listing_pb2.Photo, revision: int) -> enriched_pb2.EnrichedPhoto:
    joined = enriched_pb2.EnrichedPhoto(photo=photo)
    if (seen := _classified(fields, photo)) is not None:
        joined.category.CopyFrom(seen.category)
    else:
        joined.missing.append(enriched_pb2.FACET_CATEGORY)
    if ranked := fields.get(f"{_ATTRIBUTES}/{photo.sha256}"):
        attributed = image_pb2.ImageAttributed.FromString(_message(ranked))
        joined.attributes.CopyFrom(enriched_pb2.ImageAttributes(attributes=attributed.attributes))
    else:
        joined.missing.append(enriched_pb2.FACET_ATTRIBUTES)
    if ranked := max(_embeddings(fields, photo.sha256), default=b""):
        joined.embedding_space = _embedded(ranked).space
    else:
        joined.missing.append(enriched_pb2.FACET_EMBEDDING)
    ranked = fields.get(f"{_FRAUD}/{photo.sha256}", b"")
    if ranked and _revision(ranked) >= revision:
        joined.fraud.CopyFrom(image_pb2.ImageScored.FromString(_message(ranked)).fraud)
    else:
        joined.missing.append(enriched_pb2.FACET_FRAUD)
    return joined


def _classified(fields: Fields, photo: listing_pb2.Photo) -> image_pb2.ImageClassified | None:
    ranked = fields.get(f"{_CATEGORY}/{photo.sha256}")
    return image_pb2.ImageClassified.FromString(_message(ranked)) if ranked else None


def _status(photos: list[enriched_pb2.EnrichedPhoto]) -> "Enriched.Status.ValueType":
    if not any(photo.missing for photo in photos):
        return Enriched.STATUS_COMPLETE
    if all(len(photo.missing) == len(FACETS) for photo in photos):
        return Enriched.STATUS_PENDING
    return Enriched.STATUS_PARTIAL


def _best(photos: list[enriched_pb2.EnrichedPhoto]) -> list[image_pb2.Attribute]:
    """Each attribute from the photo that is surest of it, the earlier photo when two are equally sure.

    All values of that photo: a white and blue shirt is white, and it is blue.
    """
    best: dict[str, list[image_pb2.Attribute]] = {}
    for photo in photos:
        for name, values in _by_name(photo.attributes.attributes).items():
            if name not in best or _certainty(values) > _certainty(best[name]):
                best[name] = values
    return [value for name in sorted(best) for value in best[name]]


def _by_name(attributes: Iterable[image_pb2.Attribute]) -> dict[str, list[image_pb2.Attribute]]:
    named: dict[str, list[image_pb2.Attribute]] = {}
    for attribute in attributes:
        named.setdefault(attribute.name, []).append(attribute)
    return named


def _certainty(values: Iterable[image_pb2.Attribute]) -> float:
    return max(value.confidence for value in values)


def _worst(known: list[image_pb2.Fraud | None]) -> image_pb2.Fraud | None:
    frauds = [fraud for fraud in known if fraud is not None]
    decision = next((d for d in _WORST_FIRST if any(fraud.decision == d for fraud in frauds)), None)
    if decision is None or (len(frauds) < len(known) and decision != image_pb2.Fraud.DECISION_BLOCK):
        return None
    reasons = [reason for fraud in frauds for reason in fraud.reasons]
    return image_pb2.Fraud(score=max(fraud.score for fraud in frauds), decision=decision, reasons=reasons)


def _fraud(fields: Fields, sha256: str) -> image_pb2.Fraud | None:
    ranked = fields.get(f"{_FRAUD}/{sha256}")
    return image_pb2.ImageScored.FromString(_message(ranked)).fraud if ranked else None


def _embeddings(fields: Fields, sha256: str) -> Iterator[bytes]:
    return (
        ranked for field, ranked in fields.items() if field.startswith(f"{_EMBEDDING}/") and _sha256(field) == sha256
    )


def _embedded(ranked: bytes) -> image_pb2.ImageEmbedded:
    return image_pb2.ImageEmbedded.FromString(_message(ranked))


_MESSAGES: dict[str, type[Result]] = {
    _CATEGORY: image_pb2.ImageClassified,
    _ATTRIBUTES: image_pb2.ImageAttributed,
    _EMBEDDING: image_pb2.ImageEmbedded,
    _FRAUD: image_pb2.ImageScored,
}


def _result_message(field: str, ranked: bytes) -> Result:
    return _MESSAGES[field.partition("/")[0]].FromString(_message(ranked))
