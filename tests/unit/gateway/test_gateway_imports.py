"""The gateway and the recommendation service run where torch is not installed."""

import subprocess
import sys

import pytest

BLOCKED = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "torchvision", "timm"):
            raise ImportError(f"{name} is not installed here")

sys.meta_path.insert(0, Blocked())
"""


@pytest.mark.parametrize("module", ["services.gateway.__main__", "services.recommendation.__main__"])
def test_it_imports_without_torch(module: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", f"{BLOCKED}import {module}"],
        env={"PYTHONPATH": ":".join(path for path in sys.path if path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
