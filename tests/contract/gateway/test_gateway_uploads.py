"""Callers who stall, dribble, crowd or crumble keep nobody else from uploading: the gateway's server on a real socket.

Each caller has an address of its own on the loopback network.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.gateway.__main__ import UvicornServer, listening, served
from services.gateway.app import create_app
from services.gateway.intake import Intake
from services.gateway.settings import GatewaySettings
from shared.health import Health, serve_health
from shared.photo_store import open_photo_store
from tests.gateway import CLAIMS, FakeLookup, FakeProducer, form, photo
from tests.probing import asked

MIB = 1024 * 1024
THIEF, ACCOMPLICE, OTHER = "127.0.0.2", "127.0.0.3", "127.0.0.4"
HEAD = b"POST /v1/listings HTTP/1.1\r\nHost: gateway\r\nContent-Type: multipart/form-data; boundary=b\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
PHOTO = b'--b\r\nContent-Disposition: form-data; name="photos"; filename="x"\r\n\r\n'
# One largest body has two photos of 1 MiB and 128 KiB beside; one caller may hold so much of 4 MiB.
SMALL = {
    "http_port": 0,
    "max_photos": 2,
    "max_photo_bytes": MIB,
    "upload_memory_bytes": 4 * MIB,
}


@pytest.fixture
def decoders() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as pool:
        yield pool


@pytest.fixture
def given() -> dict[str, Any]:
    """What is set otherwise."""
    return {}


@pytest.fixture
async def port(tmp_path: Path, decoders: ThreadPoolExecutor, given: dict[str, Any]) -> AsyncIterator[int]:
    settings = GatewaySettings(**{**SMALL, **given})
    intake = Intake(open_photo_store(str(tmp_path)), FakeProducer(), settings, decoders)
    server = UvicornServer(served(create_app(intake, FakeLookup(), settings), settings))
    with listening("127.0.0.1", 0) as listener:
        serving = asyncio.create_task(server.serve([listener]))
        yield listener.getsockname()[1]
        server.should_exit = server.force_exit = True
        await serving


@dataclass
class Sender:
    """A connection by hand."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @classmethod
    async def of(cls, port: int, address: str = THIEF) -> "Sender":
        return cls(*await asyncio.open_connection("127.0.0.1", port, local_addr=(address, 0)))

    async def send(self, data: bytes) -> None:
        with contextlib.suppress(ConnectionError):
            self.writer.write(data)
            await self.writer.drain()

    async def answer(self) -> tuple[int, str]:
        """Status and text; what it is waited for comes, or the test runs out of time."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        return int(head.split()[1]), (await self.reader.readexactly(length)).decode()

    async def refused(self) -> tuple[int, str]:
        """Status and problem."""
        status, text = await self.answer()
        return status, json.loads(text)["type"].removeprefix("urn:vitrine:problem:")

    async def is_let_go(self) -> bool:
        with contextlib.suppress(ConnectionError):
            while await self.reader.read(65536):
                pass
        return True


@pytest.fixture
async def sender(port: int) -> Sender:
    return await Sender.of(port)


async def stalled(port: int, address: str, mebibytes: float) -> Sender:
    """Has sent so much of an upload that is announced as the largest, and sends no more."""
    one = await Sender.of(port, address)
    await one.send(HEAD + b"Content-Length: %d\r\n\r\n" % (2 * MIB + 100_000))
    for _ in range(2):
        await one.send(PHOTO + b"a" * int(mebibytes / 2 * MIB) + b"\r\n")
    return one


async def posted(port: int, address: str, body: bytes, **headers: str) -> httpx.Response:
    transport = httpx.AsyncHTTPTransport(local_address=address)
    async with httpx.AsyncClient(transport=transport, timeout=60) as client:
        return await client.post(f"http://127.0.0.1:{port}/v1/listings", files=form(CLAIMS, body), headers=headers)


def code(response: httpx.Response) -> str:
    return str(response.json().get("type", "")).removeprefix("urn:vitrine:problem:")


# --- memory -----------------------------------------------------------------------------------------------------------


async def test_two_stalled_uploads_of_one_caller_leave_memory_for_others(port: int) -> None:
    first, second = await stalled(port, THIEF, 1.9), await stalled(port, THIEF, 1.9)
    answers = [asyncio.create_task(one.refused()) for one in (first, second)]
    ended, waiting = await asyncio.wait(answers, return_when=asyncio.FIRST_COMPLETED)
    assert [task.result() for task in ended] == [(429, "too-many-uploads")]
    assert len(waiting) == 1, "the other one is borne with"
    assert (await posted(port, OTHER, photo(size=(500, 500)))).status_code == 202
    waiting.pop().cancel()


async def test_the_address_that_a_caller_claims_is_not_believed(port: int) -> None:
    """Else each of its uploads could have a quota of its own. uvicorn believes who calls from 127.0.0.1."""
    holding = await stalled(port, "127.0.0.1", 1.9)
    body = photo(size=(500, 500), kind="PNG")
    refused = await posted(port, "127.0.0.1", body, **{"X-Forwarded-For": OTHER, "Forwarded": f"for={OTHER}"})
    assert (refused.status_code, code(refused)) == (429, "too-many-uploads")
    assert int(refused.headers["retry-after"]) > 0
    holding.writer.close()


@pytest.mark.parametrize("given", [{"caller_uploads": 2}])
async def test_one_caller_has_so_many_uploads_at_once(port: int) -> None:
    held = [await stalled(port, THIEF, 0.1) for _ in range(2)]
    one_more = await stalled(port, THIEF, 0.1)
    answers = [asyncio.create_task(one.refused()) for one in (*held, one_more)]
    ended, _ = await asyncio.wait(answers, return_when=asyncio.FIRST_COMPLETED)
    assert [task.result() for task in ended] == [(429, "too-many-uploads")]
    assert (await posted(port, OTHER, photo())).status_code == 202
    for task in answers:
        task.cancel()


# --- time -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", [{"upload_grace_seconds": 0.2, "upload_memory_bytes": 3 * MIB}])
async def test_a_stalled_upload_is_given_up_and_its_memory_is_free_at_once(port: int) -> None:
    for _ in range(3):
        one = await stalled(port, THIEF, 1.9)
        assert await one.refused() == (408, "upload-too-slow")
    body = photo(size=(500, 500), kind="PNG")
    assert len(body) > 0.7 * MIB
    assert (await posted(port, THIEF, body)).status_code == 202


@pytest.mark.parametrize("given", [{"upload_grace_seconds": 0.2, "upload_bytes_per_second": 10_000}])
async def test_a_dribbling_upload_is_given_up_however_much_came_before(port: int) -> None:
    one = await stalled(port, THIEF, 1.9)

    async def dribble() -> None:
        while True:
            await one.send(b"a")
            await asyncio.sleep(0.01)

    dribbling = asyncio.create_task(dribble())
    assert await one.refused() == (408, "upload-too-slow")
    dribbling.cancel()


@pytest.mark.parametrize("given", [{"upload_grace_seconds": 2, "upload_bytes_per_second": 100}])
async def test_a_slow_upload_that_keeps_to_the_rate_is_taken(port: int, sender: Sender) -> None:
    request = httpx.Request("POST", "http://gateway", files=form(CLAIMS, photo()))
    body = request.read()
    head = f"POST /v1/listings HTTP/1.1\r\nHost: gateway\r\nContent-Type: {request.headers['content-type']}\r\n"
    await sender.send(f"{head}Content-Length: {len(body)}\r\n\r\n".encode())
    for at in range(0, len(body), 200):
        await sender.send(body[at : at + 200])
        await asyncio.sleep(0.1)
    status, text = await sender.answer()
    assert status == 202, text


# --- chunks -----------------------------------------------------------------------------------------------------------


async def test_a_body_in_chunks_of_one_byte_is_refused_and_says_why(sender: Sender) -> None:
    await sender.send(CHUNKED + b"1\r\na\r\n" * 1_500)
    said = await sender.reader.read()
    assert said.startswith(b"HTTP/1.1 400 ")
    assert b"1,001 chunks for 1,001 bytes. Send chunks of some kilobytes" in said


@pytest.mark.parametrize("given", [{"header_seconds": 600}])
async def test_crumbs_after_the_answer_end_the_connection(sender: Sender) -> None:
    await sender.send(CHUNKED.replace(b"multipart/form-data", b"text/plain") + b"1\r\na\r\n")
    assert await sender.refused() == (415, "not-a-form")
    await sender.send(b"1\r\na\r\n" * 100_000)
    assert await sender.is_let_go()


async def test_a_streamed_body_in_chunks_of_some_kilobytes_is_taken(port: int) -> None:
    request = httpx.Request("POST", "http://gateway", files=form(CLAIMS, photo(size=(500, 500), kind="PNG")))
    body = request.read()

    async def pieces() -> AsyncIterator[bytes]:
        for at in range(0, 500):  # a client that writes the form's headers byte by byte
            yield body[at : at + 1]
        for at in range(500, len(body), 4096):
            yield body[at : at + 4096]

    async with httpx.AsyncClient(timeout=60) as client:
        headers = {"Content-Type": request.headers["content-type"]}
        answer = await client.post(f"http://127.0.0.1:{port}/v1/listings", content=pieces(), headers=headers)
    assert answer.status_code == 202, answer.text


# --- connections ------------------------------------------------------------------------------------------------------


async def got(port: int, address: str) -> tuple[int, str]:
    one = await Sender.of(port, address)
    await one.send(b"GET /v1/listings/nobody HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\r\n")
    return await one.answer()


@pytest.mark.parametrize("given", [{"max_connections": 20}])
async def test_one_caller_that_opens_half_of_all_connections_gets_no_more_and_others_do(port: int) -> None:
    held = [await Sender.of(port) for _ in range(10)]
    crowding = await Sender.of(port)
    status, text = await crowding.answer()
    assert (status, "Too many connections from your address" in text) == (429, True)
    assert await crowding.is_let_go()
    assert (await got(port, OTHER))[0] == 404
    held[0].writer.close()
    await held[0].writer.wait_closed()


@pytest.mark.parametrize("given", [{"max_connections": 20}])
async def test_with_all_connections_taken_requests_are_told_so_and_probes_are_answered(port: int) -> None:
    health = Health()
    health.started()
    admin = serve_health(health, "127.0.0.1", 0)
    held = [await Sender.of(port, address) for address in (THIEF, ACCOMPLICE) for _ in range(10)]
    assert (await got(port, OTHER))[0] == 503
    assert await asyncio.to_thread(asked, admin, "/readyz") == (200, "ok\n")
    assert len(held) == 20
