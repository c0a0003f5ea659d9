"""Importing against a fake gateway that keeps the real one's promises over real HTTP."""

import asyncio
import hashlib
import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import pytest
import uvicorn
from click.testing import CliRunner
from starlette.applications import Starlette
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from cli.importing import import_
from client.importing import Effect, Imported, ListingUpload, Retries, State, import_listings, read_csv, read_folder

AT_ONCE = Retries(attempts=4, first_wait=0.001, longest_wait=0.002)
HEADER = "reference,seller_id,title,category,brand,price,currency,photos\n"


@dataclass
class FakeGateway:
    """Takes listings as the gateway does; `failures` are status codes to answer first, `refuses` titles to refuse."""

    url: str = ""
    listings: dict[str, dict[str, Any]] = field(default_factory=dict)  # by listing id
    by_key: dict[str, str] = field(default_factory=dict)
    put_keys: list[str] = field(default_factory=list)
    failures: list[int] = field(default_factory=list)
    refuses: set[str] = field(default_factory=set)
    requests: int = 0
    at_once: int = 0
    most_at_once: int = 0

    async def post(self, request: Request) -> JSONResponse:
        key = request.headers["idempotency-key"]
        listing_id = self.by_key.setdefault(key, hashlib.sha256(key.encode()).hexdigest()[:12])
        return await self._take(request, listing_id)

    async def put(self, request: Request) -> JSONResponse:
        self.put_keys.append(request.headers["idempotency-key"])
        return await self._take(request, request.path_params["listing_id"])

    async def _take(self, request: Request, listing_id: str) -> JSONResponse:
        self.requests += 1
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await asyncio.sleep(0)
            return await self._answer(request, listing_id)
        finally:
            self.at_once -= 1

    async def _answer(self, request: Request, listing_id: str) -> JSONResponse:
        if self.failures:
            return JSONResponse({"title": "Broker away"}, self.failures.pop(0), {"Retry-After": "0"})
        form = await request.form()
        said = form["listing"]
        assert isinstance(said, UploadFile)
        listing = json.loads(await said.read())
        if listing["title"] in self.refuses:
            return JSONResponse({"title": "Not a photo", "detail": "photo 1 is empty; send a JPEG"}, 422)
        bodies = [await part.read() for part in form.getlist("photos") if isinstance(part, UploadFile)]
        revision = self.listings.get(listing_id, {}).get("revision", 0) + 1
        photos = [{"sha256": hashlib.sha256(body).hexdigest()} for body in bodies]
        self.listings[listing_id] = {"listing": listing, "revision": revision, "photos": photos}
        answer = {"listing_id": listing_id, "revision": revision, "photos": photos, "status": "pending"}
        return JSONResponse(answer, 202)


@pytest.fixture
def gateway() -> Iterator[FakeGateway]:
    fake = FakeGateway()
    app = Starlette(
        routes=[
            Route("/v1/listings", fake.post, methods=["POST"]),
            Route("/v1/listings/{listing_id}", fake.put, methods=["PUT"]),
        ]
    )
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        fake.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        yield fake
        server.should_exit = True
        thread.join()


