"""What bounds a worker."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Times are seconds."""

    batch_photos: int = 32
    # How long one batch may take; a query photo waits for no longer.
    batch_seconds: float = 0.1
    # How long a batch waits to fill up, and then for its slowest photo before going on without it.
    fill_seconds: float = 0.02
    straggler_seconds: float = 0.5
    # One try; a photo gets two.
    fetch_seconds: float = 10.0
    prepare_seconds: float = 10.0
    conclude_seconds: float = 30.0
    cpu_threads: int = 4
    # Of photos in flight, as they are stored: from before they are fetched until they were looked at, or only wait for
    # what takes long.
    photo_bytes: int = 256 * 1024 * 1024
    # Photos that wait for what takes long (reading text), all but that published. With more of them waiting nothing new
    # is begun. They are what is left to do after SIGTERM, so they must fit into a pod's grace.
    waiting_photos: int = 64
    waiting_bytes: int = 64 * 1024 * 1024
    # Photos that needn't be looked at again, in LOOK_BYTES for each (remembered.py). None, unless a service says so.
    remembered_photos: int = 0
    # So many rejected in a row by one task raise the question whose fault it is.
    suspicious_rejections: int = 10
    retest_seconds: float = 5.0
