"""A shopper's photo over gRPC: embedded like the stream's, or refused with a reason."""

import asyncio
import struct
import threading
import zlib
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import Any

import grpc
import numpy as np
import pytest
import structlog
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from numpy.typing import NDArray
from PIL import Image
from structlog.exceptions import DropEvent
from structlog.typing import EventDict
from vitrine.embedding.v1 import embedding_pb2, embedding_pb2_grpc

from services.embedding.server import serve_embedding
from shared.errors import OutOfMemory
from shared.limits import MAX_PHOTO_BYTES
from shared.photos import Pixels
from shared.settings import Settings
from shared.tracing import current_trace_id, start_tracing
from shared.vision.pack import open_pack
from shared.vision.reader import Reader
from tests.fakes_vision import BUILTIN


class FakeTrunk:
    """Remembers the threads that called it."""

    def __init__(self) -> None:
        self.threads: set[str] = set()
        self.traces: set[str | None] = set()
        self.full = False
        self.breaks = False

    def features(self, inputs: list[Pixels]) -> NDArray[np.float32]:
        self.threads.add(threading.current_thread().name)
        self.traces.add(current_trace_id())
        if self.full:
            raise OutOfMemory("full")
        if self.breaks:
            raise ZeroDivisionError
        return np.stack(
            [np.random.default_rng(int(x.sum())).random(BUILTIN.trunk.widths.all, np.float32) for x in inputs]
        )


def jpeg() -> bytes:
    body = BytesIO()
    Image.new("RGB", (320, 240), "teal").save(body, "JPEG")
    return body.getvalue()


def chunk(kind: bytes, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload)) + kind + payload + struct.pack(">I", zlib.crc32(kind + payload))


def png(*chunks: bytes) -> bytes:
    """With these after its header, or with another header."""
    body = BytesIO()
    Image.new("RGB", (320, 240), "teal").save(body, "PNG")
    begin = 8 if chunks[0][4:8] == b"IHDR" else 33
    return body.getvalue()[:begin] + b"".join(chunks) + body.getvalue()[33:]


def many_scans() -> bytes:
    body = BytesIO()
    Image.new("RGB", (320, 240), "teal").save(body, "JPEG", progressive=True)
    whole = body.getvalue()
    return whole[:-2] + whole[whole.rindex(b"\xff\xc4") : -2] * 200 + b"\xff\xd9"


@pytest.fixture
def trunk() -> FakeTrunk:
    return FakeTrunk()


@pytest.fixture
def device() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, thread_name_prefix="device")


@pytest.fixture
async def channel(trunk: FakeTrunk, device: ThreadPoolExecutor) -> AsyncIterator[aio.Channel]:
    reader = Reader(trunk, open_pack("builtin"))  # type: ignore[arg-type]
    async with serve_embedding(reader, device, Settings(), port=0) as port:
        options = [("grpc.max_send_message_length", 64 * 1024 * 1024)]
        async with aio.insecure_channel(f"127.0.0.1:{port}", options=options) as channel:
            yield channel


async def embed(
    channel: aio.Channel, photo: bytes, timeout: float = 20, metadata: tuple[tuple[str, str], ...] = ()
) -> embedding_pb2.EmbedPhotoResponse:
    stub = embedding_pb2_grpc.EmbeddingServiceStub(channel)
    return await stub.EmbedPhoto(embedding_pb2.EmbedPhotoRequest(photo=photo), timeout=timeout, metadata=metadata)


async def refused(channel: aio.Channel, photo: bytes, timeout: float = 20) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(aio.AioRpcError) as why:
        await embed(channel, photo, timeout)
    return why.value.code(), why.value.details() or ""


async def test_a_photo_gets_a_unit_vector_its_space_and_a_category(channel: aio.Channel) -> None:
    found = await embed(channel, jpeg())
    assert found.space == BUILTIN.embedding.space
    assert np.linalg.norm(found.vector) == pytest.approx(1, abs=1e-4)
    assert 0 <= found.category.confidence <= 1


