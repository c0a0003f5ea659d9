"""Offsets on their way back to Kafka: left by the worker's loop, committed by the thread that polls."""

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from shared.durability import Stamp
from shared.errors import Transient, Unusable
from shared.stream.ledger import Ledger
from shared.stream.notes import OffsetNote, metadata_of
from shared.stream.records import Assignment

log = structlog.get_logger()

# What an error refuses us, in one line; None when it is another kind of error.
Refusal = Callable[[KafkaError], str | None]
COMMITTED_SECONDS = 10.0  # to wait for what the group has committed
RETRIED = frozenset(
    {
        KafkaError.REQUEST_TIMED_OUT,
        KafkaError._TIMED_OUT,
        KafkaError._WAIT_COORD,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.NOT_COORDINATOR,
    }
)
# Of the generation before: the partitions may be somebody else's by now, or still ours in the next one.
REBALANCING = frozenset(
    {
        KafkaError.ILLEGAL_GENERATION,
        KafkaError.REBALANCE_IN_PROGRESS,
        KafkaError.UNKNOWN_MEMBER_ID,
        KafkaError.STALE_MEMBER_EPOCH,  # KIP-848: the next try carries the new epoch
        KafkaError.FENCED_MEMBER_EPOCH,
    }
)


Stamping = Callable[[], Stamp | None]


def unstamped() -> None:
    """Of workers that keep nothing but on Kafka."""


@dataclass(frozen=True, slots=True)
class Beginning:
    """Where an assignment begins: at its first record."""

    offset: int
    committed: int | None  # what the group had committed; None when it never did
    found: OffsetNote  # by those before us who began at the very same record


