#!/usr/bin/env bash
# The compose files against the compose specification's schema, which check-jsonschema carries with it.
set -euo pipefail
cd "$(dirname "$0")/.."

tools=target/check-compose
if [ ! -x "$tools/bin/check-jsonschema" ]; then
  python3 -m venv "$tools"
  "$tools/bin/pip" install --quiet --disable-pip-version-check 'check-jsonschema==0.39.0'
fi
"$tools/bin/check-jsonschema" --builtin-schema vendor.compose-spec docker-compose.yml scripts/services.compose.yml
