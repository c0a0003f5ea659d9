"""`vitrine train`: makes a model pack from labelled photos."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from learning.by_source import source_figures
from learning.card import write_card
from learning.curves import Curves
from learning.evaluation import measured
from learning.fine_tuning import Augmented, Photos, Picked, Recipe, Stepped, fine_tune
from learning.meters import Meters, meters
from learning.packing import manifest_of, write_manifest, write_weights
from learning.sources import PhotosUnusable, Sample, read_samples
from learning.strangers import photos_of_packages
from learning.training import (
    drawn_samples,
    features_of_pictures,
    fit_heads,
    held_out,
    pictures_of,
    strange_samples,
    taught_taxonomy,
)
from learning.trunks import Member, classifier_to_train, generalist, joined, member_of, members_of
from shared.malloc import keep_freed_memory
from shared.photos import Pixels
from shared.settings import Settings
from shared.vision.heads import Array
from shared.vision.pack import MANIFEST, TRUNK, Manifest, Pack, TrunkSpec, open_pack, read_manifest, sha256_of
from shared.vision.runtime import Runtime, open_device, open_runtime
from shared.vision.taxonomy import Taxonomy
from shared.vision.trunk import Network, canvases_of, load_network, nearest_canvas, save_network
from studio import training_photos
from studio.templates import TRAINING

DRAWN_SEED = 5
DRAWN_WARES = tuple(sorted({ware.kind for ware in TRAINING.wares}))  # kinds of solid things
KEPT_SIDE = 288  # of the pictures that are augmented: as many as the longest that is trained on
CANVASES = canvases_of(224)
VIEWS = 2  # of each photo, beside itself, that the embedding learns from
ARCHITECTURES = ("tf_efficientnet_lite2", "tf_efficientnet_lite0")


@dataclass(frozen=True, slots=True)
class Commission:
    """What pack to make of which photos, and where."""

    data: Path
    to: Path  # its name is the pack's
    work: Path
    version: int
    generation: int
    drawn: int
    recipes: Mapping[str, Recipe]  # of each architecture that is trained
    start: Pack | None  # its trunks of these architectures are trained on, and its others stay beside


@dataclass(frozen=True, slots=True)
class _Given:
    """The photos of what a pack should know: labelled ones and drawn ones."""

    real: list[Sample]
    drawn: list[Sample]

    @property
    def samples(self) -> list[Sample]:
        return [*self.real, *self.drawn]


def recipe_for(architecture: str, start: Pack | None, recipe: Recipe) -> Recipe:
    """At half the rates where the pack's own trunk goes on."""
    # The last is the generalist: it never was trained here, and never is.
    if start is None or architecture not in start.manifest.trunk.architectures[:-1]:
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


def make_pack(commission: Commission) -> Manifest:
    """Trains its trunks, fits its heads, measures it and writes it. Raises Unusable."""
    settings = Settings()
    keep_freed_memory()
    with meters() as progress:
        given = _given(commission.data, commission.drawn, progress)
        _demand_enough(commission.data, given.samples)
        samples, to = given.samples, commission.to
        taxonomy = taught_taxonomy(samples)
        photos = _kept(samples, taxonomy, settings, progress)
        network, audience = joined(_trained(commission, settings, samples, photos, taxonomy, progress))
        spec = TrunkSpec(
            architectures=network.architectures,
            canvases=CANVASES,
            finals=network.finals,
            stages=network.stages,
        )
        network, runtime = _as_it_will_serve(network, commission.work, settings)
        rows = progress.features_of(samples, runtime, spec, "features")
        learned = np.flatnonzero([sample.split == "train" for sample in samples])
        views = _features_of_views(Picked(photos, learned), runtime, next(iter(commission.recipes.values())), progress)
        judged_by = progress.features_of(strange_samples(photos_of_packages()), runtime, spec, "judged by")

    fitted = fit_heads(samples, rows, views, spec.widths, audience, generalist())
    write_weights(to, network, fitted.heads)
    manifest = manifest_of(to, fitted, spec, _runs(commission), commission.version, commission.generation)
    return _completed(to, manifest, given, runtime, rows, judged_by)


def _given(data: Path, drawn: int, progress: Meters) -> _Given:
    return _Given(
        read_samples(data), drawn_samples(progress.counted(training_photos(DRAWN_SEED, drawn, DRAWN_WARES), "drawing"))
    )


def _demand_enough(data: Path, samples: list[Sample]) -> None:
    """Raises PhotosUnusable, before hours of training, when there is nothing to fit temperatures or to measure on."""
    if not any(sample.split == "val" for sample in samples):
        raise PhotosUnusable(f"{data} has no photo of the val split, which a pack is measured on")
    if not held_out(samples).any():
        groups = "senders of garments, or eight groceries in a row"
        raise PhotosUnusable(f"{data} has too few photos: a category needs two groups ({groups}), one to be held out")


def _kept(samples: list[Sample], taxonomy: Taxonomy, settings: Settings, progress: Meters) -> Photos:
    """Leaves as the taxonomy numbers them; -1 where a photo teaches none."""
    decoding = progress.add("pictures", len(samples))
    kept = pictures_of(samples, KEPT_SIDE, settings.home / "cache", decoding.advance)
    numbers = {leaf: number for number, leaf in enumerate(taxonomy.leaves)}
    leaf = np.array([numbers.get(sample.category, -1) for sample in samples], np.int64)
    kids = np.array([-1 if sample.kids is None else int(sample.kids) for sample in samples], np.int64)
    return Photos(kept.pixels, kept.ratios, leaf, kids)


