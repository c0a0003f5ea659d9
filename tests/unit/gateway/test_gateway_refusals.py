"""Each kind of bad upload gets its own clear error, and leaves nothing behind."""

import asyncio
import io
import json
import struct
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from services.gateway.app import create_app
from services.gateway.intake import Intake
from services.gateway.settings import GatewaySettings
from shared.photo_store import open_photo_store
from shared.tracing import start_tracing
from tests.gateway import CLAIMS, FakeLookup, FakeProducer, Part, form, listing_part, photo, photo_part, problem

LISTINGS = "/v1/listings"
MIB = 1024 * 1024


class Refusing:
    """A gateway that must refuse what it is sent."""

    def __init__(self, client: httpx.AsyncClient, producer: FakeProducer, folder: Path) -> None:
        self.client = client
        self.producer = producer
        self.folder = folder

    async def post(self, parts: list[Part], **headers: str) -> httpx.Response:
        return await self.client.post(LISTINGS, files=parts, headers=headers)

    async def raw(self, body: bytes | AsyncIterator[bytes], content_type: str) -> httpx.Response:
        return await self.client.post(LISTINGS, content=body, headers={"Content-Type": content_type})

    def left_behind(self) -> list[Path]:
        return [path for path in self.folder.rglob("*") if path.is_file()]


@pytest.fixture
def settings() -> GatewaySettings:
    return GatewaySettings()


