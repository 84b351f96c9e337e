#!/usr/bin/env bash
# Gives this machine a container engine and the base images, for `make docker` and `make docker-test`.
#
#   scripts/docker-engine.sh host        prints the DOCKER_HOST to use; starts an engine where none answers
#   scripts/docker-engine.sh base IMAGE  makes sure that a base image is there under the tag the Dockerfiles name
#   scripts/docker-engine.sh tidy        drops images without a name from the engine that `host` started
#   scripts/docker-engine.sh stop        ends the engine that `host` started
#
# An engine that already answers (DOCKER_HOST or the system's own) is used as it is. Else Debian's docker.io is
# installed and started with all of its data under $LAYOUTLM_ENGINE_DIR (default /var/cache/layoutlm-docker), so that
# built layers outlive one run. A base that can't be pulled is made on the spot from Debian's packages and, for the
# Rust image, this machine's toolchain: a stand-in, enough to build and to test, not what a release is built from.
set -euo pipefail

DIR=${LAYOUTLM_ENGINE_DIR:-/var/cache/layoutlm-docker}
SOCKET=$DIR/docker.sock
SUITE=bookworm

say() { echo "docker-engine: $1" >&2; }
fail() {
  say "$1"
  exit 1
}

answers() { DOCKER_HOST=$1 timeout 10 docker version --format '{{.Server.Version}}' >/dev/null 2>&1; }

host() {
  if command -v docker >/dev/null; then
    for candidate in "${DOCKER_HOST:-unix:///var/run/docker.sock}" "unix://$SOCKET"; do
      if answers "$candidate"; then
        echo "$candidate"
        return
      fi
    done
  fi
  start
}

install() {
  local missing=()
  for pair in dockerd:docker.io docker:docker.io containerd:containerd runc:runc iptables:iptables; do
    command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
  done
  [ ${#missing[@]} -eq 0 ] && return
  packages "${missing[@]}"
}

packages() {
  [ "$(id -u)" = 0 ] || fail "no engine answers, and only root can install one; start Docker or set DOCKER_HOST"
  command -v apt-get >/dev/null || fail "no engine answers, and this system has no apt-get; start Docker or set DOCKER_HOST"
  say "installing $*"
  local log
  log=$(mktemp)
  # A service that the package would start has no business here: we start our own.
  if ! { apt-get update -q && DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -q --no-install-recommends "$@"; } >"$log" 2>&1; then
    tail -n 20 "$log" >&2
    fail "installing $* failed"
  fi
  rm -f "$log"
}

start() {
  install
  mkdir -p "$DIR"
  say "starting dockerd (data under $DIR)"
  # What an engine that was killed left behind would be taken for a living one. An exec root must be short-lived.
  rm -rf "$DIR/exec" "$SOCKET" "$DIR/dockerd.pid"
  setsid dockerd --data-root "$DIR/data" --exec-root "$DIR/exec" -H "unix://$SOCKET" -p "$DIR/dockerd.pid" \
    --log-level warn >"$DIR/dockerd.log" 2>&1 </dev/null &
  for _ in $(seq 120); do
    if answers "unix://$SOCKET"; then
      echo "unix://$SOCKET"
      return
    fi
    sleep 0.5
  done
  tail -n 20 "$DIR/dockerd.log" >&2
  fail "dockerd did not answer within a minute"
}

stop() {
  local pid
  pid=$(cat "$DIR/dockerd.pid" 2>/dev/null) || return 0
  kill "$pid" 2>/dev/null || return 0
  for _ in $(seq 60); do
    kill -0 "$pid" 2>/dev/null || return 0
    sleep 0.5
  done
  fail "dockerd ($pid) does not stop"
}

# Every build leaves a nameless image of its build stage behind. In somebody else's engine they are not ours to drop.
tidy() {
  if [ "$(host)" = "unix://$SOCKET" ]; then
    DOCKER_HOST=unix://$SOCKET docker image prune -f >/dev/null
  fi
}

base() {
  DOCKER_HOST=$(host)
  export DOCKER_HOST
  docker image inspect "$1" >/dev/null 2>&1 && return
  if timeout 120 docker pull -q "$1" >/dev/null 2>&1; then
    say "pulled $1"
    return
  fi
  case $1 in
    "debian:$SUITE-slim") stand_in_debian "$1" ;;
    rust:*-"$SUITE") stand_in_rust "$1" ;;
    python:3.11-slim-"$SUITE") stand_in_python "$1" ;;
    nvidia/cuda:13.*-devel-*) stand_in_cuda "$1" ;;
    nvidia/cuda:13.*-runtime-*) stand_in_cuda_runtime "$1" ;;
    *) fail "$1 can't be pulled, and there is no recipe for a stand-in" ;;
  esac
}

