#!/usr/bin/env python3
"""Lets PyPI's torch, which is built for CUDA, run without CUDA's libraries: `without-cuda.py SITE_PACKAGES`.

They are 2.7 GB, and without a GPU nothing in them is ever called; but torch's own libraries are linked to them and
don't load without them. So one small library takes the place of all: it has every name that torch asks for, and each
ends the process with a line that says why. The CUDA runtime itself is a real one (requirements/inference-cpu.in): it
is what torch asks whether there is a GPU. Needs a C compiler and binutils.
"""

import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

ABSENT = re.compile(
    r"(?:cublas|cudnn|cufft|cufile|cupti|curand|cusolver|cusparse|nccl|nvrtc|nvshmem)\w*", re.IGNORECASE
)
STAND_IN = "libwithout_cuda.so"
SOURCE = """
#include <stdio.h>
#include <stdlib.h>
static void absent(const char *name) {
    fprintf(stderr,
            "%s was called, but this image is for CPUs: take the one built from the target inference-gpu\\n", name);
    abort();
}
"""


def main() -> None:
    torch = Path(sys.argv[1]) / "torch"
    libraries = [*torch.glob("lib/*.so*"), *torch.glob("_C*.so")]
    if not libraries:
        sys.exit(f"there is no torch in {sys.argv[1]}")
    build(symbols(libraries), torch / "lib" / STAND_IN)
    for name in linked(libraries):
        (torch / "lib" / name).symlink_to(STAND_IN)


def symbols(libraries: Sequence[Path]) -> dict[str, set[str]]:
    """Names of CUDA's functions by the version that the linker has noted, "" where it noted none."""
    found: dict[str, set[str]] = {}
    for line in said("nm", "--dynamic", "--undefined-only", "--with-symbol-versions", *libraries).splitlines():
        name, _, version = line.split()[-1].partition("@") if line.strip() else ("", "", "")
        if ABSENT.fullmatch(name):
            found.setdefault(version, set()).add(name)
    return found


def linked(libraries: Sequence[Path]) -> set[str]:
    """File names of CUDA's libraries, as torch's ask for them."""
    needed = re.findall(r"\(NEEDED\).*\[lib(.+)\]", said("readelf", "--dynamic", "--wide", *libraries))
    return {f"lib{name}" for name in needed if ABSENT.match(name)}


def build(wanted: dict[str, set[str]], library: Path) -> None:
    functions = (f'void {name}(void) {{ absent("{name}"); }}' for name in sorted(set().union(*wanted.values())))
    versions = (f"{version} {{ {'; '.join(sorted(names))}; }};" for version, names in wanted.items() if version)
    with tempfile.TemporaryDirectory() as folder:
        source, script = Path(folder) / "without_cuda.c", Path(folder) / "versions.map"
        source.write_text(SOURCE + "\n".join(functions) + "\n")
        script.write_text("\n".join(versions) + "\n")
        said("gcc", "-shared", "-fPIC", "-O1", "-o", library, source, f"-Wl,--version-script={script}")


def said(*command: str | Path) -> str:
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


if __name__ == "__main__":
    main()
