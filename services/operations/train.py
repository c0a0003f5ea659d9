"""`vitrine train pack`: makes a model pack from labelled photos."""

import csv
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

import click
import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from services.operations.rendering import training_photos
from shared.settings import Settings
from shared.vision.evaluation import measured, strangers
from shared.vision.fine_tuning import (
    Classifier,
    Epoch,
    Phase,
    Photos,
    Picked,
    Recipe,
    Step,
    fine_tune,
    keep_freed_memory,
)
from shared.vision.pack import HEADS, MODELS, TRUNK, Manifest, Pack, PackUnusable, TrunkSpec, open_pack, sha256_of
from shared.vision.packing import CARD, manifest_of, model_card, write_manifest, write_weights
from shared.vision.runtime import DeviceAbsent, open_device, open_runtime
from shared.vision.taxonomy import Taxonomy
from shared.vision.training import (
    Linear,
    PhotosUnusable,
    Sample,
    drawn_samples,
    features_of,
    fit_heads,
    held_out,
    pictures_of,
    read_samples,
    taxonomy_of,
)
from shared.vision.trunk import IMAGENET, Network, imagenet, load_network, save_network

DRAWN_SEED = 5
KEPT_SIDE = 288  # of the pictures that are augmented: somewhat more than the largest that is trained on
INPUT_SIZE = 224
PHASES = "160x16,192x5,224x2"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Plan:
    """What to make of which photos, and where."""

    data: Path
    to: Path
    work: Path
    version: int
    generation: int
    drawn: int
    architecture: str
    recipe: Recipe
    start: Pack | None  # None: the architecture's ImageNet weights


@click.group()
def train() -> None:
    """Train a model pack."""


@train.command()
@click.option("--data", required=True, type=click.Path(exists=True, file_okay=False, path_type=Path), help="Photos.")
@click.option("--to", default=MODELS / "builtin", type=click.Path(path_type=Path), help="The pack's folder.")
@click.option("--work", type=click.Path(path_type=Path), help="Checkpoint and curves; a run begun there goes on.")
@click.option("--version", default=2, show_default=True, help="Of the pack, and of its embedding's space.")
@click.option("--generation", default=2, show_default=True, help="Results of a higher one supersede.")
@click.option("--drawn", default=32, show_default=True, help="Rendered photos of each rendered category.")
@click.option("--architecture", default="tf_efficientnet_lite2", show_default=True, type=click.Choice(sorted(IMAGENET)))
@click.option("--start", "start_name", help="Go on from this pack's weights rather than from ImageNet's.")
@click.option("--phases", default=PHASES, show_default=True, help="PIXELSxEPOCHS, one after the other.")
@click.option("--seed", default=1, show_default=True)
def pack(
    data: Path,
    to: Path,
    work: Path | None,
    version: int,
    generation: int,
    drawn: int,
    architecture: str,
    start_name: str | None,
    phases: str,
    seed: int,
) -> None:
    """Fine-tune a trunk, fit the heads, measure both on the val split, and write the pack."""
    started = time.monotonic()
    try:
        start = open_pack(start_name) if start_name else None
        architecture = start.manifest.trunk.architecture if start else architecture
        recipe = Recipe(_phases(phases), seed=seed, start=start.manifest.pack_name if start else "ImageNet")
        begun = f"{architecture}-{recipe.start}-{phases.replace(',', '-')}-seed{seed}"
        work = work or Settings().home / "training" / begun
        manifest = _train(Plan(data, to, work, version, generation, drawn, architecture, recipe, start))
    except (PhotosUnusable, PackUnusable, DeviceAbsent, ValueError) as why:
        raise click.ClickException(str(why)) from why
    Console().print(_table(manifest))
    click.echo(f"{to}: {manifest.pack_name}, trained in {time.monotonic() - started:.0f} s; curves are in {work}")


