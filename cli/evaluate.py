"""`vitrine evaluate`: how well a pack, colours and the reading of claims do on what none of them learned from."""

import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from math import isnan
from pathlib import Path

import click

from cli.plain import Group
from cli.tables import number, say, show, text
from learning.baselines import baselines
from learning.by_source import SourceFigures, answers_of, by_source, curve, mean_of
from learning.claims_evaluation import (
    OUTCOMES,
    Pair,
    accused,
    accused_by,
    drawn_claims,
    false_pairs,
    honest_pairs,
    outcome,
    seen_ids,
    shares,
    written_pairs,
)
from learning.evaluation import answers, measured, of_first_sources
from learning.evaluation_files import write_files
from learning.holding_out import CLASS_FOLDS, without_each_class, without_each_source
from learning.listing_evaluation import (
    BY_CLAIMS,
    BY_PHOTO,
    HOW_RIGHT,
    JOINED,
    SURELY_WRONG,
    listing_answers,
    outcome_shares,
    right_by_origin,
)
from learning.meters import Meters, meters
from learning.scenes import read_catalogue
from learning.sources import FIRST_SOURCES, PhotosUnusable, Sample, judged_numbers, read_samples, sources_of
from learning.strangers import photos_of_packages
from learning.training import photos_under, refit, strange_samples
from local.analyst import Analyst
from local.colours import Told, colour_called, milliseconds, told
from shared.screen import Rows
from shared.settings import Settings
from shared.vision.heads import Array
from shared.vision.pack import Pack, open_pack
from shared.vision.reader import open_reader, runtime_of
from shared.vision.regions import open_regions
from shared.vision.runtime import Runtime

COMPARED = ("embedding_map_garments", "embedding_map_groceries", "embedding_same_class_nearest", "copies_mean")

Figures = Mapping[str, float]
FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@click.group(cls=Group)
def evaluate() -> None:
    """Measure a model pack, the understanding of claims, or both together."""


@evaluate.command()
@click.argument("name", default="builtin")
@click.option(
    "--data",
    required=True,
    multiple=True,
    type=FOLDER,
    help="Photos, laid out as for `vitrine train pack`, or one source of them; several times for more.",
)
@click.option("--strangers", "more", type=FOLDER, help="More photos of nothing that the pack knows.")
@click.option("--to", type=click.Path(file_okay=False, path_type=Path), help="Also write figures and mistakes there.")
@click.option("--baselines", "compared", is_flag=True, help="Also measure embeddings that the pack has to beat.")
@click.option("--curve", "curved", is_flag=True, help="Also say what other costs of a wrong name would give.")
@click.option(
    "--hold-out",
    "held_out",
    type=click.Choice(["source", "class"]),
    help="Also fit the heads without each source, or each class, and judge them by it.",
)
def pack(
    name: str,
    data: tuple[Path, ...],
    more: Path | None,
    to: Path | None,
    compared: bool,
    curved: bool,
    held_out: str | None,
) -> None:
    """Measure the pack NAME (or in a folder) on the val split of labelled photos, and source by source."""
    settings = Settings()
    opened = open_pack(name)
    samples = _judgeable(data)
    runtime = runtime_of(opened, settings)
    with meters() as progress:
        features = progress.features_of(samples, runtime, opened.manifest.trunk, "features")
        figures = _measured(opened, runtime, samples, features, strange(more), progress)
        others = _baselines(opened, samples, settings, progress) if compared else {}
        held = _held_out(held_out, opened, samples, features, progress) if held_out else None
    given = answers(opened, samples, features)
    rows = by_source(answers_of(given.samples, given.judged), opened.taxonomy_id)
    show(_table(opened, figures, len(judged_numbers(_of_first(samples)))))
    if others:
        show(_comparison(opened, figures, others))
    show(_by_source(f"{opened.manifest.pack_name} on photos of the val split, by source", rows))
    if curved:
        show(_curve(opened, samples, features))
    if held is not None:
        show(_by_source(f"without each {held_out}, of the same photos", held))
    if to is not None:
        write_files(to, opened.manifest.pack_name, given, figures, others, rows)
        say(f"{to}: figures, categories, confusion and the worst mistakes")


