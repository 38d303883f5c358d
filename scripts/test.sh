#!/usr/bin/env bash
# Every test and every check, in the order in which a mistake is cheapest to learn.
# Needs Rust and, on a bare Debian as root, installs the rest by itself.
set -euo pipefail
cd "$(dirname "$0")/.."

step() { printf '\n== %s (%s s)\n' "$*" "$SECONDS"; }

have() { command -v "$1" >/dev/null 2>&1; }

# Debian packages, if they are missing and we may install them.
need_packages() {
  local missing=()
  have cc || missing+=(build-essential)
  have python3 || missing+=(python3)
  python3 -c 'import ensurepip' >/dev/null 2>&1 || missing+=(python3-venv)
  [ ${#missing[@]} -eq 0 ] && return
  if [ "$(id -u)" != 0 ] || ! have apt-get; then
    echo "error: these are missing: ${missing[*]}; install them and run this again" >&2
    exit 1
  fi
  apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q "${missing[@]}"
}

need_cargo_tool() { have "$1" || cargo install --locked --quiet "$1"; }

have cargo || { echo "error: Rust is missing; install it from https://rustup.rs and run this again" >&2; exit 1; }
step "tools"
need_packages
need_cargo_tool cargo-nextest
need_cargo_tool cargo-deny
scripts/services.sh install

step "formatting"
cargo fmt --all --check

step "dependencies: bans, licences, sources"
cargo deny --locked check bans licenses sources

step "compose files against the compose specification"
scripts/check-compose.sh

step "Kubernetes manifests, alerts and dashboard against their languages"
scripts/check-deploy.sh

step "clippy, warnings denied"
cargo clippy --locked --workspace --all-targets -- -D warnings

step "tests"
# What needs a server of its own fails instead of being skipped.
LOCKSTEP_TEST_SERVICES=1 cargo nextest run --locked --workspace

step "traces: what the feature otlp adds"
cargo clippy --locked -p lockstep-cli --features otlp --all-targets -- -D warnings
cargo nextest run --locked -p lockstep-cli --features otlp -E 'test(otlp) | test(/^canary/)'

step "the same contracts and flows on PostgreSQL and RabbitMQ, and 50 histories"
# The whole workspace with a filter: a selection of packages would be compiled anew with fewer features. The histories by
# themselves: they are a dozen installations at a time.
LOCKSTEP_TEST_STORE=postgres scripts/services.sh run bash -ec '
  cargo nextest run --locked --workspace -E "
    package(lockstep-store) | package(lockstep-queue) | package(lockstep-worker)
    | (package(lockstep-tests) & test(/^flow::/))"
  cargo nextest run --locked --workspace -E "
    package(lockstep-tests) & test(=history::histories_0_to_49)"'

step "Microsoft's own clients against the simulator"
tests/microsoft_clients/run.sh

step "examples in the documentation"
cargo test --locked --workspace --doc --quiet

step "the first README command, headless"
cargo run --release --locked -- demo --once --output json

step "all green"
