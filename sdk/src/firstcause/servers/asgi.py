"""ASGI: server span, ids, RED, ledger and canonical line in one pass, outermost.

Outermost means around the server-error middleware, so that every response carries its
X-Request-ID, 500s included. The unit ends with the last body byte, except for a 5xx: its
exception arrives only after the body, so there it ends when the application does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

from opentelemetry import context as otel_context
from opentelemetry import trace

from .._guard import count, guard, report
from .._watch import WATCH
from ..diagnosis.ledger import FRAME
from ..diagnosis.unit import Unit
from .failure import note_failure
from .incoming import identify, route_of

if TYPE_CHECKING:
    from .._recorder import Recorder

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

STREAM_NS = 50_000_000
"""A body that goes on this long after its first message, without a Content-Length, is a stream."""


class Middleware:
    """Wraps any ASGI application; `configure(app=…)` puts it around FastAPI and Starlette ones."""

    def __init__(self, app: App, recorder: Callable[[], Recorder | None]) -> None:
        self.app = app
        self._recorder = recorder

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection; anything but HTTP passes straight through."""
        recorder = self._recorder() if scope["type"] == "http" else None
        call: _Call | None = None
        if recorder is not None and "firstcause" not in scope:
            with guard("asgi.begin"):
                call = _Call(recorder, scope, receive, send)
        if call is None:
            await self.app(scope, receive, send)
            return
        frame_token = FRAME.set(call.unit.ledger.root)
        span_token = otel_context.attach(trace.set_span_in_context(call.unit.span, call.context))
        try:
            await self.app(scope, call.receive, call.send)
        except BaseException as error:
            call.failed(error)
            raise
        finally:
            call.done()
            FRAME.reset(frame_token)
            otel_context.detach(span_token)


class _Call:
    """One request on its way through: what was received, what was sent, and when it is over."""

    __slots__ = (
        "_first_body", "_over", "_receive", "_send", "context", "expects_body", "gone", "recorder", "scope",
        "status", "unit",
    )  # fmt: skip

    def __init__(self, recorder: Recorder, scope: Scope, receive: Receive, send: Send) -> None:
        self.recorder, self.scope, self._receive, self._send = recorder, scope, receive, send
        self.status = self._first_body = 0
        self._over = self.gone = False
        scope["firstcause"] = True
        headers = dict(scope["headers"])
        clock = WATCH.clock_for(asyncio.get_running_loop())
        self.unit: Unit = recorder.begin("server", scope["method"], scope["path"], clock)
        try:
            self.unit.find_route = self._route
            self.unit.scheme = scope.get("scheme", "http")
            self.expects_body = b"content-length" in headers or b"transfer-encoding" in headers
            client = scope.get("client")
            self.context = identify(recorder, self.unit, headers, client[0] if client else "")
        except BaseException:
            WATCH.leave()
            raise

    def _route(self) -> str:
        return route_of(self.scope)

    async def receive(self) -> Message:
        """Receive for the application; waiting for the caller's body is booked to `client:upload`."""
        frame = self.unit.ledger.root
        waiting = frame.ledger.open("client:upload", "", frame) if self.expects_body else None
        try:
            message = await self._receive()
        finally:
            if waiting is not None:
                waiting.ledger.close(waiting, None, False, False)
        kind = message["type"]
        if kind == "http.disconnect":
            self.gone = not self._over
        elif not message.get("more_body", False):
            self.expects_body = False
        return message

    async def send(self, message: Message) -> None:
        """Send for the application; adds our headers, and ends the unit with the last body byte."""
        kind = message["type"]
        if kind == "http.response.start":
            with guard("asgi.start"):
                message = self._start(message)
            await self._send(message)
            return
        if kind != "http.response.body":
            await self._send(message)
            return
        more = message.get("more_body", False)
        if more or self._first_body:
            await self._send_streaming(message)
        else:
            await self._send(message)
        if not more and self.status < 500:
            self._finish()

    async def _send_streaming(self, message: Message) -> None:
        ledger = self.unit.ledger
        frame = ledger.open("client:download", "", ledger.root)
        try:
            await self._send(message)
        finally:
            if frame is not None:
                ledger.close(frame, None, False, False)
        now = perf_counter_ns()
        if not self._first_body:
            self._first_body = now
        elif now - self._first_body > STREAM_NS and not self.unit.has_length:
            self.unit.streamed = True

    def _start(self, message: Message) -> Message:
        unit = self.unit
        self.status = message["status"]
        headers = []
        for pair in message.get("headers", ()):
            name = pair[0].lower()
            if name == b"content-length":
                unit.has_length = True
            if name != b"x-request-id":
                headers.append(pair)
        headers.append((b"x-request-id", unit.request_id.encode("latin-1")))
        if unit.mark_verified:
            answer = self.recorder.answer(unit, self.status)
            if answer:
                headers.append((b"server-timing", answer.encode("latin-1")))
        unit.first_byte = perf_counter_ns()
        return {**message, "headers": headers}

    def failed(self, error: BaseException) -> None:
        """The application raised: remember what and where, for the verdict."""
        if isinstance(error, Exception):
            note_failure(self.unit, error)
        elif isinstance(error, asyncio.CancelledError):
            self.gone = True

    def done(self) -> None:
        """The application returned: whatever has not been reported yet is over now."""
        if not self._over:
            if self.status == 0 and not self.gone:
                self.status = 500
            self._finish()

    def _finish(self) -> None:
        if self._over:
            return
        self._over = True
        try:
            status = self.status if self.status and not self.gone else self.status or 499
            self.recorder.finish(self.unit, status, gone=self.gone)
        except Exception as error:  # the guard as a plain handler: this is the hot path
            if not report("asgi.finish", error):
                raise
        else:
            self.unit.failure = None


class Observer:
    """Innermost: sees an unhandled exception before the 500 is sent, so that the answer can name it."""

    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass everything on; note what is raised."""
        try:
            await self.app(scope, receive, send)
        except Exception as error:
            frame = FRAME.get()
            if frame is not None and frame.ledger.unit is not None:
                note_failure(frame.ledger.unit, error)
            raise


def attach(app: Any, recorder: Callable[[], Recorder | None]) -> str:
    """Put the middleware around a FastAPI or Starlette application, before or after its stack is built."""
    if getattr(app, "_firstcause_attached", False):
        return "already attached"
    app._firstcause_attached = True
    _mute_native(app)
    build = app.build_middleware_stack

    def build_wrapped() -> Any:
        _observe_innermost(app)
        return Middleware(build(), recorder)

    app.build_middleware_stack = build_wrapped
    if app.middleware_stack is not None:
        app.middleware_stack = Middleware(app.middleware_stack, recorder)
    return "attached outermost"


def _observe_innermost(app: Any) -> None:
    from starlette.middleware import Middleware as Entry

    if not any(entry.cls is Observer for entry in app.user_middleware):
        app.user_middleware.append(Entry(Observer))


def _mute_native(app: Any) -> None:
    """FastAPI ≥ 0.142 emits a server span of its own; two spans for one request would be one too many."""
    native = getattr(app, "_telemetry", None)
    if isinstance(native, dict):
        native.update(tracing=False, metrics=False, logs=False)
    elif native is not None:
        count("firstcause.self.errors", place="asgi.native")
