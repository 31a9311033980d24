"""The house style: one function per kind of panel, so that a colour, a legend or an option is decided once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from string import ascii_uppercase
from typing import Any

PROMETHEUS, JAEGER, LOKI = "prometheus", "jaeger", "loki"
"""Data sources: uid and type are the same word."""
GREEN, ORANGE, RED, BLUE, GREY = "green", "orange", "red", "blue", "text"
SECONDS, SHARE, COUNT, RATE, BYTES = "s", "percentunit", "short", "reqps", "bytes"
RESOURCES = {
    "app": "blue", "db:.*": "purple", "db_pool:.*": "dark-purple", "cache:.*": "yellow", "(http|rpc):.*": "orange",
    "queue:.*": "green", "runtime:.*": "red", "(lock|limiter):.*": "dark-red", "(client|ingress).*": "light-blue",
}  # fmt: skip
"""The colour of a resource wherever one is drawn, by regular expression."""
STATUSES = {"2..": "green", "3..": "blue", "4..": "orange", "5..": "red"}
WHOLE, HALF, THIRD, QUARTER = 24, 12, 8, 6
"""Widths of a grid of 24."""

Json = dict[str, Any]
Steps = Sequence[tuple[float, str]]
"""Thresholds: from this value on, this colour; below the first, green."""


@dataclass(frozen=True, slots=True)
class Query:
    """One query of a panel; `name` heads its column in a table, where `unit` and `steps` belong to that column."""

    expr: str
    legend: str = ""
    name: str = ""
    unit: str = COUNT
    steps: Steps = ()
    bar: bool = False
    """Draws the column as a bar: for shares."""


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel without its place; `body` is what the kind adds to the common keys."""

    kind: str
    title: str
    says: str
    width: int
    height: int
    body: Json = field(default_factory=dict)
    source: str = PROMETHEUS

    def model(self) -> Json:
        """The keys every panel has, and its own."""
        common = {"type": self.kind, "title": self.title, "description": self.says, "datasource": ref(self.source)}
        return {**common, **self.body}

    def wide(self, width: int, height: int = 0) -> Panel:
        """The same in another size."""
        return replace(self, width=width, height=height or self.height)


def ref(source: str) -> Json:
    """How the model names a data source."""
    return {"type": source, "uid": source}


def _targets(queries: Sequence[Query], shape: str = "time_series", *, now: bool = False) -> list[Json]:
    return [
        {
            "refId": ascii_uppercase[index], "datasource": ref(PROMETHEUS), "expr": query.expr,
            "legendFormat": query.legend or "__auto", "format": shape, "instant": now, "range": not now,
            "editorMode": "code", "exemplar": False,
        }
        for index, query in enumerate(queries)
    ]  # fmt: skip


def _thresholds(steps: Steps, below: str = GREEN) -> Json:
    return {
        "mode": "absolute",
        "steps": [{"value": None, "color": below}, *({"value": value, "color": colour} for value, colour in steps)],
    }


def _defaults(unit: str, steps: Steps = (), **more: Any) -> Json:
    colour = {"mode": "thresholds"} if steps else {"mode": "palette-classic-by-name"}
    return {"unit": unit, "color": colour, "thresholds": _thresholds(steps), **more}


def _colours(names: Mapping[str, str]) -> list[Json]:
    return [
        {
            "matcher": {"id": "byRegexp", "options": f"/^{pattern}$/"},
            "properties": [{"id": "color", "value": {"mode": "fixed", "fixedColor": colour}}],
        }
        for pattern, colour in names.items()
    ]


