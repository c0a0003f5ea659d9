"""Files in a folder that are on disk when they are said to be, and have their name only when they are whole.

So who is killed while writing leaves no half a file under a name, and a power loss no empty one.
"""

import errno
import os
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

# What stands beside a key in a folder is half an object, which somebody writes where files need a name at once; nobody
# writes for so long.
STAGED_SECONDS = 3600.0
_STAGED = re.compile(r".+#\d+")

_NO_NAMELESS_FILES = (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL)


def create_file(folder: Path, key: str, body: bytes) -> None:
    """Raises FileExistsError when the key is taken, ValueError when it is no path below the folder, and OSError."""
    place = _place(folder, key)
    with _on_disk(place.parent) as parent:
        if not _created_nameless(parent, place.name, body):
            with _staged(parent, place.name, body) as staged:
                os.link(staged, place.name, src_dir_fd=parent, dst_dir_fd=parent)


def replace_file(folder: Path, key: str, body: bytes) -> None:
    """Whatever lies there. Raises ValueError when the key is no path below the folder, and OSError."""
    place = _place(folder, key)
    with _on_disk(place.parent) as parent, _staged(parent, place.name, body) as staged:
        os.rename(staged, place.name, src_dir_fd=parent, dst_dir_fd=parent)


def sweep_half_files(folder: Path) -> int:
    """Delete those that killed processes left behind; returns how many."""
    swept, before = 0, time.time() - STAGED_SECONDS
    for inside, _, names in os.walk(folder):
        for name in filter(_STAGED.fullmatch, names):
            left = Path(inside, name)
            with suppress(FileNotFoundError):  # another gateway sweeps too
                if left.stat().st_mtime < before:
                    left.unlink()
                    swept += 1
    return swept


def _place(folder: Path, key: str) -> Path:
    if any(step in ("", ".", "..") for step in key.split("/")):
        raise ValueError(f"not the key of an object: {key!r}")
    return folder / key


@contextmanager
def _on_disk(folder: Path) -> Iterator[int]:
    """The folder, made where it is missing. Names in it are on disk at the end, ours and those that were taken."""
    _make(folder)
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield opened
    finally:
        try:
            os.fsync(opened)
        finally:
            os.close(opened)


def _make(folder: Path) -> None:
    try:
        folder.mkdir()
    except FileExistsError:
        return
    except FileNotFoundError:
        _make(folder.parent)
        _make(folder)
        return
    above = os.open(folder.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(above)
    finally:
        os.close(above)


def _created_nameless(parent: int, name: str, body: bytes) -> bool:
    """False, and nothing written, where the file system has no files without a name."""
    if not hasattr(os, "O_TMPFILE"):
        return False
    try:
        nameless = os.open(".", os.O_TMPFILE | os.O_WRONLY, 0o644, dir_fd=parent)
        with os.fdopen(nameless, "wb") as file:
            _write(file.fileno(), body)
            # With dst_dir_fd, or Python would take the link in /proc for the file.
            os.link(f"/proc/self/fd/{nameless}", name, dst_dir_fd=parent, follow_symlinks=True)
    except OSError as why:
        if why.errno in _NO_NAMELESS_FILES:
            return False
        raise
    return True


@contextmanager
def _staged(parent: int, name: str, body: bytes) -> Iterator[str]:
    """A whole file under a name for the time being."""
    staged = f"{name}#{secrets.randbelow(10**12)}"
    opened = os.open(staged, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644, dir_fd=parent)
    try:
        with os.fdopen(opened, "wb") as file:
            _write(file.fileno(), body)
        yield staged
    finally:
        with suppress(FileNotFoundError):  # renamed
            os.unlink(staged, dir_fd=parent)


def _write(file: int, body: bytes) -> None:
    rest = memoryview(body)
    while rest:
        rest = rest[os.write(file, rest) :]
    os.fsync(file)
