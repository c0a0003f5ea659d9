"""`vitrine train pack`: makes a model pack from labelled photos."""

import csv
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import isnan
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from learning.ensemble import Member, joined, members_of
from learning.evaluation import measured, strangers
from learning.fine_tuning import (
    Augmented,
    Classifier,
    Epoch,
    Photos,
    Picked,
    Recipe,
    Step,
    fine_tune,
    keep_freed_memory,
)
from learning.packing import CARD, manifest_of, model_card, write_manifest, write_weights
from learning.training import (
    Linear,
    PhotosUnusable,
    Sample,
    drawn_samples,
    features_of,
    features_of_pictures,
    fit_heads,
    fit_unknown,
    held_out,
    photos_under,
    pictures_of,
    read_samples,
    strange_samples,
    taxonomy_of,
)
from shared.photos import Pixels
from shared.screen import Rows
from shared.settings import Settings
from shared.vision.pack import (
    HEADS,
    MANIFEST,
    TRUNK,
    Manifest,
    Pack,
    TrunkSpec,
    open_pack,
    read_manifest,
    sha256_of,
)
from shared.vision.reader import runtime_of
from shared.vision.runtime import Runtime, open_device, open_runtime
from shared.vision.taxonomy import Taxonomy
from shared.vision.trunk import Canvas, canvases_of, imagenet, load_network, nearest_canvas, save_network
from studio import training_photos

DRAWN_SEED = 5
KEPT_SIDE = 288  # of the pictures that are augmented: as many as the longest that is trained on
CANVASES = canvases_of(224)
FEWEST_STRANGERS = 50
LEARNED_STRANGERS = "learned_strangers_cross_fitted_unknown"
VIEWS = 2  # of each photo, beside itself, that the embedding learns from
ARCHITECTURES = ("tf_efficientnet_lite2", "tf_efficientnet_lite0")
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
    strangers: Path | None
    recipes: Mapping[str, Recipe]  # of each architecture that is trained
    start: Pack | None  # its trunks of these architectures are trained on, and its others stay beside


def recipe_for(architecture: str, start: Pack | None, recipe: Recipe) -> Recipe:
    """At half the rates where the pack's own trunk goes on."""
    if start is None or architecture not in start.manifest.trunk.architectures:
        return recipe
    # What is trained already lies near a minimum: the full rates would throw it out again.
    trunk_rate, head_rate = recipe.trunk_rate / 2, recipe.head_rate / 2
    return replace(recipe, start=start.manifest.pack_name, trunk_rate=trunk_rate, head_rate=head_rate)


def next_of(folder: Path) -> tuple[int, int]:
    """Version and generation above those of the pack in the folder. Raises PackUnusable."""
    if not (folder / MANIFEST).exists():
        return 1, 1
    manifest = read_manifest(folder)
    return manifest.version + 1, manifest.generation + 1


def make_pack(plan: Plan) -> Manifest:
    settings = Settings()
    keep_freed_memory()
    with _progress() as progress:
        real = read_samples(plan.data)
        rendered = drawn_samples(_watched(training_photos(DRAWN_SEED, plan.drawn), progress, "drawing"))
        samples = [*real, *rendered]
        to_learn = _strangers_to_learn(plan.strangers)
        members = _members(plan.start, taxonomy_of(samples))
        photos = _photos(samples, settings, progress)
        beside = [member for member in members if member.architecture not in plan.recipes]
        trained = [_fine_tuned(plan, name, members, settings, samples, photos, progress) for name in plan.recipes]
        network, linear = joined([*beside, *trained])
        architectures = (*(member.architecture for member in beside), *plan.recipes)
        weights = plan.work / TRUNK
        save_network(network, weights)
        # From here on as it will serve: at the precision that is shipped, on the engine of this machine.
        network = load_network(architectures, weights)
        device = open_device(settings.device)
        runtime = open_runtime(network, CANVASES, sha256_of(weights), device, settings.threads, settings.home / "cache")

        features = _features(runtime, CANVASES, progress)
        rows = features(samples, "features")
        learned = np.flatnonzero([sample.split == "train" for sample in samples])
        bar = progress.add_task("views", total=VIEWS * len(learned))
        seen = features_of_pictures(
            _views(Picked(photos, learned), next(iter(plan.recipes.values()))),
            runtime,
            lambda n: progress.advance(bar, n),
        )
        strange = features(to_learn, "strangers") if to_learn else rows[:0]
        judged = features(strange_samples(strangers()), "judged by")

    spec = TrunkSpec(architectures=architectures, canvases=CANVASES, final=network.final, stages=network.stages)
    fitted = fit_heads(samples, rows, seen.reshape(len(learned), VIEWS, -1), spec.widths, linear, strange)
    write_weights(plan.to, network, fitted.heads)
    manifest = manifest_of(plan.to, fitted, spec, _runs(plan), plan.version, plan.generation)
    write_manifest(plan.to, manifest)
    figures = measured(open_pack(str(plan.to)), runtime, real, rows[: len(real)], judged)
    return _completed(plan.to, manifest, figures, fitted.strangers_found, _counts(samples, to_learn))


