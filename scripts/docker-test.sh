#!/usr/bin/env bash
# Builds the server image and runs one of the tests that need an engine: `docker`, or `docker_base` for the large model.
#
# Fails, and does not skip, where no engine can be had: whoever calls this wants to know about the image.
set -euo pipefail
cd "$(dirname "$0")/.."

export LAYOUTLM_IMAGE=layoutlm-server:test
export LAYOUTLM_IMAGE_FEATURES=${IMAGE_FEATURES:-}
DOCKER_HOST=$(scripts/docker-engine.sh host)
export DOCKER_HOST
scripts/docker-build.sh --tag "$LAYOUTLM_IMAGE" --features "$LAYOUTLM_IMAGE_FEATURES" >/dev/null
docker history --format '{{.Size}}\t{{.CreatedBy}}' --no-trunc "$LAYOUTLM_IMAGE" | awk -F'\t' '$1 != "0B"' | cut -c1-150
threads=2
[ "$1" = docker_base ] && threads=1
cargo test --release --locked -p layoutlm-tests --features docker --test "$1" -- --test-threads "$threads" --nocapture
