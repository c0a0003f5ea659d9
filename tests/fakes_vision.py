"""Fakes for what looks at photos: a reader that is told what it sees, a text reader with given lines, a hash bank."""

import threading
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from vitrine.events.v1 import image_pb2

from services.attributes.text import Line
from services.fraud.bank import MATCHES_KEPT, SCORED_AGAIN, BankedPhoto, Marked, Match
from services.fraud.pdq import Fingerprint, distances
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
        self._category = image_pb2.Category(label=label, path=path, confidence=confidence)
        self._audience = audience

    def warm_up(self) -> None:
        pass

    def prepare(self, photo: Photo) -> None:
        _average(photo)

    def see(self, photos: Sequence[Photo]) -> None:
        pass

    def categories(self, photos: Sequence[Photo]) -> list[image_pb2.Category]:
        return [self._category for _ in photos]

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


class FakeText:
    """Reads the given lines on every photo, and counts how often it was asked."""

    def __init__(self, *lines: Line) -> None:
        self._lines = lines
        self.asked = 0

    def read(self, pixels: Pixels) -> Sequence[Line]:
        self.asked += 1
        return self._lines


@dataclass
class _Entry:
    photo: BankedPhoto
    fingerprint: Fingerprint
    scored: bytes
    at_us: int
    matches: dict[tuple[str, str], int] = field(default_factory=dict)


class FakeBank:
    """A hash bank in memory that compares with everything. Its clock ticks one microsecond per look."""

    def __init__(self) -> None:
        self.met: list[BankedPhoto] = []
        self._entries: dict[tuple[str, str], _Entry] = {}
        self._current: dict[str, tuple[int, frozenset[str]]] = {}
        self._removed: set[str] = set()
        self._clock = 2_000_000_000_000_000
        self._lock = threading.Lock()

    def meet(self, photo: BankedPhoto, fingerprint: Fingerprint, scored: bytes) -> Sequence[Marked]:
        self.met.append(photo)
        with self._lock:
            if not self._insert(photo, fingerprint, scored):
                return []
            me = self._match((photo.listing_id, photo.sha256), 0)
            others = self._look_alikes(fingerprint, photo.listing_id)
            earlier = [other for other in others if other.order < me.order]
            later = sorted((other for other in others if other.order > me.order), key=lambda other: other.order)
            marked = [self._mark(me, earlier)] if earlier else []
            return [
                *marked,
                *(self._mark(other, [replace(me, distance=other.distance)]) for other in later[:SCORED_AGAIN]),
            ]

    def keep_only(self, listing_id: str, revision: int, photos: Iterable[str]) -> None:
        with self._lock:
            if listing_id in self._removed or self._current.get(listing_id, (0, frozenset()))[0] > revision:
                return
            tied, before = self._current.get(listing_id, (0, frozenset()))
            # Of two changes of one revision the join decides which wins.
            current = frozenset(photos) | (before if tied == revision else frozenset())
            self._current[listing_id] = (revision, current)
            self._drop(lambda photo: photo.sha256 not in current and photo.revision <= revision, listing_id)

    def forget(self, listing_id: str) -> None:
        with self._lock:
            self._removed.add(listing_id)
            self._drop(lambda _photo: True, listing_id)

    def flushed(self) -> None:
        pass

    def ping(self) -> None:
        pass

    def _drop(self, condemned: Callable[[BankedPhoto], bool], listing_id: str) -> None:
        for key, entry in list(self._entries.items()):
            if entry.photo.listing_id == listing_id and condemned(entry.photo):
                del self._entries[key]

    def _insert(self, photo: BankedPhoto, fingerprint: Fingerprint, scored: bytes) -> bool:
        revision, current = self._current.get(photo.listing_id, (-1, frozenset()))
        if photo.listing_id in self._removed or (revision >= photo.revision and photo.sha256 not in current):
            return False
        key = (photo.listing_id, photo.sha256)
        if old := self._entries.get(key):
            uploaded = min(old.photo.uploaded_us, photo.uploaded_us)
            if (old.photo.revision, old.photo.generation) > (photo.revision, photo.generation):
                old.photo = replace(old.photo, uploaded_us=uploaded)
                return True
            photo = replace(photo, uploaded_us=uploaded)
        kept = old.matches if old and old.fingerprint == fingerprint else {}
        at_us = max(photo.assessed_us, old.at_us if old else 0)
        self._entries[key] = _Entry(photo, fingerprint, scored, at_us, kept)
        return True

    def _look_alikes(self, fingerprint: Fingerprint, not_of: str) -> list[Match]:
        others = [key for key in sorted(self._entries) if key[0] != not_of]
        bits = [_bits_between(fingerprint, self._entries[key].fingerprint) for key in others]
        return [self._match(key, n) for key, n in zip(others, bits, strict=True) if n <= fingerprint.match_distance]

    def _mark(self, photo: Match, earlier: Sequence[Match]) -> Marked:
        entry = self._entries[photo.listing_id, photo.sha256]
        entry.matches |= {(other.listing_id, other.sha256): other.distance for other in earlier}
        known = [self._match(key, bits) for key, bits in entry.matches.items() if key in self._entries]
        me = self._match((photo.listing_id, photo.sha256), 0)
        earlier = sorted((match for match in known if match.order < me.order), key=lambda match: match.order)
        own = [match for match in earlier if match.seller_id == me.seller_id][:1]
        others = [match for match in earlier if match.seller_id != me.seller_id][:MATCHES_KEPT]
        matches = sorted((*own, *others), key=lambda match: match.order)
        entry.matches = {(match.listing_id, match.sha256): match.distance for match in matches}
        self._clock += 1
        entry.at_us = max(self._clock, entry.at_us + 1)
        return Marked(
            photo.listing_id,
            photo.sha256,
            photo.seller_id,
            entry.scored,
            tuple(matches),
            entry.at_us,
            entry.fingerprint.of_text,
        )

    def _match(self, key: tuple[str, str], distance: int) -> Match:
        photo = self._entries[key].photo
        return Match(photo.listing_id, photo.sha256, photo.seller_id, photo.uploaded_us, distance)


def _bits_between(asked: Fingerprint, entered: Fingerprint) -> int:
    return int(distances(asked, [entered.hex, *entered.trimmed[:1]]).min())


def photo_of(body: bytes, listing: str = "L1", seller: str = "S1", at_us: int = 1_000_000, **upload: Any) -> Photo:
    """A photo as the worker hands it over. Its sha256 is made up from the listing unless `sha256` is given."""
    uploaded = image_pb2.ImageUploaded(listing_id=listing, seller_id=seller, revision=upload.get("revision", 1))
    uploaded.photo.sha256 = upload.get("sha256", f"sha-of-{listing}")
    uploaded.claims.category = upload.get("category", "")
    uploaded.uploaded_at.FromMicroseconds(at_us)
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
