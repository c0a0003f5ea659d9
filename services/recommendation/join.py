"""Joins what the four workers found with the listings they found it in, by Faust agents.

A batch is written to Redis, its listings are placed in the index and published as `listing.enriched`, the whole waits
until Redis has it on disk, and only then Kafka is told that the events are done. A crash anywhere in between has the
events delivered again: what they wrote is found to be there already, or overtaken by something newer, and the listing
as it stands is placed and published all the same.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import faust
import structlog
from faust.streams import Stream
from faust.types import EventT, StreamT
from vitrine.events.v1 import enriched_pb2, listing_pb2

from services.recommendation import fields
from services.recommendation.faust_commits import stamping_transport
from services.recommendation.fields import Enriched, Update
from services.recommendation.index import Placement, VectorIndex
from services.recommendation.rank import index_attributes
from services.recommendation.settings import JoinSettings
from services.recommendation.store import Records, Stored, Write
from shared.durability import Stamp
from shared.errors import Poison, Transient
from shared.events import Event, Publisher, event, parse
from shared.health import Health
from shared.metrics import JOINED, SEARCHABLE_SECONDS
from shared.stream.dead_letters import as_dead_letter
from shared.stream.records import Assignment, Record, Rejected
from shared.topics import DEAD_LETTERS, LISTING_CHANGED, LISTING_ENRICHED, group_of
from shared.tracing import extracted, tracer

log = structlog.get_logger()

# What it reads and writes. Faust would wait for a topic that isn't there without a word.
READS = fields.SOURCES
WRITES = (LISTING_CHANGED, LISTING_ENRICHED, DEAD_LETTERS)
GROUP = group_of("join")
# Two joins meet at one listing now and then; so often in a row means that something is wrong.
MAX_CONFLICTS = 20


@dataclass(frozen=True, slots=True)
class Known:
    """A listing as it stands now, and the headers of the event that brought it there."""

    stored: Stored
    headers: Mapping[str, bytes]


class Join:
    """Takes events in any order, any number of times, from any number of processes at once."""

    def __init__(
        self, records: Records, index: VectorIndex, publisher: Publisher, clock: Callable[[], float] = time.time
    ) -> None:
        self._records = records
        self._index = index
        self._publisher = publisher
        self._clock = clock
        self._dimensions: dict[str, int] = {}  # by space; never changes

    async def join(self, batch: Sequence[Record]) -> None:
        """Returns when every effect is in Redis and on Kafka, though maybe not yet on disk; raises Transient."""
        updates, rejected = await self._read(batch)
        joined = await self._write(updates)
        rejected += _of_strangers(updates, joined)
        await self._spread(joined)
        await self._publisher.send(
            [*_changes_to_repeat(updates, joined), *(as_dead_letter(r, versions="") for r in rejected)]
        )

    # --- read --------------------------------------------------------------------------------------------------------

    async def _read(self, batch: Sequence[Record]) -> tuple[list[tuple[Record, Update]], list[Rejected]]:
        updates, rejected = [], []
        for record in batch:
            try:
                update = fields.read(record.assignment.topic, record.key, record.value)
                await self._check_dimension(update)
                updates.append((record, update))
            except Poison as why:
                JOINED.labels(record.assignment.topic, "rejected").inc()
                log.warning("rejected", topic=record.assignment.topic, offset=record.offset, why=str(why))
                rejected.append(Rejected(record, "join", "join", why.code, why.message))
        return updates, rejected

    async def _check_dimension(self, update: Update) -> None:
        if not update.space:
            return
        known = self._dimensions.get(update.space) or await self._index.dimension(update.space)
        if known:
            self._dimensions[update.space] = known
            if update.dimension != known:
                raise Poison("invalid", f"{update.dimension} numbers; vectors of space {update.space} have {known}")

    # --- write -------------------------------------------------------------------------------------------------------

    async def _write(self, updates: Sequence[tuple[Record, Update]]) -> dict[str, Known]:
        """Merges the updates into their listings; returns them as they stand afterwards."""
        pending: dict[str, list[tuple[Record, Update]]] = {}
        for record, update in updates:
            pending.setdefault(update.listing_id, []).append((record, update))
        touched: dict[str, Known] = {}
        for _ in range(MAX_CONFLICTS):
            if not pending:
                return touched
            before = dict(zip(pending, await self._records.stored(list(pending)), strict=True))
            writes = [_write_of(i, before[i], [update for _, update in updates]) for i, updates in pending.items()]
            changes = [write for write in writes if write.fields != write.before.fields]
            done = await self._records.write(changes)
            conflicts = {write.listing_id for write, ok in zip(changes, done, strict=True) if not ok}
            for write in writes:
                if write.listing_id not in conflicts:
                    self._conclude(write, pending.pop(write.listing_id), touched)
        raise Transient(f"{len(pending)} listings were changed by others {MAX_CONFLICTS} times in a row")

    def _conclude(self, write: Write, updates: Sequence[tuple[Record, Update]], touched: dict[str, Known]) -> None:
        for record, update in updates:
            JOINED.labels(record.assignment.topic, _effect(write, update)).inc()
        # Stale updates count too: whoever took them first may have spread an older view over a newer one, and died.
        changed = write.fields != write.before.fields
        touched[write.listing_id] = Known(write.after if changed else write.before, updates[-1][0].headers)
        self._observe_completion(write)

    def _observe_completion(self, write: Write) -> None:
        before = fields.enriched(write.before.fields)
        complete = Enriched.STATUS_COMPLETE
        if write.record and write.record.status == complete and not (before and before.status == complete):
            uploaded = fields.uploaded_at(write.fields)
            if uploaded is not None:
                SEARCHABLE_SECONDS.observe(max(0.0, self._clock() - uploaded))

    # --- spread ------------------------------------------------------------------------------------------------------

    async def _spread(self, touched: dict[str, Known]) -> None:
        """To the index and to whoever reads `listing.enriched`.

        Another process may change the same listing meanwhile, and our older view reach the index or the topic after
        its newer one. So whoever spreads looks again afterwards, and spreads what is new.
        """
        while touched:
            seen = [(known, record) for known in touched.values() if (record := fields.enriched(known.stored.fields))]
            await self._index.place([_placement(known, record) for known, record in seen])
            await self._publisher.send([_enriched_event(known, record) for known, record in seen])
            versions = dict(zip(touched, await self._records.versions(list(touched)), strict=True))
            overtaken = [i for i, known in touched.items() if versions[i] != known.stored.version]
            newer = await self._records.stored(overtaken)
            touched = {i: Known(stored, touched[i].headers) for i, stored in zip(overtaken, newer, strict=True)}


def _write_of(listing_id: str, before: Stored, updates: Iterable[Update]) -> Write:
    after = fields.merged(before.fields, updates)
    return Write(listing_id, before, after, fields.enriched(after))


def _effect(write: Write, update: Update) -> str:
    """What an update did: "joined", "repeated" (it was there already), "stale" (something newer is) or "rejected"."""
    if fields.refuses(write.fields, update):
        return "rejected"
    if write.fields.get(update.field) != update.ranked:
        return "stale"
    return "repeated" if write.before.fields.get(update.field) == update.ranked else "joined"


def _of_strangers(updates: Iterable[tuple[Record, Update]], joined: Mapping[str, Known]) -> Iterator[Rejected]:
    """The changes that would have given a listing to another seller."""
    for record, update in updates:
        if fields.refuses(joined[update.listing_id].stored.fields, update):
            log.warning("change by another seller refused", listing=update.listing_id, offset=record.offset)
            why = f"listing {update.listing_id} belongs to another seller than {update.seller}"
            yield Rejected(record, "join", "join", "not_the_owner", why)


def _changes_to_repeat(updates: Sequence[tuple[Record, Update]], joined: Mapping[str, Known]) -> Iterator[Event]:
    """The changes that hold but lie before a stale one on `listing.changed`, whose compaction keeps what lies last.

    The last change of each listing tells; what follows it on the topic is still to be joined. A repeated change comes
    back as bytes that are known, and is not repeated for that.
    """
    last = {
        update.listing_id: (record, update)
        for record, update in updates
        if record.assignment.topic == LISTING_CHANGED.name
    }
    for record, update in last.values():
        if (value := fields.change_instead(joined[update.listing_id].stored.fields, update)) is not None:
            log.info("change repeated after a stale one", listing=update.listing_id, offset=record.offset)
            yield _change_event(record, value)


def _change_event(stale: Record, value: bytes) -> Event:
    """The gateway's event again: the same ce_id, the very same bytes."""
    change = parse(listing_pb2.ListingChanged, value)
    id_parts = (change.listing_id, change.revision, change.WhichOneof("change"))
    with tracer.start_as_current_span("join", context=extracted(stale.headers)):
        repeated = event(LISTING_CHANGED, change.listing_id, change, id_parts=id_parts, source="recommendation")
    # Not as this library would spell it: other bytes would be another change, and be repeated for ever.
    return replace(repeated, value=value)


