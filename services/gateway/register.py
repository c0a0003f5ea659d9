"""What the gateway remembers of listings. It lies in the photo store, so uploads need nothing else:

    secrets/listing-ids             what ids are made with, where no setting says it
    intake/HASH                     what became of (caller, Idempotency-Key); written once, before anything is published
    intake/HASH.done                all of it has been acknowledged
    pending/WHEN-ID-REVISION        a change on its way to the broker; gone when all of it has been acknowledged
    listings/ID/owner               whose it is; written before anything else of the listing
    listings/ID/revisions/REVISION  the change that got this number; of old ones the last few are kept
    listings/ID/photos/SHA256       a photo that the listing has or had, with the summary of its metadata
    listings/ID/accepted            the broker has acknowledged something of this listing
    listings/ID/removed             its removal; written before that is published, since nothing may follow it
    listings/ID/removed.done        and that was acknowledged

Of those that are written once the first to come wins. One that can't be read is as if it weren't there, and is written
anew: a disk that loses power may leave an empty file where the store doesn't wait for it.
"""

import asyncio
import hashlib
import hmac
import json
import random
import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

import structlog
from google.protobuf.json_format import MessageToDict, ParseDict, ParseError
from google.protobuf.message import DecodeError
from vitrine.events.v1 import listing_pb2

from shared.errors import Transient
from shared.photo_store import MissingObject, PhotoStore

T = TypeVar("T")

# So many revisions of a listing are kept at least, and all that are no older than this.
KEPT_REVISIONS = 3
KEPT_US = 600 * 1_000_000

_SECRET = "secrets/listing-ids"
_SECRET_BYTES = 32

log = structlog.get_logger()


class Damaged(Exception):
    """What stands in the store can't be read."""


class Stale(Exception):
    """A stated revision that isn't later than the last."""

    def __init__(self, last: int) -> None:
        super().__init__(f"the listing has the revision {last}")
        self.last = last


@dataclass(frozen=True, slots=True)
class Acceptance:
    """All that is needed to publish a change, or to publish it again."""

    digest: str  # of the request
    accepted_us: int  # microseconds since 1970
    change: listing_pb2.ListingChanged

    def to_json(self) -> bytes:
        change = MessageToDict(self.change, preserving_proto_field_name=True)
        return json.dumps({"digest": self.digest, "accepted_us": self.accepted_us, "change": change}).encode()

    @classmethod
    def from_json(cls, body: bytes) -> "Acceptance":
        """Raises Damaged."""
        try:
            told = json.loads(body)
            return cls(told["digest"], told["accepted_us"], ParseDict(told["change"], listing_pb2.ListingChanged()))
        except (ValueError, KeyError, TypeError, ParseError) as why:
            raise Damaged(f"no acceptance: {why}") from why


