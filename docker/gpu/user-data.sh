#!/bin/sh
# User data of a GPU instance (g5.xlarge) that trains and then ends itself: one program from S3, no Python, no packages.
#
# Works on Ubuntu and Amazon Linux as they come from AWS with an NVIDIA driver (the "Deep Learning Base GPU" images of
# either family). Fill in the first block or write the same names to /etc/layoutlm.env; docs/deploy.md has the commands.
set -eu

# ---- fill in -------------------------------------------------------------------------------------------------------
PROGRAM_S3="${PROGRAM_S3:-}"           # s3://bucket/prefix/layoutlm-cli, as `make trainer-dist` builds it
PROGRAM_SHA256="${PROGRAM_SHA256:-}"   # of that file; refused when it differs
TRAIN_ARGUMENTS="${TRAIN_ARGUMENTS:-}" # what follows `layoutlm-cli train`, e.g. --job-name receipts-1 --dynamo-table …
CUDA_LIBRARIES_S3="${CUDA_LIBRARIES_S3:-}" # optional .tar.gz with libcublas, libcublasLt and libcurand
WHEN_DONE="${WHEN_DONE:-stop}"         # stop: power off after training; stay: leave the instance running
# --------------------------------------------------------------------------------------------------------------------

HOME_DIR="${LAYOUTLM_HOME:-/opt/layoutlm}"
ENV_FILE="${LAYOUTLM_ENV_FILE:-/etc/layoutlm.env}"
LOG="${LAYOUTLM_LOG:-/var/log/layoutlm-train.log}"

say() { echo "layoutlm: $1"; }
fail() {
    say "$1" >&2
    exit 1
}

# The machine is worth money by the hour: whatever happens, it does not run on for nothing.
finish() {
    code=$?
    trap - EXIT
    [ "$code" = 0 ] || say "ended with exit code $code; the log is $LOG"
    if [ "$WHEN_DONE" = stop ]; then
        say "powering off"
        shutdown -h +1 || poweroff
    fi
    exit "$code"
}

# Sets the families apart by what they offer, not by their names.
fetch_client() {
    if command -v aws >/dev/null 2>&1; then
        return
    fi
    say "installing the AWS command line"
    if command -v dnf >/dev/null 2>&1; then
        dnf install -y -q awscli-2 || dnf install -y -q awscli
    elif command -v yum >/dev/null 2>&1; then
        yum install -y -q awscli
    elif command -v apt-get >/dev/null 2>&1; then
        # A fresh Ubuntu updates itself while user data runs, and holds the package lock.
        apt-get -o DPkg::Lock::Timeout=300 update -q
        DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install -y -q --no-install-recommends awscli ||
            snap install aws-cli --classic
    else
        fail "neither aws nor a package client (dnf, yum, apt-get) is here"
    fi
    command -v aws >/dev/null 2>&1 || fail "the AWS command line could not be installed"
}

from_s3() {
    attempt=1
    # The instance's role may need some seconds until it is honoured.
    until aws s3 cp --only-show-errors "$1" "$2.part"; do
        [ "$attempt" -lt 6 ] || fail "can't fetch $1: check that it exists and that the instance's role may read it"
        sleep $((attempt * 5))
        attempt=$((attempt + 1))
    done
    mv "$2.part" "$2"
}

install_program() {
    mkdir -p "$HOME_DIR/lib"
    from_s3 "$PROGRAM_S3" "$HOME_DIR/layoutlm-cli"
    if [ -n "$PROGRAM_SHA256" ]; then
        echo "$PROGRAM_SHA256  $HOME_DIR/layoutlm-cli" | sha256sum -c - >/dev/null ||
            fail "$PROGRAM_S3 is not the file with SHA-256 $PROGRAM_SHA256"
    fi
    chmod 755 "$HOME_DIR/layoutlm-cli"
    if [ -n "$CUDA_LIBRARIES_S3" ]; then
        from_s3 "$CUDA_LIBRARIES_S3" "$HOME_DIR/lib.tar.gz"
        tar -xzf "$HOME_DIR/lib.tar.gz" -C "$HOME_DIR/lib"
    fi
    "$HOME_DIR/layoutlm-cli" --version || fail "the program does not start here; was it built for $(uname -m)?"
}

# The driver brings libcuda; cuBLAS and cuRAND come from the image's CUDA, or from CUDA_LIBRARIES_S3.
library_path() {
    path=$HOME_DIR/lib
    for folder in /usr/local/cuda/lib64 /usr/local/cuda-13*/lib64 /usr/local/cuda-12*/lib64 \
        /usr/lib/x86_64-linux-gnu /usr/lib64; do
        if [ -d "$folder" ]; then path=$path:$folder; fi
    done
    echo "$path"
}

train() {
    LD_LIBRARY_PATH=$(library_path)
    export LD_LIBRARY_PATH
    if ! command -v nvidia-smi >/dev/null 2>&1 || ! nvidia-smi -L; then
        say "no NVIDIA driver answers: training would run on the processor"
    fi
    say "training; the log is $LOG"
    # Word splitting is meant: these are a command line's arguments.
    # shellcheck disable=SC2086
    "$HOME_DIR/layoutlm-cli" train $TRAIN_ARGUMENTS >>"$LOG" 2>&1 &
    trainer=$!
    # A spot instance is told to stop two minutes ahead; the trainer writes a checkpoint when told so.
    trap 'kill -TERM "$trainer" 2>/dev/null' TERM INT
    code=0
    wait "$trainer" || code=$?
    # `wait` returns early when a signal came; the program's own exit code is what counts.
    while kill -0 "$trainer" 2>/dev/null; do
        code=0
        wait "$trainer" || code=$?
    done
    return "$code"
}

if [ -f "$ENV_FILE" ]; then
    # shellcheck disable=SC1090
    . "$ENV_FILE"
fi
trap finish EXIT
[ -n "$PROGRAM_S3" ] || fail "PROGRAM_S3 is not set: fill in the first block, or $ENV_FILE"
[ -n "$TRAIN_ARGUMENTS" ] || fail "TRAIN_ARGUMENTS is not set: fill in the first block, or $ENV_FILE"
case $WHEN_DONE in stop | stay) ;; *) fail "WHEN_DONE is '$WHEN_DONE'; say stop or stay" ;; esac
fetch_client
install_program
train
say "training is done"
