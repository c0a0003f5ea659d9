"""Takes listings in: photos into the store, then events to the broker, and only then a yes.

What the gateway remembers lies in the photo store, so uploads need nothing else:

    intake/HASH                     what became of (caller, Idempotency-Key); written once, before anything is published
    intake/HASH.done                all of it has been acknowledged
    listings/ID/photos/SHA256       a photo that the listing has or had, with the summary of its metadata
    listings/ID/accepted            the broker has acknowledged something of this listing
    listings/ID/removed             and its removal
"""

import asyncio
import hashlib
import json
import time
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import TypeVar

from google.protobuf.json_format import MessageToDict, ParseDict
from vitrine.events.v1 import image_pb2, listing_pb2

from services.gateway.claims import ListingClaims, parse_claims
from services.gateway.form import File, Form, too_many_photos
from services.gateway.imaging import BadPhoto, CleanPhoto, clean
from services.gateway.problems import Problem, problem_of_photo
from services.gateway.settings import GatewaySettings
from shared.errors import Transient
from shared.events import Event, Publisher, deterministic_id, event
from shared.metrics import ACCEPTED_BYTES, ACCEPTED_PHOTOS
from shared.photo_store import MissingObject, PhotoStore
from shared.topics import IMAGE_UPLOADED, LISTING_CHANGED

T = TypeVar("T")

SOURCE = "gateway"
TAKEDOWN = "takedown"


@dataclass(frozen=True, slots=True)
class Acceptance:
    """All that is needed to publish an upload, or to publish it again."""

    digest: str  # of the request
    accepted_us: int  # microseconds since 1970
    change: listing_pb2.ListingChanged

    def to_json(self) -> bytes:
        change = MessageToDict(self.change, preserving_proto_field_name=True)
        return json.dumps({"digest": self.digest, "accepted_us": self.accepted_us, "change": change}).encode()

    @classmethod
    def from_json(cls, body: bytes) -> "Acceptance":
        told = json.loads(body)
        return cls(told["digest"], told["accepted_us"], ParseDict(told["change"], listing_pb2.ListingChanged()))


