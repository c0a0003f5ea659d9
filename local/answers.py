"""What the fleet answered: asked over gRPC, checked against the pack and the known truth, written as JSON."""

from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any, Protocol, Self

from vitrine.events.v1 import enriched_pb2, image_pb2
from vitrine.recommendation.v1 import recommendation_pb2 as pb
from vitrine.recommendation.v1 import recommendation_pb2_grpc as pb_grpc

from shared.grpc import channel
from shared.words import word
from studio import Expected

COMPLETE = enriched_pb2.EnrichedListing.STATUS_COMPLETE
# A listing with ten photos and all that was found in them has a few kilobytes.
_ASKED_AT_ONCE = 100
_SECONDS = 60.0
# A service that is started again refuses connections for a moment.
_ATTEMPTS = 5


class Schema(Protocol):
    """What an answer can be; `shared.vision.pack.Pack` is one."""

    @property
    def manifest(self) -> Any: ...
    @property
    def taxonomy(self) -> Any: ...
    def attributes_of(self, path: Sequence[str]) -> tuple[str, ...]: ...


class RecommendationClient:
    """The RecommendationService, as a client. Its methods raise grpc.RpcError."""

    def __init__(self, address: str) -> None:
        """`address`: host:port. Connects with the first call."""
        self._channel = channel(address, attempts=_ATTEMPTS)
        self._stub: Any = pb_grpc.RecommendationServiceStub(self._channel)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        await self._channel.close()

    async def listings(self, listing_ids: Iterable[str]) -> dict[str, enriched_pb2.EnrichedListing]:
        """The listings by id with all that is known, as reviewers see them; without those that aren't known."""
        ids = list(listing_ids)
        known: dict[str, enriched_pb2.EnrichedListing] = {}
        while ids:
            asked = pb.BatchGetListingsRequest(listing_ids=ids[:_ASKED_AT_ONCE], view=pb.VIEW_REVIEWER)
            answer = await self._stub.BatchGetListings(asked, timeout=_SECONDS, wait_for_ready=True)
            known |= {listing.listing_id: listing for listing in answer.listings}
            ids = [*answer.remaining, *ids[_ASKED_AT_ONCE:]]
        return known

    async def similar(self, listing_id: str, limit: int) -> list[pb.Hit]:
        """The nearest first, never the listing itself."""
        asked = pb.SimilarListingsRequest(listing_id=listing_id, limit=limit)
        answer = await self._stub.SimilarListings(asked, timeout=_SECONDS, wait_for_ready=True)
        return list(answer.hits)

    async def by_photo(self, photo: bytes, limit: int) -> list[pb.Hit]:
        """The nearest first."""
        asked = pb.SearchByPhotoRequest(photo=photo, limit=limit)
        answer = await self._stub.SearchByPhoto(asked, timeout=_SECONDS, wait_for_ready=True)
        return list(answer.hits)


def is_complete(listing: enriched_pb2.EnrichedListing, revision: int) -> bool:
    """Whether every photo of this revision, or of a later one, has its four facets."""
    return listing.status == COMPLETE and listing.revision >= revision


# --- checking ---------------------------------------------------------------------------------------------------------


def faults(listing: enriched_pb2.EnrichedListing, pack: Schema) -> Iterator[str]:
    """Where a complete listing is not a valid answer of the pack; nothing when it is."""
    if listing.status != COMPLETE:
        yield "not complete"
    if not listing.photos:
        yield "no photos"
    for photo in listing.photos:
        yield from (f"photo {photo.photo.sha256[:12]}: {fault}" for fault in _photo_faults(photo, pack))


def _photo_faults(photo: enriched_pb2.EnrichedPhoto, pack: Schema) -> Iterator[str]:
    if photo.missing:
        yield f"missing: {', '.join(enriched_pb2.Facet.Name(facet) for facet in photo.missing)}"
    if not photo.HasField("category"):
        yield "no category"
    else:
        yield from _category_faults(photo.category, pack)
    if not photo.HasField("attributes"):
        yield "no attributes"
    else:
        allowed = pack.attributes_of(tuple(photo.category.path))
        yield from (fault for one in photo.attributes.attributes for fault in _attribute_faults(one, allowed))
    if photo.embedding_space != pack.manifest.embedding.space:
        yield f"embedded in {photo.embedding_space or 'no space'}, not {pack.manifest.embedding.space}"
    if not decision(photo.fraud) or not 0 <= photo.fraud.score <= 1:
        yield "no valid fraud decision"


