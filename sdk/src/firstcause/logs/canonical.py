"""One canonical line per unit of work: what happened, where the time went, and why.

A unit leaves a `Told` behind. What is written and sent of it is made by the threads that write and send.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from ..export.otlp import Scope
from .forms import EVENTS, Form
from .records import SCOPE, LogRecord
from .stream import Lines

if TYPE_CHECKING:
    from ..diagnosis.unit import UnitReport

SEVERITY = {"ok": 9, "cancelled": 9, "degraded": 9, "slow": 13, "error": 17}
TEXT = {9: "INFO", 13: "WARN", 17: "ERROR"}
FORMS = 1024
"""Forms kept; when so many are known they are forgotten, and those in use are back at once."""


class Canonical:
    """Gives each finished unit to `lines` and as a log record to `sink`; either may be None."""

    def __init__(self, service: str, lines: Lines | None, sink: Callable[[Told], None] | None) -> None:
        from orjson import OPT_APPEND_NEWLINE, dumps

        self.service, self._lines, self._sink = service, lines, sink
        self.dumps, self.newline = dumps, OPT_APPEND_NEWLINE
        self._forms: dict[tuple[Any, ...], Form] = {}

    def __call__(self, report: UnitReport) -> None:
        """Emit the line of one finished unit."""
        told = Told(self, report)
        if self._lines is not None:
            self._lines.put(told)
        if self._sink is not None:
            self._sink(told)

    def form_of(self, report: UnitReport) -> Form | None:
        """What the line shares with others like it; None for those that have more to say."""
        if report.top is not None or report.error_type:
            return None
        key = (
            report.kind, report.method, report.route, report.status, report.outcome, not report.session_id,
            not report.user_hash, *report.shares,
        )  # fmt: skip
        form = self._forms.get(key)
        if form is None:
            if len(self._forms) >= FORMS:
                self._forms.clear()
            number = SEVERITY[report.outcome]
            form = self._forms[key] = Form(self.service, number, TEXT[number], facts(report), report)
        return form


class Told:
    """One finished unit as a line, and as the log record that the encoder reads."""

    __slots__ = ("_canonical", "_form", "_report")
    scope: Scope = SCOPE

    def __init__(self, canonical: Canonical, report: UnitReport) -> None:
        self._canonical, self._report = canonical, report
        self._form: Form | None = None

    def line(self) -> bytes:
        """The line as JSON, with its newline."""
        form = self._form = self._form or self._canonical.form_of(self._report)
        return self._whole() if form is None else form.line(self._report)

    def otlp(self) -> bytes | None:
        """The record as OTLP where that is known for units like this one."""
        form = self._form = self._form or self._canonical.form_of(self._report)
        return None if form is None else form.record(self._report)

    def _whole(self) -> bytes:
        report = self._report
        line = {
            "ts": self.timestamp_ns // 1000 / 1e6, "level": self.severity_text.lower(), "event": self.body,
            "service": self._canonical.service, "trace_id": f"{report.trace_id:032x}",
            "span_id": f"{report.span_id:016x}", **facts(report),
            "ledger": {resource: ns // 1000 / 1000 for resource, ns in report.shares.items()},
        }  # fmt: skip
        if report.top is not None:
            line["verdict"] = verdict_of(report)
        return self._canonical.dumps(line, option=self._canonical.newline)

    def record(self) -> LogRecord:
        """The same as a record that holds its facts."""
        return LogRecord(
            self.timestamp_ns, self.severity_number, self.severity_text, self.body, self.attributes, self.trace_id,
            self.span_id, self.flags, self.event_name,
        )  # fmt: skip

    # -- as the encoder reads it ------------------------------------------------------------------

    @property
    def timestamp_ns(self) -> int:
        """When the unit ended."""
        return self._report.started_ns + self._report.wall_ns

    observed_ns = timestamp_ns

    @property
    def severity_number(self) -> int:
        """By the outcome: degraded is nobody's harm."""
        return SEVERITY[self._report.outcome]

    @property
    def severity_text(self) -> str:
        """The same in words."""
        return TEXT[self.severity_number]

    @property
    def body(self) -> str:
        """`request`, `message` or `websocket`."""
        return EVENTS[self._report.kind]

    @property
    def event_name(self) -> str:
        """The body's kind, with whose it is."""
        return "firstcause." + self.body

    @property
    def attributes(self) -> dict[str, Any]:
        """The facts; nested ones as dotted names, since backends index those."""
        report = self._report
        fields = facts(report)
        for resource, ns in report.shares.items():
            fields["ledger." + resource] = ns // 1000 / 1000
        if report.top is not None:
            fields.update({"verdict." + name: value for name, value in verdict_of(report).items()})
        return fields

    @property
    def trace_id(self) -> int:
        """The unit's."""
        return self._report.trace_id

    @property
    def span_id(self) -> int:
        """The unit's."""
        return self._report.span_id

    @property
    def flags(self) -> int:
        """Whether the trace is sampled."""
        return int(self._report.sampled)


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


def verdict_of(report: UnitReport) -> Mapping[str, Any]:
    """The verdict's fields; only for a report that has one."""
    top = report.top
    assert top is not None
    return {
        "cause": top.cause, "via": top.via, "service": top.culprit, "version": top.version,
        "resource": top.resource, "share": round(top.share, 3), "excess_ms": top.excess_ns // 1_000_000,
        "detail": top.detail, "cold": report.cold,
    }  # fmt: skip
