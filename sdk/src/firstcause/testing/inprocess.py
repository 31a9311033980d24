"""Test clients that call an application without a server, and so end no request of their own."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import ExitStack
from functools import wraps
from types import ModuleType
from typing import Any

from .. import _setup
from .._imports import after_import, forget
from ..servers import asgi, wsgi
from .clock import swap

Wrapped = Callable[..., Any]


def watch(stack: ExitStack) -> None:
    """Give them what a server would give, until `stack` closes."""
    swap(stack, wsgi.Middleware, __call__=_whole(wsgi.Middleware.__call__))
    if "django" not in sys.modules:
        return

    def django(client: ModuleType) -> None:
        handlers: Any = client
        swap(stack, handlers.ClientHandler, __call__=_django(handlers.ClientHandler.__call__))
        swap(stack, handlers.AsyncClientHandler, __call__=_django_async(handlers.AsyncClientHandler.__call__))

    after_import("django.test.client", django)
    stack.callback(forget, django)


def _whole(original: Wrapped) -> Wrapped:
    """Flask's test client closes no body, with which a request ends: it gets whole ones."""

    @wraps(original)
    def serve(self: Any, environ: dict[str, Any], start_response: Any) -> Any:
        body = original(self, environ, start_response)
        if "werkzeug.request" not in environ:
            return body
        try:
            return list(body)
        finally:
            getattr(body, "close", lambda: None)()

    return serve


def _django(original: Wrapped) -> Wrapped:
    """Django's takes the answer itself instead of calling the handler a server would call."""

    @wraps(original)
    def handle(self: Any, environ: dict[str, Any]) -> Any:
        answers: list[Any] = []

        def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
            answers.append(original(self, environ))
            start_response(f"{answers[0].status_code} {answers[0].reason_phrase}", list(answers[0].items()))
            return []

        def started(_status: str, headers: list[tuple[str, str]], *_error: Any) -> None:
            _identify(answers[0], headers)

        body: Any = wsgi.Middleware(app, _setup.recorder)(environ, started)
        getattr(body, "close", lambda: None)()
        return answers[0]

    return handle


def _django_async(original: Wrapped) -> Wrapped:
    @wraps(original)
    async def handle(self: Any, scope: dict[str, Any]) -> Any:
        answers: list[Any] = []

        async def app(scope: Any, _receive: Any, send: Any) -> None:
            answer = await original(self, scope)
            answers.append(answer)
            headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in answer.items()]
            await send({"type": "http.response.start", "status": answer.status_code, "headers": headers})
            await send({"type": "http.response.body", "body": b""})

        async def receive() -> dict[str, Any]:
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            given = message.get("headers", ())
            _identify(answers[0], [(name.decode("latin-1"), value.decode("latin-1")) for name, value in given])

        await asgi.Middleware(app, _setup.recorder)(scope, receive, send)
        return answers[0]

    return handle


def _identify(answer: Any, headers: list[tuple[str, str]]) -> None:
    """The answer has the request id that a client would see."""
    for name, value in headers:
        if name.lower() == "x-request-id":
            answer[name] = value
