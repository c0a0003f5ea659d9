"""What an import tells people."""

from collections.abc import Sequence
from dataclasses import dataclass

from client.listing import Effect, Feed, Imported
from shared.screen import Screen
from shared.text import plain

_SHOWN = 20  # of what was passed over; of failures all are


def summary(ended: Sequence[Imported], feed: Feed) -> str:
    """ "120 imported, 3 unchanged, 2 failed"; those that never were uploaded count as failed."""
    counts = {str(effect): sum(one.effect == effect for one in ended) for effect in Effect}
    counts[Effect.FAILED] += len(feed.bad)
    counts["passed over"] = len(feed.passed_over)
    photos = sum(len(one.photos) for one in ended)
    said = ", ".join(f"{count} {effect}" for effect, count in counts.items() if count or effect == Effect.IMPORTED)
    return f"{said} ({photos} photos)"


def complain(screen: Screen, what: str) -> None:
    """One line, however long."""
    screen.print(plain(f"not imported: {what}"), style="red", soft_wrap=True)


def tell_left_out(screen: Screen, feed: Feed) -> None:
    """All that won't be uploaded, and why."""
    for bad in feed.bad:
        complain(screen, str(bad))
    for line in passed_over(feed):
        screen.print(line, soft_wrap=True)


def passed_over(feed: Feed) -> list[str]:
    """Some of it by name, and how many more."""
    said = [f"passed over: {one}" for one in feed.passed_over[:_SHOWN]]
    more = len(feed.passed_over) - _SHOWN
    return said if more <= 0 else [*said, f"passed over: {more} more like these"]


@dataclass
class Failures:
    """Prints each failure, but not a thousand times that the gateway is away."""

    screen: Screen
    count: int = 0
    _last_not_tried: str = ""

    def show(self, one: Imported) -> None:
        if not one.error:
            return
        self.count += 1
        if one.error.startswith("not tried: "):
            if one.error == self._last_not_tried:
                return
            self._last_not_tried = one.error
        complain(self.screen, f"{one.origin or one.reference}: {one.error}")
