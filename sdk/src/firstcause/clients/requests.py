"""requests: its HTTP adapter, so that every attempt and redirect is a call of its own."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import requests.adapters

from .call import RUNTIME
from .web import begin, reply

_original: Any = None


def instrument() -> None:
    """Patch `HTTPAdapter.send`; safe to call again."""
    global _original
    if _original is None:
        _original = requests.adapters.HTTPAdapter.send
        requests.adapters.HTTPAdapter.send = _send  # type: ignore[method-assign]


def uninstrument() -> None:
    """Put requests back."""
    global _original
    if _original is not None:
        requests.adapters.HTTPAdapter.send = _original  # type: ignore[method-assign]
        _original = None


def _send(self: Any, request: Any, stream: bool = False, *args: Any, **kwargs: Any) -> Any:
    original = _original
    if RUNTIME.recorder is None or original is None:
        return (original or requests.adapters.HTTPAdapter.send)(self, request, stream, *args, **kwargs)
    parts = urlsplit(request.url)
    call, headers = begin(request.method or "GET", request.url, parts.hostname or "", parts.port)
    request.headers.update(headers)
    with call:
        response = original(self, request, stream, *args, **kwargs)
        if not stream:
            response.content  # noqa: B018 - read here, so that the body's wait is booked to the peer
        reply(call, response.status_code, response.headers.get("server-timing", ""), parts.hostname or "")
    response._firstcause_frame = call.frame
    return response
