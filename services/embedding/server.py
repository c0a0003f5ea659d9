"""Embeds a shopper's photo over gRPC with the model that embeds the stream, in turn with its batches."""

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor
from contextlib import asynccontextmanager
from contextvars import copy_context
from typing import TypeVar

import grpc
from pydantic import Field
from vitrine.embedding.v1 import embedding_pb2, embedding_pb2_grpc

from shared.errors import OutOfMemory, Poison
from shared.grpc import Bounds, Context, GrpcServer, Refusal, deadline_passed
from shared.photo_formats import NAMES
from shared.photos import Photo
from shared.settings import Port, Settings
from shared.vision.reader import Reader, photo_of

SERVICE = embedding_pb2.DESCRIPTOR.services_by_name["EmbeddingService"].full_name
GRACE_SECONDS = 5.0

T = TypeVar("T")


class EmbeddingServerSettings(Settings):
    """Settings of the server that stands beside the embedding worker."""

    grpc_port: Port = Field(default=50052, description="Port of the EmbeddingService; 0 takes any free one")


class EmbeddingServicer(embedding_pb2_grpc.EmbeddingServiceServicer):
    """Decodes on a CPU thread; the forward waits for a thread of the device's, so for one batch at most."""

    def __init__(self, reader: Reader, device: Executor) -> None:
        self._reader = reader
        self._device = device

    async def EmbedPhoto(  # noqa: N802
        self, request: embedding_pb2.EmbedPhotoRequest, context: Context
    ) -> embedding_pb2.EmbedPhotoResponse:
        """INVALID_ARGUMENT for what is no photo, RESOURCE_EXHAUSTED when the device has no memory for it."""
        body = request.photo
        if not body:
            raise Refusal(grpc.StatusCode.INVALID_ARGUMENT, f"photo is empty: send the bytes of one photo ({NAMES})")
        photo = photo_of(body)
        try:
            await asyncio.to_thread(self._reader.prepare, photo)
            return await _on(self._device, lambda: self._answer(photo, context))
        except Poison as why:
            raise Refusal(grpc.StatusCode.INVALID_ARGUMENT, f"photo is {why.code}: {why.message}") from why
        except OutOfMemory as why:
            raise Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, "the device is out of memory: try again later") from why

    def _answer(self, photo: Photo, context: Context) -> embedding_pb2.EmbedPhotoResponse:
        # The caller may have given up while this waited for its turn: the stream needs the device more.
        if deadline_passed(context):
            raise Refusal(grpc.StatusCode.DEADLINE_EXCEEDED, "the deadline passed before the device was free")
        vector = self._reader.vectors([photo])[0]
        return embedding_pb2.EmbedPhotoResponse(
            space=self._reader.space, vector=vector.tolist(), category=self._reader.categories([photo])[0]
        )


@asynccontextmanager
async def serve_embedding(
    reader: Reader, device: Executor, settings: Settings, port: int | None = None
) -> AsyncIterator[int]:
    """Serves while entered; yields the port. `port` 0 takes any free one, None that of VITRINE_GRPC_PORT.

    `device` has the threads that touch the device. Raises CannotListen.
    """
    wanted = EmbeddingServerSettings().grpc_port if port is None else port
    servicer = EmbeddingServicer(reader, device)
    server = GrpcServer(
        SERVICE,
        lambda to: embedding_pb2_grpc.add_EmbeddingServiceServicer_to_server(servicer, to),
        bounds=Bounds(),
        takes_photo={"EmbedPhoto"},
    )
    bound = await server.start(settings.host, wanted)
    await server.healthy(True)
    try:
        yield bound
    finally:
        await server.stop(GRACE_SECONDS, settings.drain_seconds)


async def _on(executor: Executor, call: Callable[[], T]) -> T:
    # Unlike asyncio.to_thread an executor leaves the context behind, and with it the trace.
    return await asyncio.get_running_loop().run_in_executor(executor, copy_context().run, call)
