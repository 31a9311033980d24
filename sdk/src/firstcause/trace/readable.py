"""A `ReadableSpan` view for processors and exporters of `opentelemetry.sdk`; made only when there are any."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, TraceFlags, TraceState

from .span import Span


class Readable(ReadableSpan):
    """The ended span as the SDK knows it; its private fields are resolved when somebody reads them."""

    def __init__(self, span: Span) -> None:  # the SDK's own would resolve everything now
        self._span = span

    def __getattr__(self, name: str) -> Any:
        resolve = _FIELDS.get(name)
        if resolve is None:
            raise AttributeError(name)
        value = resolve(self._span)
        setattr(self, name, value)
        return value

    @property
    def dropped_attributes(self) -> int:
        """Attributes beyond the limit."""
        return self._span.dropped_attributes

    @property
    def dropped_events(self) -> int:
        """Events beyond the limit."""
        return self._span.dropped_events

    @property
    def dropped_links(self) -> int:
        """Links beyond the limit."""
        return self._span.dropped_links


def _scope(span: Span) -> InstrumentationScope:
    scope = span.scope
    return InstrumentationScope(scope.name, scope.version, scope.schema_url, dict(scope.attributes))


def _link(trace_id: int, span_id: int, state: str, attributes: dict[str, Any], flags: int) -> Link:
    header = TraceState.from_header([state]) if state else None
    return Link(SpanContext(trace_id, span_id, True, TraceFlags(flags), header), attributes)


_FIELDS: dict[str, Callable[[Span], Any]] = {
    "_name": lambda span: span.name,
    "_context": Span.get_span_context,
    "_kind": lambda span: span.kind,
    "_parent": lambda span: span.parent,
    "_start_time": lambda span: span.start_ns,
    "_end_time": lambda span: span.end_ns,
    "_attributes": lambda span: span.attributes,
    "_events": lambda span: [Event(name, attributes, at) for name, at, attributes in span.events],
    "_links": lambda span: [_link(*link) for link in span.links],
    "_resource": lambda span: span.resource,
    "_status": lambda span: span.status,
    "_instrumentation_scope": _scope,
    "_instrumentation_info": lambda span: None,
}
