"""Waiting until Redis has on disk what Kafka is about to be told is done."""

from collections.abc import Sequence
from typing import Any

from shared.errors import Transient, Unusable

NO_APPEND_ONLY_FILE = (
    "Redis keeps no append-only file, so a crash of it would lose records that Kafka believes done: "
    "set `appendonly yes` there, or VITRINE_WAIT_FOR_DISK=false to accept that"
)


def wait_for_disk(pipe: Any, marker: str, seconds: float) -> None:
    """Put the wait on a pipeline of redis-py, of either kind; to be executed with raise_on_error=False.

    WAITAOF speaks of its own connection's writes. One more write on that connection, to the key `marker`, comes after
    all earlier ones, whichever connection they took.
    """
    pipe.incr(marker)
    pipe.execute_command("WAITAOF", 1, 0, int(seconds * 1000))


def confirm_on_disk(answers: Sequence[Any], seconds: float) -> None:
    """What the pipeline answered. Raises Transient when it is not on disk, Unusable for a Redis that keeps
    nothing there, and what else Redis answered with."""
    for why in answers:
        if isinstance(why, Exception):
            if "appendonly" in str(why):
                raise Unusable(NO_APPEND_ONLY_FILE) from why
            raise why
    local, _replicas = answers[-1]
    if local < 1:
        raise Transient(f"Redis did not write to disk within {seconds:.0f} s")
