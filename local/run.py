"""`vitrine run`: the whole fleet on this machine, a catalogue through it, and the answers on the screen."""

import asyncio
import io
import signal
import time
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from client.listing import Imported
from client.words import Failures
from local import following, showing
from local.answers import RecommendationClient
from local.answers import Schema as Pack
from local.catalogue import Catalogue
from local.fleet import Fleet, Plan, running
from local.report import Outcome, write_report
from shared.photo_store import open_photo_store
from shared.screen import Screen
from shared.text import plain

HITS = 5


async def run_fleet(
    plan: Plan, pack: Pack, catalogue: Catalogue, console: Screen, once: bool, report: Path | None
) -> bool:
    """Whether every photo has its four facets. Without `once` it returns only by being cancelled."""
    started = time.monotonic()
    seconds: dict[str, float] = {}

    def passed(what: str) -> None:
        seconds[what] = time.monotonic() - started

    with _Stages.on(console, plan, catalogue) as stages:
        async with running(plan, say=stages.say, on_ready=stages.ready) as fleet:
            passed("started")
            async with RecommendationClient(plan.recommendation) as lookups:
                answers = await following.send(fleet, catalogue, lookups, stages.progress)
                passed("answered")
                stages.stop()
                outcome = Outcome(pack, answers, catalogue.bad, seconds)
                queries = await _show(console, fleet, lookups, outcome)
            if report:
                await asyncio.to_thread(write_report, report, outcome, queries)
            if once:
                return not outcome.faults
            console.print("\nRunning. Ctrl-C ends every process; the next `vitrine run` finds the data again.")
            await asyncio.Event().wait()
            return True


async def _show(console: Screen, fleet: Fleet, lookups: RecommendationClient, outcome: Outcome) -> dict[str, Any]:
    """Prints the result; returns what the two queries found."""
    console.print(showing.listings_table(showing.varied(outcome.answers)))
    if scores := showing.score(outcome.answers):
        console.print(showing.score_table(scores))
    queries = await _query(console, fleet, lookups, outcome)
    photos = sum(len(one.imported.photos) for one in outcome.answers)
    took = outcome.seconds["answered"] - outcome.seconds["started"]
    console.print(f"\n{len(outcome.answers)} listings with {photos} photos answered in {took:.0f} s")
    for reference, faults in outcome.faults.items():
        console.print(plain(f"{reference}: {'; '.join(faults)}"), style="red")
    if outcome.faults:
        console.print("what a worker rejected, and why, is shown by `vitrine dlq list`", style="red")
    for line in showing.addresses(fleet.plan, fleet.kafka, fleet.redis):
        console.print(line)
    console.print(showing.memory_line(fleet.supervisor.memory()))
    return queries


async def _query(console: Screen, fleet: Fleet, lookups: RecommendationClient, outcome: Outcome) -> dict[str, Any]:
    """What is similar to one listing, and what a photo finds: its photo, mirrored, so that it is another photo."""
    asked = showing.first_allowed(outcome.answers)
    if asked is None:
        return {}
    title = asked.claims.title
    similar = await lookups.similar(asked.listing_id, HITS)
    console.print(showing.hits_table(f"Similar to “{title}” of {asked.seller_id}", similar))
    photo = await open_photo_store(fleet.plan.photos).get(asked.photos[0].photo.object_key)
    hits = await lookups.by_photo(await asyncio.to_thread(_mirrored, photo), HITS)
    console.print(showing.hits_table(f"Found by a mirrored photo of “{title}”", hits))
    return {
        "asked": asked.listing_id,
        "similar": [{"listing_id": hit.listing.listing_id, "similarity": hit.similarity} for hit in similar],
        "by_mirrored_photo": [{"listing_id": hit.listing.listing_id, "similarity": hit.similarity} for hit in hits],
    }


def _mirrored(photo: bytes) -> bytes:
    mirrored = io.BytesIO()
    with Image.open(io.BytesIO(photo)) as picture:
        ImageOps.mirror(ImageOps.exif_transpose(picture).convert("RGB")).save(mirrored, "JPEG", quality=85)
    return mirrored.getvalue()


async def stopping_on_sigterm(running: Coroutine[Any, Any, bool]) -> bool:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await running


class _Stages:
    """Progress bars: processes ready, listings uploaded, listings complete."""

    def __init__(self, bars: Progress, screen: Screen, plan: Plan, catalogue: Catalogue) -> None:
        self._bars = bars
        self._screen = screen
        self._failures = Failures(screen)
        servers = (plan.kafka is None) + (plan.redis is None)
        self._starting = bars.add_task("starting", total=servers + len(plan.metrics))
        self._uploading = bars.add_task("uploading", total=catalogue.size, start=False)
        self._answering = bars.add_task("answering", total=catalogue.size, start=False)
        self.progress = following.Progress(self._uploaded, self._completed, self._settling)
        for line in catalogue.bad:
            self.say(f"not uploaded: {line}")
        for line in catalogue.passed_over:
            self.say(line)

    @classmethod
    @contextmanager
    def on(cls, console: Screen, plan: Plan, catalogue: Catalogue) -> Iterator["_Stages"]:
        columns = (SpinnerColumn(), TextColumn("{task.description:24}"), BarColumn(), MofNCompleteColumn())
        with Progress(*columns, TimeElapsedColumn(), console=console) as bars:
            yield cls(bars, console, plan, catalogue)

    def say(self, line: str) -> None:
        self._screen.print(plain(line), style="yellow")

    def ready(self, name: str) -> None:
        self._bars.update(self._starting, advance=1, description=f"starting ({name})")
        if self._bars.tasks[self._starting].finished:
            self._bars.update(self._starting, description="started")
            self._bars.start_task(self._uploading)
            self._bars.start_task(self._answering)

    def stop(self) -> None:
        self._bars.stop()

    def _uploaded(self, one: Imported) -> None:
        self._failures.show(one)
        self._bars.advance(self._uploading)

    def _completed(self, count: int) -> None:
        self._bars.update(self._answering, completed=count)

    def _settling(self) -> None:
        self._bars.update(self._answering, description="settling")
