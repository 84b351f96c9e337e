#!/usr/bin/env bash
# Our graphs beside what Python makes of the same weights: time to make them, peak memory, and speed in ONNX Runtime.
#
# Uses the Python that scripts/peers-python.sh finds or makes. PRIORITY is put before each measurement, e.g.
# PRIORITY="chrt -f 10" where others share the machine. SIZES (default "minilm base"), THREADS (default "1 2"), SHAPES and
# SECONDS_EACH (of each graph at each shape, default 1) choose what is measured. Graphs are kept under
# target/bench-export and made once.
set -euo pipefail
cd "$(dirname "$0")/.."
python=$(scripts/peers-python.sh)
target="${CARGO_TARGET_DIR:-$PWD/target}"
cli="$target/release/layoutlm-cli"
export ORT_DYLIB_PATH="${ORT_DYLIB_PATH:-$PWD/target/onnxruntime/libonnxruntime.so}"
shapes="${SHAPES:-1x64,1x128,1x256,1x512,4x128,8x256}"
peers=benches/peers

# measured COMMAND...: runs it and says how long it took and how much memory it had.
measured() {
  # shellcheck disable=SC2086 # PRIORITY is a command with its options.
  ${PRIORITY:-} "$python" - "$@" <<'PY'
import resource, subprocess, sys, time
start = time.perf_counter()
done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(f"{sys.argv[1].rsplit('/', 1)[-1]} {sys.argv[2]}: {time.perf_counter() - start:.1f} s wall, "
      f"{used.ru_utime + used.ru_stime:.1f} s CPU, peak {used.ru_maxrss // 1024} MiB")
sys.exit(done.returncode)
PY
}

for size in ${SIZES:-minilm base}; do
  work="$target/bench-export/$size"
  mkdir -p "$work"
  [ -f "$work/model/config.json" ] || "$python" $peers/export_make.py model "$size" "$work/model"
  printf '\n== making the graphs, %s (weights: %s MiB)\n' "$size" "$(du -m "$work/model/model.safetensors" | cut -f1)"
  rm -rf "$work/bundle"
  measured "$cli" export --checkpoint "$work/model" --output "$work/bundle" --variants fp32,fused,int8 \
    --max-flip-rate 1 --max-f1-drop 1
  made() { # made FILE STEP...: a step of the Python path, unless its file is there
    # shellcheck disable=SC2086
    [ -f "$1" ] || ${PRIORITY:-} "$python" $peers/export_make.py "${@:2}"
  }
  made "$work/export.onnx" export "$work/model" "$work/export.onnx"
  made "$work/optimized.onnx" optimize "$size" "$work/export.onnx" "$work/optimized.onnx"
  made "$work/default.onnx" quantize "$work/export.onnx" "$work/default.onnx" default
  made "$work/per-channel.onnx" quantize "$work/export.onnx" "$work/per-channel.onnx" qint8-per-channel
  for threads in ${THREADS:-1 2}; do
    # shellcheck disable=SC2086
    ${PRIORITY:-} "$python" $peers/export_speed.py "$size" "$threads" "${SECONDS_EACH:-1}" "$shapes" \
      "$work/speed.jsonl" "python export=$work/export.onnx" "python optimizer=$work/optimized.onnx" \
      "quantize_dynamic=$work/default.onnx" "quantize_dynamic per channel=$work/per-channel.onnx" \
      "torch=$work/model" "ours fp32=$work/bundle/model.onnx" "ours fused=$work/bundle/model.fused.onnx" \
      "ours int8=$work/bundle/model.int8.onnx"
  done
done