class Intake:
    """Listings in, events out. Everything raises Problem, and Transient when the photo store stayed away."""

    def __init__(
        self,
        store: PhotoStore,
        publisher: Publisher,
        settings: GatewaySettings,
        decoders: Executor,
        now_us: Callable[[], int] = lambda: time.time_ns() // 1000,
    ) -> None:
        self._store = store
        self._publisher = publisher
        self._settings = settings
        self._decoders = decoders
        self._now_us = now_us

    async def create(self, form: Form, key: str | None) -> listing_pb2.ListingChanged:
        """A new listing. With an Idempotency-Key its id derives from (caller, key), else it is random."""
        claims = parse_claims(form.listing)
        listing_id = deterministic_id("listing", claims.seller_id, key) if key else uuid.uuid4().hex
        return await self._accept("POST", listing_id, claims, form, key)

    async def replace(self, listing_id: str, form: Form, key: str | None) -> listing_pb2.ListingChanged:
        """A whole new revision of a listing, or its first under an id of the caller's own."""
        return await self._accept(f"PUT {listing_id}", listing_id, parse_claims(form.listing), form, key)

    async def remove(self, listing_id: str) -> listing_pb2.ListingChanged:
        """Take a listing down for good, also one that was never heard of: its upload may still be on its way."""
        removed = listing_pb2.ListingRemoved(reason=TAKEDOWN)
        change = listing_pb2.ListingChanged(listing_id=listing_id, revision=self._now_us(), removed=removed)
        await self._send([_changed(change)])
        await self._store.create(f"listings/{listing_id}/removed", b"")
        return change

    async def has_accepted(self, listing_id: str) -> bool:
        """Whether it was acknowledged: then a lookup that doesn't know it yet will, unless it is removed."""
        return await self._store.exists(f"listings/{listing_id}/accepted")

    async def is_removed(self, listing_id: str) -> bool:
        """Whether its removal was acknowledged. A removal is final."""
        return await self._store.exists(f"listings/{listing_id}/removed")

    async def _accept(
        self, action: str, listing_id: str, claims: ListingClaims, form: Form, key: str | None
    ) -> listing_pb2.ListingChanged:
        digest = await self._aside(lambda: _digest(action, form))
        if key is None:
            acceptance = await self._prepare(digest, listing_id, claims, form)
            await self._publish(acceptance)
            return acceptance.change
        place = _intake_place(claims.seller_id, key)
        acceptance = await self._earlier(place, digest) or await self._settle(
            place, await self._prepare(digest, listing_id, claims, form)
        )
        if not await self._store.exists(f"{place}.done"):
            await self._publish(acceptance)
            await self._store.create(f"{place}.done", b"")
        return acceptance.change

    async def _earlier(self, place: str, digest: str) -> Acceptance | None:
        try:
            earlier = Acceptance.from_json(await self._store.get(place))
        except MissingObject:
            return None
        if earlier.digest != digest:
            raise Problem(
                "idempotency-key-reused",
                "This Idempotency-Key was used for an upload with other contents, or to another address.",
                "Repeat an upload unchanged, or take a new key for a new upload.",
                {"header": "Idempotency-Key"},
            )
        return earlier

    async def _settle(self, place: str, acceptance: Acceptance) -> Acceptance:
        """The one that counts, ours or that of whoever was faster with the same key."""
        if await self._store.create(place, acceptance.to_json()):
            return acceptance
        return await self._earlier(place, acceptance.digest) or acceptance

    async def _prepare(self, digest: str, listing_id: str, claims: ListingClaims, form: Form) -> Acceptance:
        now_us = self._now_us()
        revision = self._revision(claims, now_us)
        if await self.is_removed(listing_id):
            raise Problem(
                "listing-removed",
                f"The listing {listing_id} was taken down, and a removal is final.",
                "Upload it as a new listing.",
                {"parameter": "listing_id"},
            )
        photos = await self._photos(listing_id, claims, form.files)
        listing = listing_pb2.Listing(seller_id=claims.seller_id, claims=claims.to_event(), photos=photos)
        change = listing_pb2.ListingChanged(listing_id=listing_id, revision=revision, listing=listing)
        return Acceptance(digest, now_us, change)

    def _revision(self, claims: ListingClaims, now_us: int) -> int:
        stated = claims.updated_us
        if stated is None:
            return now_us
        if stated > now_us + self._settings.ahead_seconds * 1_000_000:
            raise Problem(
                "updated-at-too-far-ahead",
                f"updated_at lies {(stated - now_us) / 1_000_000:,.0f} s ahead of the gateway's clock; "
                f"{self._settings.ahead_seconds:,.0f} s are tolerated.",
                "Set the clock of the sending machine, and mind the time zone.",
                {"part": "listing", "field": "updated_at"},
            )
        return stated

    async def _photos(self, listing_id: str, claims: ListingClaims, files: Sequence[File]) -> list[listing_pb2.Photo]:
        """The photos in the listing's order, each once, stored."""
        order = _order(claims, files)
        if not order:
            detail = "The listing names no photo and none was uploaded."
            raise Problem("no-photos", detail, "Send at least one part named photos.", {"part": "photos"})
        if len(order) > self._settings.max_photos:
            raise too_many_photos(self._settings.max_photos)
        known = {sha256: await self._known(listing_id, sha256) for sha256 in order if isinstance(sha256, str)}
        cleaned = await asyncio.gather(*(self._clean(file) for file in files), return_exceptions=True)
        for outcome in cleaned:  # the first bad photo, not the one that failed first
            if isinstance(outcome, BaseException):
                raise outcome
        stored = await asyncio.gather(*(self._keep(listing_id, p) for p in cleaned if isinstance(p, CleanPhoto)))
        photos = [known[which] if isinstance(which, str) else stored[which] for which in order]
        return list({photo.sha256: photo for photo in photos}.values())

    async def _clean(self, file: File) -> CleanPhoto:
        try:
            return await self._aside(lambda: clean(file.body, self._settings.photo_limits))
        except BadPhoto as why:
            raise problem_of_photo(why, file.where) from why

    async def _keep(self, listing_id: str, clean_photo: CleanPhoto) -> listing_pb2.Photo:
        key = await self._store.put(clean_photo.body)
        photo = listing_pb2.Photo(
            sha256=key.rpartition("/")[2],
            object_key=key,
            media_type=clean_photo.media_type,
            width=clean_photo.width,
            height=clean_photo.height,
            size_bytes=len(clean_photo.body),
            metadata=clean_photo.metadata,
        )
        await self._store.create(_photo_place(listing_id, photo.sha256), photo.SerializeToString())
        return photo

    async def _known(self, listing_id: str, sha256: str) -> listing_pb2.Photo:
        """Only this listing's own: to know the hash of a stranger's photo must not be enough to have it."""
        try:
            return listing_pb2.Photo.FromString(await self._store.get(_photo_place(listing_id, sha256)))
        except MissingObject as why:
            raise Problem(
                "unknown-photo",
                f"The photo {sha256} was never uploaded to the listing {listing_id}.",
                "Upload it as a part named photos.",
                {"part": "listing", "field": "photos"},
            ) from why

    async def _publish(self, acceptance: Acceptance) -> None:
        change = acceptance.change
        await self._send([_changed(change)])
        await self._send([_uploaded(acceptance, position) for position in range(len(change.listing.photos))])
        ACCEPTED_PHOTOS.inc(len(change.listing.photos))
        ACCEPTED_BYTES.inc(sum(photo.size_bytes for photo in change.listing.photos))
        await self._store.create(f"listings/{change.listing_id}/accepted", b"")

    async def _send(self, events: Sequence[Event]) -> None:
        try:
            await self._publisher.send(events)
        except Transient as why:
            raise Problem(
                "broker-unavailable",
                "The event broker did not acknowledge the upload in time; it may have been accepted in part.",
                "Repeat the request in a few seconds, with the same Idempotency-Key if it had one.",
            ) from why

    async def _aside(self, work: Callable[[], T]) -> T:
        """Decoding and hashing megabytes would hold up every other request."""
        return await asyncio.get_running_loop().run_in_executor(self._decoders, work)


