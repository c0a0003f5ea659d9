"""Listings in a CSV, as spreadsheets write it."""

import codecs
import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path

from client.folders import NO_SUCH_FILE, OTHER_IMAGES, OTHERWISE, problem_of, suffix_of
from client.listing import BadRow, Feed, ListingUpload, NotImportable, distinct

COLUMNS = ("reference", "seller_id", "title", "category", "brand", "price", "currency", "photos")
REQUIRED_COLUMNS = ("reference", "title", "photos")
# Comma first: it is taken where a header of one column doesn't tell.
_SEPARATORS = (",", ";", "\t", "|")
_WIDE = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_WORKBOOKS = {b"PK\x03\x04": "an Excel or OpenDocument workbook", b"\xd0\xcf\x11\xe0": "an old Excel workbook"}
# Of one cell; the csv module's own would refuse some that spreadsheets hold.
_LONGEST_CELL = 2**20


@dataclass(frozen=True, slots=True)
class _Row:
    """`number` is what a spreadsheet shows beside it: blank rows count, and a cell of several lines is in one row."""

    number: int
    cells: list[str]
    problem: str = ""

    @property
    def where(self) -> str:
        return f"row {self.number}"

    @property
    def is_blank(self) -> bool:
        return not self.problem and not any(cell.strip() for cell in self.cells)


@dataclass(frozen=True, slots=True)
class _Sheet:
    columns: list[str]
    rows: list[_Row]
    separator: str


def read_csv(path: Path, seller_id: str | None = None) -> Feed:
    """A header naming columns of COLUMNS, then a listing per row; photos are paths, separated by semicolons.

    UTF-8 or UTF-16, separated by commas, semicolons or tabs. Paths are relative to the CSV's folder. `seller_id` stands
    in where the column is absent or empty. Raises NotImportable when the file as a whole can't be read as such a CSV.
    """
    sheet = _opened(path)
    _check_header(path, sheet.columns, seller_id)
    rows = [row for row in sheet.rows if not row.is_blank]
    uploads, bad = distinct([_parsed(row, sheet, path.parent, seller_id) for row in rows])
    return Feed(uploads, bad)


# --- the file ---------------------------------------------------------------------------------------------------------


def _opened(path: Path) -> _Sheet:
    lines = list(io.StringIO(_text(path), newline=""))
    said = re.fullmatch(r"sep=(.)\s*", lines[0], re.IGNORECASE) if lines else None
    if said:  # Excel reads this and shows no row of it
        lines = lines[1:]
    separator = said[1] if said else _separator(lines)
    rows = _rows(lines, separator)
    header = next((row for row in rows if not row.is_blank), _Row(1, []))
    if header.problem:
        raise NotImportable(f"{path}, {header.where}: {header.problem}")
    return _Sheet([cell.strip().lower() for cell in header.cells], list(rows), separator)


def _separator(lines: Sequence[str]) -> str:
    """That which makes the most of the header's names known ones."""
    header = next((line.lower() for line in lines if line.strip("".join(_SEPARATORS) + "\r\n ")), "")
    names = {one: {cell.strip(' "\r\n') for cell in header.split(one)} for one in _SEPARATORS}
    return max(_SEPARATORS, key=lambda one: len(names[one] & set(COLUMNS)))


def _text(path: Path) -> str:
    try:
        body = path.read_bytes()
    except OSError as why:
        raise NotImportable(f"cannot read {path}: {why.strerror}") from why
    for begins, kind in _WORKBOOKS.items():
        if body.startswith(begins):
            raise NotImportable(f"{path} is {kind}: save it as 'CSV UTF-8'")
    encoding = "utf-16" if body.startswith(_WIDE) else "utf-8-sig"
    try:
        return body.decode(encoding)
    except UnicodeDecodeError as why:
        kind = "UTF-16, though it begins so," if encoding == "utf-16" else "UTF-8"
        raise NotImportable(f"{path} is not {kind} (byte {why.start}): save it as 'CSV UTF-8'") from why


