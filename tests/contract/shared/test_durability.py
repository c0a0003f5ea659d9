"""A real Redis that loses what was not on its disk, or comes back empty: nobody is told that it is there."""

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.servers import RedisServer
from services.recommendation.store import RedisRecords, Stored, Write
from shared.durability import Durability, Stamp, converse
from shared.errors import Replaced, Transient
from shared.redis import connect, connect_blocking
from tests.conftest import started

RETRIED_SECONDS = 15.0


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    """One of the test's own, since the test takes its files away."""
    yield from started(RedisServer(tmp_path))


def written(name: str) -> Write:
    return Write(name, Stored(), {"change": b"x"}, None)


def has_lost_all_since(server: RedisServer, kept: Path) -> None:
    """What a power failure does: its file is as it was when it was copied."""
    server.kill()
    shutil.rmtree(server.data / "appendonlydir")
    if kept.exists():
        shutil.copytree(kept, server.data / "appendonlydir")


async def test_a_redis_that_lost_its_last_second_and_is_back_within_the_retries_proves_nothing(
    server: RedisServer, tmp_path: Path
) -> None:
    records = RedisRecords(connect(server.url, timeout_seconds=RETRIED_SECONDS))
    await records.resume([])
    await records.write([written("one")])
    await records.flushed()
    shutil.copytree(server.data / "appendonlydir", kept := tmp_path / "kept")
    await records.write([written("two")])
    has_lost_all_since(server, kept)
    flush = asyncio.create_task(records.flushed())
    await asyncio.sleep(0)
    await asyncio.to_thread(server.start)
    with pytest.raises(Replaced, match="restarted or replaced"):
        await flush
    assert await records.versions(["one", "two"]) == [1, 0]


async def test_a_process_that_starts_anew_goes_on_where_the_last_flush_was(server: RedisServer, tmp_path: Path) -> None:
    before = RedisRecords(connect(server.url))
    await before.resume([])
    await before.write([written("one")])
    await before.flushed()
    stamp = before.stamp
    shutil.copytree(server.data / "appendonlydir", kept := tmp_path / "kept")
    await before.write([written("two")])
    has_lost_all_since(server, kept)
    await asyncio.to_thread(server.start)
    await RedisRecords(connect(server.url)).resume([stamp, None])


async def test_a_redis_that_came_back_empty_or_older_is_not_resumed_from_until_it_is_rebuilt(
    server: RedisServer, tmp_path: Path
) -> None:
    records = RedisRecords(connect(server.url))
    await records.resume([])
    shutil.copytree(server.data / "appendonlydir", kept := tmp_path / "kept")
    await records.write([written("one")])
    await records.flushed()
    assert records.stamp
    for what, is_there in (("older", kept), ("empty", tmp_path / "nothing")):
        has_lost_all_since(server, is_there)
        await asyncio.to_thread(server.start)
        later = RedisRecords(connect(server.url))
        with pytest.raises(Transient, match=f"{what}.*vitrine rebuild"):
            await later.resume([records.stamp])
    await later.close_for_rebuild()
    with pytest.raises(Transient, match="isn't at its end"):
        await later.resume([])
    await later.restore(stamp := Stamp("rebuilt", 1))
    await later.resume([stamp])
    assert later.stamp is not None and later.stamp.epoch == "rebuilt"


def test_a_blocking_client_holds_the_same_conversations(server: RedisServer) -> None:
    client = connect_blocking(server.url)
    durability = Durability("{bank}", 4.0)
    converse(client, durability.resume([]))
    assert isinstance(durability.stamp, Stamp)
    converse(client, durability.still_there())
    server.stop()
    server.start()
    with pytest.raises(Replaced, match="restarted or replaced"):
        converse(client, durability.still_there())
