"""What every photo store must do: the same facts on a folder and on a real S3 server."""

import asyncio
import hashlib
import os
import socket
import uuid
from pathlib import Path

import pytest
from obstore.exceptions import BaseError

from shared.errors import Transient
from shared.photo_store import MissingObject, PhotoStore, open_photo_store, photo_key
from tests.seaweed import SeaweedServer

ABSENT = photo_key("0" * 64)


@pytest.fixture(params=["folder", "s3"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A place that nothing was stored in yet."""
    if request.param == "folder":
        return str(tmp_path / "photos")
    return f"{request.getfixturevalue('s3_address')}/{uuid.uuid4().hex}"


@pytest.fixture
def s3_address(s3: SeaweedServer, monkeypatch: pytest.MonkeyPatch) -> str:
    """The real server's bucket, with the environment that leads there."""
    for name, value in s3.env.items():
        monkeypatch.setenv(name, value)
    return s3.address


@pytest.fixture
def store(address: str) -> PhotoStore:
    return open_photo_store(address)


async def test_what_was_put_comes_back_under_its_sha256(store: PhotoStore) -> None:
    body = os.urandom(100_000)
    key = await store.put(body)
    assert key == photo_key(hashlib.sha256(body).hexdigest())
    assert await store.get(key) == body
    assert await store.exists(key)


async def test_the_same_bytes_put_twice_and_at_once_are_one_object(store: PhotoStore) -> None:
    keys = await asyncio.gather(*(store.put(b"the same") for _ in range(8)))
    assert len(set(keys)) == 1
    assert await store.get(keys[0]) == b"the same"


async def test_twenty_mebibytes_arrive_whole(store: PhotoStore) -> None:
    body = os.urandom(20 * 1024 * 1024)
    assert await store.get(await store.put(body)) == body


async def test_create_leaves_what_is_there(store: PhotoStore) -> None:
    assert await store.create("intake/one", b"first")
    assert not await store.create("intake/one", b"second")
    assert await store.get("intake/one") == b"first"


async def test_of_concurrent_creates_exactly_one_wins_and_its_bytes_stay(store: PhotoStore) -> None:
    bodies = [f"writer {n}".encode() for n in range(20)]
    won = await asyncio.gather(*(store.create("intake/race", body) for body in bodies))
    assert won.count(True) == 1
    assert await store.get("intake/race") == bodies[won.index(True)]


async def test_a_photo_that_lies_damaged_is_healed_by_the_next_upload_of_it(store: PhotoStore) -> None:
    key = await store.put(b"a photo")
    for damaged in (b"", b"a ph", b"a photo and more"):
        await store.replace(key, damaged)
        assert await store.put(b"a photo") == key
        assert await store.get(key) == b"a photo"


async def test_replace_writes_whatever_is_there(store: PhotoStore) -> None:
    await store.replace("intake/new", b"first")
    await store.replace("intake/new", b"second")
    assert await store.get("intake/new") == b"second"
    with pytest.raises(ValueError):
        await store.replace("../outside", b"")


async def test_keys_are_those_below_a_folder_in_order(store: PhotoStore) -> None:
    for key in ("a/b/2", "a/b/10", "a/b/c/d", "a/bb/1", "a/b1", "z"):
        await store.create(key, b"")
    assert await store.keys("a/b") == ["a/b/10", "a/b/2", "a/b/c/d"]
    assert await store.keys("nowhere") == []
    await store.delete("a/b/10")
    assert await store.keys("a/b") == ["a/b/2", "a/b/c/d"]


async def test_keys_can_be_asked_while_others_come_and_go(store: PhotoStore) -> None:
    async def come_and_go(n: int) -> None:
        await store.create(f"pending/{n}", b"")
        await store.delete(f"pending/{n}")

    await store.create("pending/stays", b"")
    coming = asyncio.gather(*(come_and_go(n) for n in range(30)))
    for _ in range(10):
        assert "pending/stays" in await store.keys("pending")
    await coming
    assert await store.keys("pending") == ["pending/stays"]


async def test_a_missing_object_is_named_in_the_error(store: PhotoStore) -> None:
    with pytest.raises(MissingObject, match=ABSENT):
        await store.get(ABSENT)
    assert not await store.exists(ABSENT)


async def test_deleted_is_gone_and_deleting_again_is_no_error(store: PhotoStore) -> None:
    key = await store.put(b"short-lived")
    await store.delete(key)
    await store.delete(key)
    assert not await store.exists(key)
    assert await store.create(key, b"short-lived"), "a deleted key is free again"


async def test_stores_with_different_prefixes_do_not_see_each_other(address: str) -> None:
    one, other = open_photo_store(f"{address}/one"), open_photo_store(f"{address}/other/")
    key = await one.put(b"mine")
    assert not await other.exists(key)
    assert await open_photo_store(f"{address}/one/").get(key) == b"mine", "a trailing slash changes nothing"


async def test_no_key_leads_out_of_the_store(store: PhotoStore) -> None:
    for escape in ("../outside", "photos/../../outside"):
        with pytest.raises(ValueError):
            await store.create(escape, b"")


async def test_sweeping_leaves_what_was_stored(store: PhotoStore) -> None:
    key = await store.put(b"a photo")
    assert await store.sweep() == 0
    assert await store.get(key) == b"a photo"


async def test_a_new_store_passes_its_check_again_and_again(store: PhotoStore) -> None:
    await store.check()
    await store.check()


async def test_a_store_that_stays_away_is_transient_after_bounded_retries(
    s3_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{unused.getsockname()[1]}")
        away = open_photo_store(s3_address)
        async with asyncio.timeout(60):
            for attempt in (away.get(ABSENT), away.put(b"x"), away.check(), away.replace("x", b""), away.keys("x")):
                with pytest.raises(Transient, match="did not answer"):
                    await attempt


async def test_refused_credentials_are_no_passing_trouble(s3_address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    stranger = open_photo_store(s3_address)
    for attempt in (stranger.put(b"x"), stranger.check(), stranger.get(ABSENT)):
        with pytest.raises(BaseError):
            await attempt


async def test_who_may_not_list_is_told_why(s3_address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(Transient, match="403 Forbidden"):
        await open_photo_store(s3_address).keys("x")
