"""Small specifications, and promtool over the rules made of them."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import yaml

import firstcause_alerts
from firstcause_alerts.output import yaml_text

TARGETS = """
---
apiVersion: openslo/v1
kind: AlertNotificationTarget
metadata: {name: pager, labels: {severity: page}, annotations: {firstcause.dev/url: "http://127.0.0.1:9/page"}}
spec: {target: webhook}
---
apiVersion: openslo/v1
kind: AlertNotificationTarget
metadata: {name: tickets, labels: {severity: ticket}, annotations: {firstcause.dev/url: "http://127.0.0.1:9/ticket"}}
spec: {target: webhook}
---
apiVersion: openslo/v1
kind: AlertNotificationTarget
metadata: {name: heart, labels: {severity: heartbeat}, annotations: {firstcause.dev/url: "http://127.0.0.1:9/beat"}}
spec: {target: webhook}
"""
COUNT = "http_server_request_duration_seconds_count"
AVAILABILITY = f"""
      ratioMetric:
        counter: true
        bad:
          metricSource:
            type: Prometheus
            spec: {{query: '{COUNT}{{service_name="shop",http_response_status_code=~"5.."}}'}}
        total:
          metricSource:
            type: Prometheus
            spec: {{query: '{COUNT}{{service_name="shop"}}'}}
"""
LATENCY = """
      thresholdMetric:
        metricSource:
          type: Prometheus
          spec: {query: 'http_server_request_duration_seconds{service_name="shop"}', histogram: classic}
"""


def slo(
    name: str = "shop", indicator: str = AVAILABILITY, objective: str = "target: 0.999", period: str = "30d",
    labels: str = "owner: us, role: journey", service: str = "shop", more: str = "",
) -> str:  # fmt: skip
    """One SLO document."""
    return f"""
---
apiVersion: openslo/v1
kind: SLO
metadata:
  name: {name}
  labels: {{{labels}}}
spec:
  service: {service}
  indicator:
    spec: {indicator.rstrip()}
  timeWindow: [{{duration: {period}, isRolling: true}}]
  budgetingMethod: Occurrences
  objectives: [{{{objective}}}]
{more}"""


def only(rendered: dict[str, str], *records: str) -> str:
    """The rule file with these rules only: promtool pays for every rule at every instant.

    The slow group is left out when only its indicators would be in it.
    """
    document = yaml.safe_load(rendered["rules.yml"])
    for group in document["groups"]:
        named = [(rule.get("record") or rule["alert"], rule) for rule in group["rules"]]
        group["rules"] = [rule for name, rule in named if name in records]
    fast, slow = document["groups"]
    if all(rule.get("record") in INDICATORS for rule in slow["rules"]):
        document["groups"] = [fast]
    return yaml_text(document)


INDICATORS = ("slo:total:increase", "slo:bad:increase", "slo:error:ratio", "slo:pair", "slo:sample:bad")
CAUSES = (
    "service:verdict:seconds", "service:verdict:count", "service:verdict:weight", "service:verdict:share",
    "service:verdict:cover", "slo:bad:now", "slo:verdict:now", "cause:via", "cause:hop0", "cause:hop1", "cause:hop2",
    "cause:score", "slo:incident", "slo:paging",
)  # fmt: skip
OK_, BAD_ = (f'{COUNT}{{service_name="shop",http_response_status_code="{code}"}}' for code in (200, 500))
Series = dict[str, str]
"""Series to promtool's notation of their values."""


def at_env(series: str, environment: object) -> str:
    """The series in an environment of its own: rules keep it, so one test holds many cases side by side."""
    more = "," if "=" in series else ""
    return series.replace("{", f'{{deployment_environment_name="{environment}"{more}', 1)


def run(promtool: Path, folder: Path, rules: str, tests: list[dict[str, Any]], each: str = "1m") -> str:
    """What promtool says of the tests; empty when all pass."""
    (folder / "rules.yml").write_text(rules)
    document = {"rule_files": ["rules.yml"], "evaluation_interval": each, "tests": tests}
    (folder / "tests.yml").write_text(yaml.safe_dump(document, sort_keys=False, width=1_000_000))
    done = subprocess.run([promtool, "test", "rules", "tests.yml"], cwd=folder, capture_output=True, text=True)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def case(series: Series, *asked: tuple[str, str, list[tuple[str, float]]], each: str = "1m") -> dict[str, Any]:
    """A promtool test: series, then (expression, time, samples as labels and value)."""
    return {
        "interval": each,
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [
            {"expr": expr, "eval_time": at, "exp_samples": [{"labels": k, "value": v} for k, v in samples]}
            for expr, at, samples in asked
        ],
    }


def render(*documents: str) -> dict[str, str]:
    """All files of these documents and the usual targets."""
    return firstcause_alerts.render(firstcause_alerts.load("".join(documents) + TARGETS))
