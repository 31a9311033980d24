"""ASGI: server span, ids, RED, ledger and canonical line in one pass, outermost.

Outermost means around the server-error middleware, so that every response carries its
X-Request-ID, 500s included. The unit ends with the last body byte, except for a 5xx: its
exception arrives only after the body, so there it ends when the application does.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

from .._guard import count, guard, report
from .._watch import WATCH
from ..conventions import HTTP_METHODS
from ..diagnosis.clock import Clock
from ..diagnosis.ledger import FRAME, leave
from ..diagnosis.unit import Unit
from ..trace.current import activate, deactivate
from .failure import note_failure
from .incoming import LOOPBACK, STREAM_NS, header_map, identify, matched, route_of

if TYPE_CHECKING:
    from .._recorder import Recorder

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
_READ = frozenset((b"content-length", b"content-type", b"x-request-id"))
"""What is looked at of an answer's headers."""
PLAIN = Clock()
"""Stands in until a middleware knows its loop."""


class Middleware:
    """Wraps any ASGI application; `configure(app=…)` puts it around FastAPI and Starlette ones.

    `routes` are the application's own, to name what was mounted. `mute` keeps FastAPI's native
    telemetry quiet, mounted applications' included: two server spans would be one too many.
    """

    def __init__(
        self, app: App, recorder: Callable[[], Recorder | None], *, routes: Sequence[Any] = (), mute: bool = True
    ) -> None:
        self.app, self.routes = app, routes
        self._recorder, self._mute = recorder, mute
        self._loop: asyncio.AbstractEventLoop | None = None
        self._clock = PLAIN

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or websocket; the lifespan passes straight through."""
        call: _Call | None = None
        make = _CALLS.get(scope["type"])
        if make is not None and "firstcause" not in scope:
            try:
                call = self._begin(make, scope, receive, send)
            except Exception as error:  # the guard as a plain handler: this is the hot path
                if not report("asgi.begin", error):
                    raise
        if call is None:
            await self.app(scope, receive, send)
            return
        unit = call.unit
        frame_token = FRAME.set(unit.ledger.root)
        span_token = activate(unit.span, call.context)
        try:
            await self.app(scope, call.receive, call.send)
        except BaseException as error:
            call.failed(error)
            raise
        finally:
            call.done()
            leave(frame_token)
            deactivate(span_token)

    def _begin(self, make: type[_Call], scope: Scope, receive: Receive, send: Send) -> _Call | None:
        recorder = self._recorder()
        if recorder is None:
            return None
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._loop, self._clock = loop, WATCH.clock_for(loop)
        # A mounted application may bring a middleware of ours: the outermost has the request.
        scope["firstcause"] = True
        if self._mute:
            scope["fastapi.telemetry"] = None
        return make(self, recorder, scope, receive, send, self._clock)


class _Call:
    """One request on its way through: what was received, what was sent, and when it is over."""

    kind, no_method = "server", "_OTHER"
    # What most requests never change; see `UnitReport`.
    status = _first_body = 0
    _over = gone = expects_body = False

    def __init__(
        self, around: Middleware, recorder: Recorder, scope: Scope, receive: Receive, send: Send, clock: Clock
    ) -> None:
        self.recorder, self.scope = recorder, scope
        self._receive, self._send = receive, send
        self._routes, self._root = around.routes, scope.get("root_path", "")
        headers = header_map(scope["headers"])
        given = scope.get("method", "WS")
        method = given if given in HTTP_METHODS else self.no_method
        self.unit: Unit = recorder.begin(self.kind, method, scope["path"], clock)
        try:
            unit = self.unit
            unit.find_route = self._route
            unit.scheme = scope.get("scheme", "http")
            length = headers.get(b"content-length", b"0")
            if length != b"0" or b"transfer-encoding" in headers:
                self.expects_body = True
            client = scope.get("client")
            self.context = identify(
                recorder, unit, headers, client[0] if client else "", query=scope.get("query_string", b""),
                protocol=scope.get("http_version", ""), server=scope.get("server"), method=given,
            )  # fmt: skip
        except BaseException:
            recorder.abandon(self.unit)
            raise

    def _route(self) -> str:
        scope = self.scope
        if scope.get("root_path", "") == self._root:
            return matched(scope)
        return route_of(scope, self._routes, self._root)

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

    def send(self, message: Message) -> Awaitable[None]:
        """Send for the application; adds our headers, and ends the unit with the last body byte.

        No coroutine of its own where there is nothing to do afterwards.
        """
        kind = message["type"]
        if kind == "http.response.body":
            return self._send_body(message)
        if kind == "http.response.start":
            try:
                message = self._start(message)
            except Exception as error:  # the guard as a plain handler: this is the hot path
                if not report("asgi.start", error):
                    raise
        return self._send(message)

    async def _send_body(self, message: Message) -> None:
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
        if self.status >= 500:
            # Whoever answers so for an exception does it while handling it, before it could reach us.
            error = sys.exception()
            if isinstance(error, Exception):
                note_failure(unit, error)
        # A copy: the list is the response's own, which would gather our headers each time it is sent.
        headers = [*message.get("headers", ())]
        kind = b""
        for written, value in headers:
            # Lower-case as the specification wants them, and not everybody writes them.
            name = written if written in _READ else written.lower()
            if name == b"content-length":
                unit.has_length = True
            elif name == b"content-type":
                kind = value
            elif name == b"x-request-id":
                headers = [pair for pair in headers if pair[0].lower() != name]
        headers.append((b"x-request-id", unit.request_id.encode("latin-1")))
        if unit.mark_verified:
            answer = self.recorder.answer(unit, self.status)
            if answer:
                headers.append((b"server-timing", answer.encode("latin-1")))
        elif kind.startswith(b"text/html"):
            mark = self.recorder.page(unit, (self.scope.get("client") or LOOPBACK)[0] in LOOPBACK)
            if mark:
                headers.append((b"server-timing", mark.encode("latin-1")))
        unit.first_byte = perf_counter_ns()
        return {**message, "headers": headers}

    def failed(self, error: BaseException) -> None:
        """The application raised through everything: an error whatever it answered, unless the caller had left."""
        if isinstance(error, Exception):
            note_failure(self.unit, error)
            self.unit.broken = not self.gone
        elif isinstance(error, asyncio.CancelledError):
            self.gone = True

    def done(self) -> None:
        """The application returned: whatever has not been reported yet is over now."""
        if not self._over:
            if self.status == 0 and not self.gone:
                # What servers answer for an application that returns without having answered.
                self.status = 500
            self._finish()

    def _finish(self) -> None:
        if self._over:
            return
        self._over = True
        try:
            # 499 is nginx's number for a caller that went away before its answer.
            self.recorder.finish(self.unit, self.status or 499, gone=self.gone)
        except Exception as error:  # the guard as a plain handler: this is the hot path
            if not report("asgi.finish", error):
                raise
        else:
            self.unit.failure = None


class _Socket(_Call):
    """One websocket: a span with its children and lines, but no request of anybody's objective."""

    kind, no_method = "websocket", "WS"

    async def receive(self) -> Message:
        """Receive for the application."""
        message = await self._receive()
        if message["type"] == "websocket.disconnect":
            self.gone = True
        return message

    def send(self, message: Message) -> Awaitable[None]:
        """Send for the application; the handshake's answer carries the request id."""
        kind = message["type"]
        if kind in ("websocket.accept", "websocket.http.response.start"):
            with guard("asgi.start"):
                message = self._start({"status": 101, **message})
                if kind == "websocket.accept":
                    del message["status"]
        elif kind == "websocket.close" and not self.status:
            # Closed before it was accepted: servers answer 403 then, as ASGI says.
            self.status = 403
        return self._send(message)


