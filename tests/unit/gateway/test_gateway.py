"""The gateway over ASGI, on a folder, with a broker and a recommendation service that are fakes."""

import asyncio
import hashlib
import io
import json
import re
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image
from prometheus_client import generate_latest
from vitrine.events.v1 import enriched_pb2, image_pb2

from local.fleet import Plan
from local.showing import addresses
from services.gateway.app import create_app
from services.gateway.callers import Caller
from services.gateway.intake import Intake
from services.gateway.quotas import PhotoRate
from services.gateway.settings import GatewaySettings
from shared import metrics
from shared.photo_store import PhotoStore, open_photo_store
from shared.tracing import start_tracing
from tests.gateway import CLAIMS, FakeLookup, FakeProducer, form, listing_part, photo, photo_part, problem

NOW = 1_772_357_400_000_000  # 2026-03-01 09:30 UTC, in microseconds
LISTINGS = "/v1/listings"


@dataclass
class Gateway:
    """One gateway and all that it touches."""

    client: httpx.AsyncClient
    store: PhotoStore
    folder: Path
    producer: FakeProducer
    lookup: FakeLookup
    clock: list[int] = field(default_factory=lambda: [NOW, 0])

    async def post(self, *photos: bytes, claims: Any = CLAIMS, key: str | None = None) -> httpx.Response:
        headers = {"Idempotency-Key": key} if key else {}
        return await self.client.post(LISTINGS, files=form(claims, *(photos or (photo(),))), headers=headers)

    def objects(self, prefix: str) -> list[str]:
        found = (path.relative_to(self.folder).as_posix() for path in self.folder.rglob("*") if path.is_file())
        return sorted(path for path in found if path.startswith(prefix))


@pytest.fixture(scope="module")
def decoders() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as pool:
        yield pool


@pytest.fixture
def settings() -> GatewaySettings:
    return GatewaySettings()


@pytest.fixture
async def gateway(tmp_path: Path, decoders: ThreadPoolExecutor, settings: GatewaySettings) -> AsyncIterator[Gateway]:
    start_tracing("gateway")
    store = open_photo_store(str(tmp_path / "photos"))
    producer, lookup = FakeProducer(), FakeLookup()
    clock = [NOW, 0]

    # Every request comes a little later than the one before it, once a test sets the second number.
    def now_us() -> int:
        clock[0] += clock[1]
        return clock[0]

    intake = Intake(store, producer, settings, decoders, now_us)
    app = create_app(intake, lookup, settings)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        yield Gateway(client, store, tmp_path / "photos", producer, lookup, clock)


# --- what is accepted -------------------------------------------------------------------------------------------------


async def test_an_upload_is_answered_with_what_was_stored_and_published(gateway: Gateway) -> None:
    response = await gateway.post(photo(1), photo(2, kind="PNG"))

    assert response.status_code == 202, response.text
    answer = response.json()
    assert (answer["status"], answer["revision"]) == ("pending", NOW)
    assert response.headers["location"] == f"{LISTINGS}/{answer['listing_id']}"
    assert gateway.producer.topics == ["listing.changed", "image.uploaded", "image.uploaded"], "the listing first"
    change = gateway.producer.changes[0]
    assert (change.listing_id, change.revision) == (answer["listing_id"], NOW)
    assert (change.listing.seller_id, change.listing.claims.title) == ("seller-42", "Blue cotton t-shirt")
    price = change.listing.claims.price
    assert (price.currency_code, price.units, price.nanos) == ("EUR", 19, 990_000_000)
    for position, (told, upload) in enumerate(zip(answer["photos"], gateway.producer.uploads, strict=True)):
        assert upload.position == position
        assert upload.photo == change.listing.photos[position]
        assert upload.claims == change.listing.claims
        assert upload.uploaded_at.ToMicroseconds() == NOW
        assert told["sha256"] == upload.photo.sha256
        body = await gateway.store.get(upload.photo.object_key)
        assert hashlib.sha256(body).hexdigest() == told["sha256"]
        assert upload.photo.size_bytes == len(body)
    assert [p["media_type"] for p in answer["photos"]] == ["image/jpeg", "image/png"]


async def test_stored_photos_carry_no_metadata_and_the_event_their_summary(gateway: Gateway) -> None:
    tags = Image.Exif()
    tags[0x0112], tags[0x0131], tags[0x010F] = 6, "Photoshop", "Secret Camera"
    await gateway.post(photo(size=(64, 48), exif=tags))
    stored = gateway.producer.uploads[0].photo
    assert stored.metadata.editor == "Photoshop"
    assert (stored.width, stored.height) == (48, 64), "of the upright photo"
    body = await gateway.store.get(stored.object_key)
    assert b"Secret" not in body and b"Photoshop" not in body
    with Image.open(io.BytesIO(body)) as image:
        assert dict(image.getexif()) == {0x0112: 6}


