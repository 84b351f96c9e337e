#!/usr/bin/env bash
# Twice what the server can do, with clients that misbehave: see src/bin/soak.rs. Exit code 3 where a promise is broken.
#
#   SECONDS_OF_LOAD  length of the overload [600]
#   BUNDLE           bundle to serve [the golden model, exported]
set -euo pipefail
cd "$(dirname "$0")/.."
shared="${LAYOUTLM_SHARED:-../shared}"
release="${CARGO_TARGET_DIR:-target}/release"
export ORT_DYLIB_PATH="${ORT_DYLIB_PATH:-$PWD/target/onnxruntime/libonnxruntime.so}"
# The whole workspace, as `make build` does: a choice of crates would choose other features and build anew.
cargo build --release --locked --workspace
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
bundle="${BUNDLE:-$work/bundle}"
if [ ! -d "$bundle" ]; then
  "$release/layoutlm-cli" export --checkpoint "$shared/goldens/tiny" --output "$bundle" --variants fp32 >/dev/null
fi
"$release/soak" --server "$release/layoutlm-server" --bundle "$bundle" --receipts "$shared/data/sroie/test.jsonl" \
  --seconds "${SECONDS_OF_LOAD:-600}" --log "$work/server.log" "$@"
