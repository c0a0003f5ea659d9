"""`make gpu-check` as far as the machine can: on a GPU all of it, else the same on a CPU's engines."""

import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from bench import gpu
from bench.gpu_measures import ON_A_CPU, Agreement, Built, Findings, Whole, measure, print_findings
from shared.vision.runtime import AGREEMENT
from tests.conftest import PROJECT, home

NEEDS_A_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="for lack of a GPU")


@pytest.fixture
def converted_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VITRINE_HOME", str(home()))


@pytest.mark.usefixtures("converted_network")
def test_on_a_cpu_every_engine_agrees_and_the_worker_survives_a_lack_of_memory(
    capsys: pytest.CaptureFixture[str],
) -> None:
    findings = measure("cpu", ON_A_CPU)
    assert findings.failures == []
    assert {one.engine for one in findings.agreements} == {one.engine for one in findings.built}
    assert len({one.pictures for one in findings.agreements}) == 6  # five canvases, and photos
    assert [whole.answered for whole in findings.whole] == [ON_A_CPU.photos] * len(findings.built)
    (starved,) = findings.out_of_memory
    assert starved.batch_limit <= ON_A_CPU.too_many // 4
    print_findings(findings)
    assert "0 failures" in capsys.readouterr().out


@NEEDS_A_GPU
def test_on_a_gpu_every_engine_agrees_and_the_worker_survives_a_lack_of_memory() -> None:
    findings = measure("cuda")
    assert findings.failures == []
    assert len(findings.built) == 3


def test_what_is_not_as_it_must_be_is_a_failure() -> None:
    sound = Whole("half", 8, 1.0, answered=8, rejected=0, batch_photos=4, batch_limit=2)
    findings = Findings(
        "cpu",
        "2",
        built=[Built("compiled", 1.0, "RuntimeError: no compiler")],
        agreements=[
            Agreement("half", "64 x 64", 1, AGREEMENT),
            Agreement("half", "64 x 64", 3, 0.5),
            Agreement("half", "64 x 64", 4, -1.0, "RuntimeError: no"),
        ],
        whole=[sound, replace(sound, answered=7)],
        out_of_memory=[sound, replace(sound, batch_limit=4)],
    )
    assert [failure.partition(":")[0] for failure in findings.failures] == [
        "compiled cannot be had",
        "half, 3 of 64 x 64",
        "half, 4 of 64 x 64",
        "half through the worker",
        "half ran out of memory, and the worker still takes 4 photos at once",
    ]


def test_a_machine_without_torch_is_told_so_in_one_line() -> None:
    """As a bare one: no packages but Python's own."""
    ran = subprocess.run([sys.executable, "-S", "-m", "bench.gpu"], cwd=PROJECT, capture_output=True, text=True)
    assert ran.returncode == 1
    (line,) = ran.stderr.splitlines()
    assert "has no torch" in line
    assert "GPU_PYTHON" in line


def test_packages_that_are_not_there_are_to_be_brought(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "CARRIED", ("google.nothing", "no_such.package", "json"))
    assert "has no google.nothing, no_such.package: run `make gpu-check-bundle`" in gpu.what_to_do()


def test_all_that_is_to_be_brought_is_bundled() -> None:
    bundled = (PROJECT / "requirements/gpu-check.txt").read_text()
    for name in gpu.CARRIED:
        package = {"google.protobuf": "protobuf", "opentelemetry.sdk": "opentelemetry-sdk"}.get(name, name)
        assert f"\n{package.replace('_', '-')}==" in bundled
