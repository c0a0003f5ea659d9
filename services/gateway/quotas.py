"""What uploads may take up: memory in all, and for each caller memory, uploads at once and photos a minute.

Counted by a caller's subject, and only while there is something to count: a flood of addresses leaves nothing behind.
"""

import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import ceil

from services.gateway.claims import ListingClaims
from services.gateway.form import Form
from services.gateway.problems import Problem
from services.gateway.settings import GatewaySettings


class Uploads:
    """Uploads under way, and the bytes of their bodies: who would exceed a limit is told to come back."""

    def __init__(self, settings: GatewaySettings) -> None:
        self._settings = settings
        self._free = settings.upload_memory_bytes
        self._under_way: Counter[str] = Counter()
        self._held: Counter[str] = Counter()

    @contextmanager
    def begun(self, subject: str) -> Iterator["Lease"]:
        """One more upload of this caller. What it has taken is free again at the end. Raises Problem."""
        if self._under_way[subject] >= self._settings.caller_uploads:
            raise _too_many(f"{self._settings.caller_uploads} uploads of one caller may be under way at once.")
        lease = Lease(self, subject)
        self._under_way[subject] += 1
        try:
            yield lease
        finally:
            lease.give_back()
            self._under_way[subject] -= 1
            _forget(self._under_way, subject)

    def take(self, subject: str, size: int) -> None:
        """Raises Problem, and nothing is taken."""
        if size > self._free:
            raise Problem("busy", "The gateway holds as many uploads as it can.", "Repeat it in a few seconds.")
        if self._held[subject] + size > self._settings.caller_memory_bytes:
            raise _too_many(f"{self._settings.caller_memory_bytes:,} bytes of one caller's uploads are held at once.")
        self._free -= size
        self._held[subject] += size

    def give_back(self, subject: str, size: int) -> None:
        self._free += size
        self._held[subject] -= size
        _forget(self._held, subject)


class Lease:
    """What one upload has taken of the memory."""

    def __init__(self, uploads: Uploads, subject: str) -> None:
        self._uploads = uploads
        self._subject = subject
        self._taken = 0

    def take(self, size: int) -> None:
        """Raises Problem, and nothing is taken."""
        self._uploads.take(self._subject, size)
        self._taken += size

    def give_back(self) -> None:
        """All of it."""
        self._uploads.give_back(self._subject, self._taken)
        self._taken = 0


class PhotoRate:
    """Photos a minute that each caller may ask to be looked at: a token bucket that holds one minute's worth.

    How many photos an upload names is known only from its body. So whoever has any tokens may upload, and what it takes
    too many is owed: who owes is refused before its next body is read.
    """

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        """`per_minute` of 0 is no limit."""
        self._most = float(per_minute)
        self._clock = clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()  # photos, and when; the latest at the end

    def check(self, subject: str) -> None:
        """Raises Problem while the caller owes photos."""
        if self._most and (left := self._tokens(subject)) < 1:
            seconds = ceil((1 - left) * 60 / self._most)
            raise Problem(
                "too-many-photos-per-minute",
                f"The caller has sent or named more than {self._most:,.0f} photos within a minute.",
                f"Repeat it in {seconds} s, and send fewer at once from then on.",
                retry_after_seconds=seconds,
            )

    def spend(self, subject: str, photos: int) -> None:
        if self._most:
            self._left[subject] = (self._tokens(subject) - photos, self._clock())
            self._left.move_to_end(subject)
            self._forget_the_full()

    def _tokens(self, subject: str) -> float:
        now = self._clock()
        left, at = self._left.get(subject, (self._most, now))
        return min(self._most, left + (now - at) * self._most / 60)

    def _forget_the_full(self) -> None:
        for subject in list(self._left)[:2]:  # more than one for each that comes in
            if self._tokens(subject) >= self._most:
                del self._left[subject]


def photos_of(form: Form, claims: ListingClaims) -> int:
    """Photos that an upload asks to be looked at: those sent along, and those named by their sha256."""
    return len(form.files) + sum(photo.sha256 is not None for photo in claims.photos or ())


def _too_many(limit: str) -> Problem:
    return Problem("too-many-uploads", f"Of these there are enough: {limit}", "Repeat it when others have ended.")


def _forget(counted: Counter[str], subject: str) -> None:
    if not counted[subject]:
        del counted[subject]
