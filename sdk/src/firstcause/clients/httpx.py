"""httpx: both transports, so that every attempt is a call of its own, and bodies as they are read."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx

from ..diagnosis.ledger import stamp
from .call import RUNTIME, Call
from .web import Body, begin, reply

_originals: list[tuple[type, str, Any]] = []


def instrument() -> None:
    """Patch httpx; safe to call again."""
    if _originals:
        return
    _patch(httpx.HTTPTransport, "handle_request", _sync)
    _patch(httpx.AsyncHTTPTransport, "handle_async_request", _async)


def uninstrument() -> None:
    """Put httpx back."""
    while _originals:
        owner, name, original = _originals.pop()
        setattr(owner, name, original)


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
        response._firstcause_frame = call.frame  # type: ignore[attr-defined]
        response.stream = _SyncBody(response.stream, Body(call.frame))
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
        response._firstcause_frame = call.frame  # type: ignore[attr-defined]
        response.stream = _AsyncBody(response.stream, Body(call.frame))
        return response

    return handle_async_request


def _begin(request: httpx.Request) -> Call:
    url = request.url
    call, headers = begin(request.method, str(url), url.host, url.port)
    for name, value in headers:
        request.headers[name] = value
    return call


def _reply(call: Call, request: httpx.Request, response: httpx.Response) -> None:
    reply(call, response.status_code, response.headers.get("server-timing", ""), request.url.host)


class _SyncBody(httpx.SyncByteStream):
    def __init__(self, inner: Any, body: Body) -> None:
        self._inner, self._body = inner, body

    def __iter__(self) -> Iterator[bytes]:
        chunks = iter(self._inner)
        while True:
            frame = self._body.open()
            try:
                chunk = next(chunks)
            except StopIteration:
                self._body.close(frame)
                return
            except BaseException as error:
                self._body.close(frame, failed=True)
                stamp(error, frame)
                raise
            self._body.close(frame)
            yield chunk

    def close(self) -> None:
        self._inner.close()


class _AsyncBody(httpx.AsyncByteStream):
    def __init__(self, inner: Any, body: Body) -> None:
        self._inner, self._body = inner, body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        chunks = self._inner.__aiter__()
        while True:
            frame = self._body.open()
            try:
                chunk = await chunks.__anext__()
            except StopAsyncIteration:
                self._body.close(frame)
                return
            except BaseException as error:
                self._body.close(frame, failed=True)
                stamp(error, frame)
                raise
            self._body.close(frame)
            yield chunk

    async def aclose(self) -> None:
        await self._inner.aclose()
