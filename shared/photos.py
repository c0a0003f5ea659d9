"""A photo that several tasks look at."""

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from vitrine.events.v1 import image_pb2

Pixels = NDArray[np.uint8]  # height x width x RGB
T = TypeVar("T")


class Notes(dict[str, Any]):
    """What tasks noted of a photo, by name. A dict that can be referred to weakly."""


class Photo:
    """Decoded at most once per size, however many tasks prepare it. Belongs to one thread at a time."""

    def __init__(
        self,
        body: bytes,
        upload: image_pb2.ImageUploaded,
        decode: Callable[[bytes, int | None], Pixels],
        notes: Notes | None = None,
        *,
        self_test: bool = False,
    ) -> None:
        """`notes` of an earlier look at the same bytes by the same pack; `self_test`: nobody's photo, by which a worker
        finds out whether it is sound.
        """
        self.self_test = self_test
        self.body = body
        self.upload = upload
        self._decode = decode
        self._known: dict[str, Any] = {}
        self.notes = Notes() if notes is None else notes

    def fresh(self) -> "Photo":
        """The same photo with nothing known yet, for another thread."""
        return Photo(self.body, self.upload, self._decode, self_test=self.self_test)

    def pixels(self, at_least: int | None = None) -> Pixels:
        """Upright RGB whose shorter side has at least so many pixels; None: all there are."""
        return self.once(f"pixels/{at_least}", lambda: self._decode(self.body, at_least))

    def once(self, name: str, make: Callable[[], T]) -> T:
        """What `make` returned the first time that it was asked for under this name."""
        if name not in self._known:
            self._known[name] = make()
        value: T = self._known[name]
        return value

    def noted(self, name: str, make: Callable[[], T]) -> T:
        """Likewise, and it outlives the pixels: for what is small and depends on them and the pack alone.

        Where the photo is listed again, `conclude` is given the notes and no pixels. Photos of the same bytes may share
        their notes, and then two threads may make one at once.
        """
        if name not in self.notes:
            self.notes[name] = make()
        value: T = self.notes[name]
        return value

    def knows(self, name: str) -> bool:
        return name in self._known

    def forget(self, kind: str) -> None:
        """What has been known under names of this kind, KIND/…: what waits must stay small."""
        for name in [name for name in self._known if name.startswith(f"{kind}/")]:
            del self._known[name]
