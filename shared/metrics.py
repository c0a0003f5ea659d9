"""Every metric of every service, declared once, with the reason that it exists. Base units; few, fixed labels.

They come in groups, and a process exports its own: a gateway that shows a worker's metrics, all at zero, looks like a
worker that does nothing.
"""

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram, Info

WORKER = CollectorRegistry()
INTAKE = CollectorRegistry()
JOIN = CollectorRegistry()
RPC = CollectorRegistry()
LAG = CollectorRegistry()

FAST = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
SLOW = (0.05, 0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30, 60, 120, 300, 900, 3600)

_exported: set[CollectorRegistry] = set()


def export(group: CollectorRegistry) -> None:
    """From here on this process's /metrics shows the group."""
    if group not in _exported:
        _exported.add(group)
        REGISTRY.register(group)


# --- every process ----------------------------------------------------------------------------------------------------
# Whether it can do its work now, and if not, what is in the way: what /readyz says, to page on. Restarts are seen by
# process_start_time_seconds, which the library brings.
READY = Gauge("vitrine_ready", "1 when nothing is in the way, by what might be: ready is the least of them", ["reason"])

# --- worker -----------------------------------------------------------------------------------------------------------
# Where a photo's time goes: tells a slow store from a slow decoder from a slow model.
STAGE_SECONDS = Histogram(
    "vitrine_worker_stage_seconds",
    "Seconds spent in a stage: fetch, prepare and conclude per photo, infer and publish per batch",
    ["stage"],
    buckets=FAST,
    registry=WORKER,
)
# Shrinks when the consumer, not the device, is what limits.
BATCH_PHOTOS = Histogram(
    "vitrine_worker_batch_photos", "Photos in a batch", buckets=(1, 2, 4, 8, 16, 32, 64, 128), registry=WORKER
)
# Throughput and the share of failures, per task. What is superseded cost no look: many of them are one listing that is
# sent over and over, or a worker that is behind.
OUTCOMES = Counter(
    "vitrine_worker_outcomes_total",
    "Outcomes, by task and result: done, rejected, or superseded by a newer revision",
    ["task", "result"],
    registry=WORKER,
)
# Work that a photo didn't cost because it was looked at lately. Beside the outcomes it says who is fed the same photos.
REMEMBERED = Counter(
    "vitrine_worker_remembered_photos_total", "Photos that were not looked at a second time", registry=WORKER
)
# What kind of bad photo arrives; the text is in the dead letter.
DEAD_LETTERS = Counter(
    "vitrine_worker_dead_letters_total",
    "Records sent to the dead letters",
    ["task", "stage", "code"],
    registry=WORKER,
)
# How long the device waited for photos: high means decode or fetch needs more cores.
STARVED_SECONDS = Counter(
    "vitrine_worker_device_starved_seconds_total",
    "Seconds in which the device waited although records were in flight",
    registry=WORKER,
)
# Upload to result: what a seller waits for, before the join.
RESULT_AGE_SECONDS = Histogram(
    "vitrine_worker_result_age_seconds",
    "Seconds from upload to published result",
    ["task"],
    buckets=SLOW,
    registry=WORKER,
)
# 1 while a failed self-test holds the worker: page on it.
PAUSED = Gauge("vitrine_worker_paused", "1 while the worker is paused by a failed self-test", registry=WORKER)
# Many rejections in a row with a sound worker mean bad data: warn the team that owns the source.
SELF_TESTS = Counter("vitrine_worker_self_tests_total", "Self-tests, by result", ["result"], registry=WORKER)
# Frequent or slow rebalances are the usual cause of a lag that comes and goes.
REBALANCE_SECONDS = Histogram(
    "vitrine_worker_rebalance_seconds",
    "Seconds that a rebalance waited for work in flight",
    buckets=FAST,
    registry=WORKER,
)
# Slow on purpose: a process died twice at the same records, and the one that kills is being sought.
SUSPECT_PARTITIONS = Gauge(
    "vitrine_worker_suspect_partitions",
    "Partitions whose records are taken one by one, since the worker died there before",
    registry=WORKER,
)
# A worker that was down for longer than its topic keeps records: what these photos are for is never found out.
SKIPPED_RECORDS = Counter(
    "vitrine_worker_skipped_records_total",
    "Records that retention took before they were read",
    ["topic", "partition"],
    registry=WORKER,
)
# Out of memory shrinks the batch for good: a fleet that creeps down needs a smaller setting.
BATCH_LIMIT = Gauge("vitrine_worker_batch_limit_photos", "Photos that a batch may hold now", registry=WORKER)
# Which model answers, so that a graph can be split at a deployment.
MODEL = Info("vitrine_model", "The model pack that this process serves", registry=WORKER)

