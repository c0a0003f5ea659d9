"""What bounds a worker."""

from dataclasses import dataclass

BATCHES_AT_ONCE = 2  # on the device
PUBLISHING_BATCHES = 4  # concluded, and not published yet


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
    # What a photo's first try at `prepare` may take of it. Its second is among slow ones only, and holds up no others.
    first_prepare_share: float = 0.2
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

    @property
    def photos_in_flight(self) -> int:
        """At most: in every queue and place of worker.py."""
        queued, on_the_device, concluded, publishing = 2, BATCHES_AT_ONCE + 1, 2, 2 * PUBLISHING_BATCHES
        return (queued + on_the_device + concluded + publishing) * self.batch_photos + self.waiting_photos + 1
