"""Progress on standard error: a meter for each thing that is done with photos."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from learning.sources import Sample
from learning.training import features_of
from shared.vision.heads import Array
from shared.vision.pack import TrunkSpec
from shared.vision.runtime import Runtime

T = TypeVar("T")


@dataclass(frozen=True)
class Meter:
    """One line of it."""

    _progress: Progress
    _task: TaskID

    def advance(self, done: int) -> None:
        """So many more are done."""
        self._progress.advance(self._task, done)

    def show(self, done: int, total: int, said: str) -> None:
        """So many are done in all, and this is to be said of it."""
        self._progress.update(self._task, completed=done, total=total, description=said)


@dataclass(frozen=True)
class Meters:
    """All lines, in the order in which they were added."""

    _progress: Progress

    def add(self, what: str, total: int | None = None) -> Meter:
        """None: nobody knows yet how many there will be."""
        return Meter(self._progress, self._progress.add_task(what, total=total))

    def features_of(self, samples: Sequence[Sample], runtime: Runtime, spec: TrunkSpec, what: str) -> Array:
        """One row per sample; there may be none. Raises PhotosUnusable."""
        if not samples:
            return np.zeros((0, spec.widths.all), np.float32)
        return features_of(samples, runtime, spec.canvases, self.add(what, len(samples)).advance)

    def counted(self, items: Iterable[T], what: str) -> Iterator[T]:
        """The items, counted as they are taken."""
        meter = self.add(what)
        count = 0
        for item in items:
            count += 1
            meter.advance(1)
            yield item
        meter.show(count, count, what)


@contextmanager
def meters() -> Iterator[Meters]:
    """Shown while the block runs."""
    columns = (TextColumn("{task.description:>24}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        yield Meters(progress)
