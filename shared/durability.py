"""Proof that what a process keeps in Redis outlives it: on disk, in the very Redis that was written to, and still there
at the next start.

Kafka is told that records are done when their effect in Redis is on disk. That stays true only if Redis is what it was:

- one that lost its last second and is back within the client's retries answers WAITAOF of a new connection, and knows
  nothing of the writes that went before: so each flush tells the incarnation, and it must be that of the start;
- one that came back empty, or older, would have groups resume after records that it doesn't have: so each commit
  carries a stamp of that Redis, and nobody resumes from a stamp that Redis doesn't bear out.

Pure, but for the two drivers at the end: a blocking client and one of an event loop hold the same conversations.
"""

import json
import uuid
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import structlog
from redis import exceptions

from shared.errors import Replaced, Transient, Unusable

log = structlog.get_logger()

if TYPE_CHECKING:
    import redis
    from redis import asyncio as redis_asyncio

T = TypeVar("T")
Command = tuple[str | int, ...]
# Yields what to ask, all in one pipeline on one connection; is sent the answers, errors among them.
Conversation = Generator[Sequence[Command], list[Any], T]

NO_APPEND_ONLY_FILE = (
    "Redis keeps no append-only file, so a crash of it would lose records that Kafka believes done: "
    "set `appendonly yes` there, or VITRINE_WAIT_FOR_DISK=false to accept that"
)
NO_WAITAOF = (
    "this Redis has no WAITAOF, so nobody can tell when records are on its disk: run Redis 7.2 or later, or set "
    "VITRINE_WAIT_FOR_DISK=false to accept that a crash of it loses records"
)
BEING_REBUILT = "being rebuilt"  # in the place of an epoch
PROBE_MILLISECONDS = 3000  # a replica tells every second how far its file is
REBUILD = "Run `vitrine rebuild`, which has everything joined and hashed anew from Kafka and the photo store"


@dataclass(frozen=True, slots=True)
class Stamp:
    """Which Redis it was, and how many flushes it had seen, when Kafka was told that records are done."""

    epoch: str  # made up when the first process met an empty Redis
    flushes: int

    def written(self) -> dict[str, str | int]:
        """As it lies in the metadata of a committed offset."""
        return {"epoch": self.epoch, "flushes": self.flushes}


def stamp_in(metadata: str | None) -> Stamp | None:
    """None when there is none: of a group that keeps nothing in Redis, or whose offsets were set by hand."""
    try:
        written = json.loads(metadata or "{}")
        return Stamp(str(written["epoch"]), int(written["flushes"]))
    except (ValueError, KeyError, TypeError):
        return None


class Durability:
    """One process's conversations with a Redis about what it keeps there under `name`."""

    def __init__(self, name: str, seconds: float, *, wait_for_disk: bool = True) -> None:
        """`seconds` is what a flush may take; without `wait_for_disk` none is waited for."""
        self._epoch_key = f"{name}:epoch"
        self._flushes_key = f"{name}:flushes"
        self._seconds = seconds
        self._wait_for_disk = wait_for_disk
        self._incarnation: Incarnation | None = None
        self._with_replicas = False  # whether one has shown that it keeps a file, and is waited for
        self.epoch: str | None = None  # known once it has resumed
        self.stamp: Stamp | None = None  # of the last flush; None where none is waited for

    def resume(self, committed: Sequence[Stamp | None]) -> Conversation[None]:
        """At the start, before anything is written. `committed`: the stamp of each offset that was ever committed.

        Raises Transient while Redis lacks what groups would resume after, and Unusable for a Redis that can't keep it.
        """
        about, epoch, flushes = _sound(
            (
                yield [
                    ("INFO", "server", "memory", "persistence", "replication"),
                    ("GET", self._epoch_key),
                    ("GET", self._flushes_key),
                ]
            )
        )
        self._check(about)
        if why := why_not_resume(_text(epoch), int(flushes or 0), committed):
            raise Transient(f"{why}. {REBUILD}")
        if self._wait_for_disk:
            self._incarnation = incarnation_of(about)
            self._with_replicas = bool(_replicas_online(about)) and (yield from self._replicas_keep_files())
        made_up = ("SET", self._epoch_key, uuid.uuid4().hex, "NX")
        *_, epoch = _sound((yield [made_up, ("INCR", self._flushes_key), ("GET", self._epoch_key)]))
        self.epoch = _text(epoch)
        yield from self.flush()

    def check(self) -> Conversation[None]:
        """Raises Unusable for a Redis that can't keep what is written to it."""
        (about,) = _sound((yield [("INFO", "server", "memory", "persistence", "replication")]))
        self._check(about)

    def close(self) -> Conversation[None]:
        """Have everybody end who works with it, and nobody resume until it is restored."""
        _sound((yield [("SET", self._epoch_key, BEING_REBUILT)]))

    def restore(self, stamp: Stamp) -> Conversation[None]:
        """Have Redis bear this out as it is: for whoever has seen to it that what is lacking will be written anew."""
        _sound((yield [("SET", self._epoch_key, stamp.epoch), ("SET", self._flushes_key, stamp.flushes)]))
        yield from self.flush()

    def flush(self) -> Conversation[None]:
        """Ends once everything written before, over whichever connection, is on disk. Raises Transient, Replaced."""
        if not self._wait_for_disk:
            return
        # WAITAOF speaks of its own connection's writes: INCR, on that connection, comes after all earlier ones.
        wait: Command = ("WAITAOF", 1, int(self._with_replicas), int(self._seconds * 1000))
        answers = yield [("INCR", self._flushes_key), wait, ("GET", self._epoch_key), ("INFO", "server", "replication")]
        flushes, (local, replicas), epoch, about = _sound(answers)
        if local < 1:
            raise Transient(f"Redis did not write to disk within {self._seconds:.0f} s")
        self._check_incarnation(incarnation_of(about))
        self._check_epoch(_text(epoch))
        if self._with_replicas and not replicas:
            if _replicas_online(about):
                raise Transient(f"no replica of Redis wrote to disk within {self._seconds:.0f} s")
            self._with_replicas = False  # the last one has left
        self.stamp = Stamp(_text(epoch) or "", int(flushes))

    def still_there(self) -> Conversation[None]:
        """Raises Replaced when Redis came back as another since the start."""
        about, epoch = _sound((yield [("INFO", "server", "replication"), ("GET", self._epoch_key)]))
        if self._incarnation is not None:
            self._check_incarnation(incarnation_of(about))
        self._check_epoch(_text(epoch))

    def _replicas_keep_files(self) -> Conversation[bool]:
        """Whether a replica writes to a disk of its own: one that doesn't would never answer, however long we wait."""
        _, (_, replicas) = _sound((yield [("INCR", self._flushes_key), ("WAITAOF", 0, 1, PROBE_MILLISECONDS)]))
        if not replicas:
            log.warning("no replica of Redis keeps an append-only file: they are not waited for")
        return bool(replicas)

    def _check(self, about: Mapping[str, Any]) -> None:
        policy = about.get("maxmemory_policy", "noeviction")
        if int(about.get("maxmemory", 0)) and policy != "noeviction":
            raise Unusable(
                f"Redis throws keys away when its memory is full (maxmemory-policy {policy}), and records with them: "
                "set `maxmemory-policy noeviction` there"
            )
        if self._wait_for_disk and not int(about.get("aof_enabled", 0)):
            raise Unusable(NO_APPEND_ONLY_FILE)

    def _check_incarnation(self, now: "Incarnation") -> None:
        """The first to be met is that of all that is written afterwards."""
        if self._incarnation is None or self._incarnation.goes_on_as(now):
            self._incarnation = now
        else:
            raise Replaced(
                "Redis was restarted or replaced since it was written to, and may have lost what was not on its disk: "
                "what was not committed has to be done again"
            )

    def _check_epoch(self, now: str | None) -> None:
        """Somebody may have emptied it under us, with FLUSHALL."""
        if self.epoch is not None and self.epoch != now:
            raise Replaced("Redis was emptied or exchanged since this process began with it")