def learn_unknown(start: Pack, data: Path, strange_folder: Path, to: Path, drawn: int) -> Manifest:
    settings = Settings()
    spec = start.manifest.trunk
    with _progress() as progress:
        real = read_samples(data)
        samples = [*real, *drawn_samples(_watched(training_photos(DRAWN_SEED, drawn), progress, "drawing"))]
        _same_photos(start, samples)
        to_learn = _strangers_to_learn(strange_folder)
        runtime = runtime_of(start, settings)
        features = _features(runtime, spec.canvases, progress)
        rows = features(samples, "features")
        strange = features(to_learn, "strangers") if to_learn else rows[:0]
        judged = features(strange_samples(strangers()), "judged by")

    fitted = fit_unknown(samples, rows, spec.widths, strange)
    before, (version, generation) = start.manifest, next_of(to)
    write_weights(to, load_network(spec.architectures, start.folder / TRUNK), fitted.put_into(start.heads))
    manifest = before.model_copy(
        update={
            "name": to.resolve().name,
            "version": max(version, before.version + 1),
            "generation": max(generation, before.generation + 1),
            "bars": before.bars.model_copy(update={"strange_beyond": round(fitted.beyond, 6)}),
            "files": {file: sha256_of(to / file) for file in (TRUNK, HEADS)},
        }
    )
    write_manifest(to, manifest)
    figures = measured(open_pack(str(to)), runtime, real, rows[: len(real)], judged)
    return _completed(to, manifest, figures, fitted.strangers_found, _counts(samples, to_learn))


def _features(
    runtime: Runtime, canvases: Sequence[Canvas], progress: Progress
) -> Callable[[list[Sample], str], np.typing.NDArray[np.float32]]:
    def features(some: list[Sample], what: str) -> np.typing.NDArray[np.float32]:
        bar = progress.add_task(what, total=len(some))
        return features_of(some, runtime, canvases, lambda n: progress.advance(bar, n))

    return features


def _same_photos(start: Pack, samples: list[Sample]) -> None:
    """Raises ValueError when a pack was not made of these: its voters are those photos in their order."""
    if taxonomy_of(samples).leaves != start.taxonomy.leaves:
        raise ValueError(f"{start.folder} knows other categories than these photos")
    leaves = [start.taxonomy.number(sample.category) for sample in samples if sample.split == "train"]
    if leaves != start.heads.voter_leaves.tolist():
        raise ValueError(f"{start.folder} was made of other photos: give those, and as many drawn ones (--drawn)")


def _strangers_to_learn(folder: Path | None) -> list[Sample]:
    """Raises PhotosUnusable."""
    if folder is None:
        return []
    found = strange_samples(photos_under(folder))
    if len(found) < FEWEST_STRANGERS:
        raise PhotosUnusable(
            f"{folder} has {len(found)} photos of strangers: fewer than {FEWEST_STRANGERS} teach little"
        )
    return found


def _photos(samples: list[Sample], settings: Settings, progress: Progress) -> Photos:
    decoding = progress.add_task("pictures", total=len(samples))
    kept = pictures_of(samples, KEPT_SIDE, settings.home / "cache", lambda n: progress.advance(decoding, n))
    taxonomy = taxonomy_of(samples)
    leaf = np.array([taxonomy.number(sample.category) for sample in samples], np.int64)
    kids = np.array([-1 if sample.kids is None else int(sample.kids) for sample in samples], np.int64)
    return Photos(kept.pixels, kept.ratios, leaf, kids)


def _views(photos: Picked, recipe: Recipe) -> Iterator[Pixels]:
    """VIEWS of each, as they might have been taken."""
    torch.manual_seed(recipe.seed)
    augmented = Augmented(photos, CANVASES, recipe.least_crop)
    for number, ratio in enumerate(photos.photos.ratios[photos.rows].tolist()):
        for _ in range(VIEWS):
            yield augmented[number, nearest_canvas(ratio, CANVASES)][0].permute(1, 2, 0).numpy()


