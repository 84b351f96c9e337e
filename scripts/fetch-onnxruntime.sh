#!/bin/sh
# Puts the pinned ONNX Runtime library into target/onnxruntime/ (or the folder given), checked by its SHA-256.
#
# The library comes out of the official Python package, through the ordinary package client; no Python is needed
# afterwards. Does nothing when the right file is already there.
#
#   scripts/fetch-onnxruntime.sh [--arch x86_64|aarch64] [folder]
set -eu

VERSION=1.31.1
SHA256_x86_64=fc44112fbe06d7d689c57e11d3862031f64711007e4ee020f8eed5185fd2c1d3
SHA256_aarch64=8aa3b76b28c778a2b1dd660d34161adb1d508c9ccd04ff9dc80e26eca5df8467

fail() {
    echo "fetch-onnxruntime: $1" >&2
    exit 1
}

arch=$(uname -m)
if [ "${1:-}" = --arch ]; then
    [ $# -ge 2 ] || fail "--arch needs x86_64 or aarch64"
    arch=$2
    shift 2
fi
root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
target=${1:-$root/target/onnxruntime}

case $arch in
    x86_64) sha=$SHA256_x86_64 ;;
    aarch64 | arm64) arch=aarch64 sha=$SHA256_aarch64 ;;
    *) fail "no pinned library for $arch; build ONNX Runtime $VERSION yourself and set ORT_DYLIB_PATH to it" ;;
esac
[ "$(uname -s)" = Linux ] || fail "the pinned library is for Linux; set ORT_DYLIB_PATH to ONNX Runtime 1.24 or newer"

hash_of() { sha256sum "$1" | cut -d' ' -f1; }

library=$target/libonnxruntime.so.$VERSION
link() {
    ln -sf "libonnxruntime.so.$VERSION" "$target/libonnxruntime.so.1"
    ln -sf libonnxruntime.so.1 "$target/libonnxruntime.so"
}

if [ -f "$library" ] && [ "$(hash_of "$library")" = "$sha" ]; then
    link
    echo "ONNX Runtime $VERSION is in $target"
    exit 0
fi

python=$(command -v python3 || command -v python || true)
[ -n "$python" ] || fail "python3 with pip is needed once, to download the library; or set ORT_DYLIB_PATH to ONNX Runtime 1.24 or newer"
"$python" -m pip --version >/dev/null 2>&1 ||
    fail "pip is missing (Debian and Ubuntu: apt-get install python3-pip); or set ORT_DYLIB_PATH to ONNX Runtime 1.24 or newer"

mkdir -p "$target"
work=$(mktemp -d "$target/fetch.XXXXXX")
trap 'rm -rf "$work"' EXIT INT TERM

# The interpreter version and platform are pinned too, so that every machine gets the same file.
"$python" -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: \
    --python-version 311 --implementation cp --platform "manylinux_2_28_$arch" \
    --dest "$work" "onnxruntime==$VERSION" ||
    fail "the download of onnxruntime==$VERSION failed; the package client's message is above"

"$python" - "$work" <<'PY'
import glob, sys, zipfile

work = sys.argv[1]
(wheel,) = glob.glob(work + "/*.whl")
with zipfile.ZipFile(wheel) as archive:
    for name in archive.namelist():
        base = name.rsplit("/", 1)[-1]
        if base.startswith("libonnxruntime.so."):
            open(work + "/library", "wb").write(archive.read(name))
        elif base in ("LICENSE", "ThirdPartyNotices.txt") and name.count("/") <= 2:
            open(work + "/" + base, "wb").write(archive.read(name))
PY
[ -f "$work/library" ] || fail "the package holds no libonnxruntime.so"

found=$(hash_of "$work/library")
[ "$found" = "$sha" ] || fail "the library's SHA-256 is $found, expected $sha: not installed"

chmod 755 "$work/library"
for notice in LICENSE ThirdPartyNotices.txt; do
    if [ -f "$work/$notice" ]; then mv "$work/$notice" "$target/$notice"; fi
done
mv "$work/library" "$library"
link
echo "ONNX Runtime $VERSION ($arch) is in $target"
