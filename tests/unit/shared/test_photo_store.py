"""What needs no store to be shown."""

import asyncio
from pathlib import Path

import pytest

from shared.errors import Transient, Unusable
from shared.photo_store import open_photo_store, photo_key


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