def _phases(text: str) -> tuple[Phase, ...]:
    """Raises click.BadParameter."""
    try:
        pairs = [tuple(map(int, part.split("x"))) for part in text.split(",")]
        return tuple(Phase(side, epochs) for side, epochs in pairs)
    except (ValueError, TypeError) as why:
        raise click.BadParameter(f"{text!r} is not like {PHASES}", param_hint="--phases") from why


def _train(plan: Plan) -> Manifest:
    settings = Settings()
    keep_freed_memory()
    with _progress() as progress:
        real = read_samples(plan.data)
        rendered = drawn_samples(_watched(training_photos(DRAWN_SEED, plan.drawn), progress, "drawing"))
        samples = [*real, *rendered]
        classifier = _fine_tuned(plan, settings, samples, progress)
        network, linear = _parts(plan.architecture, classifier)
        weights = plan.work / TRUNK
        save_network(network, weights)
        # From here on as it will serve: at the precision that is shipped, on the engine of this machine.
        network = load_network(plan.architecture, weights)
        device = open_device(settings.device)
        runtime = open_runtime(
            network, INPUT_SIZE, sha256_of(weights), device, settings.threads, settings.home / "cache"
        )

        def features(some: list[Sample], what: str) -> np.typing.NDArray[np.float32]:
            bar = progress.add_task(what, total=len(some))
            return features_of(some, runtime, INPUT_SIZE, lambda n: progress.advance(bar, n))

        rows = features(samples, "features")
        strange = [Sample(path, ("unknown",), "val", group=path.name) for path in strangers()]
        strange_rows = features(strange, "strangers")

    spec = TrunkSpec(architecture=plan.architecture, input_size=INPUT_SIZE, final=network.final, stages=network.stages)
    trained = fit_heads(samples, rows, spec.widths, linear)
    write_weights(plan.to, network, trained.heads)
    manifest = manifest_of(plan.to, trained, spec, plan.to.name, plan.version, plan.generation)
    write_manifest(plan.to, manifest)
    figures = measured(open_pack(str(plan.to)), runtime, real, rows[: len(real)], strange_rows)
    return _completed(plan, manifest, figures, _counts(samples))


def _fine_tuned(plan: Plan, settings: Settings, samples: list[Sample], progress: Progress) -> Classifier:
    decoding = progress.add_task("pictures", total=len(samples))
    pixels = pictures_of(samples, KEPT_SIDE, settings.home / "cache", lambda n: progress.advance(decoding, n))
    taxonomy = taxonomy_of(samples)
    leaf = np.array([taxonomy.number(sample.category) for sample in samples], np.int64)
    kids = np.array([-1 if sample.kids is None else int(sample.kids) for sample in samples], np.int64)
    photos = Photos(pixels, leaf, kids)
    held = held_out(samples)
    learned = np.array([sample.split == "train" for sample in samples]) & ~held
    start = _start(plan, taxonomy).to(open_device(settings.device))
    steps = progress.add_task("training", total=None)
    log = _Log(plan.work)

    def stepped(step: Step, total: int) -> None:
        said = f"epoch {step.epoch + 1}, loss {step.loss:.2f}, right {step.accuracy:.0%}"
        progress.update(steps, total=total, completed=step.number, description=said)

    def picked(rows: np.typing.NDArray[np.bool_]) -> Picked:
        return Picked(photos, np.nonzero(rows)[0])

    return fine_tune(start, picked(learned), picked(held), taxonomy, plan.recipe, plan.work, stepped, log.add)


def _start(plan: Plan, taxonomy: Taxonomy) -> Classifier:
    """Raises ValueError when the pack to start from knows other categories, or its weights can't be read."""
    classifier = Classifier(plan.architecture, len(taxonomy.leaves), plan.recipe.dropout, plan.recipe.frozen_blocks)
    if plan.start is None:
        classifier.trunk.load_state_dict(imagenet(plan.architecture).trunk.state_dict())
    else:
        take_over(classifier, plan.start, taxonomy)
    return classifier


