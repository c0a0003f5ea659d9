"""`vitrine evaluate pack`: how well a model pack does on photos that took no part in its training."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import click
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from cli.plain import Group
from cli.tables import number, say, show, text
from learning.baselines import baselines
from learning.evaluation import answers, judged_numbers, measured, strangers
from learning.evaluation_files import write_files
from learning.training import (
    Advance,
    PhotosUnusable,
    Sample,
    features_of,
    photos_under,
    read_samples,
    strange_samples,
)
from shared.screen import Rows
from shared.settings import Settings
from shared.vision.heads import Array
from shared.vision.pack import Pack, open_pack
from shared.vision.reader import runtime_of
from shared.vision.runtime import Runtime

COMPARED = ("embedding_map_garments", "embedding_map_groceries", "embedding_same_class_nearest", "copies_mean")

Figures = Mapping[str, float]
FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


class Bars:
    """Progress on standard error, a bar for each thing that is done with photos."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def add(self, what: str, photos: int) -> Advance:
        bar = self._progress.add_task(what, total=photos)
        return lambda done: self._progress.advance(bar, done)


@click.group(cls=Group)
def evaluate() -> None:
    """Measure a model pack."""


@evaluate.command()
@click.argument("name", default="builtin")
@click.option("--data", required=True, type=FOLDER, help="Photos, laid out as for `vitrine train pack`.")
@click.option("--strangers", "more", type=FOLDER, help="More photos of nothing that the pack knows.")
@click.option("--to", type=click.Path(file_okay=False, path_type=Path), help="Also write figures and mistakes there.")
@click.option("--baselines", "compared", is_flag=True, help="Also measure embeddings that the pack has to beat.")
def pack(name: str, data: Path, more: Path | None, to: Path | None, compared: bool) -> None:
    """Measure the pack NAME (or in a folder) on the val split of labelled photos."""
    settings = Settings()
    opened = open_pack(name)
    samples = _judgeable(data)
    runtime = runtime_of(opened, settings)
    with _bars() as bars:
        features = _features(samples, runtime, opened, bars, "features")
        figures = _measured(opened, runtime, samples, features, _strange(more), bars)
        others = _baselines(opened, samples, settings, bars) if compared else {}
    show(_table(opened, figures, len(judged_numbers(samples))))
    if others:
        show(_comparison(opened, figures, others))
    if to is not None:
        write_files(to, opened.manifest.pack_name, answers(opened, samples, features), figures, others)
        say(f"{to}: figures, categories, confusion and the worst mistakes")


def _judgeable(data: Path) -> list[Sample]:
    samples = read_samples(data)
    if not len(judged_numbers(samples)):
        raise PhotosUnusable(f"{data} has no photo of the val split")
    return samples


def _strange(more: Path | None) -> list[Sample]:
    return strange_samples([*strangers(), *(photos_under(more) if more else [])])


def _features(samples: list[Sample], runtime: Runtime, opened: Pack, bars: Bars, what: str) -> Array:
    if not samples:
        return np.zeros((0, sum(opened.manifest.trunk.widths)), np.float32)
    return features_of(samples, runtime, opened.manifest.trunk.canvases, bars.add(what, len(samples)))


def _measured(
    opened: Pack, runtime: Runtime, samples: list[Sample], features: Array, strange: list[Sample], bars: Bars
) -> Figures:
    strange_features = _features(strange, runtime, opened, bars, "strangers")
    copying = bars.add("copies", len(judged_numbers(samples)))
    return measured(opened, runtime, samples, features, strange_features, copying)


def _baselines(opened: Pack, samples: list[Sample], settings: Settings, bars: Bars) -> Mapping[str, Figures]:
    spec = opened.manifest.trunk
    found = {}
    for name, opening in baselines(spec.architectures, spec.canvases, settings).items():
        seen, copied = bars.add(name, len(samples)), bars.add(f"{name}, copies", len(judged_numbers(samples)))
        found[name] = opening().figures(samples, spec.canvases, seen, copied)
    return found


@contextmanager
def _bars() -> Iterator[Bars]:
    columns = (TextColumn("{task.description:>24}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        yield Bars(progress)


def _table(opened: Pack, figures: Figures, photos: int) -> Rows:
    title = f"{opened.manifest.pack_name} on {photos} photos of the val split"
    table = Rows(text("figure"), number("value"), title=title)
    for name, value in figures.items():
        table.add_row(_words(name), f"{value:.4g}")
    return table


def _comparison(opened: Pack, figures: Figures, others: Mapping[str, Figures]) -> Rows:
    table = Rows(text("embedding"), *(number(_words(name)) for name in COMPARED))
    for name, theirs in {opened.manifest.pack_name: figures, **others}.items():
        table.add_row(name, *(f"{theirs[figure]:.4g}" if figure in theirs else "" for figure in COMPARED))
    return table


def _words(name: str) -> str:
    return name.replace("_", " ")
