"""`vitrine train pack`: makes a model pack from labelled photos."""

import re
import time
from pathlib import Path

import click

from cli.plain import Group
from cli.tables import say, show
from learning.fine_tuning import Phase, Recipe
from learning.making import ARCHITECTURES, PHASES, Plan, figures_table, learn_unknown, make_pack, next_of, recipe_for
from shared.settings import Settings
from shared.text import plain
from shared.vision.pack import MODELS, NAME, open_pack
from shared.vision.trunk import IMAGENET

FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
STRANGERS_HELP = "Photos of nothing that the pack should know: they teach it what to call unknown."
_data = click.option("--data", required=True, type=FOLDER, help="Photos.")
_drawn = click.option("--drawn", default=32, show_default=True, help="Rendered photos of each rendered category.")


@click.group(cls=Group)
def train() -> None:
    """Train a model pack."""


@train.command()
@_data
@click.option("--to", default=MODELS / "builtin", type=click.Path(path_type=Path), help="The pack's folder.")
@click.option("--work", type=click.Path(path_type=Path), help="Checkpoint and curves; a run begun there goes on.")
@click.option("--version", type=click.IntRange(1), help="Of pack and embedding space; else one above that replaced.")
@click.option("--generation", type=click.IntRange(1), help="Results of a higher one supersede; else one above, too.")
@click.option("--strangers", "strange", type=FOLDER, help=STRANGERS_HELP)
@_drawn
@click.option(
    "--architecture",
    "architectures",
    multiple=True,
    default=ARCHITECTURES,
    show_default=True,
    type=click.Choice(sorted(IMAGENET)),
    help="A trunk to train, one after the other; the pack's trunks look at a photo side by side.",
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
    work: Path | None,
    version: int | None,
    generation: int | None,
    strange: Path | None,
    drawn: int,
    architectures: tuple[str, ...],
    start_name: str | None,
    phases: str,
    seed: int,
) -> None:
    """Fine-tune trunks, fit the heads, measure all on the val split, and write the pack."""
    started = time.monotonic()
    try:
        start = open_pack(start_name) if start_name else None
        recipes = {
            architecture: recipe_for(architecture, start, Recipe(_phases(phases), seed=seed + number))
            for number, architecture in enumerate(dict.fromkeys(architectures))
        }
        begun = f"{start.manifest.pack_name if start else 'ImageNet'}-{phases.replace(',', '-')}-seed{seed}"
        work = work or Settings().home / "training" / begun
        next_version, next_generation = next_of(to)
        version, generation = version or next_version, generation or next_generation
        manifest = make_pack(Plan(data, to, work, version, generation, drawn, strange, recipes, start))
    except ValueError as why:
        raise click.ClickException(plain(str(why))) from why
    show(figures_table(manifest))
    say(f"{to}: {manifest.pack_name}, trained in {time.monotonic() - started:.0f} s; curves are in {work}")


@train.command()
@click.argument("name", default="builtin")
@_data
@click.option("--strangers", "strange", required=True, type=FOLDER, help=STRANGERS_HELP)
@click.option("--to", required=True, type=click.Path(file_okay=False, path_type=Path), help="The new pack's folder.")
@_drawn
def unknown(name: str, data: Path, strange: Path, to: Path, drawn: int) -> None:
    """Learn anew what the pack NAME (or in a folder) calls unknown.

    Its categories and vectors stay as they are, so that vectors made before can be compared with those to come.
    """
    started = time.monotonic()
    try:
        start = open_pack(name)
        if to.resolve() == start.folder.resolve():
            raise click.UsageError(f"{to} is the pack that is read: name another folder with --to")
        if not re.fullmatch(NAME, to.resolve().name):
            raise click.UsageError(f"{to.resolve().name!r} can't be a pack's name: small letters, digits and hyphens")
        manifest = learn_unknown(start, data, strange, to, drawn)
    except ValueError as why:
        raise click.ClickException(plain(str(why))) from why
    show(figures_table(manifest))
    say(f"{to}: {manifest.pack_name}, made in {time.monotonic() - started:.0f} s")


def _phases(text: str) -> tuple[Phase, ...]:
    """Raises click.BadParameter."""
    try:
        pairs = [tuple(map(int, part.split("x"))) for part in text.split(",")]
        return tuple(Phase(side, epochs) for side, epochs in pairs)
    except (ValueError, TypeError) as why:
        raise click.BadParameter(f"{text!r} is not like {PHASES}", param_hint="--phases") from why
