"""The lookups through a real gRPC server and a real Redis, with an embedding service that is a fake."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from vitrine.embedding.v1 import embedding_pb2, embedding_pb2_grpc
from vitrine.events.v1 import enriched_pb2, image_pb2, listing_pb2
from vitrine.recommendation.v1 import recommendation_pb2 as api
from vitrine.recommendation.v1.recommendation_pb2_grpc import RecommendationServiceStub

from services.recommendation.fields import Enriched
from services.recommendation.index import RedisVectorIndex
from services.recommendation.lookups import MAX_BATCH, MAX_LIMIT, Lookups
from services.recommendation.server import SERVICE, EmbeddingClient, LookupServer
from services.recommendation.store import Records, RedisRecords
from shared.errors import CannotListen, Transient
from shared.grpc import MAX_QUESTION_BYTES, Bounds
from shared.health import Health
from shared.limits import MAX_ANSWER_BYTES, MAX_MESSAGE_BYTES, MAX_PHOTO_BYTES
from shared.metrics import RPC
from shared.redis import connect
from tests.exact_index import ExactVectorIndex
from tests.joining import SPACE, MemoryRecords, assessed, changed, filled, results, unit

if TYPE_CHECKING:
    # Only the stubs know it.
    from vitrine.recommendation.v1.recommendation_pb2_grpc import RecommendationServiceAsyncStub

Code = grpc.StatusCode
PROJECT = Path(__file__).parents[3]


class FakeEmbedding(embedding_pb2_grpc.EmbeddingServiceServicer):
    """Embeds a photo of one byte by that byte; refuses "text"; never ends with "slow"."""

    def __init__(self) -> None:
        self.under_way = self.most_under_way = 0
        self.remaining: float | None = None
        self.traceparent: str | bytes | None = None

    async def EmbedPhoto(self, request: embedding_pb2.EmbedPhotoRequest, context: Any) -> Any:  # noqa: N802
        self.remaining = context.time_remaining()
        self.traceparent = dict(context.invocation_metadata()).get("traceparent")
        if request.photo == b"text":
            await context.abort(Code.INVALID_ARGUMENT, "not a photo")
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            # Others get their turn, so that they would be seen here at the same time.
            await (asyncio.Future() if request.photo == b"slow" else asyncio.sleep(0.05))
        finally:
            self.under_way -= 1
        return embedding_pb2.EmbedPhotoResponse(space=SPACE, vector=unit(request.photo[0]).tolist())


@dataclass
class Served:
    """A running server and what talks to it."""

    stub: "RecommendationServiceAsyncStub"
    channel: aio.Channel
    server: LookupServer
    health: Health
    embedding: FakeEmbedding
    embedding_server: aio.Server


IN_5_SECONDS = Bounds(seconds=5.0)


@asynccontextmanager
async def served(
    records: Records, index: Any, bounds: Bounds = IN_5_SECONDS, max_age_seconds: float = 60.0
) -> AsyncIterator[Served]:
    fake, embedding_server = FakeEmbedding(), aio.server(options=[("grpc.max_receive_message_length", -1)])
    embedding_pb2_grpc.add_EmbeddingServiceServicer_to_server(fake, embedding_server)
    port = embedding_server.add_insecure_port("127.0.0.1:0")
    await embedding_server.start()
    health = Health()
    client = EmbeddingClient(f"127.0.0.1:{port}")
    server = LookupServer(records, Lookups(records, index), client, health, bounds, max_age_seconds)
    address = f"127.0.0.1:{await server.start('127.0.0.1', 0)}"
    async with aio.insecure_channel(address) as channel:
        yield Served(RecommendationServiceStub(channel), channel, server, health, fake, embedding_server)
    await server.stop(0)
    await embedding_server.stop(0)
    await client.close()


@pytest.fixture
async def shop() -> AsyncIterator[Served]:
    """Three listings in memory."""
    records, index = MemoryRecords(), ExactVectorIndex()
    for seed, name in enumerate("abc"):
        await filled(records, index, changed(name, 1), *results(name, 1, seed=seed))
    async with served(records, index) as running:
        yield running


def fails(code: Code, says: str) -> "pytest.RaisesExc[aio.AioRpcError]":
    return pytest.raises(aio.AioRpcError, check=lambda why: why.code() == code and says in (why.details() or ""))


def full(listing_id: str, photos: int = 12) -> Enriched:
    """As much as a listing can say: the most photos, each a copy of another with a reason, in long words."""
    random = Random(listing_id)

    def text(length: int) -> str:
        return "".join(random.choices("abcdefghijklmnopqrstuvwxyz äöü 照片", k=length))

    def photo() -> enriched_pb2.EnrichedPhoto:
        sha256, other = (random.randbytes(32).hex() for _ in range(2))
        attributes = [
            image_pb2.Attribute(
                name=name, value=text(12), confidence=random.random(), source=image_pb2.Attribute.SOURCE_READ
            )
            for name in ("brand", "colour", "material", "net_content", "size", "storage")
        ]
        reason = image_pb2.Reason(
            code="copied_photo",
            strength=random.random(),
            explanation=f"This photo was first offered by another seller, in listing {other[:32]} ({text(60)}).",
            other_listing_id=other[:32],
            other_photo_sha256=other,
            distance=4,
        )
        return enriched_pb2.EnrichedPhoto(
            photo=listing_pb2.Photo(sha256=sha256, object_key=f"{sha256[:2]}/{sha256}", media_type="image/jpeg"),
            category=image_pb2.Category(
                label="t-shirt",
                path=["garments", "t-shirt"],
                confidence=random.random(),
                taxonomy_id="aa-1-13-8",
                display_name="T-Shirts",
            ),
            attributes=enriched_pb2.ImageAttributes(attributes=attributes),
            embedding_space=SPACE,
            fraud=image_pb2.Fraud(
                score=random.random(), decision=image_pb2.Fraud.DECISION_REVIEW, reasons=[reason, reason]
            ),
        )

    shown = [photo() for _ in range(photos)]
    return Enriched(
        listing_id=listing_id,
        revision=random.randrange(2**50),
        seller_id=text(128),
        claims=listing_pb2.Claims(title=text(500), category=text(200), brand=text(200)),
        status=Enriched.STATUS_COMPLETE,
        attributes=shown[0].attributes.attributes,
        fraud=image_pb2.Fraud(
            score=1, decision=image_pb2.Fraud.DECISION_REVIEW, reasons=[r for one in shown for r in one.fraud.reasons]
        ),
        photos=shown,
    )


class FullRecords(MemoryRecords):
    """Knows every listing, and each is full."""

    photos = 12

    async def records(self, listing_ids: Sequence[str]) -> list[Enriched | None]:
        return [full(listing_id, self.photos) for listing_id in listing_ids]


@pytest.mark.parametrize("photos", [12, 200])
async def test_a_batch_of_full_listings_fits_a_client_of_grpcs_defaults_and_names_the_rest(photos: int) -> None:
    records = FullRecords()
    records.photos = photos
    ids = [f"{n:032x}" for n in range(MAX_BATCH if photos == 12 else 20)]
    seen: list[str] = []
    sizes = []

    def request(listing_ids: Sequence[str]) -> api.BatchGetListingsRequest:
        return api.BatchGetListingsRequest(listing_ids=listing_ids, view=api.VIEW_REVIEWER)

    async with served(records, ExactVectorIndex(), Bounds(seconds=60.0)) as shop:
        remaining = ids
        while remaining:
            batch = await shop.stub.BatchGetListings(request(remaining))
            seen += [listing.listing_id for listing in batch.listings]
            sizes.append(batch.ByteSize())
            assert remaining == [*(listing.listing_id for listing in batch.listings), *batch.remaining]
            remaining = list(batch.remaining)
    assert seen == ids
    assert len(sizes) > 1 and max(sizes) <= MAX_ANSWER_BYTES
    assert min(sizes[:-1]) > MAX_ANSWER_BYTES / 2


async def test_the_most_hits_of_full_listings_fit_too() -> None:
    hits = [api.Hit(listing=full(f"{n:032x}"), similarity=0.5) for n in range(MAX_LIMIT)]
    assert api.SearchByPhotoResponse(hits=hits).ByteSize() <= MAX_ANSWER_BYTES
    assert api.GetListingResponse(listing=hits[0].listing).ByteSize() <= MAX_ANSWER_BYTES


async def test_the_four_lookups_on_a_real_redis(redis_url: str, unique: Callable[[str], str]) -> None:
    redis = connect(redis_url)
    records, index = RedisRecords(redis), RedisVectorIndex(redis, unique("index"))
    a, b, c = (unique(name) for name in "abc")
    for seed, name in enumerate((a, b, c)):
        await filled(records, index, changed(name, 1, seller=f"seller of {name}"), *results(name, 1, seed=seed))
    async with served(records, index) as shop:
        got = await shop.stub.GetListing(api.GetListingRequest(listing_id=a))
        assert got.listing.listing_id == a and got.listing.category.label == "t-shirt"
        batch = await shop.stub.BatchGetListings(api.BatchGetListingsRequest(listing_ids=[c, "nobody", a]))
        assert [x.listing_id for x in batch.listings] == [c, a] and list(batch.not_found) == ["nobody"]
        similar = await shop.stub.SimilarListings(
            api.SimilarListingsRequest(listing_id=a, filter=api.Filter(excluded_seller_ids=[f"seller of {b}"]))
        )
        assert [hit.listing.listing_id for hit in similar.hits] == [c]
        assert similar.hits[0].similarity == pytest.approx(float(unit(0) @ unit(2)), abs=1e-5)
        found = await shop.stub.SearchByPhoto(api.SearchByPhotoRequest(photo=b"\x01", limit=1))
        assert [hit.listing.listing_id for hit in found.hits] == [b]
        assert found.hits[0].similarity == pytest.approx(1)
    await redis.aclose()


async def test_a_search_by_id_finds_this_category_and_all_below_it_on_a_real_redis(
    redis_url: str, unique: Callable[[str], str]
) -> None:
    redis = connect(redis_url)
    records, index = RedisRecords(redis), RedisVectorIndex(redis, unique("index"))
    shirt, apple, old = (unique(name) for name in ("shirt", "apple", "old"))
    for seed, (name, category) in enumerate(
        (
            (shirt, image_pb2.Category(path=["garments", "t-shirt"], taxonomy_id="aa-1-13-8")),
            (apple, image_pb2.Category(path=["groceries", "Fruit", "Apple"], taxonomy_id="fb-2-10-7-1")),
            (old, image_pb2.Category(path=["garments", "t-shirt"])),
        )
    ):
        category.confidence = 0.95
        about = assessed(name, 1, "a", at=9)
        found = image_pb2.ImageClassified(assessment=about, category=category)
        await filled(records, index, changed(name, 1), *results(name, 1, seed=seed), found)
    async with served(records, index) as shop:

        async def ids(taxonomy_id: str) -> set[str]:
            wanted = api.Filter(taxonomy_id=taxonomy_id)
            answer = await shop.stub.SearchByPhoto(api.SearchByPhotoRequest(photo=b"\x01", filter=wanted))
            return {hit.listing.listing_id for hit in answer.hits}

        assert await ids("aa-1") == await ids("gid://shopify/TaxonomyCategory/aa-1-13-8") == {shirt}
        assert await ids("fb-2-10-7-1") == {apple} and await ids("aa-1-1") == await ids("el") == set()
        assert await ids("") == {shirt, apple, old}
        with fails(Code.INVALID_ARGUMENT, "no such id; the nearest above it is aa-1-13 (Clothing Tops)"):
            await ids("aa-1-13-99")
    await redis.aclose()


@pytest.mark.parametrize(
    ("language", "name"),
    [("", "T-Shirts"), ("pl", "T-shirty"), ("zh-Hant", "T 恤"), ("sv, da;q=0.5", "T-shirts")],
)
async def test_every_answer_names_categories_in_the_callers_language(shop: Served, language: str, name: str) -> None:
    got = await shop.stub.GetListing(api.GetListingRequest(listing_id="a", language=language))
    batch = await shop.stub.BatchGetListings(api.BatchGetListingsRequest(listing_ids=["a"], language=language))
    similar = await shop.stub.SimilarListings(api.SimilarListingsRequest(listing_id="b", language=language))
    found = await shop.stub.SearchByPhoto(api.SearchByPhotoRequest(photo=b"\x01", language=language))
    hits = [*similar.hits, *found.hits]
    for listing in (got.listing, *batch.listings, *(hit.listing for hit in hits)):
        assert listing.category.taxonomy_id == listing.photos[0].category.taxonomy_id == "aa-1-13-8"
        assert listing.category.display_name == listing.photos[0].category.display_name == name


async def test_a_refusal_has_its_code_and_says_what_to_do(shop: Served) -> None:
    with fails(Code.NOT_FOUND, "never uploaded"):
        await shop.stub.GetListing(api.GetListingRequest(listing_id="nobody"))
    with fails(Code.INVALID_ARGUMENT, "listing_id is empty"):
        await shop.stub.GetListing(api.GetListingRequest())


WHOSE = "victim"


@asynccontextmanager
async def judged() -> AsyncIterator[Served]:
    """Three listings with reasons that name another seller, of which the first would be shown."""
    records, index = MemoryRecords(), ExactVectorIndex()
    for seed, name in enumerate("abc"):
        reason = image_pb2.Reason(code="copy", explanation=f"of {WHOSE}", other_seller_id=WHOSE, strength=0.6)
        scored = image_pb2.ImageScored(
            assessment=assessed(name, 1, "a"),
            fraud=image_pb2.Fraud(score=0.6, decision=image_pb2.Fraud.DECISION_REVIEW, reasons=[reason]),
        )
        await filled(records, index, changed(name, 1), *results(name, 1, seed=seed)[:-1], scored)
    async with served(records, index) as running:
        yield running


async def test_only_reviewers_are_told_of_others() -> None:
    async with judged() as shop:
        for view in (api.VIEW_UNSPECIFIED, api.VIEW_SHOPPER, api.VIEW_SELLER, api.VIEW_REVIEWER):
            got = await shop.stub.GetListing(api.GetListingRequest(listing_id="a", view=view))
            batch = await shop.stub.BatchGetListings(api.BatchGetListingsRequest(listing_ids=["a"], view=view))
            assert list(batch.listings) == [got.listing]
            assert (WHOSE in str(got)) == (view == api.VIEW_REVIEWER)
            assert got.listing.HasField("fraud") == (view in (api.VIEW_SELLER, api.VIEW_REVIEWER))


async def test_hits_are_for_shoppers() -> None:
    async with judged() as shop:
        similar = await shop.stub.SimilarListings(api.SimilarListingsRequest(listing_id="a"))
        found = await shop.stub.SearchByPhoto(api.SearchByPhotoRequest(photo=b"\x01"))
        for hits in (similar.hits, found.hits):
            assert len(hits) >= 2
            assert not any(hit.listing.HasField("fraud") or WHOSE in str(hit) for hit in hits)


async def test_a_view_that_is_none_is_the_callers_fault(shop: Served) -> None:
    with fails(Code.INVALID_ARGUMENT, "view is 9"):
        await shop.stub.GetListing(api.GetListingRequest(listing_id="a", view=9))  # type: ignore[arg-type]
    with fails(Code.INVALID_ARGUMENT, "view is 9"):
        await shop.stub.BatchGetListings(
            api.BatchGetListingsRequest(listing_ids=["a"], view=9)  # type: ignore[arg-type]
        )


async def test_a_photo_that_the_embedding_service_refuses_is_the_callers_fault(shop: Served) -> None:
    with fails(Code.INVALID_ARGUMENT, "not a photo"):
        await shop.stub.SearchByPhoto(api.SearchByPhotoRequest(photo=b"text"))


async def test_without_the_embedding_service_photo_searches_are_unavailable_and_the_rest_goes_on(
    shop: Served,
) -> None:
    await shop.embedding_server.stop(0)
    with fails(Code.UNAVAILABLE, "embedding service"):
        await shop.stub.SearchByPhoto(api.SearchByPhotoRequest(photo=b"\x01"))
    assert len((await shop.stub.SimilarListings(api.SimilarListingsRequest(listing_id="a"))).hits) == 2


async def test_a_photo_of_20_mib_gets_through_and_a_larger_one_is_refused(shop: Served) -> None:
    photo = b"\x01" * MAX_PHOTO_BYTES
    assert (await shop.stub.SearchByPhoto(api.SearchByPhotoRequest(photo=photo), timeout=20)).hits
    with fails(Code.INVALID_ARGUMENT, "send at most"):
        await shop.stub.SearchByPhoto(api.SearchByPhotoRequest(photo=photo + b"\x01"), timeout=20)


async def test_the_callers_deadline_is_passed_on_with_something_kept_for_the_search(shop: Served) -> None:
    await shop.stub.SearchByPhoto(api.SearchByPhotoRequest(photo=b"\x01"), timeout=3)
    assert shop.embedding.remaining is not None and 1 < shop.embedding.remaining < 2.9


async def test_an_embedding_that_takes_too_long_is_a_deadline_exceeded() -> None:
    async with served(MemoryRecords(), ExactVectorIndex(), Bounds(seconds=0.5)) as shop:
        with fails(Code.DEADLINE_EXCEEDED, "give the call more time"):
            await shop.stub.SearchByPhoto(api.SearchByPhotoRequest(photo=b"slow"))


class Stuck(MemoryRecords):
    def __init__(self) -> None:
        super().__init__()
        self.asked = asyncio.Event()

    async def records(self, listing_ids: object) -> Any:
        self.asked.set()
        await asyncio.Future()


async def test_a_callers_deadline_that_passes_is_counted_as_that_and_not_as_a_caller_that_hung_up() -> None:
    def counted(code: str) -> float:
        labels = {"method": "GetListing", "code": code}
        return RPC.get_sample_value("vitrine_rpc_seconds_count", labels) or 0

    before = counted("DEADLINE_EXCEEDED"), counted("CANCELLED")
    records = Stuck()
    async with served(records, ExactVectorIndex()) as shop:
        request = api.GetListingRequest(listing_id="a")
        with fails(Code.DEADLINE_EXCEEDED, ""):
            await shop.stub.GetListing(request, timeout=0.2)
        records.asked.clear()
        hangs_up = shop.stub.GetListing(request)
        async with asyncio.timeout(5):
            await records.asked.wait()
        hangs_up.cancel()
        async with asyncio.timeout(5):
            while (counted("DEADLINE_EXCEEDED"), counted("CANCELLED")) != (before[0] + 1, before[1] + 1):  # noqa: ASYNC110  no event tells
                await asyncio.sleep(0.01)


async def test_a_call_without_a_deadline_gets_one() -> None:
    async with served(Stuck(), ExactVectorIndex(), Bounds(seconds=0.1)) as shop:
        with fails(Code.DEADLINE_EXCEEDED, "not answered within 0.1 s"):
            await shop.stub.GetListing(api.GetListingRequest(listing_id="a"))


async def test_an_hour_of_patience_is_cut_to_what_a_call_may_take() -> None:
    async with served(Stuck(), ExactVectorIndex(), Bounds(seconds=0.1)) as shop:
        with fails(Code.DEADLINE_EXCEEDED, "not answered within 0.1 s"):
            await shop.stub.GetListing(api.GetListingRequest(listing_id="a"), timeout=3600)


async def test_the_embedding_service_hears_of_no_later_deadline_than_ours(shop: Served) -> None:
    await shop.stub.SearchByPhoto(api.SearchByPhotoRequest(photo=b"\x01"), timeout=3600)
    assert shop.embedding.remaining is not None and shop.embedding.remaining < IN_5_SECONDS.seconds


async def test_calls_beyond_the_most_are_refused_and_who_hangs_up_makes_room() -> None:
    records = Stuck()
    async with served(records, ExactVectorIndex(), Bounds(calls=1, seconds=20)) as shop:
        request = api.GetListingRequest(listing_id="a")
        first = shop.stub.GetListing(request)
        async with asyncio.timeout(5):
            await records.asked.wait()
        for call in (shop.stub.GetListing(request), shop.stub.SearchByPhoto(api.SearchByPhotoRequest(photo=LARGE))):
            with fails(Code.RESOURCE_EXHAUSTED, "1 calls are under way"):
                await call
        probe: Any = health_pb2_grpc.HealthStub(shop.channel)
        assert await probe.Check(health_pb2.HealthCheckRequest(service=SERVICE))
        first.cancel()
        with fails(Code.INVALID_ARGUMENT, "listing_id is empty"):
            await let_in(shop, api.GetListingRequest())


async def let_in(shop: Served, request: api.GetListingRequest) -> None:
    """The server hears of a caller that hung up a little later."""
    async with asyncio.timeout(5):
        while True:
            try:
                await shop.stub.GetListing(request)
            except aio.AioRpcError as why:
                if why.code() != Code.RESOURCE_EXHAUSTED:
                    raise


LARGE = b"\x01" * (MAX_PHOTO_BYTES // 2)


async def test_photos_are_held_up_to_a_bound_and_the_rest_waits_in_line() -> None:
    async with served(MemoryRecords(), ExactVectorIndex(), Bounds(photo_bytes=MAX_MESSAGE_BYTES, seconds=20)) as shop:
        searches = [shop.stub.SearchByPhoto(api.SearchByPhotoRequest(photo=LARGE)) for _ in range(3)]
        assert [list((await search).hits) for search in searches] == [[], [], []]
        assert shop.embedding.most_under_way == 1


async def test_questions_are_answered_while_photos_wait() -> None:
    async with served(MemoryRecords(), ExactVectorIndex(), Bounds(photo_bytes=MAX_MESSAGE_BYTES, seconds=20)) as shop:
        searches = [shop.stub.SearchByPhoto(api.SearchByPhotoRequest(photo=b"slow")) for _ in range(3)]
        async with asyncio.timeout(5):
            while not shop.embedding.under_way:  # noqa: ASYNC110  no event tells
                await asyncio.sleep(0.01)
        with fails(Code.NOT_FOUND, "nobody"):
            await shop.stub.GetListing(api.GetListingRequest(listing_id="nobody"))
        assert shop.embedding.most_under_way == 1
        for search in searches:
            search.cancel()


async def test_who_never_sends_its_request_is_let_go_of_and_the_server_goes_on() -> None:
    bounds = Bounds(calls=1, photo_bytes=MAX_MESSAGE_BYTES, arrival_seconds=0.1)
    async with served(MemoryRecords(), ExactVectorIndex(), bounds) as shop:
        for method in ("SearchByPhoto", "GetListing"):
            call: Any = shop.channel.stream_unary(f"/{SERVICE}/{method}")()
            with fails(Code.DEADLINE_EXCEEDED, "had not arrived after 0.1 s"):
                await call
        assert not (await shop.stub.SearchByPhoto(api.SearchByPhotoRequest(photo=LARGE))).hits


TEN_MEGABYTES = api.Filter(category_path=["ä" * 1_000_000] * 5)
MANY_NAMES = api.Filter(category_path=[""] * (MAX_QUESTION_BYTES // 2 + 1))


@pytest.mark.parametrize("wanted", [TEN_MEGABYTES, MANY_NAMES], ids=["long", "many"])
async def test_a_filter_that_is_too_long_is_refused_before_it_is_parsed(shop: Served, wanted: api.Filter) -> None:
    with fails(Code.INVALID_ARGUMENT, "at most 262,144 are read"):
        await shop.stub.SimilarListings(api.SimilarListingsRequest(listing_id="a", filter=wanted))
    with fails(Code.INVALID_ARGUMENT, "beside a photo"):
        await shop.stub.SearchByPhoto(api.SearchByPhotoRequest(photo=b"\x01", filter=wanted))
    assert not shop.embedding.most_under_way


async def test_a_name_that_is_too_long_is_refused_with_its_field_and_limit(shop: Served) -> None:
    wanted = api.Filter(category_path=["ä" * 201])
    with fails(Code.INVALID_ARGUMENT, "a name in filter.category_path has 201 characters; at most 200 are allowed"):
        await shop.stub.SimilarListings(api.SimilarListingsRequest(listing_id="a", filter=wanted))


async def test_bytes_that_are_no_request_are_the_callers_fault(shop: Served) -> None:
    for method in ("GetListing", "SearchByPhoto"):
        call: Any = shop.channel.unary_unary(f"/{SERVICE}/{method}")
        for message in (b"\x0a\xff", b"\x0a\xff" * MAX_QUESTION_BYTES):
            with fails(Code.INVALID_ARGUMENT, "request"):
                await call(message)


class Forgotten(ExactVectorIndex):
    """Proposes listings that are no more, without end."""

    async def search(self, space: str, query: Any, count: int, *_: object, **__: object) -> list[str]:
        return [f"gone-{n}" for n in range(count)]


async def test_a_search_that_ended_at_a_cap_says_so_in_its_trailing_metadata_and_is_counted() -> None:
    def counted() -> float:
        return RPC.get_sample_value("vitrine_incomplete_searches_total") or 0

    records, index, before = MemoryRecords(), Forgotten(), counted()
    await filled(records, index, changed("a", 1), *results("a", 1))
    async with served(records, index) as shop:
        similar = shop.stub.SimilarListings(api.SimilarListingsRequest(listing_id="a"))
        by_photo = shop.stub.SearchByPhoto(api.SearchByPhotoRequest(photo=b"\x01"))
        for call in (similar, by_photo):
            assert not (await call).hits
            assert dict(await call.trailing_metadata())["vitrine-incomplete"] == "true"
        known = shop.stub.GetListing(api.GetListingRequest(listing_id="a"))
        assert (await known).listing.listing_id == "a"
        assert "vitrine-incomplete" not in dict(await known.trailing_metadata())
    assert counted() == before + 2


async def test_redis_away_is_unavailable_and_unhealthy_until_it_is_back() -> None:
    records = MemoryRecords()
    async with served(records, ExactVectorIndex()) as shop:
        probe: Any = health_pb2_grpc.HealthStub(shop.channel)
        records.away = Transient("Redis is away: connection refused")
        await shop.server.check()
        with fails(Code.UNAVAILABLE, "Redis is away"):
            await shop.stub.GetListing(api.GetListingRequest(listing_id="a"))
        assert "Redis" in str(shop.health.why_not_ready)
        for service in ("", SERVICE):
            answer = await probe.Check(health_pb2.HealthCheckRequest(service=service))
            assert answer.status == health_pb2.HealthCheckResponse.NOT_SERVING
        records.away = None
        await shop.server.check()
        answer = await probe.Check(health_pb2.HealthCheckRequest(service=SERVICE))
        assert answer.status == health_pb2.HealthCheckResponse.SERVING and shop.health.why_not_ready is None


async def test_a_bug_fails_its_call_and_nothing_else() -> None:
    records = MemoryRecords()
    async with served(records, ExactVectorIndex()) as shop:
        records.away = ZeroDivisionError()
        with fails(Code.INTERNAL, "bug of ours"):
            await shop.stub.GetListing(api.GetListingRequest(listing_id="a"))
        records.away = None
        with fails(Code.NOT_FOUND, "a"):
            await shop.stub.GetListing(api.GetListingRequest(listing_id="a"))


async def test_every_call_is_timed_by_method_and_code(shop: Served) -> None:
    def calls() -> float:
        labels = {"method": "GetListing", "code": "NOT_FOUND"}
        return RPC.get_sample_value("vitrine_rpc_seconds_count", labels) or 0

    before = calls()
    with pytest.raises(aio.AioRpcError):
        await shop.stub.GetListing(api.GetListingRequest(listing_id="nobody"))
    assert calls() == before + 1


async def test_the_callers_trace_reaches_the_embedding_service(shop: Served) -> None:
    from shared.tracing import start_tracing

    start_tracing("test")
    trace = "0af7651916cd43dd8448eb211c80319c"
    metadata = (("traceparent", f"00-{trace}-b7ad6b7169203331-01"),)
    await shop.stub.SearchByPhoto(api.SearchByPhotoRequest(photo=b"\x01"), metadata=metadata)
    assert trace in str(shop.embedding.traceparent)


async def test_a_connection_ends_at_its_age_so_that_its_client_hears_of_new_pods_and_no_call_fails() -> None:
    async with served(MemoryRecords(), ExactVectorIndex(), max_age_seconds=0.5) as shop:
        for _ in range(2):
            with fails(Code.NOT_FOUND, "nobody"):
                await shop.stub.GetListing(api.GetListingRequest(listing_id="nobody"))
            async with asyncio.timeout(10):
                await shop.channel.wait_for_state_change(grpc.ChannelConnectivity.READY)


async def test_reflection_lists_the_service(shop: Served) -> None:
    stub: Any = reflection_pb2_grpc.ServerReflectionStub(shop.channel)  # type: ignore[arg-type]
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    async for answer in stub.ServerReflectionInfo(iter([request])):
        assert SERVICE in [service.name for service in answer.list_services_response.service]


async def test_a_port_that_is_taken_is_an_error_and_not_half_of_the_calls() -> None:
    records = MemoryRecords()
    async with served(records, ExactVectorIndex()):
        client = EmbeddingClient("127.0.0.1:1")
        first = LookupServer(records, Lookups(records, ExactVectorIndex()), client, Health(), IN_5_SECONDS)
        port = await first.start("127.0.0.1", 0)
        second = LookupServer(records, Lookups(records, ExactVectorIndex()), client, Health(), IN_5_SECONDS)
        with pytest.raises(CannotListen, match=f"127.0.0.1:{port} can't be listened on"):
            await second.start("127.0.0.1", port)
        await first.stop(0)
        await client.close()


async def test_serve_runs_as_a_process_without_kafka_and_ends_with_0(
    redis_url: str, unique: Callable[[str], str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    env = {"VITRINE_KAFKA": "127.0.0.1:1", "VITRINE_REDIS": redis_url, "VITRINE_GRPC_PORT": str(port)}
    paths = {"PYTHONPATH": f"{PROJECT}:{PROJECT / 'shared/pb'}", "VITRINE_METRICS_PORT": "0"}
    argv = [sys.executable, "-m", "services.recommendation", "serve"]
    process = await asyncio.create_subprocess_exec(*argv, env={**os.environ, **env, **paths})
    try:
        async with aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            with fails(Code.NOT_FOUND, "never uploaded"):
                request = api.GetListingRequest(listing_id=unique("nobody"))
                await RecommendationServiceStub(channel).GetListing(request, timeout=30, wait_for_ready=True)
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 30) == 0
    finally:
        if process.returncode is None:
            process.kill()


@pytest.mark.parametrize(
    ("modules", "unwanted"),
    [
        ("server lookups index store rank settings __main__", "torch faust aiokafka confluent_kafka"),
        ("join index store settings __main__", "torch grpc"),
    ],
)
def test_serve_needs_no_kafka_client_and_join_no_grpc(modules: str, unwanted: str) -> None:
    names = [f"services.recommendation.{name}" for name in modules.split()]
    code = (
        f"import sys, importlib; sys.modules.update(dict.fromkeys({unwanted.split()}))\n"
        f"for name in {names}: importlib.import_module(name)"
    )
    subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": f"{PROJECT}:{PROJECT / 'shared/pb'}"},
        check=True,
    )
