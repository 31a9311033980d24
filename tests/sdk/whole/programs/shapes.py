"""Every shape that a response can have in Starlette and FastAPI; started with BASE=1 below a BaseHTTPMiddleware.

A gate holds a response until `POST /release/<gate>`, so that tests await events and not time.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
import tempfile
import threading
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Annotated, Any

import uvicorn
from fastapi import APIRouter, BackgroundTasks, Depends, FastAPI, HTTPException, Request, WebSocket
from fastapi.responses import FileResponse, PlainTextResponse, Response, StreamingResponse
from opentelemetry import trace
from starlette.background import BackgroundTask
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.routing import Route, Router
from starlette.staticfiles import StaticFiles

import firstcause

app = FastAPI()
setup = firstcause.configure(service="shapes", app=app)
print(json.dumps({"event": "up", "metrics": setup.metrics_address}), flush=True)
log = firstcause.get_logger()
tracer = trace.get_tracer("shapes")
gates: dict[str, threading.Event] = defaultdict(threading.Event)


async def opened(gate: str) -> None:
    """Wait for a gate without holding up the loop."""
    await asyncio.to_thread(gates[gate].wait, 20)


@app.post("/release/{gate}")
async def release(gate: str) -> None:
    """Open a gate."""
    gates[gate].set()


# -- streams ------------------------------------------------------------------------------------


@app.get("/stream/{gate}")
async def stream(gate: str) -> StreamingResponse:
    """Two chunks with a gate between, the second under a span and a resource."""

    async def rows() -> AsyncIterator[bytes]:
        yield b"first\n"
        await opened(gate)
        with tracer.start_as_current_span("rows"), firstcause.spending("lock:rows"):
            await asyncio.sleep(0.02)
            log.info("half way")
            yield b"second\n"

    return StreamingResponse(rows(), media_type="text/plain")


@app.get("/threads/{gate}")
def threads(gate: str) -> StreamingResponse:
    """The same from an ordinary generator, which Starlette runs in its thread pool, a thread per step."""

    def rows() -> Iterator[bytes]:
        yield b"first\n"
        gates[gate].wait(20)
        with tracer.start_as_current_span("rows"), firstcause.spending("lock:rows"):
            yield b"second\n"
            yield b"third\n"

    return StreamingResponse(rows(), media_type="text/plain")


@app.get("/events/{gate}")
async def events(gate: str, request: Request) -> StreamingResponse:
    """Server-sent events until the gate opens or the reader goes."""

    async def told() -> AsyncIterator[str]:
        with tracer.start_as_current_span("subscription"):
            yield "data: hello\n\n"
            while not gates[gate].is_set() and not await request.is_disconnected():
                await asyncio.sleep(0.01)
                yield "data: tick\n\n"
        yield "data: bye\n\n"

    return StreamingResponse(told(), media_type="text/event-stream")


@app.get("/broken-stream")
async def broken_stream() -> StreamingResponse:
    """Raises when the status is long sent."""

    async def rows() -> AsyncIterator[bytes]:
        yield b"first\n"
        raise LookupError("no second row")

    return StreamingResponse(rows())


# -- background, dependencies, threads ----------------------------------------------------------


@app.get("/background/{gate}")
async def background(gate: str, tasks: BackgroundTasks) -> dict[str, str]:
    """Answers at once, works on until the gate opens."""

    async def afterwards() -> None:
        await opened(gate)
        with tracer.start_as_current_span("afterwards"):
            log.info("background done", gate=gate)

    tasks.add_task(afterwards)
    return {"done": "yes"}


@app.get("/background-fails")
async def background_fails() -> Response:
    """What fails after the answer is not the answer's failure."""

    def afterwards() -> None:
        raise LookupError("in the background")

    return PlainTextResponse("done", background=BackgroundTask(afterwards))


def connection() -> Iterator[str]:
    """A dependency whose two halves run in different threads and contexts."""
    with tracer.start_as_current_span("connection"), firstcause.spending("lock:connection"):
        yield "connected"


async def session() -> AsyncIterator[str]:
    """The same in a coroutine."""
    with tracer.start_as_current_span("session"), firstcause.spending("lock:session"):
        yield "session"


@app.get("/dependencies")
def dependencies(a: Annotated[str, Depends(connection)], b: Annotated[str, Depends(session)]) -> dict[str, str]:
    """Works in a thread, under both."""
    log.info("in a thread", thread=threading.current_thread().name)
    with firstcause.spending("lock:thread"):
        threading.Event().wait(0.02)
    return {"a": a, "b": b}


@app.get("/fan")
async def fan() -> dict[str, int]:
    """Concurrent tasks under one request."""

    async def step(n: int) -> int:
        with tracer.start_as_current_span("step"):
            await asyncio.sleep(0.005)
        return n

    return {"sum": sum(await asyncio.gather(*(step(n) for n in range(5))))}


# -- answers ------------------------------------------------------------------------------------

