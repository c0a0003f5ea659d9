"""What a listing's change asks of the workers: an event for each of its photos."""

from vitrine.events.v1 import image_pb2, listing_pb2

from shared.events import Event, event
from shared.topics import IMAGE_UPLOADED

_LAST = 253_402_300_799_000_000  # microseconds, in the year 9999, where protobuf's timestamps end


def uploads_of(change: listing_pb2.ListingChanged, source: str) -> list[Event]:
    """In the listing's order. Made again of the same change they have the same ce_id; a removal asks for nothing."""
    return [_upload(change, position, source) for position in range(len(change.listing.photos))]


def _upload(change: listing_pb2.ListingChanged, position: int, source: str) -> Event:
    photo = change.listing.photos[position]
    uploaded = image_pb2.ImageUploaded(
        listing_id=change.listing_id,
        revision=change.revision,
        seller_id=change.listing.seller_id,
        claims=change.listing.claims,
        photo=photo,
        position=position,
    )
    if change.HasField("accepted_at"):
        uploaded.uploaded_at.CopyFrom(change.accepted_at)
    else:  # of a version that didn't tell: the revision is about as old
        uploaded.uploaded_at.FromMicroseconds(min(change.revision, _LAST))
    id_parts = (change.listing_id, change.revision, photo.sha256)
    return event(IMAGE_UPLOADED, change.listing_id, uploaded, id_parts=id_parts, source=source)