def _placement(known: Known, record: Enriched) -> Placement:
    vectors = fields.vectors(known.stored.fields) if fields.shown(record) else {}
    return Placement(record.listing_id, vectors, index_attributes(record))


def _enriched_event(known: Known, record: Enriched) -> Event:
    """The same version of a listing is always the same event."""
    with tracer.start_as_current_span("join", context=extracted(known.headers)):
        return event(
            LISTING_ENRICHED,
            record.listing_id,
            enriched_pb2.ListingEnriched(listing=record),
            id_parts=(record.listing_id, known.stored.version),
            source="recommendation",
        )


class Settlement:
    """Acknowledges events once their effect is on disk. One flush serves all batches that wait for it."""

    def __init__(self, flushed: Callable[[], Awaitable[None]], health: Health) -> None:
        self._flushed = flushed
        self._health = health
        self._waiting: list[EventT[object]] = []
        self._arrived = asyncio.Event()
        self._in_work = 0

    def begin(self, events: Sequence[EventT[object]]) -> None:
        """These are being joined: from here on somebody waits for progress."""
        self._in_work += len(events)
        self._health.busy(True)

    def add(self, events: Sequence[EventT[object]]) -> None:
        """These are joined."""
        self._waiting += events
        self._arrived.set()
        self._health.progressed()

    async def run(self) -> None:
        """Until cancelled; raises what `flushed` raises."""
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            await self.settle()

    async def settle(self) -> None:
        """Everything that was added before the call."""
        events, self._waiting = self._waiting, []
        if not events:
            return
        await self._flushed()
        for joined in events:
            joined.ack()
        self._in_work -= len(events)
        self._health.progressed()
        self._health.busy(self._in_work > 0)


