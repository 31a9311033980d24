"""A dashboard: rows of panels laid on the grid, variables, links, and marks of deploys and pages."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .panels import PROMETHEUS, Json, Panel, ref
from .promql import ENV, within

SCHEMA = 42
"""Version of the dashboard model that the keys used here belong to (Grafana 12 and 13)."""
COLUMNS = 24
TITLES = {
    "overview": "Overview", "service": "Service", "resources": "Resources", "database": "Database",
    "queues": "Queues and events", "cache": "Cache and resilience", "browser": "Browser", "slo": "SLO",
    "incident": "Incident", "telemetry": "Telemetry health",
}  # fmt: skip
"""Every dashboard: uid and title, in the order of the links."""


@dataclass(frozen=True, slots=True)
class Row:
    """Panels under one heading, left to right, wrapping."""

    title: str
    panels: tuple[Panel, ...]


def row(title: str, *panels: Panel) -> Row:
    """Panels under one heading."""
    return Row(title, panels)


@dataclass(frozen=True, slots=True)
class Variable:
    """A choice at the top: the values of `label` in `metric`; `every` allows several and All."""

    name: str
    heading: str
    metric: str
    label: str
    every: bool = True

    def model(self) -> Json:
        """The keys of a query variable."""
        query = f"label_values({self.metric}, {self.label})"
        everything = {"text": ["All"], "value": ["$__all"]}
        return {
            "type": "query", "name": self.name, "label": self.heading, "datasource": ref(PROMETHEUS),
            "definition": query, "query": {"query": query, "refId": f"variable-{self.name}"},
            "refresh": 2, "sort": 1, "hide": 0, "skipUrlSync": False, "regex": "", "options": [],
            "multi": self.every, "includeAll": self.every, "current": everything if self.every else {},
            # Also what carries no such label: a regular expression of its own instead of all values joined.
            **({"allValue": ".*"} if self.every else {}),
        }  # fmt: skip


REQUESTS = f"http_server_request_duration_seconds_count{within()}"
ENVIRONMENT = Variable("env", "Environment", "firstcause_deploy_time_seconds", "deployment_environment_name")
SERVICES = Variable("service", "Service", f"firstcause_deploy_time_seconds{within()}", "service_name")


@dataclass(frozen=True, slots=True)
class Board:
    """One dashboard; its title comes from `TITLES`."""

    uid: str
    says: str
    variables: tuple[Variable, ...]
    rows: tuple[Row, ...]

    def model(self) -> Json:
        """The whole JSON model, keys as Grafana names them."""
        return {
            "uid": self.uid, "title": TITLES[self.uid], "tags": ["firstcause", "generated"],
            "description": f"{self.says} Made by `python -m dashboards`; changes made here are lost.",
            "schemaVersion": SCHEMA, "editable": False, "graphTooltip": 1, "timezone": "browser", "refresh": "30s",
            "time": {"from": "now-1h", "to": "now"}, "liveNow": False, "fiscalYearStartMonth": 0, "weekStart": "",
            "timepicker": {"refresh_intervals": ["5s", "30s", "1m", "5m"]},
            "templating": {"list": [variable.model() for variable in self.variables]},
            "annotations": {"list": _marks()}, "links": list(self._links()), "panels": list(self._placed()),
        }  # fmt: skip

    def _links(self) -> Iterator[Json]:
        for uid, title in TITLES.items():
            if uid != self.uid:
                yield {
                    "type": "link", "title": title, "url": f"/d/{uid}", "keepTime": True, "includeVars": True,
                    "tags": [],
                    "asDropdown": False, "targetBlank": False, "icon": "dashboard", "tooltip": f"To {title}",
                }  # fmt: skip

    def _placed(self) -> Iterator[Json]:
        top, number = 0, 0
        for one in self.rows:
            number += 1
            place = {"x": 0, "y": top, "w": COLUMNS, "h": 1}
            yield {"type": "row", "id": number, "title": one.title, "collapsed": False, "gridPos": place, "panels": []}
            top += 1
            for panel, x, y, end in flowed(one.panels, top):
                number += 1
                top = end
                place = {"x": x, "y": y, "w": panel.width, "h": panel.height}
                yield {"id": number, "gridPos": place, **panel.model()}


def flowed(panels: tuple[Panel, ...], top: int) -> list[tuple[Panel, int, int, int]]:
    """Each panel with its left and upper edge, and the lower edge of everything so far."""
    placed: list[tuple[Panel, int, int, int]] = []
    x, y, end = 0, top, top
    for panel in panels:
        if x + panel.width > COLUMNS:
            x, y = 0, end
        end = max(end, y + panel.height)
        placed.append((panel, x, y, end))
        x += panel.width
    return placed


def _marks() -> list[Json]:
    when = f"min by (service_name, service_version) (firstcause_deploy_time_seconds{within()}) * 1000"
    return [
        _mark("Deploys", BLUE, when, "{{service_name}} {{service_version}}", useValueForTime=True),
        _mark("Pages", RED, f"max by (slo) (slo:paging{{{ENV}}}) == 1", "{{slo}} pages"),
        {
            "name": "Marked by hand", "enable": True, "hide": False, "iconColor": "purple",
            "datasource": {"type": "grafana", "uid": "-- Grafana --"},
            "target": {"type": "tags", "tags": ["deploy"], "limit": 100, "matchAny": False},
        },
    ]  # fmt: skip


BLUE, RED = "blue", "red"


def _mark(name: str, colour: str, expr: str, title: str, **more: bool) -> Json:
    return {
        "name": name, "enable": True, "hide": False, "iconColor": colour, "datasource": ref(PROMETHEUS), "expr": expr,
        "titleFormat": title, "step": "60s", **more,
    }  # fmt: skip


def to(uid: str, *variables: str, **named: str) -> str:
    """A link to another dashboard that keeps the time range; `named` variables are set, the others kept."""
    kept = "".join(f"&${{{name}:queryparam}}" for name in variables)
    chosen = "".join(f"&var-{name}={value}" for name, value in named.items())
    return f"/d/{uid}?${{__url_time_range}}{kept}{chosen}"


def cell(heading: str) -> str:
    """The value of a table's column in the row of a link."""
    return f'${{__data.fields["{heading}"]}}'
