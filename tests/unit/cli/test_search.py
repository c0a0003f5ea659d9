"""`vitrine search` against a gRPC server that answers what it is told to, over a real port."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from click.testing import CliRunner, Result
from vitrine.events.v1 import enriched_pb2, image_pb2, listing_pb2
from vitrine.recommendation.v1 import recommendation_pb2, recommendation_pb2_grpc

from cli.search import search

SHIRT = enriched_pb2.EnrichedListing(
    listing_id="l1",
    seller_id="s1",
    claims=listing_pb2.Claims(
        title="Red shirt", price=listing_pb2.Money(currency_code="EUR", units=19, nanos=900_000_000)
    ),
    category=image_pb2.Category(
        label="t-shirt", path=["garments", "t-shirt"], confidence=0.9, taxonomy_id="aa-1-13-8", display_name="T-Shirts"
    ),
    attributes=[image_pb2.Attribute(name="colour", value="red")],
)


class FakeRecommendation(recommendation_pb2_grpc.RecommendationServiceServicer):
    def __init__(self) -> None:
        self.address = ""
        self.asked: list[recommendation_pb2.SearchByPhotoRequest] = []
        self.hits = [recommendation_pb2.Hit(listing=SHIRT, similarity=0.91)]
        self.fails: tuple[grpc.StatusCode, str] | None = None

    def SearchByPhoto(  # noqa: N802  gRPC's name
        self, request: recommendation_pb2.SearchByPhotoRequest, context: grpc.ServicerContext
    ) -> recommendation_pb2.SearchByPhotoResponse:
        self.asked.append(request)
        if self.fails:
            context.abort(*self.fails)
        return recommendation_pb2.SearchByPhotoResponse(hits=self.hits)


@pytest.fixture
def service() -> Iterator[FakeRecommendation]:
    fake = FakeRecommendation()  # type: ignore[abstract]  # one call is enough here
    options = [("grpc.max_receive_message_length", 24 * 1024 * 1024)]
    server = grpc.server(ThreadPoolExecutor(2), options=options)
    recommendation_pb2_grpc.add_RecommendationServiceServicer_to_server(fake, server)
    fake.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    yield fake
    server.stop(None).wait()


@pytest.fixture
def photo(tmp_path: Path) -> str:
    path = tmp_path / "photo.jpg"
    path.write_bytes(b"a photo")
    return str(path)


def called(*arguments: str) -> Result:
    return CliRunner().invoke(search, list(arguments))


def test_hits_are_shown_as_a_table(service: FakeRecommendation, photo: str) -> None:
    result = called(photo, "--service", service.address)
    assert result.exit_code == 0, result.output
    for shown in ("0.910", "l1", "s1", "Red shirt", "t-shirt", "colour red", "19.90 EUR"):
        assert shown in result.output
    assert service.asked[0].photo == b"a photo"
    assert service.asked[0].limit == 10


def test_a_category_that_only_the_seller_claims_is_shown_as_claimed(service: FakeRecommendation, photo: str) -> None:
    claims = image_pb2.Category.ORIGIN_CLAIMS
    watch = enriched_pb2.EnrichedListing(listing_id="l2", category=image_pb2.Category(taxonomy_id="aa-6-11"))
    watch.category.display_name, watch.category.origin = "Watches", claims
    service.hits = [recommendation_pb2.Hit(listing=watch, similarity=0.8)]
    assert "Watches (claimed)" in called(photo, "--service", service.address).output
    answer = json.loads(called(photo, "--service", service.address, "--json").output)
    assert answer["hits"][0]["listing"]["category"]["origin"] == "ORIGIN_CLAIMS"


def test_json_is_the_whole_answer(service: FakeRecommendation, photo: str) -> None:
    answer = json.loads(called(photo, "--service", service.address, "--json").output)
    category = answer["hits"][0]["listing"]["category"]
    assert category["path"] == ["garments", "t-shirt"]
    assert (category["taxonomy_id"], category["display_name"]) == ("aa-1-13-8", "T-Shirts")


def test_every_filter_reaches_the_service(service: FakeRecommendation, photo: str) -> None:
    filters = [
        "--category",
        "garments/t-shirt",
        "--taxonomy",
        "aa-1",
        "--attribute",
        "colour=red",
        "--attribute",
        "size=M",
    ]
    filters += ["--price-max", "20", "--currency", "usd", "--seller", "s1", "--limit", "3"]
    assert called(photo, "--service", service.address, *filters).exit_code == 0
    asked = service.asked[0]
    assert asked.limit == 3
    assert asked.filter.category_path == ["garments", "t-shirt"]
    assert asked.filter.taxonomy_id == "aa-1"
    assert [(each.name, each.value) for each in asked.filter.attributes] == [("colour", "red"), ("size", "M")]
    assert (asked.filter.price.currency_code, asked.filter.price.maximum) == ("USD", 20)
    assert not asked.filter.price.HasField("minimum")
    assert asked.filter.seller_ids == ["s1"]


def test_without_filters_none_is_sent(service: FakeRecommendation, photo: str) -> None:
    called(photo, "--service", service.address)
    assert not service.asked[0].filter.HasField("price")


def test_a_photo_above_grpcs_own_limit_gets_through(service: FakeRecommendation, tmp_path: Path) -> None:
    path = tmp_path / "big.jpg"
    path.write_bytes(bytes(6 * 1024 * 1024))
    assert called(str(path), "--service", service.address).exit_code == 0


def test_nothing_found_is_said(service: FakeRecommendation, photo: str) -> None:
    service.hits = []
    assert "no listing found" in called(photo, "--service", service.address).output


def test_the_services_own_words_are_passed_on(service: FakeRecommendation, photo: str) -> None:
    service.fails = (grpc.StatusCode.INVALID_ARGUMENT, "the photo is not a photo")
    result = called(photo, "--service", service.address)
    assert result.exit_code == 1
    assert result.output == "Error: the photo is not a photo (INVALID_ARGUMENT)\n"


def test_no_service_is_one_line_that_says_what_to_do(photo: str) -> None:
    result = called(photo, "--service", "127.0.0.1:1")
    assert result.exit_code == 1
    assert "no recommendation service answers at 127.0.0.1:1: start it (vitrine run)" in result.output


def test_an_attribute_without_a_value_is_refused(photo: str) -> None:
    result = called(photo, "--attribute", "red")
    assert result.exit_code == 2
    assert "write it like colour=red" in result.output
