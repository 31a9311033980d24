"""`engine="opentelemetry"`: the standard library makes the server span of FastAPI, inside our middleware.

Our middleware opens the unit as always; the library's tracer is *lent* the unit's span instead of making a second
one. The library names it and sets its attributes; ids, ledger, RED, canonical line and verdict stay ours, and so do
name and route in the end, since trace, metrics and line have to agree. Costs what the library costs.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import INVALID_SPAN, Link, SpanKind

from .._errors import ConfigError
from ..diagnosis.unit import current_unit
from ..trace.span import ServerSpan, Span
from ..trace.values import nanoseconds
from . import asgi

if TYPE_CHECKING:
    from .._recorder import Recorder

CONTRIB = "opentelemetry.instrumentation.fastapi"
_FIRST_END = "first_end_ns"


def attach(app: Any, recorder: Callable[[], Recorder | None]) -> str:
    """Put our middleware around a FastAPI application, and the library's server span inside it.

    FastAPI's own telemetry (0.142 and later) is taken where it exists and contrib has not instrumented the application
    already; else contrib. Other applications get our own server span. Raises `ConfigError` when neither is there.
    """
    if not hasattr(app, "openapi_url"):  # Starlette itself, which neither library serves
        return f"{asgi.attach(app, recorder)}; engine='opentelemetry' is for FastAPI, the server span is ours"
    if getattr(app, "_firstcause_attached", False):
        return "already attached"
    contrib = getattr(app, "_is_instrumented_by_opentelemetry", False)
    if hasattr(app, "_native_telemetry") and not contrib:
        made_by = _around_native(app, recorder)
    else:
        made_by = _around_contrib(app, recorder, instrumented=contrib)
    app._firstcause_attached = True
    return f"attached outermost, server span by {made_by}"


def _around_native(app: Any, recorder: Callable[[], Recorder | None]) -> str:
    app._telemetry.update(metrics=False, tracer_provider=Lender(app._telemetry.get("tracer_provider")))
    app._native_telemetry = Native(app._native_telemetry, recorder, app.routes)
    _wrap(app, lambda stack: stack)
    return "FastAPI"


def _around_contrib(app: Any, recorder: Callable[[], Recorder | None], *, instrumented: bool) -> str:
    if not instrumented:
        from opentelemetry.metrics import NoOpMeterProvider

        try:
            from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
        except ImportError:
            fix = "pip install opentelemetry-instrumentation-fastapi, or fastapi>=0.142"
            raise ConfigError([f"engine='opentelemetry' cannot work: {fix}"]) from None

        # RED is ours: counted twice it would be wrong in every dashboard.
        FastAPIInstrumentor.instrument_app(app, meter_provider=NoOpMeterProvider(), exclude_spans=["receive", "send"])
        if app.middleware_stack is not None:
            app.middleware_stack = app.build_middleware_stack()  # contrib is only in what is built from now on

    def wrapped(stack: Any) -> Any:
        _lend_to_contrib(stack)
        return asgi.Middleware(Lend(stack), recorder, routes=app.routes)

    _wrap(app, wrapped)
    return CONTRIB


def _wrap(app: Any, wrap: Callable[[Any], Any]) -> None:
    """Wrap the application's stack now or whenever it is built."""
    build = app.build_middleware_stack

    def build_wrapped() -> Any:
        asgi.observe_innermost(app)
        return wrap(build())

    app.build_middleware_stack = build_wrapped
    if app.middleware_stack is not None:
        app.middleware_stack = wrap(app.middleware_stack)


def _lend_to_contrib(stack: Any) -> None:
    """Give contrib's middleware, wherever it is in the stack, a tracer that lends; and the stable names."""
    for layer in list(layers(stack)):
        if type(layer).__module__ == "opentelemetry.instrumentation.asgi":
            layer.tracer, layer.app = _Tracer(layer.tracer), Restore(layer.app)
            # Contrib's default is the old names; a choice of the host's stands.
            if "OTEL_SEMCONV_STABILITY_OPT_IN" not in os.environ:
                from opentelemetry.instrumentation._semconv import _StabilityMode

                layer._sem_conv_opt_in_mode = _StabilityMode.HTTP


def layers(stack: Any) -> Iterator[Any]:
    """Every ASGI layer from the outside in, as far as they keep the next one under `.app`."""
    seen: set[int] = set()
    while stack is not None and id(stack) not in seen:
        seen.add(id(stack))
        yield stack
        stack = getattr(stack, "app", None)


