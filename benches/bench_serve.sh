#!/usr/bin/env bash
# Our server (fp32, int8) beside FastAPI with onnxruntime and FastAPI with PyTorch, in turns in one run: receipts/s, p50,
# p99 and memory at 1, 4 and 16 clients, on the receipts of SROIE, LayoutLM of base size with random weights.
#
#   PEERS    a Python environment with torch, transformers, onnx, onnxruntime, fastapi, uvicorn [made in target/peers-serve]
#   THREADS  cores for every server [all]
#   further arguments go to bench_serve (--seconds, --rounds, --clients, --json)
set -euo pipefail
cd "$(dirname "$0")/.."
shared="${LAYOUTLM_SHARED:-../shared}"
peers="${PEERS:-$PWD/target/peers-serve}"
threads="${THREADS:-$(nproc)}"
work="target/bench-serve"
release="${CARGO_TARGET_DIR:-target}/release"
export ORT_DYLIB_PATH="${ORT_DYLIB_PATH:-$PWD/target/onnxruntime/libonnxruntime.so}"

# The whole workspace, as `make build` does: a choice of crates would choose other features and build anew.
cargo build --release --locked --workspace
if [ ! -x "$peers/bin/python" ]; then
  python3 -m venv "$peers"
  "$peers/bin/pip" install -q -r benches/peers/requirements.txt
fi
mkdir -p "$work"
[ -d "$work/checkpoint" ] || "$peers/bin/python" benches/peers/model_for_serving.py "$shared/goldens/tiny" "$work"
# In fp32 the server's graph is the fused one: standard operators alone are for other runtimes.
if ! grep -qs '"fused"' "$work/bundle/manifest.json"; then
  # Random weights have no margins to keep: what is measured here is speed.
  "$release/layoutlm-cli" export --checkpoint "$work/checkpoint" --output "$work/bundle" --variants fused,int8 \
    --max-flip-rate 1 --max-f1-drop 1
fi
ours() { echo "\"$release/layoutlm-server\",\"--bundle\",\"$work/bundle\",\"--variant\",\"$1\",\"--port\",\"{port}\",\"--workers\",\"$threads\",\"--threads\",\"$threads\""; }
theirs() { echo "\"$peers/bin/python\",\"benches/peers/serve.py\",\"$1\",\"$2\",\"$work/checkpoint\",\"{port}\",\"$threads\""; }
cat >"$work/recipes.json" <<JSON
[{"name": "ours-fp32", "command": [$(ours fused)]},
 {"name": "ours-int8", "command": [$(ours int8)]},
 {"name": "onnxruntime-fp32", "command": [$(theirs onnx "$work/python/fp32.onnx")]},
 {"name": "onnxruntime-int8", "command": [$(theirs onnx "$work/python/int8.onnx")]},
 {"name": "pytorch-fp32", "command": [$(theirs torch -)]}]
JSON
"$release/bench_serve" --recipes "$work/recipes.json" --receipts "$shared/data/sroie/test.jsonl" "$@"
