"""Fakes for what looks at photos: a reader that is told what it sees, a text reader with given lines, a hash bank."""

import threading
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from vitrine.events.v1 import image_pb2

from services.attributes.text import Line
from services.fraud.bank import (
    BLOCKED_DISTANCE,
    MATCHES_KEPT,
    SCORED_AGAIN,
    STOCK_SELLERS,
    BankedPhoto,
    Marked,
    Match,
    Revision,
)
from services.fraud.pdq import Fingerprint, distances
from shared.durability import Stamp
from shared.photos import Photo, Pixels
from shared.vision.decode import decode
from shared.vision.pack import CategorySpec, Manifest, Meaning, find_pack, read_manifest

BUILTIN = read_manifest(find_pack("builtin"))


class FakeReader:
    """Sees in every photo what it was told."""

    pack_name = "fake@1"
    generation = 1
    space = "fake@1"

    def __init__(
        self,
        *path: str,
        confidence: float = 0.95,
        audience: tuple[str, float] = ("adult", 0.9),
        known: bool = True,
        manifest: Manifest = BUILTIN,
    ) -> None:
        self._manifest = manifest
        label = path[-1] if path and known else ""
        taxonomy_id = manifest.meaning_of(path).taxonomy_id
        self._category = image_pb2.Category(label=label, path=path, confidence=confidence, taxonomy_id=taxonomy_id)
        self._audience = audience

    def warm_up(self) -> None:
        pass

    def prepare(self, photo: Photo) -> None:
        _average(photo)

    def see(self, photos: Sequence[Photo]) -> None:
        pass

    def categories(self, photos: Sequence[Photo]) -> list[image_pb2.Category]:
        return [self._category for _ in photos]

    def candidates(self, photos: Sequence[Photo]) -> list[list[image_pb2.Candidate]]:
        """What it was told; nothing else may be there."""
        seen = self._category
        leaf = image_pb2.Candidate(path=seen.path, taxonomy_id=seen.taxonomy_id, probability=seen.confidence)
        return [[leaf] if seen.label else [] for _ in photos]

    def audiences(self, photos: Sequence[Photo]) -> list[tuple[str, float]]:
        return [self._audience for _ in photos]

    def vectors(self, photos: Sequence[Photo]) -> NDArray[np.float32]:
        """n x 3: the average colour, as a unit vector."""
        colours: NDArray[np.float32] = np.array([_average(photo) for photo in photos], np.float32)
        lengths: NDArray[np.float32] = np.linalg.norm(colours, axis=1, keepdims=True)
        return colours / lengths

    @property
    def categories_said(self) -> Sequence[CategorySpec]:
        return self._manifest.categories

    def meaning_of(self, path: Sequence[str]) -> Meaning:
        return self._manifest.meaning_of(path)


def _average(photo: Photo) -> Any:
    return photo.once("input/average", lambda: photo.pixels(224).mean(axis=(0, 1)))


class FakeRegions:
    """Sees the product amid every photo; worn above the waist in its upper half, below it in the lower one."""

    def warm_up(self) -> None:
        pass

    def prepare(self, photo: Photo) -> None:
        _average(photo)

    def see(self, photos: Sequence[Photo]) -> None:
        pass

    def maps(self, photo: Photo) -> NDArray[np.float32]:
        maps = np.full((3, 32, 32), -4, np.float32)
        for region, rows in zip(maps, (slice(8, 24), slice(8, 16), slice(16, 24)), strict=True):
            region[rows, 8:24] = 4
        return maps


class FakeText:
    """Reads the given lines on every photo, and counts how often it was asked."""

    def __init__(self, *lines: Line) -> None:
        self._lines = lines
        self.asked = 0

    def read(self, pixels: Pixels) -> Sequence[Line]:
        self.asked += 1
        return self._lines


Name = tuple[str, str]  # (listing_id, sha256)


@dataclass
class _Entry:
    photo: BankedPhoto
    shown_us: int  # by itself; `photo.uploaded_us` is what counts
    fingerprint: Fingerprint
    scored: bytes
    at_us: int
    matches: dict[Name, int] = field(default_factory=dict)
    waiting: bool = False
    blocked: bool = False
    follows: str = ""
    followed_us: int = 0
    since_us: int | None = None
    stock: Name | None = None


