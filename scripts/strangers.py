"""Gathers photographs of neither garments nor groceries from Debian packages, to learn from and to judge by.

python scripts/strangers.py FOLDER makes FOLDER/learn (for `vitrine train pack --strangers`) and FOLDER/judge (for
`vitrine evaluate pack --strangers`). Run it on Debian 12, with its package lists up to date; nothing is installed.
"""

import io
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from PIL import Image

SMALLEST_SIDE = 150  # pixels: what is smaller is an icon

GCOMPRIS = Path("usr/share/gcompris-qt/rcc")
# Its activities that show photographs: tools, things of the household, fish and sights; animals; monuments, musicians.
ACTIVITIES = [
    "categorization",
    "erase",
    "explore_farm_animals",
    "explore_monuments",
    "explore_world_animals",
    "explore_world_music",
]

LOMIRI = Path("usr/share/backgrounds")
DRAWN_BY_LOMIRI = {"umang_by_Abhishek_Mudgal.jpg"}
MATE = Path("usr/share/backgrounds/mate/nature")
PLASMA = Path("usr/share/wallpapers")
UKUI = Path("usr/share/backgrounds")
PHOTOS_OF_UKUI = ("calla.png", "city.png", "desert.png", "goldfish.png")
OPENCV = Path("usr/share/doc/opencv-doc/examples/data")
# Without its fruits, its drawings, its charts, and people in garments.
PHOTOS_OF_OPENCV = [
    "aero1.jpg",
    "aloeL.jpg",
    "baboon.jpg",
    "board.jpg",
    "building.jpg",
    "butterfly.jpg",
    "ela_original.jpg",
    "home.jpg",
    "left.jpg",
    "left01.jpg",
    "leuvenA.jpg",
    "licenseplate_motion.jpg",
    "pic3.png",
    "rubberwhale1.png",
    "squirrel_cls.jpg",
    "stuff.jpg",
    "sudoku.png",
]


def main(folder: Path) -> None:
    """Raises CalledProcessError when a package can't be had."""
    learn, judge = folder / "learn", folder / "judge"
    if learn.exists() or judge.exists():
        sys.exit(f"{folder} has photos of an earlier run: name another folder")
    with tempfile.TemporaryDirectory() as scratch:
        for activity in ACTIVITIES:
            _embedded(_unpacked("gcompris-qt-data", Path(scratch)) / GCOMPRIS / f"{activity}.rcc", learn / "gcompris")
        lomiri = sorted((_unpacked("lomiri-wallpapers-16.04", Path(scratch)) / LOMIRI).glob("*.jpg"))
        _copied((photo for photo in lomiri if photo.name not in DRAWN_BY_LOMIRI), learn / "lomiri")
        mate = sorted((_unpacked("mate-backgrounds", Path(scratch)) / MATE).glob("*.jpg"))
        _copied(mate, judge / "mate")
        for wallpaper in sorted((_unpacked("plasma-workspace-wallpapers", Path(scratch)) / PLASMA).iterdir()):
            # All its sizes and its preview show the same.
            _copied(sorted(wallpaper.rglob("*.jpg"))[:1], judge / "plasma" / wallpaper.name)
        ukui = _unpacked("ukui-wallpapers", Path(scratch)) / UKUI
        _copied((ukui / name for name in PHOTOS_OF_UKUI), judge / "ukui")
        opencv = _unpacked("opencv-doc", Path(scratch)) / OPENCV
        _copied((opencv / name for name in PHOTOS_OF_OPENCV), judge / "opencv")
    for part in (learn, judge):
        print(f"{part}: {sum(path.is_file() for path in part.rglob('*'))} photos")


def _unpacked(package: str, scratch: Path) -> Path:
    folder = scratch / package
    if not folder.exists():
        download = ["apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", package]
        subprocess.run(download, cwd=scratch, check=True)
        [archive] = scratch.glob(f"{package}_*.deb")
        subprocess.run(["dpkg-deb", "--extract", archive, folder], check=True)
    return folder


def _copied(photos: Iterable[Path], to: Path) -> None:
    for photo in photos:
        to.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(photo, to / photo.name)


def _embedded(resources: Path, to: Path) -> None:
    """The photographs in a Qt resource file."""
    to.mkdir(parents=True, exist_ok=True)
    photos = list(_webp_photos(resources.read_bytes()))
    if not photos:
        sys.exit(f"{resources.name} has no photographs any more: this script knows gcompris-qt-data 3.1")
    for number, photo in enumerate(photos):
        (to / f"{resources.stem}-{number:03d}.webp").write_bytes(photo)


def _webp_photos(resources: bytes) -> Iterator[bytes]:
    """Each WebP says how long it is: a RIFF chunk of so many bytes after the first eight."""
    start = resources.find(b"RIFF")
    while start >= 0:
        end = start + 8 + int.from_bytes(resources[start + 4 : start + 8], "little")
        body = resources[start:end]
        if body[8:12] == b"WEBP":
            with Image.open(io.BytesIO(body)) as image:
                if min(image.size) >= SMALLEST_SIDE and image.mode == "RGB":  # with an alpha channel it is a drawing
                    yield body
            start = end - 1
        start = resources.find(b"RIFF", start + 1)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
