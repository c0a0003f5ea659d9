"""`vitrine train`: makes a model pack from labelled photos."""

import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import click
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from services.operations.rendering import training_photos
from shared.settings import Settings
from shared.vision.evaluation import measured, strangers
from shared.vision.pack import HEADS, MODELS, Manifest, PackUnusable, open_pack
from shared.vision.packing import CARD, manifest_of, model_card, write_heads, write_manifest
from shared.vision.training import PhotosUnusable, Sample, drawn_samples, features_of, fit_heads, read_samples
from shared.vision.trunk import DeviceAbsent, TrunkUnusable, open_trunk, sha256_of, trunk_path

DRAWN_SEED = 5
DRAWN_WEIGHT = 0.3  # of a drawn garment beside a photographed one

T = TypeVar("T")


@click.group()
def train() -> None:
    """Train a model pack."""


@train.command()
@click.option("--data", required=True, type=click.Path(exists=True, file_okay=False, path_type=Path), help="Photos.")
@click.option("--to", default=MODELS / "builtin", type=click.Path(path_type=Path), help="The pack's folder.")
@click.option("--version", default=1, show_default=True, help="Of the pack, and of its embedding's space.")
@click.option("--generation", default=1, show_default=True, help="Results of a higher one supersede.")
@click.option("--drawn", default=16, show_default=True, help="Rendered photos of each rendered category.")
def heads(data: Path, to: Path, version: int, generation: int, drawn: int) -> None:
    """Train the heads on the trunk's frozen features, measure them on the val split, and write the pack."""
    started = time.monotonic()
    try:
        manifest = _train(data, to, version, generation, drawn)
    except (PhotosUnusable, PackUnusable, TrunkUnusable, DeviceAbsent) as why:
        raise click.ClickException(str(why)) from why
    Console().print(_table(manifest))
    click.echo(f"{to}: {manifest.pack_name}, trained in {time.monotonic() - started:.0f} s")


def _train(data: Path, to: Path, version: int, generation: int, drawn: int) -> Manifest:
    settings = Settings()
    trunk = open_trunk(settings)
    trunk_sha256 = sha256_of(trunk_path(settings.home))
    real = read_samples(data)
    strange = [Sample(path, ("unknown",), "val", group=path.name) for path in strangers()]
    with _progress() as progress:
        pictures = _watched(training_photos(DRAWN_SEED, drawn), progress, "drawing")
        rendered = drawn_samples(pictures, DRAWN_WEIGHT)

        def features(samples: list[Sample], what: str) -> np.typing.NDArray[np.float32]:
            bar = progress.add_task(what, total=len(samples))
            cache = settings.home / "cache"
            return features_of(samples, trunk, trunk_sha256, cache, lambda n: progress.advance(bar, n))

        samples = [*real, *rendered]
        rows = np.concatenate([features(real, "photos"), features(rendered, "drawings")])
        strange_rows = features(strange, "strangers")
        fitting = progress.add_task("fitting", total=None)
        trained = fit_heads(samples, rows)
        progress.update(fitting, total=1, completed=1)

    write_heads(to, trained.heads)
    write_manifest(to, manifest_of(to, trained, to.name, version, generation, trunk_sha256, (HEADS,)))
    # Measured as it will serve: what was written, at the precision it was written in.
    figures = measured(open_pack(str(to)), samples, rows, strange_rows)
    unmeasured = manifest_of(to, trained, to.name, version, generation, trunk_sha256, (HEADS,))
    complete = unmeasured.model_copy(update={"measured": {name: round(value, 4) for name, value in figures.items()}})
    counts = {
        "real, train": sum(sample.split == "train" for sample in real),
        "real, val (measured only)": sum(sample.split == "val" for sample in real),
        f"drawn, seed {DRAWN_SEED}": len(rendered),
    }
    (to / CARD).write_text(model_card(complete, counts, "vitrine train heads --data FOLDER"))
    complete = complete.model_copy(update={"files": {name: sha256_of(to / name) for name in (HEADS, CARD)}})
    write_manifest(to, complete)
    return complete


def _progress() -> Progress:
    columns = (TextColumn("{task.description:>10}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True))


def _watched(items: Iterable[T], progress: Progress, what: str) -> Iterator[T]:
    bar = progress.add_task(what, total=None)
    count = 0
    for count, item in enumerate(items, start=1):
        progress.update(bar, completed=count)
        yield item
    progress.update(bar, total=count)


def _table(manifest: Manifest) -> Table:
    table = Table("figure", "value", title=f"{manifest.pack_name} on photos that took no part in training")
    for name, value in manifest.measured.items():
        table.add_row(name.replace("_", " "), f"{value:.4g}")
    return table