REUSED = PlainTextResponse("the same every time", headers={"x-app": "yes"})
TAGGED = Response(status_code=304, headers={"etag": '"one"'})


@app.get("/reused")
async def reused() -> Response:
    """One Response object for all requests."""
    return REUSED


@app.get("/shared-headers")
async def shared_headers() -> Response:
    """Many Response objects over one list of raw headers."""
    answer = Response(b"", status_code=200)
    answer.raw_headers = SHARED
    return answer


SHARED: list[tuple[bytes, bytes]] = [(b"x-app", b"yes"), (b"content-length", b"0")]


@app.get("/tagged")
async def tagged() -> Response:
    """Not modified."""
    return TAGGED


@app.head("/headed")
@app.get("/headed")
async def headed() -> PlainTextResponse:
    """For HEAD, whose body stays away."""
    return PlainTextResponse("body")


@app.get("/own-headers")
async def own_headers() -> Response:
    """An application with headers of our names."""
    return PlainTextResponse("mine", headers={"server-timing": "app;dur=1", "X-Request-Id": "of the application"})


with tempfile.NamedTemporaryFile("wb", suffix=".txt", delete=False) as made:
    made.write(b"0123456789" * 20_000)
PATH = Path(made.name)


@app.get("/file")
async def file() -> FileResponse:
    """A file, also in ranges."""
    return FileResponse(PATH)


@app.get("/refused")
async def refused() -> None:
    """An answer by exception."""
    raise HTTPException(418, "a teapot")


@app.get("/raises")
async def raises() -> None:
    """An exception nobody handles."""
    raise LookupError("nobody handles this")


class _Handled(Exception):
    pass


@app.exception_handler(_Handled)
async def handler(_request: Request, _error: Exception) -> Response:
    """Turns it into an answer."""
    log.info("handled")
    return PlainTextResponse("handled", status_code=409)


@app.get("/handled")
async def handled() -> None:
    """An exception that the application turns into an answer."""
    raise _Handled


@app.get("/validated/{number}")
async def validated(number: int) -> dict[str, int]:
    """Refuses words."""
    return {"number": number}


# -- cancelled, timed out -----------------------------------------------------------------------


@app.get("/waits/{gate}")
async def waits(gate: str) -> dict[str, str]:
    """Answers when the gate opens; its reader may have gone."""
    await opened(gate)
    return {"done": "yes"}


@app.get("/times-out")
async def times_out() -> Response:
    """Gives up itself."""
    try:
        async with asyncio.timeout(0.02):
            with tracer.start_as_current_span("too slow"):
                await asyncio.sleep(30)
    except TimeoutError:
        return PlainTextResponse("too slow", status_code=504)
    return PlainTextResponse("never")


@app.get("/cancelled")
async def cancelled() -> None:
    """Is cancelled from outside, as at a shutdown."""
    task = asyncio.current_task()
    assert task is not None
    with tracer.start_as_current_span("doomed"):
        task.cancel()
        await asyncio.sleep(1)


# -- routes -------------------------------------------------------------------------------------

things = APIRouter(prefix="/things")


@things.get("/{thing_id}")
async def thing(thing_id: int) -> dict[str, int]:
    """Below two prefixes."""
    return {"id": thing_id}


version = APIRouter(prefix="/v1")
version.include_router(things)
app.include_router(version, prefix="/api")

sub = FastAPI()


@sub.get("/items/{item_id}")
async def sub_item(item_id: int) -> dict[str, int]:
    """In a mounted application."""
    return {"id": item_id}


@sub.get("/raises")
async def sub_raises() -> None:
    """Fails in a mounted application."""
    raise LookupError("in the mounted application")


app.mount("/sub", sub)


async def tenant_item(request: Request) -> Response:
    """Below a mount with a parameter."""
    return PlainTextResponse(request.path_params["tenant"])


app.mount("/tenants/{tenant}", Router([Route("/items/{item_id}", tenant_item)]))
app.mount("/static", StaticFiles(directory=str(PATH.parent)))


# -- websockets ---------------------------------------------------------------------------------


@app.websocket("/ws/{room}")
async def ws(socket_: WebSocket, room: str) -> None:
    """Echoes until told to stop."""
    await socket_.accept()
    log.info("joined", room=room)
    with tracer.start_as_current_span("conversation"):
        async for text in socket_.iter_text():
            if text == "fail":
                raise LookupError("in the conversation")
            await socket_.send_text(f"{room}: {text}")


# -- around everything --------------------------------------------------------------------------


class Around(BaseHTTPMiddleware):
    """What people write: something before, something after."""

    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        """Adds a header."""
        with tracer.start_as_current_span("around"):
            answer = await call_next(request)
        answer.headers["x-around"] = "yes"
        return answer


if os.environ.get("BASE"):
    app.add_middleware(Around)


def main() -> None:
    """Serve on the inherited listening socket."""
    config: Any = uvicorn.Config(app, log_level="warning", access_log=False, ws="wsproto")
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=int(sys.argv[1]))])
    PATH.unlink()


if __name__ == "__main__":
    main()
