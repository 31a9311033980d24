"""Failures in words: the request, its calls grouped by text and place, and its ledger."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .taken import Call, Request, Verdict

MOST = 5
"""Requests shown by one failure, and rows of each table beyond which the rest is counted."""
ROWS = 12
TEXT = 88
_VALUE = r"\s*(?:\?|%s|%\(\w+\)s|:\w+|\$\d+)(?:::[\w ]+)?\s*"
_LIST = re.compile(rf"\({_VALUE}(?:,{_VALUE})+\)")


def normalised(text: str) -> str:
    """One form for statements that differ only in how many values they list."""
    return _LIST.sub("(?, …)", text)


def described(requests: Sequence[Request], resource: str = "") -> str:
    """Each request in a few lines; `resource` picks whose calls are listed."""
    shown = [one(request, resource) for request in requests[:MOST]]
    if len(requests) > MOST:
        shown.append(f"… and {len(requests) - MOST} more requests")
    return "\n\n".join(shown)


def one(request: Request, resource: str = "") -> str:
    """One request: what it was, its calls as a table, its ledger, its verdict."""
    calls = request.calls_to(resource) if resource else request.calls
    lines = [heading(request), *(f"  {row}" for row in table(calls)), f"  ledger: {ledger(request)}"]
    if request.verdict is not None:
        lines.append(f"  cause: {cause(request.verdict)}")
    return "\n".join(lines)


def heading(request: Request) -> str:
    """`GET /orders/{id} 200, ok, 12.3 ms`."""
    name = f"{request.method} {request.route or request.path}".strip()
    status = f" {request.status}" if request.status else ""
    error = f" ({request.error_type})" if request.error_type else ""
    return f"{name}{status}, {request.outcome}{error}, {milliseconds(request.duration_s)}"


def cause(verdict: Verdict) -> str:
    """`db.slow via db_pool in orders (80 %): SELECT …`."""
    via = f" via {verdict.via}" if verdict.via else ""
    detail = f": {verdict.detail}" if verdict.detail else ""
    return f"{verdict.cause}{via} in {verdict.service} ({100 * verdict.share:.0f} %){detail}"


def table(calls: Iterable[Call]) -> list[str]:
    """The calls grouped by text and place, most frequent first."""
    groups: dict[tuple[str, str], list[Call]] = {}
    for call in calls:
        groups.setdefault((normalised(call.text), call.place), []).append(call)
    ordered = sorted(groups.items(), key=lambda item: -len(item[1]))
    rows = [
        (f"{len(group)} ×", milliseconds(sum(call.duration_s for call in group)), text[:TEXT], place or "?")
        for (text, place), group in ordered[:ROWS]
    ]
    left, middle, right = (max((len(row[column]) for row in rows), default=0) for column in range(3))
    lines = [f"{count:>{left}}  {time:>{middle}}  {text:<{right}}  at {place}" for count, time, text, place in rows]
    return [*lines, f"… and {len(ordered) - ROWS} more texts"] if len(ordered) > ROWS else lines


def ledger(request: Request) -> str:
    """`db:shop 8.1 ms (66 %), app 4.2 ms (34 %)`, largest first."""
    whole = request.duration_s or 1.0
    largest = sorted(request.ledger.items(), key=lambda item: -item[1])
    return ", ".join(f"{name} {milliseconds(s)} ({100 * s / whole:.0f} %)" for name, s in largest)


def milliseconds(seconds: float) -> str:
    """Always in milliseconds, so that columns compare."""
    return f"{seconds * 1000:.1f} ms"


def record(body: Any, severity: str, fields: Mapping[str, Any]) -> str:
    """One log record in one line."""
    return " ".join([f"[{severity.lower()}]", str(body), *(f"{name}={value!r}" for name, value in fields.items())])
