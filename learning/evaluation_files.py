"""What `vitrine evaluate pack --to FOLDER` leaves behind for whoever wants to know where a pack errs."""

import csv
import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, ImageOps

from learning.by_source import SourceFigures
from learning.evaluation import NO_PRODUCT, Answers, confusion, mistakes, per_class, said, spelled
from learning.sources import Sample
from shared.vision.decode import decode
from shared.vision.taxonomy import Judgement
from shared.vision.taxonomy import Path as CategoryPath

FIGURES = "figures.json"
PER_CLASS = "per-class.csv"
CONFUSION = "confusion.png"
MISTAKES = "mistakes.jpg"

MISTAKES_SHOWN = 48
COLUMNS = 8
THUMB = 192
LINE = 15
INCHES_PER_CLASS = 0.19


def write_files(
    folder: Path,
    pack_name: str,
    given: Answers,
    figures: Mapping[str, float],
    baselines: Mapping[str, Mapping[str, float]],
    sources: Sequence[SourceFigures],
) -> None:
    """All of them. Without mistakes there is no sheet of mistakes."""
    folder.mkdir(parents=True, exist_ok=True)
    _write_figures(folder / FIGURES, pack_name, given, figures, baselines, sources)
    _write_per_class(folder / PER_CLASS, given)
    _draw_confusion(folder / CONFUSION, given)
    (folder / MISTAKES).unlink(missing_ok=True)
    if wrong := mistakes(given)[:MISTAKES_SHOWN]:
        contact_sheet(wrong).save(folder / MISTAKES, quality=88)


def contact_sheet(wrong: Sequence[tuple[Sample, Judgement]]) -> Image.Image:
    """Rows of thumbs, each above what it shows and what was said of it."""
    width, height = THUMB, THUMB + 2 * LINE + 4
    columns = min(COLUMNS, len(wrong))
    sheet = Image.new("RGB", (columns * width, -(-len(wrong) // columns) * height), "white")
    for number, (sample, judgement) in enumerate(wrong):
        sheet.paste(_thumb(sample, judgement, (width, height)), (number % columns * width, number // columns * height))
    return sheet


def _write_figures(
    path: Path,
    pack_name: str,
    given: Answers,
    figures: Mapping[str, float],
    baselines: Mapping[str, Mapping[str, float]],
    sources: Sequence[SourceFigures],
) -> None:
    content = {
        "pack": pack_name,
        "val_photos": len(given.samples),
        "figures": _rounded(figures),
        "baselines": {name: _rounded(theirs) for name, theirs in baselines.items()},
        "sources": {row.source: _rounded(row.shares) for row in sources},
    }
    path.write_text(json.dumps(content, indent=1) + "\n")


def _write_per_class(path: Path, given: Answers) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["category", "photos", "right", "precision", "recall", "most frequent wrong answer"])
        for row in per_class(given):
            shares = ("" if share is None else f"{share:.4f}" for share in (row.precision, row.recall))
            writer.writerow([spelled(row.path), row.photos, row.right, *shares, row.wrong_answer])


def _draw_confusion(path: Path, given: Answers) -> None:
    """A cell's shade is its share of the row's photos, its number how many they are."""
    from matplotlib.figure import Figure  # takes a second to load

    paths, counts = confusion(given)
    names = [_short(category) for category in paths]
    inches = 3.0 + INCHES_PER_CLASS * len(paths)
    figure = Figure(figsize=(inches, inches), layout="constrained")
    axes = figure.subplots()
    axes.imshow(counts / counts.sum(axis=1, keepdims=True).clip(1), cmap="Blues", vmin=0, vmax=1)
    for row, column in zip(*counts.nonzero(), strict=True):
        shade = counts[row, column] / counts[row].sum()
        ink = "white" if shade > 0.5 else "black"
        axes.text(column, row, str(counts[row, column]), ha="center", va="center", fontsize=6, color=ink)
    for edge in _first_of_domains(paths):
        axes.axhline(edge - 0.5, color="grey", linewidth=0.6)
        axes.axvline(edge - 0.5, color="grey", linewidth=0.6)
    axes.set_xticks(range(len(paths) + 1), [*names, "no leaf"], rotation=90, fontsize=7)
    axes.set_yticks(range(len(paths)), names, fontsize=7)
    axes.set(xlabel="answer", ylabel="truth", title="Val photos")
    figure.savefig(path, dpi=110)


def _first_of_domains(paths: Sequence[CategoryPath]) -> list[int]:
    """Where one ends and the next begins, and where they all end."""
    return [i for i in range(1, len(paths)) if paths[i][:1] != paths[i - 1][:1]] + [len(paths)]


def _thumb(sample: Sample, judgement: Judgement, size: tuple[int, int]) -> Image.Image:
    tile = Image.new("RGB", size, "white")
    photo = ImageOps.contain(Image.fromarray(decode(sample.body(), THUMB)), (THUMB - 4, THUMB - 4))
    tile.paste(photo, ((THUMB - photo.width) // 2, (THUMB - photo.height) // 2))
    draw = ImageDraw.Draw(tile)
    answer = judgement.path[-1] if judgement.complete else said(judgement)
    draw.text((3, THUMB), _fitted(draw, _short(sample.category), ""), fill="black", font=_font())
    draw.text((3, THUMB + LINE), _fitted(draw, f"-> {answer}", f" {judgement.confidence:.2f}"), "firebrick", _font())
    return tile


def _short(category: CategoryPath) -> str:
    return category[-1] if category else NO_PRODUCT


def _fitted(draw: ImageDraw.ImageDraw, text: str, ending: str) -> str:
    """Shortened until it and its ending fit below a thumb."""
    while draw.textlength(text + ending, _font()) > THUMB - 6:
        text = text.removesuffix("…")[:-1] + "…"
    return text + ending


def _rounded(figures: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in figures.items()}


@cache
def _font() -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    return ImageFont.load_default(12)
