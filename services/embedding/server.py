"""Embeds a shopper's photo over gRPC with the model that embeds the stream, in turn with its batches."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor
from contextlib import asynccontextmanager
from typing import TypeVar

import grpc
import structlog
from grpc import aio
from grpc_health.v1 import health as grpc_health
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from pydantic import Field
from vitrine.embedding.v1 import embedding_pb2, embedding_pb2_grpc

from shared.errors import OutOfMemory, Poison
from shared.grpc import server_options
from shared.limits import MAX_MESSAGE_BYTES
from shared.metrics import RPC_SECONDS
from shared.photos import Photo
from shared.settings import Port, Settings
from shared.vision.reader import Reader, photo_of

SERVICE = embedding_pb2.DESCRIPTOR.services_by_name["EmbeddingService"].full_name
METHOD = "EmbedPhoto"
# The photo, and a little for the message around it.
GRACE_SECONDS = 5.0

Context = aio.ServicerContext[embedding_pb2.EmbedPhotoRequest, embedding_pb2.EmbedPhotoResponse]
T = TypeVar("T")
log = structlog.get_logger()


class EmbeddingServerSettings(Settings):
    """Of the server that stands beside the embedding worker."""

    grpc_port: Port = Field(default=50052, description="Port of the EmbeddingService; 0 takes any free one")


class _Refused(Exception):
    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class EmbeddingServicer(embedding_pb2_grpc.EmbeddingServiceServicer):
    """Decodes on a CPU thread; the forward waits for the device's thread, so for one batch at most."""

    def __init__(self, reader: Reader, device: Executor) -> None:
        self._reader = reader
        self._device = device

    async def EmbedPhoto(  # noqa: N802
        self, request: embedding_pb2.EmbedPhotoRequest, context: Context
    ) -> embedding_pb2.EmbedPhotoResponse:
        """INVALID_ARGUMENT for what is no photo, RESOURCE_EXHAUSTED when the device has no memory for it."""
        started, code = time.perf_counter(), grpc.StatusCode.OK
        try:
            return await self._embed(request.photo, context)
        except _Refused as why:
            code = why.code
            await context.abort(why.code, why.message)
            raise
        except asyncio.CancelledError:
            left = context.time_remaining()
            passed = left is not None and left <= 0
            code = grpc.StatusCode.DEADLINE_EXCEEDED if passed else grpc.StatusCode.CANCELLED
            raise
        except Exception:
            code = grpc.StatusCode.INTERNAL
            log.exception("a photo could not be embedded")
            raise
        finally:
            RPC_SECONDS.labels(METHOD, code.name).observe(time.perf_counter() - started)

    async def _embed(self, body: bytes, context: Context) -> embedding_pb2.EmbedPhotoResponse:
        if not body:
            raise _Refused(grpc.StatusCode.INVALID_ARGUMENT, "photo is empty: send the bytes of a JPEG, PNG or WebP")
        photo = photo_of(body)
        try:
            await asyncio.to_thread(self._reader.prepare, photo)
            return await _on(self._device, lambda: self._answer(photo, context))
        except Poison as why:
            raise _Refused(grpc.StatusCode.INVALID_ARGUMENT, f"photo is {why.code}: {why.message}") from why
        except OutOfMemory as why:
            raise _Refused(grpc.StatusCode.RESOURCE_EXHAUSTED, "the device is out of memory: try again later") from why

    def _answer(self, photo: Photo, context: Context) -> embedding_pb2.EmbedPhotoResponse:
        # The caller may have given up while this waited for its turn: the stream needs the device more.
        if (left := context.time_remaining()) is not None and left <= 0:
            raise _Refused(grpc.StatusCode.DEADLINE_EXCEEDED, "the deadline passed before the device was free")
        vector = self._reader.vectors([photo])[0]
        return embedding_pb2.EmbedPhotoResponse(
            space=self._reader.space, vector=vector.tolist(), category=self._reader.categories([photo])[0]
        )


@asynccontextmanager
async def serve_embedding(
    reader: Reader, device: Executor, settings: Settings, port: int | None = None
) -> AsyncIterator[int]:
    """Serves while entered; yields the port. `port` 0 takes any free one, None that of VITRINE_GRPC_PORT.

    `device` is the one thread that touches the device. Raises OSError when the port is taken.
    """
    wanted = EmbeddingServerSettings().grpc_port if port is None else port
    server = aio.server(options=server_options(MAX_MESSAGE_BYTES))
    health = grpc_health.aio.HealthServicer()
    embedding_pb2_grpc.add_EmbeddingServiceServicer_to_server(EmbeddingServicer(reader, device), server)
    health_pb2_grpc.add_HealthServicer_to_server(health, server)
    reflection.enable_server_reflection([SERVICE, grpc_health.SERVICE_NAME, reflection.SERVICE_NAME], server)
    try:
        bound = server.add_insecure_port(f"{settings.host}:{wanted}")
    except RuntimeError as why:
        raise OSError(f"{settings.host}:{wanted} can't be listened on: {why}") from why
    await server.start()
    try:
        for service in ("", SERVICE):
            await health.set(service, health_pb2.HealthCheckResponse.SERVING)
        yield bound
    finally:
        await health.enter_graceful_shutdown()
        await asyncio.sleep(settings.drain_seconds)
        await server.stop(GRACE_SECONDS)


async def _on(executor: Executor, call: Callable[[], T]) -> T:
    return await asyncio.get_running_loop().run_in_executor(executor, call)
