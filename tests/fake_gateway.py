"""A gateway that keeps the real one's promises over real HTTP: revisions, keys, removals, and what it holds."""

import asyncio
import hashlib
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route


@dataclass
class FakeGateway:
    """`failures` are status codes to answer first, `refuses` titles to refuse, `removed` ids that were taken down."""

    url: str = ""
    listings: dict[str, dict[str, Any]] = field(default_factory=dict)  # by listing id
    by_key: dict[str, dict[str, Any]] = field(default_factory=dict)
    failures: list[int] = field(default_factory=list)
    retry_after: int = 0  # seconds, told with each of them
    refuses: set[str] = field(default_factory=set)
    removed: set[str] = field(default_factory=set)
    lookups_away: bool = False
    refused_sellers: set[str] = field(default_factory=set)
    joined: bool = True
    ids_asked: int = 0
    uploads: int = 0
    at_once: int = 0
    most_at_once: int = 0

    def price(self, listing_id: str | None) -> str:
        return str(self.listings[listing_id or ""]["listing"]["price"]["amount"])

    async def get(self, request: Request) -> JSONResponse:
        listing_id = request.path_params["listing_id"]
        if self.lookups_away:
            return JSONResponse({"type": "urn:vitrine:problem:lookup-unavailable", "title": "Lookups are away"}, 503)
        if listing_id not in self.listings or listing_id in self.removed:
            return JSONResponse({"type": "urn:vitrine:problem:no-such-listing", "title": "No such listing"}, 404)
        if not self.joined:
            return JSONResponse({"listing_id": listing_id, "status": "pending", "attributes": [], "photos": []})
        held = self.listings[listing_id]
        claims: dict[str, Any] = {
            name: str(held["listing"].get(name, "")).strip() for name in ("title", "category", "brand")
        }
        claims["price"] = held["listing"].get("price")
        photos = [{"photo": photo, "missing": []} for photo in held["photos"]]
        found = {"listing_id": listing_id, "revision": held["revision"], "claims": claims, "photos": photos}
        return JSONResponse(found | {"status": "complete"})

    async def listing_id(self, request: Request) -> JSONResponse:
        self.ids_asked += 1
        asked = request.query_params
        if asked["seller_id"] in self.refused_sellers:
            return JSONResponse({"title": "The request is wrong", "detail": "seller_id: Has U+200B"}, 422)
        said = f"{asked['seller_id']} {asked['key']}"
        return JSONResponse({"listing_id": hashlib.sha256(said.encode()).hexdigest()[:32]})

    async def put(self, request: Request) -> JSONResponse:
        self.uploads += 1
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await asyncio.sleep(0)
            return await self._answer(request, request.path_params["listing_id"])
        finally:
            self.at_once -= 1

    async def _answer(self, request: Request, listing_id: str) -> JSONResponse:
        if self.failures:
            return JSONResponse({"title": "Broker away"}, self.failures.pop(0), {"Retry-After": str(self.retry_after)})
        if listing_id in self.removed:
            return JSONResponse({"title": "The listing was taken down", "detail": "A removal is final."}, 410)
        form = await request.form()
        said = form["listing"]
        assert isinstance(said, UploadFile)
        listing = json.loads(await said.read())
        if listing["title"] in self.refuses:
            where = {"part": "photos", "index": 0}
            refusal = {"title": "Not a photo", "detail": "photo 1 is empty; send a JPEG", "where": where}
            return JSONResponse(refusal, 422)
        key = request.headers["idempotency-key"]
        if key not in self.by_key:
            bodies = [await part.read() for part in form.getlist("photos") if isinstance(part, UploadFile)]
            revision = self.listings.get(listing_id, {}).get("revision", 0) + 1
            photos = [{"sha256": hashlib.sha256(body).hexdigest()} for body in bodies]
            self.listings[listing_id] = {"listing": listing, "revision": revision, "photos": photos}
            self.by_key[key] = {"listing_id": listing_id, "revision": revision, "photos": photos, "status": "pending"}
        return JSONResponse(self.by_key[key], 202)


@contextmanager
def serving() -> Iterator[FakeGateway]:
    fake = FakeGateway()
    app = Starlette(
        routes=[
            Route("/v1/listing-id", fake.listing_id, methods=["GET"]),
            Route("/v1/listings/{listing_id}", fake.get, methods=["GET"]),
            Route("/v1/listings/{listing_id}", fake.put, methods=["PUT"]),
        ]
    )
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        fake.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        yield fake
        server.should_exit = True
        thread.join()
