"""`vitrine import` against a fake gateway over real HTTP."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cli.importing import import_
from tests.fake_gateway import FakeGateway, serving

HEADER = "reference,seller_id,title,category,brand,price,currency,photos\n"


@pytest.fixture
def gateway() -> Iterator[FakeGateway]:
    with serving() as fake:
        yield fake


def photo_files(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())


def csv_of(folder: Path, rows: str) -> Path:
    photo_files(folder, "a.jpg", "b.jpg")
    path = folder / "listings.csv"
    path.write_text(HEADER + rows, encoding="utf-8")
    return path


def test_the_command_reports_each_bad_row_goes_on_and_exits_1(gateway: FakeGateway, tmp_path: Path) -> None:
    gateway.refuses = {"refused"}
    path = csv_of(tmp_path, "r1,s1,good,,,,,a.jpg\nr2,s1,,,,,,a.jpg\nr3,s1,refused,,,,,b.jpg\n")
    called = [str(path), "--gateway", gateway.url, "--state", str(tmp_path / "state.jsonl")]
    result = CliRunner().invoke(import_, called)
    assert result.exit_code == 1
    assert "not imported: row 3, title: is empty; fill it in" in result.output
    assert "not imported: row 4: b.jpg: Not a photo: photo 1 is empty; send a JPEG" in " ".join(result.output.split())
    assert "1 imported, 2 failed (1 photos)" in result.output


def test_the_command_twice_skips_what_is_done_and_exits_0(gateway: FakeGateway, tmp_path: Path) -> None:
    photo_files(tmp_path / "photos", "a.jpg", "b.jpg")
    called = [str(tmp_path / "photos"), "--gateway", gateway.url, "--state", str(tmp_path / "state.jsonl")]
    assert CliRunner().invoke(import_, called).exit_code == 0
    again = CliRunner().invoke(import_, called)
    assert again.exit_code == 0
    assert "0 imported, 2 unchanged" in again.output
    assert gateway.uploads == 2


def test_an_empty_folder_is_one_clear_line(tmp_path: Path) -> None:
    result = CliRunner().invoke(import_, [str(tmp_path)])
    assert result.exit_code == 1
    assert "nothing to import" in result.output


def test_an_address_without_a_scheme_is_refused_at_once(tmp_path: Path) -> None:
    photo_files(tmp_path, "a.jpg")
    result = CliRunner().invoke(import_, [str(tmp_path), "--gateway", "localhost:8080"])
    assert result.exit_code == 2
    assert "write it like http://" in result.output


def called(gateway: FakeGateway, home: Path, *arguments: object) -> Result:
    environment = {"VITRINE_HOME": str(home)}
    return CliRunner(env=environment).invoke(import_, [*map(str, arguments), "--gateway", gateway.url])


def test_next_months_file_updates_the_same_listing_from_wherever_it_comes(gateway: FakeGateway, tmp_path: Path) -> None:
    def sheet(place: str, price: str) -> Path:
        photo_files(tmp_path / place, "a.jpg")
        path = tmp_path / place / f"{len(list(tmp_path.rglob('*.csv')))}.csv"
        path.write_text(f"{HEADER}SKU-1,s1,Tee,,,{price},EUR,{tmp_path / place / 'a.jpg'}\n")
        return path

    here, there = tmp_path / "home", tmp_path / "other"
    for place, home, price, said in (
        ("jan", here, "19.99", "1 imported (1 photos)"),
        ("jan", here, "9.99", "1 updated"),
        ("feb", here, "14.99", "1 updated"),
        ("mar", there, "19.99", "1 updated"),
        ("apr", here, "19.99", "1 unchanged"),
        ("apr", here, "14.99", "1 updated"),
    ):
        result = called(gateway, home, sheet(place, price))
        assert (result.exit_code, said in result.output) == (0, True), result.output
        (listing_id,) = gateway.listings
        assert gateway.price(listing_id) == price
    assert len(list((here / "data" / "imports").glob("*.jsonl"))) == 1


def test_everything_odd_in_a_folder_is_named_and_the_rest_is_imported(gateway: FakeGateway, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    photo_files(folder, "a.jpg", "b.JFIF", "照片.jpg", "notes.txt", "old.bmp", "@eaDir/a.jpg/x.jpg", "._a.jpg")
    (folder / "empty.png").touch()
    (folder / "gone.jpg").symlink_to("nowhere.jpg")
    (folder / "bracket [b].jpg").write_bytes(b"x")
    Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9.jpg")).write_bytes(b"y")
    result = called(gateway, tmp_path, folder)
    assert result.exit_code == 1
    assert "5 imported, 3 failed, 1 passed over (5 photos)" in result.output
    for named in ("old.bmp", "empty.png", "gone.jpg", "notes.txt"):
        assert named in result.output
    titles = {one["listing"]["title"] for one in gateway.listings.values()}
    assert titles == {"a", "b", "照片", "bracket [b]", r"caf\xe9"}


def test_thousands_of_other_files_are_counted(gateway: FakeGateway, tmp_path: Path) -> None:
    photo_files(tmp_path, "p/a.jpg", *(f"p/{n}.txt" for n in range(100)))
    result = called(gateway, tmp_path, tmp_path / "p")
    assert result.exit_code == 0
    assert "1 imported, 100 passed over" in result.output
    assert "80 more like these" in result.output and result.output.count(".txt") == 20


@pytest.mark.parametrize("url", ["http://", "http://localhost:port", "ftp://localhost"])
def test_an_address_that_is_none_is_refused_at_once(tmp_path: Path, url: str) -> None:
    photo_files(tmp_path, "a.jpg")
    assert CliRunner().invoke(import_, [str(tmp_path), "--gateway", url]).exit_code == 2


def test_a_photo_instead_of_its_folder_is_one_clear_line(tmp_path: Path) -> None:
    photo_files(tmp_path, "a.jpg")
    result = CliRunner().invoke(import_, [str(tmp_path / "a.jpg")])
    assert result.exit_code == 1
    assert "is a photo; give the folder" in result.output
