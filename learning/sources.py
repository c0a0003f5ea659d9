"""Labelled photos, by the source that they are from: a folder of its own for each.

clothing/ and grocery/ are laid out as their publishers did. Any other folder with a labels.csv is a source too: that of
a shop, say, with a line for each photo.
"""

import csv
import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import takewhile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from learning.vocabulary import categories_of, label_path, tree
from shared.errors import Unusable
from shared.product_taxonomy import ids_down_to, product_taxonomy
from shared.vision.taxonomy import Path as CategoryPath

CLOTHING, GROCERY = "clothing", "grocery"
# Their splits were made before there were others, and figures of earlier packs are about them.
FIRST_SOURCES = (CLOTHING, GROCERY)
LABELS = "labels.csv"
NO_PRODUCT = "-"
SPLITS = ("train", "val")
VAL = 5  # where a source has no split, one group in so many is of the val split


class PhotosUnusable(Unusable):
    """The folder to train on lacks something. One line that says what."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A labelled photo: a file, or bytes that were drawn."""

    photo: Path | bytes
    category: CategoryPath  # a leaf, or a node above some where the label says no more; empty for no product
    split: str  # "train" or "val"
    # Photos of one group resemble each other more than a stranger's would: folds never divide it.
    group: str
    kids: bool | None = None
    # Drawn, or from a catalogue: worth learning from, but nothing to be judged by.
    staged: bool = False
    source: str = ""  # the folder's name; none of what was drawn

    def body(self) -> bytes:
        return self.photo if isinstance(self.photo, bytes) else self.photo.read_bytes()


def read_samples(folder: Path) -> list[Sample]:
    """The photos of all sources below the folder, or of the one that it is, train and val. Raises PhotosUnusable.

    clothing/ comes first, then grocery/, then any other folder with a labels.csv: image (a file beside it or in
    images/), label, and perhaps group (photos of one product, say) and split. A label is one that learning/labels.tsv
    lists for the folder's name, a node of the tree ("garments/shoes"), an id of the product taxonomy, or "-" for no
    product.
    """
    sources = _sources(folder)
    if not sources:
        looked_for = f"{CLOTHING}/{LABELS}, {GROCERY}/classes.csv, nor any other folder with a {LABELS}"
        raise PhotosUnusable(f"{folder} is not laid out as the training photos are: there is neither {looked_for}")
    return [sample for source in sources for sample in _samples(source)]


def sources_of(samples: Iterable[Sample]) -> list[str]:
    """Each once, in the order in which they come."""
    return list(dict.fromkeys(sample.source for sample in samples))


def judged_numbers(samples: Sequence[Sample]) -> NDArray[np.intp]:
    """The numbers of the samples that a pack is judged by."""
    return np.array([i for i, sample in enumerate(samples) if sample.split == "val" and not sample.staged], np.intp)


def leaves_of(categories: Iterable[CategoryPath]) -> tuple[CategoryPath, ...]:
    """Each once, by name, without those above another one and without no product."""
    named = set(categories) - {()}
    above = {path[:depth] for path in named for depth in range(len(path))}
    return tuple(sorted(named - above))


def _sources(folder: Path) -> list[Path]:
    """The first sources first."""
    if _is_source(folder):
        return [folder]
    try:
        found = [path for path in folder.iterdir() if _is_source(path)]
    except OSError as why:
        raise PhotosUnusable(f"{folder} is not laid out as the training photos are: {why}") from why
    return sorted(found, key=lambda path: (path.name not in FIRST_SOURCES, path.name))


def _is_source(folder: Path) -> bool:
    return (folder / LABELS).is_file() or (folder.name == GROCERY and (folder / "classes.csv").is_file())


def _samples(folder: Path) -> list[Sample]:
    read = {CLOTHING: _garments, GROCERY: _groceries}.get(folder.name, _labelled)
    try:
        return list(read(folder))
    except (OSError, KeyError, ValueError) as why:
        raise PhotosUnusable(f"{folder} is not laid out as the training photos are: {why}") from why


