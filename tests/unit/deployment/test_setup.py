"""Versions that several files need stand in one; and setup sees when what it fetches or builds has changed."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from local.servers import kafka_jars, kafka_version
from tests.conftest import PROJECT

SETUP = (PROJECT / "scripts/setup.sh").read_text()


def test_compose_runs_the_kafka_that_setup_fetches() -> None:
    compose = yaml.safe_load((PROJECT / "docker-compose.yml").read_text())
    assert compose["services"]["kafka"]["image"] == f"apache/kafka:{kafka_version()}"


def test_no_other_file_names_kafkas_version() -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=PROJECT, capture_output=True, text=True, check=True).stdout
    names = re.compile(rf"(?i)kafka[-_:. =\"]*(version)?[-_:. =\">]*{re.escape(kafka_version())}")
    allowed = {"docker-compose.yml", "scripts/kafka/pom.xml"}
    told = (".py", ".sh", ".yml", ".yaml", ".xml", "file")
    texts = (PROJECT / name for name in tracked.split() if name.endswith(told))
    assert {str(path.relative_to(PROJECT)) for path in texts if names.search(path.read_text())} <= allowed


def asked(folder: Path, question: str) -> str:
    """What the functions of setup.sh say in a checkout in the folder."""
    functions = SETUP[SETUP.index("KAFKA_VERSION=") : SETUP.index("case $mode")]
    script = f"set -euo pipefail\n{functions}\n{question}"
    return subprocess.run(["bash", "-c", script], cwd=folder, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for name in ("scripts", "requirements"):
        shutil.copytree(PROJECT / name, tmp_path / name)
    for name in ("pyproject.toml", "docker-compose.yml", "models/builtin/manifest.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(PROJECT / name, tmp_path / name)
    return tmp_path


def test_setup_fetches_the_version_that_the_fleet_looks_for(checkout: Path) -> None:
    assert asked(checkout, 'echo "$kafka/lib"') == str(kafka_jars(checkout / ".vitrine"))


@pytest.mark.parametrize(
    "changed",
    [
        "scripts/kafka/pom.xml",
        "scripts/prometheus/go.mod",
        "scripts/prometheus/go.sum",
        "requirements/go.txt",
        "requirements/dev.txt",
        "requirements/build.txt",
        "scripts/setup.sh",
        "pyproject.toml",
    ],
)
def test_setup_sees_a_change_of_what_it_installs(checkout: Path, changed: str) -> None:
    before = asked(checkout, "fingerprint")
    assert asked(checkout, "fingerprint") == before
    with (checkout / changed).open("a") as file:
        file.write("\n")
    assert asked(checkout, "fingerprint") != before


@pytest.mark.parametrize(
    ("made", "changed"),
    [
        ("kafka", "scripts/kafka/pom.xml"),
        ("prometheus", "scripts/prometheus/go.mod"),
        ("prometheus", "scripts/prometheus/go.sum"),
        ("prometheus", "requirements/go.txt"),
    ],
)
def test_what_was_made_of_other_sources_is_made_anew_though_its_version_stays(
    checkout: Path, made: str, changed: str
) -> None:
    there = f'made "${made}" "$({made}_sources)" && echo made || echo missing'
    assert asked(checkout, there) == "missing"
    asked(checkout, f'mkdir -p "${made}"; {made}_sources >"${made}/made-of"')
    assert asked(checkout, there) == "made"
    with (checkout / changed).open("a") as file:
        file.write("\n")
    assert asked(checkout, there) == "missing"
