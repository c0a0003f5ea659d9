"""The hash bank: every photo's hash, who uploaded it and when. The only module of this service that uses Redis.

Look-up is multi-index hashing (Norouzi, Punjani, Fleet 2012). A hash is cut into 16 bands of 16 bits; two hashes that
differ in at most 31 bits have, by pigeonhole, a band in which at most one bit differs. So each band's value and its 16
neighbours are looked up, and only what lies there is compared in full. One Redis hash holds them: from the number of a
band and its value, three bytes, to the hashes that have it there, 32 bytes each, one after the other.

A photo with uniform margins has two hashes, one without them, and is found by either.

The photos of one hash are sorted by who came first, so a picture that thousands of listings show costs no more than one
that a hundred show: only its earliest photos, and those next after the one that is asked about, are ever looked at.

Every key carries one hash tag, so that each step is one atomic script, in a cluster too: the bank is on one node. A
photo costs 3.7 KB there (measured on the thousandth to the nine thousandth), and up to 2 KB more for its look-alikes.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import redis
import structlog

from services.fraud.pdq import Fingerprint, distances, packed
from shared.durability import Durability, converse
from shared.redis import connect_blocking, lua, reaching_redis

log = structlog.get_logger()

PREFIX = "{fraud-bank}:"
BANDS = 16
HASHES = f"{PREFIX}hashes"
# A band's value XOR these: itself, and one bit changed.
NEIGHBOURS = np.array([0, *(1 << bit for bit in range(16))], np.uint16)
FIELD = b"$3\r\n...\r\n"  # a field of three bytes, as Redis's protocol has it
FIELD_AT = FIELD.index(b".")

MATCHES_KEPT = 16  # of other sellers, for each photo: the original and a few more as evidence
SCORED_AGAIN = 64  # later copies, each time a photo is met
# Of each hash, to either side in time. Above SCORED_AGAIN by more than the photos that one listing may have.
LOOKED_AT = 128

DISK_SECONDS = 4.0  # below shared.redis.TIMEOUT_SECONDS, or the connection would not live to hear it


@dataclass(frozen=True, slots=True)
class BankedPhoto:
    """One photo of one listing. (listing_id, sha256) names it: the same bytes in two listings are two photos."""

    listing_id: str
    sha256: str
    seller_id: str
    revision: int
    generation: int
    uploaded_us: int  # microseconds since 1970-01-01 UTC
    assessed_us: int  # likewise, by the clock of the worker that scored it

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
    def order(self) -> str:
        """The lowest is the original. Equal times are decided by name, the same way for whoever asks."""
        return order_of(self.uploaded_us, f"{self.sha256}/{self.listing_id}")


@dataclass(frozen=True, slots=True)
class Marked:
    """A photo with the earliest ones that are known to look the same, and what was known of it before."""

    listing_id: str
    sha256: str
    seller_id: str
    scored: bytes  # the ImageScored given to `meet`, which knows nothing of copies
    # The original first: at most MATCHES_KEPT of other sellers and the earliest of the photo's own, all uploaded before
    # it; never of its own listing.
    matches: tuple[Match, ...]
    at_us: int  # after `assessed_us`. Of two answers about one photo the later one knows more, and no two are equal.
    of_text: bool = False  # a picture of text, and so are its matches


class Bank(Protocol):
    """What fraud scoring needs of a hash bank. All calls are safe from many threads and may be repeated."""

    def meet(self, photo: BankedPhoto, fingerprint: Fingerprint, scored: bytes) -> Sequence[Marked]:
        """Insert the photo, then say which photos are known to have earlier look-alikes: itself and any later ones.

        The photo is inserted before it looks around. So of two copies that arrive at once at least one sees the other,
        and whoever sees a later one gets what is needed to score it again. A photo whose listing was removed, or that a
        newer revision dropped, neither matches nor is kept.

        Of later ones only the SCORED_AGAIN earliest are returned, so that one call stays short whatever the number of
        copies. Those beyond keep what they were told when they arrived: then they saw the earliest of that time.
        Raises Transient.
        """
        ...

    def keep_only(self, listing_id: str, revision: int, photos: Iterable[str]) -> None:
        """The listing's photos (sha256) from this revision on: others of this or an older revision are dropped."""
        ...

    def forget(self, listing_id: str) -> None:
        """The listing was removed, for ever: its photos match nothing any more, those that arrive late included."""
        ...

    def flushed(self) -> None:
        """Returns once everything said before is on disk. Slow, up to a second: for many photos at once.

        Raises Transient.
        """
        ...

    def ping(self) -> None:
        """Raises Transient when the bank is away."""
        ...