class Observer:
    """Innermost, below a BaseHTTPMiddleware: that one ends a broken body before it lets the exception through."""

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
                frame.ledger.unit.broken = frame.ledger.unit.first_byte > 0  # too late for another answer
            raise


_CALLS: dict[str, type[_Call]] = {"http": _Call, "websocket": _Socket}


def attach(app: Any, recorder: Callable[[], Recorder | None]) -> str:
    """Put the middleware around a FastAPI or Starlette application, before or after its stack is built."""
    if getattr(app, "_firstcause_attached", False):
        return "already attached"
    app._firstcause_attached = True
    mute_native(app)
    build = app.build_middleware_stack

    def build_wrapped() -> Any:
        observe_innermost(app)
        return Middleware(build(), recorder, routes=app.routes)

    app.build_middleware_stack = build_wrapped
    if app.middleware_stack is not None:
        app.middleware_stack = Middleware(app.middleware_stack, recorder, routes=app.routes)
    return "attached outermost"


def observe_innermost(app: Any) -> None:
    """Add the `Observer` where it is needed, once."""
    from starlette.middleware import Middleware as Entry
    from starlette.middleware.base import BaseHTTPMiddleware

    classes = [entry.cls for entry in app.user_middleware]
    if Observer not in classes and any(isinstance(c, type) and issubclass(c, BaseHTTPMiddleware) for c in classes):
        app.user_middleware.append(Entry(Observer))


def mute_native(app: Any) -> None:
    """FastAPI ≥ 0.142 emits a server span of its own; two spans for one request would be one too many."""
    native = getattr(app, "_telemetry", None)
    if isinstance(native, dict):
        native.update(tracing=False, metrics=False, logs=False)
    elif native is not None:
        count("firstcause.self.errors", place="asgi.native")
