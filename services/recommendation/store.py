"""Joined records in Redis. Nothing else touches their keys.

All of one listing lies in one slot, by the hash tag {LISTING_ID}:

    listing:{LISTING_ID}         the joined record, an EnrichedListing; what lookups read
    listing:{LISTING_ID}:parts   a hash: the fields that it was made from (see fields.py), and `version`,
                                 which counts changes
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from redis.asyncio import Redis

from services.recommendation.fields import Enriched, Vector, embedding_field, vector_in
from shared.durability import Durability, Stamp, converse_in_loop
from shared.redis import lua, reaching_redis

# Results whose listing never came: kept as long as the topics keep theirs.
ORPHANS_KEPT_SECONDS = 7 * 24 * 3600


@dataclass(frozen=True, slots=True)
class Stored:
    """What is known of a listing. The version grows by one with each change; 0 means that nothing is known."""

    version: int = 0
    fields: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Write:
    """From what was read to what shall be. `record` is None until the listing itself is known."""

    listing_id: str
    before: Stored
    fields: Mapping[str, bytes]
    record: Enriched | None

    @property
    def after(self) -> Stored:
        return Stored(self.before.version + 1, self.fields)


class Records(Protocol):
    """The joined records of all listings. Everything raises Transient when the store stayed away."""

    async def stored(self, listing_ids: Sequence[str]) -> list[Stored]:
        """What stands there, in the order asked for."""
        ...

    async def write(self, writes: Sequence[Write]) -> list[bool]:
        """Each is atomic. False: the listing changed since it was read, and nothing was written."""
        ...

    async def versions(self, listing_ids: Sequence[str]) -> list[int]: ...

    async def flushed(self) -> None:
        """Returns once everything written before is on disk."""
        ...

    async def records(self, listing_ids: Sequence[str]) -> list[Enriched | None]:
        """The records, in one round; None for a listing that isn't known. Removed ones are there, with their status."""
        ...

    async def vectors(self, space: str, photos: Sequence[tuple[str, str]]) -> list[Vector | None]:
        """Vectors for (listing id, photo sha256) pairs, in one round; None where that photo has none in this space."""
        ...

    async def ping(self) -> None: ...


class RedisRecords:
    """Joined records in one Redis, or one that looks like it."""

    def __init__(self, redis: Redis, *, wait_for_disk: bool = True, disk_timeout_seconds: float = 10.0) -> None:
        self._redis = redis
        self._durability = Durability("vitrine:join", disk_timeout_seconds, wait_for_disk=wait_for_disk)
        self._write = lua(Path(__file__).with_name("write.lua"))

    async def stored(self, listing_ids: Sequence[str]) -> list[Stored]:
        pipe = self._redis.pipeline(transaction=False)
        for listing_id in listing_ids:
            pipe.hgetall(_fields_key(listing_id))
        with reaching_redis():
            values = await pipe.execute() if listing_ids else []
        return [_stored(fields) for fields in values]

    async def write(self, writes: Sequence[Write]) -> list[bool]:
        pipe = self._redis.pipeline(transaction=False)
        for write in writes:
            pipe.eval(self._write, 2, record_key(write.listing_id), _fields_key(write.listing_id), *_arguments(write))
        with reaching_redis():
            return [bool(done) for done in await pipe.execute()] if writes else []

    async def versions(self, listing_ids: Sequence[str]) -> list[int]:
        pipe = self._redis.pipeline(transaction=False)
        for listing_id in listing_ids:
            pipe.hget(_fields_key(listing_id), "version")
        with reaching_redis():
            return [int(version or 0) for version in await pipe.execute()] if listing_ids else []

    async def resume(self, committed: Sequence[Stamp | None]) -> None:
        """Before anything is joined: see Durability.resume."""
        with reaching_redis():
            await converse_in_loop(self._redis, self._durability.resume(committed))

    async def close_for_rebuild(self) -> None:
        """Raises Unusable, and has changed nothing then. See Durability.close."""
        with reaching_redis():
            await converse_in_loop(self._redis, self._durability.check())
            await converse_in_loop(self._redis, self._durability.close())

    async def restore(self, stamp: Stamp) -> None:
        """See Durability.restore."""
        with reaching_redis():
            await converse_in_loop(self._redis, self._durability.restore(stamp))

    @property
    def stamp(self) -> Stamp | None:
        """Of the last flush."""
        return self._durability.stamp

    async def flushed(self) -> None:
        with reaching_redis():
            await converse_in_loop(self._redis, self._durability.flush())

    async def records(self, listing_ids: Sequence[str]) -> list[Enriched | None]:
        with reaching_redis():
            values = await self._redis.mget([record_key(i) for i in listing_ids]) if listing_ids else []
        return [Enriched.FromString(value) if isinstance(value, bytes) else None for value in values]

    async def vectors(self, space: str, photos: Sequence[tuple[str, str]]) -> list[Vector | None]:
        pipe = self._redis.pipeline(transaction=False)
        for listing_id, sha256 in photos:
            pipe.hget(_fields_key(listing_id), embedding_field(space, sha256))
        with reaching_redis():
            values = await pipe.execute() if photos else []
        return [vector_in(part) if part is not None else None for part in values]

    async def ping(self) -> None:
        with reaching_redis():
            await self._redis.ping()

    async def still_there(self) -> None:
        """Raises Transient when Redis is away, and Replaced when it came back as another since `resume`."""
        with reaching_redis():
            await converse_in_loop(self._redis, self._durability.still_there())


def record_key(listing_id: str) -> str:
    return f"listing:{{{listing_id}}}"


def _fields_key(listing_id: str) -> str:
    return f"{record_key(listing_id)}:parts"


def _stored(values: Mapping[bytes, bytes]) -> Stored:
    fields = {name.decode(): value for name, value in values.items()}
    return Stored(int(fields.pop("version", b"0")), fields)


def _arguments(write: Write) -> list[str | bytes | int]:
    gone = [name for name in write.before.fields if name not in write.fields]
    changed = {name: value for name, value in write.fields.items() if write.before.fields.get(name) != value}
    record = write.record.SerializeToString() if write.record is not None else b""
    head: list[str | bytes | int] = [write.before.version, write.after.version, record, ORPHANS_KEPT_SECONDS]
    return [*head, len(gone), *gone, *(argument for pair in changed.items() for argument in pair)]
