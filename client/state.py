"""What was imported from this machine: it saves work, and nothing is lost with it."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TextIO

from shared.events import deterministic_id


@dataclass(frozen=True, slots=True)
class Done:
    """One line of the state file."""

    seller_id: str
    reference: str
    digest: str  # of the claims and the photos
    listing_id: str
    revision: int
    photos: tuple[str, ...]


@dataclass
class State:
    """What earlier runs uploaded, appended to line by line, so that a crash costs at most the line being written."""

    done: dict[tuple[str, str], Done] = field(default_factory=dict)  # by seller and reference
    _file: TextIO | None = None

    @classmethod
    def open(cls, path: Path) -> "State":
        """Raises OSError."""
        path.parent.mkdir(parents=True, exist_ok=True)
        body = path.read_bytes() if path.exists() else b""
        known = [done for line in body.decode("utf-8", "replace").splitlines() if (done := _done(line))]
        file = path.open("a", encoding="utf-8")
        if body and not body.endswith(b"\n"):
            file.write("\n")  # a line torn by a crash must not swallow the next one
        return cls({(done.seller_id, done.reference): done for done in known}, file)

    def find(self, seller_id: str, reference: str) -> Done | None:
        return self.done.get((seller_id, reference))

    def note(self, done: Done) -> None:
        self.done[done.seller_id, done.reference] = done
        if self._file:
            self._file.write(json.dumps(asdict(done)) + "\n")
            self._file.flush()

    def close(self) -> None:
        if self._file:
            self._file.close()


def state_path(home: Path, gateway: str) -> Path:
    """Beside the data that it speaks of: whoever deletes home/data starts afresh, imports too."""
    return home / "data" / "imports" / f"{deterministic_id(gateway.rstrip('/'))}.jsonl"


def _done(line: str) -> Done | None:
    try:
        noted = json.loads(line)
        return Done(**{**noted, "photos": tuple(noted["photos"])})
    except (ValueError, TypeError, KeyError):
        return None
