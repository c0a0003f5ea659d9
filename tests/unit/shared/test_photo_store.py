"""What needs no store to be shown."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from shared.errors import Transient, Unusable
from shared.files import STAGED_SECONDS
from shared.photo_store import StoreFull, open_photo_store, photo_key
from tests.full_disk import FullDevice


def test_a_photo_lies_in_a_folder_of_its_first_two_digits() -> None:
    assert photo_key("ab" * 32) == "photos/ab/" + "ab" * 32


@pytest.mark.parametrize("wrong", ["", "ab", "AB" * 32, "../" + "a" * 61, "ab" * 32 + "\n"])
def test_only_a_sha256_names_a_photo(wrong: str) -> None:
    with pytest.raises(ValueError, match="sha256"):
        photo_key(wrong)


@pytest.mark.parametrize("address", ["gs://bucket", "http://host/bucket", "s3://", "s3:///prefix"])
def test_an_address_of_another_kind_is_refused_with_what_would_do(address: str) -> None:
    with pytest.raises(Unusable, match=f"VITRINE_PHOTO_STORE is {address}.* s3://bucket/prefix"):
        open_photo_store(address, environ={})


async def test_a_folder_that_cannot_be_written_is_transient(tmp_path: Path) -> None:
    store = open_photo_store(str(tmp_path))
    (tmp_path / "photos").write_bytes(b"a file where a folder should be")
    with pytest.raises(Transient, match="did not answer"):
        await store.put(b"photo")


def test_a_folder_is_made_and_holds_no_half_written_files(tmp_path: Path) -> None:
    store = open_photo_store(str(tmp_path / "deep" / "photos"))
    key = asyncio.run(store.put(b"photo"))
    files = [path for path in (tmp_path / "deep" / "photos").rglob("*") if path.is_file()]
    assert [path.relative_to(tmp_path / "deep" / "photos").as_posix() for path in files] == [key]


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


# The kernel kills it in the middle of the second photo: files may have no more than a mebibyte.
KILLED_AT_THE_SECOND = """
import asyncio, resource, signal, sys
from shared.photo_store import open_photo_store

async def put():
    store = open_photo_store(sys.argv[1])
    await store.create("photos/whole", bytes(1000))
    await store.create("photos/half", bytes(2 * 1024 * 1024))

signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # Python would be told, as of any other error
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
resource.setrlimit(resource.RLIMIT_FSIZE, (1024 * 1024, 1024 * 1024))
asyncio.run(put())
"""


def test_a_process_killed_while_it_writes_leaves_whole_photos_only(tmp_path: Path) -> None:
    command = [sys.executable, "-c", KILLED_AT_THE_SECOND, str(tmp_path)]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    assert subprocess.run(command, env=env, timeout=60).returncode == -signal.SIGXFSZ
    assert files(tmp_path) == ["photos/whole"]


async def test_a_file_where_a_folder_should_be_is_no_photo_that_is_there_already(tmp_path: Path) -> None:
    (tmp_path / "photos").write_bytes(b"a file")
    with pytest.raises(Transient, match="did not answer"):
        await open_photo_store(str(tmp_path)).create("photos/one", b"a photo")


def test_what_a_killed_process_left_is_swept_once_it_is_old(tmp_path: Path) -> None:
    store = open_photo_store(str(tmp_path))
    key = asyncio.run(store.put(b"a photo"))
    long_ago = time.time() - STAGED_SECONDS - 60
    left, in_progress = f"{photo_key('ab' * 32)}#1", f"{photo_key('ab' * 32)}#2"
    for name in (left, in_progress, "intake/one#12", "intake/photo #1.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"half a ph")
    for name in (left, "intake/one#12", "intake/photo #1.jpg", key):
        os.utime(tmp_path / name, (long_ago, long_ago))
    assert asyncio.run(store.sweep()) == 2
    assert files(tmp_path) == sorted([key, in_progress, "intake/photo #1.jpg"])


def test_what_vanishes_while_it_is_swept_is_no_error(tmp_path: Path) -> None:
    store = open_photo_store(str(tmp_path))
    (tmp_path / "photo#1").symlink_to(tmp_path / "nowhere")
    assert asyncio.run(store.sweep()) == 0


async def test_a_folder_without_nameless_files_stores_photos_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "O_TMPFILE", raising=False)
    store = open_photo_store(str(tmp_path))
    key = await store.put(b"a photo")
    assert (await store.get(key), await store.put(b"a photo")) == (b"a photo", key)
    assert not await store.create(key, b"another")


# --- on disk ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was asked of the disk, in order: what was waited for, and what was given a name."""
    told: list[str] = []
    fsync, link, rename = os.fsync, os.link, os.rename

    def waited(file: int) -> None:
        fsync(file)
        place = Path(f"/proc/self/fd/{file}").readlink()
        told.append(f"{place.relative_to(tmp_path)}/ is on disk" if place.is_dir() else "the file is on disk")

    def linked(*places: str, **options: Any) -> None:
        link(*places, **options)
        told.append("it has its name")

    def renamed(*places: str, **options: Any) -> None:
        rename(*places, **options)
        told.append("it has its name")

    monkeypatch.setattr(os, "fsync", waited)
    monkeypatch.setattr(os, "link", linked)
    monkeypatch.setattr(os, "rename", renamed)
    return told


@pytest.mark.parametrize("nameless", [True, False])
async def test_a_file_is_on_disk_before_it_has_a_name_and_its_name_before_anybody_is_told(
    tmp_path: Path, steps: list[str], monkeypatch: pytest.MonkeyPatch, nameless: bool
) -> None:
    if not nameless:
        monkeypatch.delattr(os, "O_TMPFILE", raising=False)
    store = open_photo_store(str(tmp_path))
    await store.create("a/b/one", b"one")
    made = ["./ is on disk", "a/ is on disk"]
    written = ["the file is on disk", "it has its name", "a/b/ is on disk"]
    assert steps == made + written
    steps.clear()
    await store.replace("a/b/one", b"two")
    assert steps == written


async def test_who_finds_a_name_taken_waits_for_it_too(tmp_path: Path, steps: list[str]) -> None:
    store = open_photo_store(str(tmp_path))
    await store.create("one", b"one")
    steps.clear()
    assert not await store.create("one", b"other")
    assert steps[-1] == "./ is on disk", "whoever was faster may not have got so far"


async def test_a_replaced_file_leaves_nothing_beside_it(tmp_path: Path) -> None:
    store = open_photo_store(str(tmp_path))
    await store.create("a/one", b"one")
    await store.replace("a/one", b"two")
    await store.replace("a/new", b"three")
    assert files(tmp_path) == ["a/new", "a/one"]


@pytest.mark.parametrize("nameless", [True, False])
async def test_a_full_disk_is_said_to_be_full_and_works_again_once_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nameless: bool
) -> None:
    if not nameless:
        monkeypatch.delattr(os, "O_TMPFILE", raising=False)
    store, disk = open_photo_store(str(tmp_path)), FullDevice(tmp_path, monkeypatch)
    disk.fill()
    for attempt in (store.put(b"a photo"), store.create("one", b"one"), store.replace("one", b"one"), store.check()):
        with pytest.raises(StoreFull, match=r"is full: .*No space left"):
            await attempt
    assert files(tmp_path) == []
    disk.free()
    await store.check()
    assert await store.get(await store.put(b"a photo")) == b"a photo"
