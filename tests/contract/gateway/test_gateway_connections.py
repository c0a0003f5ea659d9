"""A client that dawdles is let go of: the gateway's server on a real socket, with real time."""

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from services.gateway.__main__ import UvicornServer, served
from services.gateway.app import create_app
from services.gateway.intake import Intake
from services.gateway.settings import GatewaySettings
from shared.photo_store import open_photo_store
from tests.gateway import FakeLookup, FakeProducer

HEADER_SECONDS = 1
SOON = 5 * HEADER_SECONDS  # for a machine that is busy
REQUEST = b"GET /openapi.json HTTP/1.1\r\nHost: gateway\r\n"
LISTING_BODY = (
    b"POST /v1/listings HTTP/1.1\r\nHost: gateway\r\nContent-Type: text/plain\r\nContent-Length: 1000\r\n\r\n"
)


@pytest.fixture
def decoders() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as pool:
        yield pool


@pytest.fixture
async def port(tmp_path: Path, decoders: ThreadPoolExecutor) -> AsyncIterator[int]:
    settings = GatewaySettings(header_seconds=HEADER_SECONDS, http_port=0, upload_seconds=3 * HEADER_SECONDS)
    intake = Intake(open_photo_store(str(tmp_path)), FakeProducer(), settings, decoders)
    server = UvicornServer(served(create_app(intake, FakeLookup(), settings), settings))
    listener = socket.create_server(("127.0.0.1", 0))
    serving = asyncio.create_task(server.serve([listener]))
    yield listener.getsockname()[1]
    server.should_exit = True
    await serving


class Client:
    """A connection by hand."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        with contextlib.suppress(ConnectionError):
            self.writer.write(data)
            await self.writer.drain()

    async def answer(self) -> bytes:
        """All of a small response."""
        async with asyncio.timeout(SOON):
            head = await self.reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            return head + await self.reader.readexactly(length)

    async def closed_after(self) -> float:
        """Seconds until the gateway closed it."""
        began = time.monotonic()
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(SOON):
                while await self.reader.read(65536):
                    pass
        return time.monotonic() - began


@pytest.fixture
async def client(port: int) -> AsyncIterator[Client]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    yield Client(reader, writer)
    writer.transport.abort()


async def dribble(client: Client, data: bytes) -> None:
    """One byte at a time, until told to stop."""
    for at in range(1_000_000):
        await client.send(data[at % len(data) :][:1])
        await asyncio.sleep(0.1)


@pytest.mark.parametrize("sent", [b"", b"G", b"GET /openapi.json HTTP/1.1\r\n", REQUEST])
async def test_a_client_that_falls_silent_within_its_headers_is_let_go_of(client: Client, sent: bytes) -> None:
    await client.send(sent)
    assert HEADER_SECONDS * 0.9 <= await client.closed_after() < SOON


@pytest.mark.parametrize("line", [b"X-a: b\r\n", b"a", b"\r\n"])
async def test_a_client_that_dribbles_headers_is_let_go_of(client: Client, line: bytes) -> None:
    if line != b"\r\n":
        await client.send(REQUEST)
    dribbling = asyncio.create_task(dribble(client, line))
    assert await client.closed_after() < SOON
    dribbling.cancel()


async def test_a_client_between_two_requests_is_let_go_of(client: Client) -> None:
    await client.send(REQUEST + b"\r\n")
    assert (await client.answer()).startswith(b"HTTP/1.1 200")
    await client.send(REQUEST)
    dribbling = asyncio.create_task(dribble(client, b"X-a: b\r\n"))
    assert await client.closed_after() < SOON
    dribbling.cancel()


async def test_a_client_that_sends_on_what_was_refused_is_let_go_of(client: Client) -> None:
    await client.send(LISTING_BODY)
    assert (await client.answer()).startswith(b"HTTP/1.1 415")
    dribbling = asyncio.create_task(dribble(client, b"x"))
    assert await client.closed_after() < SOON
    dribbling.cancel()


async def test_a_client_that_takes_no_answer_is_let_go_of(client: Client) -> None:
    client.reader._limit = 1  # type: ignore[attr-defined]  # and so asyncio reads no more than this of the socket
    pipelined = (b"GET /openapi.json HTTP/1.1\r\nHost: gateway\r\n\r\n") * 2000
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(4 * HEADER_SECONDS):
            await client.send(pipelined)
            await asyncio.sleep(4 * HEADER_SECONDS)
    client.reader._limit = 2**30  # type: ignore[attr-defined]
    assert await client.closed_after() < SOON


async def test_a_client_that_keeps_to_the_time_is_served_as_often_as_it_likes(client: Client) -> None:
    for _ in range(4):
        await client.send(REQUEST)
        await asyncio.sleep(HEADER_SECONDS * 0.5)
        await client.send(b"\r\n")
        assert (await client.answer()).startswith(b"HTTP/1.1 200")


async def test_a_body_may_take_longer_than_headers(client: Client) -> None:
    head = b"POST /v1/listings HTTP/1.1\r\nHost: gateway\r\nContent-Type: multipart/form-data; boundary=b\r\n"
    await client.send(head + b"Content-Length: 100\r\n\r\n--b\r\n")
    await asyncio.sleep(HEADER_SECONDS * 1.5)
    await client.send(b"x" * 95)
    assert (await client.answer()).startswith(b"HTTP/1.1 400")


async def test_many_pipelined_requests_are_all_answered(client: Client) -> None:
    await client.send((REQUEST + b"\r\n") * 20)
    for _ in range(20):
        assert (await client.answer()).startswith(b"HTTP/1.1 200")


async def test_half_open_connections_do_not_keep_others_from_being_answered(port: int) -> None:
    held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(50)]
    for _, writer in held:
        writer.write(REQUEST)
    began = time.monotonic()
    ends = await asyncio.gather(*(reader.read(1) for reader, _ in held), return_exceptions=True)
    assert time.monotonic() - began < SOON
    assert all(end == b"" or isinstance(end, ConnectionError) for end in ends)
    for _, writer in held:
        writer.close()
