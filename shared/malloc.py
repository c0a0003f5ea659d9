"""How the C library keeps memory that was freed, where that library is glibc; elsewhere these do nothing.

For the whole process, so it is for its edge to ask.
https://www.gnu.org/software/libc/manual/html_node/Malloc-Tunable-Parameters.html
"""

import ctypes
import sys
from collections.abc import Mapping

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -2, -3, -4, -8
LARGE_BYTES = 4 * 1024 * 1024


def give_back_large_blocks() -> None:
    """For services: they seldom decode large photos, and each is little of what a thread's arena would then keep.

    Left alone glibc learns from freed blocks that ones of up to 32 MiB are worth keeping.
    """
    _set({_MMAP_THRESHOLD: LARGE_BYTES})


def keep_freed_memory() -> None:
    """For training: activations aren't given back after each layer, and steps take two thirds of the time."""
    _set({_TRIM_THRESHOLD: 2**31 - 1, _TOP_PAD: 2**28, _MMAP_MAX: 0, _ARENA_MAX: 1})


def _set(parameters: Mapping[int, int]) -> None:
    if sys.platform != "linux":
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:
        return
    for parameter, value in parameters.items():
        mallopt(parameter, value)
