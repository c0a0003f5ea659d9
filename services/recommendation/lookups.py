"""What the gRPC server answers, without gRPC: records by id, and the nearest listings to a vector."""

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import grpc
import numpy as np
from vitrine.embedding.v1 import embedding_pb2
from vitrine.events.v1 import enriched_pb2
from vitrine.recommendation.v1 import recommendation_pb2 as api

from services.recommendation.fields import Enriched, Vector
from services.recommendation.index import MAX_SCANNED, VectorIndex, WrongDimension
from services.recommendation.names import name_categories
from services.recommendation.rank import Candidate, Filter, best, nearest, what_is_wrong_with
from services.recommendation.store import Records
from services.recommendation.views import seen_by
from shared.grpc import Refusal
from shared.limits import MAX_ANSWER_BYTES, MAX_PHOTO_BYTES
from shared.photo_formats import NAMES

MAX_BATCH = 500
MAX_LIMIT = 100
DEFAULT_LIMIT = 10
# Asked of the index for each hit wanted: its order is approximate, and some candidates may not be shown.
CANDIDATES_PER_HIT = 2
MIN_CANDIDATES = 32
# Read for one search at most: so many can be refused only while the index lags behind the records.
MAX_CANDIDATES = 2_000
# Records held at once. A full one has 35 kB, and more once it is parsed.
READ_AT_ONCE = 100
MAX_LISTING_ID = 64  # characters, as the gateway has it
_FIELD_BYTES = 6  # of a tag and a length

Embed = Callable[[bytes], Awaitable[embedding_pb2.EmbedPhotoResponse]]


@dataclass(frozen=True, slots=True)
class Found:
    """Hits, the most similar first. Incomplete: there may be more that match, and looking for them ended at a cap."""

    hits: list[api.Hit]
    complete: bool = True


class Lookups:
    """Everything raises Refusal, and Transient when Redis stayed away."""

    def __init__(self, records: Records, index: VectorIndex) -> None:
        self._records = records
        self._index = index

    async def get(self, listing_id: str, view: int, language: str) -> Enriched:
        """As far as it is for this view, categories named in one of LANGUAGES.

        Removed ones are not found, nor blocked ones by shoppers.
        """
        if (seen := _seen(await self._record(listing_id), view, language)) is None:
            raise _not_found(listing_id)
        return seen

    async def _record(self, listing_id: str) -> Enriched:
        if not listing_id:
            raise Refusal(grpc.StatusCode.INVALID_ARGUMENT, "listing_id is empty")
        _check_lengths("listing_id", [listing_id])
        [record] = await self._records.records([listing_id])
        if (enriched := _there(record)) is None:
            raise _not_found(listing_id)
        return enriched

    async def batch(self, listing_ids: Sequence[str], view: int, language: str) -> api.BatchGetListingsResponse:
        """As many as fit one answer, as `get` gives them, and which are still to be asked for."""
        if len(listing_ids) > MAX_BATCH:
            raise Refusal(
                grpc.StatusCode.INVALID_ARGUMENT,
                f"{len(listing_ids)} listing_ids; ask for at most {MAX_BATCH} in one call",
            )
        _check_lengths("one of listing_ids", listing_ids)
        records: list[Enriched | None] = []
        fitting = 0
        for ids in _chunks(listing_ids):
            there = [_there(record) for record in await self._records.records(ids)]
            records += [None if record is None else _seen(record, view, language) for record in there]
            if (fitting := _fitting(listing_ids, records)) < len(records):
                break
        return api.BatchGetListingsResponse(
            listings=[record for record in records[:fitting] if record is not None],
            not_found=[i for i, record in zip(listing_ids, records[:fitting], strict=False) if record is None],
            remaining=listing_ids[fitting:],
        )

    async def similar(self, listing_id: str, limit: int, wanted: Filter) -> Found:
        limit = _checked(limit, wanted)
        record = await self._record(listing_id)
        space, vector = await self._vector_of(record)
        return await self._nearest(space, vector, limit, wanted, without=listing_id)

    async def by_photo(self, photo: bytes, limit: int, wanted: Filter, embed: Embed) -> Found:
        limit = _checked(limit, wanted)
        if not photo:
            raise Refusal(grpc.StatusCode.INVALID_ARGUMENT, f"photo is empty; send the bytes of one photo ({NAMES})")
        if len(photo) > MAX_PHOTO_BYTES:
            raise Refusal(
                grpc.StatusCode.INVALID_ARGUMENT,
                f"photo has {len(photo)} bytes; send at most {MAX_PHOTO_BYTES}",
            )
        embedded = await embed(photo)
        await self._check_space(embedded.space)
        return await self._nearest(embedded.space, np.asarray(embedded.vector, np.float32), limit, wanted)

    async def _vector_of(self, record: Enriched) -> tuple[str, Vector]:
        """Space and vector: in the current one if it has a vector there, else in the one it was embedded in last."""
        current = await self._index.current_space()
        for space in dict.fromkeys(space for space in (current, record.embedding_space) if space):
            [vector] = await self._records.vectors(space, [(record.listing_id, record.photos[0].photo.sha256)])
            if vector is not None:
                return space, vector
        missing = [enriched_pb2.Facet.Name(facet) for facet in record.photos[0].missing]
        raise Refusal(
            grpc.StatusCode.FAILED_PRECONDITION,
            f"listing {record.listing_id!r} has no vector yet: its first photo still misses {', '.join(missing)}. "
            "Try again in a few seconds",
        )

    async def _check_space(self, space: str) -> None:
        """A model swap fills the new space beside the old one, and either may embed the query: both answer."""
        current = await self._index.current_space()
        if current is None or space == current or await self._index.size(space):
            return
        raise Refusal(
            grpc.StatusCode.FAILED_PRECONDITION,
            f"the embedding service embeds in space {space!r}, but the listings are indexed in {current!r}: "
            "run both with the same VITRINE_PACK, or re-embed the listings",
        )

    async def _nearest(self, space: str, query: Vector, limit: int, wanted: Filter, *, without: str = "") -> Found:
        """Asks the index for more and more, until enough of its answers hold, it has no others, or a cap is reached."""
        count, exhaustive = max(MIN_CANDIDATES, CANDIDATES_PER_HIT * (limit + 1)), False
        hits: list[api.Hit] = []
        seen: set[str] = set()
        while True:
            try:
                ids = await self._index.search(space, query, count, wanted, exhaustive=exhaustive)
            except WrongDimension as why:
                raise Refusal(grpc.StatusCode.FAILED_PRECONDITION, f"the query can't be compared: {why}") from why
            for some in _chunks([listing_id for listing_id in ids if listing_id not in seen]):
                candidates = await self._candidates(space, some)
                hits = nearest(hits, best(candidates, query, wanted, without=without))[:limit]
            seen.update(ids)
            if len(hits) >= limit or (exhaustive and len(ids) < count):
                return Found(hits)
            if len(ids) < count:
                size = await self._index.size(space)
                if len(ids) >= size or size > MAX_SCANNED:
                    return Found(hits, complete=len(ids) >= size)
                exhaustive = True
            elif count == MAX_CANDIDATES:
                return Found(hits, complete=False)
            else:
                count = min(4 * count, MAX_CANDIDATES)

    async def _candidates(self, space: str, ids: Sequence[str]) -> list[Candidate]:
        records = await self._records.records(ids)
        there = [record for record in records if record is not None and record.photos]
        vectors = await self._records.vectors(space, [(r.listing_id, r.photos[0].photo.sha256) for r in there])
        return [Candidate(record, vector) for record, vector in zip(there, vectors, strict=True)]


