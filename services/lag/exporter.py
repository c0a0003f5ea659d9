"""Exports consumer lag: `python -m services.lag.exporter`, on port 9107.

A process that is no worker, because a consumer that only counts partitions it owns reports no lag when it is down.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence

import structlog
from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from prometheus_client import Gauge

from shared import metrics
from shared.errors import Transient
from shared.health import Health
from shared.stream.admin import reader
from shared.stream.offsets import Partition, Standing, standings

log = structlog.get_logger()

FETCH_SECONDS = 10.0
Labels = tuple[str, ...]


class Timestamps:
    """When the record at an offset was produced. Remembers, so a group that stands still costs no fetch."""

    def __init__(self, bootstrap: str) -> None:
        # Only the first record of each fetch is wanted.
        self._consumer = reader(bootstrap, fetch_bytes=16 * 1024)
        self._known: dict[tuple[str, int, int], float] = {}

    def of(self, waiting: Sequence[Standing]) -> dict[Standing, float]:
        """Unix seconds of each standing's oldest uncommitted record; one that can't be read now is left out."""
        places = {(one.topic, one.partition, one.next) for one in waiting}
        self._known = {place: stamp for place, stamp in self._known.items() if place in places}
        # A consumer reads one position of a partition at a time: groups at different offsets take turns.
        unknown = places - self._known.keys()
        while unknown:
            turn = {(topic, partition): offset for topic, partition, offset in sorted(unknown, reverse=True)}
            self._known |= self._read(turn)
            unknown -= {(topic, partition, offset) for (topic, partition), offset in turn.items()}
        stamps = {one: self._known.get((one.topic, one.partition, one.next)) for one in waiting}
        return {one: stamp for one, stamp in stamps.items() if stamp is not None}

    def close(self) -> None:
        self._consumer.close()

    def _read(self, turn: Mapping[Partition, int]) -> dict[tuple[str, int, int], float]:
        stamps: dict[tuple[str, int, int], float] = {}
        missing = set(turn)
        self._consumer.assign([TopicPartition(topic, partition, offset) for (topic, partition), offset in turn.items()])
        deadline = time.monotonic() + FETCH_SECONDS
        while missing and time.monotonic() < deadline:
            message = self._consumer.poll(0.2)
            if message is None:
                continue
            topic, partition = message.topic(), message.partition()
            if topic is None or partition is None or (topic, partition) not in missing:
                continue
            missing.discard((topic, partition))
            self._consumer.incremental_unassign([TopicPartition(topic, partition)])
            # A partition's end: compaction or a transaction left gaps, and nothing that could have an age.
            if message.error() is None:
                stamps[topic, partition, turn[topic, partition]] = message.timestamp()[1] / 1000
        self._consumer.unassign()
        return stamps


class LagExporter:
    """Reads every group's standing and sets the gauges."""

    def __init__(
        self,
        client: AdminClient,
        bootstrap: str,
        timestamps: Timestamps,
        expected: Sequence[str] = (),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._client = client
        self._bootstrap = bootstrap
        self._timestamps = timestamps
        self._expected = expected
        self._clock = clock
        gauges = (metrics.GROUP_LAG, metrics.GROUP_LOST, metrics.GROUP_AGE_SECONDS)
        self._shown: dict[Gauge, set[Labels]] = {gauge: set() for gauge in gauges}

    def read(self) -> None:
        """One reading. Raises Transient when no broker answers, KafkaException when it refuses."""
        read = standings(self._client, self._bootstrap, self._expected)
        stamps = self._timestamps.of([one for one in read if one.lag])
        now = self._clock()
        lags: dict[Labels, float] = {(one.group, one.topic, str(one.partition)): one.lag for one in read}
        lost: dict[Labels, float] = {(one.group, one.topic, str(one.partition)): one.lost for one in read}
        ages: dict[Labels, float] = {(one.group, one.topic): 0.0 for one in read}
        for one, stamp in stamps.items():
            ages[one.group, one.topic] = max(ages[one.group, one.topic], now - stamp)
        self._show(metrics.GROUP_LAG, lags)
        self._show(metrics.GROUP_LOST, lost)
        self._show(metrics.GROUP_AGE_SECONDS, ages)
        metrics.LAG_READ.set(now)

    def _show(self, gauge: Gauge, values: Mapping[Labels, float]) -> None:
        for labels, value in values.items():
            gauge.labels(*labels).set(value)
        # A group that is gone must not keep its last lag for ever.
        for labels in self._shown[gauge] - values.keys():
            gauge.remove(*labels)
        self._shown[gauge] = set(values)


def export(exporter: LagExporter, health: Health, every_seconds: float, stop: threading.Event) -> None:
    """Reads until told to stop. A broker that is away makes it unready, never ends it: it is there to tell of it."""
    while not stop.is_set():
        health.busy(True)
        try:
            exporter.read()
        except (Transient, KafkaException) as why:
            log.warning("lag not read", error=str(why))
            health.not_ready("broker", f"lag not read: {why}")
        else:
            health.ready("broker")
        health.busy(False)
        stop.wait(every_seconds)
