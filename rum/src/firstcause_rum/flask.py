"""The endpoint as a Flask blueprint."""

from __future__ import annotations

from time import monotonic
from typing import Any

from flask import Blueprint, Response, request

from . import script
from ._config import Config
from .body import BAD, LARGE, MOST
from .core import Core, Reply, Visit

_PIECE = 8192


def blueprint(config: Config | None = None) -> Blueprint:
    """Beacons at the configured path, the script at `<path>.js`."""
    core = Core(config)
    made = Blueprint("firstcause_rum", __name__)

    def beacon() -> Response:
        return _response(_reply(core))

    def serve_script() -> Response:
        found = script.load(core.config.script)
        if found is None:
            return Response(status=404)
        status, headers, text = found.answer(request.headers.get("If-None-Match", ""))
        return Response(text, status, headers)

    path = core.config.path
    # The preflight is ours to answer: what Flask answers to OPTIONS knows nothing of origins.
    made.add_url_rule(
        path, "beacon", beacon, methods=["POST", "OPTIONS"], provide_automatic_options=False, strict_slashes=True
    )
    made.add_url_rule(path + ".js", "script", serve_script)
    return made


def _reply(core: Core) -> Reply:
    headers = {name.lower(): value for name, value in request.headers.items() if name.lower() in core.wanted}
    visit = core.admit(request.method, headers, request.environ.get("REMOTE_ADDR", ""))
    return visit if isinstance(visit, Reply) else _judged(core, visit)


def _judged(core: Core, visit: Visit) -> Reply:
    environ = request.environ
    length = visit.headers.get("content-length")
    if length is None and not environ.get("wsgi.input_terminated"):
        return core.refuse(visit, BAD, "length")  # nobody could say where such a body ends
    try:
        # Not `get_data`, which waits for as long as the sender likes.
        raw = _read(environ["wsgi.input"], MOST + 1 if length is None else int(length), core.config.read_s)
    except OSError:
        raw = None
    if raw is None:
        return core.refuse(visit, BAD, "slow")
    return core.refuse(visit, LARGE, "size") if len(raw) > MOST else core.accept(visit, raw)


def _read(stream: Any, most: int, limit_s: float) -> bytes | None:
    """At most `most` bytes; None when they took too long. One piece that never comes is the server's to end."""
    parts, left, deadline = [], most, monotonic() + limit_s
    while left > 0:
        piece = stream.read(min(left, _PIECE))
        if not piece:
            break
        parts.append(piece)
        left -= len(piece)
        if monotonic() > deadline:
            return None
    return b"".join(parts)


def _response(reply: Reply) -> Response:
    response = Response(status=reply.status, headers=list(reply.headers))
    del response.headers["Content-Type"]
    return response
