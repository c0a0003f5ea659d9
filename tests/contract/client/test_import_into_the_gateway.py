"""What an import makes of the real gateway's answers, over real HTTP; broker and lookups are fakes."""

import asyncio
import socket
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from vitrine.events.v1 import enriched_pb2

from client.listing import Effect, Imported, ListingUpload
from client.uploading import import_listings
from services.gateway.app import create_app
from services.gateway.intake import Intake
from services.gateway.lookup import View
from services.gateway.settings import GatewaySettings
from shared.photo_store import open_photo_store
from shared.tracing import start_tracing
from tests.gateway import FakeProducer, form, photo


@dataclass
class Joined:
    """The lookups, as soon as they have joined all that was published."""

    producer: FakeProducer = field(default_factory=FakeProducer)

    async def get(self, listing_id: str, view: View, language: str) -> enriched_pb2.EnrichedListing | None:
        changes = [change for change in self.producer.changes if change.listing_id == listing_id]
        if not changes:
            return None
        latest = max(changes, key=lambda change: change.revision)
        return enriched_pb2.EnrichedListing(
            listing_id=listing_id,
            revision=latest.revision,
            seller_id=latest.listing.seller_id,
            claims=latest.listing.claims,
            photos=[enriched_pb2.EnrichedPhoto(photo=photo) for photo in latest.listing.photos],
        )


@dataclass
class RunningGateway:
    url: str
    joined: Joined


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[RunningGateway]:
    start_tracing("gateway")
    joined, settings = Joined(), GatewaySettings()
    with ThreadPoolExecutor(2) as decoders, socket.socket() as listening:
        intake = Intake(open_photo_store(str(tmp_path / "photos")), joined.producer, settings, decoders)
        app = create_app(intake, joined, settings)
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off"))
        serving = asyncio.create_task(server.serve([listening]))
        yield RunningGateway(f"http://127.0.0.1:{listening.getsockname()[1]}", joined)
        server.should_exit = True
        await serving


def tee(price: str = "19.90", photos: tuple[bytes, ...] = (), **changes: Any) -> ListingUpload:
    said: dict[str, Any] = {"title": " Tee [xl] 衬衫 ", "brand": "Bao", "price": price, "currency": "EUR"} | changes
    return ListingUpload("SKU-1", "s1", photos=photos or (photo(1), photo(2)), **said)


async def imported(gateway: RunningGateway, upload: ListingUpload) -> Imported:
    (one,) = await import_listings([upload], gateway.url)
    return one


async def test_without_any_state_each_outcome_is_told_as_it_is(gateway: RunningGateway) -> None:
    said = [
        (tee("19.90"), Effect.IMPORTED),
        (tee("19.9"), Effect.UNCHANGED),
        (tee("9.99"), Effect.UPDATED),
        (tee("19.90"), Effect.UPDATED),
        (tee("19.90", photos=(photo(2), photo(1))), Effect.UPDATED),
        (tee("19.90", photos=(photo(2), photo(1))), Effect.UNCHANGED),
        (tee("19.90", photos=(photo(2),)), Effect.UPDATED),
    ]
    ended = [await imported(gateway, upload) for upload, _ in said]
    assert [one.effect for one in ended] == [effect for _, effect in said], [one.error for one in ended]
    assert len({one.listing_id for one in ended}) == 1
    latest = await gateway.joined.get(ended[0].listing_id or "", "seller", "en")
    assert latest is not None and latest.claims.price.units == 19 and len(latest.photos) == 1


async def test_what_was_taken_down_stays_down_and_is_said(gateway: RunningGateway) -> None:
    first = await imported(gateway, tee())
    async with httpx.AsyncClient() as client:
        await client.delete(f"{gateway.url}/v1/listings/{first.listing_id}")
    again = await imported(gateway, tee())
    assert again.effect == Effect.FAILED
    assert "was taken down" in (again.error or "")


async def test_a_bad_photo_is_named(gateway: RunningGateway, tmp_path: Path) -> None:
    (tmp_path / "good.jpg").write_bytes(photo(1))
    (tmp_path / "照片.jpg").write_bytes(b"no photo at all")
    upload = ListingUpload("r", "s1", "t", (tmp_path / "good.jpg", tmp_path / "照片.jpg"))
    assert (await imported(gateway, upload)).error.startswith("照片.jpg: ")  # type: ignore[union-attr]


async def test_what_was_once_posted_with_a_key_of_the_reference_is_the_same_listing(gateway: RunningGateway) -> None:
    async with httpx.AsyncClient(base_url=gateway.url) as client:
        posted = await client.post(
            "/v1/listings",
            files=form({"seller_id": "s1", "title": "t"}, photo(1)),
            headers={"Idempotency-Key": tee().key},
        )
    again = await imported(gateway, tee())
    assert (again.listing_id, again.effect) == (posted.json()["listing_id"], Effect.UPDATED)


async def test_a_seller_with_a_character_that_nobody_sees_is_told_which(gateway: RunningGateway) -> None:
    said = (await imported(gateway, ListingUpload("SKU-1", "s1\u200b", "t", (photo(1),)))).error or ""
    assert "U+200B (ZERO WIDTH SPACE)" in said
