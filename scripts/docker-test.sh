#!/usr/bin/env bash
# Builds the server image and runs the tests named, which need an engine: `docker`, `docker_model`, or `docker_base` for
# the large model.
#
# Fails, and does not skip, where no engine can be had: whoever calls this wants to know about the image.
set -euo pipefail
cd "$(dirname "$0")/.."
[ $# -gt 0 ] || { echo "docker-test: name the tests: docker, docker_model, docker_base" >&2; exit 2; }

export LAYOUTLM_IMAGE=layoutlm-server:test
export LAYOUTLM_IMAGE_FEATURES=${IMAGE_FEATURES-s3}
DOCKER_HOST=$(scripts/docker-engine.sh host)
export DOCKER_HOST
scripts/docker-build.sh --tag "$LAYOUTLM_IMAGE" --features "$LAYOUTLM_IMAGE_FEATURES" >/dev/null
docker history --format '{{.Size}}\t{{.CreatedBy}}' --no-trunc "$LAYOUTLM_IMAGE" | awk -F'\t' '$1 != "0B"' | cut -c1-150
threads=2 tests=()
for name in "$@"; do
  tests+=(--test "$name")
  [ "$name" != docker_base ] || threads=1
done
# The whole workspace's features, so that nothing that `make test` built is built again.
cargo test --release --locked --workspace --features layoutlm-tests/docker "${tests[@]}" -- --test-threads "$threads" --nocapture
