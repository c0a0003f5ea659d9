"""What a photo shows: a category from general to leaf, with a calibrated confidence."""

from collections.abc import Sequence

from vitrine.events.v1 import image_pb2

from shared.photos import Photo
from shared.stream.assessment import assess
from shared.stream.task import Finding
from shared.vision.reader import Reader


class ClassificationTask:
    """One ImageClassified per photo; one of nothing that is known has no label."""

    name = "classification"

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def warm_up(self) -> None:
        self._reader.warm_up()

    def prepare(self, photo: Photo) -> None:
        """Raises Poison."""
        self._reader.prepare(photo)

    def infer(self, photos: Sequence[Photo], inputs: Sequence[None]) -> Sequence[image_pb2.Category]:
        """Raises OutOfMemory."""
        return self._reader.categories(photos)

    def takes_long(self, found: image_pb2.Category) -> bool:
        return False

    def conclude(self, photo: Photo, found: image_pb2.Category) -> Sequence[Finding]:
        assessment = assess(photo.upload, self._reader.pack_name, self._reader.generation)
        return [Finding(image_pb2.ImageClassified(assessment=assessment, category=found))]