# The certificates and variables by which this machine reaches package indexes through an inspecting proxy, if it does.
trust() {
  local folder=/usr/local/share/ca-certificates
  mkdir -p "$1$folder" "$1/etc/ssl/certs"
  if compgen -G "$folder/*.crt" >/dev/null; then
    cp "$folder"/*.crt "$1$folder/"
    cp /etc/ssl/certs/ca-certificates.crt "$1/etc/ssl/certs/"
  fi
}

changes() {
  local name
  compgen -G "/usr/local/share/ca-certificates/*.crt" >/dev/null || return 0
  for name in SSL_CERT_FILE CARGO_HTTP_CAINFO PIP_CERT; do
    printf -- '--change\0ENV %s=/etc/ssl/certs/ca-certificates.crt\0' "$name"
  done
}

stand_in_debian() {
  command -v debootstrap >/dev/null || packages debootstrap
  say "making a stand-in for $1 with debootstrap"
  local root change=()
  root=$(mktemp -d "$DIR/rootfs.XXXXXX")
  if ! debootstrap --variant=minbase "$SUITE" "$root/r" >"$root/log" 2>&1; then
    tail -n 20 "$root/log" >&2
    rm -rf "$root"
    fail "debootstrap failed"
  fi
  trust "$root/r"
  rm -rf "$root"/r/var/cache/apt/archives/*.deb "$root"/r/var/lib/apt/lists/*
  mapfile -d '' -t change < <(changes)
  tar -C "$root/r" -c . | docker import --change 'CMD ["bash"]' "${change[@]}" - "$1" >/dev/null
  rm -rf "$root"
}

stand_in_python() {
  base "debian:$SUITE-slim"
  say "making a stand-in for $1 with Debian's Python"
  DOCKER_BUILDKIT=0 docker build -q -t "$1" - >/dev/null <<DOCKERFILE
FROM debian:$SUITE-slim
RUN apt-get update && apt-get install -y --no-install-recommends python3 python3-venv ca-certificates \
 && rm -rf /var/lib/apt/lists/* && python3 -m venv /usr/local/python
ENV PATH=/usr/local/python/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
DOCKERFILE
}

# NVIDIA's own compiler, as its packages for Python bring it. What will be copied in from the Rust image's stand-in has its
# toolchain elsewhere than the real one.
stand_in_cuda() {
  base "debian:$SUITE-slim"
  say "making a stand-in for $1 with NVIDIA's compiler from the Python package index"
  DOCKER_BUILDKIT=0 docker build -q -t "$1" - >/dev/null <<DOCKERFILE
FROM debian:$SUITE-slim
RUN apt-get update && apt-get install -y --no-install-recommends python3-pip ca-certificates \
 && python3 -m pip install -q --no-cache-dir --break-system-packages --no-deps --target /opt/cuda \
    nvidia-cuda-nvcc==13.0.88 nvidia-cuda-crt==13.0.88 nvidia-nvvm==13.0.88 nvidia-cuda-runtime==13.0.96 \
    nvidia-cuda-cccl==13.0.85 \
 && ln -s /opt/cuda/nvidia/cu13 /usr/local/cuda \
 && mkdir -p /usr/local/cargo/bin && ln -s /usr/local/toolchain/bin/cargo /usr/local/toolchain/bin/rustc /usr/local/cargo/bin \
 && apt-get purge -y python3-pip && apt-get autoremove -y && rm -rf /var/lib/apt/lists/*
DOCKERFILE
}

# Driver and cuBLAS are looked up when the program runs; without a card neither is there.
stand_in_cuda_runtime() {
  base "debian:$SUITE-slim"
  say "taking Debian for $1: without cuBLAS it trains on the processor only"
  docker tag "debian:$SUITE-slim" "$1"
}

# The official image in short: cargo and rustc on the PATH, a C linker, no rustup.
stand_in_rust() {
  base "debian:$SUITE-slim"
  say "making a stand-in for $1 with this machine's toolchain"
  local sysroot context
  sysroot=$(rustc --print sysroot) || fail "no rustc here to make $1 from"
  context=$(mktemp -d "$DIR/rust.XXXXXX")
  mkdir -p "$context/toolchain/lib/rustlib"
  cp -a "$sysroot/bin" "$context/toolchain/"
  cp -a "$sysroot"/lib/*.so* "$context/toolchain/lib/"
  cp -a "$sysroot/lib/rustlib/$(rustc -vV | sed -n 's/^host: //p')" "$context/toolchain/lib/rustlib/"
  cat >"$context/Dockerfile" <<DOCKERFILE
FROM debian:$SUITE-slim
RUN apt-get update && apt-get install -y --no-install-recommends gcc g++ libc6-dev make pkg-config ca-certificates \
 && rm -rf /var/lib/apt/lists/*
ENV CARGO_HOME=/usr/local/cargo PATH=/usr/local/cargo/bin:/usr/local/toolchain/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
COPY toolchain /usr/local/toolchain
DOCKERFILE
  DOCKER_BUILDKIT=0 docker build -q -t "$1" "$context" >/dev/null
  rm -rf "$context"
}

case ${1:-} in
  host) host ;;
  stop) stop ;;
  tidy) tidy ;;
  base)
    [ $# -eq 2 ] || fail "base needs an image, such as debian:$SUITE-slim"
    base "$2"
    ;;
  *) fail "say host, base IMAGE, tidy or stop" ;;
esac
