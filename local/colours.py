"""How often the colour that the fleet names is the one that a shop names."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from local.analyst import Analyst
from services.attributes.colour import colours_of
from services.attributes.colour_names import BROADER, NAMES, ColourName
from shared.vision.cutting import small
from shared.vision.reader import photo_of
from shared.vision.regions import SIDE, Regions

# What shops call otherwise.
OTHERWISE: dict[str, ColourName] = {
    "gray": "grey",
    "lavender": "purple",
    "violet": "purple",
    "lilac": "purple",
    "multi": "multicolour",
    "multicolor": "multicolour",
    "tan": "beige",
    "cream": "beige",
    "maroon": "red",
    "burgundy": "red",
    "turquoise": "blue",
    "olive": "green",
    "khaki": "brown",
}


@dataclass(frozen=True, slots=True)
class Told:
    """What a shop says of a photo, and the colour that was named; "" where none was."""

    kind: str
    wanted: ColourName
    named: str

    @property
    def is_right(self) -> bool:
        """A navy shirt is blue: whoever names the broader colour is right."""
        return self.named in (self.wanted, BROADER.get(self.wanted))


def colour_called(label: str) -> ColourName | None:
    """What this project calls a shop's colour; None for none that it knows."""
    known = {str(name): name for name in NAMES} | OTHERWISE
    return known.get(label.strip().casefold())


def told(photos: Sequence[tuple[Path, str, ColourName]], analyst: Analyst, batch: int = 16) -> Iterable[Told]:
    """One for each photo, which comes with its kind and colour, as `vitrine analyze` answers."""
    lines = analyst.lines([path for path, _, _ in photos], batch)
    for (_, kind, wanted), line in zip(photos, lines, strict=True):
        yield Told(kind, wanted, line.get("attributes", {}).get("colour", {}).get("value", ""))


def milliseconds(paths: Sequence[Path], regions: Regions) -> float:
    """That regions and colours take of one decoded photo, one photo at a time; the median."""
    taken = []
    for path in paths:
        photo = photo_of(path.read_bytes())
        pixels = photo.pixels(SIDE)
        started = time.perf_counter()
        regions.prepare(photo)
        regions.see([photo])
        colours_of(small(pixels), regions.maps(photo), "product", may_shine=False)
        taken.append(time.perf_counter() - started)
    return sorted(taken)[len(taken) // 2] * 1000
