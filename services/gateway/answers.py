"""What the gateway answers, as JSON. The shapes are those of vitrine.events.v1, with plain words for its enums."""

from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from vitrine.events.v1 import enriched_pb2, image_pb2, listing_pb2

from services.gateway.claims import Price
from shared.money import amount_of, spelled
from shared.words import word

SHA256_EXAMPLE = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"


class StoredPhoto(BaseModel):
    """A photo as it was stored: without its metadata, otherwise untouched."""

    sha256: str = Field(description="Of the stored bytes; names the photo in later requests", examples=[SHA256_EXAMPLE])
    media_type: str = Field(examples=["image/jpeg"])
    width: int = Field(description="Pixels of the upright photo", examples=[1600])
    height: int = Field(examples=[1200])


class Accepted(BaseModel):
    """The listing is with the broker and will be looked at."""

    listing_id: str = Field(examples=["0a4f8c0d7a3e4a0f9a6b1d2c3e4f5a6b"])
    revision: int = Field(description="Microseconds since 1970; the highest wins", examples=[1772357400000000])
    photos: list[StoredPhoto] = Field(description="In the listing's order; the same photo twice counts once")
    status: Literal["pending"] = "pending"


class ListingId(BaseModel):
    """What a listing is called here."""

    listing_id: str = Field(examples=["0a4f8c0d7a3e4a0f9a6b1d2c3e4f5a6b"])


class Removed(BaseModel):
    """The removal is with the broker. It is final."""

    listing_id: str
    revision: int
    status: Literal["removed"] = "removed"


class Category(BaseModel):
    label: str | None = Field(description="The leaf, or null when unknown")
    path: list[str] = Field(description="From general to leaf, as far as is known")
    confidence: float
    taxonomy: str | None = Field(
        description="The id in Shopify's Standard Product Taxonomy of the deepest node that has one; its parts are the "
        "ids above it",
    )
    name: str | None = Field(description="That id's name, in the language that Accept-Language asks for")
    origin: str | None = Field(
        default=None,
        description="Of a listing's category: from what it comes. photo: what the first photo shows; claims: what the "
        "seller's claims mean, then the path is empty unless the photo might show it; both. A photo's own comes from "
        "the photo",
        exclude_if=lambda said: said is None,
    )


class Attribute(BaseModel):
    name: str
    value: str
    unit: str = ""
    confidence: float
    source: str = Field(description="seen: judged from the pixels; read: from text on the photo")
    lab_distance: float | None = Field(
        default=None,
        description="Of a colour: how far what is seen lies from the middle of what is called so, in CIEDE2000",
    )


def _for_reviewers(description: str) -> Any:
    """A field that is left out, not null, where it is not for the caller."""
    return Field(default=None, description=f"{description}; for reviewers only", exclude_if=lambda said: said is None)


class Reason(BaseModel):
    code: str
    strength: float
    explanation: str
    distance: int = Field(default=0, description="Of a copy: how many of 256 bits of the two photos' hashes differ")
    claimed: str = ""
    seen: str = ""
    other_listing_id: str | None = _for_reviewers("Of a copy: the earlier listing")
    other_photo_sha256: str | None = _for_reviewers("Of a copy: the earlier photo")
    other_seller_id: str | None = _for_reviewers("Of a copy: whose the earlier listing is")
    other_uploaded_at: datetime | None = _for_reviewers("Of a copy: when the earlier photo was first uploaded")


class Fraud(BaseModel):
    score: float = Field(description="0 is harmless, 1 certain fraud")
    decision: str = Field(description="allow, review or block")
    reasons: list[Reason]


class Claims(BaseModel):
    title: str
    category: str = ""
    brand: str = ""
    price: Price | None = None


class EnrichedPhoto(BaseModel):
    photo: StoredPhoto
    category: Category | None = None
    attributes: list[Attribute] | None = Field(default=None, description="null: not looked at yet")
    embedding_space: str | None = None
    fraud: Fraud | None = None
    missing: list[str] = Field(description="category, attributes, embedding, fraud: what is still to come")


