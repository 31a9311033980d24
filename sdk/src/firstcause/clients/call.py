"""One outgoing call: its frame, its span, and what it let out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Token
from time import time_ns
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from opentelemetry.trace import SpanKind

from .._guard import guard, report
from ..diagnosis.holders import Holders
from ..diagnosis.ledger import FRAME, Frame, close_frame, open_frame, stamp
from ..trace.context import format_baggage, format_traceparent, with_member

if TYPE_CHECKING:
    from .._recorder import Recorder
    from ..trace.span import Span


class Runtime:
    """Whom the adapters work for; None before `configure`."""

    recorder: Recorder | None = None


RUNTIME = Runtime()


class Call:
    """Context manager around one call of a client library.

    Opens a frame and a span and closes both once. An exception passes through, stamped with the
    frame; cancellation is told apart from failure, and a time-out of ours counts as failure.
    """

    __slots__ = ("_token", "attributes", "frame", "span")

    def __init__(
        self,
        resource: str,
        name: str,
        attributes: dict[str, Any],
        *,
        kind: SpanKind = SpanKind.CLIENT,
        detail: str = "",
        holders: Holders | None = None,
        span: bool = True,
    ) -> None:
        self.attributes = attributes
        self.frame: Frame | None = open_frame(resource, detail, holders=holders)
        recorder = RUNTIME.recorder
        self.span: Span | None = None
        if span and recorder is not None:
            self.span = recorder.provider.child(name, kind, attributes)
            self.span.frame = None
        self._token: Token[Frame | None] | None = None

    def __enter__(self) -> Self:
        if self.frame is not None:
            self._token = FRAME.set(self.frame)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._deactivate()
        with guard("clients.end"):
            self.end(error)

    def _deactivate(self) -> None:
        if self._token is not None:
            try:
                FRAME.reset(self._token)
            except ValueError:
                FRAME.set(self.frame.parent if self.frame is not None else None)
            self._token = None

    def end(self, error: BaseException | None = None, *, failed: bool = False, resource: str | None = None) -> None:
        """Close frame and span; `failed` without an exception is a reply such as a 503."""
        gone = was_cancelled(error)
        failed = failed or (error is not None and not gone)
        frame = self.frame
        if frame is not None:
            if error is not None:
                frame.timed_out = is_timeout(error)
                stamp(error, frame)
            close_frame(frame, resource=resource, failed=failed, cancelled=gone)
        span = self.span
        if span is not None:
            if error is not None:
                self.attributes["error.type"] = type(error).__qualname__
            if failed:
                span.status_code = 2
            span.end(time_ns())


class _Nothing(Call):
    """Stands in when opening a call failed: the host's call goes on, unwatched."""

    __slots__ = ()

    def __init__(self) -> None:
        self.attributes, self.frame, self.span, self._token = {}, None, None, None


def opens(begin: Callable[..., Call]) -> Callable[..., Call]:
    """Decorates what makes a `Call`: an error of ours there is reported, and never the host's."""

    def begun(*args: Any) -> Call:
        try:
            return begin(*args)
        except Exception as error:
            if not report(f"clients.{begin.__module__.rpartition('.')[2]}", error):
                raise
            return _Nothing()

    return begun


def was_cancelled(error: BaseException | None) -> bool:
    """Whether the caller gave the call up, which is nobody's failure."""
    return isinstance(error, (asyncio.CancelledError, GeneratorExit))


def is_timeout(error: BaseException) -> bool:
    """Whether `error` says that we gave up waiting, in the words of any library."""
    return isinstance(error, TimeoutError) or "Timeout" in type(error).__name__


def propagate(span: Span, host: str) -> list[tuple[str, str]]:
    """The headers a request to `host` carries: trace context for all, mark, baggage and request id for ours."""
    recorder = RUNTIME.recorder
    assert recorder is not None
    state = span.trace_state
    mark = recorder.mesh.outgoing(host, span.trace_id)
    if mark:
        state = with_member(state, "fc", mark)
    elif "fc=" in state:
        state = ",".join(p for p in state.split(",") if not p.strip().startswith("fc="))
    headers = [("traceparent", format_traceparent(span.trace_id, span.span_id, span.flags))]
    if state:
        headers.append(("tracestate", state))
    frame = FRAME.get()
    unit = None if frame is None else frame.ledger.unit
    if unit is not None and recorder.mesh.realm.own(host):
        headers.append(("x-request-id", unit.request_id))
        bag = dict(unit.baggage)
        if unit.session_id:
            bag["session.id"] = unit.session_id
        if bag:
            headers.append(("baggage", format_baggage(bag)))
    return headers
