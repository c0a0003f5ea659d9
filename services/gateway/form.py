"""Reads an upload's multipart form (RFC 7578) as it arrives, never holding more of it than the limits allow."""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import unquote_to_bytes

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from services.gateway.imaging import too_large
from services.gateway.problems import Problem, problem_of_photo
from services.gateway.settings import GatewaySettings

LISTING, PHOTOS = "listing", "photos"

# Also of those that only look like one: the library tries each byte by byte.
_MOST_BOUNDARIES = 1000
# A file name that says how it is coded (RFC 5987). Forms should have none (RFC 7578, 4.2), and some clients send it.
_CODED_NAME = re.compile(rb"""(?i);[ \t]*filename\*[ \t]*=[ \t]*"?(utf-8|iso-8859-1)'[^';"]*'([^;"\s]*)""")


@dataclass(slots=True)
class File:
    """An uploaded photo as it came, until it is taken."""

    body: bytes
    filename: str | None
    index: int

    def taken(self) -> bytes:
        """Its bytes, once."""
        body, self.body = self.body, b""
        return body

    @property
    def where(self) -> dict[str, object]:
        return {"part": PHOTOS, "index": self.index, "filename": self.filename}


@dataclass(frozen=True, slots=True)
class Form:
    listing: bytes
    files: tuple[File, ...]
    caller: str = ""  # who sent it, as callers.py counts them


class Lease(Protocol):
    """Memory for one body."""

    def take(self, size: int) -> None:
        """Raises Problem when there is no more."""
        ...

    def give_back(self) -> None:
        """All that was taken."""
        ...


async def read_form(stream: AsyncIterator[bytes], content_type: str, settings: GatewaySettings, lease: Lease) -> Form:
    """The whole body, taken apart. Raises Problem."""
    parts = _Parts(settings)
    parser = _parser(content_type, parts)
    read = 0
    try:
        async for chunk in _in_time(stream, settings):
            read += len(chunk)
            if read > settings.max_body_bytes:
                raise body_too_large(settings)
            # After a fault all is read and nothing taken apart: who is still sending would not hear the answer.
            if not parts.fault:
                held = parts.held
                parser.write(chunk)
                if parts.fault:
                    lease.give_back()
                else:
                    lease.take(parts.held - held)
    except FormParserError as why:
        raise _malformed(f"{why}.") from why
    if not read:
        raise empty_body()
    if parts.fault:
        raise parts.fault
    if not parts.ended:
        raise _malformed("It ends before its last boundary." if parser.begun else parser.never_begun())
    return parts.form()


async def _in_time(stream: AsyncIterator[bytes], settings: GatewaySettings) -> AsyncIterator[bytes]:
    """The stream while it keeps up; then raises Problem.

    What comes buys time: each byte as much as it may take at the slowest rate, and never more than the grace. So who
    stalls is refused after the grace, however much came before; the whole has `upload_seconds`.
    """
    clock = asyncio.get_running_loop().time
    last = clock() + settings.upload_seconds
    patience = clock() + settings.upload_grace_seconds
    read = 0
    while True:
        try:
            async with asyncio.timeout_at(min(patience, last)):
                chunk = await anext(stream, None)
        except TimeoutError as why:
            raise _too_slow(read, clock() >= last, settings) from why
        if chunk is None:
            return
        read += len(chunk)
        bought = len(chunk) / settings.upload_bytes_per_second
        patience = min(patience + bought, clock() + settings.upload_grace_seconds)
        yield chunk


def _too_slow(read: int, at_the_end: bool, settings: GatewaySettings) -> Problem:
    if at_the_end:
        detail = f"The body had not arrived after {settings.upload_seconds:g} s ({read:,} bytes had)."
        return Problem("upload-too-slow", detail, "Send fewer or smaller photos at once.")
    return Problem(
        "upload-too-slow",
        f"After {read:,} bytes the body came more slowly than {settings.upload_bytes_per_second:,} bytes/s for "
        f"{settings.upload_grace_seconds:g} s.",
        "Send it without pauses, or over a faster network.",
    )


def body_too_large(settings: GatewaySettings) -> Problem:
    return Problem(
        "upload-too-large",
        f"The body has more than {settings.max_body_bytes:,} bytes, enough for {settings.max_photos} photos of "
        f"{settings.max_photo_bytes:,} bytes.",
        "Send fewer or smaller photos.",
    )


def empty_body() -> Problem:
    return Problem("empty-body", "The body is empty: 0 bytes arrived.", HOW)


def _malformed(why: str) -> Problem:
    return Problem("malformed-form", f"The form can't be read: {why}", HOW)


HOW = (
    "Send multipart/form-data with a JSON part named listing and one file part named photos for each photo; "
    "let the HTTP library write the boundaries."
)


