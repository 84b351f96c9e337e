#!/usr/bin/env bash
# Builds the trainer image and runs the tests of it, on the processor: a container's card is the host's.
#
#   scripts/docker-trainer.sh [--tag NAME] [--no-test]
set -euo pipefail
cd "$(dirname "$0")/.."

tag=layoutlm-trainer:latest run_tests=yes
while [ $# -gt 0 ]; do
  case $1 in
    --tag) tag=${2:?"docker-trainer: --tag needs a value"} && shift 2 ;;
    --no-test) run_tests=no && shift ;;
    *) echo "docker-trainer: unknown option $1" >&2 && exit 2 ;;
  esac
done
DOCKER_HOST=$(scripts/docker-engine.sh host)
export DOCKER_HOST
bases=$(sed -nE 's/^ARG [A-Z_]+_IMAGE=//p' docker/trainer.Dockerfile)
for base in $bases; do
  scripts/docker-engine.sh base "$base"
done
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
revision=$(git rev-parse HEAD 2>/dev/null || echo none)
build() { docker build -f docker/trainer.Dockerfile "$@" . >&2; }
# Named, so that tidying up keeps what the next build starts from.
for stage in onnxruntime rust recipe tools dependencies build; do
  build --target "$stage" -t "layoutlm-trainer-stage-$stage"
done
build -t "$tag" --build-arg "VERSION=$version" --build-arg "REVISION=$revision"
scripts/docker-engine.sh tidy
docker image inspect --format '{{.RepoTags}} {{.Size}} bytes' "$tag" >&2
if [ "$run_tests" = yes ]; then
  LAYOUTLM_TRAINER_IMAGE=$tag cargo test --release --locked --workspace --features layoutlm-tests/docker \
    --test docker_trainer -- --nocapture
fi
