"""`vitrine run`, as a newcomer starts it: its answers on the rendered catalogue, and what it leaves behind: nothing."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from local.processes import accepts, last_lines
from local.servers import RedisServer
from tests.fleet.conftest import PROJECT, linked_home

Run = tuple[Path, subprocess.CompletedProcess[str], dict[str, Any]]
VITRINE = (sys.executable, "-c", "from cli.__main__ import main; main()")
# Of the rendered catalogue's answers so many must be right.
LEAST = {
    "category": 0.9,
    "colour": 0.8,
    "brand": 0.75,
    "volume": 0.75,
    "weight": 0.75,
    "memory": 0.75,
    "fraud: honest": 0.97,
    "fraud: look-alike": 1.0,
    "fraud: copy": 0.9,
    "fraud: false claim": 0.8,
}


def run(home: Path, *options: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """`vitrine run --free-ports --once` with a home of its own."""
    given = {name: value for name, value in os.environ.items() if not name.startswith("VITRINE_")}
    try:
        return subprocess.run(
            [*VITRINE, "run", "--free-ports", "--once", *options],
            env=given | {"VITRINE_HOME": str(home)} | (env or {}),
            cwd=PROJECT,
            capture_output=True,
            text=True,
            timeout=280,
        )
    except subprocess.TimeoutExpired as late:
        printed = [part.decode() for part in (late.stdout, late.stderr) if part]  # bytes, in spite of `text`
        logged = [f"{log.name}: {last_lines(log, 20)}" for log in sorted((home / "logs").glob("*.log"))]
        pytest.fail("\n".join([f"no end after {late.timeout} s", *printed, *logged]))


def living(home: Path) -> list[str]:
    """Command lines of processes that speak of this home, or were told of it in their environment."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            told = (folder / "cmdline").read_bytes() + (folder / "environ").read_bytes()
        except OSError:
            continue
        if str(home).encode() in told and folder.name != str(os.getpid()):
            found.append((folder / "cmdline").read_text().replace("\0", " "))
    return found


@pytest.fixture(scope="module")
def first_run(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, subprocess.CompletedProcess[str], dict[str, Any]]:
    """The whole demo catalogue through one worker: home, what was printed, the report.

    Four workers need three times as long on two cores; the kill drills import through those.
    """
    home = linked_home(tmp_path_factory.mktemp("run"))
    done = run(home, "--fused", "--report", str(home / "report.json"))
    assert done.returncode == 0, done.stdout + done.stderr
    return home, done, json.loads((home / "report.json").read_text())


def test_every_photo_has_exactly_one_record_with_valid_facets(first_run: Run) -> None:
    _, _, report = first_run
    counts = report["counts"]
    assert counts["listings"] == counts["joined_listings"] == 150
    assert counts["photos"] == counts["joined_photos"] > 150
    assert counts["with_faults"] == 0
    assert len({listing["listing_id"] for listing in report["listings"]}) == 150


@pytest.mark.parametrize("answer", LEAST)
def test_answers_on_the_rendered_catalogue_are_right(first_run: Run, answer: str) -> None:
    found = first_run[2]["correct"][answer]
    assert found["of"] > 0
    assert found["right"] >= LEAST[answer] * found["of"], found


def test_copies_name_the_listing_they_were_taken_from(first_run: Run) -> None:
    listings = {listing["reference"]: listing for listing in first_run[2]["listings"]}
    copies = [one for one in listings.values() if one["expected"]["kind"] == "copy" and one["correct"]["fraud"]]
    assert copies
    for copy in copies:
        named = {reason.get("other_listing_id") for reason in copy["fraud"]["reasons"]}
        same_photos = {
            one["listing_id"]
            for one in listings.values()
            if copy["expected"]["copy_of"] in (one["reference"], one["expected"]["copy_of"])
        }
        assert named & same_photos


def test_a_mirrored_photo_finds_its_listing_first(first_run: Run) -> None:
    queries = first_run[2]["queries"]
    assert queries["by_mirrored_photo"][0]["listing_id"] == queries["asked"]
    assert queries["asked"] not in [hit["listing_id"] for hit in queries["similar"]]
    assert len(queries["similar"]) == 5


def test_the_result_says_where_to_ask(first_run: Run) -> None:
    printed = first_run[1].stdout
    for word in ("Some of the listings", "Similar to", "Found by a mirrored photo", "gateway ", "lookups ", "metrics "):
        assert word in printed
    assert "Traceback" not in printed + first_run[1].stderr


def test_nothing_is_left_running(first_run: Run) -> None:
    assert living(first_run[0]) == []


def test_a_second_run_finds_its_data_again_and_ctrl_c_ends_every_process(first_run: Run) -> None:
    home, _, before = first_run
    given = {name: value for name, value in os.environ.items() if not name.startswith("VITRINE_")}
    command = [*VITRINE, "run", "--free-ports", "--report", str(home / "again.json")]
    with subprocess.Popen(
        command,
        env=given | {"VITRINE_HOME": str(home)},
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        text=True,
        # A shell that runs the tests in its background has them, and all that they start, ignore Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as running:
        assert running.stdout is not None
        printed = ""
        for line in running.stdout:
            printed += line
            if line.startswith("Running."):
                break
        assert len(living(home)) > 8, printed
        port = int(printed.split("http://127.0.0.1:")[1].split()[0])
        assert accepts(port)
        running.send_signal(signal.SIGINT)
        assert running.wait(60) == 0
    assert living(home) == []
    again = json.loads((home / "again.json").read_text())
    revisions = [[(one["listing_id"], one["revision"]) for one in report["listings"]] for report in (before, again)]
    assert revisions[0] == revisions[1]


def test_a_folder_of_ones_own_goes_through_servers_that_run_already(
    tmp_path: Path, kafka: str, eight: Sequence[Any]
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for number, offer in enumerate(eight[:3]):
        (photos / f"photo {number}.jpg").write_bytes(offer.upload.photos[0])
    report = tmp_path / "report.json"
    with RedisServer(tmp_path / "redis") as redis:
        env = {"VITRINE_KAFKA": kafka, "VITRINE_REDIS": redis.url}
        home = linked_home(tmp_path)
        done = run(home, "--photos", str(photos), "--report", str(report), "--fused", env=env)
        assert done.returncode == 0, done.stdout + done.stderr
        listings = json.loads(report.read_text())["listings"]
        # Other tests' listings on the shared broker are joined here too.
        assert Redis.from_url(redis.url).exists(*(f"listing:{{{one['listing_id']}}}" for one in listings)) == 3
    assert [one["title"] for one in listings] == ["photo 0", "photo 1", "photo 2"]
    assert not (home / "data" / "kafka").exists()
