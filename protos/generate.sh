#!/usr/bin/env bash
# Generates shared/pb from protos/, into $1 (default shared/pb). The same input gives the same bytes.
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-shared/pb}
mkdir -p "$out"
find "$out" -name '*_pb2*.py*' -delete
export PATH="$PWD/.venv/bin:$PATH"
mapfile -t protos < <(find protos/vitrine -name '*.proto' | LC_ALL=C sort)
python -m grpc_tools.protoc -I protos --python_out="$out" --grpc_python_out="$out" \
  --mypy_out="quiet:$out" --mypy_grpc_out="quiet:$out" "${protos[@]}"
# protoc writes gRPC modules for files without services too: empty, so dropped.
for file in $(find "$out" -name '*_pb2_grpc.py'); do
  grep -q '^class .*Stub' "$file" || rm -f "$file" "${file}i"
done
