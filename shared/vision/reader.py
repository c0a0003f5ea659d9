"""Reads photos with one pack: one trunk forward per batch, whatever is asked of it afterwards.

Features and answers stay on the photo, so tasks that share a photo share the work.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray
from vitrine.events.v1 import image_pb2

from shared.errors import Unusable
from shared.photos import Photo, Pixels
from shared.settings import Settings
from shared.vision.decode import decode
from shared.vision.heads import Array
from shared.vision.pack import TRUNK, CategorySpec, Meaning, Pack, PackUnusable, open_pack
from shared.vision.runtime import Runtime, known_good, open_device, open_runtime
from shared.vision.taxonomy import Judgement
from shared.vision.taxonomy import Path as CategoryPath
from shared.vision.trunk import load_network, model_input

FEATURES = "trunk/features"
T = TypeVar("T")


class Trunk(Protocol):
    """What the reader needs of a Runtime."""

    def features(self, pictures: Sequence[Pixels]) -> Array: ...


class Reader:
    """Answers about photos. `prepare` runs on any CPU thread, everything else on the device's threads."""

    def __init__(self, trunk: Trunk, pack: Pack) -> None:
        self._trunk = trunk
        self._pack = pack
        self._canvases = pack.manifest.trunk.canvases

    @property
    def pack_name(self) -> str:
        """NAME@VERSION."""
        return self._pack.manifest.pack_name

    @property
    def generation(self) -> int:
        """Grows with every pack that supersedes another."""
        return self._pack.manifest.generation

    @property
    def space(self) -> str:
        """The space of the vectors; those of two spaces are never compared."""
        return self._pack.manifest.embedding.space

    @property
    def dimensions(self) -> int:
        return self._pack.manifest.embedding.dimensions

    @property
    def pack(self) -> Pack:
        return self._pack

    @property
    def categories_said(self) -> tuple[CategorySpec, ...]:
        """What the pack says of its categories, in the words of the services that ask."""
        return self._pack.manifest.categories

    def meaning_of(self, path: Sequence[str]) -> Meaning:
        """What a category means: a phone has memory and a maker, a shirt an audience."""
        return self._pack.meaning_of(path)

    def warm_up(self) -> None:
        """A known-good photo through all heads. Raises RuntimeError when the answer is not finite."""
        photo = Photo(b"", image_pb2.ImageUploaded(), lambda _body, _size: known_good(self._canvases[0], 1)[0])
        self.prepare(photo)
        self.categories([photo])
        if not np.isfinite(self.vectors([photo])).all():
            raise RuntimeError("a known-good photo gave a vector that is not finite")

    def prepare(self, photo: Photo) -> None:
        """Decode and resize. Raises Poison."""
        model_input(photo, self._canvases)

    def see(self, photos: Sequence[Photo]) -> None:
        """One trunk forward for those not seen yet. Raises OutOfMemory, and Poison for one that was not prepared."""
        new = [photo for photo in dict.fromkeys(photos) if not photo.knows(FEATURES)]
        if not new:
            return
        for photo, row in zip(
            new, self._trunk.features([model_input(photo, self._canvases) for photo in new]), strict=True
        ):
            _remember(photo, FEATURES, row)

    def categories(self, photos: Sequence[Photo]) -> list[image_pb2.Category]:
        """One per photo. An unknown photo has no label; its path goes as far as is known."""
        return [category_in(self._pack, judged) for judged, _ in self._classified(photos)]

    def candidates(self, photos: Sequence[Photo]) -> list[list[image_pb2.Candidate]]:
        """The leaves that each photo may show, the likeliest first: see Pack.classify."""
        return [candidates_in(self._pack, leaves) for _, leaves in self._classified(photos)]

    def audiences(self, photos: Sequence[Photo]) -> list[tuple[str, float]]:
        """("kids" or "adult", its probability) per photo. Means something for garments only."""
        return self._answers(photos, "audience", self._audience)

    def vectors(self, photos: Sequence[Photo]) -> NDArray[np.float32]:
        """n x dimensions, unit rows."""
        rows = self._answers(photos, "vector", lambda features: list(self._pack.heads.vectors(features)))
        return np.stack(rows) if rows else np.zeros((0, self.dimensions), np.float32)

    def _classified(self, photos: Sequence[Photo]) -> list[tuple[Judgement, list[tuple[CategoryPath, float]]]]:
        return self._answers(photos, "category", self._pack.classify)

    def _audience(self, features: Array) -> list[tuple[str, float]]:
        return [
            ("kids", float(kids)) if kids >= 0.5 else ("adult", float(1 - kids))
            for kids in self._pack.heads.kids_probability(features)
        ]

    def _answers(self, photos: Sequence[Photo], name: str, of: Callable[[Array], list[T]]) -> list[T]:
        """Answers, in one matrix product for all photos that were not asked yet."""
        self.see(photos)
        key = f"{self.pack_name}/{name}"
        new = [photo for photo in dict.fromkeys(photos) if not photo.knows(key)]
        if new:
            features = np.stack([_recall(photo, FEATURES) for photo in new])
            for photo, answer in zip(new, of(features), strict=True):
                _remember(photo, key, answer)
        return [_recall(photo, key) for photo in photos]


def open_reader(settings: Settings) -> Reader:
    """Raises PackUnusable and DeviceAbsent: one line each, at start."""
    # Photos are looked at in threads of our own: OpenCV's would only fight with them over small pictures.
    cv2.setNumThreads(1)
    pack = open_pack(settings.pack)
    return Reader(runtime_of(pack, settings), pack)


def runtime_of(pack: Pack, settings: Settings) -> Runtime:
    """The pack's network on the fastest engine of this machine. Raises PackUnusable and DeviceAbsent."""
    spec, path = pack.manifest.trunk, pack.folder / TRUNK
    device = open_device(settings.device)
    network = load_network(spec.architectures, path)
    if (network.finals, network.stages) != (spec.finals, spec.stages):
        given = f"{network.finals} and {network.stages} features"
        raise PackUnusable(f"{path}: gives {given}, the manifest says otherwise")
    try:
        sha256 = pack.manifest.files[TRUNK]
        return open_runtime(network, spec.canvases, sha256, device, settings.threads, settings.home / "cache")
    except Unusable as why:
        raise PackUnusable(f"{path}: {why}") from why


def category_in(pack: Pack, judged: Judgement) -> image_pb2.Category:
    """As events carry it."""
    return image_pb2.Category(
        label=judged.label or "",
        path=judged.path,
        confidence=judged.confidence,
        taxonomy_id=pack.taxonomy_id(judged.path),
    )


def candidates_in(pack: Pack, likeliest: Iterable[tuple[CategoryPath, float]]) -> list[image_pb2.Candidate]:
    """The same of leaves with their probabilities."""
    return [
        image_pb2.Candidate(path=path, taxonomy_id=pack.taxonomy_id(path), probability=probability)
        for path, probability in likeliest
    ]


def photo_of(body: bytes) -> Photo:
    """A photo that came without an upload: a query, or a file."""
    return Photo(body, image_pb2.ImageUploaded(), decode)


def _remember(photo: Photo, name: str, value: object) -> None:
    photo.once(name, lambda: value)


def _recall(photo: Photo, name: str) -> Any:
    return photo.once(name, _never)


def _never() -> Any:
    raise LookupError("asked before it was answered")