class Register:
    """Everything raises Transient when the photo store stayed away."""

    def __init__(self, store: PhotoStore, id_secret: bytes | None = None) -> None:
        """`id_secret`: what ids are made with; None: what the gateways of this store share."""
        self._store = store
        self._id_secret = id_secret

    # --- ids and owners -----------------------------------------------------------------------------------------------

    async def listing_id(self, seller_id: str, key: str) -> str:
        """The same each time, and nobody who lacks the secret can tell it from seller and key."""
        if self._id_secret is None:
            self._id_secret = await self._shared_secret()
        said = json.dumps([seller_id, key]).encode()
        return hmac.digest(self._id_secret, said, "sha256").hex()[:32]

    async def _shared_secret(self) -> bytes:
        await self._store.create(_SECRET, secrets.token_bytes(_SECRET_BYTES))
        secret = await self._store.get(_SECRET)
        if len(secret) != _SECRET_BYTES:
            # Not written anew: ids that were made with it would be others from then on.
            raise Transient(f"{_SECRET} in the photo store is damaged: bring it back from a backup, or delete it")
        return secret

    async def owner(self, listing_id: str) -> str | None:
        """The seller whose listing it is; None when nobody's yet."""
        return await self._read(_owner_place(listing_id), _seller)

    async def claim(self, listing_id: str, seller_id: str) -> str:
        """Whose it is from here on: the seller's, unless it is somebody's already."""
        return await self._first(_owner_place(listing_id), json.dumps({"seller_id": seller_id}).encode(), _seller)

    # --- photos -------------------------------------------------------------------------------------------------------

    async def photo(self, listing_id: str, sha256: str) -> listing_pb2.Photo | None:
        return await self._read(_photo_place(listing_id, sha256), lambda body: _photo(body, sha256))

    async def keep(self, listing_id: str, photo: listing_pb2.Photo) -> listing_pb2.Photo:
        """The photo as the listing first had it, however often it was dropped and restored since."""
        place = _photo_place(listing_id, photo.sha256)
        return await self._first(place, photo.SerializeToString(), lambda body: _photo(body, photo.sha256))

    # --- repeats ------------------------------------------------------------------------------------------------------

    async def earlier(self, caller: str, key: str) -> Acceptance | None:
        """What this caller's Idempotency-Key was first used for."""
        return await self._read(_intake_place(caller, key), Acceptance.from_json)

    async def settle(self, caller: str, key: str, acceptance: Acceptance) -> Acceptance:
        """The one that counts: ours, or that of whoever was faster with the same key."""
        return await self._first(_intake_place(caller, key), acceptance.to_json(), Acceptance.from_json)

    async def is_done(self, caller: str, key: str) -> bool:
        return await self._store.exists(f"{_intake_place(caller, key)}.done")

    async def note_done(self, caller: str, key: str) -> None:
        await self._store.create(f"{_intake_place(caller, key)}.done", b"")

    # --- revisions ----------------------------------------------------------------------------------------------------

    async def numbered(
        self, acceptance: Callable[[int], Acceptance], listing_id: str, now_us: int, stated: int | None = None
    ) -> Acceptance:
        """With a revision of its own, later than all that the listing had when this was called.

        That is `stated`, or else the clock's, or one more than the last. The same request with the same stated revision
        is given what it was given then; any other that isn't later than the last raises Stale.
        """
        taken = [int(place.rpartition("/")[2]) for place in await self._store.keys(_revisions(listing_id))]
        last = max(taken, default=0)
        while True:
            if stated is not None and stated <= last:
                return await self._repeated(acceptance(stated), last)
            revision = max(now_us, last + 1) if stated is None else stated
            numbered = acceptance(revision)
            if await self._store.create(_revision_place(listing_id, revision), numbered.to_json()):
                await self._forget_old(listing_id, [*taken, revision])
                return numbered
            last = max(last, revision)  # another gateway was faster

    async def _repeated(self, acceptance: Acceptance, last: int) -> Acceptance:
        change = acceptance.change
        place = _revision_place(change.listing_id, change.revision)
        earlier = await self._read(place, Acceptance.from_json)
        if earlier is None or earlier.digest != acceptance.digest:
            raise Stale(last)
        return earlier

    async def _forget_old(self, listing_id: str, taken: list[int]) -> None:
        # A number must not be free again while somebody who looked before it was taken may still take it.
        old = [revision for revision in sorted(taken)[:-KEPT_REVISIONS] if revision < max(taken) - KEPT_US]
        forgotten = [_revision_place(listing_id, revision) for revision in old]
        with suppress(Transient):  # they cost little
            await asyncio.gather(*map(self._store.delete, forgotten))

    # --- what is on its way to the broker -----------------------------------------------------------------------------

    async def begin(self, acceptance: Acceptance) -> None:
        """From here on it will be published, if not by this request then by whoever sweeps."""
        await self._first(_pending_place(acceptance), acceptance.to_json(), Acceptance.from_json)

    async def end(self, acceptance: Acceptance) -> None:
        """The broker has acknowledged all of it."""
        if acceptance.change.HasField("listing"):
            await self._store.create(f"listings/{acceptance.change.listing_id}/accepted", b"")
        await self._store.delete(_pending_place(acceptance))

    async def begun_before(self, moment_us: int) -> list[str]:
        """Places of what has been on its way since then, in no order, so that gateways that sweep at once share it."""
        places = [place for place in await self._store.keys("pending") if _begun_us(place) < moment_us]
        random.shuffle(places)
        return places

    async def pending(self, place: str) -> Acceptance | None:
        """None when it has been acknowledged meanwhile. What can't be read is given up, and logged."""
        try:
            return Acceptance.from_json(await self._store.get(place))
        except MissingObject:
            return None
        except Damaged as why:
            log.error("gave up what can't be read", place=place, error=str(why))
            await self._store.delete(place)
            return None

    # --- what was acknowledged ----------------------------------------------------------------------------------------

    async def has_accepted(self, listing_id: str) -> bool:
        return await self._store.exists(f"listings/{listing_id}/accepted")

    async def is_removed(self, listing_id: str) -> bool:
        return await self._store.exists(_removed_place(listing_id))

    async def removal(self, listing_id: str) -> Acceptance | None:
        return await self._read(_removed_place(listing_id), Acceptance.from_json)

    async def is_removal_done(self, listing_id: str) -> bool:
        """Whether it was acknowledged too."""
        return await self._store.exists(f"{_removed_place(listing_id)}.done")

    async def note_removal_done(self, listing_id: str) -> None:
        await self._store.create(f"{_removed_place(listing_id)}.done", b"")

    async def note_removed(self, acceptance: Acceptance) -> None:
        place = _removed_place(acceptance.change.listing_id)
        await self._first(place, acceptance.to_json(), Acceptance.from_json)

    # --- objects ------------------------------------------------------------------------------------------------------

    async def _read(self, place: str, read: Callable[[bytes], T]) -> T | None:
        try:
            return read(await self._store.get(place))
        except (MissingObject, Damaged):
            return None

    async def _first(self, place: str, body: bytes, read: Callable[[bytes], T]) -> T:
        """What stands there: ours, unless something readable came before."""
        if await self._store.create(place, body):
            return read(body)
        if (there := await self._read(place, read)) is not None:
            return there
        log.warning("wrote anew what can't be read", place=place)
        await self._store.replace(place, body)
        return read(body)