@pytest.fixture
async def gateway(tmp_path: Path, settings: GatewaySettings) -> AsyncIterator[Refusing]:
    start_tracing("gateway")
    producer = FakeProducer()
    with ThreadPoolExecutor(2) as decoders:
        intake = Intake(open_photo_store(str(tmp_path)), producer, settings, decoders)
        transport = httpx.ASGITransport(create_app(intake, FakeLookup(), settings), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
            yield Refusing(client, producer, tmp_path)


def animated_gif() -> bytes:
    out = io.BytesIO()
    frames = [Image.new("RGB", (64, 64), colour) for colour in ("red", "blue")]
    frames[0].save(out, "GIF", save_all=True, append_images=frames[1:])
    return out.getvalue()


def claiming_60_000_a_side() -> bytes:
    body = photo()
    at = body.index(b"\xff\xc0") + 5
    return body[:at] + struct.pack(">HH", 60_000, 60_000) + body[at + 4 :]


# --- the ten of the requirement ---------------------------------------------------------------------------------------


async def test_an_empty_body(gateway: Refusing) -> None:
    for response in (
        await gateway.raw(b"", "multipart/form-data; boundary=b"),
        await gateway.client.post(LISTINGS),
    ):
        assert (problem(response), response.status_code) == ("empty-body", 400)
        assert "0 bytes" in response.json()["detail"]


PHOTOS: dict[str, tuple[bytes, str, int, str]] = {
    "text named .jpg": (b"I am no photo", "not-a-photo", 415, "not an image"),
    "truncated JPEG": (photo(size=(320, 240))[:5000], "damaged-photo", 422, "end early"),
    "TIFF": (b"II*\0" + bytes(500), "unsupported-type", 415, "TIFF"),
    "1×1": (photo(size=(1, 1), kind="PNG"), "photo-too-small", 422, "1 × 1"),
    "60,000×60,000": (claiming_60_000_a_side(), "too-many-pixels", 422, "60,000 × 60,000"),
    "32×200,000": (photo(size=(32, 200_000), kind="PNG"), "side-too-long", 422, "32 × 200,000"),
    "25 MiB": (photo() + bytes(25 * MIB), "photo-too-large", 413, "20 MiB"),
    "animated GIF": (animated_gif(), "animated-photo", 415, "GIF"),
    "empty file": (b"", "empty-photo", 422, "0 bytes"),
}


@pytest.mark.parametrize("kind", PHOTOS)
async def test_a_bad_photo_among_good_ones_is_named(gateway: Refusing, kind: str) -> None:
    body, code, status, said = PHOTOS[kind]
    parts = [listing_part(CLAIMS), photo_part(photo(1)), photo_part(body, "bad.jpg"), photo_part(photo(2))]
    response = await gateway.post(parts)
    assert (problem(response), response.status_code) == (code, status)
    assert said in response.json()["detail"]
    assert response.json()["where"] == {"part": "photos", "index": 1, "filename": "bad.jpg"}
    assert not gateway.producer.sent
    assert not gateway.left_behind(), "the good ones were not stored either"


def test_the_kinds_of_bad_photo_have_errors_of_their_own() -> None:
    codes = [code for _, code, _, _ in PHOTOS.values()]
    assert len(set(codes)) == len(codes)


@pytest.mark.parametrize("body", [b"title=shirt", b"{", b"", b"\xff\xfe", b"{'title': 'shirt'}"])
async def test_claims_that_are_not_json(gateway: Refusing, body: bytes) -> None:
    response = await gateway.post(form(body, photo()))
    assert (problem(response), response.status_code) == ("listing-not-json", 400)
    assert response.json()["where"] == {"part": "listing"}


async def test_claims_that_lack_a_title(gateway: Refusing) -> None:
    response = await gateway.post(form({"seller_id": "seller-42"}, photo()))
    assert (problem(response), response.status_code) == ("invalid-listing", 422)
    assert response.json()["where"] == {"part": "listing", "field": "title"}
    assert "title: Field required" in response.json()["detail"]


async def test_the_same_idempotency_key_with_another_body(gateway: Refusing) -> None:
    key = {"Idempotency-Key": "one"}
    assert (await gateway.post(form(CLAIMS, photo(1)), **key)).status_code == 202
    response = await gateway.post(form(CLAIMS, photo(2)), **key)
    assert (problem(response), response.status_code) == ("idempotency-key-reused", 422)


# --- and others -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("claims", "field"),
    [
        ({**CLAIMS, "title": "   "}, "title"),
        ({**CLAIMS, "titel": "misspelt"}, "titel"),
        ({**CLAIMS, "price": {"amount": "19,99", "currency": "EUR"}}, "price.amount"),
        ({**CLAIMS, "price": {"amount": 19.99, "currency": "EUR"}}, "price.amount"),
        ({**CLAIMS, "price": {"amount": "19.99", "currency": "euro"}}, "price.currency"),
        ({**CLAIMS, "updated_at": "2026-02-01T12:00:00"}, "updated_at"),
        ({**CLAIMS, "updated_at": "yesterday"}, "updated_at"),
        ({**CLAIMS, "updated_at": "1969-12-31T23:59:59Z"}, "listing"),
        ({**CLAIMS, "photos": [{"upload": 1}]}, "photos.0.upload"),
        ({**CLAIMS, "photos": [{"sha256": "short"}]}, "photos.0.sha256"),
        ({**CLAIMS, "photos": [{}]}, "photos.0"),
        ([1, 2], "listing"),
    ],
)
async def test_a_wrong_field_is_named(gateway: Refusing, claims: Any, field: str) -> None:
    response = await gateway.post(form(json.dumps(claims).encode(), photo()))
    assert problem(response) == "invalid-listing"
    assert response.json()["where"]["field"] == field


UNSEEN = {
    "\\u001b[2J": "U+001B",
    "\\u0000": "U+0000",
    "\\u202e": "U+202E (RIGHT-TO-LEFT OVERRIDE)",
    "\\u2067": "U+2067 (RIGHT-TO-LEFT ISOLATE)",
    "\\u009b": "U+009B",
}
INVISIBLE = {
    "\\n": "U+000A",
    "\\t": "U+0009",
    "\\u2028": "U+2028 (LINE SEPARATOR)",
    "\\u200b": "U+200B (ZERO WIDTH SPACE)",
    "\\u200d": "U+200D (ZERO WIDTH JOINER)",
    "\\ufeff": "U+FEFF (ZERO WIDTH NO-BREAK SPACE)",
    "\\u00ad": "U+00AD (SOFT HYPHEN)",
    "\\udb40\\udc41": "U+E0041 (TAG LATIN CAPITAL LETTER A)",
}


