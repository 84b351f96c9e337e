#!/usr/bin/env bash
# One training step beside PyTorch's at three sizes, in turns. PEER_PYTHON: a Python with torch and transformers.
# RATIO (default 0.75) is the largest allowed ratio of the medians; exit code 3 where it is missed.
set -euo pipefail
cd "$(dirname "$0")/.."
: "${PEER_PYTHON:?set PEER_PYTHON to a Python with torch and transformers}"
cargo build --release -p layoutlm-benches --bin bench_train
# Freed memory is kept, as the command line program does: products ask for scratch memory at every call.
export MIMALLOC_PURGE_DELAY=-1
missed=0
for size in "minilm 8x128" "minilm 8x256" "base 8x128"; do
    read -r model shape <<<"$size"
    "${CARGO_TARGET_DIR:-target}"/release/bench_train --model "$model" --shape "$shape" \
        --ratio "${RATIO:-0.75}" "$@" || { code=$?; [ "$code" -eq 3 ] && missed=3 || exit "$code"; }
done
exit "$missed"
