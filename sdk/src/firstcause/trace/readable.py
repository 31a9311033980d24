"""A `ReadableSpan` view for processors and exporters of `opentelemetry.sdk`; made only when there are any."""

from __future__ import annotations

from typing import Any

from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, TraceFlags, TraceState

from .span import Span


class Readable(ReadableSpan):
    """The ended span as the SDK knows it."""

    def __init__(self, span: Span) -> None:
        scope = span.scope
        super().__init__(
            span.name,
            context=span.get_span_context(),
            parent=span.parent,
            resource=span.resource,
            attributes=span.attributes,
            events=[Event(name, attributes, at) for name, at, attributes in span.events],
            links=[_link(*link) for link in span.links],
            kind=span.kind,
            instrumentation_scope=InstrumentationScope(scope.name, scope.version, scope.schema_url, dict(scope.attributes)),
            status=span.status,
            start_time=span.start_ns,
            end_time=span.end_ns,
        )


def _link(trace_id: int, span_id: int, state: str, attributes: dict[str, Any], flags: int) -> Link:
    header = TraceState.from_header([state]) if state else None
    return Link(SpanContext(trace_id, span_id, True, TraceFlags(flags), header), attributes)
