"""aiohttp's client: one call per request, redirects included, and bodies as they are waited for.

Headers are put on each hop's own request, so that a redirect to a stranger takes nothing along.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

import aiohttp
from aiohttp.client_reqrep import ClientRequest, ClientResponse
from aiohttp.streams import StreamReader
from yarl import URL

from .._guard import guard
from ..diagnosis.ledger import stamp
from .call import Call, idle, propagate
from .patches import Patches
from .web import Wait, begin, reply

_patches = Patches()
_sending: ContextVar[Call | None] = ContextVar("firstcause_aiohttp", default=None)


def instrument() -> None:
    """Patch sessions, requests and the waiting for bodies; safe to call again."""
    if _patches:
        return
    _patches.put(aiohttp.ClientSession, "_request", _request)
    _patches.put(ClientRequest, "send", _send)
    _patches.put(StreamReader, "_wait", _wait)
    _patches.put(ClientResponse, "raise_for_status", _raise_for_status)


def uninstrument() -> None:
    """Put aiohttp back."""
    _patches.undo()


def _request(original: Any) -> Any:
    async def _request(self: Any, method: str, str_or_url: Any, **more: Any) -> Any:
        if idle():
            return await original(self, method, str_or_url, **more)
        call = _begin(self, method, str_or_url)
        token = _sending.set(call)
        try:
            with call:
                response = await _answered(call, original(self, method, str_or_url, **more))
        finally:
            _sending.reset(token)
        if call.frame is not None:
            _remember(response, call)
        return response

    return _request


async def _answered(call: Call, pending: Any) -> Any:
    try:
        response = await pending
    except aiohttp.ClientResponseError as error:
        if error.status:  # `raise_for_status`: a peer's 4xx is ours
            reply(call, error.status, _timing(error.headers), error)
        raise
    reply(call, response.status, _timing(response.headers))
    return response


def _timing(headers: Any) -> str:
    return "" if headers is None else ", ".join(headers.getall("Server-Timing", ()))


def _begin(session: Any, method: str, given: Any) -> Call:
    url = URL("")
    with guard("clients.aiohttp"):  # aiohttp itself says what is wrong with the address
        url = session._build_url(given)
    return begin(method.upper(), str(url), url.scheme, url.host or "", url.explicit_port)


def _send(original: Any) -> Any:
    async def send(self: Any, conn: Any) -> Any:
        call = _sending.get()
        if call is not None and call.span is not None:
            with guard("clients.propagate"):
                for name, value in propagate(call.span, self.url.host or ""):
                    # The trace context is always this call's; a request id or baggage that the host has set stays.
                    if name.startswith("trace") or name not in self.headers:
                        self.headers[name] = value
        return await original(self, conn)

    return send


def _remember(response: Any, call: Call) -> None:
    """Where the body's waits are booked: they know the connection's protocol only."""
    with guard("clients.aiohttp"):
        response._firstcause_frame = call.frame
        protocol = getattr(response.content, "_protocol", None)
        if protocol is not None:
            protocol._firstcause_body = response.content, call.frame


def _wait(original: Any) -> Any:
    async def _wait(self: Any, *args: Any) -> Any:
        # The protocol outlives the reply, and servers read by the same class.
        stream, frame = getattr(self._protocol, "_firstcause_body", (None, None))
        if stream is not self:
            return await original(self, *args)
        with Wait(frame):
            return await original(self, *args)

    return _wait


def _raise_for_status(original: Any) -> Any:
    def raise_for_status(self: Any) -> None:
        try:
            original(self)
        except aiohttp.ClientResponseError as error:
            stamp(error, getattr(self, "_firstcause_frame", None))
            raise

    return raise_for_status
