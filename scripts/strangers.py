"""Gathers photographs of neither garments nor groceries from Debian packages, to learn from and to judge by.

python scripts/strangers.py FOLDER makes FOLDER/learn (for `vitrine train pack --strangers`) and FOLDER/judge (for
`vitrine evaluate pack --strangers`). learning/strangers.toml says which. Run it on Debian 12, with its package lists up
to date; nothing is installed.
"""

import io
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from learning.strangers import DebianPhotos, debian_photos

SMALLEST_SIDE = 150  # pixels: what is smaller is an icon


def main(folder: Path) -> None:
    """Raises CalledProcessError when a package can't be had."""
    uses = sorted({one.use for one in debian_photos()})
    if any((folder / use).exists() for use in uses):
        sys.exit(f"{folder} has photos of an earlier run: name another folder")
    with tempfile.TemporaryDirectory() as scratch:
        for one in debian_photos():
            gather(one, _unpacked(one.package, Path(scratch)), folder)
    for use in uses:
        print(f"{folder / use}: {sum(path.is_file() for path in (folder / use).rglob('*'))} photos")


def gather(which: DebianPhotos, unpacked: Path, to: Path) -> None:
    """Copies the photos of an unpacked package below USE/PACKAGE, the package by its first word."""
    folder, to = unpacked / which.folder, to / which.use / which.package.partition("-")[0]
    for name in which.resources:
        _cut_out(folder / name, to)
    if which.one_of_each_folder:
        for below in sorted(path for path in folder.iterdir() if path.is_dir()):
            some = [photo for pattern in which.photos for photo in below.rglob(pattern)]
            _copied(sorted(some)[:1], to / below.name)
    else:
        _copied(_photos(which, folder), to)


def photographs_in(resources: bytes) -> Iterator[bytes]:
    """The WebP photographs in a Qt resource file.

    Each says how long it is: a RIFF chunk of so many bytes after the first eight.
    """
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


def _unpacked(package: str, scratch: Path) -> Path:
    folder = scratch / package
    download = ["apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", package]
    subprocess.run(download, cwd=scratch, check=True)
    [archive] = scratch.glob(f"{package}_*.deb")
    subprocess.run(["dpkg-deb", "--extract", archive, folder], check=True)
    return folder


def _photos(which: DebianPhotos, folder: Path) -> list[Path]:
    photos: list[Path] = []
    for pattern in which.photos:
        some = sorted(folder.glob(pattern))
        if not some:
            sys.exit(f"{which.package} has no {which.folder / pattern} any more: see learning/strangers.toml")
        photos += [photo for photo in some if photo.name not in which.without]
    return photos


def _copied(photos: list[Path], to: Path) -> None:
    for photo in photos:
        to.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(photo, to / photo.name)


def _cut_out(resources: Path, to: Path) -> None:
    to.mkdir(parents=True, exist_ok=True)
    photos = list(photographs_in(resources.read_bytes()))
    if not photos:
        sys.exit(f"{resources.name} has no photographs any more: this script knows gcompris-qt-data 3.1")
    for number, photo in enumerate(photos):
        (to / f"{resources.stem}-{number:03d}.webp").write_bytes(photo)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
