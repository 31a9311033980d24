"""httpx: both transports, so that every attempt is a call of its own, and bodies as they are read."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx

from ..diagnosis.ledger import Frame
from .call import Call, idle
from .patches import Patches
from .web import Wait, begin, headers, reply

_patches = Patches()
_FRAME = "firstcause_frame"
"""Kept in a reply's extensions, which httpx leaves out when it pickles one."""
Raw = list[tuple[bytes, bytes, bytes]]
"""httpx's own list of headers (name, name in lower case, value): its methods search and encode anew each time."""

_OURS_AS = {name: name.encode() for name in ("traceparent", "tracestate", "x-request-id", "baggage")}
_OURS = frozenset(_OURS_AS.values())


def instrument() -> None:
    """Patch httpx; safe to call again."""
    if _patches:
        return
    httpx.Headers()._list  # noqa: B018 - the seam we write headers to; without it nothing is patched
    httpx.Response._firstcause_frame = property(_frame_of)  # type: ignore[attr-defined]
    _patches.put(httpx.HTTPTransport, "handle_request", _sync)
    _patches.put(httpx.AsyncHTTPTransport, "handle_async_request", _async)


def uninstrument() -> None:
    """Put httpx back."""
    _patches.undo()
    if "_firstcause_frame" in vars(httpx.Response):
        del httpx.Response._firstcause_frame  # type: ignore[attr-defined]


def _frame_of(response: httpx.Response) -> Frame | None:
    """What `diagnosis.ledger.stamped` asks the reply of an HTTPStatusError for."""
    return response.extensions.get(_FRAME)


def _sync(original: Any) -> Any:
    def handle_request(self: Any, request: httpx.Request) -> httpx.Response:
        if idle():
            return original(self, request)  # type: ignore[no-any-return]
        call = _begin(request)
        kept = request.headers._list
        try:
            with call:
                request.headers._list = _sent(call, kept)
                response: httpx.Response = original(self, request)
                length = _reply(call, response)
        finally:
            # httpx keeps the request, for redirects and on the reply: our headers were for this hop only.
            request.headers._list = kept
        if call.frame is not None:
            response.extensions[_FRAME] = call.frame
            response.stream = _SyncBody(response.stream, call.frame, length)
        return response

    return handle_request


def _async(original: Any) -> Any:
    async def handle_async_request(self: Any, request: httpx.Request) -> httpx.Response:
        if idle():
            return await original(self, request)  # type: ignore[no-any-return]
        call = _begin(request)
        kept = request.headers._list
        try:
            with call:
                request.headers._list = _sent(call, kept)
                response: httpx.Response = await original(self, request)
                length = _reply(call, response)
        finally:
            request.headers._list = kept
        if call.frame is not None:
            response.extensions[_FRAME] = call.frame
            response.stream = _AsyncBody(response.stream, call.frame, length)
        return response

    return handle_async_request


def _begin(request: httpx.Request) -> Call:
    url = request.url
    return begin(request.method, str(url), url.scheme, url.host, url.port)


def _sent(call: Call, kept: Raw) -> Raw:
    there = {name for _raw, name, _value in kept}
    if there.isdisjoint(_OURS):
        return kept + [(_OURS_AS[name], _OURS_AS[name], value.encode()) for name, value in headers(call)]
    more = [(name.encode(), value.encode()) for name, value in headers(call, lambda name: name.encode() in there)]
    replaced = {name for name, _value in more}
    return [h for h in kept if h[1] not in replaced] + [(name, name, value) for name, value in more]


def _reply(call: Call, response: httpx.Response) -> int:
    """Ends the call; returns the body's length, -1 when it is not said."""
    said, length = "", -1
    for _raw, name, value in response.headers._list:
        if name == b"server-timing":
            said = f"{said}, {value.decode('latin-1')}" if said else value.decode("latin-1")
        elif name == b"content-length" and value.isdigit():
            length = int(value[:18])
    reply(call, response.status_code, said)
    return length


class _SyncBody(httpx.SyncByteStream):
    """Each wait for a chunk is booked, as long as there is one to wait for."""

    def __init__(self, inner: Any, frame: Frame | None, length: int) -> None:
        self._inner, self._wait, self._length = inner, Wait(frame), length

    def __iter__(self) -> Iterator[bytes]:
        chunks, left = iter(self._inner), self._length
        while left:
            try:
                with self._wait:
                    chunk = next(chunks)
            except StopIteration:
                return
            left -= len(chunk)
            yield chunk
        # All that was announced is here: only the end follows, which is not waited for.
        yield from chunks

    def close(self) -> None:
        self._inner.close()


class _AsyncBody(httpx.AsyncByteStream):
    def __init__(self, inner: Any, frame: Frame | None, length: int) -> None:
        self._inner, self._wait, self._length = inner, Wait(frame), length

    async def __aiter__(self) -> AsyncIterator[bytes]:
        chunks, left = self._inner.__aiter__(), self._length
        while left:
            try:
                with self._wait:
                    chunk = await chunks.__anext__()
            except StopAsyncIteration:
                return
            left -= len(chunk)
            yield chunk
        async for chunk in chunks:
            yield chunk

    async def aclose(self) -> None:
        await self._inner.aclose()
