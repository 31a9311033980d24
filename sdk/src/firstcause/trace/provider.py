"""The provider: makes spans, decides on sampling, and hands ended ones on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from time import time_ns
from typing import Any

from opentelemetry import trace as api
from opentelemetry.context import Context
from opentelemetry.trace import Link, SpanKind
from opentelemetry.util._decorator import _agnosticcontextmanager

from .._guard import guard
from ..diagnosis.ledger import FRAME, close_frame
from ..export.otlp import Scope
from .classify import classify
from .context import Remote, new_span_id, new_trace_id
from .span import CLIENTS, Limits, Span

KEPT = 64
"""Child spans of an unsampled unit kept until its end, in case it turns out slow or failed."""
OURS = Scope("firstcause")


class TracerProvider(api.TracerProvider):
    """Behind the OpenTelemetry API; samplers, id generators and processors of its SDK plug in."""

    def __init__(
        self,
        resource_attributes: Mapping[str, Any],
        on_end: Callable[[Span], None],
        *,
        sampler: Any = None,
        limits: Limits | None = None,
    ) -> None:
        self.resource_attributes = dict(resource_attributes)
        self.limits = limits or Limits()
        self.new_span_id = new_span_id
        self._on_end = on_end
        self._sampler = sampler
        self._processors: list[Any] = []
        self._resource: Any = None

    @property
    def resource(self) -> Any:
        """The resource as `opentelemetry.sdk` has it, made on first use."""
        if self._resource is None:
            from opentelemetry.sdk.resources import Resource

            self._resource = Resource(self.resource_attributes)
        return self._resource

    def add_span_processor(self, processor: Any) -> None:
        """Call an `opentelemetry.sdk` SpanProcessor for every sampled span; slower than our own pipeline."""
        self._processors.append(processor)

    def get_tracer(
        self,
        instrumenting_module_name: str,
        instrumenting_library_version: str | None = None,
        schema_url: str | None = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> Tracer:
        """A tracer of the standard API."""
        pairs = tuple(sorted((attributes or {}).items()))
        return Tracer(self, Scope(instrumenting_module_name, instrumenting_library_version or "", schema_url or "", pairs))

    # -- own fast paths ------------------------------------------------------------------------

    def server_span(
        self,
        name: str,
        remote: Remote | None,
        start_ns: int,
        attributes: dict[str, Any],
        kind: SpanKind,
        *,
        trusted: bool = True,
    ) -> Span:
        """The local root of a unit; `remote` is the caller's context when its header was valid.

        Only a `trusted` caller decides about sampling.
        """
        if remote is None:
            trace_id, parent, state = new_trace_id(), 0, ""
            sampled = self._sample(None, trace_id, name, kind, attributes)
        else:
            trace_id, parent, flags, state = remote
            sampled = bool(flags & 1) if trusted else self._sample(None, trace_id, name, kind, attributes)
        span = Span(self, name, kind, trace_id, parent, int(sampled), start_ns, attributes, OURS)
        span.trace_state, span.parent_remote = state, parent != 0
        if not sampled:
            span.kept = []
        self._started(span, None)
        return span

    def child(self, name: str, kind: SpanKind, attributes: dict[str, Any]) -> Span:
        """A child of the current span for adapters of ours: opens no frame, validates nothing."""
        parent = api.get_current_span()
        span = self._under(parent, name, kind, time_ns(), attributes, OURS)
        self._started(span, None)
        return span

    def _under(
        self, parent: api.Span, name: str, kind: SpanKind, start_ns: int, attributes: dict[str, Any], scope: Scope
    ) -> Span:
        if isinstance(parent, Span):
            span = Span(
                self, name, kind, parent.trace_id, parent.span_id, parent.flags, start_ns, attributes, scope
            )
            span.trace_state, span.kept, span.frame = parent.trace_state, parent.kept, parent.frame
            return span
        context = parent.get_span_context()
        if context.is_valid:
            sampled = bool(context.trace_flags & 1)
            span = Span(self, name, kind, context.trace_id, context.span_id, int(sampled), start_ns, attributes, scope)
            span.trace_state, span.parent_remote = context.trace_state.to_header(), context.is_remote
            return span
        trace_id = new_trace_id()
        sampled = self._sample(None, trace_id, name, kind, attributes)
        return Span(self, name, kind, trace_id, 0, int(sampled), start_ns, attributes, scope)

    def _sample(
        self, context: Context | None, trace_id: int, name: str, kind: SpanKind, attributes: dict[str, Any]
    ) -> bool:
        if self._sampler is None:
            return True
        with guard("provider.sampler"):
            result = self._sampler.should_sample(context or Context(), trace_id, name, kind, attributes, ())
            attributes.update(result.attributes or {})
            return bool(result.decision.is_sampled())
        return True

    # -- ends ----------------------------------------------------------------------------------

    def _started(self, span: Span, context: Context | None) -> None:
        for processor in self._processors:
            with guard("processor.on_start"):
                processor.on_start(span, context)

    def ended(self, span: Span) -> None:
        """Export a sampled span, keep an unsampled unit's one, and close the frame it opened."""
        frame = span.frame
        if frame is not None and frame.resource == PENDING and span.kind in CLIENTS:
            with guard("provider.frame"):
                frame.detail = frame.detail or span.name
                resource = classify(span.attributes, span.scope.name)
                close_frame(frame, resource=resource, failed=span.status_code == 2)
        if span.flags & 1:
            self._on_end(span)
            if self._processors:
                self._process(span)
        elif span.kept is not None and len(span.kept) < KEPT:
            span.kept.append(span)

    def _process(self, span: Span) -> None:
        from .readable import Readable

        view = Readable(span)
        for processor in self._processors:
            with guard("processor.on_end"):
                ending = getattr(processor, "_on_ending", None)
                if ending is not None:
                    ending(span)
                processor.on_end(view)

    def export_kept(self, root: Span) -> None:
        """Export an unsampled unit after all: its kept children now, itself when it ends."""
        kept, root.kept = root.kept or [], None
        for span in (*kept, root):
            span.flags |= 1
        for span in kept:
            self._on_end(span)


