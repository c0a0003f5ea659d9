#!/usr/bin/env bash
# Gathers the packages of requirements/gpu-check.txt into FOLDER.tar.gz, for the Python of a machine with a GPU and no network.
# Together with the tracked files it may weigh 64 MiB, which is what such a machine takes.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=${1:-build/gpu-check}
python=${GPU_PYTHON_VERSION:-3.12}
most=$((64 * 1024 * 1024))
uv=$(command -v uv || echo "${VITRINE_HOME:-.vitrine}/uv/bin/uv")
rm -rf "$folder" "$folder.tar.gz"
mkdir -p "$folder"
"$uv" pip install -q --target "$folder" --python-version "$python" --python-platform x86_64-manylinux_2_28 \
  --only-binary :all: --no-deps --require-hashes -r requirements/gpu-check.txt
tar -czf "$folder.tar.gz" -C "$(dirname "$folder")" "$(basename "$folder")"
rm -rf "$folder"
tracked=$(git ls-files -z | xargs -0 stat -c %s | awk '{ sum += $1 } END { print sum }')
packages=$(stat -c %s "$folder.tar.gz")
echo "$folder.tar.gz for Python $python: $((packages / 1024 / 1024)) MiB, and $((tracked / 1024 / 1024)) MiB of tracked files"
if [ $((packages + tracked)) -gt "$most" ]; then
  echo "gpu-check-bundle failed: together that is more than 64 MiB" >&2
  exit 1
fi