@evaluate.command()
@click.option(
    "--data", required=True, type=FOLDER, help="A folder with catalogue/labels.csv: image, label, color, group."
)
@click.option("--all", "everything", is_flag=True, help="Products that regions were learned from, too.")
def colour(data: Path, everything: bool) -> None:
    """How often the colour named first is the one that a shop names, by kind of product."""
    named = [(photo, colour_called(photo.colour)) for photo in read_catalogue(data) if everything or photo.is_held]
    photos = [(photo.path, photo.kind, wanted) for photo, wanted in named if wanted]
    if not photos:
        raise PhotosUnusable(f"{data} has no photo to judge by whose colour has a known name")
    settings = Settings()
    reader, regions = open_reader(settings), open_regions(settings)
    with ThreadPoolExecutor(settings.threads or os.cpu_count() or 1) as pool, meters() as progress:
        answers = list(progress.counted(told(photos, Analyst(reader, regions, pool, embedding=False)), "photos"))
    show(_by_kind(answers, reader.pack_name))
    show(_confusions(answers))
    say(f"{milliseconds([path for path, _, _ in photos[:100]], regions):.1f} ms a photo, for regions and colours")


def _by_kind(answers: Sequence[Told], pack_name: str) -> Rows:
    kinds = defaultdict[str, list[bool]](list)
    for one in answers:
        kinds[one.kind].append(one.is_right)
    table = Rows(text("kind"), number("photos"), number("right"), title=f"colours, by the categories of {pack_name}")
    for kind, right in sorted(kinds.items()):
        table.add_row(kind, str(len(right)), f"{sum(right) / len(right):.3f}")
    table.add_row("all", str(len(answers)), f"{sum(one.is_right for one in answers) / len(answers):.3f}")
    return table


def _confusions(answers: Sequence[Told]) -> Rows:
    table = Rows(text("the shop's"), text("named"), number("photos"))
    wrong = Counter((one.wanted, one.named) for one in answers if not one.is_right)
    for (wanted, given), count in wrong.most_common(12):
        table.add_row(wanted, given or "none", str(count))
    return table


@evaluate.command()
@click.argument("name", default="builtin")
@click.option("--each", default=60, type=click.IntRange(min=1), help="Categories drawn for each language.")
@click.option("--seed", default=0, help="Of what is drawn.")
def claims(name: str, each: int, seed: int) -> None:
    """Measure how claims are understood, and whom they accuse on photos of what the pack NAME can see.

    Claims are the product taxonomy's names with what sellers do to them, in every language, and some that people wrote.
    """
    seen = seen_ids(open_pack(name))
    understood = [(claim, outcome(claim)) for claim in drawn_claims(each, seed)]
    by_language = shares(((claim.language, how) for claim, how in understood), OUTCOMES)
    show(_shares(f"{len(understood)} claims drawn from names, by language", "language", by_language, OUTCOMES))
    by_way = shares(((claim.way, how) for claim, how in understood), OUTCOMES)
    show(_shares("the same, by what sellers do to names", "way", by_way, OUTCOMES))
    honest, false = accused(honest_pairs(seen, 1, seed)), accused(false_pairs(seen, 1, seed))
    written = accused(written_pairs(seen))
    title = (
        f"accused, of {len(honest)} honest claims drawn, {len(written)} written by people, and {len(false)} false ones"
    )
    columns = {"honest": honest, "honest, written": written, "false": false}
    show(_columns(title, "language", {name: accused_by(some, _language) for name, some in columns.items()}))
    show(_columns("honest ones accused, by what is claimed", "claimed", {"share": accused_by(honest, _way)}))
    show(_columns("false ones accused, by what sellers do to names", "way", {"share": accused_by(false, _way)}))


@evaluate.command()
@click.argument("name", default="builtin")
@click.option(
    "--data", required=True, type=FOLDER, help="A folder with catalogue/labels.csv: image, label, color, group, name."
)
def listing(name: str, data: Path) -> None:
    """Measure what names as titles add to photos: the category by the pack NAME, by the title, and by both.

    `right` is the kind that the shop names or something below it, `above` a node above it, `beside` another of the same
    department.
    """
    photos = read_catalogue(data)
    opened = open_pack(name)
    runtime = runtime_of(opened, Settings())
    samples = [Sample(photo.path, (photo.kind,), "val", photo.product, staged=True) for photo in photos]
    with meters() as progress:
        features = progress.features_of(samples, runtime, opened.manifest.trunk, "features")
    given = list(listing_answers(opened, photos, features))
    rows = {by: outcome_shares(given, by) for by in (BY_PHOTO, BY_CLAIMS, JOINED)}
    title = f"categories of {len(photos)} listings, by {opened.manifest.pack_name}"
    show(_shares(title, "by", rows, (*HOW_RIGHT, SURELY_WRONG)))
    table = Rows(text("the joined one comes from"), number("listings"), number("right"))
    for origin, (count, right) in right_by_origin(given).items():
        table.add_row(origin, str(count), f"{right / count:.3f}")
    show(table)


