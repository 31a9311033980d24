"""urllib3: one call per request and pool, its retries included; silent below requests and other libraries on top.

Redirects that lead to another host are calls of their own, because the pool manager asks another pool.
"""

from __future__ import annotations

from typing import Any

import urllib3
from urllib3.response import HTTPResponse

from .call import Call, idle, within
from .patches import Patches
from .web import Wait, begin, chunks, headers, reply

_patches = Patches()


def instrument() -> None:
    """Patch connection pools and the reading of bodies; safe to call again."""
    if _patches:
        return
    _patches.put(urllib3.HTTPConnectionPool, "urlopen", _urlopen)
    _patches.put(HTTPResponse, "read", _read)
    _patches.put(HTTPResponse, "read_chunked", _read_chunked)
    if "read1" in vars(HTTPResponse):
        _patches.put(HTTPResponse, "read1", _read)


def uninstrument() -> None:
    """Put urllib3 back."""
    _patches.undo()


def _urlopen(original: Any) -> Any:
    def urlopen(
        self: Any, method: str, url: str, body: Any = None, headers: Any = None, *args: Any, **more: Any
    ) -> Any:
        # Said already by requests on top, or by a queue that is spoken to over HTTP.
        if idle() or within("http:", "rpc:", "queue:"):
            return original(self, method, url, body, headers, *args, **more)
        with _begin(self, method, url) as call:
            response = original(self, method, url, body, _sent(call, self, headers), *args, **more)
            reply(call, response.status, response.headers.get("server-timing", ""))
        response._firstcause_frame = call.frame
        return response

    return urlopen


def _begin(pool: Any, method: str, url: str) -> Call:
    # Through a proxy the URL is a whole one.
    full = url if "://" in url else f"{pool.scheme}://{pool.host}:{pool.port}{url}"
    return begin(method.upper(), full, pool.scheme, pool.host, pool.port)


def _sent(call: Call, pool: Any, given: Any) -> Any:
    """A copy: the caller's own headers go to the next host as well."""
    merged = urllib3.HTTPHeaderDict(pool.headers if given is None else given)
    more = headers(call, lambda name: name in merged)
    for name, value in more:
        merged[name] = value
    return merged if more else given


def _read(original: Any) -> Any:
    """A part of the body, for those who asked not to have it with the headers."""

    def read(self: Any, *args: Any, **more: Any) -> Any:
        frame = getattr(self, "_firstcause_frame", None)
        if frame is None or within("http:"):
            return original(self, *args, **more)
        with Wait(frame):
            return original(self, *args, **more)

    return read


def _read_chunked(original: Any) -> Any:
    def read_chunked(self: Any, *args: Any, **more: Any) -> Any:
        frame = getattr(self, "_firstcause_frame", None)
        body = original(self, *args, **more)
        return body if frame is None else chunks(body, Wait(frame))

    return read_chunked