async def said_of(gateway: Refusing, field: str, escape: str) -> httpx.Response:
    body = json.dumps({**CLAIMS, field: "a^b"}).replace("^", escape).encode()
    return await gateway.post(form(body, photo()))


@pytest.mark.parametrize("escape", [*UNSEEN, *INVISIBLE])
async def test_a_seller_with_a_character_that_nobody_sees_is_refused_and_told_which(
    gateway: Refusing, escape: str
) -> None:
    response = await said_of(gateway, "seller_id", escape)
    assert (problem(response), response.status_code) == ("invalid-listing", 422)
    assert response.json()["where"] == {"part": "listing", "field": "seller_id"}
    assert f"seller_id: Has {(UNSEEN | INVISIBLE)[escape]}, which nobody sees" in response.json()["detail"]
    assert not gateway.left_behind()


@pytest.mark.parametrize("field", ["title", "category", "brand"])
@pytest.mark.parametrize("escape", UNSEEN)
async def test_a_text_with_a_control_character_is_refused_and_told_which(
    gateway: Refusing, field: str, escape: str
) -> None:
    response = await said_of(gateway, field, escape)
    assert (problem(response), response.status_code) == ("invalid-listing", 422)
    assert f"{field}: Has {UNSEEN[escape]}, a control character" in response.json()["detail"]
    assert not gateway.producer.sent


@pytest.mark.parametrize("escape", ["\\n", "\\t", "\\r\\n", "\\u000b", "\\u2028"])
async def test_a_text_of_several_lines_becomes_one(gateway: Refusing, escape: str) -> None:
    assert (await said_of(gateway, "title", escape)).status_code == 202
    assert gateway.producer.changes[0].listing.claims.title.split() == ["a", "b"]
    assert "\n" not in gateway.producer.changes[0].listing.claims.title


@pytest.mark.parametrize("title", ["می‌خواهم", "👩‍👧", "שלום\u200f!", "ผ้า\u200bไหม", "❤️"])
async def test_words_and_emoji_may_have_joiners_and_marks(gateway: Refusing, title: str) -> None:
    assert (await gateway.post(form({**CLAIMS, "title": title}, photo()))).status_code == 202
    assert gateway.producer.changes[0].listing.claims.title == title


@pytest.mark.parametrize("field", ["seller_id", "title"])
async def test_half_a_character_is_no_json(gateway: Refusing, field: str) -> None:
    response = await said_of(gateway, field, "\\ud800")
    assert (problem(response), response.status_code) == ("listing-not-json", 400)


async def test_every_wrong_field_is_told_at_once(gateway: Refusing) -> None:
    response = await gateway.post(form({"price": {"amount": "1", "currency": "?"}}, photo()))
    detail = response.json()["detail"]
    assert "seller_id" in detail and "title" in detail and "price.currency" in detail


async def test_a_listing_without_photos(gateway: Refusing) -> None:
    assert problem(await gateway.post(form(CLAIMS))) == "no-photos"


async def test_more_photos_than_a_listing_may_have(gateway: Refusing) -> None:
    response = await gateway.post(form(CLAIMS, *(photo(n) for n in range(13))))
    assert problem(response) == "too-many-photos"
    assert "12" in response.json()["detail"]


async def test_a_body_that_is_no_form(gateway: Refusing) -> None:
    response = await gateway.client.post(LISTINGS, json=CLAIMS)
    assert (problem(response), response.status_code) == ("not-a-form", 415)
    assert "application/json" in response.json()["detail"]


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"junk", "multipart/form-data; boundary=b"),
        (b"junk", "multipart/form-data"),
        (b"--b\r\nContent-Disposition: form-data; name=listing\r\n\r\n{}", "multipart/form-data; boundary=b"),
        (b"--b\r\nno header\r\n\r\n{}\r\n--b--\r\n", "multipart/form-data; boundary=b"),
        (b"--b\r\n\r\n--b--\r\n", "multipart/form-data; boundary=" + "b" * 500),
    ],
)
async def test_a_form_that_cannot_be_read(gateway: Refusing, body: bytes, content_type: str) -> None:
    assert problem(await gateway.raw(body, content_type)) == "malformed-form"


