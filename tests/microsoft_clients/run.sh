#!/usr/bin/env bash
# Microsoft's Python clients against `lockstep simulate`. Needs python3 with venv, and the binary
# (built here unless LOCKSTEP_BIN names one).
set -euo pipefail
cd "$(dirname "$0")/../.."

venv=target/microsoft-clients
wanted=tests/microsoft_clients/requirements.txt
if ! cmp -s "$wanted" "$venv/requirements.txt"; then
  python3 -m venv --clear "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check -r "$wanted"
  cp "$wanted" "$venv/requirements.txt"
fi

if [ -z "${LOCKSTEP_BIN:-}" ]; then
  cargo build --locked --quiet -p lockstep-cli
  LOCKSTEP_BIN=target/debug/lockstep
fi
exec "$venv/bin/python" tests/microsoft_clients/check.py "$LOCKSTEP_BIN"
