"""Asks the recommendation service, over gRPC."""

from typing import Literal, Protocol

import grpc
from vitrine.events.v1 import enriched_pb2
from vitrine.recommendation.v1 import recommendation_pb2 as api
from vitrine.recommendation.v1 import recommendation_pb2_grpc as rpc

from shared.errors import Transient
from shared.grpc import channel

View = Literal["shopper", "seller", "reviewer"]

_VIEWS: "dict[View, api.View.ValueType]" = {
    "shopper": api.VIEW_SHOPPER,
    "seller": api.VIEW_SELLER,
    "reviewer": api.VIEW_REVIEWER,
}


class Lookup(Protocol):
    async def get(self, listing_id: str, view: View, language: str) -> enriched_pb2.EnrichedListing | None:
        """As this view sees it, categories named in the language (BCP 47).

        None when there is no such listing; raises Transient when nobody can tell.
        """
        ...


class RecommendationClient:
    """A Lookup over one channel, shared by all requests."""

    def __init__(self, address: str, timeout_seconds: float) -> None:
        self._channel = channel(address)
        self._service = rpc.RecommendationServiceStub(self._channel)
        self._timeout_seconds = timeout_seconds

    async def get(self, listing_id: str, view: View, language: str) -> enriched_pb2.EnrichedListing | None:
        request = api.GetListingRequest(listing_id=listing_id, view=_VIEWS[view], language=language)
        try:
            answer = await self._service.GetListing(request, timeout=self._timeout_seconds)
        except grpc.aio.AioRpcError as why:
            if why.code() == grpc.StatusCode.NOT_FOUND:
                return None
            raise Transient(f"the recommendation service answers {why.code().name}: {why.details()}") from why
        return answer.listing

    async def close(self) -> None:
        await self._channel.close()
