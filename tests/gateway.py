"""What the gateway's tests share: photos, forms, and fakes of what stands around it."""

import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

import httpx
import numpy as np
from PIL import Image
from vitrine.events.v1 import enriched_pb2, image_pb2, listing_pb2

from services.gateway.lookup import View
from services.recommendation.names import name_categories
from services.recommendation.views import REVIEWER, SELLER, SHOPPER, seen_by
from shared.errors import Transient
from shared.events import Event
from shared.topics import IMAGE_UPLOADED, LISTING_CHANGED, Topic

CLAIMS: Mapping[str, Any] = {
    "seller_id": "seller-42",
    "title": "Blue cotton t-shirt",
    "category": "t-shirt",
    "brand": "Acme",
    "price": {"amount": "19.99", "currency": "EUR"},
}

_VIEWS: Mapping[View, int] = {"shopper": SHOPPER, "seller": SELLER, "reviewer": REVIEWER}

Part = tuple[str, tuple[str | None, bytes, str]]


class FakeProducer:
    """A broker that acknowledges everything, until told that it is away, or dies before a topic's first event."""

    def __init__(self) -> None:
        self.sent: list[Event] = []
        self.away = False
        self.dies_before: Topic | None = None

    async def send(self, events: Sequence[Event]) -> None:
        if self.away or any(event.topic is self.dies_before for event in events):
            raise Transient("the broker is away")
        self.sent.extend(events)

    @property
    def topics(self) -> list[str]:
        return [event.topic.name for event in self.sent]

    @property
    def changes(self) -> list[listing_pb2.ListingChanged]:
        values = [event.value for event in self.sent if event.topic is LISTING_CHANGED]
        return [listing_pb2.ListingChanged.FromString(value) for value in values]

    @property
    def uploads(self) -> list[image_pb2.ImageUploaded]:
        values = [event.value for event in self.sent if event.topic is IMAGE_UPLOADED]
        return [image_pb2.ImageUploaded.FromString(value) for value in values]


class FakeLookup:
    """A recommendation service that knows what it is told, and tells each view what it may see."""

    def __init__(self) -> None:
        self.known: dict[str, enriched_pb2.EnrichedListing] = {}
        self.away = False

    async def get(self, listing_id: str, view: View, language: str) -> enriched_pb2.EnrichedListing | None:
        if self.away:
            raise Transient("the recommendation service is away")
        known = self.known.get(listing_id)
        seen = None if known is None else seen_by(known, _VIEWS[view])
        return None if seen is None else name_categories(seen, language)


def photo(seed: int = 0, size: tuple[int, int] = (64, 48), kind: str = "JPEG", **options: Any) -> bytes:
    """A photo that no other seed gives."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, kind, **options)
    return out.getvalue()


def listing_part(claims: Mapping[str, Any] | bytes) -> Part:
    body = claims if isinstance(claims, bytes) else json.dumps(claims).encode()
    return ("listing", (None, body, "application/json"))


def photo_part(body: bytes, filename: str = "front.jpg", media_type: str = "image/jpeg") -> Part:
    return ("photos", (filename, body, media_type))


def form(claims: Mapping[str, Any] | bytes = CLAIMS, *photos: bytes) -> list[Part]:
    """Parts as httpx takes them for `files`; photos are named 0.jpg, 1.jpg, …"""
    return [listing_part(claims), *(photo_part(body, f"{n}.jpg") for n, body in enumerate(photos))]


def problem(response: httpx.Response) -> str:
    """The code of a well-formed problem detail."""
    assert response.headers["content-type"] == "application/problem+json", response.text
    told = response.json()
    assert told["status"] == response.status_code
    assert told["title"] and told["detail"].endswith(".") and told["remedy"].endswith("."), told
    return str(told["type"].removeprefix("urn:vitrine:problem:"))
