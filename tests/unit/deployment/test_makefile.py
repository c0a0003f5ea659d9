"""Which real photos `make test` tests on: those that are named, else those beside the checkout, else none."""

import shutil
import subprocess
from pathlib import Path

import pytest

MAKEFILE = Path(__file__).parents[3] / "Makefile"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout whose Python says which photos it was given, and whose set-up does nothing."""
    checkout = tmp_path / "checkout"
    for script, says in (("scripts/setup.sh", ""), (".venv/bin/python", 'echo "photos: ${VITRINE_TEST_PHOTOS-none}"')):
        file = checkout / script
        file.parent.mkdir(parents=True)
        file.write_text(f"#!/bin/sh\n{says}\n")
        file.chmod(0o755)
    shutil.copy(MAKEFILE, checkout)
    return checkout


def photos_of(checkout: Path, **env: str) -> str:
    ran = subprocess.run(
        ["make", "-s", "test"], cwd=checkout, env={"PATH": "/usr/bin:/bin", **env}, capture_output=True, check=True
    )
    (said,) = set(ran.stdout.decode().splitlines())
    return said.removeprefix("photos: ")


def test_photos_beside_the_checkout_are_tested_on_unless_others_are_named(checkout: Path) -> None:
    beside = checkout.parent / "shared" / "data"
    (beside / "clothing").mkdir(parents=True)
    assert photos_of(checkout) == str(beside)
    assert photos_of(checkout, VITRINE_TEST_PHOTOS="/mine") == "/mine"


def test_without_photos_beside_the_checkout_none_are_named(checkout: Path) -> None:
    assert photos_of(checkout) == "none"
