"""Alertmanager's configuration: who is told what, grouped so that one incident is one notification.

Pages are grouped by environment and incident, tickets by environment and objective. A page silences the tickets of its
own objective, and nothing else silences anything. Secrets are read from files.
"""

from __future__ import annotations

import re
from typing import Any

from .model import HEARTBEAT, PAGE, TICKET, Spec, Target
from .timing import Timing

# 30 s and 4 h are Alertmanager's defaults; its 5 min between notices would delay `SLORecovering` and the end.
WAIT_S, INTERVAL_S, REPEAT_S = 30.0, 60.0, 4 * 3600.0
HEARTBEAT_S = 60.0
WAIT_LEAST_S = 2.0
RESOLVE_S = 300.0
"""As long as an alert is believed without news. Not scaled: a restart of Prometheus takes as long as it takes."""
TEMPLATE = "notification.tmpl"
DAYS = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
"""As Alertmanager counts them, which refuses a range that goes beyond the last."""
MAINTENANCE = re.compile(r"([a-z]+)(?:-([a-z]+))? (\d\d:\d\d)-(\d\d:\d\d)(?: ([A-Za-z_]+(?:/[A-Za-z_+-]+)*))?")
# Tickets of the table all have slo="none": without the alert's name they would be one notification.
GROUPS = {PAGE: ["environment", "incident"], TICKET: ["environment", "slo", "alertname"], HEARTBEAT: ["alertname"]}
TITLE, TEXT = '{{ template "firstcause.title" . }}', '{{ template "firstcause.text" . }}'


def config(spec: Spec, timing: Timing) -> dict[str, Any]:
    """The content of `alertmanager.yml`."""
    return {
        "global": {"resolve_timeout": timing.least(RESOLVE_S * timing.scale)},
        "templates": [TEMPLATE],
        "route": {
            # Alertmanager demands one for what no target fits; that somebody gets each severity is checked in `lint`.
            "receiver": "nobody",
            "group_by": GROUPS[PAGE],
            "group_wait": timing.least(WAIT_S, WAIT_LEAST_S),
            "group_interval": timing.least(INTERVAL_S, WAIT_LEAST_S),
            # In real time even in a demo: every four minutes, a repeated page would look like another one.
            "repeat_interval": timing.least(REPEAT_S * timing.scale),
            "routes": [_route(target, spec, timing) for target in spec.targets],
        },
        # Pages are never silenced: an alert inhibited after its notice resolves without a word (alertmanager#2754).
        "inhibit_rules": [
            {
                "source_matchers": [f'severity="{PAGE}"'],
                "target_matchers": [f'severity="{TICKET}"'],
                # A label missing on both sides counts as equal, so every rule of ours has both.
                "equal": ["environment", "slo"],
            }
        ],
        **_intervals(spec),
        "receivers": [{"name": "nobody"}, *(_receiver(target) for target in spec.targets)],
    }


def _route(target: Target, spec: Spec, timing: Timing) -> dict[str, Any]:
    severity = target.labels["severity"]
    route: dict[str, Any] = {
        "receiver": target.name,
        "matchers": [f'{label}="{value}"' for label, value in sorted(target.labels.items())],
        "group_by": GROUPS[severity],
        "continue": True,  # everybody whose labels fit is told
    }
    if severity == HEARTBEAT:
        # A repeat is due so long after the last delivery, at the flush after that: flushed as often as it is repeated,
        # every other beat would be left out.
        often, flush = timing.least(HEARTBEAT_S, WAIT_LEAST_S), timing.least(HEARTBEAT_S / 4)
        route |= {"group_wait": "1s", "group_interval": flush, "repeat_interval": often}
        return route
    # Alertmanager mutes routes, not alerts, so such an objective needs a route, and with it a group, of its own.
    muted = [slo for slo in spec.slos if slo.maintenance]
    children = [{"matchers": [f'slo="{slo.name}"'], "mute_time_intervals": [_interval(slo.name)]} for slo in muted]
    return {**route, "routes": children} if children else route


# -- planned maintenance ------------------------------------------------------------------------------


def _interval(slo: str) -> str:
    return f"maintenance-{slo}"


def _intervals(spec: Spec) -> dict[str, Any]:
    found = [
        {"name": _interval(slo.name), "time_intervals": [window(text) for text in slo.maintenance]}
        for slo in spec.slos
        if slo.maintenance
    ]
    return {"time_intervals": found} if found else {}


def window(text: str) -> dict[str, Any]:
    """`sunday 02:00-04:00 Europe/Berlin`, or `monday-friday …`, as Alertmanager writes it. Raises ValueError."""
    found = MAINTENANCE.fullmatch(text)
    if found is None:
        raise ValueError("it has no day, begin and end")
    first, last, begin, end, zone = found.groups()
    if first not in DAYS or (last or first) not in DAYS:
        raise ValueError(f"no day of the week: {first}{'-' + last if last else ''}")
    # Alertmanager refuses the whole file for one range over midnight; 24:00 is its end of a day.
    if not "00:00" <= begin < end <= "24:00" or begin[3:] > "59" or end[3:] > "59":
        raise ValueError("the end is not after the begin, on the same day")
    days, times = _days(first, last or first), [{"start_time": begin, "end_time": end}]
    return {"weekdays": days, "times": times, "location": zone or "UTC"}


def _days(first: str, last: str) -> list[str]:
    """From one day to another, over the end of Alertmanager's week in two pieces."""
    if first == last:
        return [first]
    if DAYS.index(first) < DAYS.index(last):
        return [f"{first}:{last}"]
    return [f"{first}:{DAYS[-1]}", f"{DAYS[0]}:{last}"]


# -- receivers ----------------------------------------------------------------------------------------


def _receiver(target: Target) -> dict[str, Any]:
    given = {name.replace("-", "_"): value for name, value in target.settings.items()}
    # Always said: Slack and mail are not told of the end by default. A heartbeat's end must be silence.
    resolved = {"send_resolved": target.labels["severity"] != HEARTBEAT}
    made = {"webhook": _webhook, "slack": _slack, "pagerduty": _pagerduty, "email": _email}[target.kind]
    return {"name": target.name, f"{target.kind}_configs": [{**resolved, **made(given)}]}


def _webhook(given: dict[str, str]) -> dict[str, Any]:
    return given


def _slack(given: dict[str, str]) -> dict[str, Any]:
    # Linked names would turn label values into mentions of people.
    return {**given, "title": TITLE, "text": TEXT, "link_names": False}


def _pagerduty(given: dict[str, str]) -> dict[str, Any]:
    return {**given, "description": TITLE, "details": {"text": TEXT}}


def _email(given: dict[str, str]) -> dict[str, Any]:
    # Without an empty html Alertmanager sends its own HTML beside our text.
    return {**given, "headers": {"Subject": TITLE}, "html": "", "text": TEXT}
