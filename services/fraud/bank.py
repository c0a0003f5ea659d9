"""The hash bank: every photo's hash, who uploaded it and when. The only module of this service that uses Redis.

Look-up is multi-index hashing (Norouzi, Punjani, Fleet 2012). A hash is cut into 16 bands of 16 bits; two hashes that
differ in at most 31 bits have, by pigeonhole, a band in which at most one bit differs. So each band's value and its 16
neighbours are looked up, and only what lies there is compared in full. One Redis hash holds them: from the number of a
band and its value, three bytes, to the hashes that have it there, 32 bytes each, one after the other.

A photo with uniform margins has two hashes, one without them, and is found by either.

**Who is the original.** The earliest look-alike that stands. What blocks is a close look-alike that is another
seller's, was shown earlier, and is itself not blocked as a copy; to have come first is no evidence beyond that. So:

- A blocked copy is nobody's original, also after the true one is gone. What was once found to follow a seller's photo
  is never that seller's original.
- When a photo leaves, when its seller first showed its hashes is kept for KEPT_SECONDS. What the seller shows later
  with the same hash, in whichever listing, counts as of then. What has another hash and looks the same is defended by
  that time, as far as a photo with the kept hash stands, but accuses nobody by it.
- A picture that STOCK_SELLERS sellers show is a supplier's: it is reviewed, whoever came first.
- Copies keep their score when their original is removed, unless they are scored again.

**Which photos a listing has** is told by its changes, in the join's order: a removal, else the highest revision, else
the greater bytes. Between two changes of one revision the loser's photos wait: they are compared, and count for nothing
until a third one has them. A listing is that seller's who is first heard of with it, for ever.

**Floods.** The photos of one hash are sorted by who came first, so a picture that thousands of listings show costs no
more than one that a hundred show: only its earliest photos, and those next after the one that is asked about, are ever
looked at. Of more than CROWD hashes that look the same a further one is left out of the bands, whoever's it is, unless
nothing earlier looks like it: it is judged like any, and a copy of it is found to be one of those before it. Blocked
copies are sorted behind all others, so that no number of them hides an original. No place in the bands holds more than
PLACE_HOLDS hashes.

**Rebuilding.** A bank that is being filled anew doesn't know yet who was first. Meanwhile what would block is reviewed,
and written down, to be scored again.

Every key carries one hash tag, so that each step is one atomic script, in a cluster too: the bank is on one node. A
photo costs 4.1 KB there (measured on the thousandth to the nine thousandth), and up to 2 KB more for its look-alikes;
a listing its last change, of about 1 KB; a photo that left 0.15 KB, and a removed listing 0.3. Entries that lack the
fields of a later day are read all the same.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import redis
import structlog

from services.fraud.pdq import Fingerprint, distances, packed
from shared.durability import Durability, Stamp, converse
from shared.errors import Replaced, Unusable
from shared.redis import connect_blocking, lua, reaching_redis

log = structlog.get_logger()

PREFIX = "{fraud-bank}:"
BANDS = 16
HASHES = f"{PREFIX}hashes"
REBUILDING = f"{PREFIX}rebuilding"
WITHHELD = f"{PREFIX}withheld"
# A band's value XOR these: itself, and one bit changed.
NEIGHBOURS = np.array([0, *(1 << bit for bit in range(16))], np.uint16)
FIELD = b"$3\r\n...\r\n"  # a field of three bytes, as Redis's protocol has it
FIELD_AT = FIELD.index(b".")

MATCHES_KEPT = 16  # of other sellers, for each photo: the original and a few more as evidence
SCORED_AGAIN = 64  # later copies, each time a photo is met
# Of each hash, to either side in time. Above SCORED_AGAIN by more than the photos that one listing may have.
LOOKED_AT = 128
# Of all hashes together, to either side, as far as each can have more than one listing's photos looked at.
LOOKED_AT_IN_ALL, LEAST_LOOKED_AT = 4096, 16

# Of 256 bits. Recompressed, resized and mirrored copies stay within 16; only crops and overlays come near the limit of
# 31, where a look-alike shot in the same studio is conceivable: there a person decides.
BLOCKED_DISTANCE = 20
STOCK_SELLERS = 4
CROWD = 128  # more than SCORED_AGAIN: who is left out would not be scored again anyway
PLACE_HOLDS = 1024  # 32 KiB. Evenly spread, those of 67 million photos
KEPT_SELLERS = 64  # of each hash, the earliest
KEPT_SECONDS = 2 * 365 * 86_400

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
class Revision:
    """What a listing shows from one change on."""

    listing_id: str
    seller_id: str
    number: int
    photos: tuple[str, ...]  # sha256
    change: bytes  # the event as it came: of one number, the greater bytes hold


@dataclass(frozen=True, slots=True)
class Match:
    """An earlier photo that looks the same, and may be the original: it is no blocked copy."""

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
    blocked: bool = False  # the evidence blocks; see the module
    accused: bool = False  # by another seller's photo, now or ever
    stock: bool = False  # too many sellers show it to be anybody's


class Bank(Protocol):
    """What fraud scoring needs of a hash bank. All calls are safe from many threads and may be repeated.

    All but `flushed` raise Transient when the bank is away; `flushed` also when nothing reached the disk.
    """

    def meet(self, photo: BankedPhoto, fingerprint: Fingerprint, scored: bytes) -> Sequence[Marked] | None:
        """Insert the photo, then say against which photos something is or was held: itself and any later ones.

        The photo is inserted before it looks around. So of two copies that arrive at once at least one sees the other,
        and whoever sees a later one gets what is needed to score it again.

        None when the photo isn't its listing's: that was removed, a newer revision dropped the photo, or the listing is
        another seller's. Then it is not kept, and nothing is known of it: that it is no copy least of all.

        Of later ones only the SCORED_AGAIN earliest are returned, so that one call stays short whatever the number of
        copies. Those beyond keep what they were told when they arrived: then they saw the earliest of that time.
        """
        ...

    def keep_only(self, revision: Revision) -> None:
        """The listing's photos from this change on: others of older revisions are dropped.

        Ignored after a removal or a change that holds against this one, and when the listing is another seller's.
        """
        ...

    def forget(self, listing_id: str, seller_id: str) -> None:
        """The listing was removed, for ever: its photos match nothing any more, those that arrive late included.

        Ignored when the listing is another seller's; "" is the word of an event that names none.
        """
        ...

    def begin_rebuild(self) -> None:
        """From here on nothing blocks."""
        ...

    def withheld(self) -> Sequence[tuple[str, str]]:
        """(listing_id, sha256) of the photos that would have blocked, until they are `settled`."""
        ...

    def end_rebuild(self) -> None:
        """From here on copies block again. What was withheld is then to be scored once more."""
        ...

    def settled(self, photos: Iterable[tuple[str, str]]) -> None:
        """These were scored again, or will be for certain."""
        ...

    def flushed(self) -> None:
        """Returns once everything said before is on disk. Slow, up to a second: for many photos at once."""
        ...

    def ping(self) -> None:
        """Returns when the bank answers."""
        ...

    @property
    def stamp(self) -> Stamp | None:
        """Of the last flush: see shared/durability.py."""
        ...


@dataclass(frozen=True, slots=True)
class _Entered:
    uploaded_us: int  # that counts
    was_accused: bool
    put: Sequence[bytes | int]  # those of its hashes that were not in the bands, and how many photos have each


@dataclass(frozen=True, slots=True)
class _Around:
    """The names of look-alikes in other listings, with their distances."""

    earlier: Mapping[str, int]  # the earliest that are no blocked copies
    later: Mapping[str, int]  # at most SCORED_AGAIN, in order; blocked ones only where there are no more others
    all: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class _Judged:
    marked: Marked
    again: Sequence[str]  # names of those whose own case looks different by now


def _script(*names: str) -> str:
    return lua(*(Path(__file__).with_name(f"{part}.lua") for part in ("start", *names)))


def open_bank(address: str, *, wait_for_disk: bool = True) -> "RedisBank":
    """`address` is redis:// or rediss://. Connects with the first call, not here."""
    return RedisBank(connect_blocking(address), wait_for_disk=wait_for_disk)