def why_not_resume(epoch: str | None, flushes: int, committed: Sequence[Stamp | None]) -> str | None:
    """Why groups with these commits must not go on with a Redis of this epoch and so many flushes; None when they may.

    Commits without a stamp are of versions that made none, and say only that Redis must not be empty.
    """
    if epoch == BEING_REBUILT:
        return "a rebuild of this Redis has begun, and isn't at its end"
    if committed and not flushes:
        return "Redis is empty, though Kafka was told that its records are done"
    for stamp in filter(None, committed):
        if stamp.epoch != epoch:
            return f"this is another Redis than the one of which Kafka was told (epoch {epoch}, not {stamp.epoch})"
        if stamp.flushes > flushes:
            return f"Redis is older than what Kafka was told of: it has seen {flushes} flushes of {stamp.flushes}"
    return None


@dataclass(frozen=True, slots=True)
class Incarnation:
    """A Redis between a start and an end of its process, or of its history."""

    run_id: str  # another one after each start
    history: str  # replication id: another one when it has taken over another Redis' data
    has_no_other: bool  # it never was another Redis' replica

    def goes_on_as(self, now: "Incarnation") -> bool:
        """Redis gives its own history another name, too: when a first replica comes, or an hour after the last left."""
        return self.run_id == now.run_id and (self.history == now.history or now.has_no_other)


def incarnation_of(about: Mapping[str, Any]) -> Incarnation:
    """Of INFO's sections server and replication."""
    is_first = about.get("role") == "master" and not str(about.get("master_replid2", "0")).strip("0")
    return Incarnation(str(about.get("run_id")), str(about.get("master_replid")), is_first)


def _replicas_online(about: Mapping[str, Any]) -> int:
    return sum(
        isinstance(value, dict) and value.get("state") == "online"
        for name, value in about.items()
        if name.startswith("slave")
    )


def converse(client: "redis.Redis", conversation: Conversation[T]) -> T:
    """Hold it over a blocking client."""
    try:
        commands = next(conversation)
        while True:
            with client.pipeline(transaction=False) as pipeline:
                for command in commands:
                    pipeline.execute_command(*command)  # type: ignore[no-untyped-call]
                answers = pipeline.execute(raise_on_error=False)
            commands = conversation.send(answers)
    except StopIteration as ended:
        told: T = ended.value
        return told


async def converse_in_loop(client: "redis_asyncio.Redis", conversation: Conversation[T]) -> T:
    """Hold it over a client of an event loop."""
    try:
        commands = next(conversation)
        while True:
            pipeline = client.pipeline(transaction=False)
            for command in commands:
                pipeline.execute_command(*command)
            commands = conversation.send(await pipeline.execute(raise_on_error=False))
    except StopIteration as ended:
        told: T = ended.value
        return told


def _sound(answers: list[Any]) -> list[Any]:
    """The answers, when no error is among them."""
    for why in answers:
        if isinstance(why, exceptions.ResponseError):
            if "appendonly" in str(why):
                raise Unusable(NO_APPEND_ONLY_FILE) from why
            if "unknown command" in str(why) and "WAITAOF" in str(why).upper():
                raise Unusable(NO_WAITAOF) from why
        if isinstance(why, Exception):
            raise why
    return answers


def _text(value: bytes | str | None) -> str | None:
    return value.decode() if isinstance(value, bytes) else value
