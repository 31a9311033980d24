"""httpx: both transports, so that every attempt is a call of its own, and bodies as they are read."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx

from ..diagnosis.ledger import Frame
from .call import RUNTIME, Call
from .web import Wait, begin, reply

_originals: list[tuple[type, str, Any]] = []
_FRAME = "firstcause_frame"
"""Kept in a reply's extensions, which httpx leaves out when it pickles one."""


def instrument() -> None:
    """Patch httpx; safe to call again."""
    if _originals:
        return
    httpx.Response._firstcause_frame = property(_frame_of)  # type: ignore[attr-defined]
    _patch(httpx.HTTPTransport, "handle_request", _sync)
    _patch(httpx.AsyncHTTPTransport, "handle_async_request", _async)


def uninstrument() -> None:
    """Put httpx back."""
    while _originals:
        owner, name, original = _originals.pop()
        setattr(owner, name, original)
    if "_firstcause_frame" in vars(httpx.Response):
        del httpx.Response._firstcause_frame  # type: ignore[attr-defined]


def _frame_of(response: httpx.Response) -> Frame | None:
    """What `diagnosis.ledger.stamped` asks the reply of an HTTPStatusError for."""
    return response.extensions.get(_FRAME)


def _patch(owner: type, name: str, wrap: Callable[[Any], Any]) -> None:
    original = getattr(owner, name)
    _originals.append((owner, name, original))
    setattr(owner, name, wrap(original))


def _sync(original: Any) -> Any:
    def handle_request(self: Any, request: httpx.Request) -> httpx.Response:
        if RUNTIME.recorder is None:
            return original(self, request)  # type: ignore[no-any-return]
        call = _begin(request)
        with call:
            response: httpx.Response = original(self, request)
            _reply(call, request, response)
        if call.frame is not None:
            response.extensions[_FRAME] = call.frame
            response.stream = _SyncBody(response.stream, call.frame)
        return response

    return handle_request


def _async(original: Any) -> Any:
    async def handle_async_request(self: Any, request: httpx.Request) -> httpx.Response:
        if RUNTIME.recorder is None:
            return await original(self, request)  # type: ignore[no-any-return]
        call = _begin(request)
        with call:
            response: httpx.Response = await original(self, request)
            _reply(call, request, response)
        if call.frame is not None:
            response.extensions[_FRAME] = call.frame
            response.stream = _AsyncBody(response.stream, call.frame)
        return response

    return handle_async_request


def _begin(request: httpx.Request) -> Call:
    url = request.url
    return begin(request.headers.__setitem__, request.method, str(url), url.host, url.port)


def _reply(call: Call, request: httpx.Request, response: httpx.Response) -> None:
    reply(call, response.status_code, response.headers, request.url.host)


class _SyncBody(httpx.SyncByteStream):
    def __init__(self, inner: Any, frame: Frame | None) -> None:
        self._inner, self._wait = inner, Wait(frame)

    def __iter__(self) -> Iterator[bytes]:
        chunks = iter(self._inner)
        while True:
            try:
                with self._wait:
                    chunk = next(chunks)
            except StopIteration:
                return
            yield chunk

    def close(self) -> None:
        self._inner.close()


class _AsyncBody(httpx.AsyncByteStream):
    def __init__(self, inner: Any, frame: Frame | None) -> None:
        self._inner, self._wait = inner, Wait(frame)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        chunks = self._inner.__aiter__()
        while True:
            try:
                with self._wait:
                    chunk = await chunks.__anext__()
            except StopAsyncIteration:
                return
            yield chunk

    async def aclose(self) -> None:
        await self._inner.aclose()