def graph(
    title: str, says: str, *queries: Query, unit: str, steps: Steps = (), stacked: bool = False,
    colours: Mapping[str, str] | None = None, most: float | None = None,
) -> Panel:  # fmt: skip
    """Values over time. Thresholds are lines; `stacked` when the parts have a sum that means something."""
    custom = {
        "drawStyle": "line", "lineWidth": 1, "fillOpacity": 60 if stacked else 8, "showPoints": "never",
        "spanNulls": False, "stacking": {"mode": "normal" if stacked else "none", "group": "A"},
        "thresholdsStyle": {"mode": "dashed" if steps else "off"},
    }  # fmt: skip
    defaults = _defaults(unit, (), custom=custom, min=0) | ({} if most is None else {"max": most})
    options = {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": ["lastNotNull"]},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    defaults["thresholds"] = _thresholds(steps, "transparent")
    config = {"defaults": defaults, "overrides": _colours(colours or {})}
    targets = [{**target, "exemplar": "_bucket" in target["expr"]} for target in _targets(queries)]
    return Panel(
        "timeseries", title, says, HALF, 8, {"targets": targets, "fieldConfig": config, "options": options}
    )


def stat(
    title: str, says: str, query: Query, unit: str, steps: Steps = (), *, below: str = GREEN, shows: str = "auto"
) -> Panel:
    """One number now, and how it came there, coloured when a threshold is known; `shows="name"`: the series' name."""
    defaults = {**_defaults(unit, steps, noValue="–"), "thresholds": _thresholds(steps, below if steps else GREY)}
    options = {
        "reduceOptions": {"values": False, "calcs": ["lastNotNull"], "fields": ""},
        "graphMode": "area", "colorMode": "background" if steps else "value", "textMode": shows, "justifyMode": "auto",
        "orientation": "auto",
    }  # fmt: skip
    config = {"defaults": defaults, "overrides": []}
    return Panel(
        "stat", title, says, 4, 4, {"targets": _targets([query]), "fieldConfig": config, "options": options}
    )


def bars(title: str, says: str, query: Query, unit: str, steps: Steps = (), *, most: float | None = None) -> Panel:
    """A ranking now, one bar per series."""
    more: Json = {"min": 0, "noValue": "nothing"} | ({} if most is None else {"max": most})
    options = {
        "reduceOptions": {"values": False, "calcs": ["lastNotNull"], "fields": ""}, "orientation": "horizontal",
        "displayMode": "gradient", "showUnfilled": True, "valueMode": "color", "namePlacement": "auto",
        "sizing": "auto", "minVizWidth": 8, "minVizHeight": 16, "maxVizHeight": 40,
    }  # fmt: skip
    config = {"defaults": _defaults(unit, steps, **more), "overrides": []}
    targets = _targets([query], now=True)
    return Panel("bargauge", title, says, HALF, 8, {"targets": targets, "fieldConfig": config, "options": options})


def table(
    title: str, says: str, keys: Mapping[str, str], *queries: Query, links: Mapping[str, str] | None = None
) -> Panel:
    """One row per combination of the labels `keys` (label: heading), one column per query; first query sorts.

    `links` maps a label to the address its cells lead to.
    """
    values = {f"Value #{ascii_uppercase[i]}" if len(queries) > 1 else "Value": q for i,
              q in enumerate(queries)}
    organize = {
        "excludeByName": {"Time": True},
        "indexByName": {name: index for index, name in enumerate([*keys, *values])},
        "renameByName": {**keys, **{value: query.name for value, query in values.items()}},
    }
    overrides = [_column(query) for query in queries] + [
        _linked(keys[label], address) for label, address in (links or {}).items()
    ]
    config = {"defaults": {"custom": {"align": "auto", "filterable": True}, "noValue": "–"}, "overrides": overrides}
    body = {
        "targets": _targets(queries, "table", now=True), "fieldConfig": config,
        "options": {
            "showHeader": True, "cellHeight": "sm", "sortBy": [{"displayName": queries[0].name, "desc": True}],
            "footer": {"show": False, "reducer": ["sum"], "fields": ""},
        },
        "transformations": [{"id": "merge", "options": {}}, {"id": "organize", "options": organize}],
    }  # fmt: skip
    return Panel("table", title, says, WHOLE, 8, body)


def _column(query: Query) -> Json:
    properties: list[Json] = [{"id": "unit", "value": query.unit}, {"id": "decimals", "value": 2}]
    if query.steps:
        properties += [
            {"id": "thresholds", "value": _thresholds(query.steps, "transparent")},
            {"id": "custom.cellOptions", "value": {"type": "color-background", "mode": "basic"}},
        ]
    elif query.bar:
        properties += [
            {"id": "custom.cellOptions", "value": {"type": "gauge", "mode": "basic"}},
            {"id": "min", "value": 0}, {"id": "max", "value": 1},
        ]  # fmt: skip
    return {"matcher": {"id": "byName", "options": query.name}, "properties": properties}


def _linked(heading: str, address: str) -> Json:
    link = {"title": "Look closer", "url": address, "targetBlank": False}
    return {"matcher": {"id": "byName", "options": heading}, "properties": [{"id": "links", "value": [link]}]}


def heat(title: str, says: str, query: Query, unit: str) -> Panel:
    """How a distribution moved: a row per bucket, darker where more is."""
    options = {
        "calculate": False, "cellGap": 1, "rowsFrame": {"layout": "auto"}, "showValue": "never",
        "color": {"mode": "scheme", "scheme": "Blues", "steps": 64, "reverse": False, "exponent": 0.5, "fill": "blue"},
        "yAxis": {"axisPlacement": "left", "unit": unit, "reverse": False},
        "tooltip": {"mode": "single", "yHistogram": True}, "legend": {"show": True}, "exemplars": {"color": "orange"},
        "filterValues": {"le": 1e-9}, "cellValues": {"unit": "reqps"},
    }  # fmt: skip
    target = {**_targets([query], "heatmap")[0], "exemplar": True}
    config: Json = {"defaults": {"unit": unit, "custom": {"hideFrom": {"legend": False, "tooltip": False,
        "viz": False}}}}
    body = {"targets": [target], "fieldConfig": {**config, "overrides": []}, "options": options}
    return Panel("heatmap", title, says, HALF, 8, body)


def states(title: str, says: str, query: Query, words: Mapping[str, tuple[str, str]]) -> Panel:
    """Which state each thing was in; `words` maps a value to its word and colour."""
    mapped = {value: {"text": text, "color": colour, "index": i} for i,
              (value, (text, colour)) in enumerate(words.items())}
    defaults = _defaults("none", custom={"fillOpacity": 80, "lineWidth": 0},
                         mappings=[{"type": "value", "options": mapped}])
    options = {
        "mergeValues": True, "showValue": "never", "alignValue": "left", "rowHeight": 0.9,
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True}, "tooltip": {"mode": "single"},
    }  # fmt: skip
    config = {"defaults": defaults, "overrides": []}
    return Panel(
        "state-timeline", title, says, HALF, 8, {"targets": _targets([query]), "fieldConfig": config,
            "options": options}
    )