def _seller(body: bytes) -> str:
    try:
        return str(json.loads(body)["seller_id"])
    except (ValueError, KeyError, TypeError) as why:
        raise Damaged(f"no owner: {why}") from why


def _photo(body: bytes, sha256: str) -> listing_pb2.Photo:
    try:
        photo = listing_pb2.Photo.FromString(body)
    except DecodeError as why:
        raise Damaged(f"no photo: {why}") from why
    if photo.sha256 != sha256:
        raise Damaged(f"the photo {photo.sha256!r} in the place of {sha256}")
    return photo


def _owner_place(listing_id: str) -> str:
    return f"listings/{listing_id}/owner"


def _photo_place(listing_id: str, sha256: str) -> str:
    return f"listings/{listing_id}/photos/{sha256}"


def _removed_place(listing_id: str) -> str:
    return f"listings/{listing_id}/removed"


def _revisions(listing_id: str) -> str:
    return f"listings/{listing_id}/revisions"


def _revision_place(listing_id: str, revision: int) -> str:
    return f"{_revisions(listing_id)}/{revision}"


def _pending_place(acceptance: Acceptance) -> str:
    return f"pending/{acceptance.accepted_us}-{acceptance.change.listing_id}-{acceptance.change.revision}"


def _begun_us(place: str) -> int:
    return int(place.partition("/")[2].partition("-")[0])


def _intake_place(caller: str, key: str) -> str:
    both = f"{caller}\x1f{key}"
    return f"intake/{hashlib.sha256(both.encode()).hexdigest()}"
