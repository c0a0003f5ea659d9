"""The benchmark on a broker of its own, as small as it gets."""

import json
from pathlib import Path

from click.testing import CliRunner

from bench.worker import main


def test_the_dummy_is_measured_against_a_bare_loop_on_a_real_broker(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    result = CliRunner().invoke(main, ["--quick", "--only", "dummy", "--report", str(report)])
    assert result.exit_code == 0, result.output
    assert "records ratio: " in result.output
    said = json.loads(report.read_text())
    assert {rate["contender"] for rate in said["rates"]} == {"worker", "bare broker loop"}
    assert all(rate["per_second"] > 0 for rate in said["rates"])
    assert said["memory"][-1]["photos"] == 32
