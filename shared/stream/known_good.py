"""The self-test's photo: the gateway lays it into the store, and each worker finds it there.

Whoever tests itself with a photo that it brought along finds itself sound in front of any store, the wrong one too.
"""

import hashlib
from pathlib import Path

from vitrine.events.v1 import image_pb2, listing_pb2

from shared.errors import Transient
from shared.photo_store import MissingObject, PhotoStore, photo_key
from shared.stream.records import Assignment, Record
from shared.topics import CANARY

KNOWN_GOOD_PHOTO = Path(__file__).with_name("canary.jpg")
_LISTING = "canary"  # for people who read its results; nothing is decided by it


async def plant(store: PhotoStore) -> None:
    """Lay it there, unless it is. Raises Transient when the store stays away."""
    await store.put(KNOWN_GOOD_PHOTO.read_bytes())


async def known_good(store: PhotoStore) -> Record:
    """The self-test's record. Raises Transient while its photo isn't in the store, or isn't whole."""
    sha256 = hashlib.sha256(KNOWN_GOOD_PHOTO.read_bytes()).hexdigest()
    key = photo_key(sha256)
    try:
        body = await store.get(key)
    except MissingObject:
        raise Transient(
            f"the photo store {store.address} has no self-test photo: is it the gateway's store (VITRINE_PHOTO_STORE)? "
            "The gateway lays it there when it starts"
        ) from None
    if hashlib.sha256(body).hexdigest() != sha256:
        raise Transient(f"the self-test photo in {store.address} is damaged: delete {key}, and restart the gateway")
    photo = listing_pb2.Photo(sha256=sha256, object_key=key)
    upload = image_pb2.ImageUploaded(listing_id=_LISTING, revision=1, seller_id=_LISTING, photo=photo)
    return Record(Assignment(CANARY.name, 0), 0, _LISTING.encode(), upload.SerializeToString())
