"""What a lookup must do: the same facts on the fake and on a gRPC channel to a real server."""

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import Any, Protocol

import grpc
import pytest
from vitrine.events.v1 import enriched_pb2, image_pb2
from vitrine.recommendation.v1 import recommendation_pb2 as api
from vitrine.recommendation.v1 import recommendation_pb2_grpc as rpc

from services.gateway.lookup import Lookup, RecommendationClient
from services.recommendation.views import seen_by
from shared.errors import Transient
from shared.tracing import start_tracing, tracer
from tests.gateway import FakeLookup

KNOWN = enriched_pb2.EnrichedListing(
    listing_id="known",
    revision=7,
    status=enriched_pb2.EnrichedListing.STATUS_COMPLETE,
    fraud=image_pb2.Fraud(score=0.9, reasons=[image_pb2.Reason(code="copy", other_seller_id="victim")]),
)


class Scene(Protocol):
    """A lookup, and a way to take away what it asks."""

    @property
    def lookup(self) -> Lookup: ...

    async def go_away(self) -> None: ...


class OnFake:
    def __init__(self) -> None:
        self.lookup = FakeLookup()
        self.lookup.known["known"] = KNOWN

    async def go_away(self) -> None:
        self.lookup.away = True


class Recommendation(rpc.RecommendationServiceServicer):
    """Knows one listing, and never answers for another."""

    def __init__(self) -> None:
        self.metadata: dict[str, Any] = {}

    async def GetListing(  # noqa: N802  named by gRPC
        self, request: api.GetListingRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> api.GetListingResponse:
        self.metadata = dict(context.invocation_metadata() or ())
        if request.listing_id == "known":
            return api.GetListingResponse(listing=seen_by(KNOWN, request.view))
        if request.listing_id == "slow":
            await asyncio.Event().wait()
        await context.abort(grpc.StatusCode.NOT_FOUND, "no such listing")
        raise AssertionError("abort raises")


class OnServer:
    def __init__(self, server: grpc.aio.Server, service: Recommendation, client: RecommendationClient) -> None:
        self.lookup = client
        self.service = service
        self._server = server

    async def go_away(self) -> None:
        await self._server.stop(None)


@pytest.fixture
async def served() -> AsyncIterator[OnServer]:
    server, service = grpc.aio.server(), Recommendation()  # type: ignore[abstract]  # one call is enough here
    rpc.add_RecommendationServiceServicer_to_server(service, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    client = RecommendationClient(f"127.0.0.1:{port}", timeout_seconds=1)
    yield OnServer(server, service, client)
    await client.close()
    await server.stop(None)


@pytest.fixture(params=["fake", "server"])
def scene(request: pytest.FixtureRequest) -> Scene:
    if request.param == "fake":
        return OnFake()
    served: OnServer = request.getfixturevalue("served")
    return served


async def test_a_known_listing_comes_back_whole_to_a_reviewer(scene: Scene) -> None:
    assert await scene.lookup.get("known", "reviewer", "en") == KNOWN


async def test_the_view_goes_along(scene: Scene) -> None:
    seller, shopper = await scene.lookup.get("known", "seller", "en"), await scene.lookup.get("known", "shopper", "en")
    assert seller is not None and seller.HasField("fraud") and "victim" not in str(seller)
    assert shopper is not None and not shopper.HasField("fraud")


async def test_an_unknown_one_is_none(scene: Scene) -> None:
    assert await scene.lookup.get("unknown", "seller", "en") is None


async def test_a_service_that_is_away_is_transient(scene: Scene) -> None:
    await scene.go_away()
    with pytest.raises(Transient):
        await scene.lookup.get("known", "seller", "en")


async def test_no_answer_within_the_deadline_is_transient(served: OnServer) -> None:
    with pytest.raises(Transient, match="DEADLINE_EXCEEDED"):
        await served.lookup.get("slow", "seller", "en")


async def test_a_service_that_was_never_there_is_transient() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        client = RecommendationClient(f"127.0.0.1:{unused.getsockname()[1]}", timeout_seconds=1)
        with pytest.raises(Transient, match="UNAVAILABLE"):
            await client.get("known", "seller", "en")
        await client.close()


async def test_the_trace_goes_along(served: OnServer) -> None:
    start_tracing("gateway")
    with tracer.start_as_current_span("request") as span:
        await served.lookup.get("known", "seller", "en")
    assert f"{span.get_span_context().trace_id:032x}" in served.service.metadata["traceparent"]
