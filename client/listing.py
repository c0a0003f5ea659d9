"""What is imported, and what became of it."""

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Any

from shared.errors import Unusable
from shared.events import deterministic_id
from shared.text import one_line, plain

PhotoSource = bytes | Path


class NotImportable(Unusable):
    """The folder or file that was given can't be imported as a whole; the message says what to do."""


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
    def key(self) -> str:
        """The Idempotency-Key that it would be POSTed with: the same from every file, folder and machine.

        The gateway knows which listing it belongs to, and nobody can work that out.
        """
        return deterministic_id("import", self.seller_id, self.reference)

    def as_json(self) -> dict[str, Any]:
        """The gateway's part `listing`."""
        said = {"seller_id": self.seller_id, "title": self.title, "category": self.category, "brand": self.brand}
        listing: dict[str, Any] = {name: value for name, value in said.items() if value is not None}
        if self.price is not None:
            listing["price"] = {"amount": self.price, "currency": self.currency}
        return listing

    def says(self, claims: Mapping[str, Any]) -> bool:
        """Whether these are its claims, as the gateway tells them of a listing."""
        price = claims.get("price") or {}
        theirs = (
            *(str(claims.get(name) or "") for name in ("title", "category", "brand")),
            Decimal(price["amount"]) if price else None,
            price.get("currency"),
        )
        ours = (
            *(one_line((said or "").strip()) for said in (self.title, self.category, self.brand)),
            Decimal(self.price) if self.price is not None else None,
            self.currency,
        )
        return ours == theirs


class Effect(StrEnum):
    IMPORTED = "imported"
    UPDATED = "updated"  # was there with other claims or photos: now a new revision
    UNCHANGED = "unchanged"  # was there as it is
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of one upload. With `error` there is no listing id."""

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
        return plain(f"{self.where}, {self.column}: {self.problem}" if self.column else f"{self.where}: {self.problem}")


@dataclass(frozen=True, slots=True)
class PassedOver:
    """What lies in a folder and is nobody's photo."""

    where: str
    why: str

    def __str__(self) -> str:
        return plain(f"{self.where}: {self.why}")


@dataclass(frozen=True, slots=True)
class Feed:
    """All that a folder or CSV offers: good, bad, and what is no photo."""

    uploads: tuple[ListingUpload, ...]
    bad: tuple[BadRow, ...] = ()
    passed_over: tuple[PassedOver, ...] = ()


def distinct(read: list[ListingUpload | BadRow]) -> tuple[tuple[ListingUpload, ...], tuple[BadRow, ...]]:
    """The good and the bad; of two that are the same seller's same reference the second is bad."""
    uploads: dict[str, ListingUpload] = {}
    bad = []
    for one in read:
        if isinstance(one, BadRow):
            bad.append(one)
        elif first := uploads.get(one.key):
            problem = f"{one.reference!r} of this seller stands in {first.origin} already; references are unique"
            bad.append(BadRow(one.origin, "reference", problem))
        else:
            uploads[one.key] = one
    return tuple(uploads.values()), tuple(bad)


def composed(text: str) -> str:
    """As most systems spell it: some store é in a file's name as e and an accent."""
    return unicodedata.normalize("NFC", text)
