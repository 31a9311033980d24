"""requests: its HTTP adapter, so that every attempt and redirect is a call of its own, and bodies as they are read."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import requests.adapters
from requests import Response

from .call import Call, idle
from .patches import Patches
from .web import Wait, begin, chunks, headers, reply

_patches = Patches()


def instrument() -> None:
    """Patch `HTTPAdapter.send` and the reading of bodies; safe to call again."""
    if _patches:
        return
    _patches.put(requests.adapters.HTTPAdapter, "send", _send)
    _patches.put(Response, "iter_content", _iter_content)


def uninstrument() -> None:
    """Put requests back."""
    _patches.undo()


def _send(original: Any) -> Any:
    def send(self: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
        if idle():
            return original(self, request, *args, **kwargs)
        kept = request.headers
        try:
            with _begin(request) as call:
                request.headers = _sent(call, kept)
                response = original(self, request, *args, **kwargs)
                reply(call, response.status_code, response.headers.get("server-timing", ""))
        finally:
            # A redirect begins with a copy of this request, and may lead to a stranger.
            request.headers = kept
        response._firstcause_frame = call.frame
        return response

    return send


def _begin(request: Any) -> Call:
    parts = urlsplit(request.url)
    try:
        port = parts.port
    except ValueError:  # requests itself says what is wrong with the address
        port = None
    return begin(request.method or "GET", request.url, parts.scheme, parts.hostname or "", port)


def _sent(call: Call, kept: Any) -> Any:
    more = headers(call, lambda name: name in kept)
    if not more:
        return kept
    merged = kept.copy()
    merged.update(more)
    return merged


def _iter_content(original: Any) -> Any:
    """`content`, `text`, `json` and `iter_lines` all read through this one."""

    def iter_content(self: Any, *args: Any, **kwargs: Any) -> Any:
        body = original(self, *args, **kwargs)
        frame = getattr(self, "_firstcause_frame", None)
        # Reading again what is in memory is no wait.
        if frame is None or self._content_consumed:
            return body
        return chunks(body, Wait(frame))

    return iter_content
