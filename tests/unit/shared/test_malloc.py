"""A service that decoded large photos gives their memory back, though something small was made after each."""

import subprocess
import sys

from tests.conftest import PROJECT

DECODING = """
import numpy as np
from shared.malloc import give_back_large_blocks

def resident():
    return next(int(line.split()[1]) // 1024 for line in open("/proc/self/status") if line.startswith("VmRSS"))

{ask}
del_me = np.ones(30 * 2**20, np.uint8); del del_me
before = resident()
photos, results = [], []
for _ in range(20):
    photos.append(np.ones(20 * 2**20, np.uint8))
    results.append(np.ones(100_000, np.uint8))
held = resident() - before
photos.clear()
print(held, resident() - before)
"""


def held_and_kept(ask: str) -> tuple[int, int]:
    """MiB while 20 photos of 20 MiB are held, and after they were freed."""
    script = [sys.executable, "-c", DECODING.format(ask=ask)]
    said = subprocess.run(script, capture_output=True, text=True, check=True, cwd=PROJECT, timeout=60).stdout
    held, kept = said.split()
    return int(held), int(kept)


def test_large_blocks_are_given_back() -> None:
    held, kept = held_and_kept("give_back_large_blocks()")
    assert held >= 400 and kept < 20


def test_left_alone_the_c_library_keeps_them() -> None:
    held, kept = held_and_kept("")
    assert held >= 400 and kept > 200
