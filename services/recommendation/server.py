"""The lookups over gRPC, with health, reflection, deadlines and a metric for each call. Needs Redis, never Kafka."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import grpc
import structlog
from grpc import aio
from grpc_health.v1 import health as grpc_health
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from vitrine.embedding.v1 import embedding_pb2, embedding_pb2_grpc
from vitrine.recommendation.v1 import recommendation_pb2 as api
from vitrine.recommendation.v1 import recommendation_pb2_grpc

from services.recommendation.lookups import LookupRefused, Lookups
from services.recommendation.store import Records
from shared.errors import Transient
from shared.grpc import MAX_AGE_SECONDS, server_options
from shared.health import Health
from shared.limits import MAX_MESSAGE_BYTES
from shared.metrics import RPC_SECONDS
from shared.tracing import current_traceparent, extracted, tracer

log = structlog.get_logger()

SERVICE: str = api.DESCRIPTOR.services_by_name["RecommendationService"].full_name
# A photo and what surrounds it.
# Left to ourselves of a caller's deadline, to search with what was embedded.
KEPT_SECONDS = 0.2

PASSED_THROUGH = frozenset(
    {
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.UNAVAILABLE,
    }
)

Context: TypeAlias = "aio.ServicerContext[Any, Any]"


class EmbeddingClient:
    """The EmbeddingService, for photos of queries."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._channel = aio.insecure_channel(
            address,
            options=[
                ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
                # Behind a headless service this spreads the calls over all pods.
                ("grpc.lb_policy_name", "round_robin"),
            ],
        )
        self._stub = embedding_pb2_grpc.EmbeddingServiceStub(self._channel)

    async def embed(self, photo: bytes, timeout_seconds: float) -> embedding_pb2.EmbedPhotoResponse:
        """Raises LookupRefused with the service's own code where the caller can do something about it."""
        traceparent = current_traceparent()
        try:
            response: embedding_pb2.EmbedPhotoResponse = await self._stub.EmbedPhoto(
                embedding_pb2.EmbedPhotoRequest(photo=photo),
                timeout=max(0.0, timeout_seconds),
                metadata=[("traceparent", traceparent)] if traceparent else None,
            )
        except aio.AioRpcError as why:
            raise LookupRefused(*self._explained(why)) from why
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

    def __init__(self, lookups: Lookups, embedding: EmbeddingClient, rpc_seconds: float) -> None:
        self._lookups = lookups
        self._embedding = embedding
        self._rpc_seconds = rpc_seconds

    async def GetListing(  # noqa: N802
        self, request: api.GetListingRequest, context: Context
    ) -> api.GetListingResponse:
        return api.GetListingResponse(listing=await self._lookups.get(request.listing_id))

    async def BatchGetListings(  # noqa: N802
        self, request: api.BatchGetListingsRequest, context: Context
    ) -> api.BatchGetListingsResponse:
        return await self._lookups.batch(request.listing_ids)

    async def SimilarListings(  # noqa: N802
        self, request: api.SimilarListingsRequest, context: Context
    ) -> api.SimilarListingsResponse:
        hits = await self._lookups.similar(request.listing_id, request.limit, request.filter)
        return api.SimilarListingsResponse(hits=hits)

    async def SearchByPhoto(  # noqa: N802
        self, request: api.SearchByPhotoRequest, context: Context
    ) -> api.SearchByPhotoResponse:
        remaining = context.time_remaining()
        seconds = (self._rpc_seconds if remaining is None else remaining) - KEPT_SECONDS

        async def embed(photo: bytes) -> embedding_pb2.EmbedPhotoResponse:
            return await self._embedding.embed(photo, seconds)

        return api.SearchByPhotoResponse(
            hits=await self._lookups.by_photo(request.photo, request.limit, request.filter, embed)
        )