def logs(title: str, says: str, expr: str) -> Panel:
    """Lines out of Loki, newest first; a line's trace id leads to its trace."""
    target = {"refId": "A", "datasource": ref(LOKI), "expr": expr, "queryType": "range", "maxLines": 200}
    options = {
        "showTime": True, "showLabels": False, "showCommonLabels": False, "wrapLogMessage": True,
        "prettifyLogMessage": False,
        "enableLogDetails": True, "dedupStrategy": "none", "sortOrder": "Descending",
    }  # fmt: skip
    return Panel("logs", title, says, WHOLE, 10, {"targets": [target], "options": options}, LOKI)


def traces(title: str, says: str, service: str, tags: str = "") -> Panel:
    """Traces out of Jaeger, found by service and tags (logfmt); a row leads to its waterfall."""
    target = {
        "refId": "A", "datasource": ref(JAEGER), "queryType": "search", "service": service, "tags": tags, "limit": 20,
    }  # fmt: skip
    options = {"showHeader": True, "cellHeight": "sm", "footer": {"show": False, "reducer": ["sum"], "fields": ""}}
    config = {"defaults": {"custom": {"align": "auto", "filterable": True}}, "overrides": []}
    return Panel("table", title, says, WHOLE, 8, {"targets": [target], "fieldConfig": config, "options": options},
                 JAEGER)
