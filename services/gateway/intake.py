"""Takes listings in: photos into the store, then events to the broker, and only then a yes.

What it has promised to publish is written down before (services/gateway/register.py), and a sweep publishes what was
left half published.
"""

import asyncio
import hashlib
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Executor
from typing import TypeVar

import structlog
from vitrine.events.v1 import listing_pb2

from services.gateway.claims import ListingClaims, parse_claims
from services.gateway.form import File, Form, too_many_photos
from services.gateway.imaging import BadPhoto, CleanPhoto, clean
from services.gateway.problems import Problem, problem_of_photo
from services.gateway.register import Acceptance, Register, Stale
from services.gateway.settings import GatewaySettings
from services.gateway.turns import Turns
from shared.errors import Transient
from shared.events import Event, Publisher, event
from shared.metrics import ACCEPTED_BYTES, ACCEPTED_PHOTOS, COMPLETED
from shared.photo_store import PhotoStore
from shared.topics import LISTING_CHANGED
from shared.uploads import uploads_of

T = TypeVar("T")

SOURCE = "gateway"
TAKEDOWN = "takedown"

log = structlog.get_logger()


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
        self._register = Register(store, settings.secret_of_ids)
        self._publisher = publisher
        self._settings = settings
        self._decoders = decoders
        self._turns = Turns(settings.decoders)
        self._now_us = now_us

    async def create(self, form: Form, key: str | None) -> listing_pb2.ListingChanged:
        """A new listing. With an Idempotency-Key its id follows from (caller, key), else it is random."""
        claims = parse_claims(form.listing)
        listing_id = await self.listing_id(claims.seller_id, key) if key else uuid.uuid4().hex
        return await self._accept("POST", listing_id, claims, form, key)

    async def listing_id(self, seller_id: str, key: str) -> str:
        """The id that an upload of this seller with this Idempotency-Key has, or would have."""
        earlier = await self._register.earlier(seller_id, key)
        return earlier.change.listing_id if earlier else await self._register.listing_id(seller_id, key)

    async def replace(self, listing_id: str, form: Form, key: str | None) -> listing_pb2.ListingChanged:
        """A whole new revision of a listing, or its first under an id of the caller's own."""
        return await self._accept(f"PUT {listing_id}", listing_id, parse_claims(form.listing), form, key)

    async def remove(self, listing_id: str) -> listing_pb2.ListingChanged | None:
        """Take a listing down for good; None when there never was one. From here on it can't be changed."""
        removal = await self._register.removal(listing_id)
        if removal is None:
            owner = await self._register.owner(listing_id)
            if owner is None and not await self.has_accepted(listing_id):
                return None
            removal = await self._removal(listing_id, owner or "")
        if not await self._register.is_removal_done(listing_id):
            await self._carry_out(removal)
            await _noted(self._register.note_removal_done(listing_id))
        return removal.change

    async def owner(self, listing_id: str) -> str | None:
        """The seller whose listing it is; None when nobody's yet."""
        return await self._register.owner(listing_id)

    async def has_accepted(self, listing_id: str) -> bool:
        """Whether it was acknowledged: then a lookup that doesn't know it yet will, unless it is removed."""
        return await self._register.has_accepted(listing_id)

    async def is_removed(self, listing_id: str) -> bool:
        """Whether it was taken down. A removal is final."""
        return await self._register.is_removed(listing_id)

    async def check(self) -> None:
        """Raises when uploads can't be noted now."""
        await self._store.check()
        await self._store.keys("secrets")  # a bucket may be writable, and not to be listed

    async def complete_pending(self) -> int:
        """Publish what requests left half published when the broker went away or their gateway died; returns how many.

        Any gateway does it for all. What a newer revision has superseded is published all the same: order doesn't
        matter to who reads it, and whether the newer one was ever published nobody knows. A removal always will be, so
        an upload before it is dropped, or its photos would be looked at and remembered for nothing.
        """
        completed = 0
        for place in await self._register.begun_before(self._now_us() - int(self._settings.pending_seconds * 1e6)):
            if (acceptance := await self._register.pending(place)) is not None:
                change = acceptance.change
                if change.HasField("removed") or not await self.is_removed(change.listing_id):
                    await self._publish(acceptance)
                await self._register.end(acceptance)
                COMPLETED.inc()
                log.info("completed a change", listing_id=change.listing_id, revision=change.revision)
                completed += 1
        return completed

    async def _accept(
        self, action: str, listing_id: str, claims: ListingClaims, form: Form, key: str | None
    ) -> listing_pb2.ListingChanged:
        digest = await asyncio.to_thread(_digest, action, form)  # not where others' photos are decoded
        if key is None:
            ours = await self._prepare(digest, listing_id, claims, form)
            await self._carry_out(ours)
            return ours.change
        seller = claims.seller_id
        acceptance = await self._register.earlier(seller, key)
        if acceptance is None:
            ours = await self._prepare(digest, listing_id, claims, form)
            acceptance = await self._register.settle(seller, key, ours)
        _check_repeat(acceptance, digest)
        if not await self._register.is_done(seller, key):
            await self._carry_out(acceptance)
            await _noted(self._register.note_done(seller, key))
        return acceptance.change

    async def _prepare(self, digest: str, listing_id: str, claims: ListingClaims, form: Form) -> Acceptance:
        now_us = self._now_us()
        self._check_updated_at(claims, now_us)
        await self._check_not_removed(listing_id)
        _check_owner(listing_id, claims, await self._register.owner(listing_id))
        photos = await self._photos(listing_id, claims, form, now_us)
        listing = listing_pb2.Listing(seller_id=claims.seller_id, claims=claims.to_event(), photos=photos)
        change = listing_pb2.ListingChanged(listing_id=listing_id, listing=listing)
        try:
            return await self._numbered(digest, change, now_us, claims.updated_us)
        except Stale as why:
            raise Problem(
                "stale-revision",
                f"updated_at is the revision {claims.updated_us}, and the listing has {why.last} already.",
                "Take a later updated_at, or leave it out.",
                {"part": "listing", "field": "updated_at"},
            ) from why

    async def _removal(self, listing_id: str, owner: str) -> Acceptance:
        removed = listing_pb2.ListingRemoved(reason=TAKEDOWN, seller_id=owner)
        change = listing_pb2.ListingChanged(listing_id=listing_id, removed=removed)
        return await self._numbered("", change, self._now_us())

    async def _numbered(
        self, digest: str, change: listing_pb2.ListingChanged, now_us: int, stated: int | None = None
    ) -> Acceptance:
        """Raises Stale."""
        change.accepted_at.FromMicroseconds(now_us)

        def with_revision(revision: int) -> Acceptance:
            change.revision = revision
            return Acceptance(digest, now_us, change)

        return await self._register.numbered(with_revision, change.listing_id, now_us, stated)

    def _check_updated_at(self, claims: ListingClaims, now_us: int) -> None:
        stated = claims.updated_us
        if stated is not None and stated > now_us + self._settings.ahead_seconds * 1_000_000:
            raise Problem(
                "updated-at-too-far-ahead",
                f"updated_at lies {(stated - now_us) / 1_000_000:,.0f} s ahead of the gateway's clock; "
                f"{self._settings.ahead_seconds:,.0f} s are tolerated.",
                "Set the clock of the sending machine, and mind the time zone.",
                {"part": "listing", "field": "updated_at"},
            )

    async def _photos(self, listing_id: str, claims: ListingClaims, form: Form, now_us: int) -> list[listing_pb2.Photo]:
        """The photos in the listing's order, each once, stored. What is refused leaves nothing behind."""
        order = _order(claims, form.files)
        if not order:
            detail = "The listing names no photo and none was uploaded."
            raise Problem("no-photos", detail, "Send at least one part named photos.", {"part": "photos"})
        if len(order) > self._settings.max_photos:
            raise too_many_photos(self._settings.max_photos)
        known = {sha256: await self._known(listing_id, sha256) for sha256 in order if isinstance(sha256, str)}
        cleaned = await asyncio.gather(*(self._clean(file, form.caller) for file in form.files), return_exceptions=True)
        for outcome in cleaned:  # the first bad photo, not the one that failed first
            if isinstance(outcome, BaseException):
                raise outcome
        _check_owner(listing_id, claims, await self._register.claim(listing_id, claims.seller_id))
        kept = (self._keep(listing_id, photo, now_us) for photo in cleaned if isinstance(photo, CleanPhoto))
        stored = await asyncio.gather(*kept)
        photos = [known[which] if isinstance(which, str) else stored[which] for which in order]
        return list({photo.sha256: photo for photo in photos}.values())

    async def _clean(self, file: File, caller: str) -> CleanPhoto:
        """From here on without the body that was sent, or an upload would be held twice."""
        try:
            async with self._turns.turn(caller):
                return await self._aside(lambda: clean(file.taken(), self._settings.photo_limits))
        except BadPhoto as why:
            raise problem_of_photo(why, file.where) from why

    async def _keep(self, listing_id: str, clean_photo: CleanPhoto, now_us: int) -> listing_pb2.Photo:
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
        photo.uploaded_at.FromMicroseconds(now_us)
        return await self._register.keep(listing_id, photo)

    async def _known(self, listing_id: str, sha256: str) -> listing_pb2.Photo:
        """Only this listing's own: to know the hash of a stranger's photo must not be enough to have it."""
        if (photo := await self._register.photo(listing_id, sha256)) is not None:
            return photo
        raise Problem(
            "unknown-photo",
            f"The photo {sha256} was never uploaded to the listing {listing_id}.",
            "Upload it as a part named photos.",
            {"part": "listing", "field": "photos"},
        )

    async def _check_not_removed(self, listing_id: str) -> None:
        if await self.is_removed(listing_id):
            raise Problem(
                "listing-removed",
                f"The listing {listing_id} was taken down, and a removal is final.",
                "Upload it as a new listing.",
                {"parameter": "listing_id"},
            )

    async def _carry_out(self, acceptance: Acceptance) -> None:
        """Raises Transient when nothing came of it, and Problem when it may still be completed."""
        change = acceptance.change
        if not change.HasField("removed"):  # meanwhile, or between an upload and its repeat
            await self._check_not_removed(change.listing_id)
        await self._register.begin(acceptance)
        try:
            await self._publish(acceptance)
        except Transient as why:
            raise _unfinished("store-unavailable", "The photo store can't be used now") from why
        await _noted(self._register.end(acceptance))

    async def _publish(self, acceptance: Acceptance) -> None:
        change = acceptance.change
        if change.HasField("removed"):
            await self._register.note_removed(acceptance)
        await self._send([_changed(change)])
        await self._send(uploads_of(change, SOURCE))
        ACCEPTED_PHOTOS.inc(len(change.listing.photos))
        ACCEPTED_BYTES.inc(sum(photo.size_bytes for photo in change.listing.photos))

    async def _send(self, events: Sequence[Event]) -> None:
        try:
            await self._publisher.send(events)
        except Transient as why:
            raise _unfinished("broker-unavailable", "The event broker did not acknowledge the request in time") from why

    async def _aside(self, work: Callable[[], T]) -> T:
        """Decoding and hashing megabytes would hold up every other request."""
        return await asyncio.get_running_loop().run_in_executor(self._decoders, work)


