"""requests: its HTTP adapter, so that every attempt and redirect is a call of its own, and bodies as they are read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import requests.adapters
from requests import Response

from .call import RUNTIME
from .web import Wait, begin, reply

_originals: list[tuple[type, str, Any]] = []


def instrument() -> None:
    """Patch `HTTPAdapter.send` and the reading of bodies; safe to call again."""
    if _originals:
        return
    _patch(requests.adapters.HTTPAdapter, "send", _send)
    _patch(Response, "iter_content", _iter_content)


def uninstrument() -> None:
    """Put requests back."""
    while _originals:
        owner, name, original = _originals.pop()
        setattr(owner, name, original)


def _patch(owner: type, name: str, wrap: Any) -> None:
    original = getattr(owner, name)
    _originals.append((owner, name, original))
    setattr(owner, name, wrap(original))


def _send(original: Any) -> Any:
    def send(self: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
        if RUNTIME.recorder is None:
            return original(self, request, *args, **kwargs)
        parts = urlsplit(request.url)
        host = parts.hostname or ""
        with begin(request.headers.__setitem__, request.method or "GET", request.url, host, _port(parts)) as call:
            response = original(self, request, *args, **kwargs)
            reply(call, response.status_code, response.headers, host)
        response._firstcause_frame = call.frame
        return response

    return send


def _port(parts: Any) -> int | None:
    try:
        port: int | None = parts.port
    except ValueError:  # requests itself says what is wrong with the address
        return None
    return port


def _iter_content(original: Any) -> Any:
    """`content`, `text`, `json` and `iter_lines` all read through this one."""

    def iter_content(self: Any, *args: Any, **kwargs: Any) -> Any:
        chunks = original(self, *args, **kwargs)
        frame = getattr(self, "_firstcause_frame", None)
        # Reading again what is in memory is no wait.
        if frame is None or self._content_consumed:
            return chunks
        return _waited(chunks, Wait(frame))

    return iter_content


def _waited(chunks: Any, wait: Wait) -> Iterator[Any]:
    try:
        while True:
            try:
                with wait:
                    chunk = next(chunks)
            except StopIteration:
                return
            yield chunk
    finally:
        chunks.close()
