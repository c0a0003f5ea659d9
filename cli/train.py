"""`vitrine train`: makes model packs from labelled photos."""

import re
import time
from pathlib import Path

import click

from cli.plain import Group
from cli.tables import number, say, show, text
from learning.card import CARD, NOTES, write_card
from learning.fine_tuning import Phase, Recipe
from learning.making import ARCHITECTURES, Commission, make_pack, next_of, recipe_for
from learning.meters import meters
from learning.regions import Recipe as RegionRecipe
from learning.regions import train_regions, write_regions
from shared.screen import Rows
from shared.settings import Settings
from shared.vision.pack import NAME, SHIPPED, Manifest, find_pack, open_pack, read_manifest, verify_files
from shared.vision.regions import SHIPPED as SHIPPED_REGIONS
from shared.vision.trunk import IMAGENET, STEP

FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
PHASES = "160x16,192x5,224x2"
_data = click.option("--data", required=True, type=FOLDER, help="Photos.")
_to = click.option(
    "--to", required=True, type=click.Path(file_okay=False, path_type=Path), help="The new pack's folder."
)
_replace_shipped = click.option(
    "--replace-shipped", is_flag=True, help="Write over the pack that Vitrine comes with, if --to is its folder."
)
_drawn = click.option(
    "--drawn", type=click.IntRange(0), default=32, show_default=True, help="Rendered photos of each rendered category."
)


@click.group(cls=Group)
def train() -> None:
    """Train a model pack."""


@train.command()
@_data
@_to
@_replace_shipped
@click.option("--work", type=click.Path(path_type=Path), help="Checkpoint and curves; a run begun there goes on.")
@click.option("--version", type=click.IntRange(1), help="Of pack and embedding space; else one above that replaced.")
@click.option("--generation", type=click.IntRange(1), help="Results of a higher one supersede; else one above, too.")
@_drawn
@click.option(
    "--architecture",
    "architectures",
    multiple=True,
    default=ARCHITECTURES,
    show_default=True,
    type=click.Choice(sorted(IMAGENET)),
    help="A trunk to train, one after the other; they look at a photo side by side, and beside a frozen generalist.",
)
@click.option(
    "--start",
    "start_name",
    help="A pack to go on from: its trunks of the architectures are trained on, those that it lacks start from "
    "ImageNet, and its others stay as they are.",
)
@click.option("--phases", default=PHASES, show_default=True, help="PIXELSxEPOCHS, one after the other.")
@click.option("--seed", default=1, show_default=True, help="The first trunk's; the next has one more.")
def pack(
    data: Path,
    to: Path,
    replace_shipped: bool,
    work: Path | None,
    version: int | None,
    generation: int | None,
    drawn: int,
    architectures: tuple[str, ...],
    start_name: str | None,
    phases: str,
    seed: int,
) -> None:
    """Fine-tune trunks, fit the heads, measure all on the val split, and write the pack."""
    started = time.monotonic()
    to = _folder_to_write(to, replace_shipped)
    start = open_pack(start_name) if start_name else None
    recipes = {
        architecture: recipe_for(architecture, start, Recipe(_phases(phases), seed=seed + number))
        for number, architecture in enumerate(dict.fromkeys(architectures))
    }
    begun = f"{start.manifest.pack_name if start else 'ImageNet'}-{phases.replace(',', '-')}-seed{seed}"
    work = work or Settings().home / "training" / begun
    next_version, next_generation = next_of(to)
    version, generation = version or next_version, generation or next_generation
    manifest = make_pack(Commission(data, to, work, version, generation, drawn, recipes, start))
    show(_figures(manifest))
    say(f"{to}: {manifest.pack_name}, trained in {time.monotonic() - started:.0f} s; curves are in {work}")


@train.command()
@click.argument("name")
def card(name: str) -> None:
    """Write the card of the pack NAME (or in a folder) anew, after its NOTES.md has changed."""
    folder = find_pack(name)
    manifest = read_manifest(folder)
    weights = {file: sha256 for file, sha256 in manifest.files.items() if file != CARD}
    verify_files(folder, manifest.model_copy(update={"files": weights}))
    write_card(folder, manifest)
    say(f"{folder / CARD}: {manifest.pack_name}, with what {NOTES} says")


@train.command()
@click.option("--data", required=True, type=FOLDER, help="Photos: catalogue/, clothing/, grocery/ and objects/ in it.")
@click.option("--to", required=True, type=click.Path(file_okay=False, path_type=Path), help="The network's folder.")
@_replace_shipped
@click.option("--steps", nargs=2, type=click.IntRange(1), default=(400, 1600), show_default=True, help="Of each round.")
@click.option("--seed", default=1, show_default=True)
def regions(data: Path, to: Path, replace_shipped: bool, steps: tuple[int, int], seed: int) -> None:
    """Teach a network where on photos the product is, from photos of one thing in several colours."""
    started = time.monotonic()
    to = to.resolve()
    if to == SHIPPED_REGIONS.resolve() and not replace_shipped:
        raise click.UsageError(f"{to} is what Vitrine comes with: name another folder, or say --replace-shipped")
    recipe = RegionRecipe(*steps, seed=seed)
    with meters() as progress:
        meter = progress.add("regions")
        learned = train_regions(data, recipe, lambda done, of, loss: meter.show(done, of, f"regions, loss {loss:.3f}"))
    spec = write_regions(to, learned, recipe)
    for name, value in spec.measured.items():
        say(f"{name.replace('_', ' ')}: {value:.3f}")
    say(f"{to}: trained in {time.monotonic() - started:.0f} s")


def _folder_to_write(to: Path, replace_shipped: bool) -> Path:
    """The folder's whole path. Raises click.UsageError where no pack may or can be written."""
    to = to.resolve()
    if to == SHIPPED.resolve() and not replace_shipped:
        raise click.UsageError(
            f"{to} is the pack that Vitrine comes with: name another folder with --to, or say --replace-shipped"
        )
    if not re.fullmatch(NAME, to.name):
        raise click.UsageError(f"{to.name!r} can't be a pack's name: small letters, digits and hyphens")
    return to


def _figures(manifest: Manifest) -> Rows:
    title = f"{manifest.pack_name} on photos that took no part in training"
    table = Rows(text("figure"), number("value"), title=title)
    for name, value in manifest.measured.items():
        table.add_row(name.replace("_", " "), f"{value:.4g}")
    return table


def _phases(text: str) -> tuple[Phase, ...]:
    """Raises click.BadParameter."""
    try:
        pairs = [tuple(map(int, part.split("x"))) for part in text.split(",")]
        phases = tuple(Phase(side, epochs) for side, epochs in pairs)
    except (ValueError, TypeError) as why:
        raise click.BadParameter(f"{text!r} is not like {PHASES}", param_hint="--phases") from why
    if any(phase.side < STEP or phase.epochs < 0 for phase in phases):
        raise click.BadParameter(
            f"{text!r}: pictures have {STEP} pixels or more, and epochs can't be negative", param_hint="--phases"
        )
    return phases
