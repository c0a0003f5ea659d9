"""`vitrine import`: a folder of photos, or a CSV with claims, uploaded through the gateway.

The upload of a listing may be repeated as often as it takes: its Idempotency-Key derives from seller and reference, so
the gateway knows it again. What was accepted is noted in a state file, and a second run goes on where the first ended.
"""

import asyncio
import csv
import hashlib
import io
import json
import random
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from pathlib import Path
from typing import Any, TextIO

import click
import httpx
from rich.console import Console

from shared.errors import Transient
from shared.events import deterministic_id

GATEWAY = "http://127.0.0.1:8080"
MEDIA_TYPES = {".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".png": "image/png", ".webp": "image/webp"}
OTHER_IMAGES = {".heic", ".heif", ".avif", ".gif", ".tif", ".tiff", ".bmp", ".svg", ".jp2", ".jxl", ".raw", ".dng"}
COLUMNS = ("reference", "seller_id", "title", "category", "brand", "price", "currency", "photos")
REQUIRED_COLUMNS = ("reference", "title", "photos")
# The gateway is away or overloaded, and says or implies "again later". Anything else is its last word.
TRY_AGAIN = {429, 502, 503, 504}

NEVER_THROUGH_A_PROXY = ("all://127.0.0.1", "all://localhost")

PhotoSource = bytes | Path


@dataclass(frozen=True, slots=True)
class ListingUpload:
    """What a seller offers: claims as they were written, and photos as bytes or as files to be read."""

    reference: str  # the seller's own name for it; with seller_id it identifies the listing
    seller_id: str
    title: str
    photos: tuple[PhotoSource, ...]
    category: str | None = None
    brand: str | None = None
    price: str | None = None  # "19.99"
    currency: str | None = None  # ISO 4217; given exactly when price is
    origin: str = ""  # where it was read, for messages: "row 7"

    @property
    def idempotency_key(self) -> str:
        return deterministic_id("import", self.seller_id, self.reference)

    def as_json(self) -> dict[str, Any]:
        """The gateway's part `listing`."""
        said = {"seller_id": self.seller_id, "title": self.title, "category": self.category, "brand": self.brand}
        listing: dict[str, Any] = {name: value for name, value in said.items() if value is not None}
        if self.price is not None:
            listing["price"] = {"amount": self.price, "currency": self.currency}
        return listing

    def digest(self) -> str:
        """Changes with the claims and the photos; a file counts by path, size and time, so that none need be read.

        Raises OSError when a file is gone.
        """
        return deterministic_id(json.dumps(self.as_json(), sort_keys=True), *(_signature(p) for p in self.photos))


class Effect(StrEnum):
    IMPORTED = "imported"
    UPDATED = "updated"  # imported earlier with other claims or photos: now a new revision
    UNCHANGED = "unchanged"  # imported earlier, as it is
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of one upload. With `error` there is no listing id, or only that of an earlier import."""

    reference: str
    seller_id: str
    effect: Effect
    listing_id: str | None = None
    revision: int | None = None
    photos: tuple[str, ...] = ()  # sha256 of each stored photo, in the order uploaded
    error: str | None = None
    origin: str = ""


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row of a CSV, or a file of a folder, that cannot be uploaded as it is."""

    where: str  # "row 7" as a spreadsheet numbers it, or the file's path
    column: str  # "" where the whole row is meant
    problem: str  # what is wrong and what to do

    def __str__(self) -> str:
        return f"{self.where}, {self.column}: {self.problem}" if self.column else f"{self.where}: {self.problem}"


@dataclass(frozen=True, slots=True)
class Source:
    """All that a folder or CSV offers, good and bad."""

    uploads: tuple[ListingUpload, ...]
    bad: tuple[BadRow, ...]


@dataclass(frozen=True, slots=True)
class Retries:
    """Waits double from the first to the longest, with jitter. The default bears with a gateway for about a minute."""

    attempts: int = 16
    first_wait: float = 0.25
    longest_wait: float = 5.0

    def wait(self, attempt: int) -> float:
        """Seconds between this attempt, counted from 0, and the next."""
        return min(self.longest_wait, self.first_wait * 2.0**attempt) * random.uniform(0.75, 1.25)


@dataclass(frozen=True, slots=True)
class Done:
    """One line of the state file."""

    seller_id: str
    reference: str
    digest: str
    listing_id: str
    revision: int
    photos: tuple[str, ...]


@dataclass
class State:
    """What earlier runs uploaded, appended to line by line, so that a crash costs at most the line being written."""

    done: dict[tuple[str, str], Done] = field(default_factory=dict)
    _file: TextIO | None = None

    @classmethod
    def open(cls, path: Path) -> "State":
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        known = [done for line in lines if (done := _done(line))]
        file = path.open("a", encoding="utf-8")
        if lines and not path.read_bytes().endswith(b"\n"):
            file.write("\n")  # a line torn by a crash must not swallow the next one
        return cls({(d.seller_id, d.reference): d for d in known}, file)

    def find(self, upload: ListingUpload) -> Done | None:
        return self.done.get((upload.seller_id, upload.reference))

    def note(self, done: Done) -> None:
        self.done[done.seller_id, done.reference] = done
        if self._file:
            self._file.write(json.dumps(asdict(done), ensure_ascii=False) + "\n")
            self._file.flush()

    def close(self) -> None:
        if self._file:
            self._file.close()


# --- reading ----------------------------------------------------------------------------------------------------------


def read_source(path: Path, seller_id: str | None = None, by_folder: bool = False) -> Source:
    """A folder or a CSV. Raises click.ClickException when it is neither, or holds nothing to import."""
    source = read_folder(path, seller_id or "local", by_folder) if path.is_dir() else read_csv(path, seller_id)
    if not source.uploads and not source.bad:
        kinds = ", ".join(MEDIA_TYPES)
        raise click.ClickException(f"nothing to import in {path}: expected photos ({kinds}) or rows under a CSV header")
    return source


def read_folder(folder: Path, seller_id: str, by_folder: bool = False) -> Source:
    """Each photo below the folder is a listing, titled after its file, in the order of the paths.

    With `by_folder` each folder that holds photos is one listing, titled after the folder, its photos in the order of
    their names. Hidden files and folders are passed over, and so is what is no image by its name.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not _hidden(path.relative_to(folder)))
    photos = [path for path in files if path.suffix.lower() in MEDIA_TYPES]
    bad = tuple(
        BadRow(str(path.relative_to(folder)), "", f"{path.suffix} is not accepted; convert it to JPEG, PNG or WebP")
        for path in files
        if path.suffix.lower() in OTHER_IMAGES
    )
    groups: dict[Path, list[Path]] = {}
    for photo in photos:
        groups.setdefault(photo.parent if by_folder else photo, []).append(photo)
    uploads = tuple(
        ListingUpload(
            reference=name.relative_to(folder).as_posix(),
            seller_id=seller_id,
            title=_title(name.resolve().name if by_folder else name.stem),
            photos=tuple(members),
            origin=str(name.relative_to(folder)),
        )
        for name, members in groups.items()
    )
    return Source(uploads, bad)


def read_csv(path: Path, seller_id: str | None = None) -> Source:
    """UTF-8, comma-separated, with a header naming columns of COLUMNS; photos are paths, separated by semicolons.

    Paths are relative to the CSV's folder. `seller_id` stands in where the column is absent or empty. Raises
    click.ClickException when the file as a whole can't be read as such a CSV.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as why:
        raise click.ClickException(f"{path} is not UTF-8 (byte {why.start}): save it as 'CSV UTF-8'") from why
    except OSError as why:
        raise click.ClickException(f"cannot read {path}: {why.strerror}") from why
    rows = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        _check_header(path, rows.fieldnames, seller_id)
        # Numbered as a spreadsheet does: the header is row 1.
        parsed = list(_parsed_rows(enumerate(rows, start=2), path.parent, seller_id))
    except csv.Error as why:
        raise click.ClickException(f"{path}, line {rows.line_num}: {why}; check the quotes") from why
    uploads = tuple(row for row in parsed if isinstance(row, ListingUpload))
    return Source(uploads, tuple(row for row in parsed if isinstance(row, BadRow)))


def _check_header(path: Path, header: Sequence[str] | None, seller_id: str | None) -> None:
    names = list(header or [])
    required = REQUIRED_COLUMNS if seller_id else (*REQUIRED_COLUMNS, "seller_id")
    missing = [name for name in required if name not in names]
    if missing:
        hint = "; use --seller ID for all rows" if missing == ["seller_id"] else ""
        raise click.ClickException(
            f"{path} lacks the column {', '.join(missing)} (its header has: {', '.join(names) or 'nothing'}){hint}"
        )
    unknown = [name for name in names if name not in COLUMNS]
    if unknown:
        raise click.ClickException(f"{path} has unknown columns {', '.join(unknown)}; known are {', '.join(COLUMNS)}")


def _parsed_rows(
    rows: Iterable[tuple[int, dict[str | Any, str | Any]]], folder: Path, seller_id: str | None
) -> Iterator[ListingUpload | BadRow]:
    seen: dict[tuple[str, str], str] = {}
    for number, row in rows:
        parsed = _parsed(f"row {number}", row, folder, seller_id)
        if isinstance(parsed, ListingUpload):
            name = (parsed.seller_id, parsed.reference)
            if name in seen:
                problem = f"{parsed.reference!r} of this seller stands in {seen[name]} already; references are unique"
                yield BadRow(parsed.origin, "reference", problem)
                continue
            seen[name] = parsed.origin
        yield parsed


def _parsed(where: str, row: dict[str | Any, str | Any], folder: Path, seller_id: str | None) -> ListingUpload | BadRow:
    if None in row:
        return BadRow(where, "", "more fields than the header; put quotes around values that contain a comma")
    value = {name: (row.get(name) or "").strip() for name in COLUMNS}
    value["seller_id"] = value["seller_id"] or seller_id or ""
    for name in (*REQUIRED_COLUMNS, "seller_id"):
        if not value[name]:
            return BadRow(where, name, "is empty; fill it in")
    if problem := _price_problem(value["price"], value["currency"]):
        return BadRow(where, *problem)
    photos = tuple(folder / name.strip() for name in value["photos"].split(";") if name.strip())
    for photo in photos:
        if not photo.is_file():
            return BadRow(where, "photos", f"no such file: {photo}; paths are relative to the CSV's folder")
        if photo.suffix.lower() in OTHER_IMAGES:
            return BadRow(where, "photos", f"{photo.name}: convert it to JPEG, PNG or WebP")
    return ListingUpload(
        reference=value["reference"],
        seller_id=value["seller_id"],
        title=value["title"],
        photos=photos,
        category=value["category"] or None,
        brand=value["brand"] or None,
        price=value["price"] or None,
        currency=value["currency"] or None,
        origin=where,
    )


def _price_problem(price: str, currency: str) -> tuple[str, str] | None:
    if not price:
        return ("price", "is empty although there is a currency; fill in both or neither") if currency else None
    try:
        amount = Decimal(price)
    except InvalidOperation:
        return "price", f"{price!r} is not a number; write it like 19.99, without a currency sign"
    if not amount.is_finite() or amount < 0:
        return "price", f"{price!r} is not a price; it must be 0 or more"
    if not (len(currency) == 3 and currency.isascii() and currency.isalpha() and currency.isupper()):
        return "currency", f"{currency!r} is not an ISO 4217 code; write it like EUR"
    return None


# --- uploading --------------------------------------------------------------------------------------------------------


async def import_listings(
    listings: AsyncIterable[ListingUpload] | Iterable[ListingUpload],
    gateway_url: str = GATEWAY,
    on_progress: Callable[[Imported], None] | None = None,
    *,
    state: State | None = None,
    concurrency: int = 8,
    retries: Retries | None = None,
) -> list[Imported]:
    """Uploads each listing, at most `concurrency` at once, and says what became of it, in the order given.

    A refusal fails that listing only. When the gateway stays away through all retries, the rest is not tried: every
    one of them fails with that reason. `on_progress` is called once per listing, as each ends. An iterator is drawn
    from in a thread, one at a time, so it may render or read.
    """
    async with httpx.AsyncClient(
        base_url=gateway_url,
        timeout=httpx.Timeout(60.0, connect=5.0),
        limits=httpx.Limits(max_connections=concurrency),
        mounts=dict.fromkeys(NEVER_THROUGH_A_PROXY),
    ) as client:
        uploader = _Uploader(client, gateway_url, state or State(), retries or Retries())
        numbered = _numbered(listings)
        drawing = asyncio.Lock()
        ended: dict[int, Imported] = {}

        async def upload_until_empty() -> None:
            while True:
                async with drawing:
                    drawn = await anext(numbered, None)
                if drawn is None:
                    return
                number, upload = drawn
                ended[number] = await uploader.upload(upload)
                if on_progress:
                    on_progress(ended[number])

        async with asyncio.TaskGroup() as group:
            for _ in range(concurrency):
                group.create_task(upload_until_empty())
    return [ended[number] for number in sorted(ended)]


class _GatewayAway(Transient):
    """Through all retries."""


class _Refused(Exception):
    """The gateway's last word on one listing."""


@dataclass
class _Uploader:
    client: httpx.AsyncClient
    gateway_url: str
    state: State
    retries: Retries
    away: str | None = None

    async def upload(self, upload: ListingUpload) -> Imported:
        known = self.state.find(upload)
        try:
            digest = upload.digest()
            if known and known.digest == digest:
                return _as_imported(upload, known, Effect.UNCHANGED)
            if self.away:
                raise _GatewayAway(f"not tried: {self.away}")
            answer = await (self._replace(upload, known, digest) if known else self._create(upload))
        except _GatewayAway as why:
            self.away = self.away or str(why)
            return _failed(upload, str(why))
        except _Refused as why:
            return _failed(upload, str(why))
        except OSError as why:
            return _failed(upload, f"cannot read {why.filename}: {why.strerror}")
        done = _accepted(upload, digest, answer)
        self.state.note(done)
        return _as_imported(upload, done, Effect.UPDATED if known else Effect.IMPORTED)

    async def _create(self, upload: ListingUpload) -> dict[str, Any]:
        return await self._send("POST", "/v1/listings", upload, upload.idempotency_key)

    async def _replace(self, upload: ListingUpload, known: Done, digest: str) -> dict[str, Any]:
        # What it was before belongs to the key: going back to earlier claims is a new revision too.
        key = deterministic_id(upload.idempotency_key, known.revision, digest)
        return await self._send("PUT", f"/v1/listings/{known.listing_id}", upload, key)

    async def _send(self, method: str, path: str, upload: ListingUpload, key: str) -> dict[str, Any]:
        files = [("listing", ("listing.json", json.dumps(upload.as_json()).encode(), "application/json"))]
        files += [("photos", await _part(photo)) for photo in upload.photos]
        answer = await self._request(method, path, files, {"Idempotency-Key": key})
        if answer.is_success:
            return _json_object(answer)
        raise _Refused(_problem(answer))

    async def _request(self, method: str, path: str, files: Any, headers: dict[str, str]) -> httpx.Response:
        why = ""
        for attempt in range(self.retries.attempts):
            at_least = 0.0
            try:
                answer = await self.client.request(method, path, files=files, headers=headers)
            except httpx.TransportError as error:
                why = f"no gateway answers at {self.gateway_url} ({type(error).__name__}): start it, or give --gateway"
            else:
                if answer.status_code not in TRY_AGAIN:
                    return answer
                why = f"the gateway at {self.gateway_url} is not ready: {_problem(answer)}"
                at_least = _retry_after(answer, self.retries.longest_wait)
            if attempt < self.retries.attempts - 1:
                await asyncio.sleep(max(at_least, self.retries.wait(attempt)))
        raise _GatewayAway(why)


async def _numbered(
    listings: AsyncIterable[ListingUpload] | Iterable[ListingUpload],
) -> AsyncIterator[tuple[int, ListingUpload]]:
    number = 0
    if isinstance(listings, AsyncIterable):
        async for upload in listings:
            yield number, upload
            number += 1
        return
    iterator = iter(listings)
    while (drawn := await asyncio.to_thread(next, iterator, None)) is not None:
        yield number, drawn
        number += 1


def _accepted(upload: ListingUpload, digest: str, answer: dict[str, Any]) -> Done:
    return Done(
        upload.seller_id,
        upload.reference,
        digest,
        str(answer["listing_id"]),
        int(answer["revision"]),
        tuple(str(photo["sha256"]) for photo in answer["photos"]),
    )


def _as_imported(upload: ListingUpload, done: Done, effect: Effect) -> Imported:
    return Imported(
        upload.reference,
        upload.seller_id,
        effect,
        done.listing_id,
        done.revision,
        done.photos,
        origin=upload.origin,
    )


def _failed(upload: ListingUpload, why: str) -> Imported:
    return Imported(upload.reference, upload.seller_id, Effect.FAILED, error=why, origin=upload.origin)


def _problem(answer: httpx.Response) -> str:
    """One line of an RFC 9457 problem, or of whatever came instead."""
    try:
        problem = answer.json()
    except ValueError:
        problem = None
    if not isinstance(problem, dict):
        return f"HTTP {answer.status_code} {answer.reason_phrase}"
    said = [str(problem[name]) for name in ("title", "detail") if problem.get(name)]
    return f"{': '.join(said) or answer.reason_phrase} (HTTP {answer.status_code})"


def _json_object(answer: httpx.Response) -> dict[str, Any]:
    try:
        found = answer.json()
    except ValueError as why:
        raise _Refused(f"the answer is not JSON; is {answer.url} Vitrine's gateway?") from why
    if not isinstance(found, dict) or not {"listing_id", "revision", "photos"} <= found.keys():
        raise _Refused(f"the answer names no listing; is {answer.url} Vitrine's gateway?")
    return found


def _retry_after(answer: httpx.Response, at_most: float) -> float:
    said = answer.headers.get("Retry-After", "")
    return min(float(said), at_most) if said.isdigit() else 0.0


async def _part(photo: PhotoSource) -> tuple[str, bytes, str]:
    """File name, body and media type. The gateway looks at the bytes; the type is only what the name says."""
    if isinstance(photo, bytes):
        return "photo", photo, "application/octet-stream"
    body = await asyncio.to_thread(photo.read_bytes)
    return photo.name, body, MEDIA_TYPES.get(photo.suffix.lower(), "application/octet-stream")


def _signature(photo: PhotoSource) -> str:
    if isinstance(photo, bytes):
        return hashlib.sha256(photo).hexdigest()
    stat = photo.stat()
    return f"{photo.resolve()}|{stat.st_size}|{stat.st_mtime_ns}"


def _done(line: str) -> Done | None:
    try:
        found = json.loads(line)
        return Done(**{**found, "photos": tuple(found["photos"])})
    except (ValueError, TypeError, KeyError):
        return None


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _title(name: str) -> str:
    """ "red_t-shirt__02" reads "red t-shirt 02"."""
    return " ".join(name.replace("_", " ").split()) or name


def state_path(home: Path, source: Path, gateway_url: str) -> Path:
    """Beside the data that it speaks of: whoever deletes home/data starts afresh, imports too."""
    return home / "data" / "imports" / f"{deterministic_id(source.resolve(), gateway_url.rstrip('/'))}.jsonl"


def summary(ended: Sequence[Imported], bad: int = 0) -> str:
    """ "120 imported, 3 unchanged, 2 failed"; those that never were uploaded count as failed."""
    counts = {effect: sum(one.effect == effect for one in ended) for effect in Effect}
    counts[Effect.FAILED] += bad
    photos = sum(len(one.photos) for one in ended)
    said = ", ".join(f"{count} {effect}" for effect, count in counts.items() if count or effect == Effect.IMPORTED)
    return f"{said} ({photos} photos)"


def complain(console: Console, what: str) -> None:
    """One line, however long."""
    console.print(f"not imported: {what}", style="red", markup=False, highlight=False, soft_wrap=True)


@dataclass
class Failures:
    """Prints each failure, but not a thousand times that the gateway is away."""

    console: Console
    count: int = 0
    _last_not_tried: str = ""

    def show(self, one: Imported) -> None:
        if not one.error:
            return
        self.count += 1
        if one.error.startswith("not tried: "):
            if one.error == self._last_not_tried:
                return
            self._last_not_tried = one.error
        where = one.origin or one.reference
        complain(self.console, f"{where}: {one.error}")
