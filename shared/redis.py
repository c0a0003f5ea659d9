"""The edge of everything that is kept in Redis: connecting, and what "away" means.

Away is what passes by itself: Redis isn't reached, starts, holds no memory for more, has no master. A script that is
broken, or a key of another type, is a bug and stays the error that it is.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import redis
from redis import asyncio as redis_asyncio
from redis import exceptions
from redis.asyncio.retry import Retry as AsyncioRetry
from redis.backoff import ExponentialWithJitterBackoff
from redis.retry import Retry

from shared.errors import Transient, Unusable

TIMEOUT_SECONDS = 5.0
ATTEMPTS = 5
FIRST_WAIT_SECONDS = 0.1
LONGEST_WAIT_SECONDS = 2.0

_UNREACHED = (exceptions.ConnectionError, exceptions.TimeoutError, OSError)
_NOT_NOW = (
    exceptions.ClusterDownError,
    exceptions.OutOfMemoryError,
    exceptions.ReadOnlyError,
    exceptions.TryAgainError,
)
# Codes that redis-py has no class for. In a pipeline the number of the command comes before them.
_NOT_NOW_CODES = re.compile(r"(^|caused error: )(BUSY|MISCONF|NOREPLICAS) ")


def connect(address: str, *, timeout_seconds: float = TIMEOUT_SECONDS, attempts: int = ATTEMPTS) -> redis_asyncio.Redis:
    """A client for an event loop, at redis:// or rediss://. Connects at the first command; raises Unusable."""
    with _well_formed():
        return redis_asyncio.Redis.from_url(
            address, retry=AsyncioRetry(_waits(), attempts), **_settings(timeout_seconds)
        )


def connect_blocking(
    address: str, *, timeout_seconds: float = TIMEOUT_SECONDS, attempts: int = ATTEMPTS
) -> "redis.Redis":
    """The same for threads."""
    with _well_formed():
        return redis.Redis.from_url(address, retry=Retry(_waits(), attempts), **_settings(timeout_seconds))


@contextmanager
def reaching_redis(what: str = "Redis") -> Iterator[None]:
    """Around calls of either kind of client: what is away, through all retries, is Transient."""
    try:
        yield
    except (exceptions.RedisError, OSError) as why:
        if not is_away(why):
            raise
        raise Transient(f"{what} is away: {why}") from why


def is_away(why: Exception) -> bool:
    """Whether the same call may succeed later without anybody mending the program."""
    return isinstance(why, _UNREACHED + _NOT_NOW) or bool(_NOT_NOW_CODES.search(str(why)))


def lua(*files: Path) -> str:
    """A script, of files that lie beside the module that runs it: what several scripts begin with is a file too."""
    return "".join(file.read_text("utf-8") for file in files)


def _waits() -> ExponentialWithJitterBackoff:
    return ExponentialWithJitterBackoff(base=FIRST_WAIT_SECONDS, cap=LONGEST_WAIT_SECONDS)


def _settings(timeout_seconds: float) -> dict[str, Any]:
    return {
        "socket_connect_timeout": timeout_seconds,
        "socket_timeout": timeout_seconds,
        "retry_on_error": [exceptions.ConnectionError, exceptions.TimeoutError],
        "health_check_interval": 30,
    }


@contextmanager
def _well_formed() -> Iterator[None]:
    try:
        yield
    except ValueError:
        # Not repeated: it may have a password in it.
        raise Unusable(
            "VITRINE_REDIS is no address of a Redis: write it like redis://host:6379/0, with signs in a password as %XX"
        ) from None
