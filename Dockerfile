# One image with the embedded host, the components and their manifest, built from Debian's packages and crates.io.

# May name a digest.
ARG DEBIAN_IMAGE=debian:bookworm-slim
FROM ${DEBIAN_IMAGE} AS build
COPY docker/certificates/ /usr/local/share/ca-certificates/
# Debian's Rust builds host and component. It comes with bookworm's security updates.
RUN echo 'deb http://deb.debian.org/debian-security bookworm-security main' > /etc/apt/sources.list.d/security.list \
 && apt-get update -qq \
 && apt-get install -y -qq --no-install-recommends ca-certificates gcc libc6-dev \
      rustc-web cargo-web rust-web-src rust-web-llvm lld-19 wasi-libc >/dev/null \
 && update-ca-certificates \
 && ln -s /usr/bin/wasm-ld-19 /usr/local/bin/wasm-ld
WORKDIR /src
COPY . .
RUN cargo build --locked --release --workspace --no-default-features --features sugang-sdk/client --bin sugang-host
RUN RUSTC_BOOTSTRAP=1 CARGO_TARGET_WASM32_WASIP2_RUSTFLAGS="-L native=/usr/lib/wasm32-wasi" \
    cargo build --locked -Zbuild-std=std,panic_abort --target wasm32-wasip2 --profile component \
      --package sugang-api --package sugang-console

FROM ${DEBIAN_IMAGE}
RUN useradd --system --home-dir /app sugang
WORKDIR /app
# The authorities of sslrootcert=system and rediss://.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /src/target/release/sugang-host /usr/local/bin/
COPY --from=build /src/spin.toml ./
COPY --from=build /src/target/wasm32-wasip2/component/sugang_api.wasm \
     /src/target/wasm32-wasip2/component/sugang_console.wasm target/wasm32-wasip2/component/
RUN mkdir cache && chown sugang cache
# The cache of wasmtime, for the compiled component.
ENV XDG_CACHE_HOME=/app/cache
USER sugang
EXPOSE 8000
ENTRYPOINT ["sugang-host"]
CMD ["--listen", "0.0.0.0:8000"]