def _language(pair: Pair) -> str:
    return pair.claim.language


def _way(pair: Pair) -> str:
    return pair.claim.way


def _shares(title: str, first: str, rows: Mapping[str, Figures], columns: Sequence[str]) -> Rows:
    return _columns(title, first, {column: {row: rows[row][column] for row in rows} for column in columns})


def _columns(title: str, first: str, columns: Mapping[str, Figures]) -> Rows:
    """Of shares: a column for each, a row for each name that any of them has."""
    table = Rows(text(first), *map(number, columns), title=title)
    for row in dict.fromkeys(row for column in columns.values() for row in column):
        table.add_row(row, *(f"{column[row]:.3f}" if row in column else "" for column in columns.values()))
    return table


SHARES = ("right", "near", "unknown", "wrong", "surely wrong", "hierarchical F1")


def _by_source(title: str, rows: Sequence[SourceFigures]) -> Rows:
    table = Rows(text("source"), number("photos"), *map(number, SHARES), title=title)
    for row in (*rows, mean_of(rows)):
        table.add_row(row.source, str(row.photos), *_shares_of(row))
    return table


def _curve(opened: Pack, samples: Sequence[Sample], features: Array) -> Rows:
    title = f"{opened.manifest.pack_name}, by what a wrong name costs where a right one gains 1: the sources' mean"
    table = Rows(number("cost"), *map(number, SHARES), title=title)
    val = judged_numbers(samples)
    for cost, row in curve(opened, [samples[i] for i in val], features[val]):
        table.add_row(f"{cost:g}", *_shares_of(row))
    return table


def _shares_of(row: SourceFigures) -> Iterator[str]:
    """In the order of SHARES."""
    shares = row.right, row.near, row.unknown, row.wrong, row.surely_wrong, row.f1
    return ("" if isnan(share) else f"{share:.3f}" for share in shares)


def _held_out(
    which: str, opened: Pack, samples: Sequence[Sample], features: Array, progress: Meters
) -> list[SourceFigures]:
    """By source, of heads without each source or class."""
    ask, fits = {
        "source": (without_each_source, len(sources_of(samples))),
        "class": (without_each_class, CLASS_FOLDS),
    }[which]
    fitting = progress.add(f"without each {which}", fits)
    return by_source(ask(opened, samples, features, refit, fitting.advance), opened.taxonomy_id)


def _judgeable(folders: Sequence[Path]) -> list[Sample]:
    samples = [sample for folder in folders for sample in read_samples(folder)]
    if not len(judged_numbers(samples)):
        raise PhotosUnusable(f"{', '.join(map(str, folders))}: no photo is of the val split")
    return samples


def _of_first(samples: Sequence[Sample]) -> list[Sample]:
    return [samples[i] for i in of_first_sources(samples)]


def strange(more: Path | None) -> list[Sample]:
    """What the pack should not know: photographs of installed packages, and those of a folder."""
    return strange_samples([*photos_of_packages(), *(photos_under(more) if more else [])])


def _measured(
    opened: Pack, runtime: Runtime, samples: list[Sample], features: Array, strange: list[Sample], progress: Meters
) -> Figures:
    strange_features = progress.features_of(strange, runtime, opened.manifest.trunk, "strangers")
    copying = progress.add("copies", len(judged_numbers(_of_first(samples)))).advance
    return measured(opened, runtime, samples, features, strange_features, copying)


def _baselines(opened: Pack, samples: list[Sample], settings: Settings, progress: Meters) -> Mapping[str, Figures]:
    spec = opened.manifest.trunk
    samples = _of_first(samples)
    if not samples:
        raise PhotosUnusable(f"baselines are measured on {' and '.join(FIRST_SOURCES)}, of which there is no photo")
    theirs = {}
    for name, opening in baselines(spec.architectures, spec.canvases, settings).items():
        seen, copied = progress.add(name, len(samples)), progress.add(f"{name}, copies", len(judged_numbers(samples)))
        theirs[name] = opening().figures(samples, spec.canvases, seen.advance, copied.advance)
    return theirs


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
