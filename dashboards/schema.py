"""The part of Grafana's dashboard model that we use, as JSON Schema: any other key is a mistake.

Keys and their types are those that Grafana's documentation and published types (schema version 42) have;
`tests/dashboards/test_schema.py` compares with the latter.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import jsonschema

from .board import COLUMNS, SCHEMA

Schema = dict[str, Any]
TEXT: Schema = {"type": "string", "minLength": 1}
ANYTEXT: Schema = {"type": "string"}
NUMBER: Schema = {"type": "number"}
WHOLE: Schema = {"type": "integer", "minimum": 0}
FLAG: Schema = {"type": "boolean"}
FREE: Schema = {"type": "object"}
"""Options of one kind of panel, which differ by kind: Grafana ignores what it does not know there."""


def thing(optional: tuple[str, ...] = (), **keys: Schema) -> Schema:
    """An object with these keys and no other; all of them must be there but the `optional`."""
    required = [key for key in keys if key not in optional]
    return {"type": "object", "properties": keys, "required": required, "additionalProperties": False}


def several(of: Schema, least: int = 0) -> Schema:
    """A list."""
    return {"type": "array", "items": of, "minItems": least}


def one_of(*values: object) -> Schema:
    """One of these values."""
    return {"enum": [*values]}


SOURCE = {
    "oneOf": [
        thing(type=one_of(uid), uid=one_of(uid)) for uid in ("prometheus", "jaeger", "loki")
    ]
}  # fmt: skip
STEP = thing(value={"type": ["number", "null"]}, color=TEXT)
THRESHOLDS = thing(mode=one_of("absolute"), steps=several(STEP, 1))
COLOUR = thing(("fixedColor",), mode=one_of("thresholds", "palette-classic-by-name", "fixed"), fixedColor=TEXT)
PROPERTY = thing(id=TEXT, value={})
OVERRIDE = thing(matcher=thing(id=one_of("byName", "byRegexp"), options=TEXT), properties=several(PROPERTY, 1))
MAPPING = thing(type=one_of("value"), options={"type": "object",
    "additionalProperties": thing(text=TEXT, color=TEXT, index=WHOLE)})
DEFAULTS = thing(
    ("unit", "color", "thresholds", "min", "max", "noValue", "custom", "mappings", "decimals"),
    unit=TEXT, color=COLOUR, thresholds=THRESHOLDS, min=NUMBER, max=NUMBER, noValue=TEXT, custom=FREE,
    mappings=several(MAPPING), decimals=WHOLE,
)  # fmt: skip
ASKED = {
    "oneOf": [
        thing(
            refId=TEXT, datasource=one_of({"type": "prometheus", "uid": "prometheus"}), expr=TEXT, legendFormat=TEXT,
            format=one_of("time_series", "table", "heatmap"), instant=FLAG, range=FLAG, editorMode=one_of("code"),
            exemplar=FLAG,
        ),
        thing(
            refId=TEXT, datasource=one_of({"type": "loki", "uid": "loki"}), expr=TEXT, queryType=one_of("range"),
            maxLines=WHOLE,
        ),
        thing(
            refId=TEXT, datasource=one_of({"type": "jaeger", "uid": "jaeger"}), queryType=one_of("search"),
            service=TEXT,
            tags=TEXT, limit=WHOLE,
        ),
    ]
}  # fmt: skip
GRID = thing(
    x={"type": "integer", "minimum": 0, "maximum": COLUMNS - 1}, y=WHOLE,
    w={"type": "integer", "minimum": 1, "maximum": COLUMNS}, h={"type": "integer", "minimum": 1},
)  # fmt: skip
PANEL = thing(
    ("fieldConfig", "transformations"),
    id=WHOLE, gridPos=GRID, type=one_of("timeseries", "stat", "bargauge", "table", "heatmap", "state-timeline", "logs"),
    title=TEXT, description=TEXT, datasource=SOURCE, targets=several(ASKED, 1), options=FREE,
    fieldConfig=thing(defaults=DEFAULTS, overrides=several(OVERRIDE)),
    transformations=several(thing(id=one_of("merge", "organize"), options=FREE)),
)  # fmt: skip
ROW = thing(
    id=WHOLE, gridPos=GRID, type=one_of("row"), title=TEXT, collapsed=FLAG, panels={"type": "array", "maxItems": 0}
)
VARIABLE = thing(
    ("allValue",), type=one_of("query"), name=TEXT, label=TEXT, datasource=SOURCE, definition=TEXT,
    query=thing(query=TEXT, refId=TEXT), refresh=one_of(1, 2), sort=WHOLE, hide=one_of(0, 1, 2), skipUrlSync=FLAG,
    regex=ANYTEXT, options=several(FREE), multi=FLAG, includeAll=FLAG, current=FREE, allValue=TEXT,
)  # fmt: skip
MARK = {
    "oneOf": [
        thing(
            ("useValueForTime",), name=TEXT, enable=FLAG, hide=FLAG, iconColor=TEXT, datasource=SOURCE, expr=TEXT,
            titleFormat=TEXT, step=TEXT, useValueForTime=FLAG,
        ),
        thing(
            name=TEXT, enable=FLAG, hide=FLAG, iconColor=TEXT,
            datasource=one_of({"type": "grafana", "uid": "-- Grafana --"}),
            target=thing(type=one_of("tags"), tags=several(TEXT, 1), limit=WHOLE, matchAny=FLAG),
        ),
    ]
}  # fmt: skip
LINK = thing(
    type=one_of("link"), title=TEXT, url=TEXT, keepTime=FLAG, includeVars=FLAG, tags=several(TEXT), asDropdown=FLAG,
    targetBlank=FLAG, icon=TEXT, tooltip=TEXT,
)  # fmt: skip
DASHBOARD: Schema = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    **thing(
        uid={"type": "string", "pattern": "^[a-z0-9-]{1,40}$"}, title=TEXT, tags=several(TEXT), description=TEXT,
        schemaVersion=one_of(SCHEMA), editable=one_of(False), graphTooltip=one_of(0, 1, 2), timezone=ANYTEXT,
        refresh=TEXT,
        time=thing((), **{"from": TEXT, "to": TEXT}), liveNow=FLAG, fiscalYearStartMonth=WHOLE, weekStart=ANYTEXT,
        timepicker=thing(refresh_intervals=several(TEXT)), templating=thing(list=several(VARIABLE)),
        annotations=thing(list=several(MARK)), links=several(LINK),
        panels=several({"if": {"properties": {"type": {"const": "row"}}}, "then": ROW, "else": PANEL}, 1),
    ),
}  # fmt: skip


def problems(model: Any) -> list[str]:
    """What of the model is not as documented: where, and what about it."""
    return sorted(f"{error.json_path}: {error.message[:200]}" for error in _validator().iter_errors(model))


@cache
def _validator() -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(DASHBOARD)