# --- gateway ----------------------------------------------------------------------------------------------------------
# Availability and latency of the intake, per route and status.
HTTP_SECONDS = Histogram(
    "vitrine_gateway_request_seconds",
    "Seconds per HTTP request",
    ["method", "route", "status"],
    buckets=FAST,
    registry=INTAKE,
)
# Which clients' photos are refused, and for what.
REFUSED = Counter("vitrine_gateway_refused_total", "Uploads refused, by problem type", ["problem"], registry=INTAKE)
# Rate of intake in photos and bytes: the unit that capacity is planned in.
ACCEPTED_PHOTOS = Counter("vitrine_gateway_accepted_photos_total", "Photos accepted", registry=INTAKE)
ACCEPTED_BYTES = Counter("vitrine_gateway_accepted_bytes_total", "Bytes of accepted photos", registry=INTAKE)
# Requests that ended between their events, and were told so: many mean that the broker or the gateways are shaky.
COMPLETED = Counter(
    "vitrine_gateway_completed_total", "Half-published changes that a sweep has completed", registry=INTAKE
)

# --- recommendation ---------------------------------------------------------------------------------------------------
# Upload to searchable: the promise to the seller.
SEARCHABLE_SECONDS = Histogram(
    "vitrine_join_upload_to_complete_seconds",
    "Seconds from a listing's upload until its record was complete",
    buckets=SLOW,
    registry=JOIN,
)
# A join that only sees stale results is replaying; one that sees none is stuck.
JOINED = Counter(
    "vitrine_join_records_total", "Records joined, by topic and effect", ["topic", "effect"], registry=JOIN
)
# Lookup latency and errors by method: the recommender's own budget.
RPC_SECONDS = Histogram("vitrine_rpc_seconds", "Seconds per gRPC call", ["method", "code"], buckets=FAST, registry=RPC)
# Searches whose filter is too rare for the index as it is, or whose index lags behind the records.
INCOMPLETE_SEARCHES = Counter(
    "vitrine_incomplete_searches_total", "Searches that ended at a cap with fewer hits than asked for", registry=RPC
)
# The index's size by space: a re-embed shows as a second space filling up.
INDEX_VECTORS = Gauge("vitrine_index_vectors", "Vectors in the index", ["space"], registry=JOIN)

# --- lag exporter -----------------------------------------------------------------------------------------------------
# Exported by a process that is no worker, so that a group with no member still shows its lag.
GROUP_LAG = Gauge(
    "vitrine_group_lag_records", "Records not yet committed", ["group", "topic", "partition"], registry=LAG
)
# Lag in records says little across topics; age says what a seller waits.
GROUP_AGE_SECONDS = Gauge(
    "vitrine_group_oldest_record_age_seconds",
    "Age of the oldest uncommitted record",
    ["group", "topic"],
    registry=LAG,
)
# What retention took away counts as no lag any more, so that a group which is down for a week looks the better for it.
GROUP_LOST = Gauge(
    "vitrine_group_lost_records",
    "Records not committed that retention took, until the group goes on after them",
    ["group", "topic", "partition"],
    registry=LAG,
)
# A lag that is not refreshed looks like a healthy one.
LAG_READ = Gauge("vitrine_lag_last_read_timestamp_seconds", "When the lag was last read", registry=LAG)
