"""What a photo shows: a category from general to leaf, with a calibrated confidence, and which leaves it may show."""

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

    def infer(self, photos: Sequence[Photo], inputs: Sequence[None]) -> Sequence[image_pb2.ImageClassified]:
        """One per photo, that doesn't say yet which photo it is about. Raises OutOfMemory."""
        found = zip(self._reader.categories(photos), self._reader.candidates(photos), strict=True)
        return [image_pb2.ImageClassified(category=category, candidates=leaves) for category, leaves in found]

    def takes_long(self, found: image_pb2.ImageClassified) -> bool:
        return False

    def conclude(self, photo: Photo, found: image_pb2.ImageClassified) -> Sequence[Finding]:
        assessment = assess(photo.upload, self._reader.pack_name, self._reader.generation)
        message = image_pb2.ImageClassified(assessment=assessment, category=found.category, candidates=found.candidates)
        return [Finding(message)]
