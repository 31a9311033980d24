"""The provider: makes spans, decides on sampling, and hands ended ones on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from time import time_ns
from typing import Any, NamedTuple

from opentelemetry import trace as api
from opentelemetry.context import Context
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, TraceFlags, TraceState

from .._guard import count, guard, report
from ..diagnosis.ledger import FRAME, Frame, close_frame
from ..export.otlp import Scope
from ..mesh.marks import KEY
from .classify import classify
from .context import Remote, new_span_id, new_trace_id, without
from .current import Current
from .kept import Kept
from .sampling import RANDOM, SAMPLED, Share
from .span import CLIENTS, Common, ServerSpan, Span
from .values import Limits, clean, cleaned, nanoseconds, printed

OURS = Scope("firstcause")
PENDING = "pending"
"""The resource of a frame whose span has not ended: its attributes are still to come."""
_CLIENT_ERRORS = range(400, 500)
_TOO_MANY = 429


class _Decision(NamedTuple):
    """A sampler's answer; `state` is the tracestate it wants."""

    sampled: bool
    recording: bool
    state: str


class TracerProvider(api.TracerProvider):
    """Behind the OpenTelemetry API; samplers, id generators and processors of its SDK plug in.

    Without a `sampler` everything is sampled unless its parent is not. `on_end` gets each sampled
    span when it ends, on the thread that ends it.
    """

    def __init__(
        self,
        resource_attributes: Mapping[str, Any],
        on_end: Callable[[Span], None],
        *,
        sampler: Any = None,
        id_generator: Any = None,
        limits: Limits | None = None,
        flush: Callable[[float], bool] | None = None,
    ) -> None:
        self.resource_attributes = dict(resource_attributes)
        self.limits = limits or Limits()
        self.processors: tuple[Any, ...] = ()
        self._on_end, self._flush, self._sampler = on_end, flush, sampler
        self.new_span_id: Callable[[], int] = new_span_id
        self.new_trace_id: Callable[[], int] = new_trace_id
        self._random = RANDOM
        if id_generator is not None:
            self.new_span_id = _sure(id_generator.generate_span_id, new_span_id, 64)
            self.new_trace_id = _sure(id_generator.generate_trace_id, new_trace_id, 128)
            self._random = RANDOM if getattr(id_generator, "is_trace_id_random", bool)() else 0
        self._resource: Any = None

    @property
    def resource(self) -> Any:
        """The resource as `opentelemetry.sdk` has it, made on first use."""
        if self._resource is None:
            from opentelemetry.sdk.resources import Resource

            self._resource = Resource(self.resource_attributes)
        return self._resource

    def add_span_processor(self, processor: Any) -> None:
        """Call an `opentelemetry.sdk` SpanProcessor for recording spans; slower than our pipeline."""
        self.processors = (*self.processors, processor)

    def get_tracer(
        self,
        instrumenting_module_name: str,
        instrumenting_library_version: str | None = None,
        schema_url: str | None = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> Tracer:
        """A tracer of the standard API."""
        found: list[tuple[str, Any]] = []
        for key, value in (attributes or {}).items():
            plain = clean(value, self.limits)
            if isinstance(plain, (str, int, float)):  # a scope has to be hashable
                found.append((printed(key), plain))
        name, version = printed(instrumenting_module_name or ""), printed(instrumenting_library_version or "")
        return Tracer(self, Scope(name, version, printed(schema_url or ""), tuple(sorted(found))))

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Flush processors and our own pipeline; whether all of it went out."""
        done = True
        for processor in self.processors:
            flushed = False
            with guard("processor.force_flush"):
                # One that returns nothing has not failed: only a plain False says that something stayed behind.
                flushed = processor.force_flush(timeout_millis) is not False
            done = done and flushed
        if self._flush is not None:
            flushed = False
            with guard("provider.flush"):
                flushed = self._flush(timeout_millis / 1000)
            done = done and flushed
        return done

    def shutdown(self) -> None:
        """Shut the processors down; our own pipeline belongs to `firstcause.shutdown`."""
        for processor in self.processors:
            with guard("processor.shutdown"):
                processor.shutdown()

    # -- own fast paths ------------------------------------------------------------------------

    def server_span(
        self,
        name: str,
        remote: Remote | None,
        start_ns: int,
        attributes: dict[str, Any],
        kind: SpanKind = SpanKind.SERVER,
        trusted: bool = True,
        common: Common | None = None,
    ) -> Span:
        """The local root of a unit; `remote` is the caller's context when its header was valid.

        Only a `trusted` caller decides about sampling. `common` are attributes beside its own.
        """
        make = Span if common is None else ServerSpan
        if remote is None:
            flags = SAMPLED | self._random
            span = make(
                self, name, kind, self.new_trace_id(), self.new_span_id(), 0, flags, start_ns, attributes, OURS
            )  # fmt: skip
        else:
            trace_id, parent, flags, state = remote
            flags = flags & 3 if trusted else flags & RANDOM | SAMPLED
            span = make(self, name, kind, trace_id, self.new_span_id(), parent, flags, start_ns, attributes, OURS)
            span.parent_remote = True
            if state:
                span.trace_state = _unmarked(state)
        if common is not None:
            span.shared = common  # type: ignore[attr-defined]
        if self._sampler is not None:
            self._sample(span, remote if trusted else None, ())
        if not span.flags & SAMPLED:
            span.kept = Kept(span)
        if self.processors and span.recording:
            self._started(span, None)
        return span

    def child(self, name: str, kind: SpanKind, attributes: dict[str, Any]) -> Span:
        """A child of the current span for adapters of ours: opens no frame, validates nothing."""
        span = self.under(api.get_current_span(), name, kind, time_ns(), attributes, OURS, ())
        if self.processors and span.recording:
            self._started(span, None)
        return span

    def under(
        self,
        parent: api.Span,
        name: str,
        kind: SpanKind,
        start_ns: int,
        attributes: dict[str, Any],
        scope: Scope,
        links: Sequence[Link],
    ) -> Span:
        """A span under `parent`, or a root when that is no valid one; processors are not told yet."""
        span_id = self.new_span_id()
        if isinstance(parent, Span):
            span = Span(
                self,
                name,
                kind,
                parent.trace_id,
                span_id,
                parent.span_id,
                parent.flags,
                start_ns,
                attributes,
                scope,
            )
            if parent.trace_state:
                span.trace_state = parent.trace_state
            if parent.kept is not None:
                span.kept = parent.kept
            if parent.frame is not None:
                span.frame = parent.frame
        else:
            context = parent.get_span_context()
            if context.is_valid:
                span = Span(
                    self, name, kind, context.trace_id, span_id, context.span_id, context.trace_flags & 3,
                    start_ns, attributes, scope,
                )  # fmt: skip
                span.trace_state = _unmarked(context.trace_state.to_header())
                span.parent_remote = context.is_remote
            else:
                flags = SAMPLED | self._random
                span = Span(self, name, kind, self.new_trace_id(), span_id, 0, flags, start_ns, attributes, scope)
        if self._sampler is not None:
            self._sample(span, parent if span.parent_span_id else None, links)
        return span

    # -- sampling --------------------------------------------------------------------------------

    def _sample(self, span: Span, parent: api.Span | Remote | None, links: Sequence[Link]) -> None:
        """Let the sampler decide about a fresh span; when it fails, the parent's decision stays."""
        if self._sampler.__class__ is Share:
            self._sampler.decide(span, parent is not None)
            return
        with guard("provider.sampler"):
            decision = self._decide(span, parent, links)
            span.flags = span.flags & RANDOM | decision.sampled
            span.recording, span.trace_state = decision.recording, decision.state

    def _decide(self, span: Span, parent: api.Span | Remote | None, links: Sequence[Link]) -> _Decision:
        if isinstance(parent, tuple):
            parent = _remote_span(parent)
        context = Context() if parent is None else api.set_span_in_context(parent, Context())
        state = TraceState.from_header([span.trace_state]) if span.trace_state else None
        result = self._sampler.should_sample(
            context, span.trace_id, span.name, span.kind, span.attributes, links, state
        )
        # Some samplers return the attributes they were given.
        if result.attributes and result.attributes is not span.attributes:
            span.set_attributes(dict(result.attributes))
        wanted = result.trace_state.to_header() if result.trace_state else span.trace_state
        return _Decision(result.decision.is_sampled(), result.decision.is_recording(), wanted)

    # -- starts and ends ---------------------------------------------------------------------------

    def _started(self, span: Span, context: Context | None) -> None:
        for processor in self.processors:
            with guard("processor.on_start"):
                processor.on_start(span, context)

    def ending(self, span: Span) -> None:
        """Tell processors of a span that is about to end and can still be changed."""
        for processor in self.processors:
            with guard("processor.on_ending"):
                ending = getattr(processor, "_on_ending", None)
                if ending is not None:
                    ending(span)

    def ended(self, span: Span) -> None:
        """Close the frame a span opened, then export it, or keep it with its unsampled unit."""
        if span.opened is not None:
            with guard("provider.frame"):
                _close(span, span.opened)
        kept = span.kept
        if span.flags & SAMPLED:
            try:
                self._on_end(span)
            except Exception as error:  # the guard as a plain handler: this is the hot path
                if not report("provider.on_end", error):
                    raise
        elif kept is not None and kept.root is not span:
            kept.keep(span, self._export)
        if self.processors and span.recording:
            self._process(span)
        if kept is not None and kept.root is span:
            kept.close()

    def _export(self, span: Span) -> None:
        with guard("provider.on_end"):
            self._on_end(span)

    def _process(self, span: Span) -> None:
        from .readable import Readable

        view = Readable(span)
        for processor in self.processors:
            with guard("processor.on_end"):
                processor.on_end(view)

    def export_kept(self, root: Span) -> None:
        """Export an unsampled unit after all: its kept children now, itself and later ones when they end."""
        if root.kept is None or root.flags & SAMPLED:
            return
        root.flags |= SAMPLED
        root.kept.export(self._export)


def _sure(given: Callable[[], int], own: Callable[[], int], bits: int) -> Callable[[], int]:
    """The host's generator of ids, and ours for those that it fails to give or that are none."""

    def new() -> int:
        with guard("provider.ids"):
            made = int(given())
            if 0 < made < 1 << bits:
                return made
            count("firstcause.self.errors", place="provider.ids")
        return own()

    return new


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
        start_ns = time_ns() if start_time is None else nanoseconds(start_time)
        most = provider.limits.attributes
        given = cleaned(attributes, most, provider.limits) if attributes else {}
        span = provider.under(parent, name, kind, start_ns, given, self._scope, links or ())
        if attributes and len(given) == most:
            span.dropped_attributes = len(attributes) - most
        if not (record_exception and set_status_on_exception):
            span.on_error(record_exception, set_status_on_exception)
        if links:
            _link(span, links)
        if kind in CLIENTS:
            _open(span)
        if provider.processors and span.recording:
            provider._started(span, context)
        return span

    def start_as_current_span(  # type: ignore[override]  # theirs is made by a decorator
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
    ) -> Current:
        """Start a span and make it current: a context manager, and a decorator of any function."""

        def start() -> Span:
            return self.start_span(
                name, context, kind, attributes, links, start_time, record_exception, set_status_on_exception
            )

        return Current(start, record_exception, set_status_on_exception, end_on_exit)


def _unmarked(state: str) -> str:
    """The caller's tracestate without its mark, which propagators would hand to third parties."""
    return without(state, KEY) if KEY in state else state


def _link(span: Span, links: Sequence[Link]) -> None:
    with guard("provider.links"):
        for link in links:
            span.add_link(link.context, link.attributes)


def _open(span: Span) -> None:
    """Open a frame under the innermost of: the context's frame, the parent span's."""
    with guard("provider.frame"):
        above, outer = FRAME.get(), span.frame
        if above is None:
            return
        if outer is not None and outer.ledger is above.ledger and outer.depth > above.depth:
            above = outer
        frame = above.ledger.open(PENDING, "", above)
        if frame is not None:
            span.frame = span.opened = frame


def _close(span: Span, frame: Frame) -> None:
    resource, detail = classify(span.kind, span.attributes, span.scope.name)
    frame.detail = frame.detail or detail or span.name[:120]
    if frame.resource != PENDING:
        resource = frame.resource  # an adapter inside knew better
    close_frame(frame, resource=resource, failed=_failed(span), cancelled=span.cancelled)


def _failed(span: Span) -> bool:
    """Whether the peer failed: a 4xx answer is the caller's own fault, except 429."""
    if span.status_code != 2:
        return False
    status = span.attributes.get("http.response.status_code") or span.attributes.get("http.status_code")
    return status not in _CLIENT_ERRORS or status == _TOO_MANY


def _remote_span(remote: Remote) -> NonRecordingSpan:
    trace_id, span_id, flags, state = remote
    header = TraceState.from_header([state]) if state else None
    return NonRecordingSpan(SpanContext(trace_id, span_id, True, TraceFlags(flags), header))
