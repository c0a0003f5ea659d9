"""A CSV as spreadsheets write it becomes listings, and every row has its outcome."""

import codecs
from pathlib import Path

import pytest

from client.listing import NotImportable
from client.sheets import read_csv

HEADER = "reference,seller_id,title,category,brand,price,currency,photos\n"


def photo_files(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).write_bytes(name.encode())


def csv_of(folder: Path, rows: str, header: str = HEADER) -> Path:
    photo_files(folder, "a.jpg", "b.jpg")
    path = folder / "listings.csv"
    path.write_text(header + rows, encoding="utf-8")
    return path


def test_a_csv_row_becomes_a_listing(tmp_path: Path) -> None:
    feed = read_csv(csv_of(tmp_path, 'r1,s1,"A shirt, red",garments,Bao,19.99,EUR,a.jpg; b.jpg\n'))
    (one,) = feed.uploads
    assert (one.title, one.price, one.currency, one.origin) == ("A shirt, red", "19.99", "EUR", "row 2")
    assert one.photos == (tmp_path / "a.jpg", tmp_path / "b.jpg")


def test_a_byte_order_mark_and_missing_optional_columns_are_fine(tmp_path: Path) -> None:
    path = csv_of(tmp_path, "r1,衬衫,a.jpg\n", "\ufeffreference,title,photos\n")
    (one,) = read_csv(path, "me").uploads
    assert (one.seller_id, one.title, one.price) == ("me", "衬衫", None)


@pytest.mark.parametrize(
    ("row", "where"),
    [
        (",s1,t,,,,,a.jpg", "row 2, reference: is empty"),
        ("r,s1,,,,,,a.jpg", "row 2, title: is empty"),
        ("r,,t,,,,,a.jpg", "row 2, seller_id: is empty"),
        ("r,s1,t,,,,,", "row 2, photos: is empty"),
        ("r,s1,t,,,,,nowhere.jpg", "row 2, photos: no such file"),
        ('r,s1,t,,,"19,99",EUR,a.jpg', "row 2, price: '19,99' is not a number"),
        ("r,s1,t,,,-1,EUR,a.jpg", "row 2, price: '-1' is not a price"),
        ("r,s1,t,,,NaN,EUR,a.jpg", "row 2, price: 'NaN' is not a price"),
        ("r,s1,t,,,5,euro,a.jpg", "row 2, currency: 'euro' is not an ISO 4217 code"),
        ("r,s1,t,,,5,,a.jpg", "row 2, currency: '' is not an ISO 4217 code"),
        ("r,s1,t,,,,EUR,a.jpg", "row 2, price: is empty although there is a currency"),
        ("r,s1,a title, with a comma,,,,,a.jpg", "row 2: more fields than the header"),
    ],
)
def test_a_bad_row_is_named_with_its_column_and_the_others_go_on(tmp_path: Path, row: str, where: str) -> None:
    feed = read_csv(csv_of(tmp_path, f"{row}\ngood,s1,t,,,,,a.jpg\n"))
    assert [one.reference for one in feed.uploads] == ["good"]
    assert [str(bad)[: len(where)] for bad in feed.bad] == [where]


def test_a_reference_twice_is_a_bad_row(tmp_path: Path) -> None:
    feed = read_csv(csv_of(tmp_path, "r,s1,t,,,,,a.jpg\nr,s1,u,,,,,b.jpg\nr,s2,t,,,,,a.jpg\n"))
    assert len(feed.uploads) == 2
    assert str(feed.bad[0]).startswith("row 3, reference: 'r' of this seller stands in row 2 already")


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("reference,title\n", "lacks the column photos, seller_id"),
        ("reference,title,photos\n", "use --seller ID"),
        ("reference;title;photos\n", "use --seller ID"),
        (HEADER.replace("brand", "title"), "the column title twice"),
        ("", "lacks the column"),
        (HEADER.replace("brand", "brnad"), "unknown columns brnad"),
    ],
)
def test_a_wrong_header_is_one_clear_line(tmp_path: Path, header: str, said: str) -> None:
    with pytest.raises(NotImportable, match=said):
        read_csv(csv_of(tmp_path, "", header))


def test_a_csv_in_another_encoding_says_how_to_save_it(tmp_path: Path) -> None:
    path = tmp_path / "listings.csv"
    path.write_bytes(HEADER.encode() + "r,s1,Größe,,,,,a.jpg".encode("latin-1"))
    with pytest.raises(NotImportable, match="CSV UTF-8"):
        read_csv(path)