class FakeBank:
    """A hash bank in memory that compares with everything. Its clock ticks one microsecond per look."""

    stamp: Stamp | None = None

    def __init__(self) -> None:
        self.met: list[BankedPhoto] = []
        self._entries: dict[Name, _Entry] = {}
        self._changes: dict[str, Revision] = {}
        self._sellers: dict[str, str] = {}
        self._removed: set[str] = set()
        self._first: dict[tuple[str, str], int] = {}  # by hash and seller
        self._rebuilding = False
        self._withheld: set[Name] = set()
        self._clock = 2_000_000_000_000_000
        self._lock = threading.Lock()

    def meet(self, photo: BankedPhoto, fingerprint: Fingerprint, scored: bytes) -> Sequence[Marked] | None:
        self.met.append(photo)
        with self._lock:
            name = (photo.listing_id, photo.sha256)
            was_accused = name in self._entries and bool(self._entries[name].follows)
            if not self._insert(photo, fingerprint, scored):
                return None
            others = self._look_alikes(fingerprint, photo.listing_id)
            me = self._match(name, 0)
            later = sorted((other for other in others if other.order > me.order), key=lambda other: other.order)
            if not (others or was_accused):
                return []
            entry = self._entries[name]
            entry.since_us = self._first_shown(entry.photo, self._looks(fingerprint))
            mine, again = self._mark(name, others)
            judged = {name: mine}
            for other in later[:SCORED_AGAIN]:
                key = (other.listing_id, other.sha256)
                judged[key], more = self._mark(key, [replace(me, distance=other.distance)])
                again |= more
            judged |= {other: self._mark(other, [])[0] for other in sorted(again - judged.keys())}
            return [one for key, one in judged.items() if one.matches or one.accused or (key == name and was_accused)]

    def keep_only(self, revision: Revision) -> None:
        with self._lock:
            listing_id, before = revision.listing_id, self._changes.get(revision.listing_id)
            if listing_id in self._removed or self._sellers.get(listing_id, revision.seller_id) != revision.seller_id:
                return
            if before and (before.number, before.change) >= (revision.number, revision.change):
                return
            self._changes[listing_id] = revision
            self._sellers[listing_id] = revision.seller_id
            for name, entry in self._of_listing(listing_id).items():
                entry.waiting = name[1] not in revision.photos and entry.photo.revision == revision.number
                if name[1] not in revision.photos and entry.photo.revision < revision.number:
                    self._depart(name)

    def forget(self, listing_id: str, seller_id: str) -> None:
        with self._lock:
            if seller_id and self._sellers.setdefault(listing_id, seller_id) != seller_id:
                return
            self._removed.add(listing_id)
            for name in self._of_listing(listing_id):
                self._depart(name)

    def begin_rebuild(self) -> None:
        self._rebuilding = True

    def withheld(self) -> Sequence[Name]:
        return sorted(self._withheld, key=lambda name: (name[1], name[0]))

    def end_rebuild(self) -> None:
        self._rebuilding = False

    def settled(self, photos: Iterable[Name]) -> None:
        self._withheld -= set(photos)

    def flushed(self) -> None:
        pass

    def ping(self) -> None:
        pass

    def _of_listing(self, listing_id: str) -> dict[Name, _Entry]:
        return {name: entry for name, entry in self._entries.items() if name[0] == listing_id}

    def _depart(self, name: Name) -> None:
        entry = self._entries.pop(name)
        if not (entry.blocked or entry.waiting):
            for one in _hashes(entry.fingerprint):
                key = (one, entry.photo.seller_id)
                self._first[key] = min(entry.shown_us, self._first.get(key, entry.shown_us))

    def _insert(self, photo: BankedPhoto, fingerprint: Fingerprint, scored: bytes) -> bool:
        name, change = (photo.listing_id, photo.sha256), self._changes.get(photo.listing_id)
        missing = change is not None and photo.sha256 not in change.photos
        if photo.listing_id in self._removed or (missing and change and change.number > photo.revision):
            return False
        if self._sellers.setdefault(photo.listing_id, photo.seller_id) != photo.seller_id:
            return False
        old = self._entries.get(name)
        shown_us = min(photo.uploaded_us, old.shown_us) if old else photo.uploaded_us
        first_us = self._first_shown(photo, fingerprint.all_variants)
        counts_us = min(shown_us, old.photo.uploaded_us if old else shown_us, first_us)
        if old and counts_us < old.photo.uploaded_us:
            old.follows = ""
        if old and (old.photo.revision, old.photo.generation) > (photo.revision, photo.generation):
            old.photo, old.shown_us = replace(old.photo, uploaded_us=counts_us), shown_us
            return True
        entry = _Entry(replace(photo, uploaded_us=counts_us), shown_us, fingerprint, scored, photo.assessed_us)
        if old:
            entry.at_us = max(photo.assessed_us, old.at_us)
            if old.fingerprint == fingerprint:
                entry.matches, entry.blocked, entry.stock = old.matches, old.blocked, old.stock
                entry.follows, entry.followed_us, entry.since_us = old.follows, old.followed_us, old.since_us
        entry.waiting = bool(missing and change and change.number == photo.revision)
        self._entries[name] = entry
        return True

    def _looks(self, fingerprint: Fingerprint) -> list[str]:
        """The hashes there are that look the same."""
        hashes = [one for entry in self._entries.values() for one in _hashes(entry.fingerprint)]
        bits = distances(fingerprint, hashes)
        return [one for one, n in zip(hashes, bits, strict=True) if n <= fingerprint.match_distance]

    def _first_shown(self, photo: BankedPhoto, looks: Iterable[str]) -> int:
        """When its seller first showed one of these hashes; else when it counts as uploaded."""
        times = [self._first[one, photo.seller_id] for one in looks if (one, photo.seller_id) in self._first]
        return min(times, default=photo.uploaded_us)

    def _look_alikes(self, fingerprint: Fingerprint, not_of: str) -> list[Match]:
        others = [key for key in sorted(self._entries) if key[0] != not_of]
        bits = [_bits_between(fingerprint, self._entries[key].fingerprint) for key in others]
        return [self._match(key, n) for key, n in zip(others, bits, strict=True) if n <= fingerprint.match_distance]

    def _mark(self, name: Name, found: Sequence[Match]) -> tuple[Marked, set[Name]]:
        entry, me = self._entries[name], self._match(name, 0)
        since = replace(me, uploaded_us=min(me.uploaded_us, entry.since_us or me.uploaded_us))
        bits = entry.matches | {(other.listing_id, other.sha256): other.distance for other in found}
        known = {key: n for key, n in bits.items() if key in self._entries and not self._entries[key].waiting}
        again = self._stock(name, {key: self._entries[key] for key, n in known.items() if n <= BLOCKED_DISTANCE})
        may_be_original = [
            self._match(key, n)
            for key, n in known.items()
            if not self._entries[key].blocked and self._entries[key].follows != me.seller_id
        ]
        earlier = sorted(
            (match for match in may_be_original if match.order < since.order), key=lambda match: match.order
        )
        own = [match for match in earlier if match.seller_id == me.seller_id][:1]
        others = [match for match in earlier if match.seller_id != me.seller_id][:MATCHES_KEPT]
        matches = sorted((*own, *others), key=lambda match: match.order)
        entry.matches = {(match.listing_id, match.sha256): match.distance for match in matches}
        self._judge(name, entry, matches)
        self._clock += 1
        entry.at_us = max(self._clock, entry.at_us + 1)
        marked = Marked(
            *name,
            me.seller_id,
            entry.scored,
            tuple(matches),
            entry.at_us,
            entry.fingerprint.of_text,
            entry.blocked,
            bool(entry.follows),
            bool(entry.stock),
        )
        return marked, again

    def _stock(self, name: Name, same: dict[Name, _Entry]) -> set[Name]:
        """Those accused before it was known that so many sellers show the picture."""
        entry = self._entries[name]
        sellers = {entry.photo.seller_id, *(other.photo.seller_id for other in same.values())}
        if len(sellers) < STOCK_SELLERS or entry.fingerprint.of_text:
            return set()
        entry.stock = entry.stock or name
        for other in same.values():
            other.stock = other.stock or name
        return {key for key, other in same.items() if other.stock == name and other.follows}

    def _judge(self, name: Name, entry: _Entry, matches: Sequence[Match]) -> None:
        entry.blocked = False
        if not matches or matches[0].seller_id == entry.photo.seller_id:
            return
        if not entry.follows or matches[0].uploaded_us < entry.followed_us:
            entry.follows, entry.followed_us = matches[0].seller_id, matches[0].uploaded_us
        if matches[0].distance <= BLOCKED_DISTANCE and not entry.fingerprint.of_text and not entry.stock:
            entry.blocked = not self._rebuilding
            if self._rebuilding:
                self._withheld.add(name)

    def _match(self, key: Name, distance: int) -> Match:
        photo = self._entries[key].photo
        return Match(photo.listing_id, photo.sha256, photo.seller_id, photo.uploaded_us, distance)


