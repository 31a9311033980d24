"""Alertmanager's configuration: accepted by the real one, and routed as the labels say."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from firstcause_alerts import alertmanager

from .specs import render, slo


@pytest.fixture(scope="module")
def config(generated: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((generated / "alertmanager.yml").read_text())
    return found


@pytest.mark.parametrize(
    ("labels", "receivers"),
    [
        ("severity=page owner=shop slo=cart-latency", "on-call,page-channel"),
        ("severity=page owner=shop slo=report-latency", "on-call,page-channel"),
        ("severity=ticket owner=shop", "ticket-mail"),
        ("severity=heartbeat alertname=Watchdog", "heartbeat"),
        ("severity=info", "nobody"),
    ],
)
def test_alerts_reach_the_targets_whose_labels_fit(amtool: Path, generated: Path, labels: str, receivers: str) -> None:
    """By severity and owner, as `amtool config routes test` says."""
    command = [amtool, "config", "routes", "test", f"--config.file={generated}/alertmanager.yml", *labels.split()]
    assert receivers == subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_a_target_of_another_owner_or_environment_gets_nothing(amtool: Path, tmp_path: Path) -> None:
    """Labels of a target are conditions."""
    extra = """
---
apiVersion: openslo/v1
kind: AlertNotificationTarget
metadata:
  name: theirs
  labels: {severity: page, owner: them, environment: production}
  annotations: {firstcause.dev/url: "http://127.0.0.1:9/theirs"}
spec: {target: webhook}
"""
    for name, text in render(slo() + extra).items():
        if not name.startswith("objectives"):
            (tmp_path / name).write_text(text)
    asked = [amtool, "config", "routes", "test", f"--config.file={tmp_path}/alertmanager.yml", "severity=page"]

    def told(*labels: str) -> str:
        return subprocess.run([*asked, *labels], capture_output=True, text=True, check=True).stdout.strip()

    assert "pager" == told("owner=us", "environment=production")
    assert "pager" == told("owner=them", "environment=test")
    assert "theirs,pager" == told("owner=them", "environment=production")


def test_receivers_get_a_text_that_is_safe_and_short(amtool: Path, generated: Path, tmp_path: Path) -> None:
    """The template as Alertmanager renders it: state, place and incident first, markup gone, causes one per line."""
    notes = {
        "title": "Checkout: failing",
        "summary": "<b>12 %</b> `fail`" + "x" * 3000,
        "causes": "58 % orders db.slow\n30 % x\n",
    }
    alert = {
        "status": "firing",
        "labels": {"alertname": "SLOBurn"},
        "annotations": notes,
        "startsAt": "2026-11-24T03:00:00Z",
    }
    common = {"environment": "demo", "incident": "orders", "severity": "page"}
    # An alert of the group that is over comes first, as Alertmanager has it.
    over = {**alert, "status": "resolved", "annotations": {"title": "Cart: failing", "summary": "It was."}}
    (tmp_path / "data.json").write_text(
        json.dumps({"status": "firing", "alerts": [over, alert], "commonLabels": common})
    )

    def said(name: str) -> str:
        command = [
            amtool, "template", "render", f"--template.glob={generated}/notification.tmpl",
            f'--template.text={{{{ template "firstcause.{name}" . }}}}', f"--template.data={tmp_path}/data.json",
        ]  # fmt: skip
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert "Page [demo] orders: Checkout: failing" == said("title")
    text = said("text")
    assert ["Causes:", "58 % orders db.slow", "30 % x"] == text.splitlines()[1:4]
    assert not set("<>`") & set(text)
    assert len(text.splitlines()[0]) <= 1024
    assert "It was." not in text
    assert "1 more over" in text


def test_pages_are_grouped_by_incident_and_silence_their_own_tickets_only(config: dict[str, Any]) -> None:
    """One inhibition, by labels that are never missing."""
    pages = [route for route in config["route"]["routes"] if 'severity="page"' in route["matchers"]]
    assert pages
    assert all(["environment", "incident"] == route["group_by"] for route in pages)
    (rule,) = config["inhibit_rules"]
    assert (['severity="page"'], ['severity="ticket"']) == (rule["source_matchers"], rule["target_matchers"])
    assert ["environment", "slo"] == rule["equal"]


def test_everybody_is_told_when_it_is_resolved(config: dict[str, Any]) -> None:
    """But the heartbeat, which never is."""
    told = {
        receiver["name"]: one["send_resolved"]
        for receiver in config["receivers"]
        for key, given in receiver.items() if key != "name"
        for one in given
    }  # fmt: skip
    assert {"on-call": True, "page-channel": True, "ticket-mail": True, "heartbeat": False} == told


def test_a_beat_comes_at_each_repeat(config: dict[str, Any]) -> None:
    """A repeat waits for a flush: one per repeat comes a moment too early, and every other beat would be left out."""
    (heart,) = [route for route in config["route"]["routes"] if route["receiver"] == "heartbeat"]
    assert ("15s", "1m") == (heart["group_interval"], heart["repeat_interval"])


def test_planned_maintenance_mutes_its_own_objective() -> None:
    """Its pages on Sunday nights, and nobody else's."""
    muting = '  annotations: {firstcause.dev/maintenance: "sunday 02:00-04:00 Europe/Berlin"}\n  labels: {owner'
    documents = slo("other") + slo("nightly").replace("  labels: {owner", muting)
    config = yaml.safe_load(render(documents)["alertmanager.yml"])
    assert ["maintenance-nightly"] == [interval["name"] for interval in config["time_intervals"]]
    muted = [child for route in config["route"]["routes"] for child in route.get("routes", ())]
    assert {'slo="nightly"'} == {child["matchers"][0] for child in muted}
    assert all(child["mute_time_intervals"] for child in muted)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("sunday 02:00-04:00", {"weekdays": ["sunday"], "location": "UTC"}),
        ("monday-friday 22:00-24:00 Europe/Berlin", {"weekdays": ["monday:friday"], "location": "Europe/Berlin"}),
        ("saturday-sunday 02:00-04:00", {"weekdays": ["saturday:saturday", "sunday:sunday"]}),
        ("friday-monday 01:00-02:00", {"weekdays": ["friday:saturday", "sunday:monday"]}),
        ("sunday-monday 01:00-02:00", {"weekdays": ["sunday:monday"]}),
    ],
)
def test_maintenance_is_read(text: str, wanted: dict[str, object]) -> None:
    """Days, times and zone."""
    assert wanted.items() <= alertmanager.window(text).items()


@pytest.mark.parametrize(
    "text", ["", "someday 02:00-04:00", "sunday 04:00-02:00", "sunday 02:70-03:00"]
)
def test_maintenance_that_cannot_be_meant_is_refused(text: str) -> None:
    """Unknown or impossible."""
    with pytest.raises(ValueError):
        alertmanager.window(text)
