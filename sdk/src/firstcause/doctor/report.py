"""The report: for people, grouped by how bad it is, and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .examination import ERROR, NOTE, OK, SKIPPED, WARNING, Context, Result

SCHEMA = 1
"""Raised when a field of the JSON changes its meaning or goes; fields may be added."""
_ORDER = (ERROR, WARNING, NOTE, OK, SKIPPED)
_MARKS = {ERROR: ("✗", "31"), WARNING: ("!", "33"), NOTE: ("·", "36"), OK: ("✓", "32"), SKIPPED: ("-", "90")}


def worst(results: Sequence[Result]) -> str:
    """The gravest status; notes and what was skipped do not count."""
    found = {result.status for result in results}
    return next((status for status in (ERROR, WARNING) if status in found), OK)


def as_text(results: Sequence[Result], context: Context, *, colours: bool) -> str:
    """One line per check, the gravest first, each finding with its fix."""
    service = context.config.service if context.config is not None else ""
    lines = [f"firstcause doctor: {service or 'no service'}", ""]
    for status in _ORDER:
        lines += _group(status, [result for result in results if result.status == status], colours)
    return "\n".join([*lines, "", _sum(results)])


def _group(status: str, results: Sequence[Result], colours: bool) -> list[str]:
    mark, colour = _MARKS[status]
    shown = f"\x1b[{colour}m{mark}\x1b[0m" if colours else mark
    if status == SKIPPED:
        return [f"{shown} skipped: {reason}: {', '.join(ids)}" for reason, ids in _reasons(results).items()]
    lines = []
    for result in results:
        lines.append(f"{shown} {result.check.title}  [{result.check.id}]")
        for finding in result.findings:
            lines += [f"    {finding.what}", f"      at   {finding.where}", f"      fix  {finding.fix}"]
    return lines


def _reasons(results: Sequence[Result]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for result in results:
        found.setdefault(result.skipped, []).append(result.check.id)
    return found


def _sum(results: Sequence[Result]) -> str:
    counts = {status: sum(result.status == status for result in results) for status in _ORDER}
    return ", ".join(f"{status}: {counts[status]}" for status in _ORDER)


def as_json(results: Sequence[Result], context: Context) -> dict[str, Any]:
    """Everything of the text, and what was observed; `schema` says which form this is."""
    return {
        "schema": SCHEMA,
        "service": context.config.service if context.config is not None else "",
        "status": worst(results),
        "checks": [_as_dict(result) for result in results],
        "observed": _observed(context),
    }


def _as_dict(result: Result) -> dict[str, Any]:
    check = result.check
    return {
        "id": check.id, "title": check.title, "severity": check.severity, "status": result.status,
        "skipped": result.skipped,
        "findings": [{"what": f.what, "where": f.where, "fix": f.fix} for f in result.findings],
    }  # fmt: skip


def _observed(context: Context) -> dict[str, Any] | None:
    seen = context.observed
    if seen is None:
        return None
    return {
        "status": seen.status, "trace_id": seen.trace_id, "request_id": seen.request_id,
        "spans": [{"name": s.name, "scope": s.scope, "kind": s.kind} for s in seen.spans],
        "ledger": seen.ledger, "canonical_lines": len(seen.canonical), "layers": seen.layers,
        "attached": list(getattr(context.setup, "attached", ())),
        "queries": [vars(query) for query in seen.queries], "shutdown_s": round(seen.shutdown_s, 2),
    }  # fmt: skip