@pytest.fixture
def nobody() -> Iterator[str]:
    """An address at which nothing listens: the port is bound, so that nobody else gets it."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"


def upload(reference: str, **changes: Any) -> ListingUpload:
    fields: dict[str, Any] = {"seller_id": "s1", "title": reference, "photos": (b"photo of " + reference.encode(),)}
    return ListingUpload(reference, **{**fields, **changes})


# --- uploading --------------------------------------------------------------------------------------------------------


async def test_what_is_uploaded_comes_back_in_order_with_ids_and_hashes(gateway: FakeGateway) -> None:
    seen: list[Imported] = []
    ended = await import_listings((upload(f"r{n}") for n in range(20)), gateway.url, seen.append)
    assert [one.reference for one in ended] == [f"r{n}" for n in range(20)]
    assert sorted(one.reference for one in seen) == sorted(f"r{n}" for n in range(20))
    assert {one.effect for one in ended} == {Effect.IMPORTED}
    assert ended[3].photos == (hashlib.sha256(b"photo of r3").hexdigest(),)
    assert set(gateway.listings) == {one.listing_id for one in ended}


async def test_claims_arrive_as_written_and_absent_ones_stay_absent(gateway: FakeGateway) -> None:
    full = upload("full", category="garments", brand="Bao", price="19.90", currency="EUR")
    ended = await import_listings([full, upload("bare")], gateway.url)
    assert gateway.listings[ended[0].listing_id or ""]["listing"] == {
        "seller_id": "s1",
        "title": "full",
        "category": "garments",
        "brand": "Bao",
        "price": {"amount": "19.90", "currency": "EUR"},
    }
    assert gateway.listings[ended[1].listing_id or ""]["listing"] == {"seller_id": "s1", "title": "bare"}


async def test_an_async_source_is_drawn_from_too(gateway: FakeGateway) -> None:
    async def rendered() -> Any:
        for n in range(3):
            yield upload(f"r{n}")

    ended = await import_listings(rendered(), gateway.url)
    assert [one.reference for one in ended] == ["r0", "r1", "r2"]


async def test_no_more_than_the_bound_is_in_flight(gateway: FakeGateway) -> None:
    await import_listings([upload(f"r{n}") for n in range(30)], gateway.url, concurrency=3)
    assert 1 <= gateway.most_at_once <= 3


@pytest.mark.parametrize("status", [429, 502, 503, 504])
async def test_again_later_is_tried_again(gateway: FakeGateway, status: int) -> None:
    gateway.failures = [status, status]
    (one,) = await import_listings([upload("r")], gateway.url, retries=AT_ONCE)
    assert one.effect == Effect.IMPORTED
    assert gateway.requests == 3


async def test_a_refusal_fails_that_listing_only_and_says_what_the_gateway_said(gateway: FakeGateway) -> None:
    gateway.refuses = {"bad"}
    ended = await import_listings([upload("good"), upload("bad"), upload("fine")], gateway.url, retries=AT_ONCE)
    assert [one.effect for one in ended] == [Effect.IMPORTED, Effect.FAILED, Effect.IMPORTED]
    assert ended[1].error == "Not a photo: photo 1 is empty; send a JPEG (HTTP 422)"
    assert gateway.requests == 3


async def test_a_photo_that_is_gone_fails_its_listing_only(gateway: FakeGateway, tmp_path: Path) -> None:
    ended = await import_listings([upload("gone", photos=(tmp_path / "gone.jpg",)), upload("good")], gateway.url)
    assert "gone.jpg" in (ended[0].error or "")
    assert ended[1].effect == Effect.IMPORTED


async def test_a_gateway_that_stays_away_ends_the_rest_without_trying_each(nobody: str) -> None:
    ended = await import_listings([upload(f"r{n}") for n in range(50)], nobody, concurrency=2, retries=AT_ONCE)
    assert all(one.effect == Effect.FAILED for one in ended)
    assert f"no gateway answers at {nobody}" in (ended[0].error or "")
    assert (ended[-1].error or "").startswith("not tried: ")


# --- resuming ---------------------------------------------------------------------------------------------------------


async def test_a_second_run_uploads_only_what_the_first_did_not(gateway: FakeGateway, tmp_path: Path) -> None:
    gateway.refuses = {"r1"}
    everything = [upload(f"r{n}") for n in range(3)]
    first = State.open(tmp_path / "state.jsonl")
    await import_listings(everything, gateway.url, state=first)
    first.close()
    gateway.refuses = set()
    gateway.requests = 0
    ended = await import_listings(everything, gateway.url, state=State.open(tmp_path / "state.jsonl"))
    assert [one.effect for one in ended] == [Effect.UNCHANGED, Effect.IMPORTED, Effect.UNCHANGED]
    assert ended[0].listing_id and ended[0].photos
    assert gateway.requests == 1


async def test_a_changed_listing_becomes_a_new_revision_of_the_same_one(gateway: FakeGateway) -> None:
    state = State()
    (first,) = await import_listings([upload("r", title="old")], gateway.url, state=state)
    (second,) = await import_listings([upload("r", title="new")], gateway.url, state=state)
    assert second.effect == Effect.UPDATED
    assert second.listing_id == first.listing_id
    assert (second.revision or 0) > (first.revision or 0)
    assert len(gateway.listings) == 1


async def test_going_back_to_earlier_claims_is_no_repeat_of_the_earlier_change(gateway: FakeGateway) -> None:
    state = State()
    for title in ("a", "b", "a", "b"):
        await import_listings([upload("r", title=title)], gateway.url, state=state)
    assert len(set(gateway.put_keys)) == 3


async def test_without_the_state_file_a_repeat_is_still_the_same_listing(gateway: FakeGateway) -> None:
    (first,) = await import_listings([upload("r")], gateway.url)
    (again,) = await import_listings([upload("r")], gateway.url)
    assert again.listing_id == first.listing_id
    assert len(gateway.listings) == 1


async def test_a_state_file_torn_by_a_crash_costs_one_line(gateway: FakeGateway, tmp_path: Path) -> None:
    path = tmp_path / "state.jsonl"
    state = State.open(path)
    await import_listings([upload("a"), upload("b")], gateway.url, state=state, concurrency=1)
    state.close()
    path.write_text(path.read_text()[:-20])
    resumed = State.open(path)
    ended = await import_listings([upload("a"), upload("b"), upload("c")], gateway.url, state=resumed, concurrency=1)
    resumed.close()
    assert [one.effect for one in ended] == [Effect.UNCHANGED, Effect.IMPORTED, Effect.IMPORTED]
    assert set(State.open(path).done) == {("s1", "a"), ("s1", "b"), ("s1", "c")}


def test_the_same_reference_of_two_sellers_is_two_listings() -> None:
    assert upload("r").idempotency_key == upload("r", title="another title").idempotency_key
    assert upload("r").idempotency_key != upload("r", seller_id="s2").idempotency_key


# --- reading ----------------------------------------------------------------------------------------------------------


def photo_files(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())


def test_each_photo_of_a_folder_is_a_listing_titled_after_its_file(tmp_path: Path) -> None:
    photo_files(tmp_path, "red_t-shirt.jpg", "sub/a.PNG", "notes.txt", ".hidden/x.jpg", "sub/.thumb.jpg")
    source = read_folder(tmp_path, "me")
    assert [(one.reference, one.title) for one in source.uploads] == [
        ("red_t-shirt.jpg", "red t-shirt"),
        ("sub/a.PNG", "a"),
    ]
    assert source.bad == ()


def test_by_folder_each_folder_of_photos_is_a_listing(tmp_path: Path) -> None:
    photo_files(tmp_path, "shoe/2.jpg", "shoe/1.jpg", "hat/1.webp")
    hat, shoe = read_folder(tmp_path, "me", by_folder=True).uploads
    assert (hat.reference, hat.title, len(hat.photos)) == ("hat", "hat", 1)
    assert [photo.name for photo in shoe.photos if isinstance(photo, Path)] == ["1.jpg", "2.jpg"]


def test_images_that_the_gateway_refuses_by_kind_are_reported_not_uploaded(tmp_path: Path) -> None:
    photo_files(tmp_path, "a.heic", "b.jpg")
    source = read_folder(tmp_path, "me")
    assert [str(bad) for bad in source.bad] == ["a.heic: .heic is not accepted; convert it to JPEG, PNG or WebP"]
    assert len(source.uploads) == 1


def csv_of(folder: Path, rows: str, header: str = HEADER) -> Path:
    photo_files(folder, "a.jpg", "b.jpg")
    path = folder / "listings.csv"
    path.write_text(header + rows, encoding="utf-8")
    return path


def test_a_csv_row_becomes_a_listing(tmp_path: Path) -> None:
    source = read_csv(csv_of(tmp_path, 'r1,s1,"A shirt, red",garments,Bao,19.99,EUR,a.jpg; b.jpg\n'))
    (one,) = source.uploads
    assert (one.title, one.price, one.currency, one.origin) == ("A shirt, red", "19.99", "EUR", "row 2")
    assert one.photos == (tmp_path / "a.jpg", tmp_path / "b.jpg")


def test_a_byte_order_mark_and_missing_optional_columns_are_fine(tmp_path: Path) -> None:
    path = csv_of(tmp_path, "r1,衬衫,a.jpg\n", "\ufeffreference,title,photos\n")
    (one,) = read_csv(path, "me").uploads
    assert (one.seller_id, one.title, one.price) == ("me", "衬衫", None)


@pytest.mark.parametrize(
    ("row", "where"),
    [
        (",s1,t,,,,,a.jpg", "row 2, reference: is empty"),
        ("r,s1,,,,,,a.jpg", "row 2, title: is empty"),
        ("r,,t,,,,,a.jpg", "row 2, seller_id: is empty"),
        ("r,s1,t,,,,,", "row 2, photos: is empty"),
        ("r,s1,t,,,,,nowhere.jpg", "row 2, photos: no such file"),
        ('r,s1,t,,,"19,99",EUR,a.jpg', "row 2, price: '19,99' is not a number"),
        ("r,s1,t,,,-1,EUR,a.jpg", "row 2, price: '-1' is not a price"),
        ("r,s1,t,,,NaN,EUR,a.jpg", "row 2, price: 'NaN' is not a price"),
        ("r,s1,t,,,5,euro,a.jpg", "row 2, currency: 'euro' is not an ISO 4217 code"),
        ("r,s1,t,,,5,,a.jpg", "row 2, currency: '' is not an ISO 4217 code"),
        ("r,s1,t,,,,EUR,a.jpg", "row 2, price: is empty although there is a currency"),
        ("r,s1,a title, with a comma,,,,,a.jpg", "row 2: more fields than the header"),
    ],
)
def test_a_bad_row_is_named_with_its_column_and_the_others_go_on(tmp_path: Path, row: str, where: str) -> None:
    source = read_csv(csv_of(tmp_path, f"{row}\ngood,s1,t,,,,,a.jpg\n"))
    assert [one.reference for one in source.uploads] == ["good"]
    assert [str(bad)[: len(where)] for bad in source.bad] == [where]


def test_a_reference_twice_is_a_bad_row(tmp_path: Path) -> None:
    source = read_csv(csv_of(tmp_path, "r,s1,t,,,,,a.jpg\nr,s1,u,,,,,b.jpg\nr,s2,t,,,,,a.jpg\n"))
    assert len(source.uploads) == 2
    assert str(source.bad[0]).startswith("row 3, reference: 'r' of this seller stands in row 2 already")


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("reference,title\n", "lacks the column photos, seller_id"),
        ("reference,title,photos\n", "use --seller ID"),
        ("reference;title;photos\n", "lacks the column"),
        (HEADER.replace("brand", "brnad"), "unknown columns brnad"),
    ],
)
def test_a_wrong_header_is_one_clear_line(tmp_path: Path, header: str, said: str) -> None:
    with pytest.raises(click.ClickException, match=said):
        read_csv(csv_of(tmp_path, "", header))


def test_a_csv_in_another_encoding_says_how_to_save_it(tmp_path: Path) -> None:
    path = tmp_path / "listings.csv"
    path.write_bytes(HEADER.encode() + "r,s1,Größe,,,,,a.jpg".encode("latin-1"))
    with pytest.raises(click.ClickException, match="CSV UTF-8"):
        read_csv(path)


# --- the command ------------------------------------------------------------------------------------------------------


def test_the_command_reports_each_bad_row_goes_on_and_exits_1(gateway: FakeGateway, tmp_path: Path) -> None:
    gateway.refuses = {"refused"}
    path = csv_of(tmp_path, "r1,s1,good,,,,,a.jpg\nr2,s1,,,,,,a.jpg\nr3,s1,refused,,,,,b.jpg\n")
    called = [str(path), "--gateway", gateway.url, "--state", str(tmp_path / "state.jsonl")]
    result = CliRunner().invoke(import_, called)
    assert result.exit_code == 1
    assert "not imported: row 3, title: is empty; fill it in" in result.output
    assert "not imported: row 4: Not a photo: photo 1 is empty; send a JPEG" in " ".join(result.output.split())
    assert "1 imported, 2 failed (1 photos)" in result.output


def test_the_command_twice_skips_what_is_done_and_exits_0(gateway: FakeGateway, tmp_path: Path) -> None:
    photo_files(tmp_path / "photos", "a.jpg", "b.jpg")
    called = [str(tmp_path / "photos"), "--gateway", gateway.url, "--state", str(tmp_path / "state.jsonl")]
    assert CliRunner().invoke(import_, called).exit_code == 0
    again = CliRunner().invoke(import_, called)
    assert again.exit_code == 0
    assert "0 imported, 2 unchanged" in again.output
    assert gateway.requests == 2


def test_an_empty_folder_is_one_clear_line(tmp_path: Path) -> None:
    result = CliRunner().invoke(import_, [str(tmp_path)])
    assert result.exit_code == 1
    assert "nothing to import" in result.output


def test_an_address_without_a_scheme_is_refused_at_once(tmp_path: Path) -> None:
    photo_files(tmp_path, "a.jpg")
    result = CliRunner().invoke(import_, [str(tmp_path), "--gateway", "localhost:8080"])
    assert result.exit_code == 2
    assert "write it like http://" in result.output