def _hashes(fingerprint: Fingerprint) -> Sequence[str]:
    return (fingerprint.hex, *fingerprint.trimmed[:1])


def _bits_between(asked: Fingerprint, entered: Fingerprint) -> int:
    return int(distances(asked, _hashes(entered)).min())


def photo_of(body: bytes, listing: str = "L1", seller: str = "S1", at_us: int = 1_000_000, **upload: Any) -> Photo:
    """A photo as the worker hands it over. Its sha256 is made up from the listing unless `sha256` is given."""
    uploaded = image_pb2.ImageUploaded(listing_id=listing, seller_id=seller, revision=upload.get("revision", 1))
    uploaded.photo.sha256 = upload.get("sha256", f"sha-of-{listing}")
    uploaded.claims.category, uploaded.claims.title = upload.get("category", ""), upload.get("title", "")
    uploaded.uploaded_at.FromMicroseconds(at_us)
    if "shown_us" in upload:
        uploaded.photo.uploaded_at.FromMicroseconds(upload["shown_us"])
    return Photo(body, uploaded, decode)


def line(text: str, top: float = 0.1, height: float = 0.1, left: float = 0.1, confidence: float = 1.0) -> Line:
    """A printed line; its width follows from its letters."""
    return Line(text, confidence, left, top, min(1.0, left + 0.5 * height * len(text)), top + height)


