"""`vitrine train`: makes a model pack from labelled photos, or teaches one anew what is unknown."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import isnan
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from learning.card import write_card
from learning.curves import Curves
from learning.ensemble import Member, classifier_to_train, joined, member_of, members_to_start_from
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
    fit_unknown,
    held_out,
    photos_under,
    pictures_of,
    strange_samples,
    taxonomy_of,
)
from shared.malloc import keep_freed_memory
from shared.photos import Pixels
from shared.settings import Settings
from shared.vision.heads import Array
from shared.vision.pack import HEADS, MANIFEST, TRUNK, Manifest, Pack, TrunkSpec, open_pack, read_manifest, sha256_of
from shared.vision.reader import runtime_of
from shared.vision.runtime import Runtime, open_device, open_runtime
from shared.vision.trunk import Network, canvases_of, load_network, nearest_canvas, save_network
from studio import training_photos

DRAWN_SEED = 5
KEPT_SIDE = 288  # of the pictures that are augmented: as many as the longest that is trained on
CANVASES = canvases_of(224)
FEWEST_STRANGERS = 50
LEARNED_STRANGERS = "learned_strangers_cross_fitted_unknown"
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
    strangers: Path | None
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


def make_pack(commission: Commission) -> Manifest:
    """Trains its trunks, fits its heads, measures it and writes it. Raises Unusable."""
    settings = Settings()
    keep_freed_memory()
    with meters() as progress:
        given = _given(commission.data, commission.drawn, progress)
        _demand_enough(commission.data, given.samples)
        to_learn = strangers_to_learn(commission.strangers)
        samples, to = given.samples, commission.to
        photos = _kept(samples, settings, progress)
        members = _trained(commission, settings, samples, photos, progress)
        network, linear = joined(members)
        architectures = tuple(member.architecture for member in members)
        spec = TrunkSpec(architectures=architectures, canvases=CANVASES, final=network.final, stages=network.stages)
        network, runtime = _as_it_will_serve(network, architectures, commission.work, settings)
        rows = progress.features_of(samples, runtime, spec, "features")
        strange = progress.features_of(to_learn, runtime, spec, "strangers")
        learned = np.flatnonzero([sample.split == "train" for sample in samples])
        views = _features_of_views(Picked(photos, learned), runtime, next(iter(commission.recipes.values())), progress)
        judged_by = progress.features_of(strange_samples(photos_of_packages()), runtime, spec, "judged by")

    fitted = fit_heads(samples, rows, views, spec.widths, linear, strange)
    write_weights(to, network, fitted.heads)
    manifest = manifest_of(to, fitted, spec, _runs(commission), commission.version, commission.generation)
    return _completed(to, manifest, given, to_learn, runtime, rows, judged_by, fitted.strangers_found)


def learn_unknown(start: Pack, data: Path, strange_folder: Path, to: Path, drawn: int) -> Manifest:
    """A pack like the one to start from but for what it calls unknown. Raises Unusable."""
    settings = Settings()
    spec = start.manifest.trunk
    with meters() as progress:
        given = _given(data, drawn, progress)
        _demand_same_photos(start, given.samples)
        _demand_enough(data, given.samples)
        to_learn = strangers_to_learn(strange_folder)
        runtime = runtime_of(start, settings)
        rows = progress.features_of(given.samples, runtime, spec, "features")
        strange = progress.features_of(to_learn, runtime, spec, "strangers")
        judged_by = progress.features_of(strange_samples(photos_of_packages()), runtime, spec, "judged by")

    fitted = fit_unknown(given.samples, rows, spec.widths, strange)
    before, (version, generation) = start.manifest, next_of(to)
    write_weights(to, load_network(spec.architectures, start.folder / TRUNK), fitted.put_into(start.heads))
    manifest = before.model_copy(
        update={
            "name": to.name,
            "version": max(version, before.version + 1),
            "generation": max(generation, before.generation + 1),
            "bars": before.bars.model_copy(update={"strange_beyond": round(fitted.beyond, 6)}),
            "files": {file: sha256_of(to / file) for file in (TRUNK, HEADS)},
        }
    )
    return _completed(to, manifest, given, to_learn, runtime, rows, judged_by, fitted.strangers_found)


def strangers_to_learn(folder: Path | None) -> list[Sample]:
    """The photos under the folder; none without one. Raises PhotosUnusable when they are too few."""
    if folder is None:
        return []
    strange = strange_samples(photos_under(folder))
    if len(strange) < FEWEST_STRANGERS:
        raise PhotosUnusable(
            f"{folder} has {len(strange)} photos of strangers: fewer than {FEWEST_STRANGERS} teach little"
        )
    return strange


def _given(data: Path, drawn: int, progress: Meters) -> _Given:
    """Those that teach a leaf."""
    real = read_samples(data)
    made = drawn_samples(progress.counted(training_photos(DRAWN_SEED, drawn), "drawing"))
    leaves = set(taxonomy_of([*real, *made]).leaves)
    return _Given([sample for sample in real if sample.category in leaves], made)


def _demand_enough(data: Path, samples: list[Sample]) -> None:
    """Raises PhotosUnusable, before hours of training, when there is nothing to fit temperatures or to measure on."""
    if not any(sample.split == "val" for sample in samples):
        raise PhotosUnusable(f"{data} has no photo of the val split, which a pack is measured on")
    if not held_out(samples).any():
        groups = "senders of garments, or eight groceries in a row"
        raise PhotosUnusable(f"{data} has too few photos: a category needs two groups ({groups}), one to be held out")


def _demand_same_photos(start: Pack, samples: list[Sample]) -> None:
    """Raises PhotosUnusable when a pack was not made of these: its voters are those photos in their order."""
    if taxonomy_of(samples).leaves != start.taxonomy.leaves:
        raise PhotosUnusable(f"{start.folder} knows other categories than these photos")
    leaves = [start.taxonomy.number(sample.category) for sample in samples if sample.split == "train"]
    if leaves != start.heads.voter_leaves.tolist():
        raise PhotosUnusable(f"{start.folder} was made of other photos: give those, and as many drawn ones (--drawn)")


def _kept(samples: list[Sample], settings: Settings, progress: Meters) -> Photos:
    decoding = progress.add("pictures", len(samples))
    kept = pictures_of(samples, KEPT_SIDE, settings.home / "cache", decoding.advance)
    taxonomy = taxonomy_of(samples)
    leaf = np.array([taxonomy.number(sample.category) for sample in samples], np.int64)
    kids = np.array([-1 if sample.kids is None else int(sample.kids) for sample in samples], np.int64)
    return Photos(kept.pixels, kept.ratios, leaf, kids)


def _trained(
    commission: Commission, settings: Settings, samples: list[Sample], photos: Photos, progress: Meters
) -> list[Member]:
    """Those that only stand beside first, then those that were trained."""
    members = members_to_start_from(commission.start, taxonomy_of(samples))
    beside = [member for member in members if member.architecture not in commission.recipes]
    tune = _tuning(members, settings, samples, photos, progress)
    return [*beside, *(tune(name, recipe, commission.work / name) for name, recipe in commission.recipes.items())]


def _tuning(
    members: list[Member], settings: Settings, samples: list[Sample], photos: Photos, progress: Meters
) -> Callable[[str, Recipe, Path], Member]:
    """What fine-tunes one architecture by a recipe, with checkpoint and curves in a folder."""
    taxonomy, held = taxonomy_of(samples), held_out(samples)
    learned = np.array([sample.split == "train" for sample in samples]) & ~held

    def picked(rows: NDArray[np.bool_]) -> Picked:
        return Picked(photos, np.nonzero(rows)[0])

    def tune(architecture: str, recipe: Recipe, work: Path) -> Member:
        meter = progress.add("training")

        def stepped(step: Stepped, total: int) -> None:
            said = f"{architecture}, epoch {step.epoch + 1}, loss {step.loss:.2f}, right {step.accuracy:.0%}"
            meter.show(step.number, total, said)

        start = classifier_to_train(architecture, recipe, members, taxonomy).to(open_device(settings.device))
        curves = Curves(work)
        tuned = fine_tune(start, picked(learned), picked(held), taxonomy, recipe, work, stepped, curves.add)
        return member_of(architecture, tuned)

    return tune


def _as_it_will_serve(
    network: Network, architectures: Sequence[str], work: Path, settings: Settings
) -> tuple[Network, Runtime]:
    """At the precision that is shipped, on the engine of this machine."""
    weights = work / TRUNK
    save_network(network, weights)
    network = load_network(architectures, weights)
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
    folder: Path,
    manifest: Manifest,
    given: _Given,
    to_learn: list[Sample],
    runtime: Runtime,
    rows: Array,
    judged_by: Array,
    strangers_found: float,
) -> Manifest:
    """The manifest with its figures, after the card is written.

    `rows` are the features of the samples, `judged_by` those of strangers.
    """
    write_manifest(folder, manifest)
    figures = measured(open_pack(str(folder)), runtime, given.real, rows[: len(given.real)], judged_by)
    if not isnan(strangers_found):
        figures |= {LEARNED_STRANGERS: strangers_found}
    rounded = {name: round(value, 4) for name, value in figures.items()}
    return write_card(
        folder, manifest.model_copy(update={"measured": rounded, "photos": _counts(given, len(to_learn))})
    )


def _counts(given: _Given, strangers: int) -> dict[str, int]:
    real = [sample for sample in given.real if not sample.staged]
    return {
        "real, train": sum(sample.split == "train" for sample in real),
        "of these, not shown to the trunk": int(held_out(given.samples).sum()),
        "real, val (measured only)": sum(sample.split == "val" for sample in real),
        "iconic": len(given.real) - len(real),
        f"drawn, seed {DRAWN_SEED}": len(given.drawn),
        "strangers, learned from": strangers,
    }