def _script(name: str) -> str:
    return lua(*(Path(__file__).with_name(f"{part}.lua") for part in ("start", name)))


def open_bank(address: str, *, wait_for_disk: bool = True) -> "RedisBank":
    """`address` is redis:// or rediss://. Connects with the first call, not here."""
    return RedisBank(connect_blocking(address), wait_for_disk=wait_for_disk)


class RedisBank:
    """A `Bank` in Redis 7 or later. Every step may be repeated, so a retry after a lost answer is harmless."""

    def __init__(self, client: "redis.Redis", *, wait_for_disk: bool = True) -> None:
        self._redis = client
        self._durability = Durability(PREFIX.removesuffix(":"), DISK_SECONDS, wait_for_disk=wait_for_disk)
        self._insert = client.register_script(_script("insert"))
        self._mark = client.register_script(_script("mark"))
        self._keep_only = client.register_script(_script("keep_only"))
        self._forget = client.register_script(_script("forget"))

    def meet(self, photo: BankedPhoto, fingerprint: Fingerprint, scored: bytes) -> Sequence[Marked]:
        with reaching_redis("the hash bank"):
            return self._meet(photo, fingerprint, scored)

    def keep_only(self, listing_id: str, revision: int, photos: Iterable[str]) -> None:
        with reaching_redis("the hash bank"):
            self._keep_only(args=[PREFIX, listing_id, revision, *photos])

    def forget(self, listing_id: str) -> None:
        with reaching_redis("the hash bank"):
            self._forget(args=[PREFIX, listing_id])

    def flushed(self) -> None:
        with reaching_redis("the hash bank"):
            converse(self._redis, self._durability.flush())

    def ping(self) -> None:
        with reaching_redis("the hash bank"):
            self._redis.ping()

    def close(self) -> None:
        self._redis.close()

    def _meet(self, photo: BankedPhoto, fingerprint: Fingerprint, scored: bytes) -> Sequence[Marked]:
        uploaded_us = self._inserted(photo, fingerprint, scored)
        if uploaded_us is None:
            return []
        earlier, later = self._look_alikes(fingerprint, photo.name, uploaded_us)
        if len(later) > SCORED_AGAIN:
            log.info("more later copies than are scored again", photo=photo.name, scored_again=SCORED_AGAIN)
        asked = [(photo.name, earlier)] if earlier else []
        asked += [(name, {photo.name: bits}) for name, bits in list(later.items())[:SCORED_AGAIN]]
        return self._marked(asked)

    def _inserted(self, photo: BankedPhoto, fingerprint: Fingerprint, scored: bytes) -> int | None:
        """When it was uploaded first, if an earlier revision had it already. None when it was removed."""
        words = (photo.listing_id, photo.sha256, photo.seller_id, fingerprint.hex)
        numbers = (photo.revision, photo.generation, photo.uploaded_us, photo.assessed_us)
        looks = ("".join(fingerprint.trimmed[:1]), "1" if fingerprint.of_text else "")
        uploaded = self._insert(args=(PREFIX, *words, scored, *numbers, *looks))
        return None if uploaded is None else int(uploaded)

    def _look_alikes(
        self, fingerprint: Fingerprint, name: str, uploaded_us: int
    ) -> tuple[dict[str, int], dict[str, int]]:
        """The earliest of all, and those next after the photo: names with distances, in order."""
        hashes = self._hashes_nearby(fingerprint)
        near = {
            value: int(bits)
            for value, bits in zip(hashes, distances(fingerprint, hashes), strict=True)
            if bits <= fingerprint.match_distance
        }
        mine = order_of(uploaded_us, name)
        before, after = ("-", f"({mine}"), (f"({mine}", "+")
        found = self._pipelined(
            ("ZRANGE", f"{PREFIX}in-order:{value}", *span, "BYLEX", "LIMIT", "0", str(LOOKED_AT))
            for span in (before, after)
            for value in near
        )
        own_listing = _listing_of(name)
        return _in_order(found[: len(near)], near, own_listing), _in_order(found[len(near) :], near, own_listing)

    def _hashes_nearby(self, fingerprint: Fingerprint) -> list[str]:
        """All hashes of which one band is that of a variant, or one bit off: a superset of the matches."""
        request = _look_up(fingerprint)
        pool = self._redis.connection_pool
        connection = pool.get_connection()

        def asked() -> list[bytes | None]:
            connection.send_packed_command([request])  # type: ignore[no-untyped-call]
            answer: list[bytes | None] = connection.read_response()
            return answer

        try:
            found = connection.retry.call_with_retry(asked, lambda _why: connection.disconnect())  # type: ignore[no-untyped-call]
        finally:
            pool.release(connection)
        held = b"".join(value for value in found if value)
        return sorted({held[at : at + 32].hex() for at in range(0, len(held), 32)})

    def _marked(self, asked: Sequence[tuple[str, Mapping[str, int]]]) -> list[Marked]:
        """Without those that were removed in the meantime."""
        arguments = [
            [PREFIX, name, MATCHES_KEPT, *(part for pair in found.items() for part in pair)] for name, found in asked
        ]
        if len(asked) == 1:  # a pipeline first asks whether the script is there
            answers = [self._mark(args=arguments[0])]
        else:
            with self._redis.pipeline(transaction=False) as pipeline:
                for each in arguments:
                    self._mark(args=each, client=pipeline)
                answers = pipeline.execute()
        return [_as_marked(name, *answer) for (name, _), answer in zip(asked, answers, strict=True) if answer]

    def _pipelined(self, commands: Iterable[tuple[str, ...]]) -> list[Any]:
        with self._redis.pipeline(transaction=False) as pipeline:
            for command in commands:
                pipeline.execute_command(*command)  # type: ignore[no-untyped-call]
            return pipeline.execute()


