"""What a GPU alone can show: `make gpu-check`, or `python -m bench.gpu`. On an H100 in eight minutes, without network.

- agreement: every engine's features beside eager torch's at full precision, on every canvas and many batch sizes, and
  on a batch of rendered photos of all shapes. A failure anywhere is the exit status 1.
- forward only: photos/s of each engine by batch size, and the most device memory that torch held.
- whole path: photos/s of rendered JPEGs through the worker (without broker and store), decoded on all cores; and how
  busy nvidia-smi says that the device was.
- out of memory: the process may hold less than a batch needs; the worker must shrink its batches and lose no photo.

Without a GPU it runs the same on the CPU's engines, with fewer sizes. Then running out of memory is feigned.

It needs a Python with NEEDED, whatever their versions, and CARRIED, which `make gpu-check-bundle` gathers.
"""

import argparse
import json
import sys
from contextlib import suppress
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path

NEEDED = ("torch", "torchvision", "timm", "safetensors", "numpy", "cv2", "PIL", "rich")
CARRIED = (
    "google.protobuf",
    "obstore",
    "opentelemetry.sdk",
    "prometheus_client",
    "pydantic_settings",
    "simplejpeg",
    "structlog",
)


def missing(names: tuple[str, ...]) -> list[str]:
    """Those that can't be imported here."""
    return [name for name in names if not _there(name)]


def what_to_do() -> str:
    """One line on what this machine lacks; empty when nothing is."""
    if lacking := missing(NEEDED):
        return f"{sys.executable} has no {', '.join(lacking)}: set GPU_PYTHON to one that has"
    if lacking := missing(CARRIED):
        return (
            f"{sys.executable} has no {', '.join(lacking)}: run `make gpu-check-bundle` where there is a network, and "
            "bring build/gpu-check.tar.gz here"
        )
    return ""


def main() -> None:
    parser = argparse.ArgumentParser(prog="gpu-check", description="Check and measure the engines of a GPU.")
    parser.add_argument("--device", choices=("auto", "cuda", "cpu"), default="auto")
    parser.add_argument("--report", type=Path, help="write every figure as JSON")
    options = parser.parse_args()
    if problem := what_to_do():
        sys.exit(f"gpu-check: {problem}")
    # What they need is there only now.
    from bench.gpu_measures import DeviceAbsent, measure, print_findings
    from shared.logs import start_logging

    start_logging("gpu-check", "ERROR")
    try:
        findings = measure(options.device)
    except DeviceAbsent as why:
        sys.exit(f"gpu-check: {why}")
    if options.report:
        options.report.parent.mkdir(parents=True, exist_ok=True)
        options.report.write_text(json.dumps({**asdict(findings), "failures": findings.failures}, indent=2))
    print_findings(findings)
    if findings.failures:
        sys.exit(f"gpu-check: {len(findings.failures)} failures")


def _there(name: str) -> bool:
    with suppress(ModuleNotFoundError):  # of a package that the name lies in
        return find_spec(name) is not None
    return False


if __name__ == "__main__":
    main()
