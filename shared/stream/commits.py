"""Offsets on their way back to Kafka: left by the worker's loop, committed by the thread that polls."""

import threading
import time
from collections.abc import Mapping

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from shared.errors import Transient
from shared.stream.ledger import Ledger
from shared.stream.records import Assignment

log = structlog.get_logger()

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


class Commits:
    """Left in any thread, made in the polling one.

    A synchronous commit from another thread than that does not return before a time-out (confluent-kafka 2.16, classic
    protocol).
    """

    def __init__(self, consumer: Consumer, ledger: Ledger) -> None:
        """`ledger` knows which partitions are still ours."""
        self._consumer = consumer
        self._ledger = ledger
        self._left: dict[Assignment, int] = {}
        self._lock = threading.Lock()

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
        if ours and not self._committed(ours):
            with self._lock:
                self._left = {**ours, **self._left}
            return {}
        return ours

    def _committed(self, offsets: Mapping[Assignment, int]) -> bool:
        """False: the group is being rebalanced. Once it is known what is still ours, that is committed."""
        wanted = [TopicPartition(a.topic, a.partition, offset) for a, offset in offsets.items()]
        for seconds in (0.1, 0.3, 1.0, 3.0, None):
            try:
                self._consumer.commit(offsets=wanted, asynchronous=False)
                return True
            except KafkaException as why:
                error = why.args[0]
                if error.code() in REBALANCING:
                    log.info("commit put off", error=error.str())
                    return False
                if seconds is None or not (error.retriable() or error.code() in RETRIED):
                    raise Transient(f"the broker did not take a commit: {error.str()}") from why
                time.sleep(seconds)
        raise AssertionError("the last try returns or raises")
