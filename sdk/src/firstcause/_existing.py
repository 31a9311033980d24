"""Set-ups that were there before us: joined, never doubled.

A provider of the OpenTelemetry SDK keeps its processors and exporters. Our spans go through them as
its own do, in one trace; its client and producer spans are booked in our ledgers. Nothing is exported twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opentelemetry import trace
from opentelemetry.trace import SpanKind, StatusCode

from .diagnosis.ledger import Frame, close_frame, open_frame
from .trace.classify import classify
from .trace.span import Span

CLIENTS = (SpanKind.CLIENT, SpanKind.PRODUCER)
MOST = 4096
"""Spans of theirs that may be open at one time and still be booked."""


def existing() -> Any:
    """The provider of the OpenTelemetry SDK that was set before; None when there is none, or one of another make."""
    current = trace.get_tracer_provider()
    known = hasattr(current, "add_span_processor") and hasattr(current, "_active_span_processor")
    return current if known else None


def joined_resource(own: Mapping[str, Any], theirs: Any) -> dict[str, Any]:
    """Our resource with what theirs says; a name the SDK made up does not count."""
    said = {name: value for name, value in theirs.resource.attributes.items() if value != "unknown_service"}
    return {**own, **said}


def has_processors(theirs: Any) -> bool:
    """Whether their spans go anywhere at all."""
    # Where another version keeps them elsewhere, take them to be there: nothing is exported twice.
    return bool(getattr(theirs._active_span_processor, "_span_processors", True))


def join(ours: Any, theirs: Any) -> None:
    """Send our spans through their processors, now and later ones, and book their spans in our ledgers."""
    ours.add_span_processor(theirs._active_span_processor)
    theirs.add_span_processor(_Bridge())


class _Bridge:
    """A SpanProcessor on their provider: each of their client spans is a frame of the unit it runs in."""

    def __init__(self) -> None:
        self._open: dict[tuple[int, int], Frame] = {}

    def on_start(self, span: Any, parent_context: Any = None) -> None:
        # Ours come by here too, since they go through these processors: they have their frames.
        if isinstance(span, Span) or span.kind not in CLIENTS or len(self._open) >= MOST:
            return
        # What it is for is told at its end: many libraries set attributes late.
        frame = open_frame("pending", span.name[:120])
        if frame is not None:
            self._open[_key(span)] = frame

    def _on_ending(self, span: Any) -> None:
        """Part of the SDK's interface."""

    def on_end(self, span: Any) -> None:
        frame = self._open.pop(_key(span), None) if self._open else None
        if frame is None:
            return
        scope = getattr(span, "instrumentation_scope", None)
        resource, detail = classify(span.kind, span.attributes, scope.name if scope else "")
        frame.detail = detail or frame.detail
        close_frame(frame, resource=resource, failed=span.status.status_code is StatusCode.ERROR)

    def shutdown(self) -> None:
        self._open.clear()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return True


def _key(span: Any) -> tuple[int, int]:
    context = span.context
    return context.trace_id, context.span_id


def replace_contrib(app: Any) -> str:
    """Take the place of a contrib instrumentation on `app`, and keep it from coming later; says so, or ""."""
    if hasattr(app, "_firstcause_attached"):
        return ""
    replaced = _uninstrumented(app) if getattr(app, "_is_instrumented_by_opentelemetry", False) else ""
    # Contrib's own mark, by which it leaves an application alone.
    app._is_instrumented_by_opentelemetry = True
    return replaced


def _uninstrumented(app: Any) -> str:
    from importlib import import_module

    name, built = _framework(app), getattr(app, "middleware_stack", None)
    module = import_module(f"opentelemetry.instrumentation.{name.lower()}")
    getattr(module, f"{name}Instrumentor").uninstrument_app(app)
    if built is None and hasattr(app, "middleware_stack"):
        app.middleware_stack = None  # theirs builds it, after which Starlette takes no more middleware
    return f"in place of opentelemetry-instrumentation-{name.lower()}"


def _framework(app: Any) -> str:
    known = ("FastAPI", "Starlette", "Flask")
    names = [kind.__name__ for kind in type(app).__mro__]
    return next((name for name in known if name in names), names[0])