def _fine_tuned(
    plan: Plan,
    architecture: str,
    members: list[Member],
    settings: Settings,
    samples: list[Sample],
    photos: Photos,
    progress: Progress,
) -> Member:
    taxonomy, recipe, work = taxonomy_of(samples), plan.recipes[architecture], plan.work / architecture
    held = held_out(samples)
    learned = np.array([sample.split == "train" for sample in samples]) & ~held
    start = _start(architecture, recipe, members, taxonomy).to(open_device(settings.device))
    steps = progress.add_task("training", total=None)
    log = _Log(work)

    def stepped(step: Step, total: int) -> None:
        said = f"{architecture}, epoch {step.epoch + 1}, loss {step.loss:.2f}, right {step.accuracy:.0%}"
        progress.update(steps, total=total, completed=step.number, description=said)

    def picked(rows: np.typing.NDArray[np.bool_]) -> Picked:
        return Picked(photos, np.nonzero(rows)[0])

    tuned = fine_tune(start, picked(learned), picked(held), taxonomy, recipe, work, stepped, log.add)
    return _member(architecture, tuned)


def _members(start: Pack | None, taxonomy: Taxonomy) -> list[Member]:
    """Of the pack to start from. Raises ValueError when it knows other categories, or its weights can't be read."""
    if start is None:
        return []
    if start.taxonomy.leaves != taxonomy.leaves:
        raise ValueError(f"{start.folder} knows other categories than these photos: training can't go on from it")
    return members_of(start)


def _start(architecture: str, recipe: Recipe, members: list[Member], taxonomy: Taxonomy) -> Classifier:
    classifier = Classifier(architecture, len(taxonomy.leaves), recipe.dropout, recipe.frozen_blocks, recipe.drop_path)
    for member in members:
        if member.architecture == architecture:
            take_over(classifier, member)
            return classifier
    classifier.trunk.load_state_dict(imagenet([architecture]).trunks[0].state_dict())
    return classifier


def take_over(classifier: Classifier, member: Member) -> None:
    """Its trunk and its word on the categories."""
    classifier.trunk.load_state_dict(member.weights)
    linear = member.linear
    with torch.no_grad():
        classifier.leaf.weight.copy_(torch.from_numpy(linear.leaf_weight.T))
        classifier.leaf.bias.copy_(torch.from_numpy(linear.leaf_bias))
        classifier.audience.weight.copy_(torch.from_numpy(linear.audience_weight[None]))
        classifier.audience.bias.copy_(torch.from_numpy(linear.audience_bias))


def _member(architecture: str, classifier: Classifier) -> Member:
    weights = classifier.cpu().trunk.state_dict()
    leaf, audience = classifier.leaf, classifier.audience
    linear = Linear(
        leaf_weight=leaf.weight.detach().numpy().T.copy(),
        leaf_bias=leaf.bias.detach().numpy(),
        audience_weight=audience.weight.detach().numpy()[0],
        audience_bias=audience.bias.detach().numpy(),
    )
    return Member(architecture, weights, linear)


def _counts(samples: list[Sample], strange: list[Sample]) -> dict[str, int]:
    held = held_out(samples)
    real = [sample for sample in samples if not sample.staged]
    return {
        "real, train": sum(sample.split == "train" for sample in real),
        "of these, not shown to the trunk": int(held.sum()),
        "real, val (measured only)": sum(sample.split == "val" for sample in real),
        "iconic": sum(sample.staged and isinstance(sample.photo, Path) for sample in samples),
        f"drawn, seed {DRAWN_SEED}": sum(isinstance(sample.photo, bytes) for sample in samples),
        "strangers, learned from": len(strange),
    }


def _runs(plan: Plan) -> tuple[dict[str, str], ...]:
    """Those of the pack that was started from, and these: one for each trunk that was trained on."""
    before = plan.start.manifest.runs if plan.start else ()
    return (*before, *(_run(architecture, recipe) for architecture, recipe in plan.recipes.items() if recipe.epochs))


def _run(architecture: str, recipe: Recipe) -> dict[str, str]:
    settings = {name.replace("_", " "): str(value) for name, value in asdict(recipe).items()}
    phases = ", ".join(f"{phase.epochs} at {phase.side} px" for phase in recipe.phases)
    return {"trunk": architecture, **settings, "phases": phases}


def _completed(
    folder: Path, manifest: Manifest, figures: Mapping[str, float], strangers_found: float, counts: Mapping[str, int]
) -> Manifest:
    """With figures and card written."""
    found = dict(figures) if isnan(strangers_found) else {**figures, LEARNED_STRANGERS: strangers_found}
    rounded = {name: round(value, 4) for name, value in found.items()}
    complete = manifest.model_copy(update={"measured": rounded})
    (folder / CARD).write_text(model_card(complete, counts))
    files = {name: sha256_of(folder / name) for name in (TRUNK, HEADS, CARD)}
    complete = complete.model_copy(update={"files": files})
    write_manifest(folder, complete)
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


def figures_table(manifest: Manifest) -> Rows:
    table = Rows("figure", "value", title=f"{manifest.pack_name} on photos that took no part in training")
    for name, value in manifest.measured.items():
        table.add_row(name.replace("_", " "), f"{value:.4g}")
    return table
