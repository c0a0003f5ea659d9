"""The lookups over gRPC, with health, reflection, deadlines and a metric for each call. Needs Redis, never Kafka."""

import asyncio

import grpc
from grpc import aio
from vitrine.embedding.v1 import embedding_pb2, embedding_pb2_grpc
from vitrine.recommendation.v1 import recommendation_pb2 as api
from vitrine.recommendation.v1 import recommendation_pb2_grpc

from services.recommendation.lookups import Found, Lookups
from services.recommendation.names import name_categories
from services.recommendation.settings import ServeSettings
from services.recommendation.store import Records
from services.recommendation.views import SHOPPER, seen_by, what_is_wrong_with
from shared.errors import Transient
from shared.grpc import MAX_AGE_SECONDS, MAX_QUESTION_BYTES, Bounds, Context, GrpcServer, Refusal, channel, too_long
from shared.health import Health
from shared.metrics import INCOMPLETE_SEARCHES
from shared.product_taxonomy import language_of

SERVICE: str = api.DESCRIPTOR.services_by_name["RecommendationService"].full_name
# Left to ourselves of a caller's deadline, to search with what was embedded.
KEPT_SECONDS = 0.2
# Sent after an answer that may lack hits, because looking for them ended at a cap.
INCOMPLETE = (("vitrine-incomplete", "true"),)
TAKES_PHOTO = frozenset({"SearchByPhoto"})

PASSED_THROUGH = frozenset(
    {
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.UNAVAILABLE,
    }
)


def bounds_of(settings: ServeSettings) -> Bounds:
    """What callers may have under way."""
    return Bounds(calls=settings.max_calls, photo_bytes=settings.query_memory_bytes, seconds=settings.rpc_seconds)


class EmbeddingClient:
    """The EmbeddingService, for photos of queries."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._channel = channel(address)
        self._stub = embedding_pb2_grpc.EmbeddingServiceStub(self._channel)

    async def embed(self, photo: bytes, timeout_seconds: float) -> embedding_pb2.EmbedPhotoResponse:
        """Raises Refusal with the service's own code where the caller can do something about it."""
        request = embedding_pb2.EmbedPhotoRequest(photo=photo)
        try:
            response: embedding_pb2.EmbedPhotoResponse = await self._stub.EmbedPhoto(
                request, timeout=max(0.0, timeout_seconds)
            )
        except aio.AioRpcError as why:
            raise Refusal(*self._explained(why)) from why
        return response

    async def close(self) -> None:
        await self._channel.close()

    def _explained(self, why: aio.AioRpcError) -> tuple[grpc.StatusCode, str]:
        code, details = why.code(), why.details() or "no details"
        if code == grpc.StatusCode.INVALID_ARGUMENT:
            return code, details
        if code == grpc.StatusCode.UNAVAILABLE:
            return code, f"the embedding service at {self._address} is away; try again: {details}"
        if code == grpc.StatusCode.DEADLINE_EXCEEDED:
            return code, "the photo was not embedded within the deadline; give the call more time"
        code = code if code in PASSED_THROUGH else grpc.StatusCode.INTERNAL
        return code, f"the embedding service failed: {details}"


