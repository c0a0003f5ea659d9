"""Sends a catalogue through a running fleet and follows every listing until its answers have settled."""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import grpc
from confluent_kafka import KafkaException
from vitrine.events.v1 import enriched_pb2

from client.listing import Imported, ListingUpload
from client.state import State, state_path
from client.uploading import import_listings
from local.answers import RecommendationClient, correct, faults, is_complete
from local.answers import Schema as Pack
from local.catalogue import Catalogue, Offer
from local.fleet import Fleet
from shared.errors import Transient
from shared.stream.admin import admin
from shared.stream.offsets import standings
from shared.topics import group_of
from studio import Expected

_LOOK_EVERY_SECONDS = 0.5
# Nothing became complete for so long: what is still missing is stuck, or a service keeps dying.
PATIENCE_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one listing: how it was imported, what was found, and what should have been."""

    imported: Imported
    listing: enriched_pb2.EnrichedListing | None  # None while nothing is joined
    expected: Expected | None = None

    def faults(self, pack: Pack) -> list[str]:
        """Why this is not one current record with four valid facets for each photo; empty when it is."""
        if self.imported.error:
            return [self.imported.error]
        if self.listing is None:
            return ["not joined"]
        joined = [photo.photo.sha256 for photo in self.listing.photos]
        wanted = list(dict.fromkeys(self.imported.photos))
        return ([] if joined == wanted else ["not the photos that were uploaded"]) + list(faults(self.listing, pack))

    def correct(self) -> dict[str, bool] | None:
        """Each answer whose truth is known; None when none is."""
        if self.expected is None:
            return None
        return {} if self.listing is None else correct(self.listing, self.expected)


@dataclass
class Progress:
    """Called as listings are accepted by the gateway, and as they become complete."""

    uploaded: Callable[[Imported], None] = lambda _: None
    completed: Callable[[int], None] = lambda _: None
    settling: Callable[[], None] = lambda: None


@dataclass
class _Followed:
    accepted: dict[str, int] = field(default_factory=dict)  # listing id to revision
    complete: dict[str, enriched_pb2.EnrichedListing] = field(default_factory=dict)

    @property
    def waiting(self) -> list[str]:
        return [listing_id for listing_id in self.accepted if listing_id not in self.complete]


async def send(
    fleet: Fleet,
    catalogue: Catalogue,
    lookups: RecommendationClient,
    progress: Progress | None = None,
    patience_seconds: float = PATIENCE_SECONDS,
) -> list[Answer]:
    """Imports the catalogue and waits until everything accepted is complete, or nothing has moved for the patience.

    The answers come in the catalogue's order. What an earlier run imported is not uploaded again.
    """
    progress = progress or Progress()
    expected: dict[tuple[str, str], Expected | None] = {}
    followed = _Followed()

    def accepted(one: Imported) -> None:
        if one.listing_id is not None and one.revision is not None and not one.error:
            followed.accepted[one.listing_id] = one.revision
        progress.uploaded(one)

    # Not by the gateway's address: free ports differ from run to run.
    state = State.open(state_path(fleet.plan.home, "embedded"))
    try:
        async with asyncio.TaskGroup() as group:
            uploads = _remembering(catalogue.offers, expected)
            importing = group.create_task(
                import_listings(
                    uploads, fleet.plan.gateway_url, accepted, state=state, concurrency=catalogue.uploads_at_once
                )
            )
            following = group.create_task(_follow(lookups, followed, importing, progress, patience_seconds))
    finally:
        state.close()
    await following
    progress.settling()
    await settled(fleet)
    listings = await lookups.listings(followed.accepted)
    return [
        Answer(one, listings.get(one.listing_id or ""), expected[one.seller_id, one.reference])
        for one in importing.result()
    ]


async def settled(fleet: Fleet, seconds: float = 60.0) -> bool:
    """Waits until every group has worked off all there is: a late original changes what was said of its copies.

    False when that did not happen in time.
    """
    client = admin(fleet.kafka)
    groups = [group_of(name) for name in (*fleet.plan.workers, "join")]
    deadline = time.monotonic() + seconds
    quiet = 0
    while time.monotonic() < deadline:
        try:
            read = await asyncio.to_thread(standings, client, fleet.kafka, groups)
        except (Transient, KafkaException):  # it is just being started again
            quiet = 0
        else:
            # Twice in a row: between two readings a worker may have handed its results to the join.
            quiet = quiet + 1 if not any(one.lag for one in read if one.group in groups) else 0
        if quiet == 2:
            return True
        await asyncio.sleep(_LOOK_EVERY_SECONDS)
    return False


def _remembering(offers: Iterator[Offer], expected: dict[tuple[str, str], Expected | None]) -> Iterator[ListingUpload]:
    for offer in offers:
        expected[offer.upload.seller_id, offer.upload.reference] = offer.expected
        yield offer.upload


async def _follow(
    lookups: RecommendationClient,
    followed: _Followed,
    importing: asyncio.Task[Sequence[Imported]],
    progress: Progress,
    patience_seconds: float,
) -> None:
    moved = time.monotonic()
    seen = (0, 0)
    while not (importing.done() and not followed.waiting):
        for listing_id, listing in (await _asked(lookups, followed.waiting)).items():
            if is_complete(listing, followed.accepted[listing_id]):
                followed.complete[listing_id] = listing
        progress.completed(len(followed.complete))
        now = (len(followed.accepted), len(followed.complete))
        if now != seen:
            seen, moved = now, time.monotonic()
        elif importing.done() and time.monotonic() - moved > patience_seconds:
            return
        await asyncio.sleep(_LOOK_EVERY_SECONDS)


async def _asked(lookups: RecommendationClient, listing_ids: Sequence[str]) -> dict[str, enriched_pb2.EnrichedListing]:
    """Nothing while the lookups, or their Redis, are being started again."""
    try:
        return await lookups.listings(listing_ids)
    except grpc.aio.AioRpcError as why:
        if why.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
            return {}
        raise
