"""The outcome of a run, as a person or a program wants to read it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local.answers import Schema as Pack
from local.answers import as_json
from local.catalogue import kind
from local.following import Answer
from local.showing import score
from shared.text import json_text
from studio import Expected


@dataclass(frozen=True, slots=True)
class Outcome:
    """Everything that a run found."""

    pack: Pack
    answers: Sequence[Answer]
    not_uploaded: Sequence[str]
    seconds: dict[str, float]

    @property
    def faults(self) -> dict[str, list[str]]:
        """What is missing or invalid, by reference; empty when every photo has its four facets."""
        faults_of = {one.imported.reference: one.faults(self.pack) for one in self.answers}
        bad = {line: ["not uploaded"] for line in self.not_uploaded}
        return bad | {reference: faults for reference, faults in faults_of.items() if faults}

    def as_json(self) -> dict[str, Any]:
        """The report."""
        joined = [one for one in self.answers if one.listing is not None]
        counts = {
            "listings": len(self.answers) + len(self.not_uploaded),
            "photos": sum(len(one.imported.photos) for one in self.answers),
            "joined_listings": len(joined),
            "joined_photos": sum(len(one.listing.photos) for one in joined if one.listing),
            "with_faults": len(self.faults),
        }
        scores = {name: {"right": right, "of": of} for name, (right, of) in score(self.answers).items()}
        return {
            "pack": self.pack.manifest.pack_name,
            "counts": counts,
            "correct": scores,
            "seconds": {name: round(value, 1) for name, value in self.seconds.items()},
            "listings": [self._listing_json(one) for one in self.answers],
            "not_uploaded": list(self.not_uploaded),
        }

    def _listing_json(self, one: Answer) -> dict[str, Any]:
        listing = {} if one.listing is None else as_json(one.listing)
        return {
            "reference": one.imported.reference,
            "listing_id": one.imported.listing_id,
            **listing,
            "expected": None if one.expected is None else _expected_json(one.expected),
            "correct": one.correct(),
            "faults": self.faults.get(one.imported.reference, []),
        }


def write_report(path: Path, outcome: Outcome, queries: Mapping[str, Any]) -> None:
    """Raises OSError."""
    report = outcome.as_json() | {"queries": queries}
    path.write_text(json_text(report, indent=1) + "\n", encoding="utf-8")


def _expected_json(expected: Expected) -> dict[str, Any]:
    attributes = {name: {"value": value, "unit": unit or None} for name, (value, unit) in expected.attributes.items()}
    return {
        "kind": kind(expected),
        "path": list(expected.path),
        "colour": expected.colour,
        "attributes": attributes,
        "decisions": list(expected.decisions),
        "reason": expected.reason or None,
        "copy_of": expected.copy_of,
        "looks_like": expected.looks_like,
    }
