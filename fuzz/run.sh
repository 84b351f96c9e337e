#!/usr/bin/env bash
# Fuzzes the bundle loader and the parts it reads for some seconds each (SECONDS_TO_RUN, default 300), starting from a
# small real bundle. TARGETS (default "manifest bundle") chooses.
set -euo pipefail
cd "$(dirname "$0")/.."
cli=target/release/layoutlm-cli
shared="${LAYOUTLM_SHARED:-../shared}"
command -v cargo-fuzz >/dev/null || cargo install cargo-fuzz --locked
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$cli" export --checkpoint "$shared/goldens/tiny" --output "$work/bundle" >/dev/null
corpus="$work/corpus"
mkdir -p "$corpus"
for flag in 0 1; do
  {
    if [ "$flag" = 0 ]; then printf '\0'; else printf '\1'; fi
    cat "$work/bundle/manifest.json"
    for file in tokenizer.json config.json probe.safetensors; do
      printf '\n--\n'
      cat "$work/bundle/$file"
    done
  } >"$corpus/seed-$flag"
done
for target in ${TARGETS:-manifest bundle}; do
  features=""
  if [ "$target" = bundle ]; then features=--features=loader; fi
  # shellcheck disable=SC2086 # No word when there is none.
  cargo +nightly fuzz run $features "$target" "$corpus" -- \
    -max_total_time="${SECONDS_TO_RUN:-300}" -max_len=1048576 -timeout=20
done