class Listing(BaseModel):
    """A listing and what was found in its photos so far."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "listing_id": "0a4f8c0d7a3e4a0f9a6b1d2c3e4f5a6b",
                    "status": "complete",
                    "revision": 1772357400000000,
                    "seller_id": "seller-42",
                    "claims": {"title": "Blue cotton t-shirt, size M", "category": "t-shirt"},
                    "category": {
                        "label": "t-shirt",
                        "path": ["garments", "t-shirt"],
                        "confidence": 0.93,
                        "taxonomy": "aa-1-13-8",
                        "name": "T-Shirts",
                        "origin": "both",
                    },
                    "attributes": [{"name": "colour", "value": "blue", "confidence": 0.9, "source": "seen"}],
                    "fraud": {"score": 0.02, "decision": "allow", "reasons": []},
                },
                {"listing_id": "0a4f8c0d7a3e4a0f9a6b1d2c3e4f5a6b", "status": "pending"},
            ]
        }
    )

    listing_id: str
    status: Literal["pending", "partial", "complete"] = Field(
        description="pending: accepted, nothing found yet; partial: some facets of some photos are missing"
    )
    revision: int | None = None
    seller_id: str | None = None
    claims: Claims | None = None
    category: Category | None = Field(
        default=None, description="What is sold: what the first photo shows, weighed against what the claims mean"
    )
    attributes: list[Attribute] = []
    fraud: Fraud | None = Field(
        default=None, description="The worst decision of all photos, with the reasons of all; null for shoppers"
    )
    embedding_space: str | None = None
    photos: list[EnrichedPhoto] = []


def accepted(change: listing_pb2.ListingChanged) -> Accepted:
    photos = [_stored(photo) for photo in change.listing.photos]
    return Accepted(listing_id=change.listing_id, revision=change.revision, photos=photos)


def pending(listing_id: str) -> Listing:
    """Accepted, and the join has not come to it yet."""
    return Listing(listing_id=listing_id, status="pending")


def listing(record: enriched_pb2.EnrichedListing) -> Listing:
    statuses: dict[int, Literal["pending", "partial", "complete"]] = {
        enriched_pb2.EnrichedListing.STATUS_PARTIAL: "partial",
        enriched_pb2.EnrichedListing.STATUS_COMPLETE: "complete",
    }
    return Listing(
        listing_id=record.listing_id,
        status=statuses.get(record.status, "pending"),
        revision=record.revision,
        seller_id=record.seller_id,
        claims=_claims(record.claims),
        category=_category(record.category) if record.HasField("category") else None,
        attributes=[_attribute(attribute) for attribute in record.attributes],
        fraud=_fraud(record.fraud) if record.HasField("fraud") else None,
        embedding_space=record.embedding_space or None,
        photos=[_photo(photo) for photo in record.photos],
    )


def _photo(photo: enriched_pb2.EnrichedPhoto) -> EnrichedPhoto:
    attributes = photo.attributes.attributes if photo.HasField("attributes") else None
    return EnrichedPhoto(
        photo=_stored(photo.photo),
        category=_category(photo.category) if photo.HasField("category") else None,
        attributes=None if attributes is None else [_attribute(attribute) for attribute in attributes],
        embedding_space=photo.embedding_space or None,
        fraud=_fraud(photo.fraud) if photo.HasField("fraud") else None,
        missing=[word(enriched_pb2.Facet, facet) for facet in photo.missing],
    )


def _stored(photo: listing_pb2.Photo) -> StoredPhoto:
    return StoredPhoto(sha256=photo.sha256, media_type=photo.media_type, width=photo.width, height=photo.height)


def _claims(claims: listing_pb2.Claims) -> Claims:
    price = None
    if claims.HasField("price"):
        amount = spelled(amount_of(claims.price))
        price = Price.model_construct(amount=amount, currency=claims.price.currency_code)
    return Claims(title=claims.title, category=claims.category, brand=claims.brand, price=price)


def _category(category: image_pb2.Category) -> Category:
    return Category(
        label=category.label or None,
        path=list(category.path),
        confidence=category.confidence,
        taxonomy=category.taxonomy_id or None,
        name=category.display_name or None,
        origin=word(image_pb2.Category.Origin, category.origin) or None,
    )


def _attribute(attribute: image_pb2.Attribute) -> Attribute:
    return Attribute(
        name=attribute.name,
        value=attribute.value,
        unit=attribute.unit,
        confidence=attribute.confidence,
        source=word(image_pb2.Attribute.Source, attribute.source),
        lab_distance=attribute.lab_distance if attribute.HasField("lab_distance") else None,
    )


def _fraud(fraud: image_pb2.Fraud) -> Fraud:
    reasons = [_reason(reason) for reason in fraud.reasons]
    return Fraud(score=fraud.score, decision=word(image_pb2.Fraud.Decision, fraud.decision), reasons=reasons)


def _reason(reason: image_pb2.Reason) -> Reason:
    uploaded_at = reason.other_uploaded_at.ToDatetime(UTC) if reason.HasField("other_uploaded_at") else None
    return Reason(
        code=reason.code,
        strength=reason.strength,
        explanation=reason.explanation,
        distance=reason.distance,
        claimed=reason.claimed,
        seen=reason.seen,
        other_listing_id=reason.other_listing_id or None,
        other_photo_sha256=reason.other_photo_sha256 or None,
        other_seller_id=reason.other_seller_id or None,
        other_uploaded_at=uploaded_at,
    )
