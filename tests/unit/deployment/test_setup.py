"""Versions that several files need stand in one; and setup sees when what it fetches or builds has changed."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from local.servers import kafka_jars, kafka_version
from tests.conftest import PROJECT, home

SETUP = (PROJECT / "scripts/setup.sh").read_text()


def test_compose_runs_the_kafka_that_setup_fetches() -> None:
    compose = yaml.safe_load((PROJECT / "docker-compose.yml").read_text())
    assert compose["services"]["kafka"]["image"].startswith(f"apache/kafka:{kafka_version()}@")


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
    here = {name: value for name, value in os.environ.items() if name != "VITRINE_HOME"}
    done = subprocess.run(["bash", "-c", script], cwd=folder, env=here, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for name in ("scripts", "requirements"):
        shutil.copytree(PROJECT / name, tmp_path / name)
    for name in ("pyproject.toml", "docker-compose.yml", "models/builtin/manifest.json", "models/regions/regions.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(PROJECT / name, tmp_path / name)
    return tmp_path


def test_setup_fetches_the_version_that_the_fleet_looks_for(checkout: Path) -> None:
    assert asked(checkout, 'echo "$kafka/lib"') == str(kafka_jars(checkout / ".vitrine"))


@pytest.mark.parametrize(
    "changed",
    [
        "scripts/kafka/pom.xml",
        "scripts/kafka/jars.sha256",
        "scripts/prometheus/go.mod",
        "scripts/prometheus/go.sum",
        "requirements/go.txt",
        "requirements/uv.txt",
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
        ("kafka", "scripts/kafka/jars.sha256"),
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


@pytest.mark.parametrize(
    "meddle", ["echo other > lib/b.jar", "touch lib/c.jar", "rm lib/a.jar", "mv lib/a.jar lib/c.jar"]
)
def test_only_the_very_jars_that_were_tried_are_run(checkout: Path, meddle: str) -> None:
    pin = "(cd lib && sha256sum -- *.jar) > scripts/kafka/jars.sha256"
    verdict = "jars_as_pinned lib && echo as pinned || echo others"
    assert asked(checkout, f"mkdir lib; echo a > lib/a.jar; echo b > lib/b.jar; {pin}; {verdict}") == "as pinned"
    assert asked(checkout, f"{meddle}; {verdict}") == "others"


def test_the_jars_of_this_machine_are_the_pinned_ones() -> None:
    asked(PROJECT, f'jars_as_pinned "{kafka_jars(home())}"')


def test_uv_is_fetched_by_hash_here_and_in_the_images() -> None:
    for text in (SETUP, (PROJECT / "Dockerfile").read_text()):
        assert "--require-hashes -r requirements/uv.txt" in text and "uv==" not in text
