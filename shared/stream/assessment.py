"""Who looked at which photo, with what, and when: the head of every result."""

from datetime import UTC, datetime

from vitrine.events.v1 import image_pb2


def assess(upload: image_pb2.ImageUploaded, pack: str, generation: int) -> image_pb2.Assessment:
    """`pack` is NAME@VERSION, as Reader.pack_name spells it."""
    assessment = image_pb2.Assessment(
        listing_id=upload.listing_id,
        revision=upload.revision,
        photo_sha256=upload.photo.sha256,
        pack=pack,
        generation=generation,
        uploaded_at=upload.uploaded_at,
    )
    assessment.assessed_at.FromDatetime(datetime.now(UTC))
    return assessment