def rows_of(folder: Path, body: bytes | str) -> Path:
    """The sheet, in whatever encoding and with whatever separator, and photos beside it."""
    photo_files(folder, "a.jpg", "b.jpg")
    path = folder / "listings.csv"
    path.write_bytes(body.encode() if isinstance(body, str) else body)
    return path


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_rows_are_numbered_as_a_spreadsheet_does(tmp_path: Path, end: str) -> None:
    lines = [
        "",  # 1
        "reference,title,photos",  # 2
        "r3,t,a.jpg",
        "",  # 4
        ",,",  # 5
        " , ,",  # 6
        'r7,"two',
        "lines, three",
        'lines",a.jpg',
        "r8,,a.jpg",
        "r9,t,a.jpg",
        ",,",
        "",
    ]
    feed = read_csv(rows_of(tmp_path, end.join(lines)), "me")
    assert [(one.reference, one.origin) for one in feed.uploads] == [
        ("r3", "row 3"),
        ("r7", "row 7"),
        ("r9", "row 9"),
    ]
    assert [str(bad) for bad in feed.bad] == ["row 8, title: is empty; fill it in"]


@pytest.mark.parametrize(
    "bad",
    ['r2,"never closed,a.jpg', 'r2,"closed"too soon,a.jpg', 'r2,"in a"b,a.jpg\nr2b,",a.jpg', "r2,t," + "x" * 2**21],
)
def test_a_row_that_cannot_be_read_costs_no_other(tmp_path: Path, bad: str) -> None:
    body = f'reference,title,photos\n{bad}\nr3,"Shirt, red",a.jpg\nr4,t,b.jpg\n'
    feed = read_csv(rows_of(tmp_path, body), "me")
    assert [(one.reference, one.title) for one in feed.uploads] == [("r3", "Shirt, red"), ("r4", "t")]
    assert feed.bad[0].where == "row 2"


TABLE = "reference{0}title{0}price{0}currency{0}photos\nr1{0}Größe 衬衫{0}19.90{0}EUR{0}a.jpg\n"


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize(
    ("encoding", "mark"),
    [
        ("utf-8", b""),
        ("utf-8", codecs.BOM_UTF8),
        ("utf-16-le", codecs.BOM_UTF16_LE),
        ("utf-16-be", codecs.BOM_UTF16_BE),
    ],
)
def test_whatever_a_spreadsheet_saves_is_read(tmp_path: Path, separator: str, encoding: str, mark: bytes) -> None:
    body = mark + TABLE.format(separator).encode(encoding)
    (one,) = read_csv(rows_of(tmp_path, body), "me").uploads
    assert (one.title, one.price, one.photos) == ("Größe 衬衫", "19.90", (tmp_path / "a.jpg",))


def test_where_semicolons_separate_the_comma_is_the_decimal_point(tmp_path: Path) -> None:
    body = 'sep=;\nreference;title;price;currency;photos\nr1;t;19,90;EUR;"a.jpg;b.jpg"\nr2;;1;EUR;a.jpg\n'
    feed = read_csv(rows_of(tmp_path, body), "me")
    assert [(one.price, len(one.photos)) for one in feed.uploads] == [("19.90", 2)]
    assert feed.bad[0].where == "row 3"  # Excel doesn't show the line sep=;


def test_empty_columns_at_the_end_are_nothing(tmp_path: Path) -> None:
    feed = read_csv(rows_of(tmp_path, "Reference, Title ,photos,,\nr1,t,a.jpg,,\nr2,t,a.jpg,x,\n"), "me")
    assert len(feed.uploads) == 1
    assert "row 3: more fields than the header" in str(feed.bad[0])


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("x" * 300 + ".jpg", "cannot be read: File name too long"),
        ("a\0.jpg", "is no file's name"),
        ("folder.jpg", "is a folder"),
        ("empty.jpg", "is empty: it has 0 bytes"),
        ("broken.jpg", "which isn't there"),
        ("loop.jpg", "cannot be read: Too many levels"),
        ("scan.tiff", "convert it to JPEG"),
        (" ; ", "names no file"),
    ],
)
def test_an_odd_photo_fails_its_row_only(tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "scan.tiff").touch()
    (tmp_path / "broken.jpg").symlink_to("gone.jpg")
    (tmp_path / "loop.jpg").symlink_to("loop.jpg")
    feed = read_csv(rows_of(tmp_path, f"reference,title,photos\nr1,t,{name}\nr2,t,a.jpg\n"), "me")
    assert [one.reference for one in feed.uploads] == ["r2"]
    assert str(feed.bad[0]).startswith("row 2, photos: ") and said in str(feed.bad[0])


def test_a_workbook_says_how_to_save_it(tmp_path: Path) -> None:
    with pytest.raises(NotImportable, match="an Excel or OpenDocument workbook: save it as 'CSV UTF-8'"):
        read_csv(rows_of(tmp_path, b"PK\x03\x04rest"))


def test_a_row_is_told_in_one_line_that_does_nothing(tmp_path: Path) -> None:
    feed = read_csv(rows_of(tmp_path, 'reference,title,photos\nr1,t,"a\x1b[31m\nb.jpg"\n'), "me")
    assert r"a\x1b[31m\nb.jpg" in str(feed.bad[0])
    assert str(feed.bad[0]).isprintable()
