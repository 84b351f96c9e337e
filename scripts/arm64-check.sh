#!/usr/bin/env bash
# Cross-compiles the server for arm64 (Graviton), runs it under qemu and holds its labels against the server of this
# machine on receipts of SROIE. For x86-64 machines with Debian's packages; installs what is missing when run as root.
set -euo pipefail
cd "$(dirname "$0")/.."
shared="${LAYOUTLM_SHARED:-../shared}"
triple=aarch64-unknown-linux-gnu receipts=5
fail() { echo "arm64-check: $1" >&2 && exit 1; }

missing=()
for pair in aarch64-linux-gnu-g++:g++-aarch64-linux-gnu qemu-aarch64:qemu-user jq:jq curl:curl; do
  command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
done
if [ ${#missing[@]} -gt 0 ]; then
  [ "$(id -u)" = 0 ] || fail "needs ${missing[*]}"
  { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}"; } >/dev/null
fi
if [ ! -d "$(rustc --print target-libdir --target "$triple")" ]; then
  rustup target add "$triple" || fail "the standard library for $triple is missing"
fi

scripts/fetch-onnxruntime.sh --arch aarch64 target/onnxruntime-aarch64
CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc \
  cargo build --release --locked --target "$triple" -p layoutlm-inference --bin layoutlm-server --features s3
cargo build --release --locked --workspace

work=$(mktemp -d)
servers=()
trap 'kill "${servers[@]}" 2>/dev/null || true; rm -rf "$work"' EXIT
target/release/layoutlm-cli export --checkpoint "$shared/goldens/tiny" --output "$work/bundle" --variants fp32,int8 \
  --max-flip-rate 1 --max-f1-drop 1 >/dev/null

# Waits until a server is ready and prints what it says of each receipt: labels, and confidences to two digits.
answers() { # port, log
  for _ in $(seq 600); do
    curl -sf -o /dev/null "http://127.0.0.1:$1/health/ready" && break
    sleep 0.2
  done
  head -n "$receipts" "$shared/data/sroie/test.jsonl" | while read -r line; do
    curl -sf -H 'content-type: application/json' --data-binary @- "http://127.0.0.1:$1/v1/classify" <<<"$line" |
      jq -c '[.words[] | [.label, (.confidence * 100 | round)]]' || { tail -n 5 "$2" >&2 && fail "no answer"; }
  done
}

for variant in fp32 int8; do
  serve=(--bundle "$work/bundle" --variant "$variant" --timeout-seconds 120)
  ORT_DYLIB_PATH=target/onnxruntime/libonnxruntime.so target/release/layoutlm-server "${serve[@]}" --port 18481 >"$work/native.log" 2>&1 &
  servers+=($!)
  ORT_DYLIB_PATH=target/onnxruntime-aarch64/libonnxruntime.so qemu-aarch64 -L /usr/aarch64-linux-gnu \
    "target/$triple/release/layoutlm-server" "${serve[@]}" --port 18482 >"$work/arm64.log" 2>&1 &
  servers+=($!)
  answers 18481 "$work/native.log" >"$work/native" && answers 18482 "$work/arm64.log" >"$work/arm64"
  labels() { jq -c '[.[][0]]' "$1"; }
  words=$(jq -s 'map(length) | add' "$work/native")
  cmp -s <(labels "$work/native") <(labels "$work/arm64") || fail "$variant: other labels on arm64"
  echo "$variant: the same labels on arm64 for $words words of $receipts receipts"
  kill "${servers[@]}" && wait "${servers[@]}" || true
  servers=()
done
