"""One outgoing call: its frame, its span, its duration, and what it let out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import ContextVar, Token
from functools import lru_cache
from time import time_ns
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY, get_value
from opentelemetry.trace import INVALID_SPAN, SpanKind, get_current_span

from .._guard import report
from ..diagnosis.holders import Holders
from ..diagnosis.ledger import FRAME, Frame, leave, stamp
from ..trace.context import format_baggage, format_traceparent, with_member, without
from .deadlines import expired

if TYPE_CHECKING:
    from .._recorder import Recorder
    from ..trace.span import Span

HTTP_DURATION, DB_DURATION = "http.client.request.duration", "db.client.operation.duration"


class Runtime:
    """Whom the adapters work for; None before `configure`."""

    recorder: Recorder | None = None


RUNTIME = Runtime()
_BARE: ContextVar[str] = ContextVar("firstcause_bare_call", default="")
"""The resource of the call that is going on where no ledger says so: outside units, and after their end."""


def idle() -> bool:
    """Nobody to work for: not configured, or an exporter of OpenTelemetry is at work, whose calls would feed itself."""
    return RUNTIME.recorder is None or bool(get_value(_SUPPRESS_INSTRUMENTATION_KEY))


def watched() -> bool:
    """Whether a call is worth watching: there is a unit to book it to, or a span to hang it under."""
    if idle():
        return False
    return FRAME.get() is not None or get_current_span() is not INVALID_SPAN


def within(*kinds: str) -> bool:
    """Whether a call of such a kind (`http:`) is going on here already: two libraries, one call."""
    frame = FRAME.get()
    if frame is not None and frame.resource.startswith(kinds):
        return True
    return _BARE.get().startswith(kinds)


class Call:
    """Context manager around one call of a client library.

    Opens a frame and a span and closes both once. An exception passes through, stamped with the
    frame; cancellation is told apart from failure, and a time-out of ours counts as failure.
    With an `instrument` the duration is counted under `key` and what `ending` adds to it.
    """

    __slots__ = ("_bare", "_over", "_token", "attributes", "frame", "instrument", "key", "span")

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
        instrument: str = "",
        key: tuple[str, ...] = (),
    ) -> None:
        self.attributes, self.instrument, self.key = attributes, instrument, key
        self._token: Token[Frame | None] | None = None
        self._bare: Token[str] | None = None
        self._over = False
        self.span: Span | None = None
        above = FRAME.get()
        self.frame: Frame | None = None if above is None else above.ledger.open(resource, detail, above, holders)
        recorder = RUNTIME.recorder
        if span and recorder is not None:
            self.span = recorder.provider.child(name, kind, attributes)
            self.span.frame = None
            if self.frame is None:
                self._bare = _BARE.set(resource)

    def __enter__(self) -> Self:
        if self.frame is not None:
            self._token = FRAME.set(self.frame)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._token is not None:
            leave(self._token)
            self._token = None
        try:
            # The guard as a plain handler: this is a hot path.
            self.end(error)
        except Exception as ours:
            if not report("clients.end", ours):
                raise

    def end(self, error: BaseException | None = None, *, failed: bool = False, resource: str | None = None) -> None:
        """Close frame and span; `failed` without an exception is a reply such as a 503."""
        frame = self.frame
        # Ended by its reply already, of which the library may have made an exception.
        if self._over:
            if error is not None:
                stamp(error, frame)
            return
        self._over = True
        gone = late = False
        if error is not None:
            gone, late = was_cancelled(error), is_timeout(error)
            failed = not gone
        if frame is not None:
            if error is not None:
                frame.timed_out = late
                stamp(error, frame)
            frame.ledger.close(frame, resource, failed, gone)
        if self.span is not None:
            self._end_span(self.span, error, failed, late)

    def _end_span(self, span: Span, error: BaseException | None, failed: bool, late: bool) -> None:
        if self._bare is not None:
            try:
                _BARE.reset(self._bare)
            except ValueError:
                # Ended in another context (a callback's), where nothing of it is going on.
                _BARE.set("")
        if error is not None:
            self._name_error(error, late)
        if failed:
            span.status_code = 2
        ended = time_ns()
        span.end(ended)
        if self.instrument:
            self._measure(span, ended)

    def _name_error(self, error: BaseException, late: bool) -> None:
        own = late and isinstance(error, asyncio.CancelledError)
        self.attributes["error.type"] = "TimeoutError" if own else type(error).__qualname__
        state = getattr(error, "sqlstate", None)
        if state:
            self.attributes["db.response.status_code"] = str(state)

    def _measure(self, span: Span, ended: int) -> None:
        """The wait as the ledger has it, else by the span's own clock."""
        recorder, frame = RUNTIME.recorder, self.frame
        if recorder is not None:
            ns = frame.end - frame.start if frame is not None and frame.end else ended - span.start_ns
            # An exemplar has to lead to a trace that is exported.
            trace_id = span.trace_id if span.flags & 1 else 0
            recorder.metrics.call(self.instrument, self.ending(), ns / 1e9, trace_id, span.start_ns)

    def ending(self) -> tuple[str, ...]:
        """The values of the instrument's attributes, now that the call is over."""
        return (*self.key, self.attributes.get("error.type", ""))


class _Nothing(Call):
    """Stands in when opening a call failed: the host's call goes on, unwatched."""

    __slots__ = ()

    def __init__(self) -> None:
        self.attributes, self.frame, self.span, self._token, self._over = {}, None, None, None, False
        self.instrument, self.key, self._bare = "", (), None


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
    """Whether the caller gave the call up, which is nobody's failure; a deadline of its own is one."""
    if isinstance(error, asyncio.CancelledError):
        return not expired()
    return isinstance(error, GeneratorExit)


def is_timeout(error: BaseException) -> bool:
    """Whether `error` says that we gave up waiting, in the words of any library."""
    if isinstance(error, asyncio.CancelledError):
        return expired()
    # urllib3 wraps the time-out of the last attempt.
    cause = getattr(error, "reason", None)
    return isinstance(error, TimeoutError) or any("Timeout" in type(e).__name__ for e in (error, cause))


def propagate(span: Span, host: str) -> list[tuple[str, str]]:
    """The headers a request to `host` carries: trace context for all, mark, baggage and request id for ours."""
    recorder = RUNTIME.recorder
    assert recorder is not None
    state, mesh = span.trace_state, recorder.mesh
    mark = mesh.outgoing(host, span.trace_id)
    if mark:
        state = with_member(state, "fc", mark)
    elif state:
        # Whoever has the mark that came in is told verdicts: it must not leave the realm.
        state = without(state, "fc")
    headers = [("traceparent", format_traceparent(span.trace_id, span.span_id, span.flags))]
    if state:
        headers.append(("tracestate", state))
    frame = FRAME.get()
    unit = None if frame is None else frame.ledger.unit
    if unit is not None and mesh.realm.own(host):
        headers.append(("x-request-id", unit.request_id))
        if unit.baggage or unit.session_id:
            headers.append(("baggage", _baggage(tuple(unit.baggage.items()), unit.session_id)))
    return headers


@lru_cache(maxsize=256)
def _baggage(items: tuple[tuple[str, str], ...], session: str) -> str:
    """All calls of a unit carry the same."""
    return format_baggage(dict(items) | ({"session.id": session} if session else {}))
