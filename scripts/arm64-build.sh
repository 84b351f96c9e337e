#!/usr/bin/env bash
# Cross-compiles the server for arm64 (Graviton) on an x86-64 machine with Debian's packages and starts it under qemu;
# installs what is missing when run as root. It labels nothing: ONNX Runtime's arm64 library does not load in qemu 7.2
# (dlopen alone crashes, in a C program as well), so that is for a real machine.
set -euo pipefail
cd "$(dirname "$0")/.."
triple=aarch64-unknown-linux-gnu
fail() { echo "arm64-build: $1" >&2 && exit 1; }

missing=()
for pair in aarch64-linux-gnu-g++:g++-aarch64-linux-gnu qemu-aarch64:qemu-user; do
  command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
done
if [ ${#missing[@]} -gt 0 ]; then
  [ "$(id -u)" = 0 ] || fail "needs ${missing[*]}"
  { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}"; } >/dev/null
fi
if [ ! -d "$(rustc --print target-libdir --target "$triple")" ]; then
  rustup target add "$triple" || fail "the standard library for $triple is missing"
fi

CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc \
  cargo build --release --locked --target "$triple" -p layoutlm-inference --bin layoutlm-server --features s3

server="${CARGO_TARGET_DIR:-target}/$triple/release/layoutlm-server"
emulated() { qemu-aarch64 -L /usr/aarch64-linux-gnu "$server" "$@"; }
emulated --version
code=0
said=$(ORT_DYLIB_PATH=/nowhere emulated --bundle /bundle --port 0 2>&1) || code=$?
if [ "$code" != 2 ] || [[ "$said" != */nowhere* ]]; then
  fail "a missing ONNX Runtime gave exit $code and: $said"
fi
scripts/fetch-onnxruntime.sh --arch aarch64 target/onnxruntime-aarch64
echo "$server is built for arm64, starts, and names a missing ONNX Runtime"