def faust_app(
    settings: JoinSettings,
    join: Join,
    settlement: Settlement,
    stamp: Callable[[], Stamp | None],
    failed: Callable[[BaseException], None],
) -> faust.App:
    """`stamp` is written beside each offset that is committed.

    `failed` hears of what won't pass: Faust itself would go on and hold the rest back, so the process has to end.
    """
    app = faust.App(
        GROUP,
        broker=[f"aiokafka://{address}" for address in settings.kafka.split(",")],
        key_serializer="raw",
        value_serializer="raw",
        topic_allow_declare=False,
        topic_disable_leader=True,
        broker_session_timeout=10,
        broker_heartbeat_interval=2,
        broker_commit_interval=1.0,
        consumer_auto_offset_reset="earliest",
        stream_wait_empty=False,
        web_enabled=False,
        datadir=".",  # nothing is written there: state lies in Redis
    )

    app.transport = stamping_transport(app, stamp)

    # One agent for all topics: a listing's results come close together, and one batch then joins them at once.
    @app.agent(app.topic(*(topic.name for topic in fields.SOURCES)))
    async def joining(stream: StreamT[Any]) -> None:
        # Never `take`: that acknowledges a batch whose handler raised.
        batches = cast(Stream[Any], stream).noack_take(settings.join_batch, within=settings.join_wait_seconds)
        async for events in batches:
            settlement.begin(events)
            try:
                await join.join([_record(one) for one in events])
            except Exception as why:  # noqa: BLE001  whatever it was, nothing may be acknowledged after it
                failed(why)
                await asyncio.Future()
            settlement.add(events)

    return app


def _record(delivered: EventT[object]) -> Record:
    message = delivered.message
    return Record(
        Assignment(message.topic, message.partition),
        message.offset,
        message.key or b"",
        message.value or b"",
        dict(message.headers or {}),
    )
