"""What was found in photos lately: the same bytes need no second look, whoever lists them and how often.

A process has one pack, so a photo's sha256 is all that a look depends on.
"""

import sys
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any
from weakref import WeakValueDictionary

from google.protobuf.message import Message
from vitrine.events.v1 import image_pb2

from shared.photos import Notes, Photo, Pixels
from shared.stream.worker.work import Work

# For each photo that may be remembered. Of the fused worker one takes 10 KiB, of the split ones 2 to 6.
LOOK_BYTES = 16 * 1024
# What protobuf takes for a message with little in it, and for each byte of a larger one.
MESSAGE_BYTES, MESSAGE_FACTOR = 1024, 4


@dataclass(frozen=True, slots=True)
class Look:
    """All that conclude needs of a photo's pixels, once every task has had it."""

    sha256: str
    found: Mapping[str, Any]  # by the task's name
    notes: Mapping[str, Any]  # see Photo.noted

    def photo(self, upload: image_pb2.ImageUploaded) -> Photo:
        """The photo once more, for another record."""
        return Photo(b"", upload, _let_go, Notes(self.notes))


class Remembered:
    """The looks used last: so many at most, and LOOK_BYTES for each of them together. Belongs to the event loop."""

    def __init__(self, photos: int) -> None:
        """0 remembers nothing."""
        self._most = photos
        self._looks: OrderedDict[str, tuple[Look, int]] = OrderedDict()
        self._in_flight: WeakValueDictionary[str, Notes] = WeakValueDictionary()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._looks)

    def recall(self, sha256: str) -> Look | None:
        if (known := self._looks.get(sha256)) is None:
            return None
        self._looks.move_to_end(sha256)
        return known[0]

    def begin(self, work: Work) -> Look | None:
        """What may be kept once every task has concluded; None where there is no look or nothing is remembered.

        The photo shares its notes with the same photo of other records that are in flight, or lately were: what is
        noted for one of them, such as the text on it, need not be found for the others.
        """
        if not self._most or work.photo is None or work.spared:
            return None
        sha256 = work.photo.upload.photo.sha256
        if (known := self.recall(sha256)) is not None:
            work.photo.notes = Notes(known.notes)
        else:
            work.photo.notes = self._in_flight.setdefault(sha256, work.photo.notes)
        return Look(sha256, dict(work.found), work.photo.notes)

    def keep(self, look: Look) -> None:
        # A thread that was given up on may still note something.
        look = replace(look, notes=dict(look.notes))
        self._forget(self._looks.pop(look.sha256, None))
        size = size_of(look)
        self._looks[look.sha256] = (look, size)
        self.bytes += size
        while len(self._looks) > self._most or self.bytes > self._most * LOOK_BYTES:
            self._forget(self._looks.popitem(last=False)[1])

    def _forget(self, known: tuple[Look, int] | None) -> None:
        if known is not None:
            self.bytes -= known[1]


def size_of(value: object) -> int:
    """About how many bytes of memory this takes, and all that it holds."""
    size = sys.getsizeof(value)
    if isinstance(value, Message):
        return size + MESSAGE_BYTES + MESSAGE_FACTOR * value.ByteSize()
    if is_dataclass(value):
        return size + sum(size_of(getattr(value, field.name)) for field in fields(value))
    if isinstance(value, Mapping):
        return size + sum(size_of(name) + size_of(one) for name, one in value.items())
    if isinstance(value, tuple | list):
        return size + sum(map(size_of, value))
    return size


def _let_go(_body: bytes, _at_least: int | None) -> Pixels:
    raise LookupError("the pixels of a remembered photo are gone: what a task needs of them later has to be noted")
