"""The first stage: a record's photo is fetched, and read for every task."""

from collections.abc import Mapping, Sequence
from typing import Any

from shared.errors import Poison
from shared.photos import Photo
from shared.stream.fetching import Fetch
from shared.stream.worker.limits import Limits
from shared.stream.worker.patience import Patience
from shared.stream.worker.threads import Threads
from shared.stream.worker.work import AnyTask, Work


class Preparing:
    """Fetches on the event loop, prepares on CPU threads."""

    def __init__(self, fetch: Fetch, limits: Limits, patience: Patience) -> None:
        self._fetch = fetch
        self._limits = limits
        self._patience = patience
        self._threads = Threads("prepare", limits.cpu_threads)

    async def work(self, work: Work, tasks: Sequence[AnyTask]) -> Work:
        """The work given, with inputs for each task that did not reject the photo. Raises Transient."""
        record = work.record
        try:
            photo = await self._patience(record, "fetch", self._limits.fetch_seconds, lambda: self._fetch(record))
        except Poison as why:
            work.reject("fetch", why, *tasks)
            return work
        work.uploaded_at = photo.upload.uploaded_at.ToMicroseconds() / 1e6
        try:
            # A fresh photo per try: the thread of a timed-out one may still be at work on it.
            work.photo, prepared = await self._patience(
                record,
                "prepare",
                self._limits.prepare_seconds,
                lambda: self._threads.run(_prepared, photo.fresh(), tasks),
                self._threads.free,
            )
        except Poison as why:
            work.reject("prepare", why, *tasks)
            return work
        for task in tasks:
            if isinstance(one := prepared[task.name], Poison):
                work.reject("prepare", one, task)
            else:
                work.inputs[task.name] = one
        if not work.inputs:
            work.photo = None
        return work

    def close(self) -> None:
        self._threads.shutdown()


def _prepared(photo: Photo, tasks: Sequence[AnyTask]) -> tuple[Photo, Mapping[str, Any]]:
    """What each task made of it, or its Poison. Of its pixels nothing stays but that: a photo waits for its batch."""
    prepared: dict[str, Any] = {}
    for task in tasks:
        try:
            prepared[task.name] = task.prepare(photo)
        except Poison as why:
            prepared[task.name] = why
    photo.forget("pixels")
    return photo, prepared
