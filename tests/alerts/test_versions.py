"""The oldest supported programs and the newest decide alike."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from .conftest import oldest, program
from .specs import BAD_, CAUSES, COUNT, INDICATORS, LATENCY, OK_, at_env, case, only, render, run, slo

RECEIVERS = """
---
apiVersion: openslo/v1
kind: AlertNotificationTarget
metadata:
  name: chat
  labels: {severity: page, owner: us, environment: production}
  annotations: {firstcause.dev/api-url-file: /secrets/slack, firstcause.dev/channel: "#incidents"}
spec: {target: slack}
---
apiVersion: openslo/v1
kind: AlertNotificationTarget
metadata:
  name: duty
  labels: {severity: page}
  annotations: {firstcause.dev/routing-key-file: /secrets/pagerduty}
spec: {target: pagerduty}
---
apiVersion: openslo/v1
kind: AlertNotificationTarget
metadata:
  name: mail
  labels: {severity: ticket}
  annotations:
    firstcause.dev/to: us@example.com
    firstcause.dev/from: alerts@example.com
    firstcause.dev/smarthost: smtp.example.com:587
    firstcause.dev/auth-username: alerts
    firstcause.dev/auth-password-file: /secrets/smtp
spec: {target: email}
"""
SECRET_WEBHOOK = """
---
apiVersion: openslo/v1
kind: AlertNotificationTarget
metadata: {name: hook, labels: {severity: ticket}, annotations: {firstcause.dev/url-file: /secrets/hook}}
spec: {target: webhook}
"""
MAINTAINED = slo().replace(
    "  labels: {owner",
    '  annotations: {firstcause.dev/maintenance: "sunday 02:00-04:00 Europe/Berlin"}\n  labels: {owner',
)


@pytest.fixture(params=["newest", "oldest"])
def which(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def chosen(which: str, name: str) -> Path:
    return program(name) if which == "newest" else oldest(name)


def test_prometheus_accepts_the_rules(which: str, generated: Path) -> None:
    """`promtool check rules` on the shop's file."""
    done = subprocess.run(
        [chosen(which, "promtool"), "check", "rules", generated / "rules.yml"], capture_output=True, text=True
    )
    assert 0 == done.returncode, done.stderr


def test_alertmanager_accepts_the_configuration(which: str, generated: Path, tmp_path: Path) -> None:
    """`amtool check-config`, template included, on the shop's file and on one with all that can be asked for."""
    amtool = chosen(which, "amtool")
    everything = MAINTAINED + RECEIVERS + (SECRET_WEBHOOK if which == "newest" else "")  # url_file came with 0.26
    for name, text in render(everything).items():
        if "/" not in name:
            (tmp_path / name).write_text(text)
    for folder in (generated, tmp_path):
        done = subprocess.run([amtool, "check-config", folder / "alertmanager.yml"], capture_output=True, text=True)
        assert 0 == done.returncode, done.stderr
        assert "1 templates" in done.stdout


def test_the_same_series_give_the_same_pages_causes_and_budgets(which: str, tmp_path: Path) -> None:
    """Six situations side by side, each with what it must come to, whichever program evaluates."""
    verdict = 'firstcause_request_bad_total{service_name="shop",http_route="/r",outcome="error",culprit_service="orders",cause="%s"}'
    own = 'firstcause_request_excess_seconds_total{service_name="orders",http_route="/r",outcome="degraded",culprit_service="orders",cause="db.slow"}'
    series = {
        at_env(OK_, "broken"): "0+0x40", at_env(BAD_, "broken"): "0+60x40",
        at_env(verdict % "dependency.slow", "broken"): "0+60x40", at_env(own, "broken"): "0+90x40",
        at_env(OK_, "half"): "0+1999x40", at_env(BAD_, "half"): "0+1x40",
        at_env(OK_, "idle"): "5000+0x40", at_env(BAD_, "idle"): "0x40",
        at_env(OK_, "new"): "0+60x40",
        at_env(OK_, "few"): "0x40", at_env(BAD_, "few"): "0x10 1 2 3 4 4x30",
        at_env(OK_, "born"): "0+60x40", at_env(BAD_, "born"): "0x30 40+0x10",
        at_env(verdict % "app.exception", "born"): "_x30 40x10",
    }  # fmt: skip

    def of(record: str, environment: str, more: str = "") -> str:
        return at_env(record + "{}", environment)[:-1] + more + "}"

    paging = {"broken": 1, "half": 0, "idle": 0, "new": 0, "few": 0, "born": 1}
    slow, raised, named = ',cause="db.slow"', ',cause="app.exception"', ',incident="orders"'
    left = {"half": 0.5, "idle": 1, "new": 1}
    asked = [
        *((f"sum({of('slo:paging', env)})", "34m", [("{}", float(value))]) for env, value in paging.items()),
        *((f"round(sum({of('slo:budget:left', env)}), 0.01)", "34m", [("{}", float(v))]) for env, v in left.items()),
        (f"round(sum({of('cause:score', 'broken', slow)}), 0.01)", "34m", [("{}", 1.0)]),
        (f"round(sum({of('cause:score', 'born', raised)}), 0.01)", "31m", [("{}", 1.0)]),
        (f"count({of('slo:incident', 'broken', named)})", "34m", [("{}", 1.0)]),
    ]
    rules = only(render(slo()), *INDICATORS, *CAUSES, "slo:budget:left")
    assert "" == run(chosen(which, "promtool"), tmp_path, rules, [case(series, *asked)])


def test_latency_at_a_whole_second_is_found_under_both_names(which: str, tmp_path: Path) -> None:
    """Prometheus 3 calls the bucket `1.0` where an older one says `1`."""
    document = slo(indicator=LATENCY, objective="op: lte, value: 1, target: 0.99")
    bucket = 'http_server_request_duration_seconds_bucket{service_name="shop",le="%s"}'
    series = {}
    for environment, edge in (("old", "1"), ("new", "1.0")):
        series[at_env(f'{COUNT}{{service_name="shop"}}', environment)] = "0+60x20"
        series[at_env(bucket % edge, environment)] = "0+30x20"
    asked = ('round(slo:error:ratio{window="5m"}, 0.001) == 0.5', "15m", [
        (f'{{deployment_environment_name="{env}",slo="shop",window="5m"}}', 0.5) for env in ("new", "old")
    ])  # fmt: skip
    assert "" == run(chosen(which, "promtool"), tmp_path, only(render(document), *INDICATORS), [case(series, asked)])


@pytest.mark.e2e
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", ["tests.yml", "tests-slow.yml"])
def test_every_alert_fires_and_keeps_quiet(which: str, generated: Path, name: str) -> None:
    """The generated tests, on the generated rules."""
    done = subprocess.run(
        [chosen(which, "promtool"), "test", "rules", name], cwd=generated, capture_output=True, text=True
    )
    assert 0 == done.returncode, done.stdout + done.stderr