def take_over(classifier: Classifier, pack: Pack, taxonomy: Taxonomy) -> None:
    """The pack's trunk and its first say in a category. Raises ValueError when it knows other categories."""
    if pack.taxonomy.leaves != taxonomy.leaves:
        raise ValueError(f"{pack.folder} knows other categories than these photos: training can't go on from it")
    network = load_network(pack.manifest.trunk.architecture, pack.folder / TRUNK)
    classifier.trunk.load_state_dict(network.trunk.state_dict())
    heads = pack.heads
    with torch.no_grad():
        classifier.leaf.weight.copy_(torch.from_numpy(heads.leaf_weight.T))
        classifier.leaf.bias.copy_(torch.from_numpy(heads.leaf_bias))
        classifier.audience.weight.copy_(torch.from_numpy(heads.audience_weight[None]))
        classifier.audience.bias.copy_(torch.from_numpy(heads.audience_bias))


def _parts(architecture: str, classifier: Classifier) -> tuple[Network, Linear]:
    network = Network(architecture)
    network.trunk.load_state_dict(classifier.cpu().trunk.state_dict())
    leaf, audience = classifier.leaf, classifier.audience
    return network, Linear(
        leaf_weight=leaf.weight.detach().numpy().T.copy(),
        leaf_bias=leaf.bias.detach().numpy(),
        audience_weight=audience.weight.detach().numpy()[0],
        audience_bias=audience.bias.detach().numpy(),
    )


def _counts(samples: list[Sample]) -> dict[str, int]:
    held = held_out(samples)
    real = [sample for sample in samples if not sample.staged]
    return {
        "real, train": sum(sample.split == "train" for sample in real),
        "of these, not shown to the trunk": int(held.sum()),
        "real, val (measured only)": sum(sample.split == "val" for sample in real),
        "iconic": sum(sample.staged and isinstance(sample.photo, Path) for sample in samples),
        f"drawn, seed {DRAWN_SEED}": sum(isinstance(sample.photo, bytes) for sample in samples),
    }


def _completed(plan: Plan, manifest: Manifest, figures: Mapping[str, float], counts: Mapping[str, int]) -> Manifest:
    """With figures and card written."""
    rounded = {name: round(value, 4) for name, value in figures.items()}
    complete = manifest.model_copy(update={"measured": rounded})
    recipe = asdict(plan.recipe) | {"phases": ", ".join(f"{p.epochs} at {p.side} px" for p in plan.recipe.phases)}
    (plan.to / CARD).write_text(
        model_card(complete, counts, {name.replace("_", " "): value for name, value in recipe.items()})
    )
    files = {name: sha256_of(plan.to / name) for name in (TRUNK, HEADS, CARD)}
    complete = complete.model_copy(update={"files": files})
    write_manifest(plan.to, complete)
    return complete


class _Log:
    """Curves of a run, as CSV and as a picture. A run that goes on adds to them."""

    def __init__(self, work: Path) -> None:
        self._csv = work / "curves.csv"
        self._started = time.monotonic()

    def add(self, epoch: Epoch) -> None:
        row = asdict(epoch) | {"seconds": round(time.monotonic() - self._started)}
        new = not self._csv.is_file()
        with self._csv.open("a", newline="") as file:
            writer = csv.DictWriter(file, list(row))
            if new:
                writer.writeheader()
            writer.writerow(row)
        self._draw()

    def _draw(self) -> None:
        from matplotlib.figure import Figure  # takes a second to load

        with self._csv.open(newline="") as file:
            rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
        figure = Figure(figsize=(8, 4), layout="constrained")
        loss, accuracy = figure.subplots(1, 2)
        epochs = [row["epoch"] + 1 for row in rows]
        loss.plot(epochs, [row["loss"] for row in rows])
        loss.set(xlabel="epoch", ylabel="loss, augmented pictures")
        accuracy.plot(epochs, [row["accuracy"] for row in rows], label="augmented pictures")
        accuracy.plot(epochs, [row["held_out"] for row in rows], label="held out, averaged weights")
        accuracy.set(xlabel="epoch", ylabel="top-1")
        accuracy.legend()
        figure.savefig(self._csv.with_suffix(".png"), dpi=120)


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
