"""The generated code is that of protos/, and protos/ keep buf's STANDARD rules."""

import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).parents[3]
GENERATED = PROJECT / "shared" / "pb"


def test_generated_code_is_that_of_the_protos(tmp_path: Path) -> None:
    subprocess.run([PROJECT / "protos" / "generate.sh", tmp_path], check=True, capture_output=True)
    fresh = {path.relative_to(tmp_path): path.read_text() for path in tmp_path.rglob("*_pb2*.py*")}
    there = {
        path.relative_to(GENERATED): path.read_text() for path in GENERATED.rglob("*_pb2*.py*") if path.suffix != ".pyc"
    }
    assert fresh.keys() == there.keys(), "run `make proto`"
    assert [str(path) for path in fresh if fresh[path] != there[path]] == [], "run `make proto`"
    assert len(fresh) >= 10


def test_protos_keep_bufs_standard_rules() -> None:
    lint = subprocess.run([Path(sys.executable).with_name("buf"), "lint"], cwd=PROJECT / "protos", capture_output=True)
    assert lint.returncode == 0, lint.stdout.decode()