async def _noted(note: Awaitable[None]) -> None:
    """Of what the broker has acknowledged. Where that can't be noted, a sweep or a repeat publishes it once more."""
    try:
        await note
    except Transient as why:
        log.warning("could not note what was acknowledged", error=str(why))


def _unfinished(code: str, why: str) -> Problem:
    return Problem(
        code,
        f"{why}. It is written down, and may still be completed without another request.",
        "Repeat it in a few seconds, with the same Idempotency-Key: a POST without one would be another listing.",
    )


def _check_repeat(acceptance: Acceptance, digest: str) -> None:
    """Raises Problem when the key was used for another request."""
    if acceptance.digest != digest:
        raise Problem(
            "idempotency-key-reused",
            "This Idempotency-Key was used for an upload with other contents, or to another address.",
            "Repeat an upload unchanged, or take a new key for a new upload.",
            {"header": "Idempotency-Key"},
        )


def _check_owner(listing_id: str, claims: ListingClaims, owner: str | None) -> None:
    if owner not in (None, claims.seller_id):
        raise Problem(
            "not-the-owner",
            f"The listing {listing_id} is another seller's.",
            "Send the seller_id that it was first uploaded with, or upload a listing of your own.",
            {"part": "listing", "field": "seller_id"},
        )


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


def _changed(change: listing_pb2.ListingChanged) -> Event:
    return event(
        LISTING_CHANGED,
        change.listing_id,
        change,
        id_parts=(change.listing_id, change.revision, change.WhichOneof("change")),
        source=SOURCE,
    )
