"""From a record to its photo: parse the upload, read the store, check that the bytes are the ones named."""

import hashlib
from collections.abc import Awaitable, Callable

from vitrine.events.v1 import image_pb2

from shared.errors import Poison
from shared.events import parse
from shared.limits import MAX_PHOTO_BYTES
from shared.photo_store import MissingObject, PhotoStore
from shared.photos import Photo, Pixels
from shared.stream.records import Record

Fetch = Callable[[Record], Awaitable[Photo]]


def upload_in(record: Record) -> image_pb2.ImageUploaded:
    """Raises Poison for what is none, or lacks what no photo can be fetched without."""
    upload = parse(image_pb2.ImageUploaded, record.value)
    if not (upload.listing_id and upload.photo.sha256 and upload.photo.object_key):
        raise Poison("incomplete", "listing_id, photo.sha256 and photo.object_key must be set")
    return upload


def readable_upload_in(record: Record) -> image_pb2.ImageUploaded | None:
    """None for what fetching it will reject."""
    try:
        return upload_in(record)
    except Poison:
        return None


def bytes_to_fetch(upload: image_pb2.ImageUploaded | None) -> int:
    """As the upload says; the most that a photo may have where it says nothing or can't be read."""
    return (upload and upload.photo.size_bytes) or MAX_PHOTO_BYTES


def fetch_from(store: PhotoStore, decode: Callable[[bytes, int | None], Pixels]) -> Fetch:
    """Raises Poison for what can never succeed; Transient comes through from the store."""

    async def fetch(record: Record) -> Photo:
        upload = upload_in(record)
        try:
            body = await store.get(upload.photo.object_key)
        except MissingObject as why:
            raise Poison("missing_photo", f"{upload.photo.object_key} is not in the photo store") from why
        if hashlib.sha256(body).hexdigest() != upload.photo.sha256:
            raise Poison("corrupt_photo", f"{upload.photo.object_key} does not have the sha256 that the event names")
        return Photo(body, upload, decode, self_test=record.self_test)

    return fetch