def _rows(lines: Sequence[str], separator: str) -> Iterator[_Row]:
    """A row that can't be read costs itself only: reading goes on with the line after its first."""
    csv.field_size_limit(_LONGEST_CELL)
    start = number = 0
    while start < len(lines):
        ended = 0
        rest = csv.reader((lines[at] for at in range(start, len(lines))), delimiter=separator, strict=True)
        try:
            for cells in rest:
                number, ended = number + 1, rest.line_num
                yield _Row(number, cells)
        except csv.Error as why:
            number += 1
            yield _Row(number, [], f"can't be read ({why}): check its quotes")
        start += ended + 1


def _check_header(path: Path, names: Sequence[str], seller_id: str | None) -> None:
    required = REQUIRED_COLUMNS if seller_id else (*REQUIRED_COLUMNS, "seller_id")
    if missing := [name for name in required if name not in names]:
        hint = "; use --seller ID for all rows" if missing == ["seller_id"] else ""
        has = ", ".join(filter(None, names)) or "nothing"
        raise NotImportable(f"{path} lacks the column {', '.join(missing)} (its header has: {has}){hint}")
    if unknown := [name for name in names if name and name not in COLUMNS]:
        raise NotImportable(f"{path} has unknown columns {', '.join(unknown)}; known are {', '.join(COLUMNS)}")
    if twice := sorted({name for name in names if name and names.count(name) > 1}):
        raise NotImportable(f"{path} has the column {', '.join(twice)} twice; keep one")


# --- a row ------------------------------------------------------------------------------------------------------------


def _parsed(row: _Row, sheet: _Sheet, folder: Path, seller_id: str | None) -> ListingUpload | BadRow:
    if row.problem:
        return BadRow(row.where, "", row.problem)
    cells = [cell.strip() for cell in row.cells]
    unnamed = [at for at, cell in enumerate(cells) if cell and (at >= len(sheet.columns) or not sheet.columns[at])]
    if unnamed:
        problem = f"more fields than the header; put quotes around values that contain {_spoken(sheet.separator)}"
        return BadRow(row.where, "", problem)
    value = dict.fromkeys(COLUMNS, "") | dict(zip(sheet.columns, cells, strict=False))
    value["seller_id"] = value["seller_id"] or seller_id or ""
    for name in (*REQUIRED_COLUMNS, "seller_id"):
        if not value[name]:
            return BadRow(row.where, name, "is empty; fill it in")
    if sheet.separator == ";" and re.fullmatch(r"\d+,\d{1,2}", value["price"]):
        # Where semicolons separate, the comma is the decimal point.
        value["price"] = value["price"].replace(",", ".")
    if wrong := _price_problem(value["price"], value["currency"]):
        return BadRow(row.where, *wrong)
    photos = tuple(folder / name.strip() for name in value["photos"].split(";") if name.strip())
    if problem := _photos_problem(photos):
        return BadRow(row.where, "photos", problem)
    return ListingUpload(
        reference=value["reference"],
        seller_id=value["seller_id"],
        title=value["title"],
        photos=photos,
        category=value["category"] or None,
        brand=value["brand"] or None,
        price=value["price"] or None,
        currency=value["currency"] or None,
        origin=row.where,
    )


def _photos_problem(photos: Sequence[Path]) -> str:
    if not photos:
        return "names no file; fill it in"
    for photo in photos:
        if suffix_of(photo) in OTHER_IMAGES:
            return f"{photo.name}: {OTHERWISE}"
        problem = problem_of(photo)
        if problem == NO_SUCH_FILE:
            return f"{problem}: {photo}; paths are relative to the CSV's folder"
        if problem:
            return f"{photo}: {problem}"
    return ""


def _price_problem(price: str, currency: str) -> tuple[str, str] | None:
    if not price:
        return ("price", "is empty although there is a currency; fill in both or neither") if currency else None
    try:
        amount = Decimal(price)
    except InvalidOperation:
        return "price", f"{price!r} is not a number; write it like 19.99, without a currency sign"
    if not amount.is_finite() or amount < 0:
        return "price", f"{price!r} is not a price; it must be 0 or more"
    if not re.fullmatch(r"\d{1,12}(\.\d{1,9})?", price, re.ASCII):
        return "price", f"{price!r} is not written like 19.99: at most twelve digits, and nine after a point"
    if not re.fullmatch("[A-Z]{3}", currency):
        return "currency", f"{currency!r} is not an ISO 4217 code; write it like EUR"
    return None


def _spoken(separator: str) -> str:
    return {",": "a comma", ";": "a semicolon", "\t": "a tab"}.get(separator, separator)
