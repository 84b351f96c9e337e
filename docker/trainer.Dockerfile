# The trainer for NVIDIA cards (g5.xlarge and alike): one binary with the `cuda` feature on NVIDIA's runtime image.
#
#   docker build -f docker/trainer.Dockerfile -t layoutlm-trainer .
#
# As a SageMaker training image its command is `train`, which SageMaker appends to the entry point. It runs as root
# because SageMaker's folders under /opt/ml belong to root; `docker run --user` works wherever the folders allow it.
ARG RUST_IMAGE=rust:1.95-bookworm
# 13.0, whose driver interface the sources are written for (docs/gpu.md): instances need driver 580 or newer.
ARG CUDA_BUILD_IMAGE=nvidia/cuda:13.0.2-devel-ubuntu24.04
ARG CUDA_RUN_IMAGE=nvidia/cuda:13.0.2-runtime-ubuntu24.04
ARG DEBIAN_IMAGE=debian:bookworm-slim

FROM ${DEBIAN_IMAGE} AS onnxruntime
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates python3 python3-pip \
 && rm -rf /var/lib/apt/lists/*
COPY scripts/fetch-onnxruntime.sh /fetch-onnxruntime.sh
RUN /fetch-onnxruntime.sh /onnxruntime

FROM ${RUST_IMAGE} AS rust
RUN cargo install --locked --root /usr/local cargo-chef@0.1.78 && rm -rf "$CARGO_HOME/registry"
RUN cargo install --locked --root /usr/local cargo-auditable@0.7.7 && rm -rf "$CARGO_HOME/registry"

# What the dependencies are, apart from the sources: unchanged as long as no manifest changes.
FROM rust AS recipe
WORKDIR /build
COPY . .
RUN cargo chef prepare --recipe-path /recipe.json

# nvcc's image with the Rust image's toolchain put in.
FROM ${CUDA_BUILD_IMAGE} AS tools
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates gcc g++ libc6-dev pkg-config \
 && rm -rf /var/lib/apt/lists/*
COPY --from=rust /usr/local/ /usr/local/
ENV RUSTUP_HOME=/usr/local/rustup \
    CARGO_HOME=/usr/local/cargo \
    CUDA_HOME=/usr/local/cuda \
    PATH=/usr/local/cargo/bin:/usr/local/cuda/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
WORKDIR /build

FROM tools AS dependencies
ARG FEATURES=cuda
COPY --from=recipe /recipe.json /recipe.json
RUN cargo chef cook --release --locked --package layoutlm-cli --features "${FEATURES}" --recipe-path /recipe.json

FROM dependencies AS build
ARG FEATURES=cuda
COPY . .
RUN cargo auditable build --release --locked --package layoutlm-cli --bin layoutlm-cli --features "${FEATURES}" \
 && cp target/release/layoutlm-cli /layoutlm-cli \
 && strip /layoutlm-cli

FROM ${CUDA_RUN_IMAGE}
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates \
 && rm -rf /var/lib/apt/lists/*
COPY --from=build /layoutlm-cli /usr/local/bin/layoutlm-cli
# Only `export` needs it: it runs the graph that it wrote to prove that it labels the same.
COPY --from=onnxruntime /onnxruntime/ /usr/local/lib/onnxruntime/
ENV ORT_DYLIB_PATH=/usr/local/lib/onnxruntime/libonnxruntime.so \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
WORKDIR /opt/ml
STOPSIGNAL SIGTERM
ARG VERSION=dev
ARG REVISION=unknown
LABEL org.opencontainers.image.title="layoutlm-trainer" \
      org.opencontainers.image.description="Trains and exports LayoutLM on NVIDIA cards" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
ENTRYPOINT ["/usr/local/bin/layoutlm-cli"]
