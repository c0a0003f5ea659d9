"""The JSON that a seller's system sends: what it says of a listing, unchecked against the photos."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)
from pydantic_core import PydanticCustomError
from vitrine.events.v1 import listing_pb2

from services.gateway.problems import Problem
from shared.money import money
from shared.text import control_in, one_line, unseen_in

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def seen(identifier: str) -> str:
    """Raises PydanticCustomError for a character that nobody sees."""
    if char := unseen_in(identifier):
        raise PydanticCustomError("unseen", "Has {char}, which nobody sees; leave it out", {"char": char})
    return identifier


def plain_line(text: str) -> str:
    """On one line. Raises PydanticCustomError for a control character."""
    line = one_line(text)
    if char := control_in(line):
        raise PydanticCustomError("control", "Has {char}, a control character; leave it out", {"char": char})
    return line


SellerId = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=128), AfterValidator(seen)]
Title = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500), AfterValidator(plain_line)
]
Text = Annotated[str, StringConstraints(strip_whitespace=True, max_length=200), AfterValidator(plain_line)]


class Strict(BaseModel):
    """A misspelt field is an error, not a field that is silently ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Price(Strict):
    """An amount of money. A string, since a JSON number may lose a cent on its way."""

    amount: Annotated[str, StringConstraints(pattern=r"^\d{1,12}(\.\d{1,9})?$")] = Field(examples=["19.99"])
    currency: Annotated[str, StringConstraints(pattern="^[A-Z]{3}$")] = Field(
        description="ISO 4217, upper case", examples=["EUR"]
    )


class PhotoReference(Strict):
    """One photo of the listing: one that it already has, or one of the uploaded parts."""

    sha256: Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")] | None = Field(
        None, description="Of a photo that this listing had before, as answered when it was uploaded"
    )
    upload: int | None = Field(default=None, ge=0, description="Which of this request's parts named photos, from 0")

    @model_validator(mode="after")
    def _one_of_both(self) -> "PhotoReference":
        if (self.sha256 is None) == (self.upload is None):
            raise ValueError("name either sha256 or upload")
        return self


class ListingClaims(Strict):
    """The part named listing."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "seller_id": "seller-42",
                    "title": "Blue cotton t-shirt, size M",
                    "category": "t-shirt",
                    "brand": "Acme",
                    "price": {"amount": "19.99", "currency": "EUR"},
                    "updated_at": "2026-03-01T09:30:00Z",
                }
            ]
        }
    )

    seller_id: SellerId
    title: Title
    category: Text = Field("", description="As the seller calls it")
    brand: Text = ""
    price: Price | None = None
    updated_at: AwareDatetime | None = Field(
        None,
        description="RFC 3339, with a zone. Becomes the revision, and must lie after the listing's last one. Without "
        "it the revision is the gateway's clock, or one more than the last if that is ahead.",
    )
    photos: list[PhotoReference] | None = Field(
        None,
        description="All photos of the listing in their order. Uploaded parts that are not named follow at the end; "
        "without this field the uploaded parts are the listing's photos. Photos no longer named cease to exist.",
    )

    @model_validator(mode="after")
    def _after_1970(self) -> "ListingClaims":
        if self.updated_at is not None and self.updated_at <= EPOCH:
            raise ValueError("updated_at lies before 1970")
        return self

    @property
    def updated_us(self) -> int | None:
        """updated_at in microseconds since 1970."""
        return None if self.updated_at is None else microseconds(self.updated_at)

    def to_event(self) -> listing_pb2.Claims:
        claims = listing_pb2.Claims(title=self.title, category=self.category, brand=self.brand)
        if self.price:
            claims.price.CopyFrom(money(Decimal(self.price.amount), self.price.currency))
        return claims


def parse_claims(body: bytes) -> ListingClaims:
    """Raises Problem: listing-not-json, or invalid-listing with every field that is wrong."""
    try:
        return ListingClaims.model_validate_json(body)
    except ValidationError as why:
        errors = why.errors(include_url=False)
        if errors[0]["type"] == "json_invalid":
            detail = f"The part named listing is not JSON: {errors[0]['msg'].removeprefix('Invalid JSON: ')}."
            raise Problem("listing-not-json", detail, "Send one JSON object, in UTF-8.", {"part": "listing"}) from why
        told = "; ".join(f"{_path(error['loc'])}: {error['msg']}" for error in errors)
        where = {"part": "listing", "field": _path(errors[0]["loc"])}
        raise Problem(
            "invalid-listing", f"{told}.", "Correct these fields; /openapi.json has them all.", where
        ) from why


def microseconds(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(microseconds=1)


def _path(loc: tuple[int | str, ...]) -> str:
    return ".".join(str(step) for step in loc) or "listing"
