"""What a photo looks like: a unit vector in the pack's space."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from vitrine.events.v1 import image_pb2

from shared.photos import Photo
from shared.stream.assessment import assess
from shared.stream.task import Finding
from shared.vision.reader import Reader


class EmbeddingTask:
    """One ImageEmbedded per photo. Photos that look alike have vectors of a high cosine."""

    name = "embedding"

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def warm_up(self) -> None:
        self._reader.warm_up()

    def prepare(self, photo: Photo) -> None:
        """Raises Poison."""
        self._reader.prepare(photo)

    def infer(self, photos: Sequence[Photo], inputs: Sequence[None]) -> Sequence[NDArray[np.float32]]:
        """Raises OutOfMemory."""
        # Rows of their own: one that is remembered must not keep its whole batch.
        return [vector.copy() for vector in self._reader.vectors(photos)]

    def takes_long(self, found: NDArray[np.float32]) -> bool:
        return False

    def conclude(self, photo: Photo, found: NDArray[np.float32]) -> Sequence[Finding]:
        assessment = assess(photo.upload, self._reader.pack_name, self._reader.generation)
        embedded = image_pb2.ImageEmbedded(assessment=assessment, space=self._reader.space, vector=found.tolist())
        return [Finding(embedded)]
