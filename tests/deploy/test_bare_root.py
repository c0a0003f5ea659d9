"""A newcomer's first command, in a Debian that has `make`, `ca-certificates` and nothing else."""

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.bare import copy_project, inside, make_root

PROJECT = "root/vitrine"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("bare")
    make_root(folder, "make")
    copy_project(folder / PROJECT)
    yield folder
    shutil.rmtree(folder)  # gigabytes, of which pytest would keep those of three runs


@pytest.mark.timeout(1500)
def test_make_run_installs_what_it_needs_and_shows_the_answers_of_a_whole_fleet(root: Path) -> None:
    printed = ""
    with inside(root, "make", "-C", f"/{PROJECT}", "run") as process:
        assert process.stdout is not None
        for line in process.stdout:
            printed += line
            if line.startswith("Running."):
                os.killpg(process.pid, signal.SIGINT)
    assert "setup: installing with apt:" in printed, printed
    assert "g++" in printed
    assert "150 listings with" in printed, printed[-4000:]
    assert "stopped; the next run finds its data again" in printed, printed[-4000:]
    assert "Traceback" not in printed


@pytest.mark.timeout(1500)
def test_the_set_up_for_tests_brings_their_tools_and_does_nothing_the_second_time(root: Path) -> None:
    """All tests would take as long there as here; these use what that set-up installs, and what it compiles."""
    assert "setup: done" in ran(root, "make", "-C", f"/{PROJECT}", "setup-tests")
    assert "setup: " not in ran(root, "make", "-C", f"/{PROJECT}", "setup-tests")
    tests = (
        "tests/unit/deployment/test_monitoring.py",
        "tests/unit/deployment/test_manifests.py",
        "tests/unit/fraud/test_pdq.py",
    )
    said = ran(root, "sh", "-c", f"cd /{PROJECT} && .venv/bin/python -m pytest -q {' '.join(tests)}")
    assert " passed" in said


def ran(root: Path, *command: str) -> str:
    """What it printed, once it has ended with 0."""
    with inside(root, *command) as process:
        printed, _ = process.communicate()
    assert process.returncode == 0, printed[-4000:]
    return printed
