"""The only thing a new model has to provide."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from google.protobuf.message import Message
from vitrine.events.v1 import image_pb2

from shared.photos import Photo

Prepared = TypeVar("Prepared")
Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class Finding:
    """One result message. `id_parts` are what tells it from others of the same photo, revision and pack."""

    message: Message
    id_parts: tuple[str, ...] = ()


class Task(Protocol[Prepared, Found]):
    """One model: read a photo for it, run a batch, say what came out.

    What several tasks need of one photo (its pixels, its trunk features) is kept on the Photo, so it is computed once
    however many tasks run.

    What `infer` finds and what is noted of a photo (`photo.noted`) depend on its pixels and the pack alone. Both serve
    again when another record names it: then only `conclude` runs, on a Photo with the notes and no pixels.
    """

    name: str  # metric label and ce_source: "embedding", "classification"

    def warm_up(self) -> None:
        """Run a known-good input. Called at start, and before a record is blamed."""
        ...

    def prepare(self, photo: Photo) -> Prepared:
        """Turn a photo into model input. Runs on CPU threads, one photo in one thread; raises Poison."""
        ...

    def infer(self, photos: Sequence[Photo], inputs: Sequence[Prepared]) -> Sequence[Found]:
        """One output per input, in order. The only call that touches the device; raises OutOfMemory.

        Two threads may be here at once, each with other photos.
        """
        ...

    def takes_long(self, found: Found) -> bool:
        """Whether `conclude` will: then neither the photo's other results nor later photos wait for it."""
        ...

    def conclude(self, photo: Photo, found: Found) -> Sequence[Finding]:
        """The results for one photo. On CPU threads again: for OCR, look-ups, arithmetic.

        Raises Poison, and Transient when what it asks stayed away.
        """
        ...


class SeesCategories(Protocol):
    """What a task that needs categories asks of a Reader (shared/vision/reader.py)."""

    @property
    def pack_name(self) -> str: ...

    @property
    def generation(self) -> int: ...

    def warm_up(self) -> None: ...

    def prepare(self, photo: Photo) -> None: ...

    def see(self, photos: Sequence[Photo]) -> None: ...

    def categories(self, photos: Sequence[Photo]) -> list[image_pb2.Category]: ...
