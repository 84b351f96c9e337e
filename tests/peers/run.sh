#!/usr/bin/env bash
# Holds what the programs write against independent Python peers: transformers, onnx.checker, onnxruntime.
#
# Uses the Python that scripts/peers-python.sh finds or makes. Without Python it says so and skips.
set -euo pipefail
cd "$(dirname "$0")/../.."
shared="${LAYOUTLM_SHARED:-../shared}"
cli=target/release/layoutlm-cli

if ! command -v python3 >/dev/null; then
  echo "SKIPPED: no python3, so nothing was compared with Python peers"
  exit 0
fi
python=$(scripts/peers-python.sh)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
head -n 3 "$shared/data/wildreceipt/validation.jsonl" >"$work/receipts.jsonl"

echo "== a trained checkpoint in transformers"
"$cli" train --job-name peer --output-dir "$work/runs" --data "$work/receipts.jsonl" --no-frozen-val \
  --pretrained "$shared/goldens/tiny" --epochs 1 --batch-size 2 --merge-amounts >/dev/null
"$cli" encode --model "$work/runs/peer" --input "$work/receipts.jsonl" --output "$work/windows.jsonl"
"$cli" export --checkpoint "$work/runs/peer" --output "$work/bundle" --variants fp32 >/dev/null
"$python" tests/peers/check.py "$work/runs/peer/best" "$work/bundle" "$work/windows.jsonl"

echo "== training with dropout, beside transformers with the same masks"
mkdir "$work/small"
head -n 20 "$shared/data/wildreceipt/validation.jsonl" >"$work/small/train.jsonl"
head -n 3 "$shared/data/wildreceipt/test.jsonl" >"$work/small/validation.jsonl"
labels=(--merge-amounts)
for label in MERCHANT_NAME PHONE_NUMBER ADDRESS_LINE DATE TIME PRODUCT_NAME AMOUNT; do
  labels+=(--allowed-label "$label")
done
"$cli" data snapshot --data "$work/small" --output "$work/snapshots" --pretrained "$shared/goldens/tiny" "${labels[@]}" \
  --no-frozen-val >/dev/null
snapshot=$(echo "$work"/snapshots/*)
beside() { # NAME START OPTION…
  "$cli" train --job-name "$1" --output-dir "$work/runs" --dataset-snapshot-load "$snapshot" --no-frozen-val \
    --pretrained "$2" "${labels[@]}" --epochs 3 --batch-size 4 --lr 1e-3 --label-smoothing 0.1 "${@:3}" >/dev/null
}
beside head "$shared/goldens/tiny"
beside dropout "$work/runs/head/best" --warmup-ratio 0.1 --seed 5
"$python" tests/peers/same_draws.py "$work/runs/head/best" "$snapshot" "$work/runs/dropout" "$work/reference"
"$python" tests/peers/compare_training.py "$work/runs/head/best" "$work/runs/dropout" "$work/reference"

for form in "" "--padding" "--external-data"; do
  echo "== every variant in onnx.checker and onnxruntime ${form:-(as usual)}"
  "$cli" export --checkpoint "$shared/goldens/tiny" --output "$work/tiny" --variants fp32,fused,int8 \
    --max-flip-rate 1 --max-f1-drop 1 ${form:+"$form"} >/dev/null
  "$python" tests/peers/check_onnx.py "$work/tiny" --goldens "$shared/goldens/encode"
done

echo "== public clients of the server"
tests/peers/clients.sh "$python" "$work/bundle"
