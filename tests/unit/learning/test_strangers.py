"""learning/strangers.toml names photographs, and scripts/strangers.py gathers those of Debian's packages."""

import importlib.util
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from learning.strangers import DebianPhotos, debian_photos, photos_of_packages
from tests.conftest import PROJECT


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
