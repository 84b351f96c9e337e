#!/usr/bin/env bash
# Builds the server image, and with a bundle's folder also an image with that model baked in.
#
#   scripts/docker-build.sh [--tag NAME] [--features LIST] [--bundle FOLDER]
#
# Prints the name of the image built last. The dependency layer is made anew only when a manifest changed.
set -euo pipefail
cd "$(dirname "$0")/.."

tag=layoutlm-server:latest features=${IMAGE_FEATURES-s3} bundle=
while [ $# -gt 0 ]; do
  [ $# -ge 2 ] || { echo "docker-build: $1 needs a value" >&2; exit 2; }
  case $1 in
    --tag) tag=$2 ;;
    --features) features=$2 ;;
    --bundle) bundle=$2 ;;
    *) echo "docker-build: unknown option $1" >&2; exit 2 ;;
  esac
  shift 2
done
if [ -n "$bundle" ] && [ ! -f "$bundle/manifest.json" ]; then
  echo "docker-build: $bundle is no bundle (it has no manifest.json); \`layoutlm-cli export\` writes one" >&2
  exit 2
fi

DOCKER_HOST=$(scripts/docker-engine.sh host)
export DOCKER_HOST
for base in debian:bookworm-slim rust:1.95-bookworm; do
  scripts/docker-engine.sh base "$base"
done

version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
revision=$(git rev-parse HEAD 2>/dev/null || echo none)
created=$(git log -1 --format=%cI 2>/dev/null || date -u +%FT%TZ)
build() { docker build -f docker/inference.Dockerfile --build-arg "FEATURES=$features" "$@" . >&2; }
# Named, so that tidying up keeps what the next build starts from.
for stage in onnxruntime manifests dependencies build rootfs; do
  build --target "$stage" -t "layoutlm-stage-$stage"
done
build -t "$tag" --build-arg "VERSION=$version" --build-arg "REVISION=$revision" --build-arg "CREATED=$created"
scripts/docker-engine.sh tidy

if [ -n "$bundle" ]; then
  docker build -f docker/bundle.Dockerfile -t "${tag%:*}:with-bundle" --build-arg "SERVER_IMAGE=$tag" "$bundle" >&2
  tag=${tag%:*}:with-bundle
fi
echo "$tag"
