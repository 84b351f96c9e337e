#!/usr/bin/env bash
# `predict` beside its own engine; exit code 3 where it is more than 5 % slower.
#
# Takes the quickstart's bundle and receipts (make quickstart) unless --bundle and --input say otherwise. PRIORITY is put
# before the measurement, e.g. PRIORITY="nice -n -20" where others share the machine.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo build --release --locked -p layoutlm-benches
# shellcheck disable=SC2086 # PRIORITY is a command with its options.
exec ${PRIORITY:-} "${CARGO_TARGET_DIR:-target}"/release/bench_predict "$@"