def _look_up(fingerprint: Fingerprint) -> bytes:
    """HMGET of every band's values of all variants and their neighbours, as Redis's protocol has it.

    Packed here: redis-py takes longer to pack these 2176 fields, or twice as many with a trimmed hash, than Redis to
    look them up, and so does a Lua script.
    """
    values = packed(fingerprint.all_variants).view(np.uint16)  # variants x bands
    wanted = (values.T[:, :, None] ^ NEIGHBOURS).reshape(BANDS, -1, 1)
    fields = np.empty((*wanted.shape[:2], len(FIELD)), np.uint8)
    fields[:] = np.frombuffer(FIELD, np.uint8)
    fields[..., FIELD_AT] = np.arange(BANDS)[:, None]
    fields[..., FIELD_AT + 1 : FIELD_AT + 3] = wanted.view(np.uint8)
    words = f"*{2 + wanted.size}\r\n$5\r\nHMGET\r\n${len(HASHES)}\r\n{HASHES}\r\n"
    return words.encode() + fields.tobytes()


def order_of(uploaded_us: int, name: str) -> str:
    """Sorts as photos came: by time of upload, then by name."""
    return f"{uploaded_us:016d}/{name}"


def _in_order(found: Sequence[Sequence[bytes]], near: Mapping[str, int], own_listing: str) -> dict[str, int]:
    """The first LOOKED_AT of all, with their distances."""
    bits_of: dict[str, int] = {}  # by the nearest of its hashes, where a photo has two
    for members, bits in zip(found, near.values(), strict=True):
        for order in members:
            bits_of[order.decode()] = min(bits, bits_of.get(order.decode(), bits))
    named = ((order.partition("/")[2], bits_of[order]) for order in sorted(bits_of)[:LOOKED_AT])
    return {name: bits for name, bits in named if _listing_of(name) != own_listing}


def _listing_of(name: str) -> str:
    return name.partition("/")[2]


def _as_marked(
    name: str, seller: bytes, scored: bytes, of_text: bytes, at: bytes, found: Sequence[Sequence[bytes]]
) -> Marked:
    sha256, _, listing_id = name.partition("/")
    matches = (_match(other.decode(), int(bits), its, uploaded) for other, bits, its, uploaded in found)
    return Marked(listing_id, sha256, seller.decode(), scored, tuple(matches), int(at), bool(of_text))


def _match(name: str, distance: int, seller: bytes, uploaded: bytes) -> Match:
    sha256, _, listing_id = name.partition("/")
    return Match(listing_id, sha256, seller.decode(), int(uploaded), distance)
