"""Where photographs are that show nothing a pack knows, and some of products: strangers.toml says in which packages."""

import csv
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

_FILE = Path(__file__).with_suffix(".toml")
_GATHERED = Path(__file__).with_name("gathered.tsv")
_DIGITS = "0123456789"


@dataclass(frozen=True, slots=True)
class DebianPhotos:
    """Photographs in a Debian package.

    `resources`: Qt resource files that have them within; `photos`: the files that are some, as patterns below `folder`.
    """

    package: str
    use: str  # "learn" or "judge"
    folder: Path
    resources: tuple[str, ...]
    photos: tuple[str, ...]
    without: frozenset[str]
    # Each folder below `folder` has one photo in several sizes: the first by name stands for all.
    one_of_each_folder: bool


@dataclass(frozen=True, slots=True)
class DebianProducts:
    """Photographs of products in a Debian package; gathered.tsv lists them for the source.

    `resources` and `photos` as above; `without`: names of files and of folders whose files are none.
    """

    package: str
    source: str
    folder: Path
    resources: tuple[str, ...]
    photos: tuple[str, ...]
    without: frozenset[str]


@cache
def debian_products() -> tuple[DebianProducts, ...]:
    """The sources in the order in which they are gathered."""
    return tuple(
        DebianProducts(
            package=one["package"],
            source=one["source"],
            folder=Path(one["folder"]),
            resources=tuple(one.get("resources", ())),
            photos=tuple(one.get("photos", ())),
            without=frozenset(one.get("without", ())),
        )
        for one in _read()["products"]
    )


@cache
def debian_photos() -> tuple[DebianPhotos, ...]:
    """The sources in the order in which they are gathered."""
    return tuple(
        DebianPhotos(
            package=one["package"],
            use=one["use"],
            folder=Path(one["folder"]),
            resources=tuple(one.get("resources", ())),
            photos=tuple(one.get("photos", ())),
            without=frozenset(one.get("without", ())),
            one_of_each_folder=one.get("one_of_each_folder", False),
        )
        for one in _read()["debian"]
    )


def photos_of_packages() -> list[Path]:
    """The photographs of those Python packages that are installed."""
    packages: Mapping[str, list[str]] = _read()["python"]
    paths: list[Path] = []
    for package, names in packages.items():
        if (spec := find_spec(package)) is not None and spec.origin is not None:
            paths += [path for name in names if (path := Path(spec.origin).parent / name).is_file()]
    return paths


def label_of(source: str, path: Path) -> str | None:
    """The label of a picture by its file's name without the number at its end; None where gathered.tsv lists none."""
    return _gathered().get((source, path.stem.rstrip(_DIGITS)))


@cache
def _gathered() -> Mapping[tuple[str, str], str]:
    with _GATHERED.open(newline="", encoding="utf-8") as file:
        return {(row["source"], row["name"]): row["path"] for row in csv.DictReader(file, delimiter="\t")}


@cache
def _read() -> dict[str, Any]:
    return tomllib.loads(_FILE.read_text(encoding="utf-8"))
