"""`vitrine search`: listings that look like a photo, asked of the recommendation service over gRPC."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import click
import grpc
from google.protobuf.json_format import MessageToDict
from vitrine.events.v1 import image_pb2, listing_pb2
from vitrine.recommendation.v1 import recommendation_pb2, recommendation_pb2_grpc

from cli.plain import Command
from cli.tables import number, say, show, text
from shared.grpc import channel
from shared.money import amount_of
from shared.screen import Rows
from shared.text import json_text, plain

SERVICE = "127.0.0.1:50051"
DEADLINE_SECONDS = 30.0


async def find(
    service: str, photo: bytes, limit: int, wanted: recommendation_pb2.Filter
) -> recommendation_pb2.SearchByPhotoResponse:
    """The most similar listings first. Raises grpc.aio.AioRpcError."""
    request = recommendation_pb2.SearchByPhotoRequest(photo=photo, limit=limit, filter=wanted)
    async with channel(service) as to_service:
        stub = recommendation_pb2_grpc.RecommendationServiceStub(to_service)
        answer: recommendation_pb2.SearchByPhotoResponse = await stub.SearchByPhoto(request, timeout=DEADLINE_SECONDS)
        return answer


@click.command(cls=Command)
@click.argument("photo", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--limit", default=10, show_default=True, type=click.IntRange(1, 100))
@click.option("--category", metavar="PATH", help="From the top, as far down as wanted: garments/t-shirt.")
@click.option("--taxonomy", metavar="ID", help="This id of the product taxonomy and all below it: aa-1-13.")
@click.option("--attribute", "attributes", multiple=True, metavar="NAME=VALUE", help="Such as colour=red; repeatable.")
@click.option("--price-min", type=click.FloatRange(0), help="Lowest price, inclusive.")
@click.option("--price-max", type=click.FloatRange(0), help="Highest price, inclusive.")
@click.option("--currency", default="EUR", show_default=True, metavar="CODE", help="Of the prices.")
@click.option("--seller", "sellers", multiple=True, metavar="ID", help="Only this seller; repeatable.")
@click.option("--service", envvar="VITRINE_RECOMMENDATION", default=SERVICE, show_default=True, metavar="HOST:PORT")
@click.option("--json", "as_json", is_flag=True, help="The whole answer as JSON.")
def search(
    photo: Path,
    limit: int,
    category: str | None,
    taxonomy: str | None,
    attributes: Sequence[str],
    price_min: float | None,
    price_max: float | None,
    currency: str,
    sellers: Sequence[str],
    service: str,
    as_json: bool,
) -> None:
    """Find the listings that look like PHOTO, the most similar first."""
    wanted = recommendation_pb2.Filter(
        category_path=[name for name in (category or "").split("/") if name],
        taxonomy_id=taxonomy or "",
        attributes=[_attribute(said) for said in attributes],
        seller_ids=sellers,
    )
    if price_min is not None or price_max is not None:
        price = recommendation_pb2.PriceRange(currency_code=currency.upper(), minimum=price_min, maximum=price_max)
        wanted.price.CopyFrom(price)
    try:
        answer = asyncio.run(find(service, photo.read_bytes(), limit, wanted))
    except grpc.aio.AioRpcError as why:
        raise click.ClickException(plain(_said(why, service))) from why
    if as_json:
        click.echo(json_text(MessageToDict(answer, preserving_proto_field_name=True), indent=2))
    elif not answer.hits:
        say("no listing found; loosen the filters" if wanted.ByteSize() else "no listing found")
    else:
        show(table(answer.hits))


def table(hits: Sequence[recommendation_pb2.Hit]) -> Rows:
    """One row per hit."""
    rows = Rows(
        number("similarity"),
        text("listing"),
        text("seller"),
        text("title"),
        text("category"),
        text("attributes"),
        "price",
    )
    for hit in hits:
        listing = hit.listing
        rows.add_row(
            f"{hit.similarity:.3f}",
            listing.listing_id,
            listing.seller_id,
            listing.claims.title,
            _category(listing.category),
            ", ".join(_spelled(attribute) for attribute in listing.attributes),
            _price(listing.claims),
        )
    return rows


def _attribute(said: str) -> recommendation_pb2.AttributeFilter:
    name, equals, value = said.partition("=")
    if not (name and equals and value):
        raise click.BadParameter(f"{said!r}: write it like colour=red", param_hint="--attribute")
    return recommendation_pb2.AttributeFilter(name=name.strip(), value=value.strip())


def _category(category: image_pb2.Category) -> str:
    """t-shirt; Watches (claimed); unknown (garments)."""
    path = "/".join(category.path)
    if category.origin == image_pb2.Category.ORIGIN_CLAIMS:
        return f"{category.label or category.display_name or category.taxonomy_id} (claimed)"
    return category.label or f"unknown ({path})".replace(" ()", "")


def _spelled(attribute: image_pb2.Attribute) -> str:
    return f"{attribute.name} {attribute.value} {attribute.unit}".strip()


def _price(claims: listing_pb2.Claims) -> str:
    if not claims.HasField("price"):
        return ""
    return f"{amount_of(claims.price):.2f} {claims.price.currency_code}"


def _said(why: grpc.aio.AioRpcError, service: str) -> str:
    """One line: what is wrong and what to do."""
    code, said = why.code(), why.details() or "no details"
    if code == grpc.StatusCode.UNAVAILABLE and "connect" in said.lower():
        return f"no recommendation service answers at {service}: start it (vitrine run), or give --service"
    if code == grpc.StatusCode.DEADLINE_EXCEEDED:
        return f"the recommendation service at {service} took longer than {DEADLINE_SECONDS:.0f} s; try again"
    return f"{said} ({code.name})"