async def test_the_forward_runs_on_the_workers_device_thread(channel: aio.Channel, trunk: FakeTrunk) -> None:
    await asyncio.gather(*(embed(channel, jpeg()) for _ in range(5)))
    assert trunk.threads == {"device_0"}


async def test_the_callers_trace_goes_on_to_the_device_and_into_the_log(channel: aio.Channel, trunk: FakeTrunk) -> None:
    start_tracing("test")
    trace = "0af7651916cd43dd8448eb211c80319c"
    metadata = (("traceparent", f"00-{trace}-b7ad6b7169203331-01"),)
    await embed(channel, jpeg(), metadata=metadata)
    assert trunk.traces == {trace}
    trunk.breaks = True
    logged = []

    def note(_logger: object, _method: str, event: EventDict) -> EventDict:
        logged.append((event["event"], current_trace_id()))
        raise DropEvent

    before = structlog.get_config()
    structlog.configure(processors=[note], cache_logger_on_first_use=False)
    try:
        with pytest.raises(aio.AioRpcError):
            await embed(channel, jpeg(), metadata=metadata)
    finally:
        structlog.configure(**before)
    assert logged == [("call failed", trace)]


async def test_a_bug_is_logged_here_and_not_told_to_the_caller(channel: aio.Channel, trunk: FakeTrunk) -> None:
    trunk.breaks = True
    code, details = await refused(channel, jpeg())
    assert code is grpc.StatusCode.INTERNAL
    assert details == "a bug of ours: the server's log has the details"


@pytest.mark.parametrize(
    ("photo", "said"),
    [
        (b"", "empty"),
        (b"text named .jpg", "unreadable"),
        (jpeg()[:300], "unreadable"),
        (b"\0" * (MAX_PHOTO_BYTES + 1), "large"),
        (png(chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0))), "pixels"),
        (png(chunk(b"IHDR", struct.pack(">IIBBBBB", 40_000, 10, 8, 2, 0, 0, 0))), "a side"),
        (png(*[chunk(b"IDAT", b"")] * 10_001), "more than 10,000 chunks"),
        (png(*[chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(1_000_000)))] * 5), "texts"),
        (jpeg()[:2] + b"\xff\xfe\0\2" * 10_001 + jpeg()[2:], "more than 10,000 segments"),
        (many_scans(), "scans"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "unreadable"),
    ],
    ids=[
        "empty",
        "text",
        "truncated",
        "too large",
        "too many pixels",
        "too long",
        "too many chunks",
        "too many texts",
        "too many segments",
        "too many scans",
        "nothing in it",
    ],
)
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
async def test_what_the_gateway_would_not_take_is_an_invalid_argument_that_says_why(
    channel: aio.Channel, photo: bytes, said: str
) -> None:
    code, details = await refused(channel, photo)
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert said in details


async def test_a_full_device_is_not_the_photos_fault(channel: aio.Channel, trunk: FakeTrunk) -> None:
    trunk.full = True
    assert (await refused(channel, jpeg()))[0] is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_a_query_whose_deadline_passed_while_it_waited_never_reaches_the_trunk(
    channel: aio.Channel, trunk: FakeTrunk, device: ThreadPoolExecutor
) -> None:
    busy = threading.Event()
    device.submit(busy.wait)
    code, _ = await refused(channel, jpeg(), timeout=0.3)
    busy.set()
    await asyncio.wrap_future(device.submit(lambda: None))
    assert code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert trunk.threads == set()


async def test_health_is_serving_while_it_serves(channel: aio.Channel) -> None:
    stub: Any = health_pb2_grpc.HealthStub(channel)
    answer = await stub.Check(health_pb2.HealthCheckRequest(service="vitrine.embedding.v1.EmbeddingService"))
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_a_taken_port_is_said_at_start(device: ThreadPoolExecutor, trunk: FakeTrunk) -> None:
    reader = Reader(trunk, open_pack("builtin"))  # type: ignore[arg-type]
    async with serve_embedding(reader, device, Settings(), port=0) as port:
        with pytest.raises(OSError, match=str(port)):
            async with serve_embedding(reader, device, Settings(), port=port):
                pass
