"""The hash bank: every photo's PDQ hash, who uploaded it and when. The only module of this service that uses Redis.

Look-up is multi-index hashing (Norouzi, Punjani, Fleet 2012). A hash is cut into 16 bands of 16 bits; two hashes that
differ in at most 31 bits have, by pigeonhole, a band in which at most one bit differs. So each band's value and its 16
neighbours are looked up, and only what lies there is compared in full.

Every key carries one hash tag, so that each step is one atomic script, in a cluster too: the bank is on one node. A
photo costs about 2 KB there.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

import redis
from redis.backoff import ExponentialWithJitterBackoff
from redis.exceptions import BusyLoadingError, RedisError
from redis.exceptions import ConnectionError as ConnectionLost
from redis.exceptions import TimeoutError as TimedOut
from redis.retry import Retry

from shared.errors import Transient
from shared.vision.pdq import MATCH_DISTANCE, Fingerprint, distances

PREFIX = "{fraud-bank}:"
BANDS = 16
BAND_DIGITS = 4  # hex: 16 bits
NEIGHBOURS = (0, *(1 << bit for bit in range(16)))  # a band's value XOR these: itself, and one bit changed

ATTEMPTS = 5
FIRST_WAIT_SECONDS = 0.1
LONGEST_WAIT_SECONDS = 2.0
TIMEOUT_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class BankedPhoto:
    """One photo of one listing. (listing_id, sha256) names it: the same bytes in two listings are two photos."""

    listing_id: str
    sha256: str
    seller_id: str
    revision: int
    generation: int
    uploaded_us: int  # microseconds since 1970-01-01 UTC

    @property
    def name(self) -> str:
        return f"{self.sha256}/{self.listing_id}"


@dataclass(frozen=True, slots=True)
class Match:
    """An earlier photo that looks the same."""

    listing_id: str
    sha256: str
    seller_id: str
    uploaded_us: int
    distance: int  # bits of 256

    @property
    def order(self) -> tuple[int, str, str]:
        """The lowest is the original. Equal times are decided by name, the same way for whoever asks."""
        return self.uploaded_us, self.listing_id, self.sha256


@dataclass(frozen=True, slots=True)
class Marked:
    """A photo with all earlier ones that are known to look the same, and what was known of it before."""

    listing_id: str
    sha256: str
    seller_id: str
    scored: bytes  # the ImageScored given to `meet`, which knows nothing of copies
    matches: tuple[Match, ...]  # the original first; never of the photo's own listing
    at_us: int  # the bank's clock: of two answers about one photo, the later one knows more


class Bank(Protocol):
    """What fraud scoring needs of a hash bank. All calls are safe from many threads and may be repeated."""

    def meet(self, photo: BankedPhoto, fingerprint: Fingerprint, scored: bytes) -> Sequence[Marked]:
        """Insert the photo, then say which photos are known to have earlier look-alikes: itself and any later ones.

        The photo is inserted before it looks around. So of two copies that arrive at once at least one sees the other,
        and whoever sees a later one gets what is needed to score it again. A photo whose listing was removed, or that a
        newer revision dropped, neither matches nor is kept. Raises Transient.
        """
        ...

    def keep_only(self, listing_id: str, revision: int, photos: Iterable[str]) -> None:
        """The listing's photos (sha256) from this revision on: others of this or an older revision are dropped."""
        ...

    def forget(self, listing_id: str) -> None:
        """The listing was removed, for ever: its photos match nothing any more, those that arrive late included."""
        ...


DROP = """
local prefix = ARGV[1]
local function drop(name)
    local hash = redis.call('HGET', prefix .. 'photo:' .. name, 'hash')
    redis.call('DEL', prefix .. 'photo:' .. name, prefix .. 'matches:' .. name)
    if not hash then return end
    redis.call('SREM', prefix .. 'hash:' .. hash, name)
    if redis.call('EXISTS', prefix .. 'hash:' .. hash) == 1 then return end
    for band = 0, 15 do
        local value = string.sub(hash, band * 4 + 1, band * 4 + 4)
        redis.call('SREM', prefix .. 'band:' .. band .. ':' .. value, hash)
    end
end
"""

