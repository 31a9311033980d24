"""One canonical line per unit of work: what happened, where the time went, and why."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .records import LogRecord
from .stream import Lines

if TYPE_CHECKING:
    from ..diagnosis.unit import UnitReport

_SEVERITY = {"ok": 9, "cancelled": 9, "degraded": 9, "slow": 13, "error": 17}
_TEXT = {9: "INFO", 13: "WARN", 17: "ERROR"}
_EVENTS = {"server": "request", "consumer": "message", "websocket": "websocket"}


class Canonical:
    """Writes the line to `lines` and as a log record to `sink`; either may be None."""

    def __init__(self, service: str, lines: Lines | None, sink: Callable[[LogRecord], None] | None) -> None:
        from orjson import OPT_APPEND_NEWLINE, dumps

        self._service, self._lines, self._sink = service, lines, sink
        self._dumps, self._newline = dumps, OPT_APPEND_NEWLINE
        self._names: dict[str, str] = {}

    def __call__(self, report: UnitReport) -> None:
        """Emit the line of one finished unit."""
        fields = facts(report)
        event = _EVENTS[report.kind]
        severity = _SEVERITY[report.outcome]
        end_ns = report.started_ns + report.wall_ns
        if self._lines is not None:
            line = {
                "ts": end_ns // 1000 / 1e6, "level": _TEXT[severity].lower(), "event": event,
                "service": self._service, "trace_id": f"{report.trace_id:032x}",
                "span_id": f"{report.span_id:016x}", **fields,
                "ledger": {resource: ns // 1000 / 1000 for resource, ns in report.shares.items()},
            }  # fmt: skip
            if report.top is not None:
                line["verdict"] = verdict_of(report)
            self._lines.put(self._dumps(line, option=self._newline))
        if self._sink is not None:
            self._flatten(fields, report)
            self._sink(
                LogRecord(
                    end_ns, severity, _TEXT[severity], event, fields, report.trace_id,
                    report.span_id, int(report.sampled), "firstcause." + event,
                )
            )  # fmt: skip

    def _flatten(self, fields: dict[str, Any], report: UnitReport) -> None:
        """Nested facts as dotted attributes, since backends index those; names are kept and hashed once."""
        names = self._names
        for resource, ns in report.shares.items():
            name = names.get(resource) or names.setdefault(resource, "ledger." + resource)
            fields[name] = ns // 1000 / 1000
        if report.top is not None:
            fields.update({"verdict." + name: value for name, value in verdict_of(report).items()})


def facts(report: UnitReport) -> dict[str, Any]:
    """The line's plain facts: milliseconds, megabytes, and plain names."""
    fields: dict[str, Any] = {
        "method": report.method,
        "route": report.route,
        "status": report.status,
        "outcome": report.outcome,
        "duration_ms": report.wall_ns // 1000 / 1000,
        "cpu_ms": report.cpu_ns // 1000 / 1000,
        "memory_mb": report.memory_bytes >> 20,
        "in_flight": report.in_flight,
        "request_id": report.request_id,
    }
    if report.session_id:
        fields["session_id"] = report.session_id
    if report.user_hash:
        fields["user_hash"] = report.user_hash
    if report.error_type:
        fields["error_type"] = report.error_type
    return fields


def verdict_of(report: UnitReport) -> dict[str, Any]:
    """The verdict's fields; only for a report that has one."""
    top = report.top
    assert top is not None
    return {
        "cause": top.cause, "via": top.via, "service": top.culprit, "version": top.version,
        "resource": top.resource, "share": round(top.share, 3), "excess_ms": top.excess_ns // 1_000_000,
        "detail": top.detail, "cold": report.cold,
    }  # fmt: skip
