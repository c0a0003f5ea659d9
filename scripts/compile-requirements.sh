#!/usr/bin/env bash
# Compiles requirements/*.in with hashes. dev is the widest: the others take their versions from it.
set -euo pipefail
cd "$(dirname "$0")/../requirements"
uv=$(command -v uv || echo "${VITRINE_HOME:-../.vitrine}/uv/bin/uv")
compile() {
  "$uv" pip compile -q --generate-hashes --python-version 3.11 --no-emit-index-url --no-annotate --override overrides.txt "$@"
}
compile dev.in -o dev.txt
compile -c dev.txt inference.in -o inference.txt
compile -c dev.txt --override no-cuda.txt inference-cpu.in -o inference-cpu.txt
compile -c dev.txt base.in -o base.txt
compile -c dev.txt build.in -o build.txt
compile -c dev.txt --no-emit-package numpy gpu-check.in -o gpu-check.txt
compile go.in -o go.txt
compile uv.in -o uv.txt
