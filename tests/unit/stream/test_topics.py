"""The names of the tasks have one home, and knowing them costs no model."""

import subprocess
import sys
from pathlib import Path

from local.fleet import Plan
from services.attributes.task import AttributesTask
from services.classification.task import ClassificationTask
from services.embedding.task import EmbeddingTask
from services.fraud.task import FraudTask
from shared.stream.offsets import READS
from shared.topics import TASKS, group_of


def test_every_tasks_own_name_is_one_of_the_declared() -> None:
    assert tuple(task.name for task in (ClassificationTask, AttributesTask, EmbeddingTask, FraudTask)) == TASKS


def test_the_fleet_and_the_offsets_take_the_names_from_there() -> None:
    assert Plan(Path("home")).workers is TASKS
    assert READS.keys() == {group_of(member) for member in (*TASKS, "fused", "join", "fraud-removals")}


def test_the_commands_that_look_at_kafka_do_without_torch() -> None:
    looking = [
        *(f"cli.{name}" for name in ("topics", "groups", "dlq", "worker")),
        "services.lag.__main__",
        "local.fleet",
    ]
    program = f"import sys, {', '.join(looking)}; sys.exit('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": ":".join(path for path in sys.path if path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