def _garments(folder: Path) -> Iterator[Sample]:
    for row in _rows(folder / LABELS):
        yield Sample(
            folder / row["split"] / row["label"] / f"{row['image']}.jpg",
            category_of(CLOTHING, row["label"]),
            row["split"],
            group=f"sender {row['sender_id']}",
            kids=row["kids"] == "True",
            source=CLOTHING,
        )


def _groceries(folder: Path) -> Iterator[Sample]:
    classes = {row["Class ID (int)"]: row for row in _rows(folder / "classes.csv")}
    iconic: dict[CategoryPath, Path] = {}
    category: CategoryPath
    for split in SPLITS:
        for line in (folder / f"{split}.txt").read_text().splitlines():
            path, fine, _coarse = (part.strip() for part in line.split(","))
            row = classes[fine]
            names = row["Coarse Class Name (str)"], row["Class Name (str)"]
            category = "groceries", Path(path).parts[1], *names
            iconic.setdefault(category, folder / row["Iconic Image Path (str)"].lstrip("/"))
            yield Sample(
                folder / path,
                category,
                split,
                # Not visits to a shop: the numbering mixes those, so a group has near likenesses in others.
                group=f"{names} {int(Path(path).stem.rsplit('_', 1)[1]) // 8}",
                source=GROCERY,
            )
    for category, picture in iconic.items():
        yield Sample(picture, category, "train", group=str(picture), staged=True, source=GROCERY)


def _labelled(folder: Path) -> Iterator[Sample]:
    for row in _rows(folder / LABELS):
        image, label = row["image"] or "", row["label"] or ""
        group = row.get("group") or image
        if group == label:  # then it says nothing of which photos resemble each other
            group = image
        split = row.get("split") or split_of(group)
        if split not in SPLITS:
            raise ValueError(f"{image} is of the split {split!r}, which is none of {', '.join(SPLITS)}")
        photo = folder / image
        yield Sample(
            photo if photo.is_file() else folder / "images" / image,
            category_of(folder.name, label),
            split,
            group=f"{folder.name} {group}",
            source=folder.name,
        )


def split_of(group: str) -> str:
    """The split of a group of photos, the same every time."""
    number = int.from_bytes(hashlib.sha256(group.encode()).digest()[:8], "big")
    return "train" if number % VAL else "val"


@cache
def category_of(source: str, label: str) -> CategoryPath:
    """The node that a label of a source stands for; empty for no product. Raises PhotosUnusable.

    Of an id that no node has, the nearest above it that one has counts.
    """
    if label == NO_PRODUCT:
        return ()
    try:
        return label_path(source, label)
    except ValueError:
        path = tuple(label.split("/"))
        found = path if path in tree().nodes else _node_of_id(product_taxonomy().parse(label) or "")
    if not found:
        raise PhotosUnusable(
            f"{source}: {label!r} is no label that learning/labels.tsv lists for it, no node of the tree such as "
            "garments/shoes, and no id below one of its nodes (`vitrine taxonomy find`)"
        )
    return found


def _node_of_id(category_id: str) -> CategoryPath:
    """The node with an id, or the nearest above; of several with one id the node above them all. Empty for none."""
    for above in reversed(ids_down_to(category_id)):
        if nodes := _nodes_by_id().get(above):
            return _above_all(nodes) or min(nodes, key=len)
    return ()


def _above_all(nodes: Iterable[CategoryPath]) -> CategoryPath:
    """As far down as their paths are one."""
    names = takewhile(lambda names: len(set(names)) == 1, zip(*nodes, strict=False))
    return tuple(name for name, *_ in names)


@cache
def _nodes_by_id() -> Mapping[str, list[CategoryPath]]:
    nodes = defaultdict[str, list[CategoryPath]](list)
    for spec in categories_of(tree()):
        if spec.taxonomy is not None:
            nodes[spec.taxonomy].append(spec.path)
    return nodes


def _rows(path: Path) -> Iterator[dict[str, str]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        yield from csv.DictReader(file)
