"""The queries of shipped dashboards: taken out of the JSON, filled in, taken apart."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import promql_parser

ANY: Mapping[str, str] = {
    "env": ".*", "service": ".*", "route": ".*", "slo": ".*", "page": ".*", "region": ".*", "device": ".*",
    "__rate_interval": "1m", "__range": "1h",
}  # fmt: skip
"""Values that choose everything."""
GROWTH = frozenset(("rate", "increase", "irate", "resets"))
_VARIABLE = re.compile(r"\$(?:\{([A-Za-z_]\w*)(?::\w+)?\}|([A-Za-z_]\w*))")


@dataclass(frozen=True, slots=True)
class Asked:
    """One query as shipped: where it stands, which source it asks, and how."""

    board: str
    panel: str
    ref: str
    source: str
    target: Mapping[str, Any]

    @property
    def expr(self) -> str:
        """The text; of a search for traces, its service and tags."""
        return str(self.target.get("expr") or f"{self.target.get('service')} {self.target.get('tags')}")

    @property
    def place(self) -> str:
        """How it is named in messages."""
        return f"{self.board}: {self.panel} ({self.ref})"


@dataclass(frozen=True, slots=True)
class Selected:
    """A metric as an expression reads it, and the functions around it, innermost last."""

    name: str
    inside: tuple[str, ...]



def asked(board: Mapping[str, Any]) -> Iterator[Asked]:
    """Every query of a dashboard: panels, marks, variables."""
    for panel in board["panels"]:
        for target in panel.get("targets", ()):
            yield Asked(board["uid"], panel["title"], target["refId"], target["datasource"]["uid"], target)
    for mark in board["annotations"]["list"]:
        if "expr" in mark:
            yield Asked(board["uid"], f"mark {mark['name']}", "A", mark["datasource"]["uid"], mark)
    for variable in board["templating"]["list"]:
        found = re.fullmatch(r"label_values\((.*), \w+\)", variable["definition"])
        target = {"expr": found[1] if found else variable["definition"], "instant": True}
        yield Asked(board["uid"], f"variable {variable['name']}", "A", variable["datasource"]["uid"], target)


def filled(text: str, values: Mapping[str, str] = ANY) -> str:
    """The text with its variables replaced; raises `KeyError` for one that has no value."""
    return _VARIABLE.sub(lambda found: values[found[1] or found[2]], text)


def variables(text: str) -> set[str]:
    """The variables a text names, Grafana's own without."""
    return {name for pair in _VARIABLE.findall(text) for name in pair if name and not name.startswith("__")}


def selected(expr: str) -> list[Selected]:
    """The metrics an expression reads. Raises `ValueError` for one that does not parse."""
    found: list[Selected] = []
    inside: list[str] = []

    def enter(node: Any) -> None:
        inside.append(_function(node))
        if isinstance(node, promql_parser.VectorSelector):
            found.append(Selected(node.name or "", tuple(name for name in inside if name)))

    def leave(_node: Any) -> None:
        inside.pop()

    promql_parser.walk(promql_parser.parse(filled(expr)), enter, leave)
    return found


def _function(node: Any) -> str:
    if isinstance(node, promql_parser.Call):
        return str(node.func.name)
    return str(node.op).lower() if isinstance(node, promql_parser.AggregateExpr) else ""
