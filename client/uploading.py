"""Uploads listings, each an upsert by (seller, reference), and says truly what became of each.

The gateway tells what a listing of this seller and reference is called. So it is the same listing from whichever file,
folder or machine it comes, and what it is now is always stated in the same way: as a whole revision. Whether that is
news the gateway is asked. The state file only tells what it is called and which photos it was stated with.
"""

import asyncio
import hashlib
import json
import uuid
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable
from dataclasses import dataclass

from client.folders import suffix_of
from client.gateway import GATEWAY, Accepted, Gateway, GatewayAway, Held, PhotoFile, Retries, UploadRefused
from client.listing import Effect, Imported, ListingUpload, PhotoSource
from client.state import Done, State
from shared.events import deterministic_id
from shared.photo_formats import MEDIA_TYPES


async def import_listings(
    listings: AsyncIterable[ListingUpload] | Iterable[ListingUpload],
    gateway_url: str = GATEWAY,
    on_progress: Callable[[Imported], None] | None = None,
    *,
    state: State | None = None,
    concurrency: int = 8,
    retries: Retries | None = None,
) -> list[Imported]:
    """Uploads each listing, at most `concurrency` at once, and says what became of it, in the order given.

    A refusal fails that listing only. When the gateway stays away through all retries, the rest is not tried: every
    one of them fails with that reason. `on_progress` is called once per listing, as each ends. An iterator is drawn
    from in a thread, one at a time, so it may render or read.
    """
    gateway = Gateway(gateway_url, concurrency, retries or Retries())
    uploader = _Uploader(gateway, state or State())
    numbered = _numbered(listings)
    drawing = asyncio.Lock()
    ended: dict[int, Imported] = {}

    async def upload_until_empty() -> None:
        while True:
            async with drawing:
                drawn = await anext(numbered, None)
            if drawn is None:
                return
            number, upload = drawn
            ended[number] = await uploader.upload(upload)
            if on_progress:
                on_progress(ended[number])

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(concurrency):
                group.create_task(upload_until_empty())
    finally:
        await gateway.close()
    return [ended[number] for number in sorted(ended)]


@dataclass
class _Uploader:
    gateway: Gateway
    state: State
    away: str | None = None

    async def upload(self, upload: ListingUpload) -> Imported:
        try:
            photos = [await _read(photo) for photo in upload.photos]
        except OSError as why:
            return _failed(upload, f"cannot read {why.filename}: {why.strerror}")
        try:
            if self.away:
                raise GatewayAway(f"not tried: {self.away}")
            return await self._upsert(upload, photos)
        except GatewayAway as why:
            self.away = self.away or str(why)
            return _failed(upload, str(why))
        except UploadRefused as why:
            return _failed(upload, str(why))
        except OSError as why:
            return _failed(upload, f"was uploaded, but the state file can't be written: {why.strerror}")

    async def _upsert(self, upload: ListingUpload, photos: list[PhotoFile]) -> Imported:
        digest = _digest(upload, photos)
        known = self.state.find(upload.seller_id, upload.reference)
        listing_id = known.listing_id if known else await self.gateway.listing_id(upload)
        held = await self.gateway.held(listing_id)
        if known and known.digest == digest and _is_latest(known, held):
            return _ended(upload, Effect.UNCHANGED, known)
        # A key of its own each time: stating again what was stated long ago is news, if something else came between.
        accepted = await self.gateway.put(listing_id, upload, photos, uuid.uuid4().hex)
        done = Done(upload.seller_id, upload.reference, digest, accepted.listing_id, accepted.revision, accepted.photos)
        self.state.note(done)
        return _ended(upload, _effect(upload, accepted, held, known), done)


def _is_latest(known: Done, held: Held) -> bool:
    """Whether nobody stated another revision since, or took the listing down. The join may be behind what we stated."""
    return held.there is not False and (held.revision or 0) <= known.revision


def _effect(upload: ListingUpload, accepted: Accepted, held: Held, known: Done | None) -> Effect:
    if held.there is False or (held.there is None and known is None):
        return Effect.IMPORTED
    same = held.revision is not None and upload.says(held.claims) and accepted.photos == held.photos
    return Effect.UNCHANGED if same else Effect.UPDATED


async def _numbered(
    listings: AsyncIterable[ListingUpload] | Iterable[ListingUpload],
) -> AsyncIterator[tuple[int, ListingUpload]]:
    number = 0
    if isinstance(listings, AsyncIterable):
        async for upload in listings:
            yield number, upload
            number += 1
        return
    iterator = iter(listings)
    while (drawn := await asyncio.to_thread(next, iterator, None)) is not None:
        yield number, drawn
        number += 1


async def _read(photo: PhotoSource) -> PhotoFile:
    """Raises OSError."""
    if isinstance(photo, bytes):
        return PhotoFile("photo", photo)
    body = await asyncio.to_thread(photo.read_bytes)
    return PhotoFile(photo.name, body, MEDIA_TYPES.get(suffix_of(photo), "application/octet-stream"))


def _digest(upload: ListingUpload, photos: Iterable[PhotoFile]) -> str:
    """Changes with the claims, the photos and their order; not with the files' names and places."""
    claims = json.dumps(upload.as_json(), sort_keys=True)
    return deterministic_id(claims, *(hashlib.sha256(photo.body).hexdigest() for photo in photos))


def _ended(upload: ListingUpload, effect: Effect, done: Done) -> Imported:
    return Imported(
        upload.reference,
        upload.seller_id,
        effect,
        done.listing_id,
        done.revision,
        done.photos,
        origin=upload.origin,
    )


def _failed(upload: ListingUpload, why: str) -> Imported:
    return Imported(upload.reference, upload.seller_id, Effect.FAILED, error=why, origin=upload.origin)