class RecommendationService(recommendation_pb2_grpc.RecommendationServiceServicer):
    """Translates calls to Lookups and back."""

    def __init__(self, lookups: Lookups, embedding: EmbeddingClient, seconds: float) -> None:
        self._lookups = lookups
        self._embedding = embedding
        self._seconds = seconds

    async def GetListing(  # noqa: N802
        self, request: api.GetListingRequest, context: Context
    ) -> api.GetListingResponse:
        _check_view(request.view)
        language = language_of(request.language)
        return api.GetListingResponse(listing=await self._lookups.get(request.listing_id, request.view, language))

    async def BatchGetListings(  # noqa: N802
        self, request: api.BatchGetListingsRequest, context: Context
    ) -> api.BatchGetListingsResponse:
        _check_view(request.view)
        return await self._lookups.batch(request.listing_ids, request.view, language_of(request.language))

    async def SimilarListings(  # noqa: N802
        self, request: api.SimilarListingsRequest, context: Context
    ) -> api.SimilarListingsResponse:
        found = await self._lookups.similar(request.listing_id, request.limit, request.filter)
        return api.SimilarListingsResponse(hits=_told(found, language_of(request.language), context))

    async def SearchByPhoto(  # noqa: N802
        self, request: api.SearchByPhotoRequest, context: Context
    ) -> api.SearchByPhotoResponse:
        remaining = context.time_remaining()
        seconds = (self._seconds if remaining is None else min(remaining, self._seconds)) - KEPT_SECONDS

        async def embed(photo: bytes) -> embedding_pb2.EmbedPhotoResponse:
            return await self._embedding.embed(photo, seconds)

        found = await self._lookups.by_photo(request.photo, request.limit, request.filter, embed)
        return api.SearchByPhotoResponse(hits=_told(found, language_of(request.language), context))


def _told(found: Found, language: str, context: Context) -> list[api.Hit]:
    """The hits, as far as they are for shoppers, in one of LANGUAGES.

    Whether there may be more goes with the trailing metadata.
    """
    if not found.complete:
        INCOMPLETE_SEARCHES.inc()
        context.set_trailing_metadata(INCOMPLETE)
    return [
        api.Hit(listing=name_categories(seen, language), similarity=hit.similarity)
        for hit in found.hits
        if (seen := seen_by(hit.listing, SHOPPER)) is not None
    ]


def check_size(method: str, message: bytes) -> None:
    """Raises Refusal for a search with more beside its photo than a filter may have, before it is parsed.

    Parsed, ten million empty names have 20 bytes each. EmbedPhotoRequest has the photo in the same field and leaves the
    others as they are.
    """
    if method in TAKES_PHOTO and len(message) > MAX_QUESTION_BYTES:
        rest = embedding_pb2.EmbedPhotoRequest.FromString(message)
        rest.ClearField("photo")
        if (size := rest.ByteSize()) > MAX_QUESTION_BYTES:
            raise too_long(size)


def _check_view(view: int) -> None:
    """Before anything is looked up."""
    if wrong := what_is_wrong_with(view):
        raise Refusal(grpc.StatusCode.INVALID_ARGUMENT, wrong)


class LookupServer:
    """Listens as soon as it is started; healthy while Redis answers."""

    def __init__(
        self,
        records: Records,
        lookups: Lookups,
        embedding: EmbeddingClient,
        health: Health,
        bounds: Bounds,
        max_age_seconds: float = MAX_AGE_SECONDS,
    ) -> None:
        self._records = records
        self._health = health
        service = RecommendationService(lookups, embedding, bounds.seconds)
        self._server = GrpcServer(
            SERVICE,
            lambda to: recommendation_pb2_grpc.add_RecommendationServiceServicer_to_server(service, to),
            bounds=bounds,
            takes_photo=TAKES_PHOTO,
            check=check_size,
            max_age_seconds=max_age_seconds,
        )

    async def start(self, host: str, port: int) -> int:
        """Returns the port, useful when 0 was asked for any free one. Raises CannotListen."""
        bound = await self._server.start(host, port)
        self._health.needs("redis")
        self._health.started()
        await self.check()
        return bound

    async def check(self) -> None:
        """Says to both kinds of probe whether lookups can be answered now."""
        try:
            async with asyncio.timeout(2.0):
                await self._records.ping()
        except (Transient, TimeoutError) as why:
            self._health.not_ready("redis", f"Redis does not answer: {why}")
            await self._server.healthy(False)
        else:
            self._health.ready("redis")
            await self._server.healthy(True)

    async def keep_checking(self, every_seconds: float = 2.0) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(every_seconds)
            await self.check()

    async def stop(self, grace_seconds: float, drain_seconds: float = 0.0) -> None:
        """As shared.grpc.GrpcServer's, and the probes over HTTP are told too."""
        self._health.not_ready("stopping", "told to stop")
        await self._server.stop(grace_seconds, drain_seconds)
