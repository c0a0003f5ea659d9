"""The first stage: a record's photo is fetched, and read for every task."""

from collections.abc import Mapping, Sequence
from typing import Any

from shared.errors import Poison
from shared.photos import Photo
from shared.stream.fetching import Fetch
from shared.stream.records import Record
from shared.stream.worker.limits import Limits
from shared.stream.worker.patience import FORESEEN, Patience, Try, Unforeseen
from shared.stream.worker.threads import YIELDING, Threads
from shared.stream.worker.work import AnyTask, Work


class Preparing:
    """Fetches on the event loop, prepares on CPU threads.

    What isn't prepared soon is prepared anew among its like, on threads that yield: slow photos hold up slow ones.
    """

    def __init__(self, fetch: Fetch, limits: Limits, patience: Patience) -> None:
        self._fetch = fetch
        self._limits = limits
        self._patience = patience
        self._threads = Threads("prepare", limits.cpu_threads)
        self._slow = Threads("prepare-slow", limits.cpu_threads, nice=YIELDING)
        self._fetch_tries = [Try(limits.fetch_seconds)] * 2
        soon = limits.first_prepare_share * limits.prepare_seconds
        self._lanes = [
            (self._threads, Try(soon, self._threads.free)),
            (self._slow, Try(limits.prepare_seconds, self._slow.free)),
        ]

    async def work(self, work: Work, tasks: Sequence[AnyTask]) -> Work:
        """The work given, with inputs for each task that did not reject the photo. Raises Transient."""
        try:
            photo = await self._fetched(work.record)
        except Poison as why:
            work.reject("fetch", why, *tasks)
            return work
        work.uploaded_at = photo.upload.uploaded_at.ToMicroseconds() / 1e6
        try:
            work.photo, prepared = await self._prepared(work.record, photo, tasks)
        except Poison as why:
            work.reject("prepare", why, *tasks)
            return work
        for task in tasks:
            one = prepared[task.name]
            if isinstance(one, Unforeseen):
                one = await self._patience.blame(work.record, "prepare", one.why)
            if isinstance(one, Poison):
                work.reject("prepare", one, task)
            else:
                work.inputs[task.name] = one
        if not work.inputs:
            work.photo = None
        return work

    def close(self) -> None:
        self._threads.shutdown()
        self._slow.shutdown()

    async def _fetched(self, record: Record) -> Photo:
        if record.killed:
            raise await self._patience.blame_for_deaths(record)
        try:
            return await self._patience(record, "fetch", self._fetch_tries, lambda: self._fetch(record))
        except FORESEEN:
            raise
        except Exception as why:
            raise await self._patience.blame(record, "fetch", why) from why

    async def _prepared(
        self, record: Record, photo: Photo, tasks: Sequence[AnyTask]
    ) -> tuple[Photo, Mapping[str, Any]]:
        lanes = iter(self._lanes)

        async def attempt() -> tuple[Photo, Mapping[str, Any]]:
            threads, _ = next(lanes)
            # A fresh photo per try: the thread of a timed-out one may still be at work on it.
            return await threads.run(_prepared, photo.fresh(), tasks)

        return await self._patience(record, "prepare", [each for _, each in self._lanes], attempt)


def _prepared(photo: Photo, tasks: Sequence[AnyTask]) -> tuple[Photo, Mapping[str, Any]]:
    """What each task made of it, or why it could not. Of its pixels nothing else stays: a photo waits for its batch."""
    prepared: dict[str, Any] = {}
    for task in tasks:
        try:
            prepared[task.name] = task.prepare(photo)
        except Poison as why:
            prepared[task.name] = why
        except FORESEEN:
            raise
        except Exception as why:  # noqa: BLE001  a known-good photo tells whose fault it is
            prepared[task.name] = Unforeseen(why)
    photo.forget("pixels")
    return photo, prepared
