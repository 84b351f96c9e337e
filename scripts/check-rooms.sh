#!/usr/bin/env bash
# Asserts from `cargo tree` that arrows between rooms point down only (see ARCHITECTURE.md).
set -euo pipefail
cd "$(dirname "$0")/.."

# must_not CRATE PATTERN: none of CRATE's normal dependencies may match PATTERN.
must_not() {
  local found
  found=$(cargo tree --locked -q -p "$1" -e normal --prefix none --no-dedupe | sort -u | grep -E "^($2) v" || true)
  if [ -n "$found" ]; then
    printf '%s must not depend on:\n%s\n' "$1" "$found" >&2
    exit 1
  fi
  echo "$1: none of $2"
}

must_not layoutlm-core 'candle-core|ort|ort-sys|axum|tokio|hyper|aws-.*|ureq|reqwest|layoutlm-.*er|layoutlm-inference'
must_not layoutlm-trainer 'ort|ort-sys|axum|layoutlm-exporter|layoutlm-inference|aws-.*'
must_not layoutlm-exporter 'ort|ort-sys|axum|layoutlm-inference|aws-.*'
must_not layoutlm-inference 'candle-.*|cudarc|layoutlm-trainer|layoutlm-exporter|aws-.*'
must_not layoutlm-aws 'candle-.*|ort|ort-sys|axum|layoutlm-trainer|layoutlm-exporter|layoutlm-inference'