def _order(claims: ListingClaims, files: Sequence[File]) -> list[str | int]:
    """Stored photos by their sha256, uploaded ones by their index."""
    named: list[str | int] = []
    for at, reference in enumerate(claims.photos or ()):
        if reference.upload is not None and reference.upload >= len(files):
            raise Problem(
                "invalid-listing",
                f"photos.{at}: there is no uploaded part {reference.upload}; {len(files)} were sent, counted from 0.",
                "Name only parts that are sent along.",
                {"part": "listing", "field": f"photos.{at}.upload"},
            )
        which = reference.sha256 if reference.upload is None else reference.upload
        assert which is not None
        named.append(which)
    return [*named, *(file.index for file in files if file.index not in named)]


def _digest(action: str, form: Form) -> str:
    """A hash of what was said, not of how: a repeat has other multipart boundaries."""
    parts = [action.encode(), form.listing, *(file.body for file in form.files)]
    return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()


def _intake_place(caller: str, key: str) -> str:
    both = f"{caller}\x1f{key}"
    return f"intake/{hashlib.sha256(both.encode()).hexdigest()}"


def _photo_place(listing_id: str, sha256: str) -> str:
    return f"listings/{listing_id}/photos/{sha256}"


def _changed(change: listing_pb2.ListingChanged) -> Event:
    return event(
        LISTING_CHANGED,
        change.listing_id,
        change,
        id_parts=(change.listing_id, change.revision, change.WhichOneof("change")),
        source=SOURCE,
    )


def _uploaded(acceptance: Acceptance, position: int) -> Event:
    change = acceptance.change
    photo = change.listing.photos[position]
    uploaded = image_pb2.ImageUploaded(
        listing_id=change.listing_id,
        revision=change.revision,
        seller_id=change.listing.seller_id,
        claims=change.listing.claims,
        photo=photo,
        position=position,
    )
    uploaded.uploaded_at.FromMicroseconds(acceptance.accepted_us)
    id_parts = (change.listing_id, change.revision, photo.sha256)
    return event(IMAGE_UPLOADED, change.listing_id, uploaded, id_parts=id_parts, source=SOURCE)