def _seen(record: Enriched, view: int, language: str) -> Enriched | None:
    seen = seen_by(record, view)
    return None if seen is None else name_categories(seen, language)


def _chunks(ids: Iterable[str]) -> Iterator[list[str]]:
    rest = iter(ids)
    while chunk := list(islice(rest, READ_AT_ONCE)):
        yield chunk


def _not_found(listing_id: str) -> Refusal:
    return Refusal(
        grpc.StatusCode.NOT_FOUND,
        f"no listing {listing_id!r}: it was never uploaded, was removed, isn't for shoppers, or was accepted only this "
        "moment",
    )


def _check_lengths(where: str, listing_ids: Iterable[str]) -> None:
    # Not repeated in the answer: it would be as long.
    if (length := max(map(len, listing_ids), default=0)) > MAX_LISTING_ID:
        raise Refusal(
            grpc.StatusCode.INVALID_ARGUMENT,
            f"{where} has {length:,} characters; a listing's id has at most {MAX_LISTING_ID}",
        )


def _fitting(listing_ids: Sequence[str], records: Sequence[Enriched | None]) -> int:
    """How many from the first on make one answer: one at least, so that whoever asks for the rest comes to an end."""
    # Each id may have to be named, and each field has a tag and a length before it.
    size = sum(len(listing_id.encode()) + _FIELD_BYTES for listing_id in listing_ids)
    for at, record in enumerate(records):
        size += 0 if record is None else record.ByteSize() + _FIELD_BYTES
        if size > MAX_ANSWER_BYTES and at:
            return at
    return len(records)


def _there(record: Enriched | None) -> Enriched | None:
    return None if record is None or record.status == Enriched.STATUS_REMOVED else record


def _checked(limit: int, wanted: Filter) -> int:
    if limit > MAX_LIMIT:
        raise Refusal(grpc.StatusCode.INVALID_ARGUMENT, f"limit is {limit}; it can be 1 to {MAX_LIMIT}, or 0 for 10")
    if wrong := what_is_wrong_with(wanted):
        raise Refusal(grpc.StatusCode.INVALID_ARGUMENT, wrong)
    return limit or DEFAULT_LIMIT
