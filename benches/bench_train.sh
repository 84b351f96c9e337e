#!/usr/bin/env bash
# One training step beside PyTorch's at three sizes, in turns, three times over; exit code 3 where the goal is missed.
#
# Uses the Python that scripts/peers-python.sh finds or makes. PRIORITY is put before the measurement, e.g.
# PRIORITY="chrt -f 10" where others share the machine. Arguments go to bench_train_table (--help lists them).
set -euo pipefail
cd "$(dirname "$0")/.."
PEER_PYTHON=$(scripts/peers-python.sh)
export PEER_PYTHON
# All of it, as `make build` does: for one package alone dependencies would be built anew with fewer features.
cargo build --release --workspace --locked
# Freed memory is kept, as the command line program does: products ask for scratch memory at every call.
export MIMALLOC_PURGE_DELAY=-1
# shellcheck disable=SC2086 # PRIORITY is a command with its options.
exec ${PRIORITY:-} "${CARGO_TARGET_DIR:-target}"/release/bench_train_table "$@"