class Commits:
    """Left in any thread, made in the polling one.

    A synchronous commit from another thread than that does not return before a time-out (confluent-kafka 2.16, classic
    protocol).
    """

    def __init__(self, consumer: Consumer, ledger: Ledger, refusal: Refusal, stamp: Stamping = unstamped) -> None:
        """`ledger` knows which partitions are still ours, `refusal` what to say when we may not commit; what `stamp`
        returns is written beside each offset.
        """
        self._stamp = stamp
        self._refusal = refusal
        self._consumer = consumer
        self._ledger = ledger
        self._left: dict[Assignment, int] = {}
        self._lock = threading.Lock()
        # Without the counts of where it began: what others wrote is kept with each further commit.
        self._notes: dict[Assignment, OffsetNote] = {}
        # Where we stand and are not past yet, and what to say there when we end as we should.
        self._standing: dict[Assignment, tuple[int, OffsetNote]] = {}
        # By partition, whichever assignment: what we have left in the counts there, and at which offset.
        self._own: dict[tuple[str, int], tuple[int, OffsetNote]] = {}

    def leave(self, offsets: Mapping[Assignment, int]) -> None:
        with self._lock:
            self._left.update(offsets)

    def make(self) -> dict[Assignment, int]:
        """What of them is committed by this; while the group is being rebalanced nothing is, and they stay for later.

        Raises Transient when the broker won't take them.
        """
        with self._lock:
            left, self._left = self._left, {}
        ours = self._ledger.ours(left)
        stamp = self._stamp()  # of a flush that all of them have waited for
        if ours and not self._committed(
            [self._place(a, offset, self._note(a).stamped(stamp)) for a, offset in ours.items()]
        ):
            with self._lock:
                self._left = {**ours, **self._left}
            return {}
        for assignment in ours:
            self._standing.pop(assignment, None)
        return ours

    def begin(self, firsts: Mapping[Assignment, int]) -> dict[Assignment, Beginning] | None:
        """Notes with each first record that we begin there, before anybody looks at it; says what was found there.

        None while the group is being rebalanced. Raises Transient, and Unusable where we may not.
        """
        committed = self._read(list(firsts))
        if committed is None:
            return None
        beginnings = {a: self._without_own(a, _beginning(first, committed[a])) for a, first in firsts.items()}
        places = [self._place(a, one.offset, _once_more(one.found)) for a, one in beginnings.items()]
        if not self._committed(places):
            return None
        for assignment, one in beginnings.items():
            self._notes[assignment] = one.found.past()
            self._standing[assignment] = (one.offset, one.found)
            self._own[assignment.topic, assignment.partition] = (one.offset, OffsetNote(begun=1))
        return beginnings

    def _without_own(self, assignment: Assignment, beginning: Beginning) -> Beginning:
        """We live: what we left at this offset, before the partition was lost to us, is no death."""
        offset, own = self._own.get((assignment.topic, assignment.partition), (None, OffsetNote()))
        if offset != beginning.offset:
            return beginning
        found = beginning.found
        theirs = replace(found, begun=max(0, found.begun - own.begun), alone=max(0, found.alone - own.alone))
        return replace(beginning, found=theirs)

    def stand_alone(self, assignment: Assignment, offset: int) -> bool:
        """Notes that this record is about to be in flight and no other; all before it are committed.

        False while the group is being rebalanced. Raises Transient.
        """
        at, found = self._standing.get(assignment, (None, OffsetNote()))
        if at != offset:  # all before it are committed, so the last flush has them
            found = self._note(assignment).stamped(self._stamp())
        tried = replace(_once_more(found), alone=found.alone + 1)
        if not self._committed([self._place(assignment, offset, tried)]):
            return False
        self._standing[assignment] = (offset, found)
        self._own[assignment.topic, assignment.partition] = (offset, OffsetNote(begun=1, alone=1))
        return True

    def take_back(self, assignments: Iterable[Assignment]) -> None:
        """We end as we should, and blame no record for it: where we got no further, our beginning doesn't count.

        One try: the broker may be away, and then it counts.
        """
        standing = {a: self._standing.pop(a) for a in list(assignments) if a in self._standing}
        if standing:
            places = [self._place(a, offset, found) for a, (offset, found) in standing.items()]
            with suppress(KafkaException):
                self._consumer.commit(offsets=places, asynchronous=False)
                for a in standing:
                    self._own.pop((a.topic, a.partition), None)

    def forget(self, assignments: Iterable[Assignment]) -> None:
        """They are no longer ours."""
        for assignment in assignments:
            self._notes.pop(assignment, None)
            self._standing.pop(assignment, None)

    def _note(self, assignment: Assignment) -> OffsetNote:
        return self._notes.get(assignment, OffsetNote())

    def _place(self, assignment: Assignment, offset: int, note: OffsetNote) -> TopicPartition:
        return TopicPartition(assignment.topic, assignment.partition, offset, note.metadata)

    def _read(self, assignments: list[Assignment]) -> dict[Assignment, TopicPartition] | None:
        """What the group has committed there; None while it can't be told."""
        wanted = [TopicPartition(a.topic, a.partition) for a in assignments]
        try:
            answers = self._consumer.committed(wanted, timeout=COMMITTED_SECONDS)
            for failed in (each for each in answers if each.error):
                raise KafkaException(failed.error)
        except KafkaException as why:
            if refused := self._refusal(why.args[0]):
                raise Unusable(refused) from why
            if _passes(why.args[0]):
                log.info("committed offsets not known yet", error=why.args[0].str())
                return None
            raise Transient(f"the broker does not tell what is committed: {why.args[0].str()}") from why
        by_place = {(each.topic, each.partition): each for each in answers}
        return {a: by_place[a.topic, a.partition] for a in assignments}

    def _committed(self, places: list[TopicPartition]) -> bool:
        return committed(self._consumer, places, self._refusal)


def committed(consumer: Consumer, places: list[TopicPartition], refusal: Refusal) -> bool:
    """False: the group is being rebalanced. Once it is known what is still ours, that may be committed.

    In the thread that polls. Raises Unusable when we may not, Transient when the broker doesn't take it.
    """
    for seconds in (0.1, 0.3, 1.0, 3.0, None):
        try:
            consumer.commit(offsets=places, asynchronous=False)
            return True
        except KafkaException as why:
            error = why.args[0]
            if error.code() in REBALANCING:
                log.info("commit put off", error=error.str())
                return False
            if refused := refusal(error):
                raise Unusable(refused) from why
            if seconds is None or not _passes(error):
                raise Transient(f"the broker did not take a commit: {error.str()}") from why
            time.sleep(seconds)
    raise AssertionError("the last try returns or raises")


def _beginning(first: int, committed: TopicPartition) -> Beginning:
    note = OffsetNote.read(metadata_of(committed))
    # Of a record that is no longer there, nothing is to be said of the one after it.
    found = note if committed.offset == first else note.past()
    return Beginning(first, committed.offset if committed.offset >= 0 else None, found)


def _once_more(found: OffsetNote) -> OffsetNote:
    return replace(found, begun=found.begun + 1)


def _passes(error: KafkaError) -> bool:
    return error.retriable() or error.code() in RETRIED | REBALANCING
