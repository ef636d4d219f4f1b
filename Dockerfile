# syntax=docker/dockerfile:1
# check=error=true

# Two images, each in the stage of its name:
#   docker build --tag cloud-image-operator .
#   docker build --tag vendor-simulator --target vendor-simulator .
# What is in them is decided by `cargo xtask image`, which makes the same without Docker. The last stages say how they
# are run; that command reads it from here.

# As rust-toolchain.toml says, on the Debian whose C library the images get.
ARG RUST=1.95.0

# What the programs were made of is in Cargo.lock: the bill of materials is to list it too.
ARG BUILDKIT_SBOM_SCAN_CONTEXT=true

FROM rust:${RUST}-bookworm AS build
ARG RUST
ARG PROFILE=release
ARG TARGETARCH
# The image's own toolchain, rather than one with the linters that rust-toolchain.toml asks for.
ENV RUSTUP_TOOLCHAIN=${RUST}
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target,id=target-${TARGETARCH} \
    cargo xtask image --profile "${PROFILE}" --output /image

FROM scratch AS vendor-simulator
ARG VERSION=0.0.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="vendor-simulator" \
      org.opencontainers.image.description="The five vendor image APIs, simulated, for trying out cloud-image-operator" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /image/vendor-simulator/rootfs/ /
ENV PATH=/usr/local/bin
USER 65532:65532
EXPOSE 8800 8801 8802 8803 8804
ENTRYPOINT ["/usr/local/bin/vendor-simulator"]

# The last stage is the one that is built without --target.
FROM scratch AS cloud-image-operator
ARG VERSION=0.0.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="cloud-image-operator" \
      org.opencontainers.image.description="Kubernetes operator that makes cloud images declarative on Volcengine, Alibaba Cloud and ZStack" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /image/cloud-image-operator/rootfs/ /
ENV PATH=/usr/local/bin
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["/usr/local/bin/cloud-image-operator"]
CMD ["run"]