class _Parser:
    """Feeds the library's parser from the first boundary on: what comes before is to be ignored (RFC 2046, 5.1.1)."""

    def __init__(self, boundary: bytes, parts: "_Parts") -> None:
        """Raises FormParserError for a boundary that can be none."""
        self._boundary = boundary
        self._unfed = b"\n"  # the body begins with a line
        self.begun = False
        self._boundaries = 0
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": parts.begin,
                "on_header_field": parts.header_name,
                "on_header_value": parts.header_value,
                "on_header_end": parts.header_end,
                "on_headers_finished": parts.headers_end,
                "on_part_data": parts.data,
                "on_end": parts.end,
            },
        )

    def write(self, chunk: bytes) -> None:
        """Raises FormParserError."""
        if not self.begun:
            first = b"\n--" + self._boundary
            chunk = self._unfed + chunk
            at = chunk.find(first)
            self._unfed = chunk[1 - len(first) :]
            self.begun = at >= 0
            chunk = chunk[at + 1 :]
        if self.begun:
            self._boundaries += chunk.count(b"\r\n--" + self._boundary)
            if self._boundaries > _MOST_BOUNDARIES:
                raise FormParserError(f"Its boundary comes more than {_MOST_BOUNDARIES} times")
            self._parser.write(chunk)

    def never_begun(self) -> str:
        return f"the boundary “{self._boundary.decode('latin-1')}” that Content-Type names never comes in it."


def _parser(content_type: str, parts: "_Parts") -> _Parser:
    kind, options = parse_options_header(content_type)
    if kind != b"multipart/form-data":
        named = f"is {content_type}" if content_type else "names no type"
        raise Problem("not-a-form", f"Content-Type {named}.", HOW, {"header": "Content-Type"})
    if not (boundary := options.get(b"boundary")):
        raise Problem("malformed-form", "Content-Type names no boundary.", HOW, {"header": "Content-Type"})
    try:
        return _Parser(boundary, parts)
    except FormParserError as why:
        raise _malformed(f"{why}.") from why


@dataclass(slots=True)
class _Part:
    name: str
    filename: str | None
    most: int  # bytes
    body: bytearray = field(default_factory=bytearray)

    def taken(self) -> bytes:
        """Its bytes, once: it doesn't keep them, so that an upload isn't held twice."""
        body = bytes(self.body)
        self.body.clear()
        return body


class _Parts:
    """What the parser calls. Keeps the parts that are wanted, up to their limits, until the first fault."""

    def __init__(self, settings: GatewaySettings) -> None:
        self._settings = settings
        self._parts: list[_Part] = []
        self.fault: Problem | None = None
        self._name = self._value = b""
        self._headers: dict[bytes, bytes] = {}
        self.held = 0
        self.ended = False

    def begin(self) -> None:
        self._headers = {}

    def header_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def header_end(self) -> None:
        self._headers[self._name.lower()] = self._value
        self._name = self._value = b""

    def refuse(self, fault: Problem) -> None:
        """Nothing of it is kept."""
        self.fault = fault
        self._parts.clear()

    def headers_end(self) -> None:
        if self.fault:
            return
        disposition = self._headers.get(b"content-disposition", b"")
        _, options = parse_options_header(disposition)  # bytes: it codes text as Latin-1, which few names fit into
        name = _text(options.get(b"name", b""))[:100]
        filename = _filename(disposition, options)
        if name == LISTING and not self._named(LISTING):
            self._parts.append(_Part(name, None, self._settings.max_listing_bytes))
        elif name == LISTING:
            self.refuse(Problem("malformed-form", "It has two parts named listing.", HOW, {"part": LISTING}))
        elif name != PHOTOS:
            detail = f"The form has a part named “{name}”; known are listing and photos."
            self.refuse(Problem("unknown-part", detail, HOW, {"part": name}))
        elif len(self._named(PHOTOS)) == self._settings.max_photos:
            self.refuse(too_many_photos(self._settings.max_photos))
        else:
            self._parts.append(_Part(name, filename, self._settings.max_photo_bytes))

    def data(self, data: bytes, start: int, end: int) -> None:
        if self.fault:
            return
        part = self._parts[-1]
        if len(part.body) + end - start > part.most:
            self.refuse(self._too_large(part))
            return
        part.body += data[start:end]
        self.held += end - start

    def end(self) -> None:
        self.ended = True

    def form(self) -> Form:
        if not (listing := self._named(LISTING)):
            raise Problem("missing-listing", "The form has no part named listing.", HOW, {"part": LISTING})
        photos = enumerate(self._named(PHOTOS))
        files = tuple(File(part.taken(), part.filename, index) for index, part in photos)
        return Form(listing[0].taken(), files)

    def _named(self, name: str) -> list[_Part]:
        return [part for part in self._parts if part.name == name]

    def _too_large(self, part: _Part) -> Problem:
        if part.name == LISTING:
            detail = f"The listing has more than {part.most:,} bytes."
            return Problem("invalid-listing", detail, "Shorten its texts.", {"part": LISTING})
        where = {"part": PHOTOS, "index": len(self._named(PHOTOS)) - 1, "filename": part.filename}
        return problem_of_photo(too_large(part.most), where)


def _filename(disposition: bytes, options: Mapping[bytes, bytes]) -> str | None:
    if coded := _CODED_NAME.search(disposition):
        return _text(unquote_to_bytes(coded[2]), coded[1].decode())[:255]
    return _text(options[b"filename"])[:255] if b"filename" in options else None


def _text(sent: bytes, charset: str = "utf-8") -> str:
    return sent.decode(charset, "replace")


def too_many_photos(most: int) -> Problem:
    detail = f"The listing has more than {most} photos, which is the most."
    return Problem("too-many-photos", detail, "Leave out those that say least.", {"part": PHOTOS})
