# syntax=docker/dockerfile:1
# Lockstep as an image: one program on a base without a shell, as a user who is nobody.
# Not run where it was written (no container engine there); tests/it/deployment.rs holds it against the source.
FROM rust:1.95-bookworm AS build
WORKDIR /source
COPY . .
# `--build-arg FEATURES=otlp`: can send traces (docs/operations.md).
ARG FEATURES=
# The program is copied out, because a cache is no part of the image.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/source/target \
    cargo build --profile dist --locked --package lockstep-cli --bin lockstep --features "${FEATURES}" \
    && cp target/dist/lockstep /lockstep \
    && mkdir /data

# glibc, libgcc and root certificates; no shell, no package manager.
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /lockstep /usr/local/bin/lockstep
# A volume mounted here begins with this owner, and so the program may make its key file in it.
COPY --from=build --chown=65532:65532 /data /var/lib/lockstep
USER 65532:65532
# lockstep.toml, with what is secret, is looked for here.
WORKDIR /etc/lockstep
ENV LOCKSTEP_KEY_FILE=/var/lib/lockstep/key \
    LOCKSTEP_PUBLIC_BIND=0.0.0.0:8080 \
    LOCKSTEP_ADMIN_BIND=0.0.0.0:8081
EXPOSE 8080
ENTRYPOINT ["/usr/local/bin/lockstep"]
CMD ["serve"]