PENDING = "pending"


class Tracer(api.Tracer):
    """The standard API: spans of users and of instrumentation libraries."""

    def __init__(self, provider: TracerProvider, scope: Scope) -> None:
        self._provider, self._scope = provider, scope

    def start_span(
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Mapping[str, Any] | None = None,
        links: Sequence[Link] | None = None,
        start_time: int | None = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
    ) -> Span:
        """Start a span; CLIENT and PRODUCER ones also open a frame, classified when they end."""
        provider = self._provider
        parent = api.get_current_span(context)
        span = provider._under(parent, name, kind, start_time or time_ns(), {}, self._scope)
        if attributes:
            span.set_attributes(attributes)
        for link in links or ():
            span.add_link(link.context, link.attributes)
        if kind in CLIENTS:
            span.frame = self._frame(parent)
        provider._started(span, context)
        return span

    @staticmethod
    def _frame(parent: api.Span) -> Any:
        above = FRAME.get()
        outer = parent.frame if isinstance(parent, Span) else None
        if outer is not None and above is not None and outer.depth > above.depth and outer.ledger is above.ledger:
            above = outer
        return None if above is None else above.ledger.open(PENDING, "", above)

    @_agnosticcontextmanager
    def start_as_current_span(  # type: ignore[override]
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Mapping[str, Any] | None = None,
        links: Sequence[Link] | None = None,
        start_time: int | None = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
        end_on_exit: bool = True,
    ) -> Iterator[Span]:
        """Start a span and make it current."""
        span = self.start_span(name, context, kind, attributes, links, start_time)
        with api.use_span(
            span,
            end_on_exit=end_on_exit,
            record_exception=record_exception,
            set_status_on_exception=set_status_on_exception,
        ):
            yield span