async def test_a_part_of_another_name(gateway: Refusing) -> None:
    parts = [listing_part(CLAIMS), ("photo", ("a.jpg", photo(), "image/jpeg"))]
    response = await gateway.post(parts)
    assert problem(response) == "unknown-part"
    assert "“photo”" in response.json()["detail"]


async def test_a_form_without_a_listing(gateway: Refusing) -> None:
    assert problem(await gateway.post([photo_part(photo())])) == "missing-listing"


async def test_claims_longer_than_any_claims_are(gateway: Refusing) -> None:
    assert problem(await gateway.post(form({**CLAIMS, "title": "x" * 70_000}, photo()))) == "invalid-listing"


@pytest.mark.parametrize("settings", [GatewaySettings(max_photos=1, max_photo_bytes=1000)])
async def test_a_body_without_end_is_cut_off(gateway: Refusing) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        yield b"--b\r\n"
        while True:
            sent += 65536
            yield b"x: " + b"y" * 65533

    response = await gateway.raw(endless(), "multipart/form-data; boundary=b")
    assert response.status_code in (400, 413)
    assert sent < 1024 * 1024


async def test_a_body_announced_as_too_large_is_refused_unread(gateway: Refusing) -> None:
    read = False

    async def body() -> AsyncIterator[bytes]:
        nonlocal read
        read = True
        yield b""

    headers = {"Content-Type": "multipart/form-data; boundary=b", "Content-Length": str(10**12)}
    response = await gateway.client.post(LISTINGS, content=body(), headers=headers)
    assert (problem(response), response.status_code) == ("upload-too-large", 413)


@pytest.mark.parametrize("settings", [GatewaySettings(upload_memory_bytes=100_000)])
async def test_more_than_fits_into_memory_is_told_to_come_back_and_the_memory_is_free_again(gateway: Refusing) -> None:
    for _ in range(2):
        response = await gateway.post(form(CLAIMS, photo(size=(400, 400), quality=95)))
        assert (problem(response), response.status_code) == ("busy", 503)
        assert int(response.headers["retry-after"]) > 0
    for _ in range(20):
        assert (await gateway.post(form(CLAIMS, photo(size=(100, 100))))).status_code == 202


@pytest.mark.parametrize("settings", [GatewaySettings(upload_memory_bytes=2 * MIB, max_photo_bytes=MIB)])
async def test_of_a_photo_that_is_too_large_no_more_is_held_than_it_may_have(gateway: Refusing) -> None:
    response = await gateway.post(form(CLAIMS, photo() + bytes(8 * MIB)))
    assert problem(response) == "photo-too-large", "and not busy: it would not have fitted into the memory"


@pytest.mark.parametrize("settings", [GatewaySettings(upload_seconds=0.05)])
async def test_a_body_that_trickles_is_given_up(gateway: Refusing) -> None:
    async def trickling() -> AsyncIterator[bytes]:
        yield b"--b\r\n"
        await asyncio.Event().wait()

    response = await gateway.raw(trickling(), "multipart/form-data; boundary=b")
    assert (problem(response), response.status_code) == ("upload-too-slow", 408)


async def test_pages_and_methods_that_do_not_exist_are_problems_too(gateway: Refusing) -> None:
    assert problem(await gateway.client.get("/v2/listings")) == "no-such-page"
    assert problem(await gateway.client.patch(f"{LISTINGS}/mine")) == "method-not-allowed"


async def test_a_fault_of_ours_says_so_and_tells_nothing_else(gateway: Refusing) -> None:
    async def broken(_events: object) -> None:
        raise RuntimeError("password=hunter2")

    gateway.producer.send = broken  # type: ignore[method-assign, assignment]
    response = await gateway.post(form(CLAIMS, photo()))
    assert (problem(response), response.status_code) == ("internal-error", 500)
    assert "hunter2" not in response.text
    assert len(response.json()["trace_id"]) == 32, "to be found in the log"