async def test_the_type_is_that_of_the_bytes_whatever_the_sender_calls_it(gateway: Gateway) -> None:
    parts = [listing_part(CLAIMS), photo_part(photo(kind="WEBP"), "photo.png", "text/plain")]
    response = await gateway.client.post(LISTINGS, files=parts)
    assert response.json()["photos"][0]["media_type"] == "image/webp"


async def test_the_same_photo_twice_in_a_listing_counts_once(gateway: Gateway) -> None:
    response = await gateway.post(photo(1), photo(2), photo(1))
    assert len(response.json()["photos"]) == 2
    assert len(gateway.producer.uploads) == 2


async def test_the_callers_updated_at_is_the_revision_to_the_microsecond(gateway: Gateway) -> None:
    claims = {**CLAIMS, "updated_at": "2026-02-01T12:00:00.123456+01:00"}
    response = await gateway.post(claims=claims)
    moment = datetime(2026, 2, 1, 11, 0, 0, 123456, tzinfo=UTC)
    assert response.json()["revision"] == (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


async def test_updated_at_may_lie_five_minutes_ahead_and_no_more(gateway: Gateway) -> None:
    def ahead(seconds: int) -> dict[str, Any]:
        moment = datetime.fromtimestamp(NOW / 1_000_000, UTC) + timedelta(seconds=seconds)
        return {**CLAIMS, "updated_at": moment.isoformat()}

    assert (await gateway.post(claims=ahead(300))).status_code == 202
    late = await gateway.post(claims=ahead(301))
    assert problem(late) == "updated-at-too-far-ahead"
    assert "301" in late.json()["detail"]


async def test_the_parts_may_come_in_any_order_and_in_any_pieces(gateway: Gateway) -> None:
    boundary = b"frontier"
    body = b"".join(
        b"--frontier\r\nContent-Disposition: form-data; " + head + b"\r\n\r\n" + content + b"\r\n"
        for head, content in (
            (b'name="photos"; filename="a.jpg"\r\nContent-Type: image/jpeg', photo(1)),
            (b'name="listing"', json.dumps(CLAIMS).encode()),
            (b'name="photos"', photo(2)),
        )
    )
    body += b"--frontier--\r\n"

    async def in_pieces() -> AsyncIterator[bytes]:
        for at in range(0, len(body), 37):
            yield body[at : at + 37]

    headers = {"Content-Type": f"multipart/form-data; boundary={boundary.decode()}"}
    response = await gateway.client.post(LISTINGS, content=in_pieces(), headers=headers)
    assert response.status_code == 202, response.text
    assert len(response.json()["photos"]) == 2


# --- events -----------------------------------------------------------------------------------------------------------


async def test_the_callers_trace_goes_on_in_the_events(gateway: Gateway) -> None:
    trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"
    headers = {"traceparent": f"00-{trace_id}-00f067aa0ba902b7-01"}
    await gateway.client.post(LISTINGS, files=form(CLAIMS, photo()), headers=headers)
    for event in gateway.producer.sent:
        assert event.headers["traceparent"].decode().split("-")[1] == trace_id


async def test_without_a_trace_one_begins_and_refusals_name_it(gateway: Gateway) -> None:
    await gateway.post()
    traces = {event.headers["traceparent"].decode().split("-")[1] for event in gateway.producer.sent}
    assert len(traces) == 1
    assert len((await gateway.post(b"no photo")).json()["trace_id"]) == 32


async def test_event_ids_tell_events_apart_and_repeats_from_news(gateway: Gateway) -> None:
    claims = {**CLAIMS, "updated_at": "2026-02-01T12:00:00Z"}
    for _ in range(2):
        await gateway.client.put(f"{LISTINGS}/mine", files=form(claims, photo(1), photo(2)))
    ids = [event.headers["ce_id"] for event in gateway.producer.sent]
    assert ids[:3] == ids[3:] and len(set(ids)) == 3


# --- one upload, one effect -------------------------------------------------------------------------------------------


async def test_a_repeat_with_the_same_key_is_answered_the_same_and_happens_once(gateway: Gateway) -> None:
    first = await gateway.post(photo(1), photo(2), key="k1")
    gateway.clock[0] += 60_000_000
    again = await gateway.post(photo(1), photo(2), key="k1")
    assert (again.status_code, again.json()) == (202, first.json())
    assert len(gateway.producer.sent) == 3


async def test_a_repeat_produces_again_when_the_first_try_was_not_acknowledged(gateway: Gateway) -> None:
    gateway.producer.away = True
    failed = await gateway.post(key="k1")
    assert problem(failed) == "broker-unavailable" and failed.status_code == 503
    assert "retry-after" in failed.headers
    gateway.producer.away = False
    gateway.clock[0] += 60_000_000
    again = await gateway.post(key="k1")
    assert again.status_code == 202
    assert gateway.producer.topics == ["listing.changed", "image.uploaded"]
    assert again.json()["revision"] == NOW, "the revision is that of the first acceptance"


async def test_the_same_key_with_another_body_is_refused(gateway: Gateway) -> None:
    await gateway.post(photo(1), key="k1")
    for other in (
        await gateway.post(photo(2), key="k1"),
        await gateway.post(photo(1), claims={**CLAIMS, "title": "Another"}, key="k1"),
        await gateway.post(photo(1), photo(2), key="k1"),
        await gateway.client.put(f"{LISTINGS}/x", files=form(CLAIMS, photo(1)), headers={"Idempotency-Key": "k1"}),
    ):
        assert problem(other) == "idempotency-key-reused" and other.status_code == 422
        assert other.json()["where"] == {"header": "Idempotency-Key"}
    assert len(gateway.producer.sent) == 2


async def test_a_refused_upload_leaves_its_key_free(gateway: Gateway) -> None:
    assert problem(await gateway.post(b"no photo", key="k1")) == "not-a-photo"
    assert (await gateway.post(key="k1")).status_code == 202


async def test_the_same_key_of_another_seller_is_another_key(gateway: Gateway) -> None:
    mine = await gateway.post(key="k1")
    theirs = await gateway.post(claims={**CLAIMS, "seller_id": "seller-43"}, key="k1")
    assert theirs.status_code == 202
    assert mine.json()["listing_id"] != theirs.json()["listing_id"]


async def test_the_same_key_at_once_is_one_listing_with_one_revision(gateway: Gateway) -> None:
    gateway.clock[1] = 1
    answers = await asyncio.gather(*(gateway.post(key="k1") for _ in range(6)))
    assert {response.status_code for response in answers} == {202}
    assert len({response.text for response in answers}) == 1
    assert len({event.headers["ce_id"] for event in gateway.producer.sent}) == 2
    assert len(gateway.objects("photos/")) == 1


async def test_uploads_without_a_key_are_uploads_of_their_own(gateway: Gateway) -> None:
    one, other = await gateway.post(), await gateway.post()
    assert one.json()["listing_id"] != other.json()["listing_id"]
    assert one.json()["photos"] == other.json()["photos"]
    assert len(gateway.objects("photos/")) == 1, "the same bytes are stored once"


@pytest.mark.parametrize("key", [" ", "x" * 256])
async def test_a_key_that_cannot_be_one_is_refused(gateway: Gateway, key: str) -> None:
    response = await gateway.client.post(
        LISTINGS, files=form(CLAIMS, photo()), headers={"Idempotency-Key": key.replace(" ", "")}
    )
    assert problem(response) == "bad-idempotency-key"


async def test_without_the_broker_nothing_is_promised(gateway: Gateway) -> None:
    gateway.producer.away = True
    assert problem(await gateway.post()) == "broker-unavailable"
    assert gateway.objects("listings/") and not [o for o in gateway.objects("listings/") if o.endswith("accepted")]


async def test_without_the_store_the_upload_is_refused_for_now(gateway: Gateway) -> None:
    (gateway.folder / "photos").write_bytes(b"a file where a folder should be")
    response = await gateway.post()
    assert problem(response) == "store-unavailable" and response.status_code == 503
    assert not gateway.producer.sent


# --- PUT --------------------------------------------------------------------------------------------------------------


async def test_a_put_states_the_whole_listing_and_may_name_photos_that_it_has(gateway: Gateway) -> None:
    first = (await gateway.post(photo(1), photo(2))).json()
    kept = first["photos"][1]["sha256"]
    gateway.clock[0] += 1
    claims = {**CLAIMS, "title": "Better title", "photos": [{"upload": 0}, {"sha256": kept}]}
    response = await gateway.client.put(f"{LISTINGS}/{first['listing_id']}", files=form(claims, photo(3)))

    assert response.status_code == 202, response.text
    answer = response.json()
    assert (answer["listing_id"], answer["revision"]) == (first["listing_id"], NOW + 1)
    assert [p["sha256"] for p in answer["photos"]][1] == kept
    before, after = gateway.producer.changes
    assert after.listing.claims.title == "Better title"
    assert after.listing.photos[1] == before.listing.photos[1], "with the summary of its metadata"
    assert before.listing.photos[0] not in after.listing.photos
    assert [upload.revision for upload in gateway.producer.uploads[2:]] == [NOW + 1, NOW + 1]


async def test_a_put_may_do_without_any_upload(gateway: Gateway) -> None:
    first = (await gateway.post(photo(1))).json()
    claims = {**CLAIMS, "photos": [{"sha256": first["photos"][0]["sha256"]}]}
    response = await gateway.client.put(f"{LISTINGS}/{first['listing_id']}", files=form(claims))
    assert response.json()["photos"] == first["photos"]


async def test_uploads_that_are_not_named_follow_those_that_are(gateway: Gateway) -> None:
    a, b, c = (photo(n) for n in range(3))
    plain = (await gateway.post(a, b, c)).json()["photos"]
    claims = {**CLAIMS, "photos": [{"upload": 2}]}
    ordered = (await gateway.post(a, b, c, claims=claims)).json()["photos"]
    assert ordered == [plain[2], plain[0], plain[1]]


async def test_a_strangers_photo_cannot_be_had_by_its_hash(gateway: Gateway) -> None:
    theirs = (await gateway.post(photo(1))).json()["photos"][0]["sha256"]
    response = await gateway.client.put(f"{LISTINGS}/mine", files=form({**CLAIMS, "photos": [{"sha256": theirs}]}))
    assert problem(response) == "unknown-photo"
    assert theirs in response.json()["detail"]


async def test_a_put_to_a_new_id_creates_the_listing_under_it(gateway: Gateway) -> None:
    response = await gateway.client.put(f"{LISTINGS}/shop-7.item_1", files=form(CLAIMS, photo()))
    assert response.status_code == 202
    assert gateway.producer.changes[0].listing_id == "shop-7.item_1"


@pytest.mark.parametrize("listing_id", ["{tag}", "a b", "-x", "x" * 65, "..."])
async def test_an_id_that_cannot_be_a_key_is_refused(gateway: Gateway, listing_id: str) -> None:
    response = await gateway.client.put(f"{LISTINGS}/{listing_id}", files=form(CLAIMS, photo()))
    assert problem(response) == "invalid-request"
    assert response.json()["where"] == {"parameter": "listing_id"}


async def test_anothers_listing_cannot_be_stated(gateway: Gateway) -> None:
    await gateway.client.put(f"{LISTINGS}/mine", files=form(CLAIMS, photo()))
    theirs = {**CLAIMS, "seller_id": "seller-43"}
    response = await gateway.client.put(f"{LISTINGS}/mine", files=form(theirs, photo()))
    assert problem(response) == "not-the-owner" and response.status_code == 403
    assert response.json()["where"] == {"part": "listing", "field": "seller_id"}
    assert "seller-42" not in response.text


async def test_news_that_are_late_are_refused(gateway: Gateway) -> None:
    await gateway.client.put(f"{LISTINGS}/mine", files=form(CLAIMS, photo()))
    late = {**CLAIMS, "updated_at": "2026-02-01T12:00:00Z"}
    response = await gateway.client.put(f"{LISTINGS}/mine", files=form(late, photo()))
    assert problem(response) == "stale-revision" and response.status_code == 409
    assert response.json()["where"] == {"part": "listing", "field": "updated_at"}


# --- ids --------------------------------------------------------------------------------------------------------------


async def test_the_id_of_a_key_is_told_before_and_after_it_was_used(gateway: Gateway) -> None:
    asked = {"seller_id": "seller-42", "key": "item 1"}
    before = await gateway.client.get("/v1/listing-id", params=asked)
    assert before.status_code == 200, before.text
    posted = await gateway.post(key="item 1")
    assert before.json() == {"listing_id": posted.json()["listing_id"]}
    assert (await gateway.client.get("/v1/listing-id", params=asked)).json() == before.json()


@pytest.mark.parametrize(
    ("asked", "parameter"),
    [
        ({"seller_id": "seller-42"}, "key"),
        ({"seller_id": "seller-42", "key": ""}, "key"),
        ({"seller_id": "seller-42", "key": "é"}, "key"),
        ({"seller_id": " ", "key": "k"}, "seller_id"),
        ({"seller_id": "s\u200b", "key": "k"}, "seller_id"),
    ],
)
async def test_an_id_is_asked_by_what_could_be_a_seller_and_a_key(
    gateway: Gateway, asked: dict[str, str], parameter: str
) -> None:
    response = await gateway.client.get("/v1/listing-id", params=asked)
    assert problem(response) == "invalid-request"
    assert response.json()["where"] == {"parameter": parameter}


# --- DELETE -----------------------------------------------------------------------------------------------------------


async def test_a_takedown_is_published_and_final(gateway: Gateway) -> None:
    listing_id = (await gateway.post()).json()["listing_id"]
    response = await gateway.client.delete(f"{LISTINGS}/{listing_id}")
    assert (response.status_code, response.json()["status"]) == (202, "removed")
    assert gateway.producer.changes[-1].removed.reason == "takedown"
    assert gateway.producer.changes[-1].listing_id == listing_id
    gone = await gateway.client.put(f"{LISTINGS}/{listing_id}", files=form(CLAIMS, photo()))
    assert problem(gone) == "listing-removed" and gone.status_code == 410
    assert problem(await gateway.client.get(f"{LISTINGS}/{listing_id}")) == "no-such-listing"


async def test_a_listing_that_was_taken_down_is_not_found_while_the_lookups_still_know_it(gateway: Gateway) -> None:
    listing_id = (await gateway.post()).json()["listing_id"]
    gateway.lookup.known[listing_id] = enriched_pb2.EnrichedListing(listing_id=listing_id, seller_id="seller-42")
    assert (await gateway.client.get(f"{LISTINGS}/{listing_id}")).status_code == 200
    assert (await gateway.client.delete(f"{LISTINGS}/{listing_id}")).status_code == 202
    response = await gateway.client.get(f"{LISTINGS}/{listing_id}")
    assert problem(response) == "no-such-listing" and response.status_code == 404
    gateway.lookup.away = True
    assert (await gateway.client.get(f"{LISTINGS}/{listing_id}")).status_code == 404, "nobody need be asked"


async def test_a_takedown_of_what_was_never_heard_of_is_not_found_and_writes_nothing(gateway: Gateway) -> None:
    response = await gateway.client.delete(f"{LISTINGS}/unheard-of")
    assert problem(response) == "no-such-listing" and response.status_code == 404
    assert not gateway.producer.sent and not gateway.objects("")


async def test_a_takedown_that_the_broker_did_not_take_is_in_force_all_the_same(gateway: Gateway) -> None:
    listing_id = (await gateway.post()).json()["listing_id"]
    gateway.producer.away = True
    response = await gateway.client.delete(f"{LISTINGS}/{listing_id}")
    assert problem(response) == "broker-unavailable" and "may still be completed" in response.json()["detail"]
    gateway.producer.away = False
    assert problem(await gateway.client.get(f"{LISTINGS}/{listing_id}")) == "no-such-listing"
    gone = await gateway.client.put(f"{LISTINGS}/{listing_id}", files=form(CLAIMS, photo()))
    assert problem(gone) == "listing-removed"
    again = await gateway.client.delete(f"{LISTINGS}/{listing_id}")
    assert again.status_code == 202
    assert gateway.producer.changes[-1].revision == again.json()["revision"]


async def test_a_takedown_that_is_repeated_is_answered_the_same(gateway: Gateway) -> None:
    listing_id = (await gateway.post()).json()["listing_id"]
    first = await gateway.client.delete(f"{LISTINGS}/{listing_id}")
    gateway.clock[0] += 60_000_000
    again = await gateway.client.delete(f"{LISTINGS}/{listing_id}")
    assert (again.status_code, again.json()) == (202, first.json())


# --- who calls, and how much ------------------------------------------------------------------------------------------


@asynccontextmanager
async def called(gateway: Gateway, host: str = "127.0.0.1", **parts: Any) -> AsyncIterator[httpx.AsyncClient]:
    """The same gateway with other parts, called from an address."""
    with ThreadPoolExecutor(2) as decoders:
        settings = GatewaySettings()
        app = create_app(Intake(gateway.store, gateway.producer, settings, decoders), gateway.lookup, settings, **parts)
        transport = httpx.ASGITransport(app, raise_app_exceptions=False, client=(host, 4711))
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
            yield client


async def test_a_small_put_that_names_a_dozen_known_photos_is_counted_as_a_dozen(gateway: Gateway) -> None:
    rate = PhotoRate(60, lambda: 0.0)
    async with called(gateway, photo_rate=rate) as client:
        sent = [photo(n) for n in range(12)]
        first = await client.put(f"{LISTINGS}/mine", files=form(CLAIMS, *sent))
        known = [{"sha256": one["sha256"]} for one in first.json()["photos"]]
        naming = form({**CLAIMS, "photos": known})
        answers = [await client.put(f"{LISTINGS}/mine", files=naming) for _ in range(10)]
        refused = answers[-1]
        assert [answer.status_code for answer in answers] == [202] * 4 + [429] * 6
        assert problem(refused) == "too-many-photos-per-minute"
        assert int(refused.headers["retry-after"]) >= 1
        assert len(gateway.producer.uploads) == 60, "and not 132"
        assert (await client.get(f"{LISTINGS}/mine")).status_code == 200, "uploads are metered, nothing else is"


async def test_whoever_is_elsewhere_may_not_review(gateway: Gateway) -> None:
    gateway.lookup.known["mine"] = blocked_copy()
    async with called(gateway, "10.0.0.7") as client:
        refused = await client.get(f"{LISTINGS}/mine?view=reviewer")
        assert (problem(refused), refused.status_code) == ("not-allowed", 403)
        assert (await client.get(f"{LISTINGS}/mine")).status_code == 200


async def test_a_caller_without_the_scope_or_the_seller_uploads_nothing(gateway: Gateway) -> None:
    reviews = Caller("token 1", None, frozenset({"review"}))
    sells = Caller("token 2", frozenset({"seller-1"}), frozenset({"upload"}))
    for caller in (reviews, sells):
        async with called(gateway, caller_of=lambda _, caller=caller: caller) as client:
            for refused in (
                await client.post(LISTINGS, files=form(CLAIMS, photo())),
                await client.put(f"{LISTINGS}/mine", files=form(CLAIMS, photo())),
            ):
                assert (problem(refused), refused.status_code) == ("not-allowed", 403)
    async with called(gateway, caller_of=lambda _: reviews) as client:
        assert problem(await client.delete(f"{LISTINGS}/mine")) == "not-allowed"
    assert not gateway.producer.sent
    async with called(gateway, caller_of=lambda _: sells) as client:
        own = form({**CLAIMS, "seller_id": "seller-1"}, photo())
        assert (await client.post(LISTINGS, files=own)).status_code == 202


# --- GET --------------------------------------------------------------------------------------------------------------


async def test_right_after_the_yes_a_lookup_says_pending(gateway: Gateway) -> None:
    listing_id = (await gateway.post()).json()["listing_id"]
    response = await gateway.client.get(f"{LISTINGS}/{listing_id}")
    assert response.status_code == 200
    assert (response.json()["listing_id"], response.json()["status"]) == (listing_id, "pending")


async def test_a_lookup_tells_in_plain_words_what_was_found(gateway: Gateway) -> None:
    found = enriched_pb2.EnrichedListing(
        listing_id="mine",
        revision=NOW,
        seller_id="seller-42",
        status=enriched_pb2.EnrichedListing.STATUS_PARTIAL,
        category=image_pb2.Category(
            label="t-shirt",
            path=["garments", "t-shirt"],
            confidence=0.9,
            taxonomy_id="aa-1-13-8",
            origin=image_pb2.Category.ORIGIN_BOTH,
        ),
        attributes=[
            image_pb2.Attribute(
                name="colour", value="blue", confidence=0.8, source=image_pb2.Attribute.SOURCE_SEEN, lab_distance=4.5
            ),
            image_pb2.Attribute(name="size", value="M", confidence=0.8, source=image_pb2.Attribute.SOURCE_READ),
        ],
        fraud=image_pb2.Fraud(
            score=0.95,
            decision=image_pb2.Fraud.DECISION_BLOCK,
            reasons=[image_pb2.Reason(code="copy", strength=1, other_listing_id="theirs", distance=4)],
        ),
        photos=[enriched_pb2.EnrichedPhoto(missing=[enriched_pb2.FACET_EMBEDDING])],
    )
    found.claims.title = "Blue cotton t-shirt"
    found.claims.price.currency_code, found.claims.price.units, found.claims.price.nanos = "EUR", 19, 500_000_000
    gateway.lookup.known["mine"] = found
    told = (await gateway.client.get(f"{LISTINGS}/mine")).json()
    assert (told["status"], told["revision"]) == ("partial", NOW)
    assert told["category"] == {
        "label": "t-shirt",
        "path": ["garments", "t-shirt"],
        "confidence": 0.9,
        "taxonomy": "aa-1-13-8",
        "name": "T-Shirts",
        "origin": "both",
    }
    assert [(one["source"], one["lab_distance"]) for one in told["attributes"]] == [("seen", 4.5), ("read", None)]
    assert (told["fraud"]["decision"], told["fraud"]["reasons"][0]["code"]) == ("block", "copy")
    assert told["claims"]["price"] == {"amount": "19.50", "currency": "EUR"}
    assert told["photos"][0]["missing"] == ["embedding"]
    assert told["photos"][0]["attributes"] is None, "not looked at differs from none found"


@pytest.mark.parametrize(
    ("accepted", "language", "name"),
    [
        ("de-AT, de;q=0.9, en;q=0.5", "de", "Kleider"),
        ("zh-TW", "zh-CN", "连衣裙"),
        ("sv", "en", "Dresses"),
        (None, "en", "Dresses"),
    ],
)
async def test_names_come_in_the_callers_language(
    gateway: Gateway, accepted: str | None, language: str, name: str
) -> None:
    gateway.lookup.known["mine"] = enriched_pb2.EnrichedListing(
        listing_id="mine",
        category=image_pb2.Category(path=["garments"], taxonomy_id="aa-1-4"),
        photos=[
            enriched_pb2.EnrichedPhoto(category=image_pb2.Category(path=["garments"], taxonomy_id="aa-1-4")),
            enriched_pb2.EnrichedPhoto(category=image_pb2.Category()),
        ],
    )
    headers = {"Accept-Language": accepted} if accepted else {}
    response = await gateway.client.get(f"{LISTINGS}/mine", headers=headers)
    told = response.json()
    assert told["category"]["name"] == told["photos"][0]["category"]["name"] == name
    assert (told["photos"][1]["category"]["taxonomy"], told["photos"][1]["category"]["name"]) == (None, None)
    assert "origin" not in told["photos"][0]["category"], "it comes from the photo"
    assert (response.headers["Content-Language"], response.headers["Vary"]) == (language, "Accept-Language")


def blocked_copy() -> enriched_pb2.EnrichedListing:
    """A thief's listing, as the fraud worker of an earlier version judged it: its text names the victim."""
    reason = image_pb2.Reason(
        code="copy",
        strength=0.9,
        explanation="Looks the same as a photo of listing theirs, which seller victim uploaded first, at 09:30.",
        other_listing_id="theirs",
        other_photo_sha256="ab" * 32,
        other_seller_id="victim",
        distance=4,
    )
    reason.other_uploaded_at.FromMicroseconds(NOW)
    fraud = image_pb2.Fraud(score=0.9, decision=image_pb2.Fraud.DECISION_BLOCK, reasons=[reason])
    photo = enriched_pb2.EnrichedPhoto(fraud=fraud)
    return enriched_pb2.EnrichedListing(listing_id="mine", seller_id="thief", fraud=fraud, photos=[photo])


@pytest.mark.parametrize("query", ["", "?view=seller"])
async def test_a_thief_is_told_that_it_is_a_copy_and_not_whose(gateway: Gateway, query: str) -> None:
    gateway.lookup.known["mine"] = blocked_copy()
    response = await gateway.client.get(f"{LISTINGS}/mine{query}")
    told = response.json()
    assert told["fraud"]["decision"] == "block"
    for fraud in (told["fraud"], told["photos"][0]["fraud"]):
        (reason,) = fraud["reasons"]
        assert (reason["code"], reason["distance"]) == ("copy", 4)
        assert "another seller" in reason["explanation"]
        assert not [name for name in reason if name.startswith("other_")]
    for secret in ("theirs", "victim", "abab", "09:30"):
        assert secret not in response.text


async def test_shoppers_are_told_nothing_of_fraud(gateway: Gateway) -> None:
    gateway.lookup.known["mine"] = blocked_copy()
    assert problem(await gateway.client.get(f"{LISTINGS}/mine?view=shopper")) == "no-such-listing"
    gateway.lookup.known["mine"].fraud.decision = image_pb2.Fraud.DECISION_REVIEW
    told = (await gateway.client.get(f"{LISTINGS}/mine?view=shopper")).json()
    assert (told["fraud"], told["photos"][0]["fraud"]) == (None, None)


async def test_reviewers_are_told_whose_the_original_is(gateway: Gateway) -> None:
    gateway.lookup.known["mine"] = blocked_copy()
    (reason,) = (await gateway.client.get(f"{LISTINGS}/mine?view=reviewer")).json()["fraud"]["reasons"]
    assert (reason["other_listing_id"], reason["other_seller_id"]) == ("theirs", "victim")
    assert reason["other_photo_sha256"] == "ab" * 32
    assert datetime.fromisoformat(reason["other_uploaded_at"]).timestamp() == NOW / 1_000_000


async def test_a_view_that_is_none_is_refused(gateway: Gateway) -> None:
    response = await gateway.client.get(f"{LISTINGS}/mine?view=everything")
    assert (problem(response), response.json()["where"]) == ("invalid-request", {"parameter": "view"})


async def test_a_lookup_of_an_unknown_listing_is_not_found(gateway: Gateway) -> None:
    response = await gateway.client.get(f"{LISTINGS}/unknown")
    assert problem(response) == "no-such-listing" and response.status_code == 404


async def test_lookups_are_unavailable_and_uploads_are_not_when_the_recommendation_service_is_away(
    gateway: Gateway,
) -> None:
    gateway.lookup.away = True
    listing_id = (await gateway.post()).json()["listing_id"]
    response = await gateway.client.get(f"{LISTINGS}/{listing_id}")
    assert problem(response) == "lookup-unavailable" and response.status_code == 503


# --- health and metrics -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/startz", "/livez", "/readyz", "/metrics"])
async def test_what_is_for_operators_is_not_on_the_port_for_callers(gateway: Gateway, path: str) -> None:
    assert problem(await gateway.client.get(path)) == "no-such-page"


def sample(name: str, **labels: str) -> float:
    return metrics.INTAKE.get_sample_value(name, labels) or 0.0


async def test_requests_photos_and_refusals_are_counted(gateway: Gateway) -> None:
    route = {"method": "POST", "route": LISTINGS}
    before = {
        "202": sample("vitrine_gateway_request_seconds_count", **route, status="202"),
        "415": sample("vitrine_gateway_request_seconds_count", **route, status="415"),
        "refused": sample("vitrine_gateway_refused_total", problem="not-a-photo"),
        "photos": sample("vitrine_gateway_accepted_photos_total"),
    }
    await gateway.post(photo(1), photo(2))
    await gateway.post(b"no photo")
    await gateway.client.get("/no/such/page")
    assert sample("vitrine_gateway_request_seconds_count", **route, status="202") == before["202"] + 1
    assert sample("vitrine_gateway_request_seconds_count", **route, status="415") == before["415"] + 1
    assert sample("vitrine_gateway_refused_total", problem="not-a-photo") == before["refused"] + 1
    assert sample("vitrine_gateway_accepted_photos_total") == before["photos"] + 2
    told = generate_latest(metrics.INTAKE).decode()
    assert 'route="unknown",status="404"' in told and "/no/such/page" not in told, "no labels of a caller's invention"


# --- OpenAPI ----------------------------------------------------------------------------------------------------------


async def test_openapi_describes_the_form_its_claims_and_the_problems(gateway: Gateway) -> None:
    told = (await gateway.client.get("/openapi.json")).json()
    post = told["paths"][LISTINGS]["post"]
    assert "multipart/form-data" in post["requestBody"]["content"]
    assert "application/problem+json" in post["responses"]["422"]["content"]
    schemas = told["components"]["schemas"]
    assert {"ListingClaims", "Price", "PhotoReference", "ProblemDetails", "Where", "Accepted", "Listing"} <= set(
        schemas
    )
    assert set(schemas["ListingClaims"]["required"]) == {"seller_id", "title"}
    assert schemas["ListingClaims"]["examples"] and schemas["ProblemDetails"]["examples"]
    assert "HTTPValidationError" not in schemas, "every refusal is a problem detail"
    assert set(told["paths"][LISTINGS + "/{listing_id}"]) == {"get", "put", "delete"}
    unresolved = [name for name in references(told) if name not in schemas]
    assert not unresolved


async def test_run_prints_the_address_where_the_api_is_described(gateway: Gateway) -> None:
    plan = Plan(Path("home"))
    described = re.search(f"described at {plan.gateway_url}([^)]*)", next(addresses(plan, "", "")))
    assert described is not None
    response = await gateway.client.get(described[1])
    assert response.status_code == 200 and "/v1/listings" in response.json()["paths"]


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(target := node.get("$ref"), str):
            yield target.rpartition("/")[2]
        for child in node.values():
            yield from references(child)
    elif isinstance(node, list):
        for child in node:
            yield from references(child)
