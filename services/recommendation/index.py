"""Where the listings' vectors are searched: in Redis 8 vector sets.

An element is a listing, its id the listing's. Spaces are kept apart: a vector set for each, and a pointer to the one
that lookups use. No index is part of a listing's atomic step, so every hit is checked against its record.
"""

import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import structlog
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from services.recommendation.fields import Vector
from services.recommendation.rank import Filter, expression
from shared.redis import reaching_redis

log = structlog.get_logger()

# Candidates that the graph is explored for at least; recall@10 is .996 at 50 already.
MIN_EXPLORED = 100
# Of a filtered search: elements whose neighbours, 32 each, are compared with the filter before it gives up. VSIM would
# go on for a hundred times `count`.
MAX_EXPANDED = 3_200
# A space of more is never searched exhaustively. Redis compares 50,000 vectors and filters in 30 to 200 ms, on a thread
# for each search; but whoever writes to the space waits for it, and with them all of Redis.
MAX_SCANNED = 50_000


@dataclass(frozen=True, slots=True)
class Placement:
    """Where one listing belongs: in the spaces that it has a vector for, and in no other. No vectors: nowhere."""

    listing_id: str
    vectors: Mapping[str, Vector]  # by space; float32, unit length
    attributes: Mapping[str, object]  # as rank.index_attributes gives them


class WrongDimension(ValueError):
    """A vector that can't be compared with the others of its space."""


class VectorIndex(Protocol):
    """Nearest listings by cosine, space by space."""

    async def place(self, placements: Sequence[Placement]) -> None:
        """Idempotent, and cheap when nothing changed. A vector of another dimension than its space is left out.

        The first space ever placed in becomes the current one.
        """
        ...

    async def search(
        self, space: str, query: Vector, count: int, wanted: Filter, *, exhaustive: bool = False
    ) -> list[str]:
        """At most `count` listing ids, about nearest first, of those that may match.

        Fewer can mean that a rare filter ended the exploration; `exhaustive` looks at every element instead, and is for
        spaces of at most MAX_SCANNED. An unknown space has none. Raises WrongDimension.
        """
        ...

    async def current_space(self) -> str | None:
        """The space that lookups use; None before anything was placed."""
        ...

    async def spaces(self) -> list[str]:
        """All that have ever been placed in, sorted."""
        ...

    async def size(self, space: str) -> int:
        """Number of listings; 0 for an unknown space."""
        ...

    async def dimension(self, space: str) -> int | None:
        """How long the space's vectors are; None while it has none."""
        ...


class RedisVectorIndex:
    """Vector sets, int8-quantised: stateless replicas, with Redis's own replication and persistence.

    Keys: PREFIX:current (a space's name: the first one's, until an operator sets another), PREFIX:spaces (a set),
    PREFIX:vectors:SPACE (a vector set each).
    """

    def __init__(self, redis: Redis, prefix: str = "vitrine:index") -> None:
        self._redis = redis
        self._call: Callable[..., Awaitable[Any]] = redis.execute_command
        self._prefix = prefix

    async def place(self, placements: Sequence[Placement]) -> None:
        if not placements:
            return
        with reaching_redis():
            spaces = await self._declared({space for p in placements for space in p.vectors})
            pairs = [(p, space) for p in placements for space in spaces]
            pipe = self._redis.pipeline(transaction=False)
            for placement, space in pairs:
                pipe.execute_command("VGETATTR", self._vectors(space), placement.listing_id)
            there = [_attributes(raw) for raw in await pipe.execute()]
            dimensions = {space: await self._dimension(space) for space in spaces}
            pipe = self._redis.pipeline(transaction=False)
            for (placement, space), attributes in zip(pairs, there, strict=True):
                vector = fitting(placement, space, dimensions)
                if vector is None:
                    if attributes is not None:
                        pipe.execute_command("VREM", self._vectors(space), placement.listing_id)
                    continue
                # The vector's fingerprint lies with the attributes: adding anew costs ten times setting these.
                wanted = {**placement.attributes, "fingerprint": _fingerprint(vector)}
                if attributes is None or attributes.get("fingerprint") != wanted["fingerprint"]:
                    command = ("VADD", self._vectors(space), "FP32", vector.astype("<f4").tobytes())
                    # Never with CAS: Redis 8.2 writes it to the append-only file and then aborts on loading that file.
                    pipe.execute_command(*command, placement.listing_id, "SETATTR", json.dumps(wanted))
                elif attributes != wanted:
                    pipe.execute_command("VSETATTR", self._vectors(space), placement.listing_id, json.dumps(wanted))
            if len(pipe):
                await pipe.execute()

    async def search(
        self, space: str, query: Vector, count: int, wanted: Filter, *, exhaustive: bool = False
    ) -> list[str]:
        command: list[Any] = ["VSIM", self._vectors(space), "FP32", query.astype("<f4").tobytes(), "COUNT", count]
        command += ["EF", max(MIN_EXPLORED, count)]
        if expressed := expression(wanted):
            command += ["FILTER", expressed, "FILTER-EF", MAX_EXPANDED]
        if exhaustive:
            command += ["TRUTH"]
        with reaching_redis():
            try:
                elements = await self._call(*command)
            except ResponseError as why:
                if "dimension" in str(why):
                    raise WrongDimension(f"{query.size} numbers, in space {space}: {why}") from why
                raise
        return [_text(element) for element in elements]

    async def current_space(self) -> str | None:
        with reaching_redis():
            space = await self._redis.get(f"{self._prefix}:current")
        return _text(space) if space else None

    async def spaces(self) -> list[str]:
        with reaching_redis():
            return await self._declared(set())

    async def size(self, space: str) -> int:
        with reaching_redis():
            return int(await self._call("VCARD", self._vectors(space)))

    async def dimension(self, space: str) -> int | None:
        with reaching_redis():
            return await self._dimension(space)

    async def _dimension(self, space: str) -> int | None:
        try:
            return int(await self._call("VDIM", self._vectors(space)))
        except ResponseError as why:
            if "does not exist" in str(why):
                return None
            raise

    async def _declared(self, new: set[str]) -> list[str]:
        """All spaces, after these were added."""
        if new:
            await self._redis.sadd(f"{self._prefix}:spaces", *new)
            await self._redis.set(f"{self._prefix}:current", min(new), nx=True)
        return sorted(_text(space) for space in await self._redis.smembers(f"{self._prefix}:spaces"))

    def _vectors(self, space: str) -> str:
        return f"{self._prefix}:vectors:{space}"


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value


def fitting(placement: Placement, space: str, dimensions: dict[str, int | None]) -> Vector | None:
    """The listing's vector in this space, if it has one of the right dimension; the first one sets it."""
    vector = placement.vectors.get(space)
    if vector is None:
        return None
    dimensions[space] = dimensions[space] or vector.size
    if vector.size != dimensions[space]:
        log.warning("vector of another dimension left out", listing=placement.listing_id, space=space, size=vector.size)
        return None
    return vector


def _fingerprint(vector: Vector) -> str:
    return hashlib.sha256(vector.astype("<f4").tobytes()).hexdigest()[:16]


def _attributes(raw: bytes | None) -> dict[str, object] | None:
    """None when the element isn't there; ours always carry attributes."""
    return None if raw is None else dict(json.loads(raw))
