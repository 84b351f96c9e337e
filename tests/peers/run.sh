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

for form in "" "--padding" "--external-data"; do
  echo "== every variant in onnx.checker and onnxruntime ${form:-(as usual)}"
  "$cli" export --checkpoint "$shared/goldens/tiny" --output "$work/tiny" --variants fp32,fused,int8 \
    --max-flip-rate 1 --max-f1-drop 1 ${form:+"$form"} >/dev/null
  "$python" tests/peers/check_onnx.py "$work/tiny" --goldens "$shared/goldens/encode"
done

echo "== public clients of the server"
tests/peers/clients.sh "$python" "$work/bundle"
