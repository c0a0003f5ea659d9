"""A disk that is full, and has room again: a small file system where that may be mounted, else files on /dev/full."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import pytest

MIB = 1024 * 1024


class Disk(Protocol):
    """Somewhere to write below `folder`."""

    folder: Path

    def fill(self) -> None: ...

    def free(self) -> None: ...


class SmallDisk:
    """A file system of four mebibytes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"

    def fill(self) -> None:
        with pytest.raises(OSError, match="No space left"):
            self._ballast.write_bytes(bytes(5 * MIB))

    def free(self) -> None:
        self._ballast.unlink()


class FullDevice:
    """While it is full, whatever this process opens for writing is a device that always is: so says the kernel."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self._full = False
        self._open = os.open
        monkeypatch.setattr(os, "open", self._opened)

    def fill(self) -> None:
        self._full = True

    def free(self) -> None:
        self._full = False

    def _opened(self, path: Any, flags: int, *more: Any, **options: Any) -> int:
        if self._full and flags & os.O_WRONLY:
            return self._open("/dev/full", os.O_WRONLY)
        return self._open(path, flags, *more, **options)


@contextmanager
def small_disk(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    """Only root may mount, and not everywhere."""
    folder.mkdir()
    mounting = ["mount", "-t", "tmpfs", "-o", "size=4m", "none", str(folder)]
    if subprocess.run(mounting, check=False, capture_output=True).returncode:
        yield FullDevice(folder, monkeypatch)
        return
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", str(folder)], check=True)