def _trained(
    commission: Commission,
    settings: Settings,
    samples: list[Sample],
    photos: Photos,
    taxonomy: Taxonomy,
    progress: Meters,
) -> list[Member]:
    """Those that only stand beside first, then those that were trained."""
    members = members_of(commission.start)
    beside = [member for member in members if member.architecture not in commission.recipes]
    tune = _tuning(members, settings, samples, photos, taxonomy, progress)
    return [*beside, *(tune(name, recipe, commission.work / name) for name, recipe in commission.recipes.items())]


def _tuning(
    members: list[Member],
    settings: Settings,
    samples: list[Sample],
    photos: Photos,
    taxonomy: Taxonomy,
    progress: Meters,
) -> Callable[[str, Recipe, Path], Member]:
    """What fine-tunes one architecture by a recipe, with checkpoint and curves in a folder."""
    held, teaches = held_out(samples), photos.leaf >= 0
    learned = np.array([sample.split == "train" for sample in samples]) & ~held

    def picked(rows: NDArray[np.bool_]) -> Picked:
        return Picked(photos, np.nonzero(rows & teaches)[0])

    def tune(architecture: str, recipe: Recipe, work: Path) -> Member:
        meter = progress.add("training")

        def stepped(step: Stepped, total: int) -> None:
            said = f"{architecture}, epoch {step.epoch + 1}, loss {step.loss:.2f}, right {step.accuracy:.0%}"
            meter.show(step.number, total, said)

        start = classifier_to_train(architecture, recipe, members, len(taxonomy.leaves))
        curves = Curves(work)
        device = open_device(settings.device)
        tuned = fine_tune(start.to(device), picked(learned), picked(held), taxonomy, recipe, work, stepped, curves.add)
        return member_of(architecture, tuned)

    return tune


def _as_it_will_serve(network: Network, work: Path, settings: Settings) -> tuple[Network, Runtime]:
    """At the precision that is shipped, on the engine of this machine."""
    weights = work / TRUNK
    save_network(network, weights)
    network = load_network(network.architectures, weights)
    device = open_device(settings.device)
    runtime = open_runtime(network, CANVASES, sha256_of(weights), device, settings.threads, settings.home / "cache")
    return network, runtime


def _features_of_views(photos: Picked, runtime: Runtime, recipe: Recipe, progress: Meters) -> Array:
    """Photos x VIEWS x features."""
    meter = progress.add("views", VIEWS * len(photos))
    return features_of_pictures(_views(photos, recipe), runtime, meter.advance).reshape(len(photos), VIEWS, -1)


def _views(photos: Picked, recipe: Recipe) -> Iterator[Pixels]:
    """VIEWS of each, as they might have been taken."""
    torch.manual_seed(recipe.seed)
    augmented = Augmented(photos, CANVASES, recipe.least_crop)
    for number, ratio in enumerate(photos.photos.ratios[photos.rows].tolist()):
        for _ in range(VIEWS):
            yield augmented[number, nearest_canvas(ratio, CANVASES)][0].permute(1, 2, 0).numpy()


def _runs(commission: Commission) -> tuple[dict[str, str], ...]:
    """Those of the pack that was started from, and these: one for each trunk that was trained on."""
    before = commission.start.manifest.runs if commission.start else ()
    trained = ((name, recipe) for name, recipe in commission.recipes.items() if recipe.epochs)
    return (*before, *(_run(name, recipe) for name, recipe in trained))


def _run(architecture: str, recipe: Recipe) -> dict[str, str]:
    settings = {name.replace("_", " "): str(value) for name, value in asdict(recipe).items()}
    phases = ", ".join(f"{phase.epochs} at {phase.side} px" for phase in recipe.phases)
    return {"trunk": architecture, **settings, "phases": phases}


def _completed(
    folder: Path, manifest: Manifest, given: _Given, runtime: Runtime, rows: Array, judged_by: Array
) -> Manifest:
    """The manifest with its figures, after the card is written.

    `rows` are the features of the samples, `judged_by` those of strangers.
    """
    write_manifest(folder, manifest)
    pack, features = open_pack(str(folder)), rows[: len(given.real)]
    figures = measured(pack, runtime, given.real, features, judged_by) | source_figures(pack, given.real, features)
    rounded = {name: round(value, 4) for name, value in figures.items()}
    return write_card(folder, manifest.model_copy(update={"measured": rounded, "photos": _counts(given)}))


def _counts(given: _Given) -> dict[str, int]:
    real = [sample for sample in given.real if not sample.staged]
    train = Counter(sample.source for sample in real if sample.split == "train")
    val = Counter(sample.source for sample in real if sample.split == "val")
    return {
        **{f"{source}, train": count for source, count in train.items()},
        "of these, not shown to the trunks": int(held_out(given.samples).sum()),
        **{f"{source}, val (measured only)": count for source, count in val.items()},
        "iconic": len(given.real) - len(real),
        f"drawn, seed {DRAWN_SEED}": len(given.drawn),
    }