class Native:
    """In the place of FastAPI's telemetry, which would run outside of everything: ours first, then theirs."""

    def __init__(self, native: Any, recorder: Callable[[], Recorder | None], routes: Sequence[Any]) -> None:
        self._native, self._recorder, self._routes = native, recorder, routes

    def enabled(self) -> bool:
        """What FastAPI asks before each request."""
        return True

    async def __call__(
        self, *, app: asgi.App, scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send, legacy_otel: bool = False
    ) -> None:
        """Called by FastAPI with what is inside: `app` is the application without telemetry."""

        async def theirs(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
            await self._native(app=Restore(app), scope=scope, receive=receive, send=send, legacy_otel=legacy_otel)

        await asgi.Middleware(Lend(theirs), self._recorder, routes=self._routes)(scope, receive, send)


class Lend:
    """Hides the unit's span from the library, which would make a child of it, and takes it back in the end."""

    def __init__(self, app: asgi.App) -> None:
        self.app = app

    async def __call__(self, scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        """Pass everything on."""
        span = trace.get_current_span()
        if span is not _lendable():  # no unit, or one whose span an outer application has been lent
            await self.app(scope, receive, send)
            return
        token = otel_context.attach(trace.set_span_in_context(INVALID_SPAN))
        try:
            await self.app(scope, receive, send)
        finally:
            otel_context.detach(token)
            _take_back(span)


class Restore:
    """Behind the library: a request that it leaves out (excluded addresses) still has our span for its children."""

    def __init__(self, app: asgi.App) -> None:
        self.app = app

    async def __call__(self, scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        """Pass everything on."""
        span = _lendable() if trace.get_current_span() is INVALID_SPAN else None
        if span is None:
            await self.app(scope, receive, send)
            return
        token = otel_context.attach(trace.set_span_in_context(span))
        try:
            await self.app(scope, receive, send)
        finally:
            otel_context.detach(token)


class Held(Span):
    """A lent span: the library and our middleware both end it, in either order, and the second one means it."""

    __slots__ = ()

    def is_recording(self) -> bool:
        """Not after the first end: what contrib records then, it would have recorded on an ended span."""
        return _FIRST_END not in self.__dict__ and super().is_recording()

    def set_attribute(self, key: str, value: Any) -> None:
        """As the library wants it, except for the query, which is on the span already, without its values."""
        if key not in ("url.query", "http.target", "http.url"):
            super().set_attribute(key, value)

    def end(self, end_time: int | None = None) -> None:
        """The time of the first call is the end of the request; the second one may still set attributes before."""
        first = self.__dict__.pop(_FIRST_END, None)
        if first is None:
            self.__dict__[_FIRST_END] = nanoseconds(end_time)
            return
        self.__class__ = Span  # type: ignore[assignment]  # not a slot differs
        self.end(first)


def _take_back(span: Any) -> None:
    """The library has returned: from here on one end is enough, and if that was ours, it has been."""
    if type(span) is not Held:
        return
    first = span.__dict__.pop(_FIRST_END, None)
    span.__class__ = Span  # type: ignore[assignment]
    unit = current_unit()
    if first is not None and unit is not None and unit.ledger.wall:
        span.end(first)


class Lender(trace.TracerProvider):
    """Another provider, None for the global one, whose tracers lend the unit's span to who starts a SERVER span.

    Without `add_span_processor`, so that FASTAPI_OTEL_AUTO_CONFIGURE cannot add a second exporter.
    """

    def __init__(self, provider: trace.TracerProvider | None) -> None:
        self._provider = provider

    def get_tracer(self, instrumenting_module_name: str, *args: Any, **kwargs: Any) -> trace.Tracer:
        provider = self._provider or trace.get_tracer_provider()
        return _Tracer(provider.get_tracer(instrumenting_module_name, *args, **kwargs))


class _Tracer(trace.Tracer):
    """Everything but the server span of the current unit goes to the tracer it stands for."""

    def __init__(self, tracer: trace.Tracer) -> None:
        self._tracer = tracer

    def start_span(
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Mapping[str, Any] | None = None,
        links: Sequence[Link] | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> trace.Span:
        span = _lendable() if kind is SpanKind.SERVER else None
        if span is None:
            return self._tracer.start_span(name, context, kind, attributes, links, *args, **kwargs)
        if isinstance(span, ServerSpan):
            span.part()
        # Not a wrapper: contexts and the unit hold this very object.
        span.__class__ = Held
        span.update_name(name)
        span.set_attributes(attributes or {})
        return span

    def start_as_current_span(self, *args: Any, **kwargs: Any) -> Any:
        return self._tracer.start_as_current_span(*args, **kwargs)


def _lendable() -> Span | None:
    unit = current_unit()
    span: Any = None if unit is None else unit.span
    return span if type(span) in (Span, ServerSpan) and not span.end_ns else None
