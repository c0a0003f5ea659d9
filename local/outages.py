"""Servers that somebody else runs, and when they were away: then nobody's death is held against it."""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NoReturn
from urllib.parse import urlsplit

from local.processes import accepts

LOOK_EVERY_SECONDS = 1.0
# A process that misses a server tries again for a while before it ends.
AFTERMATH_SECONDS = 90.0


@dataclass(frozen=True, slots=True)
class OutsideServer:
    """One that was given by its address."""

    name: str  # "Kafka"
    address: str  # as people know it; without a password
    places: tuple[tuple[str, int], ...]  # host and port; one that listens is enough

    @classmethod
    def kafka(cls, bootstrap: str) -> "OutsideServer":
        """At host:port[,host:port]."""
        return cls("Kafka", bootstrap, tuple(_places(bootstrap)))

    @classmethod
    def redis(cls, url: str) -> "OutsideServer":
        """At redis:// or rediss://."""
        parts = urlsplit(url)
        host, port = parts.hostname or "127.0.0.1", parts.port or 6379
        return cls("Redis", f"{host}:{port}", ((host, port),))

    def answers(self) -> bool:
        return any(accepts(port, host) for host, port in self.places)


class Outages:
    """Says once that a server is away, and once that it is back."""

    def __init__(
        self,
        servers: Sequence[OutsideServer],
        say: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._servers = servers
        self._say = say
        self._clock = clock
        self._away_since: dict[OutsideServer, float] = {}
        self._last_away: float | None = None

    async def watch(self) -> NoReturn:
        """Until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_EVERY_SECONDS)

    async def look(self) -> None:
        """Now."""
        answers = await asyncio.gather(*(asyncio.to_thread(server.answers) for server in self._servers))
        now = self._clock()
        for server, there in zip(self._servers, answers, strict=True):
            if not there:
                self._last_away = now
                if server not in self._away_since:
                    self._away_since[server] = now
                    self._say(f"{server.name} at {server.address} is away: what needs it waits, or is started again")
            elif (since := self._away_since.pop(server, None)) is not None:
                self._say(f"{server.name} at {server.address} is back after {now - since:.0f} s")

    @property
    def lately(self) -> bool:
        """Whether one is away, or was a moment ago."""
        return self._last_away is not None and self._clock() - self._last_away < AFTERMATH_SECONDS


def _places(bootstrap: str) -> Iterator[tuple[str, int]]:
    for one in bootstrap.split(","):
        host, _, port = one.strip().rpartition(":")
        yield (host.strip("[]") or one.strip(), int(port) if host and port.isdigit() else 9092)
