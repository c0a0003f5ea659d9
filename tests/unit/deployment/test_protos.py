"""The generated code is that of protos/, and protos/ keep buf's STANDARD rules."""

import subprocess
import sys
from pathlib import Path

from vitrine.events.v1 import image_pb2

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


def test_a_category_from_before_candidates_and_origins_is_read_as_it_was() -> None:
    """Bytes of builtin@6's version: results lie in Kafka and Redis for as long as their listings."""
    classified = image_pb2.ImageClassified.FromString(
        bytes.fromhex(
            "0a0d0a016110011a01612201702801"
            "122c0a05736869727412086761726d656e74731205736869727419000000000000e83f220961612d312d31332d37"
        )
    )
    assert classified.assessment.listing_id == "a" and classified.category.taxonomy_id == "aa-1-13-7"
    assert (list(classified.category.path), classified.category.confidence) == (["garments", "shirt"], 0.75)
    assert not classified.candidates and classified.category.origin == image_pb2.Category.ORIGIN_UNSPECIFIED


def test_protos_keep_bufs_standard_rules() -> None:
    lint = subprocess.run([Path(sys.executable).with_name("buf"), "lint"], cwd=PROJECT / "protos", capture_output=True)
    assert lint.returncode == 0, lint.stdout.decode()