def jpeg(pixels: Pixels, quality: int = 90) -> bytes:
    coded, body = cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert coded
    return body.tobytes()


def scenery(seed: int, height: int = 480, width: int = 640) -> Pixels:
    """A picture of soft blobs, different for each seed, with as much structure as a photo."""
    random = np.random.default_rng(seed)
    layers = [cv2.resize(random.uniform(0, 255, (n, n + 2, 3)), (width, height)) for n in (4, 9, 23)]
    picture: NDArray[np.float64] = 0.5 * layers[0] + 0.35 * layers[1] + 0.15 * layers[2]
    return np.clip(picture, 0, 255).astype(np.uint8)


def labelled_photos(to: Path, each: int = 1) -> Path:
    """Laid out as the training photos are: so many hats, shirts, limes and kiwis in train, and one of each in val."""
    clothing, grocery = to / "clothing", to / "grocery"
    rows = ["image,split,label,kids,sender_id"]
    for split, count in (("train", each), ("val", 1)):
        lines = []
        for number in range(count):
            for label in ("hat", "shirt"):
                _save(clothing / split / label / f"{label}{number}.jpg", f"{split} {label} {number}")
                rows.append(f"{label}{number},{split},{label},{label == 'hat'},{number}")
            for fine, name in enumerate(("Lime", "Kiwi")):
                path = f"{split}/Fruit/{name}/{name}_{number:03}.jpg"
                _save(grocery / path, f"{split} {name} {number}")
                lines.append(f"{path}, {fine}, {fine}")
        (grocery / f"{split}.txt").write_text("\n".join(lines))
    (clothing / "labels.csv").write_text("\n".join(rows))
    (grocery / "classes.csv").write_text(
        "Class Name (str),Class ID (int),Coarse Class Name (str),Iconic Image Path (str)\n"
        "Lime,0,Citrus,/icon.jpg\nKiwi,1,Kiwi,/icon.jpg\n"
    )
    _save(grocery / "icon.jpg", "icon")
    return to


def _save(path: Path, what: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(jpeg(scenery(zlib.crc32(what.encode()), 96, 128)))
