"""Takes what the SDK would send: spans, units and log records of one capture."""

from __future__ import annotations

import threading
from time import monotonic
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.trace import SpanKind, StatusCode

from ..diagnosis.unit import current_unit
from ..logs.redaction import redact_sql
from ..trace.classify import classify
from .place import place
from .taken import Call, Request, Verdict

if TYPE_CHECKING:
    from opentelemetry.context import Context

    from ..diagnosis.unit import UnitReport
    from ..logs.records import LogRecord

CLIENTS = (SpanKind.CLIENT, SpanKind.PRODUCER)
_STATEMENT = ("db.query.text", "db.statement")
_OPERATION = ("db.query.summary", "db.operation.name", "db.operation", "messaging.operation.name")


class _Asked:
    """A call under way: where it was made, in which frame of the ledger, and for which unit."""

    __slots__ = ("frame", "place", "unit")

    def __init__(self, span: Any) -> None:
        self.unit = current_unit()
        self.place = place()
        frame = getattr(span, "opened", None)
        # An adapter of ours opens its frame first, and its span next.
        self.frame = frame or (None if self.unit is None else self.unit.ledger.innermost())


class Taking(SpanProcessor):
    """A span processor, so that it sees every span of any provider when it starts, on the asking thread."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        with self._changed:
            self.spans: list[ReadableSpan] = []
            self.requests: list[Request] = []
            self.logs: list[LogRecord] = []
            self._asked: dict[int, _Asked] = {}
            self._calls: dict[int, list[Call]] = {}

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        if span.kind in CLIENTS:
            self._asked[span.get_span_context().span_id] = _Asked(span)

    def on_end(self, span: ReadableSpan) -> None:
        with self._changed:
            self.spans.append(span)
            asked = self._asked.pop(span.context.span_id, None)
            if asked is not None and asked.unit is not None and asked.unit.span is not None and span.attributes:
                self._calls.setdefault(asked.unit.span.span_id, []).append(_call(span, asked))

    def unit(self, report: UnitReport) -> None:
        """A unit of work ended."""
        with self._changed:
            # The list itself: calls that end after their unit are still added to it.
            self.requests.append(_request(report, self._calls.setdefault(report.span_id, [])))
            self._changed.notify_all()

    def log(self, record: LogRecord) -> None:
        """A log record was made."""
        self.logs.append(record)

    def wait(self, requests: int, timeout_s: float) -> bool:
        """Wait until so many units have ended."""
        end = monotonic() + timeout_s
        with self._changed:
            return self._changed.wait_for(lambda: len(self.requests) >= requests, max(0.0, end - monotonic()))


def _call(span: ReadableSpan, asked: _Asked) -> Call:
    attributes = span.attributes or {}
    scope = span.instrumentation_scope
    resource, detail = classify(span.kind, attributes, scope.name if scope else "")
    # The ledger knows names that attributes do not say: which cache, which service behind a host.
    booked = asked.frame.resource if asked.frame is not None else ""
    if booked.partition(":")[0] == resource.partition(":")[0]:
        resource = booked
    seconds = ((span.end_time or 0) - (span.start_time or 0)) / 1e9
    text = _text(span.name, attributes) or detail
    return Call(resource, text, asked.place, seconds, failed=span.status.status_code is StatusCode.ERROR)


def _text(name: str, attributes: Any) -> str:
    """What was asked, in one line without values."""
    for key in _STATEMENT:
        statement = attributes.get(key)
        if statement:
            return redact_sql(str(statement))
    path = str(attributes.get("url.full") or attributes.get("http.url") or "").partition("://")[2].partition("/")[2]
    method = attributes.get("http.request.method") or attributes.get("http.method")
    if method:
        return f"{method} /{path.partition('?')[0]}"
    return next((str(attributes[key]) for key in _OPERATION if attributes.get(key)), name)


def _request(report: UnitReport, calls: list[Call]) -> Request:
    top = report.top
    verdict = None
    if top is not None:
        verdict = Verdict(top.cause, top.via, top.culprit, top.resource, top.share, top.detail)
    ledger = {resource: ns / 1e9 for resource, ns in report.shares.items()}
    return Request(
        report.kind, report.method, report.route, report.path, report.status, report.outcome, report.wall_ns / 1e9,
        ledger, verdict, report.request_id, report.trace_id, report.error_type, calls,
    )  # fmt: skip
