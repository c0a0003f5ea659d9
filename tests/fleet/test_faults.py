"""What goes wrong around a fleet, fault after fault: nothing acknowledged is lost, doubled or stale afterwards."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from confluent_kafka.admin import AclOperation, ResourceType
from redis.asyncio import Redis

from client.listing import Effect, Imported
from local.catalogue import Offer
from local.following import Progress, settled
from local.servers import kafka_jars
from local.supervisor import Restarts
from services.gateway.imaging import clean
from services.gateway.settings import GatewaySettings
from shared.stream.dead_letters import dead_letters
from shared.topics import DEAD_LETTERS, IMAGE_UPLOADED, LISTING_CHANGED, TASKS
from tests.brokers import GuardedBroker
from tests.conftest import home
from tests.fleet.checker import Tally, held, problems, produced, tally
from tests.fleet.conftest import RunningFleet, run
from tests.gateway import CLAIMS, form, photo

pytestmark = pytest.mark.asyncio(loop_scope="session")

INJECTED = Path(__file__).parent / "injected"
SECONDS = 180


@pytest.fixture(scope="module")
def orders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder whose files order faults of the fleet's processes."""
    folder = tmp_path_factory.mktemp("faults")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VITRINE_TEST_FAULTS", str(folder))
        patch.setenv("PYTHONPATH", os.pathsep.join([str(INJECTED), *filter(None, sys.path)]))
        patch.setenv("VITRINE_PENDING_SECONDS", "1")
        yield folder


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuardedBroker]:
    with GuardedBroker(tmp_path_factory.mktemp("kafka"), kafka_jars(home())) as server:
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def faulty(
    tmp_path_factory: pytest.TempPathFactory, orders: Path, broker: GuardedBroker
) -> AsyncIterator[RunningFleet]:
    faults_come_fast = Restarts(quick_deaths=20)
    async with run(
        tmp_path_factory.mktemp("faulty"), fused=True, kafka=broker.bootstrap, restarts=faults_come_fast
    ) as fleet:
        yield fleet


async def send(faulty: RunningFleet, name: str, offers: Sequence[Offer]) -> None:
    """Until the answers have settled."""
    named = (Offer(replace(offer.upload, reference=f"{name}-{n}")) for n, offer in enumerate(offers))
    await faulty.send(name, named, len(offers), Progress())


async def nothing_is_amiss(faulty: RunningFleet) -> None:
    """Lost, doubled and stale: 0, of all that this fleet was ever given."""
    assert await settled(faulty.fleet, SECONDS)
    found = await held(faulty.fleet.kafka, faulty.fleet.redis)
    accepted = {upload.listing_id for upload in faulty.uploads}
    assert tally(faulty.uploads, found) == Tally(len(accepted)), problems(faulty.uploads, found)


async def until(holds: Callable[[], bool | Awaitable[bool]], what: str) -> None:
    try:
        async with asyncio.timeout(SECONDS):
            while True:
                held_now = holds()
                if held_now if isinstance(held_now, bool) else await held_now:
                    return
                await asyncio.sleep(0.1)
    except TimeoutError:
        pytest.fail(f"not within {SECONDS} s: {what}", pytrace=False)


def said(faulty: RunningFleet, name: str, words: str) -> bool:
    log = faulty.fleet.supervisor.log_of(name)
    return log.exists() and words in log.read_text()


def stored(offer: Offer) -> list[bytes]:
    """The bytes that the photos of an offer have once they are stored."""
    bodies = [photo.read_bytes() if isinstance(photo, Path) else photo for photo in offer.upload.photos]
    return [clean(body, GatewaySettings().photo_limits).body for body in bodies]


async def test_a_photo_that_kills_the_worker_is_found_out_and_nothing_else_is_lost(
    faulty: RunningFleet, orders: Path, eight: Sequence[Offer]
) -> None:
    bodies = stored(eight[3])
    killer = sha256(bodies[0]).hexdigest()
    (orders / "kills-workers").write_text(killer)
    sending = asyncio.create_task(send(faulty, "crash", eight))

    async def has_been_left_out() -> bool:
        return await asyncio.to_thread(produced, faulty.fleet.kafka, DEAD_LETTERS) >= len(TASKS)

    await until(has_been_left_out, "the photo is found out")
    letters = await asyncio.to_thread(lambda: list(dead_letters(faulty.fleet.kafka)))
    assert {(letter.about("code"), killer in str(letter.message)) for letter in letters} == {("crash", True)}
    assert sorted(letter.about("task") for letter in letters) == sorted(TASKS)
    # Mended, and edited by its seller: its photos are looked at anew, and those of nobody else.
    (orders / "kills-workers").unlink()
    listing = f"{faulty.fleet.plan.gateway_url}/v1/listings/{letters[0].key}"
    async with httpx.AsyncClient(timeout=30) as client:
        claims = {"seller_id": eight[3].upload.seller_id, "title": "Edited"}
        edited = await client.put(listing, files=form(claims, *bodies))
    assert edited.is_success, edited.text
    await sending
    await nothing_is_amiss(faulty)


