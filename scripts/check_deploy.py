"""Parses every PromQL expression of the alerts and the dashboard, and looks at the form of what has no schema at hand."""

import json
import re
import sys

import promql_parser
import yaml

GRAFANA_WORDS = {"$connection": ".*", "${datasource}": "prometheus"}


def parsed(where, expression):
    for word, value in GRAFANA_WORDS.items():
        expression = expression.replace(word, value)
    try:
        promql_parser.parse(expression)
    except ValueError as error:
        sys.exit(f"{where}: {error}\n  {expression}")


def check_alerts(path):
    seen = set()
    for group in yaml.safe_load(open(path))["groups"]:
        for rule in group["rules"]:
            name = rule["alert"]
            assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}, f"{name}: {sorted(rule)}"
            assert name not in seen, f"{name} is there twice"
            seen.add(name)
            assert re.fullmatch(r"[0-9]+[smhd]", rule.get("for", "0s")), f"{name}: for {rule['for']}"
            assert rule["labels"]["severity"] in {"critical", "warning", "info"}, name
            assert rule["annotations"]["summary"] and rule["annotations"]["remedy"], name
            parsed(name, rule["expr"])
    return len(seen)


def check_dashboard(path):
    panels = json.load(open(path))["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels), "a panel's id is there twice"
    targets = [(panel["title"], target["expr"]) for panel in panels for target in panel.get("targets", [])]
    for title, expression in targets:
        parsed(title, expression)
    return len(targets)


def check_scaling(path):
    resources = {resource["kind"]: resource for resource in yaml.safe_load_all(open(path))}
    assert set(resources) == {"TriggerAuthentication", "ScaledObject"}, sorted(resources)
    scaled = resources["ScaledObject"]["spec"]
    assert 1 <= scaled["minReplicaCount"] <= scaled["maxReplicaCount"]
    for trigger in scaled["triggers"]:
        assert trigger["authenticationRef"]["name"] == resources["TriggerAuthentication"]["metadata"]["name"]
        assert all(isinstance(value, str) for value in trigger["metadata"].values()), "KEDA takes strings only"


alerts = check_alerts("deploy/prometheus/alerts.yaml")
expressions = check_dashboard("deploy/grafana/lockstep.json")
check_scaling("deploy/kubernetes/worker-scaling.yaml")
print(f"ok: {alerts} alerts, {expressions} expressions of the dashboard")