class RedisBank:
    """A `Bank` in Redis 7 or later. Every step may be repeated, so a retry after a lost answer is harmless."""

    def __init__(self, client: "redis.Redis", *, wait_for_disk: bool = True) -> None:
        self._redis = client
        self._durability = Durability(PREFIX.removesuffix(":"), DISK_SECONDS, wait_for_disk=wait_for_disk)
        self._insert = client.register_script(_script("insert"))
        self._thin = client.register_script(_script("thin"))
        self._mark = client.register_script(_script("mark"))
        self._keep_only = client.register_script(_script("depart", "keep_only"))
        self._forget = client.register_script(_script("depart", "forget"))

    def meet(self, photo: BankedPhoto, fingerprint: Fingerprint, scored: bytes) -> Sequence[Marked] | None:
        try:
            with reaching_redis("the hash bank"):
                return self._meet(photo, fingerprint, scored)
        except redis.ResponseError as why:  # a right that is missing, a key of another type: no photo's doing
            raise Unusable(f"the hash bank can't be used: {why}") from why

    def keep_only(self, revision: Revision) -> None:
        words = (revision.listing_id, revision.seller_id, revision.number, revision.change)
        with reaching_redis("the hash bank"):
            if not self._keep_only(args=[PREFIX, KEPT_SELLERS, KEPT_SECONDS, *words, *revision.photos]):
                log.warning("a change of another seller's listing is ignored", listing=revision.listing_id)

    def forget(self, listing_id: str, seller_id: str) -> None:
        with reaching_redis("the hash bank"):
            if not self._forget(args=[PREFIX, KEPT_SELLERS, KEPT_SECONDS, listing_id, seller_id]):
                log.warning("a removal of another seller's listing is ignored", listing=listing_id)

    def begin_rebuild(self) -> None:
        with reaching_redis("the hash bank"):
            self._redis.set(REBUILDING, "1")

    def withheld(self) -> Sequence[tuple[str, str]]:
        with reaching_redis("the hash bank"):
            names = sorted({name.decode() for name in self._redis.sscan_iter(WITHHELD, count=1000)})
        return [(_listing_of(name), name.partition("/")[0]) for name in names]

    def end_rebuild(self) -> None:
        with reaching_redis("the hash bank"):
            self._redis.delete(REBUILDING)

    def settled(self, photos: Iterable[tuple[str, str]]) -> None:
        names = [f"{sha256}/{listing_id}" for listing_id, sha256 in photos]
        if names:
            with reaching_redis("the hash bank"):
                self._redis.srem(WITHHELD, *names)

    def flushed(self) -> None:
        with reaching_redis("the hash bank"):
            converse(self._redis, self._durability.flush())

    def ping(self) -> None:
        with reaching_redis("the hash bank"):
            self._redis.ping()

    def resume(self, committed: Sequence[Stamp | None]) -> None:
        """Before anything is looked up: see Durability.resume."""
        with reaching_redis("the hash bank"):
            converse(self._redis, self._durability.resume(committed))

    def close_for_rebuild(self) -> None:
        """Raises Unusable, and has changed nothing then. See Durability.close."""
        with reaching_redis("the hash bank"):
            converse(self._redis, self._durability.check())
            converse(self._redis, self._durability.close())

    def restore(self, stamp: Stamp) -> None:
        """See Durability.restore."""
        with reaching_redis("the hash bank"):
            converse(self._redis, self._durability.restore(stamp))

    def still_there(self) -> None:
        """Raises Transient when it is away, and Replaced when it came back as another since `resume`."""
        with reaching_redis("the hash bank"):
            converse(self._redis, self._durability.still_there())

    @property
    def stamp(self) -> Stamp | None:
        """Of the last flush."""
        return self._durability.stamp

    def close(self) -> None:
        self._redis.close()

    def _meet(self, photo: BankedPhoto, fingerprint: Fingerprint, scored: bytes) -> Sequence[Marked] | None:
        entered = self._inserted(photo, fingerprint, scored)
        if entered is None:
            return None
        near = self._near(fingerprint)
        around = self._look_alikes(near, photo.name, entered.uploaded_us)
        if around.earlier and entered.put and len(near) > CROWD:
            self._thin(args=[PREFIX, *entered.put])
        if not (around.all or entered.was_accused):
            return []
        return self._all_marked(photo.name, around, near, entered.was_accused)

    def _inserted(self, photo: BankedPhoto, fingerprint: Fingerprint, scored: bytes) -> _Entered | None:
        """None when it isn't its listing's. Raises Replaced: an empty bank would take any photo for an original."""
        words = (photo.listing_id, photo.sha256, photo.seller_id, fingerprint.hex)
        numbers = (photo.revision, photo.generation, photo.uploaded_us, photo.assessed_us)
        look = ("".join(fingerprint.trimmed[:1]), "1" if fingerprint.of_text else "")
        same = "".join(fingerprint.all_variants)
        # Empty where nobody began with this bank, as the rebuild that fills it.
        epoch = self._durability.epoch or ""
        try:
            answer = self._insert(args=(PREFIX, *words, scored, *numbers, *look, PLACE_HOLDS, same, epoch))
        except redis.ResponseError as why:
            if "REPLACED" in str(why):
                raise Replaced("the hash bank is another one than this process began with: Redis lost it") from why
            raise
        return None if answer is None else _Entered(int(answer[0]), bool(answer[1]), answer[2])

    def _near(self, fingerprint: Fingerprint) -> dict[str, int]:
        """All hashes that look the same, itself among them, with their distances."""
        hashes = self._hashes_nearby(fingerprint)
        return {
            value: int(bits)
            for value, bits in zip(hashes, distances(fingerprint, hashes), strict=True)
            if bits <= fingerprint.match_distance
        }

    def _look_alikes(self, near: Mapping[str, int], name: str, uploaded_us: int) -> "_Around":
        mine = order_of(uploaded_us, name)
        before, after = ("-", f"({mine}"), (f"({mine}", "+")
        most = min(LOOKED_AT, max(LEAST_LOOKED_AT, LOOKED_AT_IN_ALL // max(1, len(near))))
        found = self._pipelined(
            ("ZRANGE", f"{PREFIX}in-order:{value}", *span, "BYLEX", "LIMIT", "0", str(most))
            for span in (before, after)
            for value in near
        )
        own_listing = _listing_of(name)
        earlier = _first(found[: len(near)], near, own_listing)
        behind = _first(found[len(near) :], near, own_listing)
        copies = {place: bits for place, bits in behind.items() if _order_in(place) < mine}
        later = {place: bits for place, bits in behind.items() if place not in copies}
        next_after = sorted(list(later)[:SCORED_AGAIN], key=_order_in)
        if len(later) > SCORED_AGAIN:
            log.info("more later copies than are scored again", photo=name, scored_again=SCORED_AGAIN)
        return _Around(
            earlier={_name_in(place): bits for place, bits in earlier.items()},
            later={_name_in(place): later[place] for place in next_after},
            all={_name_in(place): bits for place, bits in (behind | earlier).items()},
        )

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

    def _all_marked(
        self,
        name: str,
        around: "_Around",
        near: Iterable[str],
        was_accused: bool,
    ) -> Sequence[Marked] | None:
        """The photo itself, later ones, and those whom either shows in another light; None when it is gone by now."""
        asked = {name: around.all, **{other: {name: bits} for other, bits in around.later.items()}}
        judged = self._marked(asked, {name: "".join(near) if around.earlier else ""})
        if name not in judged:
            return None
        others = {other for one in judged.values() for other in one.again} - judged.keys()
        judged |= self._marked({other: {} for other in sorted(others)})
        return [
            one.marked
            for other, one in judged.items()
            if one.marked.matches or one.marked.accused or (other == name and was_accused)
        ]

    def _marked(
        self, asked: Mapping[str, Mapping[str, int]], looks: Mapping[str, str] | None = None
    ) -> dict[str, _Judged]:
        """By name, without those that were removed in the meantime. `looks`: hashes that look the same, joined."""
        looks = looks or {}
        limits = (MATCHES_KEPT, BLOCKED_DISTANCE, STOCK_SELLERS)
        arguments = [
            [PREFIX, name, *limits, looks.get(name, ""), *(part for pair in found.items() for part in pair)]
            for name, found in asked.items()
        ]
        if len(asked) == 1:  # a pipeline first asks whether the script is there
            answers = [self._mark(args=arguments[0])]
        elif asked:
            with self._redis.pipeline(transaction=False) as pipeline:
                for each in arguments:
                    self._mark(args=each, client=pipeline)
                answers = pipeline.execute()
        else:
            return {}
        return {name: _judged(name, *answer) for name, answer in zip(asked, answers, strict=True) if answer}

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


def _first(found: Sequence[Sequence[bytes]], near: Mapping[str, int], own_listing: str) -> dict[str, int]:
    """The first LOOKED_AT places of all, with their distances. Blocked copies have theirs behind all others."""
    bits_of: dict[str, int] = {}  # by the nearest of its hashes, where a photo has two
    for members, bits in zip(found, near.values(), strict=True):
        for place in members:
            bits_of[place.decode()] = min(bits, bits_of.get(place.decode(), bits))
    return {
        place: bits_of[place] for place in sorted(bits_of)[:LOOKED_AT] if _listing_of(_name_in(place)) != own_listing
    }


def _order_in(place: str) -> str:
    return place.removeprefix("copy/")


def _name_in(place: str) -> str:
    return _order_in(place).partition("/")[2]


def _listing_of(name: str) -> str:
    return name.partition("/")[2]


def _judged(name: str, seller: bytes, scored: bytes, *said: Any) -> _Judged:
    of_text, at, blocked, follows, stock, found, again = said
    matches = (_match(other.decode(), int(bits), its, uploaded) for other, bits, its, uploaded in found)
    marked = Marked(
        listing_id=_listing_of(name),
        sha256=name.partition("/")[0],
        seller_id=seller.decode(),
        scored=scored,
        matches=tuple(matches),
        at_us=int(at),
        of_text=bool(of_text),
        blocked=bool(blocked),
        accused=bool(follows),
        stock=bool(stock),
    )
    return _Judged(marked, [other.decode() for other in again])


def _match(name: str, distance: int, seller: bytes, uploaded: bytes) -> Match:
    sha256, _, listing_id = name.partition("/")
    return Match(listing_id, sha256, seller.decode(), int(uploaded), distance)
