"""What the project knows products by: the pack's tree, and where its teachers' words lie in it.

nodes.tsv has every node with what it means, imagenet.tsv ImageNet's classes, labels.tsv the labels of photos; what is
asked of the categories stands in categories.toml.
"""

import csv
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from shared.vision.pack import CategorySpec
from shared.vision.taxonomy import Path as CategoryPath
from shared.vision.taxonomy import Taxonomy

NOT_KNOWN = "learning/nodes.tsv names none"

_FOLDER = Path(__file__).parent
_NO_PRODUCT = "-"


@dataclass(frozen=True, slots=True)
class ImagenetClass:
    """A class of ImageNet-1k, and the leaf that it is; () for no product."""

    number: int  # of the networks' output
    synset: str  # WordNet's id
    name: str
    path: CategoryPath


@cache
def imagenet_classes() -> tuple[ImagenetClass, ...]:
    """All 1,000, each at the place of its number. Several may be one leaf."""
    return tuple(
        ImagenetClass(int(row["index"]), row["synset"], row["name"], _path(row["path"]))
        for row in _rows("imagenet.tsv")
    )


def imagenet_leaves() -> tuple[CategoryPath, ...]:
    """The leaves that have a class of ImageNet, each once, by name."""
    return tuple(sorted({one.path for one in imagenet_classes() if one.path}))


def label_path(source: str, label: str) -> CategoryPath:
    """The node that a folder's label is; () for no product. Most are leaves.

    Raises ValueError for a label that the table lacks.
    """
    try:
        return _labels()[source, label]
    except KeyError:
        raise ValueError(f"learning/labels.tsv has no label {label!r} of {source!r}") from None


def label_paths() -> tuple[CategoryPath, ...]:
    """The nodes that labels are, each once, by name."""
    return tuple(sorted({path for path in _labels().values() if path}))


@cache
def tree() -> Taxonomy:
    """All leaves, by name."""
    nodes = [_path(name) for name in _nodes()]
    above = {node[:depth] for node in nodes for depth in range(len(node))}
    return Taxonomy(tuple(sorted(node for node in nodes if node not in above)))


def categories_of(taxonomy: Taxonomy) -> tuple[CategorySpec, ...]:
    """What this project knows of these categories. Nothing is held against a leaf that it knows nothing of."""
    asked = {tuple(one["path"]): one for one in _read_asked()}
    specs = ({"path": node, **_id_of(node), **asked.get(node, {})} for node in ((), *taxonomy.nodes))
    return tuple(map(CategorySpec.model_validate, specs))


def _id_of(node: CategoryPath) -> dict[str, str]:
    """The node's id in the product taxonomy, or why it has none. The root needs neither."""
    row = _nodes().get("/".join(node), {"id": "", "reason": NOT_KNOWN})
    if row["id"]:
        return {"taxonomy": row["id"]}
    return {"no_taxonomy": row["reason"]} if node else {}


@cache
def _nodes() -> Mapping[str, Mapping[str, str]]:
    """By path."""
    return {row["path"]: row for row in _rows("nodes.tsv")}


@cache
def _labels() -> Mapping[tuple[str, str], CategoryPath]:
    """By source and label."""
    return {(row["source"], row["label"]): _path(row["path"]) for row in _rows("labels.tsv")}


@cache
def _read_asked() -> tuple[Mapping[str, Any], ...]:
    return tuple(tomllib.loads((_FOLDER / "categories.toml").read_text("utf-8"))["categories"])


def _rows(name: str) -> list[dict[str, str]]:
    """Of a table whose first line that is no comment names its columns."""
    lines = (_FOLDER / name).read_text("utf-8").splitlines()
    said = (line for line in lines if not line.startswith("#"))
    return list(csv.DictReader(said, delimiter="\t", quoting=csv.QUOTE_NONE))


def _path(spelled: str) -> CategoryPath:
    return () if spelled == _NO_PRODUCT else tuple(spelled.split("/"))
