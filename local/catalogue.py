"""What `vitrine run` imports: a folder of one's own, or the rendered catalogue with its right answers."""

from collections.abc import Container, Iterator
from dataclasses import dataclass
from pathlib import Path

from client.feed import read_feed
from client.listing import ListingUpload
from client.words import passed_over
from studio import DemoListing, Expected, demo_catalogue

DEMO_SEED = 7
DEMO_LISTINGS = 150


@dataclass(frozen=True, slots=True)
class Offer:
    """A listing to upload; `expected` is None when nobody knows the right answers."""

    upload: ListingUpload
    expected: Expected | None = None


@dataclass(frozen=True, slots=True)
class Catalogue:
    """`name` is what earlier runs are recognised by, `bad` says what can't be uploaded at all."""

    name: Path
    size: int
    offers: Iterator[Offer]
    bad: tuple[str, ...] = ()
    passed_over: tuple[str, ...] = ()
    # An original must be accepted before its copies, or the copies are the originals.
    uploads_at_once: int = 1


def demo(known: Container[tuple[str, ...]], listings: int = DEMO_LISTINGS, seed: int = DEMO_SEED) -> Catalogue:
    """Rendered as it is drawn from, with wares of the categories that are `known`.

    That takes a quarter of a second of a core for each listing.
    """
    offers = (Offer(as_upload(listing), listing.expected) for listing in demo_catalogue(seed, listings, known))
    return Catalogue(Path(f"demo-{seed}-{listings}"), listings, offers)


def own(folder: Path) -> Catalogue:
    """A folder of photos or a CSV, see `vitrine import`. Raises NotImportable when there is nothing in it."""
    feed = read_feed(folder)
    offers = (Offer(upload) for upload in feed.uploads)
    left_out = tuple(map(str, feed.bad)), tuple(passed_over(feed))
    return Catalogue(folder, len(feed.uploads), offers, *left_out, uploads_at_once=8)


def as_upload(listing: DemoListing) -> ListingUpload:
    """As the listing's seller uploads it."""
    return ListingUpload(
        reference=listing.reference,
        seller_id=listing.seller_id,
        title=listing.title,
        photos=listing.photos,
        category=listing.category or None,
        brand=listing.brand or None,
        price=listing.price,
        currency=listing.currency,
    )


def kind(expected: Expected) -> str:
    """honest, look-alike, copy or false claim"""
    if expected.reason:
        return "copy" if expected.copy_of else "false claim"
    return "look-alike" if expected.looks_like else "honest"
