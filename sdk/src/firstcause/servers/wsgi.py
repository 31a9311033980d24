"""WSGI and Flask: the same unit of work for threaded servers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from opentelemetry import context as otel_context
from opentelemetry import trace

from .._guard import guard
from .._watch import WATCH
from ..diagnosis.clock import thread_clock
from ..diagnosis.ledger import FRAME
from ..diagnosis.unit import Unit, current_unit
from .failure import note_failure
from .incoming import identify

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
        if recorder is not None and "firstcause" not in environ:
            with guard("wsgi.begin"):
                call = _Call(recorder, environ, start_response)
        if call is None:
            return self.app(environ, start_response)
        try:
            call.body = self.app(environ, call.start_response)
        except BaseException as error:
            if isinstance(error, Exception):
                note_failure(call.unit, error)
            call.close()
            raise
        return call


class _Call:
    """One request: the response body that the server iterates and closes."""

    def __init__(self, recorder: Recorder, environ: Environ, start_response: StartResponse) -> None:
        self.recorder = recorder
        self.body: Iterable[bytes] = ()
        self.status = 0
        self._start_response = start_response
        self._over = False
        environ["firstcause"] = True
        self.unit: Unit = recorder.begin(
            "server", environ.get("REQUEST_METHOD", "GET"), environ.get("PATH_INFO", "/"), thread_clock()
        )
        try:
            self.unit.scheme = environ.get("wsgi.url_scheme", "http")
            context = identify(recorder, self.unit, _headers(environ), environ.get("REMOTE_ADDR", ""))
        except BaseException:
            WATCH.leave()
            raise
        self._frame_token = FRAME.set(self.unit.ledger.root)
        self._span_token = otel_context.attach(trace.set_span_in_context(self.unit.span, context))

    def start_response(self, status: str, headers: list[tuple[str, str]], *exc_info: Any) -> Any:
        """Adds our headers to the application's; never to the list it gave us."""
        with guard("wsgi.start"):
            headers = self._headers(status, headers)
        return self._start_response(status, headers, *exc_info)

    def _headers(self, status: str, headers: list[tuple[str, str]]) -> list[tuple[str, str]]:
        self.status = int(status[:3])
        ours = [pair for pair in headers if pair[0].lower() != "x-request-id"]
        ours.append(("X-Request-ID", self.unit.request_id))
        if self.unit.mark_verified:
            answer = self.recorder.answer(self.unit, self.status)
            if answer:
                ours.append(("Server-Timing", answer))
        return ours

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.body)

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
                self.recorder.finish(self.unit, self.status or 500)
            with guard("wsgi.context"):
                _reset(self)


def _reset(call: _Call) -> None:
    try:
        FRAME.reset(call._frame_token)
        otel_context.detach(call._span_token)
    except ValueError:
        FRAME.set(None)  # the server closes the body in another context than it began in


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
    for name in ("traceparent", "tracestate", "baggage", "x-request-id", "x-request-start", "user-agent")
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
