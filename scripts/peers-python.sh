#!/usr/bin/env bash
# Prints a Python that has the independent peers (PyTorch, transformers, ONNX Runtime), making it where there is none.
#
# $PEER_PYTHON or the environment in $LAYOUTLM_PEERS is taken as it is; else one is made under target/peers, once for
# each list of packages. It needs about 6 GB: PyTorch's ordinary package does not start without its CUDA libraries,
# even where it only computes on the CPU.
#
#   python=$(scripts/peers-python.sh)
set -euo pipefail
cd "$(dirname "$0")/.."
packages="numpy==2.4.6 onnx onnxruntime==1.31.1 safetensors torch==2.15.0 transformers==4.57.6"

if [ -n "${PEER_PYTHON:-}" ]; then
  echo "$PEER_PYTHON"
  exit 0
fi
if [ -n "${LAYOUTLM_PEERS:-}" ]; then
  echo "$LAYOUTLM_PEERS/bin/python"
  exit 0
fi
peers="${CARGO_TARGET_DIR:-$PWD/target}/peers"
if [ "$(cat "$peers/complete" 2>/dev/null)" != "$packages" ]; then
  command -v python3 >/dev/null || { echo "peers-python: there is no python3 to make $peers with" >&2; exit 1; }
  echo "peers-python: making $peers, once" >&2
  # What an interrupted attempt left is made anew.
  python3 -m venv --clear "$peers" >&2
  # shellcheck disable=SC2086 # A list of packages.
  "$peers/bin/pip" install -q $packages >&2
  echo "$packages" >"$peers/complete"
fi
echo "$peers/bin/python"