# --- odd bytes anywhere -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["照片.jpg", "Фото.jpg", "19€.jpg", "👕.jpg", "é.jpg"])
async def test_a_file_may_have_any_name_and_a_refusal_repeats_it(gateway: Refusing, name: str) -> None:
    assert (await gateway.post([listing_part(CLAIMS), photo_part(photo(), name)])).status_code == 202
    response = await gateway.post([listing_part(CLAIMS), photo_part(b"no photo", name)])
    assert problem(response) == "not-a-photo"
    assert response.json()["where"]["filename"] == name
    assert name.encode() in response.content, "in UTF-8, and not escaped"


async def test_a_part_of_another_name_is_named_whatever_it_is(gateway: Refusing) -> None:
    response = await gateway.post([listing_part(CLAIMS), ("照片", ("a.jpg", photo(), "image/jpeg"))])
    assert problem(response) == "unknown-part"
    assert "“照片”" in response.json()["detail"]


@pytest.mark.parametrize("sent", [b"\xff\xfe", b"\xd5\xd5\xc6\xac.jpg", b"\xed\xa0\x80", b"a\0b", b"%ff", b"\x1b[2J"])
async def test_a_file_name_that_is_no_text_is_refused_or_taken(gateway: Refusing, sent: bytes) -> None:
    for body in (photo(), b"no photo"):
        head = b'--b\r\nContent-Disposition: form-data; name="photos"; filename="' + sent + b'"\r\n\r\n'
        listing = b"--b\r\nContent-Disposition: form-data; name=listing\r\n\r\n" + json.dumps(CLAIMS).encode()
        whole = listing + b"\r\n" + head + body + b"\r\n--b--\r\n"
        response = await gateway.raw(whole, "multipart/form-data; boundary=b")
        assert response.status_code in (202, 415)


async def test_a_preamble_and_an_epilogue_are_ignored(gateway: Refusing) -> None:
    request = gateway.client.build_request("POST", LISTINGS, files=form(CLAIMS, photo()))
    body = b"This is a multi-part message in MIME format.\r\n" + request.read() + b"\r\nAn epilogue."
    assert (await gateway.raw(body, request.headers["content-type"])).status_code == 202


HEADERS = [
    "traceparent",
    "tracestate",
    "baggage",
    "idempotency-key",
    "content-type",
    "content-length",
    "host",
    "accept",
]
ODD = [
    b"",
    b"\xff\xfe",
    b"\xe7\x85\xa7",
    b"[",
    b"]",
    b"[::1",
    b"9" * 5000,
    b"\xb2",
    b"-1",
    b"=;,",
    b"00-\xff-\xff-01",
    b"%",
]


@pytest.mark.parametrize("name", HEADERS)
async def test_no_header_is_a_fault_of_ours(gateway: Refusing, name: str) -> None:
    request = gateway.client.build_request("POST", LISTINGS, files=form(CLAIMS, photo()))
    body = request.read()
    for value in ODD:
        kept = [(key, sent) for key, sent in request.headers.raw if key.lower() != name.encode()]
        for path, method in (
            (LISTINGS, "POST"),
            (f"{LISTINGS}/mine", "GET"),
            ("/nowhere", "GET"),
            ("/openapi.json", "PUT"),
        ):
            headers = [*kept, (name.encode(), value)]
            response = await gateway.client.request(method, path, content=body, headers=headers)
            assert response.status_code != 500, (name, value, method, path, response.text)


@pytest.mark.parametrize(
    "path", ["/%ff", "/v1/listings/%ff", "/v1/listings/%00", "/v1/listings/a%0a", "/%ed%a0%80", "//", "/?%ff"]
)
async def test_no_path_is_a_fault_of_ours(gateway: Refusing, path: str) -> None:
    for method in ("GET", "PUT", "DELETE", "POST", "OPTIONS", "HEAD"):
        response = await gateway.client.request(method, path)
        assert 400 <= response.status_code < 500, (method, path, response.text)
