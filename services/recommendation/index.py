"""Where the listings' vectors are searched: in Redis 8 vector sets, or exactly in memory.

An element is a listing, its id the listing's. Spaces are kept apart: a vector set for each, and a pointer to the one
that lookups use. Neither implementation is part of a listing's atomic step, so every hit is checked against its record.
"""

import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import structlog
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from services.recommendation.parts import Vector
from services.recommendation.rank import PRICE_SLACK, Filter, expression, index_text
from shared.redis import reaching_redis

log = structlog.get_logger()

# Candidates that the graph is explored for at least; recall@10 is .996 at 50 already.
MIN_EXPLORED = 100


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

        Fewer can mean that a rare filter ended the exploration; `exhaustive` looks at every element instead. An unknown
        space has none. Raises WrongDimension.
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
        """Of the space's vectors; None while it has none."""
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
                vector = _fitting(placement, space, dimensions)
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
            command += ["FILTER", expressed]
        if exhaustive:
            command += ["TRUTH"]
        with reaching_redis():
            try:
                found = await self._call(*command)
            except ResponseError as why:
                if "dimension" in str(why):
                    raise WrongDimension(f"{query.size} numbers, in space {space}: {why}") from why
                raise
        return [_text(element) for element in found]

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


class ExactVectorIndex:
    """In memory, by comparing with every vector: the measure of the approximate ones, and the tests' fake."""

    def __init__(self) -> None:
        self._spaces: dict[str, dict[str, tuple[Vector, Mapping[str, object]]]] = {}
        self._current: str | None = None

    async def place(self, placements: Sequence[Placement]) -> None:
        for space in sorted({space for p in placements for space in p.vectors}):
            self._spaces.setdefault(space, {})
            self._current = self._current or space
        for placement in placements:
            for space, elements in self._spaces.items():
                vector = _fitting(placement, space, {space: await self.dimension(space)})
                if vector is None:
                    elements.pop(placement.listing_id, None)
                else:
                    elements[placement.listing_id] = (vector, placement.attributes)

    async def search(
        self, space: str, query: Vector, count: int, wanted: Filter, *, exhaustive: bool = False
    ) -> list[str]:
        elements = self._spaces.get(space, {})
        if elements and query.size != await self.dimension(space):
            raise WrongDimension(f"{query.size} numbers, in space {space} of {await self.dimension(space)}")
        near = [(-float(query @ v), name) for name, (v, about) in elements.items() if _admits(about, wanted)]
        return [name for _, name in sorted(near)[:count]]

    async def current_space(self) -> str | None:
        return self._current

    async def spaces(self) -> list[str]:
        return sorted(self._spaces)

    async def size(self, space: str) -> int:
        return len(self._spaces.get(space, {}))

    async def dimension(self, space: str) -> int | None:
        return next((int(vector.size) for vector, _ in self._spaces.get(space, {}).values()), None)


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _fitting(placement: Placement, space: str, dimensions: dict[str, int | None]) -> Vector | None:
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


def _admits(about: Mapping[str, Any], wanted: Filter) -> bool:
    """What rank.expression says, over the same attributes."""
    price = wanted.price
    return (
        (not wanted.category_path or index_text("/", wanted.category_path) in about["category"])
        and all(index_text("=", (a.name, a.value)) in about["attribute"] for a in wanted.attributes)
        and (not wanted.HasField("price") or about["currency"] == index_text("", [price.currency_code]))
        and (not price.HasField("minimum") or about["price"] >= price.minimum - PRICE_SLACK)
        and (not price.HasField("maximum") or about["price"] <= price.maximum + PRICE_SLACK)
        and (not wanted.seller_ids or about["seller"] in [index_text("", [s]) for s in wanted.seller_ids])
        and about["seller"] not in [index_text("", [s]) for s in wanted.excluded_seller_ids]
    )
