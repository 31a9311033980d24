"""WSGI and Flask: the same unit of work for threaded servers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

from .._guard import guard
from ..diagnosis.clock import thread_clock
from ..diagnosis.ledger import FRAME, leave
from ..diagnosis.unit import Unit, current_unit
from ..trace.current import activate, deactivate
from .failure import note_failure
from .incoming import LOOPBACK, STREAM_NS, identify, known_method

if TYPE_CHECKING:
    from .._recorder import Recorder

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
WsgiApp = Callable[[Environ, StartResponse], Iterable[bytes]]


class Middleware:
    """Wraps any WSGI application; `configure(app=…)` puts it around Flask ones."""

    def __init__(self, app: WsgiApp, recorder: Callable[[], Recorder | None]) -> None:
        self.app = app
        self._recorder = recorder

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request; the unit ends when the server closes the body."""
        recorder = self._recorder()
        call: _Call | None = None
        # Mounted in another watched application, it is part of that one's request.
        if recorder is not None and "firstcause" not in environ:
            with guard("wsgi.begin"):
                call = _Call(recorder, environ, start_response)
        if call is None:
            return self.app(environ, start_response)
        try:
            call.body = self.app(environ, call.start_response)
        except BaseException as error:
            call.broke(error, status=500)  # whatever was announced, the server has sent nothing yet
            call.close()
            raise
        return call


class _Call:
    """One request: the response body that the server iterates and closes."""

    status = 0
    _over = False
    body: Iterable[bytes] = ()

    def __init__(self, recorder: Recorder, environ: Environ, start_response: StartResponse) -> None:
        self.recorder, self._start_response = recorder, start_response
        environ["firstcause"] = True
        self._client = environ.get("REMOTE_ADDR", "")
        method = environ.get("REQUEST_METHOD", "GET")
        self.unit: Unit = recorder.begin("server", known_method(method), _path(environ), thread_clock())
        try:
            self.unit.scheme = environ.get("wsgi.url_scheme", "http")
            port = environ.get("SERVER_PORT", "")
            context = identify(
                recorder, self.unit, _headers(environ), self._client, method=method,
                query=environ.get("QUERY_STRING", "").encode("latin-1", "replace"),
                protocol=environ.get("SERVER_PROTOCOL", "").partition("/")[2],
                server=(environ.get("SERVER_NAME", ""), int(port) if port.isdecimal() else None),
            )  # fmt: skip
        except BaseException:
            recorder.abandon(self.unit)
            raise
        self._frame_token = FRAME.set(self.unit.ledger.root)
        self._span_token = activate(self.unit.span, context)

    def start_response(self, status: str, headers: list[tuple[str, str]], *exc_info: Any) -> Any:
        """Adds our headers to the application's; never to the list it gave us."""
        with guard("wsgi.start"):
            headers = self._headers(status, headers)
        return self._start_response(status, headers, *exc_info)

    def _headers(self, status: str, headers: list[tuple[str, str]]) -> list[tuple[str, str]]:
        self.status = int(status[:3])
        ours, page = [], False
        for pair in headers:
            name = pair[0].lower()
            if name == "content-length":
                self.unit.has_length = True
            elif name == "content-type":
                page = pair[1].startswith("text/html")
            # An answer has one id, and it is the one on span and line.
            if name != "x-request-id":
                ours.append(pair)
        ours.append(("X-Request-ID", self.unit.request_id))
        if self.unit.mark_verified:
            answer = self.recorder.answer(self.unit, self.status)
            if answer:
                ours.append(("Server-Timing", answer))
        elif page:
            mark = self.recorder.page(self.unit, self._client in LOOPBACK)
            if mark:
                ours.append(("Server-Timing", mark))
        return ours

    def __iter__(self) -> Iterator[bytes]:
        """The body; what the server takes to write a piece is the caller reading, not our own code."""
        unit, ledger = self.unit, self.unit.ledger
        try:
            for piece in self.body:
                now = perf_counter_ns()
                if not unit.first_byte:
                    unit.first_byte = now
                elif not unit.has_length and now - unit.first_byte > STREAM_NS:
                    unit.streamed = True
                frame = ledger.open("client:download", "", ledger.root)
                yield piece
                if frame is not None:
                    ledger.close(frame, None, False, False)
        except Exception as error:
            self.broke(error)
            raise

    def broke(self, error: BaseException, status: int = 0) -> None:
        """The application raised through everything: an error, whatever it had announced."""
        if isinstance(error, Exception):
            note_failure(self.unit, error)
            self.unit.broken = True
        self.status = status or self.status

    def close(self) -> None:
        """The server is done with the body: the unit ends."""
        if self._over:
            return
        self._over = True
        try:
            if hasattr(self.body, "close"):
                self.body.close()
        finally:
            with guard("wsgi.finish"):
                # Who never called `start_response` leaves the server nothing to send but a 500.
                self.recorder.finish(self.unit, self.status or 500)
                # Its traceback leads back to the unit: let go, so that no cycle is left for the collector.
                self.unit.failure = None
            with guard("wsgi.context"):
                _reset(self)


def _reset(call: _Call) -> None:
    leave(call._frame_token)
    deactivate(call._span_token)


def _path(environ: Environ) -> str:
    """The path that was asked for; WSGI hands its UTF-8 over as Latin-1."""
    path: str = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "/")
    return path if path.isascii() else path.encode("latin-1", "replace").decode("utf-8", "replace")


def _headers(environ: Environ) -> dict[bytes, bytes]:
    """The request headers we read, in the form ASGI has them."""
    found: dict[bytes, bytes] = {}
    for name, key in _READ:
        value = environ.get(key)
        if value is not None:
            found[name] = value.encode("latin-1", "replace")
    return found


_READ = tuple(
    (name.encode(), "HTTP_" + name.upper().replace("-", "_"))
    for name in ("traceparent", "tracestate", "baggage", "x-request-id", "x-request-start", "user-agent", "host")
)


def attach(app: Any, recorder: Callable[[], Recorder | None]) -> str:
    """Put the middleware around a Flask application."""
    if isinstance(app.wsgi_app, Middleware):
        return "already attached"
    from flask import got_request_exception, request, request_started

    def started(_app: Any, **_: Any) -> None:
        unit = current_unit()
        if unit is not None and request.url_rule is not None:
            unit.route = request.url_rule.rule

    def raised(_app: Any, exception: Exception, **_: Any) -> None:
        unit = current_unit()
        if unit is not None:
            note_failure(unit, exception)

    request_started.connect(started, app, weak=False)
    got_request_exception.connect(raised, app, weak=False)
    app.wsgi_app = Middleware(app.wsgi_app, recorder)
    return "attached outermost"
