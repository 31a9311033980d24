"""Tickets about causes and saturations that no user feels yet, from a table: `tickets.yml` beside this module.

A row is data: added there, it is compiled, tested and checked for its runbook without a change here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

import yaml

from . import durations, wording
from .model import Spec
from .timing import Timing

NOBODY = "none"
"""The owner of what is about no objective."""


@dataclass(frozen=True, slots=True)
class Row:
    """One ticket."""

    alert: str
    expr: str
    """PromQL; a duration of the specification stands in `<…>`, as in `rate(x[<5m>])`, and is scaled."""
    lasting: str
    summary: str
    severity: str = "ticket"
    fires: dict[str, str] = field(default_factory=dict)
    """Series of promtool that make it fire."""
    quiet: dict[str, str] = field(default_factory=dict)
    """Series under which it is silent."""
    unit: str = ""
    """A label whose value the summary names."""


def table(text: str | None = None) -> tuple[Row, ...]:
    """The rows of the table; raises ValueError naming what a row lacks."""
    given = yaml.safe_load(text or files(__package__).joinpath("tickets.yml").read_text("utf-8"))
    return tuple(_row(one) for one in given)


def _row(one: dict[str, Any]) -> Row:
    try:
        return Row(**one)
    except TypeError as error:
        raise ValueError(f"tickets.yml, {one.get('alert', one)}: {error}") from None


def scaled(expression: str, timing: Timing) -> str:
    """The expression with its durations in Prometheus' text."""

    def shrunk(found: re.Match[str]) -> str:
        seconds = durations.parse(found[1])
        return f"{seconds / timing.scale:g}" if found[2] else timing(seconds)

    return re.sub(r"<(\d+[mhdw])( s)?>", shrunk, expression)


def alert(row: Row, spec: Spec, timing: Timing) -> dict[str, Any]:
    """The alert rule of a row; `slo` is there so that no label of an inhibition is ever missing."""
    of = f" ({wording.plain('$labels.' + row.unit, 100)})" if row.unit else ""
    labels = {
        "severity": row.severity, "slo": "none", "environment": wording.environment(),
        "service": _service(), "owner": NOBODY, "role": "none", "incident": "none",
    }  # fmt: skip
    base = wording.runbooks(spec, "")
    texts = {"title": row.alert + of, "summary": row.summary, "runbook": f"{base}/{row.alert}.md"}
    rule: dict[str, Any] = {"alert": row.alert, "expr": scaled(row.expr, timing).strip()}
    if row.lasting:
        rule["for"] = timing.least(durations.parse(row.lasting))
    return {**rule, "labels": labels, "annotations": texts}


def _service() -> str:
    shown = f'reReplaceAll "{wording.PLAIN}" "_" $labels.service_name | printf "%.64s"'
    return f"{{{{ if $labels.service_name }}}}{{{{ {shown} }}}}{{{{ else }}}}none{{{{ end }}}}"