async def test_a_redis_that_loses_what_was_not_on_its_disk_loses_nothing_that_was_acknowledged(
    faulty: RunningFleet, eight: Sequence[Offer]
) -> None:
    await nothing_is_amiss(faulty)
    disk = faulty.fleet.plan.data / "redis" / "appendonlydir"
    shutil.copytree(disk, kept := disk.with_name("kept"))
    redis = Redis.from_url(faulty.fleet.redis)
    # Nothing reaches the disk from here on, so nobody may be told that it is there.
    await redis.config_set("appendfsync", "no")
    records = await redis.dbsize()
    sending = asyncio.create_task(send(faulty, "second", eight))

    async def has_written() -> bool:
        return bool(await redis.dbsize() >= records + 4)

    await until(has_written, "the join has written")
    await redis.aclose()
    loses(faulty, kept)
    await sending
    assert said(faulty, "join", "Redis was restarted or replaced")
    await nothing_is_amiss(faulty)


async def test_a_redis_that_comes_back_empty_is_refused_until_it_is_rebuilt_and_then_lacks_nothing(
    faulty: RunningFleet, eight: Sequence[Offer]
) -> None:
    await send(faulty, "empty", eight)
    loses(faulty, kept=None)
    for name in ("join", "fused"):
        await until(lambda name=name: said(faulty, name, "vitrine rebuild"), f"{name} refuses an empty Redis")  # type: ignore[misc]
    argv = [sys.executable, "-c", "from cli.__main__ import main; main()", "rebuild"]
    argv += ["--kafka", faulty.fleet.kafka, "--redis", faulty.fleet.redis]
    rebuilt = await asyncio.create_subprocess_exec(*argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    output, _ = await asyncio.wait_for(rebuilt.communicate(), SECONDS)
    assert rebuilt.returncode == 0, output.decode()
    assert "rebuilt" in output.decode()
    await faulty.fleet.supervisor.until_ready(SECONDS)
    await nothing_is_amiss(faulty)


async def test_a_gateway_killed_between_a_listing_and_its_photos_leaves_nothing_half_published(
    faulty: RunningFleet, orders: Path
) -> None:
    (orders / "between-sends").touch()
    listing = f"{faulty.fleet.plan.gateway_url}/v1/listings/half"
    body = photo(17, (320, 240))
    async with httpx.AsyncClient(timeout=30) as client:
        with pytest.raises(httpx.TransportError):
            await client.put(listing, files=form(CLAIMS, body))
        assert not (orders / "between-sends").exists()

        async def is_complete() -> bool:
            try:
                answer = await client.get(listing)
            except httpx.TransportError:
                return False
            return answer.is_success and answer.json()["status"] == "complete"

        # Nobody asks for it again.
        await until(is_complete, "the listing is complete")
    faulty.uploads.append(
        Imported("half", CLAIMS["seller_id"], Effect.IMPORTED, "half", photos=(sha256(body).hexdigest(),))
    )
    await nothing_is_amiss(faulty)


async def test_a_worker_whose_right_to_read_is_revoked_says_so_and_goes_on_once_it_is_granted(
    faulty: RunningFleet, broker: GuardedBroker, eight: Sequence[Offer]
) -> None:
    broker.deny(ResourceType.TOPIC, IMAGE_UPLOADED.name, AclOperation.READ)
    sending = asyncio.create_task(send(faulty, "acl", eight))
    missing = f"grant READ and DESCRIBE on topic {IMAGE_UPLOADED.name}"
    await until(lambda: said(faulty, "fused", missing), "the worker says what it lacks")
    broker.allow()
    await sending
    await nothing_is_amiss(faulty)


async def test_a_store_without_room_takes_nothing_in_and_works_again_once_there_is_some(
    faulty: RunningFleet, orders: Path, eight: Sequence[Offer]
) -> None:
    before = await asyncio.to_thread(produced, faulty.fleet.kafka, LISTING_CHANGED)
    (orders / "disk-full").touch()
    async with httpx.AsyncClient(timeout=30) as client:
        answer = await client.put(f"{faulty.fleet.plan.gateway_url}/v1/listings/full", files=form(CLAIMS, photo(18)))
    assert (answer.status_code, answer.json()["type"]) == (503, "urn:vitrine:problem:store-unavailable")
    assert "full" in answer.json()["detail"]
    (orders / "disk-full").unlink()
    assert await asyncio.to_thread(produced, faulty.fleet.kafka, LISTING_CHANGED) == before
    await send(faulty, "disk", eight)
    await nothing_is_amiss(faulty)


def loses(faulty: RunningFleet, kept: Path | None) -> None:
    """Kills Redis, which finds on its disk what was kept, or nothing. It goes on writing into files that are gone."""
    disk = faulty.fleet.plan.data / "redis" / "appendonlydir"
    disk.rename(disk.with_name(f"lost-{'all' if kept is None else kept.name}"))
    if kept is not None:
        kept.rename(disk)
    pid = faulty.fleet.supervisor.pid_of("redis")
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
