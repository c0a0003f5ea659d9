"""A process that shows every metric of shared/metrics.py, all moving. Prints its port and runs until stdin ends."""

import sys
import threading
import time

from prometheus_client import Counter, Gauge, Histogram, Info
from prometheus_client.metrics import MetricWrapperBase

from shared import metrics
from shared.health import Health, serve_health

LABELS = {
    "result": "done",
    "code": "UNAVAILABLE",
    "status": "503",
    "route": "/v1/listings",
    "partition": "0",
    "group": "vitrine-fraud",
}


def move(declared: MetricWrapperBase) -> None:
    labels = [LABELS.get(label, label) for label in declared._labelnames]
    child = declared.labels(*labels) if labels else declared
    match child:
        case Info():
            child.info({"pack": "builtin@1"})
        case Counter():
            child.inc()
        case Histogram():
            child.observe(0.1)
        case Gauge():
            child.set(time.time() if declared is metrics.LAG_READ else 1)


def keep_moving() -> None:
    while True:
        for declared in vars(metrics).values():
            if isinstance(declared, MetricWrapperBase):
                move(declared)
        time.sleep(0.2)


if __name__ == "__main__":
    for group in (metrics.WORKER, metrics.INTAKE, metrics.JOIN, metrics.RPC, metrics.LAG):
        metrics.export(group)
    threading.Thread(target=keep_moving, daemon=True).start()
    print(serve_health(Health(), "127.0.0.1", 0), flush=True)
    sys.stdin.read()