def _category_faults(category: image_pb2.Category, pack: Schema) -> Iterator[str]:
    path = tuple(category.path)
    if path and path not in pack.taxonomy.nodes:
        yield f"category {'/'.join(path)} is not in the pack"
    if category.label and (path not in pack.taxonomy.leaves or path[-1] != category.label):
        yield f"label {category.label} is not the leaf of {'/'.join(path)}"
    if not 0 <= category.confidence <= 1:
        yield f"confidence {category.confidence} is no probability"


def _attribute_faults(attribute: image_pb2.Attribute, allowed: Sequence[str]) -> Iterator[str]:
    if attribute.name not in allowed:
        yield f"attribute {attribute.name} does not belong to this category"
    if not attribute.value or not _source(attribute) or not 0 <= attribute.confidence <= 1:
        yield f"attribute {attribute.name} is incomplete"


def correct(listing: enriched_pb2.EnrichedListing, expected: Expected) -> dict[str, bool]:
    """Each answer whose truth is known: "category", "fraud" and one for each attribute that the photos show."""
    told = surest(listing.attributes)
    verdicts = {
        "category": tuple(listing.category.path) == expected.path,
        "fraud": decision(listing.fraud) in expected.decisions and _reason_given(listing.fraud, expected.reason),
    }
    if expected.colour is not None:
        verdicts["colour"] = "colour" in told and told["colour"].value == expected.colour
    for name, (value, unit) in expected.attributes.items():
        verdicts[name] = name in told and _same(told[name], value, unit)
    return verdicts


def _reason_given(fraud: image_pb2.Fraud, code: str) -> bool:
    return not code or any(reason.code == code for reason in fraud.reasons)


def _same(attribute: image_pb2.Attribute, value: str, unit: str) -> bool:
    """Case is the printer's taste, and 1.0 L is 1 L."""
    return (
        attribute.value.casefold().removesuffix(".0") == value.casefold()
        and attribute.unit.casefold() == unit.casefold()
    )


# --- spelling ---------------------------------------------------------------------------------------------------------


def spelled(attribute: image_pb2.Attribute) -> str:
    """ "256 GB", "red" """
    return f"{attribute.value} {attribute.unit}".strip()


def surest(attributes: Iterable[image_pb2.Attribute]) -> dict[str, image_pb2.Attribute]:
    """Attributes by name; of several values the surest, and the first of equals."""
    best: dict[str, image_pb2.Attribute] = {}
    for one in attributes:
        if one.name not in best or one.confidence > best[one.name].confidence:
            best[one.name] = one
    return best


def decision(fraud: image_pb2.Fraud) -> str:
    """allow, review or block; "" when there is none."""
    return word(image_pb2.Fraud.Decision, fraud.decision)


def _source(attribute: image_pb2.Attribute) -> str:
    """seen or read; "" when it isn't said."""
    return word(image_pb2.Attribute.Source, attribute.source)


def as_json(listing: enriched_pb2.EnrichedListing) -> dict[str, Any]:
    """The answers of a listing: category, attributes and fraud decision with its reasons."""
    sold = listing.category
    category = {
        "label": sold.label or None,
        "path": list(sold.path),
        "confidence": sold.confidence,
        "taxonomy": sold.taxonomy_id or None,
        "origin": word(image_pb2.Category.Origin, sold.origin) or None,
    }
    return {
        "listing_id": listing.listing_id,
        "revision": listing.revision,
        "seller_id": listing.seller_id,
        "title": listing.claims.title,
        "category": category,
        "attributes": {name: attribute_json(one) for name, one in surest(listing.attributes).items()},
        "fraud": {
            "decision": decision(listing.fraud),
            "score": listing.fraud.score,
            "reasons": [_reason_json(reason) for reason in listing.fraud.reasons],
        },
        "embedding_space": listing.embedding_space,
        "photos": [photo.photo.sha256 for photo in listing.photos],
    }


def attribute_json(attribute: image_pb2.Attribute) -> dict[str, Any]:
    """Its value, and where it comes from."""
    said: dict[str, Any] = {
        "value": attribute.value,
        "unit": attribute.unit or None,
        "confidence": attribute.confidence,
        "source": _source(attribute) or None,
    }
    return said | ({"lab_distance": attribute.lab_distance} if attribute.HasField("lab_distance") else {})


def _reason_json(reason: image_pb2.Reason) -> dict[str, Any]:
    said: dict[str, Any] = {"code": reason.code, "strength": reason.strength, "explanation": reason.explanation}
    evidence = {
        "other_listing_id": reason.other_listing_id,
        "other_photo_sha256": reason.other_photo_sha256,
        "claimed": reason.claimed,
        "seen": reason.seen,
    }
    said |= {name: value for name, value in evidence.items() if value}
    return said | ({"distance": reason.distance} if reason.other_listing_id else {})