# Returns 1, or 0 when the photo is no longer one of its listing's. The earliest upload time stays, come what may.
INSERT = (
    DROP
    + """
local listing, sha, seller, hash, scored = ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local revision, generation, uploaded = tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9])
local known = redis.call('HMGET', prefix .. 'listing:' .. listing, 'removed', 'revision')
if known[1] then return 0 end
if known[2] and tonumber(known[2]) >= revision
    and redis.call('SISMEMBER', prefix .. 'current:' .. listing, sha) == 0 then return 0 end
local name = sha .. '/' .. listing
local key = prefix .. 'photo:' .. name
local old = redis.call('HMGET', key, 'hash', 'revision', 'generation', 'uploaded')
if old[1] then
    if tonumber(old[4]) < uploaded then ARGV[9] = old[4] end
    local older = tonumber(old[2]) > revision
        or (tonumber(old[2]) == revision and tonumber(old[3]) > generation)
    if older then
        redis.call('HSET', key, 'uploaded', ARGV[9])
        return 1
    end
    if old[1] ~= hash then drop(name) end
end
redis.call('HSET', key, 'hash', hash, 'seller', seller, 'scored', scored,
    'revision', ARGV[7], 'generation', ARGV[8], 'uploaded', ARGV[9])
redis.call('SADD', prefix .. 'photos:' .. listing, sha)
redis.call('SADD', prefix .. 'hash:' .. hash, name)
for band = 0, 15 do
    redis.call('SADD', prefix .. 'band:' .. band .. ':' .. string.sub(hash, band * 4 + 1, band * 4 + 4), hash)
end
return 1
"""
)

# Adds earlier photos to a later one's matches; returns all that still exist. Scripts run one at a time: so the last one
# to add sees what all before it added, and the clock says who was last.
MARK = """
local prefix, name = ARGV[1], ARGV[2]
local photo = redis.call('HMGET', prefix .. 'photo:' .. name, 'seller', 'scored')
if not photo[1] then return false end
for i = 3, #ARGV, 2 do redis.call('HSET', prefix .. 'matches:' .. name, ARGV[i], ARGV[i + 1]) end
local found = redis.call('HGETALL', prefix .. 'matches:' .. name)
local matches = {}
for i = 1, #found, 2 do
    local other = redis.call('HMGET', prefix .. 'photo:' .. found[i], 'seller', 'uploaded')
    if other[1] then
        matches[#matches + 1] = {found[i], found[i + 1], other[1], other[2]}
    else
        redis.call('HDEL', prefix .. 'matches:' .. name, found[i])
    end
end
local now = redis.call('TIME')
return {photo[1], photo[2], now[1], now[2], matches}
"""

KEEP_ONLY = (
    DROP
    + """
local listing, revision = ARGV[2], tonumber(ARGV[3])
local known = redis.call('HMGET', prefix .. 'listing:' .. listing, 'removed', 'revision')
if known[1] or (known[2] and tonumber(known[2]) > revision) then return 0 end
redis.call('HSET', prefix .. 'listing:' .. listing, 'revision', ARGV[3])
redis.call('DEL', prefix .. 'current:' .. listing)
for i = 4, #ARGV do redis.call('SADD', prefix .. 'current:' .. listing, ARGV[i]) end
for _, sha in ipairs(redis.call('SMEMBERS', prefix .. 'photos:' .. listing)) do
    local name = sha .. '/' .. listing
    local its = redis.call('HGET', prefix .. 'photo:' .. name, 'revision')
    if redis.call('SISMEMBER', prefix .. 'current:' .. listing, sha) == 0
        and not (its and tonumber(its) > revision) then
        drop(name)
        redis.call('SREM', prefix .. 'photos:' .. listing, sha)
    end
end
return 1
"""
)

FORGET = (
    DROP
    + """
local listing = ARGV[2]
redis.call('HSET', prefix .. 'listing:' .. listing, 'removed', '1')
for _, sha in ipairs(redis.call('SMEMBERS', prefix .. 'photos:' .. listing)) do drop(sha .. '/' .. listing) end
redis.call('DEL', prefix .. 'photos:' .. listing, prefix .. 'current:' .. listing)
return 1
"""
)


def open_bank(address: str) -> "RedisBank":
    """`address` is redis:// or rediss://. Connects with the first call, not here."""
    waits = ExponentialWithJitterBackoff(base=FIRST_WAIT_SECONDS, cap=LONGEST_WAIT_SECONDS)
    return RedisBank(
        redis.Redis.from_url(
            address,
            retry=Retry(waits, ATTEMPTS),
            retry_on_error=[ConnectionLost, TimedOut, BusyLoadingError],
            socket_timeout=TIMEOUT_SECONDS,
            socket_connect_timeout=TIMEOUT_SECONDS,
        )
    )


