"""The endpoint as an ASGI application, and on a FastAPI or Starlette one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from . import script
from ._config import Config
from .body import BAD, LARGE, MOST
from .core import Core, Reply, Visit

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class Endpoint:
    """Takes beacons at any path it is put at; `<path>.js` is the script."""

    def __init__(self, config: Config | None = None) -> None:
        self.core = Core(config)
        self._wanted = {name.encode("latin-1"): name for name in self.core.wanted}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
        elif scope["method"] in ("GET", "HEAD") and scope["path"].endswith(".js"):
            await self._script(scope, send)
        else:
            reply = await self._beacon(scope, receive)
            if reply is not None:
                await _answer(send, reply)

    async def _beacon(self, scope: Scope, receive: Receive) -> Reply | None:
        client = scope.get("client")
        visit = self.core.admit(scope["method"], self._headers(scope), client[0] if client else "")
        if isinstance(visit, Reply):
            return visit
        try:
            async with asyncio.timeout(self.core.config.read_s):
                raw = await _read(receive)
        except TimeoutError:
            return self.core.refuse(visit, BAD, "slow")
        return self._judge(visit, raw)

    def _judge(self, visit: Visit, raw: bytes | None) -> Reply | None:
        if raw is None:
            return None
        return self.core.refuse(visit, LARGE, "size") if len(raw) > MOST else self.core.accept(visit, raw)

    def _headers(self, scope: Scope) -> dict[str, str]:
        found: dict[str, str] = {}
        for raw, value in scope["headers"]:  # in lower case, as ASGI has them
            name = self._wanted.get(raw)
            if name is not None:
                text = value.decode("latin-1")
                found[name] = f"{found[name]},{text}" if name in found else text
        return found

    async def _script(self, scope: Scope, send: Send) -> None:
        made = script.load(self.core.config.script)
        if made is None:
            await _answer(send, Reply(404, ()))
            return
        known = dict(scope["headers"]).get(b"if-none-match", b"").decode("latin-1")
        status, given, text = made.answer(known)
        headers = [(k.encode(), v.encode()) for k, v in given]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": text if scope["method"] == "GET" else b""})

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.shutdown":
                # Not left to `atexit`, which does not run when uvicorn raises the signal again at its end.
                self.core.settle(everything=True)
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return


async def _read(receive: Receive) -> bytes | None:
    """The body up to a byte beyond the limit, whatever length was announced; None when the page went away."""
    parts, size = [], 0
    while size <= MOST:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if not message.get("more_body", False):
            break
    return b"".join(parts)


async def _answer(send: Send, reply: Reply) -> None:
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in reply.headers]
    if reply.status != 204:  # which must not have one (RFC 9110, 8.6)
        headers.append((b"content-length", b"0"))
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


def attach(app: Any, config: Config | None = None) -> Endpoint:
    """Put the endpoint and the script on a FastAPI or Starlette application, before any route that takes every path."""
    from starlette.routing import Route

    endpoint = Endpoint(config)
    path = endpoint.core.config.path
    app.router.routes[:0] = [
        Route(path, endpoint=endpoint, include_in_schema=False),
        Route(path + ".js", endpoint=endpoint, include_in_schema=False),
    ]
    return endpoint
