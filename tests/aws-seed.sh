#!/usr/bin/env bash
# The first run's command, word for word, on a table of 400 real receipts on loopback, through to a bundle in a bucket.
#
#   tests/aws-seed.sh [pretrained folder]
#
# Without a folder a small model from random weights is trained, which takes seconds.
set -euo pipefail
cd "$(dirname "$0")/.."
shared=${LAYOUTLM_SHARED:-../shared}
runs=$(mktemp -d)
trap 'rm -rf "$runs"' EXIT
export LAYOUTLM_RUNS=$runs LAYOUTLM_TRAINING_BUCKET=layoutlm-training LAYOUTLM_EXPORT_ONNX=true
export ORT_DYLIB_PATH=${ORT_DYLIB_PATH:-$PWD/target/onnxruntime/libonnxruntime.so}
if [ $# -gt 0 ]; then
  export LAYOUTLM_PRETRAINED=$1
else
  export LAYOUTLM_SCRATCH_HIDDEN=32 LAYOUTLM_SCRATCH_LAYERS=1 LAYOUTLM_SCRATCH_HEADS=2
fi
cargo build --release --locked -q --workspace
wild=$shared/data/wildreceipt
target/release/aws-on-loopback --fill "$wild/train.jsonl" --fill "$wild/validation.jsonl" --fill "$wild/test.jsonl" --receipts 400 \
  --table ReceiptsTable-dc5be22 --bucket layoutlm-training -- \
  target/release/layoutlm-cli train --job-name "receipts-$(date +%F-%H%M)-validate" --dynamo-table ReceiptsTable-dc5be22 \
  --epochs 3 --batch-size 64 --lr 6e-5 --warmup-ratio 0.2 --label-smoothing 0.1 --o-entity-ratio 2.0 --merge-amounts \
  --allowed-label MERCHANT_NAME --allowed-label PHONE_NUMBER --allowed-label ADDRESS_LINE --allowed-label DATE \
  --allowed-label TIME --allowed-label PRODUCT_NAME --allowed-label AMOUNT
