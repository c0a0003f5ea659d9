"""What the labels of photos mean: nodes of the categories' tree."""

import csv
import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from shared.vision.pack import CategorySpec
from shared.vision.taxonomy import Path as CategoryPath
from shared.vision.taxonomy import Taxonomy

LABELS = Path(__file__).with_name("labels.tsv")
CATEGORIES = Path(__file__).with_name("categories.toml")


def label_path(source: str, label: str) -> CategoryPath:
    """The node that a source's label is; empty for no product. Raises ValueError for a label that isn't listed."""
    try:
        return _labels()[source, label]
    except KeyError:
        raise ValueError(f"learning/labels.tsv has no label {label!r} of {source!r}") from None


@cache
def tree() -> Taxonomy:
    """All leaves, by name."""
    nodes = {*_ids(), *_labels().values()} - {()}
    above = {node[:depth] for node in nodes for depth in range(len(node))}
    return Taxonomy(tuple(sorted(node for node in nodes if node not in above)))


def categories_of(taxonomy: Taxonomy) -> tuple[CategorySpec, ...]:
    """The ids of these categories' nodes in the product taxonomy."""
    return tuple(CategorySpec(path=node, taxonomy=_ids().get(node) or None) for node in taxonomy.nodes)


@cache
def _ids() -> Mapping[CategoryPath, str]:
    table = tomllib.loads(CATEGORIES.read_text("utf-8"))
    ids: dict[str, str] = table["taxonomy"] | dict.fromkeys(table["no_taxonomy"], "")
    return {tuple(name.split("/")): category_id for name, category_id in ids.items()}


@cache
def _labels() -> Mapping[tuple[str, str], CategoryPath]:
    with LABELS.open(newline="", encoding="utf-8") as file:
        return {(row["source"], row["label"]): _path(row["path"]) for row in csv.DictReader(file, delimiter="\t")}


def _path(spelled: str) -> CategoryPath:
    return () if spelled == "-" else tuple(spelled.split("/"))
