#!/usr/bin/env bash
# F1 on held-out receipts beside transformers, trained from the same start; exit code 3 where the means are too far apart.
#
#   benches/bench_quality.sh [sroie|wildreceipt]
#
# Three ways for each seed: this trainer; transformers with this run's order of windows and dropout masks
# (tests/peers/same_draws.py); and the plain reference loop, $LAYOUTLM_SHARED/reference/peers/train_hf.py as it stands, with draws
# and a head of its own. The first two share every draw, so only rounding sets them apart; the third adds the spread of seeds.
# The start is the encoder of a public package of sentence embeddings with 2-D positions and a head drawn once. The epoch that does
# best on the validation receipts is scored on the test receipts.
#
# EPOCHS (3), SEEDS ("1 2 3") and THREADS (all) may be set; so may RUNS, a folder: what an earlier call finished there is not done
# again. Three epochs of SROIE take some 20 minutes a seed on two cores. Uses the Python that scripts/peers-python.sh finds or makes.
set -euo pipefail
cd "$(dirname "$0")/.."
set=${1:-sroie} epochs=${EPOCHS:-3} threads=${THREADS:-$(nproc)}
read -ra seeds <<<"${SEEDS:-1 2 3}"
shared=${LAYOUTLM_SHARED:-../shared}
case $set in
  sroie) labels=(ADDRESS_LINE DATE GRAND_TOTAL MERCHANT_NAME) scheme=() ;;
  wildreceipt) labels=(ADDRESS_LINE AMOUNT DATE MERCHANT_NAME PHONE_NUMBER PRODUCT_NAME TIME) scheme=(--merge-amounts) ;;
  *) echo "bench-quality: $set is neither sroie nor wildreceipt" >&2; exit 2 ;;
esac
for label in "${labels[@]}"; do scheme+=(--allowed-label "$label"); done
python=$(scripts/peers-python.sh)
"$python" -c 'import seqeval' 2>/dev/null || "$python" -m pip install -q seqeval >&2
cargo build --release --workspace --locked
program=${CARGO_TARGET_DIR:-target}/release/layoutlm-cli
work=${RUNS:-}
if [ -z "$work" ]; then
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
fi
mkdir -p "$work"
start=$work/start-$set
[ -d "$start" ] || "$python" benches/peers/quality_start.py "$start" "${labels[@]}"
# Nothing is thinned out.
snapshot=$("$program" data snapshot --data "$shared/data/$set" --pretrained "$start" --reading-order given --o-entity-ratio 1e9 \
  --no-frozen-val "${scheme[@]}" --output "$work/snapshots" | tail -n 1)

score() { # MODEL SPLIT
  "$program" evaluate --model "$1" --data "$shared/data/$set" --split "$2" --threads "$threads" --output json
}

train_ours() { # SEED NAME
  # The reference neither groups windows by length nor stops early.
  "$program" train --job-name "$2" --output-dir "$work/runs" --dataset-snapshot-load "$snapshot" --pretrained "$start" \
    --reading-order given --o-entity-ratio 1e9 --lr 3e-4 --warmup-ratio 0.1 --label-smoothing 0.1 --epochs "$epochs" \
    --batch-size 8 --seed "$1" --threads "$threads" --group-by-length=false --early-stopping-patience 0 --no-frozen-val \
    "${scheme[@]}" >&2
  score "$work/runs/$2" test >"$work/$2.ours.part"
}

train_with_same_draws() { # SEED NAME
  rm -rf "$work/runs/$2-reference"
  "$python" tests/peers/same_draws.py "$start" "$snapshot" "$work/runs/$2" "$work/runs/$2-reference" >&2
  local epoch f1 best=-1 chosen=
  for ((epoch = 1; epoch <= epochs; epoch++)); do
    f1=$(score "$work/runs/$2-reference/epoch-$epoch" validation | "$python" -c 'import json, sys; print(json.load(sys.stdin)["f1"])')
    if awk "BEGIN { exit !($f1 > $best) }"; then best=$f1 chosen=$epoch; fi
  done
  score "$work/runs/$2-reference/epoch-$chosen" test >"$work/$2.same.part"
}

train_reference() { # SEED NAME
  "$python" "$shared/reference/peers/train_hf.py" --data "$shared/data" --set "$set" --init "$start" --epochs "$epochs" --batch 8 \
    --lr 3e-4 --warmup 0.1 --smooth 0.1 --seed "$1" --threads "$threads" --out "$work/$2.theirs.part" >&2
}

for seed in "${seeds[@]}"; do
  name=$set-$epochs-$seed
  for way in ours:train_ours same:train_with_same_draws theirs:train_reference; do
    [ -f "$work/$name.${way%:*}" ] && continue
    "${way#*:}" "$seed" "$name"
    mv "$work/$name.${way%:*}.part" "$work/$name.${way%:*}"
  done
done
"$python" benches/peers/quality_table.py "$work" "$set-$epochs" "${seeds[@]}"
