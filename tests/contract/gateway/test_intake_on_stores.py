"""What gateways that share a store promise each other: the same facts on a folder and on a real S3 server."""

import asyncio
import json
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from services.gateway.form import File, Form
from services.gateway.intake import Intake
from services.gateway.problems import Problem
from services.gateway.settings import GatewaySettings
from shared.photo_store import StoreFull, open_photo_store
from tests.full_disk import Disk, small_disk
from tests.gateway import CLAIMS, FakeProducer, photo
from tests.seaweed import SeaweedServer

NOW = 2_000_000_000_000_000  # microseconds
SECOND = 1_000_000
GATEWAYS = 5


@pytest.fixture(params=["folder", "s3"])
def address(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A place that nothing was stored in yet."""
    if request.param == "folder":
        return str(tmp_path / "photos")
    s3: SeaweedServer = request.getfixturevalue("s3")
    for name, value in s3.env.items():
        monkeypatch.setenv(name, value)
    return f"{s3.address}/{uuid.uuid4().hex}"


@pytest.fixture
def decoders() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as pool:
        yield pool


def opened(address: str, decoders: ThreadPoolExecutor, producer: FakeProducer, now_us: int = NOW) -> Intake:
    return Intake(open_photo_store(address), producer, GatewaySettings(), decoders, lambda: now_us)


@pytest.fixture
def gateways(address: str, decoders: ThreadPoolExecutor) -> list[Intake]:
    """Each with a connection and a clock of its own, a second apart."""
    producer = FakeProducer()
    return [opened(address, decoders, producer, NOW - at * SECOND) for at in range(GATEWAYS)]


def upload(title: str = "Tee", seller_id: str = "seller-42", seed: int = 0) -> Form:
    claims = {**CLAIMS, "seller_id": seller_id, "title": title}
    return Form(json.dumps(claims).encode(), (File(photo(seed), "a", 0),))


async def test_gateways_at_once_give_revisions_that_differ_and_grow(gateways: list[Intake]) -> None:
    earlier = 0
    for turn in range(3):
        forms = [upload(f"edit {turn}.{n}") for n in range(len(gateways))]
        edits = zip(gateways, forms, strict=True)
        changes = await asyncio.gather(*(gateway.replace("x", form, None) for gateway, form in edits))
        revisions = {change.revision for change in changes}
        assert len(revisions) == len(gateways)
        assert min(revisions) > earlier, "whatever came before has lost"
        earlier = max(revisions)
    removed = await gateways[-1].remove("x")
    assert removed is not None and removed.revision > earlier


async def test_of_sellers_at_once_one_owns_the_listing(gateways: list[Intake]) -> None:
    answers = await asyncio.gather(
        *(gateway.replace("x", upload(seller_id=f"s{at}"), None) for at, gateway in enumerate(gateways)),
        return_exceptions=True,
    )
    [accepted] = [answer for answer in answers if not isinstance(answer, BaseException)]
    assert {answer.code for answer in answers if isinstance(answer, Problem)} == {"not-the-owner"}
    assert {await gateway.owner("x") for gateway in gateways} == {accepted.listing.seller_id}


async def test_gateways_that_start_at_once_make_the_same_ids(gateways: list[Intake]) -> None:
    assert len(set(await asyncio.gather(*(gateway.listing_id("s", "k") for gateway in gateways)))) == 1


async def test_a_key_at_once_is_one_listing(gateways: list[Intake]) -> None:
    changes = await asyncio.gather(*(gateway.create(upload(), "a key") for gateway in gateways))
    assert len({change.SerializeToString(deterministic=True) for change in changes}) == 1


async def test_a_photo_keeps_the_time_of_the_gateway_that_was_first(gateways: list[Intake]) -> None:
    changes = [await gateway.replace("x", upload(), None) for gateway in gateways]
    assert {change.listing.photos[0].uploaded_at.ToMicroseconds() for change in changes} == {NOW}


async def test_gateways_that_sweep_at_once_complete_what_one_left_behind(
    address: str, decoders: ThreadPoolExecutor
) -> None:
    producer = FakeProducer()
    producer.away = True
    dying = opened(address, decoders, producer)
    for n in range(6):
        with pytest.raises(Problem):
            await dying.create(upload(seed=n), None)
    producer.away = False
    others = [opened(address, decoders, producer, NOW + 200 * SECOND) for _ in range(2)]
    completed = await asyncio.gather(*(gateway.complete_pending() for gateway in others))
    assert sum(completed) >= 6
    assert len({image.listing_id for image in producer.uploads}) == 6
    assert [await gateway.complete_pending() for gateway in others] == [0, 0]


async def test_a_store_that_notes_can_be_made_in_passes(gateways: list[Intake]) -> None:
    await gateways[0].check()
    await gateways[0].listing_id("s", "k")
    await gateways[0].check()


# --- a full disk ------------------------------------------------------------------------------------------------------


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    with small_disk(tmp_path / "disk", monkeypatch) as disk:
        yield disk


async def test_on_a_full_disk_nothing_is_accepted_and_it_works_again_once_there_is_room(
    disk: Disk, decoders: ThreadPoolExecutor
) -> None:
    producer = FakeProducer()
    gateway = opened(str(disk.folder / "photos"), decoders, producer)
    await gateway.create(upload(), "before")
    sent = len(producer.sent)
    disk.fill()
    for attempt in (gateway.create(upload(seed=1), "a key"), gateway.create(upload(seed=1), None), gateway.check()):
        with pytest.raises(StoreFull):
            await attempt
    assert len(producer.sent) == sent, "nothing half acknowledged"

    disk.free()
    await gateway.check()
    assert (await gateway.create(upload(seed=1), "a key")).revision == NOW
    assert await gateway.complete_pending() == 0
    assert len(producer.uploads) == 2
