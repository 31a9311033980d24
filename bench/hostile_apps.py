"""The applications under hostile requests: routes of every kind that a mutation can reach.

Also the server of both: `python -m bench.hostile_apps bare|watched <fd of a listening socket>`.
"""

from __future__ import annotations

import hashlib
import socket
import sys
from collections.abc import AsyncIterator, Iterator

import flask
import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import StreamingResponse

ROWS = 20


def _digest(body: bytes, headers: list[tuple[str, str]]) -> bytes:
    """What came in, as an application sees it: the body, and the headers that are its own business."""
    own = sorted((k.lower(), v) for k, v in headers if k.lower().startswith("x-"))
    return f"{len(body)} {hashlib.sha256(body).hexdigest()} {own!r}".encode("utf-8", "replace")


def asgi_application() -> FastAPI:
    """FastAPI, its native telemetry off: the bare one would find the provider of the watched one beside it."""
    app = FastAPI(openapi_url=None, telemetry={"tracing": False, "metrics": False, "logs": False})

    @app.get("/items/{item_id}")
    async def item(item_id: int, q: str = "") -> dict[str, int | str]:
        return {"id": item_id, "q": q}

    @app.api_route("/echo", methods=["GET", "POST", "PUT", "PATCH", "DELETE"])
    async def echo(request: Request) -> Response:
        return Response(_digest(await request.body(), request.headers.items()))

    @app.get("/stream")
    async def stream(n: int = 3) -> StreamingResponse:
        async def rows() -> AsyncIterator[bytes]:
            # `n` is a mutation's: without a bound one request could last as long as the bench.
            for number in range(min(max(n, 0), ROWS)):
                yield b"row %d\n" % number

        return StreamingResponse(rows(), media_type="text/plain")

    @app.get("/sync/{name}")
    def named(name: str) -> Response:
        return Response(name.encode("utf-8", "replace"), headers={"x-app": "yes"}, status_code=203)

    @app.get("/boom")
    async def boom(kind: str = "") -> None:
        raise LookupError(kind)

    return app


def wsgi_application() -> flask.Flask:
    """The same in Flask."""
    app = flask.Flask("hostile")

    @app.get("/items/<int:item_id>")
    def item(item_id: int) -> dict[str, int | str]:
        return {"id": item_id, "q": flask.request.args.get("q", "")}

    @app.route("/echo", methods=["GET", "POST", "PUT", "PATCH", "DELETE"])
    def echo() -> bytes:
        return _digest(flask.request.get_data(), list(flask.request.headers.items()))

    @app.get("/stream")
    def stream() -> flask.Response:
        n = flask.request.args.get("n", 3, type=int)

        def rows() -> Iterator[bytes]:
            for number in range(min(max(n, 0), ROWS)):
                yield b"row %d\n" % number

        return flask.Response(rows(), mimetype="text/plain")

    @app.get("/sync/<name>")
    def named(name: str) -> flask.Response:
        return flask.Response(name.encode("utf-8", "replace"), headers={"x-app": "yes"}, status=203)

    @app.get("/boom")
    def boom() -> str:
        raise LookupError(flask.request.args.get("kind", ""))

    return app


def serve(kind: str, listener: int) -> None:
    """One of the two servers, on an inherited socket."""
    import firstcause

    app = asgi_application()
    if kind == "watched":
        firstcause.configure(service="hostile", app=app)
    # No Date: two servers that are asked one after the other may be a second apart.
    config = uvicorn.Config(app, log_level="critical", access_log=False, date_header=False)
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=listener)])


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]))