class RedisBank:
    """A `Bank` in Redis 7 or later. Every step may be repeated, so a retry after a lost answer is harmless."""

    def __init__(self, client: "redis.Redis") -> None:
        self._redis = client
        self._insert = client.register_script(INSERT)
        self._mark = client.register_script(MARK)
        self._keep_only = client.register_script(KEEP_ONLY)
        self._forget = client.register_script(FORGET)

    def meet(self, photo: BankedPhoto, fingerprint: Fingerprint, scored: bytes) -> Sequence[Marked]:
        try:
            return self._meet(photo, fingerprint, scored)
        except RedisError as why:
            raise Transient(f"the hash bank did not answer: {why}") from why

    def keep_only(self, listing_id: str, revision: int, photos: Iterable[str]) -> None:
        try:
            self._keep_only(args=[PREFIX, listing_id, revision, *photos])
        except RedisError as why:
            raise Transient(f"the hash bank did not answer: {why}") from why

    def forget(self, listing_id: str) -> None:
        try:
            self._forget(args=[PREFIX, listing_id])
        except RedisError as why:
            raise Transient(f"the hash bank did not answer: {why}") from why

    def close(self) -> None:
        self._redis.close()

    def _meet(self, photo: BankedPhoto, fingerprint: Fingerprint, scored: bytes) -> Sequence[Marked]:
        if not self._inserted(photo, fingerprint, scored):
            return []
        others = self._look_alikes(fingerprint, not_of=photo.listing_id)
        me = Match(photo.listing_id, photo.sha256, photo.seller_id, self._uploaded_us(photo), 0)
        earlier = [other for other in others if other.order < me.order]
        later = [other for other in others if other.order > me.order]
        marked = [self._marked(me, earlier)] if earlier else []
        marked += [self._marked(other, [_at_distance(me, other.distance)]) for other in later]
        return [photo for photo in marked if photo is not None]

    def _inserted(self, photo: BankedPhoto, fingerprint: Fingerprint, scored: bytes) -> bool:
        words = (photo.listing_id, photo.sha256, photo.seller_id, fingerprint.hex)
        numbers = (photo.revision, photo.generation, photo.uploaded_us)
        return bool(self._insert(args=(PREFIX, *words, scored, *numbers)))

    def _uploaded_us(self, photo: BankedPhoto) -> int:
        """Of its first upload, if an earlier revision had it already."""
        known = cast("bytes | None", self._redis.hget(f"{PREFIX}photo:{photo.name}", "uploaded"))
        return int(known) if known is not None else photo.uploaded_us

    def _look_alikes(self, fingerprint: Fingerprint, not_of: str) -> list[Match]:
        hashes = self._hashes_nearby(fingerprint)
        near = {
            value: int(bits)
            for value, bits in zip(hashes, distances(fingerprint, hashes), strict=True)
            if bits <= MATCH_DISTANCE
        }
        names = self._pipelined(("SMEMBERS", f"{PREFIX}hash:{value}") for value in near)
        distance_of = {
            name.decode(): bits
            for members, bits in zip(names, near.values(), strict=True)
            for name in sorted(members)
            if _listing_of(name.decode()) != not_of
        }
        found = self._pipelined(("HMGET", f"{PREFIX}photo:{name}", "seller", "uploaded") for name in distance_of)
        return [
            _match(name, bits, seller, uploaded)
            for (name, bits), (seller, uploaded) in zip(distance_of.items(), found, strict=True)
            if seller is not None
        ]

    def _hashes_nearby(self, fingerprint: Fingerprint) -> list[str]:
        """All hashes of which one band is that of a variant, or one bit off: a superset of the matches."""
        found = self._pipelined(("SUNION", *keys) for keys in _buckets(fingerprint))
        return sorted({value.decode() for members in found for value in members})

    def _marked(self, photo: Match, earlier: Sequence[Match]) -> Marked | None:
        """None when the photo was removed in the meantime."""
        pairs = [part for other in earlier for part in (_name(other), str(other.distance))]
        answer = self._mark(args=[PREFIX, _name(photo), *pairs])
        if answer is None:
            return None
        seller, scored, seconds, microseconds, found = answer
        matches = sorted(
            (_match(name.decode(), int(bits), seller, uploaded) for name, bits, seller, uploaded in found),
            key=lambda match: match.order,
        )
        at_us = int(seconds) * 1_000_000 + int(microseconds)
        return Marked(photo.listing_id, photo.sha256, seller.decode(), scored, tuple(matches), at_us)

    def _pipelined(self, commands: Iterable[tuple[str, ...]]) -> list[Any]:
        with self._redis.pipeline(transaction=False) as pipeline:
            for command in commands:
                pipeline.execute_command(*command)  # type: ignore[no-untyped-call]
            return pipeline.execute()


def _buckets(fingerprint: Fingerprint) -> list[list[str]]:
    """For each band the keys of all its variants' values and of their neighbours."""
    return [
        sorted(
            {
                f"{PREFIX}band:{band}:{value ^ neighbour:04x}"
                for value in {int(variant[start : start + BAND_DIGITS], 16) for variant in fingerprint.variants}
                for neighbour in NEIGHBOURS
            }
        )
        for band, start in enumerate(range(0, BANDS * BAND_DIGITS, BAND_DIGITS))
    ]


def _name(photo: Match) -> str:
    return f"{photo.sha256}/{photo.listing_id}"


def _listing_of(name: str) -> str:
    return name.partition("/")[2]


def _match(name: str, distance: int, seller: bytes, uploaded: bytes) -> Match:
    sha256, _, listing_id = name.partition("/")
    return Match(listing_id, sha256, seller.decode(), int(uploaded), distance)


def _at_distance(photo: Match, distance: int) -> Match:
    return Match(photo.listing_id, photo.sha256, photo.seller_id, photo.uploaded_us, distance)
