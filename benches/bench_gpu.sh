#!/usr/bin/env bash
# Training on one graphics card beside Hugging Face Trainer, as it was run before and tuned; exit code 3 where a goal is missed.
#
# The same windows (SROIE and WildReceipt from LAYOUTLM_SHARED), first weights, batch and epochs for all three; a model of
# LayoutLM-base's size, random unless PRETRAINED names a folder. What is printed is also kept in docs/bench/train-gpu.txt. Needs
# nvcc (CUDA_HOME), a driver, and a Python with PyTorch for CUDA, which scripts/peers-python.sh finds or makes. It has not been
# run yet: there was no card.
set -euo pipefail
cd "$(dirname "$0")/.."
shared=${LAYOUTLM_SHARED:-../shared}
batch=${BATCH:-16} epochs=${EPOCHS:-4} rate=${LR:-5e-5}
command -v nvidia-smi >/dev/null || { echo "bench-gpu: there is no NVIDIA driver on this machine; nothing was measured" >&2; exit 1; }
python=$(scripts/peers-python.sh)
cargo build --release --workspace --locked --features layoutlm-cli/cuda
program=${CARGO_TARGET_DIR:-target}/release/layoutlm-cli
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p docs/bench

data=(--data "$shared/data/sroie" --data "$shared/data/wildreceipt" --merge-amounts)
if [ -n "${PRETRAINED:-}" ]; then
  start=(--pretrained "$PRETRAINED")
else
  start=(--scratch-hidden 768 --scratch-layers 12 --scratch-heads 12 --scratch-vocab 30522)
fi
# One step that changes next to nothing leaves the folder from which all three start: weights, labels, tokenizer.
"$program" train --job-name start --output-dir "$work/runs" "${data[@]}" "${start[@]}" --device cuda --lr 1e-12 --epochs 1 \
  --batch-size 64 --auto-batch
cp -r "$work/runs/start/best" "$work/start"
snapshot=$("$program" data snapshot "${data[@]}" --pretrained "$work/start" --output "$work/snapshots" | tail -n 1)

"$python" benches/peers/train_gpu.py peak >"$work/peak.json"
"$python" benches/peers/train_gpu.py windows "$snapshot" >"$work/windows.json"
# Thinning is left out, so that all three see every window.
"$program" train --job-name ours --output-dir "$work/runs" --dataset-snapshot-load "$snapshot" --merge-amounts \
  --pretrained "$work/start" --device cuda --precision bf16 --auto-batch --batch-size "$batch" --epochs "$epochs" --lr "$rate" \
  --early-stopping-patience 0 --o-entity-ratio 1e9 --warmup-ratio 0.1
for mode in as-run tuned; do
  "$python" benches/peers/train_gpu.py "$mode" "$snapshot" "$work/start" "$work/$mode" "$batch" "$epochs" "$rate" >"$work/$mode.json"
done
last=$(find "$work/runs/ours" -maxdepth 1 -name 'checkpoint-*' | sort -V | tail -n 1)
score() { "$program" evaluate --model "$1" --data "$snapshot/validation.jsonl" --output json | "$python" -c '
import json, sys
print(json.dumps({"f1": json.load(sys.stdin)["f1"]}))'; }
score "$last" >"$work/ours.f1"
score "$work/as-run" >"$work/as-run.f1"
score "$work/tuned" >"$work/tuned.f1"
{
  date -u +%F
  nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.max.sm,power.limit --format=csv
  "$python" benches/peers/train_gpu_table.py "$work"
} | tee docs/bench/train-gpu.txt
