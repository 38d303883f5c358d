#!/usr/bin/env bash
# The files under deploy/ against the languages they are written in: Kubernetes manifests against its schemas, alerts and
# dashboard against the grammar of PromQL. That the names in them exist is a test of Rust (tests/it/deployment.rs).
set -euo pipefail
cd "$(dirname "$0")/.."

tools=target/check-deploy
if [ ! -x "$tools/bin/kubernetes-validate" ]; then
  python3 -m venv "$tools"
  "$tools/bin/pip" install --quiet --disable-pip-version-check 'kubernetes-validate==1.37.0' 'promql-parser==0.12.0'
fi

# KEDA's resources are its own: not in the schemas of Kubernetes.
for manifest in deploy/kubernetes/*.yaml; do
  case "$manifest" in */worker-scaling.yaml) continue ;; esac
  "$tools/bin/kubernetes-validate" --strict --quiet "$manifest"
done

for script in deploy/*.sh deploy/compose/*.sh scripts/*.sh; do bash -n "$script"; done

"$tools/bin/python" scripts/check_deploy.py
