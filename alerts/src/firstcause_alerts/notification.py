"""A notification as the on-call person reads it: a pure function of Alertmanager's webhook payload.

The receivers that Alertmanager itself serves get the same by `notification.tmpl`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

# PagerDuty takes 1,024 characters of summary (alertmanager#1701).
MOST_ALERTS, MOST_SUMMARY, MOST_LINE = 5, 1024, 400
LINES = (
    ("route", "Route"), ("p99", "p99"), ("lcp", "LCP p75"), ("release", "Release"), ("burn", "Burn"),
    ("concentration", "Concentrated"), ("deployed", "Deployed"),
    ("budget", "Budget"),
)  # fmt: skip
LINKS = (("cause_runbook", "Cause runbook"), ("runbook", "Runbook"), ("traces", "Traces"), ("dashboard", "Dashboard"))
# Braces are a route's, and harmless here: no template reads the text any more.
_HOSTILE = re.compile(r"[^\w ./:;@,()=?+%{}|-]+")
_HOSTILE_LINK = re.compile(r"[^\w./:@,=?+%&#~-]+")


def render(payload: Mapping[str, Any]) -> str:
    """Title, then each alert with its evidence and links; `payload` is what Alertmanager posts (version 4)."""
    alerts = _alerts(payload)
    shown = [_alert(alert) for alert in alerts[:MOST_ALERTS]]
    if len(alerts) > MOST_ALERTS:
        shown.append(f"and {len(alerts) - MOST_ALERTS} more")
    if over := len(_given(payload)) - len(alerts):
        shown.append(f"{over} more {'is' if over == 1 else 'are'} over")
    return "\n\n".join([title(payload), *shown])


def title(payload: Mapping[str, Any]) -> str:
    """One line: state, environment, incident, and what the first alert says."""
    common = payload.get("commonLabels") or {}
    place = plain(common.get("environment", ""), 64)
    incident = plain(common.get("incident", ""), 64)
    alerts = _alerts(payload)
    first = plain((alerts[0].get("annotations") or {}).get("title", ""), 200) if alerts else ""
    head = " ".join(
        part for part in (state(payload), f"[{place}]" if place else "", incident) if part and part != "none"
    )
    return f"{head}: {first}" if first else head


def state(payload: Mapping[str, Any]) -> str:
    """`Page`, `Ticket`, `Heartbeat`, `Recovering` or `Resolved`."""
    if payload.get("status") == "resolved":
        return "Resolved"
    firing = [alert for alert in _alerts(payload) if alert.get("status") == "firing"]
    if any((alert.get("labels") or {}).get("alertname") == "SLORecovering" for alert in firing):
        return "Recovering"
    severity = (payload.get("commonLabels") or {}).get("severity", "page")
    return {"ticket": "Ticket", "heartbeat": "Heartbeat"}.get(severity, "Page")


def _alerts(payload: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The alerts, what burns before what is getting better.

    Prometheus goes on to tell for a quarter of an hour what is over: in front of a new incident of the same
    group it would take the blame.
    """
    given = _given(payload)
    firing = [alert for alert in given if alert.get("status") != "resolved"]
    return sorted(firing or given, key=lambda alert: (alert.get("labels") or {}).get("alertname") == "SLORecovering")


def _given(payload: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    # Whoever reaches the receiver's address can post anything.
    return [alert for alert in payload.get("alerts") or [] if isinstance(alert, Mapping)]


def _alert(alert: Mapping[str, Any]) -> str:
    notes = alert.get("annotations") or {}
    lines = [plain(notes.get("summary", ""), MOST_SUMMARY)]
    causes = [plain(line, MOST_LINE) for line in str(notes.get("causes", "")).splitlines()[:3]]
    lines += [f"  {cause}" for cause in causes if cause]
    lines += [f"{name}: {shown}" for key, name in LINES if (shown := plain(notes.get(key, ""), MOST_LINE))]
    lines.append(f"Since: {plain(alert.get('startsAt', ''), 40)}{_ended(alert)}")
    lines += [f"{name}: {shown}" for key, name in LINKS if (shown := _link(notes.get(key, "")))]
    return "\n".join(line for line in lines if line)


def _ended(alert: Mapping[str, Any]) -> str:
    return f", until {plain(alert.get('endsAt', ''), 40)}" if alert.get("status") == "resolved" else ""


def plain(text: object, most: int) -> str:
    """Nothing that a terminal, a chat or a browser would take for more than text; at most `most` characters."""
    return _HOSTILE.sub("_", " ".join(str(text or "").split()))[:most].strip()


def _link(text: object) -> str:
    return _HOSTILE_LINK.sub("_", str(text or "").strip())[:MOST_LINE]
