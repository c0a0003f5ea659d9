"""Killing any process in the middle of an import loses nothing and doubles nothing."""

import asyncio
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from redis.asyncio import Redis

from client.listing import Imported
from local.catalogue import Offer
from local.following import Progress
from shared.topics import (
    IMAGE_ATTRIBUTED,
    IMAGE_CLASSIFIED,
    IMAGE_EMBEDDED,
    IMAGE_SCORED,
    LISTING_CHANGED,
    LISTING_ENRICHED,
    TASKS,
    Topic,
)
from tests.fleet.checker import held, problems, produced
from tests.fleet.conftest import RunningFleet, run

pytestmark = pytest.mark.asyncio(loop_scope="session")

# What each process makes; lookups and servers make nothing of their own, so they die in the middle of the join's work.
RESULTS: dict[str, Topic] = {
    "gateway": LISTING_CHANGED,
    **dict(zip(TASKS, (IMAGE_CLASSIFIED, IMAGE_ATTRIBUTED, IMAGE_EMBEDDED, IMAGE_SCORED), strict=True)),
    "join": LISTING_ENRICHED,
    "serve": LISTING_ENRICHED,
    "redis": LISTING_ENRICHED,
    "kafka": LISTING_ENRICHED,
}


class HalfWay:
    """Offers that stop in the middle until they are let go on."""

    def __init__(self, name: str, offers: Sequence[Offer]) -> None:
        self._name = name
        self._offers = offers
        self._go_on = threading.Event()
        self.uploaded = 0
        self.late_upload = asyncio.Event()

    def __iter__(self) -> Iterator[Offer]:
        for number, offer in enumerate(self._offers):
            if number == len(self._offers) // 2:
                assert self._go_on.wait(120)
            yield Offer(replace(offer.upload, reference=f"{self._name}-{number}"))

    def go_on(self) -> None:
        self._go_on.set()

    def note(self, _: Imported) -> None:
        self.uploaded += 1
        if self.uploaded > len(self._offers) // 2:
            self.late_upload.set()


@pytest.mark.parametrize("victim", RESULTS)
async def test_a_kill_in_the_middle_of_an_import_loses_and_doubles_nothing(
    tested: RunningFleet, eight: Sequence[Offer], victim: str
) -> None:
    await drill(tested, eight, victim, RESULTS[victim])


async def test_a_kill_of_the_fused_worker_loses_and_doubles_nothing(tmp_path: Path, eight: Sequence[Offer]) -> None:
    async with run(tmp_path, fused=True) as fused:
        await drill(fused, eight, "fused", IMAGE_SCORED)


async def test_the_lag_exporter_comes_back_when_killed(tested: RunningFleet) -> None:
    supervisor = tested.fleet.supervisor
    first = supervisor.pid_of("lag")
    assert first is not None
    os.kill(first, signal.SIGKILL)
    async with asyncio.timeout(30):
        while supervisor.pid_of("lag") in (None, first):  # noqa: ASYNC110 (the kernel sets no asyncio.Event)
            await asyncio.sleep(0.05)
    await supervisor.until_ready(60)


async def drill(tested: RunningFleet, offers: Sequence[Offer], victim: str, topic: Topic) -> None:
    """Kills the victim when it has made something of the first half and the second is on its way; checks all data."""
    fleet = tested.fleet
    before = await asyncio.to_thread(produced, fleet.kafka, topic)
    half_way = HalfWay(victim, offers)
    progress = Progress(uploaded=half_way.note)
    sending = asyncio.create_task(tested.send(victim, iter(half_way), len(offers), progress))

    async with asyncio.timeout(120):
        while await asyncio.to_thread(produced, fleet.kafka, topic) == before:  # noqa: ASYNC110 (a broker sets no asyncio.Event)
            await asyncio.sleep(0.02)
        half_way.go_on()
        # The second half is on its way now: its last photo has been uploaded by nobody yet, let alone answered.
        await half_way.late_upload.wait()
    first = fleet.supervisor.pid_of(victim)
    assert first is not None
    assert half_way.uploaded < len(offers)
    os.kill(first, signal.SIGKILL)

    answers = await sending
    assert fleet.supervisor.pid_of(victim) not in (None, first)
    assert {answer.imported.reference: faults for answer in answers if (faults := answer.faults(tested.pack))} == {}
    assert problems(tested.uploads, await held(fleet.kafka, fleet.redis)) == []


async def test_the_checker_sees_a_record_deleted_by_hand(tested: RunningFleet, eight: Sequence[Offer]) -> None:
    fleet = tested.fleet
    offers = (Offer(replace(offer.upload, reference=f"checker-{n}")) for n, offer in enumerate(eight[:2]))
    answers = await tested.send("checker", offers, 2, Progress())
    assert problems(tested.uploads, await held(fleet.kafka, fleet.redis)) == []
    listing_id = answers[0].imported.listing_id
    key = f"listing:{{{listing_id}}}"
    redis = Redis.from_url(fleet.redis)
    record = await redis.get(key)
    assert record is not None
    try:
        await redis.delete(key)
        assert f"lost: listing {listing_id} has no record" in problems(
            tested.uploads, await held(fleet.kafka, fleet.redis)
        )
        await redis.set(key, record)
        await redis.set("listing:{twice}", record)
        assert "doubled: record twice belongs to no upload" in problems(
            tested.uploads, await held(fleet.kafka, fleet.redis)
        )
    finally:
        await redis.set(key, record)
        await redis.delete("listing:{twice}")
        await redis.aclose()
    assert problems(tested.uploads, await held(fleet.kafka, fleet.redis)) == []
