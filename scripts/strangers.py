"""Gathers photographs from Debian packages: of no product and of products, to judge packs by.

python scripts/strangers.py FOLDER makes FOLDER/learn and FOLDER/judge (for `vitrine evaluate pack --strangers`: earlier
packs learned from the former), and FOLDER/products (for `vitrine evaluate pack --data`). learning/strangers.toml says
which. Run it on Debian 12, with its package lists up to date; nothing is installed.
"""

import csv
import io
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Set
from pathlib import Path

from PIL import Image

from learning.sources import LABELS
from learning.strangers import DebianPhotos, DebianProducts, debian_photos, debian_products, label_of

SMALLEST_SIDE = 150  # pixels: what is smaller is an icon
SMALLEST_PRODUCT = 100  # pixels of the longer side: what is cut out has no ground around it
PRODUCTS = "products"


def main(folder: Path) -> None:
    """Raises CalledProcessError when a package can't be had."""
    uses = sorted({one.use for one in debian_photos()} | {PRODUCTS})
    if any((folder / use).exists() for use in uses):
        sys.exit(f"{folder} has photos of an earlier run: name another folder")
    with tempfile.TemporaryDirectory() as scratch:
        for one in debian_photos():
            gather(one, _unpacked(one.package, Path(scratch)), folder)
        for products in debian_products():
            gather_products(products, _unpacked(products.package, Path(scratch)), folder)
    for use in uses:
        photos = [path for path in (folder / use).rglob("*") if path.is_file() and path.name != LABELS]
        print(f"{folder / use}: {len(photos)} photos")


def gather(which: DebianPhotos, unpacked: Path, to: Path) -> None:
    """Copies the photos of an unpacked package below USE/PACKAGE, the package by its first word; none of products."""
    folder, to = unpacked / which.folder, to / which.use / which.package.partition("-")[0]
    products = {
        body
        for one in debian_products()
        if one.package == which.package
        for path, body in named_photos(one, unpacked)
        if label_of(one.source, path) is not None
    }
    for name in which.resources:
        _cut_out(folder / name, to, products)
    if which.one_of_each_folder:
        for below in sorted(path for path in folder.iterdir() if path.is_dir()):
            some = [photo for pattern in which.photos for photo in below.rglob(pattern)]
            _copied(sorted(some)[:1], to / below.name)
    else:
        _copied(_photos(which, folder), to)


def gather_products(which: DebianProducts, unpacked: Path, to: Path) -> None:
    """Copies the photos of an unpacked package that have a label below products/SOURCE, with a labels.csv."""
    to = to / PRODUCTS / which.source
    to.mkdir(parents=True)
    rows = []
    for path, body in named_photos(which, unpacked):
        label = label_of(which.source, path)
        if label is not None and _longer_side(body) >= SMALLEST_PRODUCT:
            (to / path.name).write_bytes(body)
            rows.append((path.name, label, "val"))
    if not rows:
        sys.exit(f"{which.package} has no photo any more that learning/gathered.tsv lists for {which.source}")
    with (to / LABELS).open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("image", "label", "split"), *rows])


def named_photos(which: DebianProducts, unpacked: Path) -> Iterator[tuple[Path, bytes]]:
    """The pictures of an unpacked package with their paths."""
    folder = unpacked / which.folder
    for name in which.resources:
        yield from _without(which, resource_files((folder / name).read_bytes()))
    paths = (path for pattern in which.photos for path in sorted(folder.glob(pattern)))
    yield from _without(which, ((path.relative_to(folder), path.read_bytes()) for path in paths))


def resource_files(resources: bytes) -> Iterator[tuple[Path, bytes]]:
    """The files in a Qt resource file that aren't compressed, as pictures are, with their paths.

    Its header says where a tree begins whose nodes are folders (how many are within, which is the first) and files
    (where in the data), and where names and data do. See Qt's qresource.cpp.
    """
    version, tree, data, names = struct.unpack(">4I", resources[4:20])
    node_size = 14 if version == 1 else 22

    def named(node: int) -> str:
        start = names + struct.unpack_from(">I", resources, tree + node * node_size)[0]
        [length] = struct.unpack_from(">H", resources, start)
        return resources[start + 6 : start + 6 + 2 * length].decode("utf-16-be")

    def within(node: int, folder: Path) -> Iterator[tuple[Path, bytes]]:
        start = tree + node * node_size
        [flags] = struct.unpack_from(">H", resources, start + 4)
        path = folder / named(node) if node else folder
        if flags & 2:
            count, first = struct.unpack_from(">2I", resources, start + 6)
            for child in range(first, first + count):
                yield from within(child, path)
        elif not flags:
            body = data + struct.unpack_from(">I", resources, start + 10)[0]
            [length] = struct.unpack_from(">I", resources, body)
            yield path, resources[body + 4 : body + 4 + length]

    return within(0, Path())


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
    if folder.exists():
        return folder
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


def _without(which: DebianProducts, photos: Iterable[tuple[Path, bytes]]) -> Iterator[tuple[Path, bytes]]:
    return ((path, body) for path, body in photos if which.without.isdisjoint(path.parts))


def _longer_side(body: bytes) -> int:
    with Image.open(io.BytesIO(body)) as image:
        return max(image.size)


def _cut_out(resources: Path, to: Path, without: Set[bytes]) -> None:
    to.mkdir(parents=True, exist_ok=True)
    photos = [photo for photo in photographs_in(resources.read_bytes()) if photo not in without]
    if not photos:
        sys.exit(f"{resources.name} has no photographs any more: this script knows gcompris-qt-data 3.1")
    for number, photo in enumerate(photos):
        (to / f"{resources.stem}-{number:03d}.webp").write_bytes(photo)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
