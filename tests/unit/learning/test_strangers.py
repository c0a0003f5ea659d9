"""learning/strangers.toml names photographs, and scripts/strangers.py gathers those of Debian's packages."""

import csv
import importlib.util
import struct
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from learning.sources import category_of, read_samples
from learning.strangers import (
    DebianPhotos,
    DebianProducts,
    debian_photos,
    debian_products,
    label_of,
    photos_of_packages,
)
from tests.conftest import PROJECT

GATHERED = PROJECT / "learning" / "gathered.tsv"


def webp(side: int) -> bytes:
    body = BytesIO()
    Image.effect_noise((side, side), 60).convert("RGB").save(body, "WEBP")
    return body.getvalue()


def transparent() -> bytes:
    image, body = Image.new("RGBA", (200, 200), (9, 9, 9, 0)), BytesIO()
    image.save(body, "WEBP")
    return body.getvalue()


@pytest.fixture
def script() -> Any:
    spec = importlib.util.spec_from_file_location("strangers", PROJECT / "scripts" / "strangers.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_photographs_are_cut_out_of_a_resource_file(script: Any) -> None:
    first, second = webp(160), webp(300)
    resources = b"qres RIFF then text" + first + webp(64) + transparent() + b"name" + second + b"RIFF"
    assert list(script.photographs_in(resources)) == [first, second]


def resources(files: dict[str, bytes]) -> bytes:
    """A Qt resource file with these in one folder, named images."""
    texts, data, offsets, bodies = b"", b"", [], []
    for name, body in {"": b"", "images": b"", **files}.items():
        offsets.append(len(texts))
        texts += struct.pack(">HI", len(name), 0) + name.encode("utf-16-be")
        bodies.append(len(data))
        data += struct.pack(">I", len(body)) + body if body else b""
    tree = struct.pack(">IHII", offsets[0], 2, 1, 1) + struct.pack(">IHII", offsets[1], 2, len(files), 2)
    for name_at, body_at in zip(offsets[2:], bodies[2:], strict=True):
        tree += struct.pack(">IHHHI", name_at, 0, 0, 0, body_at)
    header = 20
    places = header, header + len(tree), header + len(tree) + len(data)
    return b"qres" + struct.pack(">4I", 1, *places) + tree + data + texts


def products(source: str) -> DebianProducts:
    [one] = (one for one in debian_products() if one.source == source)
    return one


def test_a_resource_files_pictures_have_names(script: Any) -> None:
    files = {"hammer3.webp": webp(160), "README": b"of nobody"}
    assert dict(script.resource_files(resources(files))) == {
        Path("images") / name: body for name, body in files.items()
    }


def test_products_are_gathered_with_their_names_and_are_no_strangers(script: Any, tmp_path: Path) -> None:
    hammer, fish = webp(160), webp(170)
    folder = tmp_path / "there" / products("gcompris").folder
    folder.mkdir(parents=True)
    for name in which("gcompris-qt-data").resources:
        (folder / name).write_bytes(resources({"hammer3.webp": hammer, "fish16.webp": fish}))
    script.gather_products(products("gcompris"), tmp_path / "there", tmp_path / "to")
    script.gather(which("gcompris-qt-data"), tmp_path / "there", tmp_path / "to")
    [sample] = read_samples(tmp_path / "to" / "products")
    assert (sample.category, sample.split, sample.body()) == (("tools", "hand", "hammer"), "val", hammer)
    with (tmp_path / "to" / "products" / "gcompris" / "labels.csv").open() as file:
        assert [row["label"] for row in csv.DictReader(file)] == ["tools/hand/hammer"]
    assert {path.read_bytes() for path in (tmp_path / "to" / "learn").rglob("*.webp")} == {fish}


def test_what_products_show_are_nodes_of_the_tree() -> None:
    for source in ("gcompris", "tuxpaint"):
        named = label_of(source, Path("scissors_small_open.png" if source == "tuxpaint" else "scissors4.webp"))
        assert named == "tools/scissors"
    with GATHERED.open() as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert {row["source"] for row in rows} == {one.source for one in debian_products()}
    for row in rows:
        assert "/".join(category_of(row["source"], row["path"])) == row["path"].removeprefix("-"), row


def test_cartoons_and_what_is_too_small_are_no_photos_of_products(script: Any, tmp_path: Path) -> None:
    tuxpaint = products("tuxpaint")
    for name, side in (("mug", 140), ("cartoon/teapot", 140), ("teapot", 40), ("unheard-of", 140)):
        path = tmp_path / "there" / tuxpaint.folder / "household" / "dishes" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGBA", (side, side)).save(path)
    script.gather_products(tuxpaint, tmp_path / "there", tmp_path / "to")
    assert gathered(tmp_path / "to") == {"products/tuxpaint/mug.png", "products/tuxpaint/labels.csv"}


def test_a_package_without_its_products_is_told(script: Any, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="tuxpaint-stamps-default has no photo any more"):
        script.gather_products(products("tuxpaint"), tmp_path, tmp_path / "to")


def laid_out(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"photo")
    return folder


def gathered(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def which(package: str) -> DebianPhotos:
    [one] = (one for one in debian_photos() if one.package == package)
    return one


def test_what_is_drawn_is_left_out(script: Any, tmp_path: Path) -> None:
    lomiri = which("lomiri-wallpapers-16.04")
    there = laid_out(tmp_path / "there" / lomiri.folder, "a.jpg", "umang_by_Abhishek_Mudgal.jpg", "b.txt")
    script.gather(lomiri, tmp_path / "there", tmp_path / "to")
    assert there.is_dir() and gathered(tmp_path / "to") == {"learn/lomiri/a.jpg"}


def test_one_of_the_sizes_of_a_wallpaper_is_enough(script: Any, tmp_path: Path) -> None:
    plasma = which("plasma-workspace-wallpapers")
    laid_out(tmp_path / "there" / plasma.folder, "Kay/images/2.jpg", "Kay/images/1.jpg", "Nuvole/c.jpg", "Flow/d.png")
    script.gather(plasma, tmp_path / "there", tmp_path / "to")
    assert gathered(tmp_path / "to") == {"judge/plasma/Kay/1.jpg", "judge/plasma/Nuvole/c.jpg"}


def test_a_photo_that_a_package_no_longer_has_is_told(script: Any, tmp_path: Path) -> None:
    ukui = which("ukui-wallpapers")
    laid_out(tmp_path / ukui.folder, *ukui.photos[1:])
    with pytest.raises(SystemExit, match=f"ukui-wallpapers has no {ukui.folder / ukui.photos[0]}"):
        script.gather(ukui, tmp_path, tmp_path / "to")


def test_photographs_of_installed_packages_are_there() -> None:
    names = {path.name for path in photos_of_packages()}
    assert {"astronaut.png", "china.jpg"} <= names and len(names) == 15
