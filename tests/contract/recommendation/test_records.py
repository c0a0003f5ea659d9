"""The store's promises, on the fake and on a real Redis."""

from collections.abc import AsyncIterator, Callable

import pytest
from redis.asyncio import Redis

from services.recommendation import fields
from services.recommendation.fields import Enriched
from services.recommendation.join import Join
from services.recommendation.store import ORPHANS_KEPT_SECONDS, Records, RedisRecords, Stored, Write
from shared.errors import Transient, Unusable
from shared.redis import connect
from tests.exact_index import ExactVectorIndex
from tests.joining import SPACE, MemoryRecords, Published, changed, delivered, filled, removed, results, unit


@pytest.fixture(params=["memory", "redis"])
async def records(request: pytest.FixtureRequest) -> AsyncIterator[Records]:
    if request.param == "memory":
        yield MemoryRecords()
    else:
        redis = connect(request.getfixturevalue("redis_url"))
        yield RedisRecords(redis)
        await redis.aclose()


def write_of(listing_id: str, before: Stored, *revisions: int) -> Write:
    updates = [
        fields.read(r.assignment.topic, r.key, r.value)
        for revision in revisions
        for r in delivered(changed(listing_id, revision), *results(listing_id, revision))
    ]
    after = fields.merged(before.fields, updates)
    return Write(listing_id, before, after, fields.enriched(after))


async def test_what_was_written_is_read(records: Records, unique: Callable[[str], str]) -> None:
    name = unique("listing")
    write = write_of(name, Stored(), 1)
    assert await records.write([write]) == [True]
    assert await records.stored([name]) == [write.after]
    assert await records.versions([name]) == [1]
    assert await records.records([name]) == [write.record]


async def test_an_unknown_listing_has_version_0_no_parts_and_no_record(
    records: Records, unique: Callable[[str], str]
) -> None:
    name = unique("nobody")
    assert await records.stored([name]) == [Stored()]
    assert await records.records([name]) == [None]
    assert await records.vectors(SPACE, [(name, "a")]) == [None]


async def test_a_write_over_what_somebody_else_wrote_meanwhile_changes_nothing(
    records: Records, unique: Callable[[str], str]
) -> None:
    name = unique("listing")
    ours, theirs = write_of(name, Stored(), 1), write_of(name, Stored(), 2)
    assert await records.write([theirs]) == [True]
    assert await records.write([ours]) == [False]
    assert await records.stored([name]) == [theirs.after]
    assert await records.records([name]) == [theirs.record]


async def test_parts_that_are_gone_are_gone(records: Records, unique: Callable[[str], str]) -> None:
    name = unique("listing")
    await filled(records, ExactVectorIndex(), changed(name, 1), *results(name, 1), removed(name, 2))
    [stored] = await records.stored([name])
    assert list(stored.fields) == ["change"]
    [record] = await records.records([name])
    assert record is not None and record.status == Enriched.STATUS_REMOVED


async def test_results_of_a_listing_that_is_not_known_yet_are_parts_without_a_record(
    records: Records, unique: Callable[[str], str]
) -> None:
    name = unique("early")
    await filled(records, ExactVectorIndex(), *results(name, 1))
    assert await records.records([name]) == [None]
    await filled(records, ExactVectorIndex(), changed(name, 1))
    [record] = await records.records([name])
    assert record is not None and record.status == Enriched.STATUS_COMPLETE


async def test_vectors_are_those_of_the_photos_asked_for(records: Records, unique: Callable[[str], str]) -> None:
    name = unique("listing")
    photos = [*results(name, 1, "a", seed=1), *results(name, 1, "b", seed=2)]
    await filled(records, ExactVectorIndex(), changed(name, 1, ["a", "b"]), *photos)
    found = await records.vectors(SPACE, [(name, "b"), (name, "a"), (name, "c")])
    assert found[0] is not None and found[0] @ unit(2) == pytest.approx(1)
    assert found[1] is not None and found[1] @ unit(1) == pytest.approx(1)
    assert found[2] is None
    assert await records.vectors("other@1", [(name, "a")]) == [None]


async def test_asking_for_nothing_answers_nothing(records: Records) -> None:
    assert await records.stored([]) == []
    assert await records.write([]) == []
    assert await records.records([]) == []
    assert await records.vectors(SPACE, []) == []


async def test_flushed_returns_and_so_does_ping(records: Records) -> None:
    await records.flushed()
    await records.ping()


# --- of Redis alone ---------------------------------------------------------------------------------------------------


async def test_all_keys_of_a_listing_share_its_hash_tag(redis_url: str, unique: Callable[[str], str]) -> None:
    name = unique("tagged")
    redis = connect(redis_url)
    await filled(RedisRecords(redis), ExactVectorIndex(), changed(name, 1), *results(name, 1))
    keys = [key.decode() async for key in redis.scan_iter(f"*{name}*")]
    assert len(keys) == 2 and all(f"{{{name}}}" in key for key in keys)
    await redis.aclose()


async def test_results_whose_listing_never_comes_expire_and_others_never_do(
    redis_url: str, unique: Callable[[str], str]
) -> None:
    name = unique("orphan")
    redis = connect(redis_url)
    key = f"listing:{{{name}}}:parts"
    await filled(RedisRecords(redis), ExactVectorIndex(), *results(name, 1))
    assert 0 < await redis.ttl(key) <= ORPHANS_KEPT_SECONDS
    await filled(RedisRecords(redis), ExactVectorIndex(), changed(name, 1))
    assert await redis.ttl(key) == -1
    await redis.aclose()


async def test_a_redis_that_is_away_is_transient() -> None:
    redis = Redis.from_url("redis://127.0.0.1:1/0")
    with pytest.raises(Transient, match="Redis is away"):
        await RedisRecords(redis).records(["x"])


async def test_a_redis_without_an_append_only_file_is_refused_unless_that_is_accepted(redis_url: str) -> None:
    redis = connect(redis_url)
    await redis.config_set("appendonly", "no")
    try:
        with pytest.raises(Unusable, match="VITRINE_WAIT_FOR_DISK"):
            await RedisRecords(redis).flushed()
        await RedisRecords(redis, wait_for_disk=False).flushed()
    finally:
        await redis.config_set("appendonly", "yes")
        await redis.aclose()


async def test_two_joins_at_once_lose_nothing(redis_url: str, unique: Callable[[str], str]) -> None:
    import asyncio

    names = [unique("contended") for _ in range(10)]
    events = [e for n in names for e in delivered(changed(n, 1), *results(n, 1))]
    clients = [connect(redis_url) for _ in range(4)]
    published, index = Published(), ExactVectorIndex()
    joins = [Join(RedisRecords(client), index, published) for client in clients]
    async with asyncio.TaskGroup() as group:
        for i in range(0, len(events), 5):
            for j, join in enumerate(joins):
                group.create_task(join.join(events[i : i + 5][j::2]))
    found = await RedisRecords(clients[0]).records(names)
    assert [r.status for r in found if r] == [Enriched.STATUS_COMPLETE] * 10
    assert published.current() == dict(zip(names, found, strict=True))
    for client in clients:
        await client.aclose()