class Watched(aio.ServerInterceptor):
    """Times each call of our service, continues its trace, and turns what it raised into a status that helps."""

    def __init__(self, rpc_seconds: float) -> None:
        self._rpc_seconds = rpc_seconds

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        handler = await continuation(handler_call_details)
        service, _, method = handler_call_details.method.strip("/").partition("/")
        if handler is None or service != SERVICE:
            return handler

        async def watched(request: Any, context: Context) -> Any:
            started = time.perf_counter()
            # What is left when nobody sets another: the caller hung up.
            code, details, response = grpc.StatusCode.CANCELLED, "", None
            try:
                with tracer.start_as_current_span(method, context=extracted(_metadata(context))):
                    code, details, response = await self._answer(handler.unary_unary(request, context), context)
            except asyncio.CancelledError:
                if (left := context.time_remaining()) is not None and left <= 0:
                    code = grpc.StatusCode.DEADLINE_EXCEEDED
                raise
            finally:
                RPC_SECONDS.labels(method, code.name).observe(time.perf_counter() - started)
            if code != grpc.StatusCode.OK:
                await context.abort(code, details)
            return response

        return grpc.unary_unary_rpc_method_handler(watched, handler.request_deserializer, handler.response_serializer)

    async def _answer(self, call: Awaitable[Any], context: Context) -> tuple[grpc.StatusCode, str, Any]:
        # gRPC cancels us at the caller's deadline; a call without one gets ours.
        seconds = self._rpc_seconds if context.time_remaining() is None else None
        try:
            async with asyncio.timeout(seconds):
                return grpc.StatusCode.OK, "", await call
        except LookupRefused as why:
            return why.code, why.message, None
        except TimeoutError:
            return grpc.StatusCode.DEADLINE_EXCEEDED, f"not answered within {seconds} s", None
        except Transient as why:
            return grpc.StatusCode.UNAVAILABLE, f"{why}; try again", None
        except Exception:
            log.exception("call failed")
            return grpc.StatusCode.INTERNAL, "a bug of ours: the server's log has the details", None


def _metadata(context: Context) -> dict[str, bytes]:
    return {
        key: value if isinstance(value, bytes) else value.encode()
        for key, value in context.invocation_metadata() or ()
        if key in ("traceparent", "tracestate")
    }


class Server:
    """Listens as soon as it is started; healthy while Redis answers."""

    def __init__(
        self,
        records: Records,
        lookups: Lookups,
        embedding: EmbeddingClient,
        health: Health,
        rpc_seconds: float,
        max_age_seconds: float = MAX_AGE_SECONDS,
    ) -> None:
        self._records = records
        self._health = health
        self._servicer = grpc_health.aio.HealthServicer()
        self._server = aio.server(
            interceptors=[Watched(rpc_seconds)],
            options=server_options(MAX_MESSAGE_BYTES, max_age_seconds),
        )
        service = RecommendationService(lookups, embedding, rpc_seconds)
        recommendation_pb2_grpc.add_RecommendationServiceServicer_to_server(service, self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._servicer, self._server)
        reflection.enable_server_reflection([SERVICE, grpc_health.SERVICE_NAME, reflection.SERVICE_NAME], self._server)

    async def start(self, address: str) -> int:
        """Returns the port, useful when 0 was asked for any free one; raises RuntimeError when it is taken."""
        port = self._server.add_insecure_port(address)
        await self._tell(health_pb2.HealthCheckResponse.NOT_SERVING)
        await self._server.start()
        self._health.needs("redis")
        self._health.started()
        await self.check()
        return int(port)

    async def check(self) -> None:
        """Says to both kinds of probe whether lookups can be answered now."""
        try:
            async with asyncio.timeout(2.0):
                await self._records.ping()
        except (Transient, TimeoutError) as why:
            self._health.not_ready("redis", f"Redis does not answer: {why}")
            await self._tell(health_pb2.HealthCheckResponse.NOT_SERVING)
        else:
            self._health.ready("redis")
            await self._tell(health_pb2.HealthCheckResponse.SERVING)

    async def keep_checking(self, every_seconds: float = 2.0) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(every_seconds)
            await self.check()

    async def stop(self, grace_seconds: float, drain_seconds: float = 0.0) -> None:
        """Says that it goes, takes calls for `drain_seconds` all the same, then lets those under way finish."""
        self._health.not_ready("stopping", "told to stop")
        await self._servicer.enter_graceful_shutdown()
        await asyncio.sleep(drain_seconds)
        await self._server.stop(grace_seconds)

    async def _tell(self, status: Any) -> None:
        for name in ("", SERVICE):
            await self._servicer.set(name, status)
