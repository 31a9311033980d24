"""The FastAPI service; `WATCHED` puts the three lines in."""

import os

import weather  # isort: skip

from collections.abc import AsyncIterator

from fastapi import FastAPI, Request, Response
from fastapi.responses import StreamingResponse
from work import NastyError, work

app = FastAPI()


@app.get("/ready")
async def ready() -> dict[str, bool]:
    return {"ready": True}


@app.get("/items/{number}")
async def item(number: int) -> dict[str, int]:
    return {"number": work(number)}


@app.get("/threads/{number}")
def threaded(number: int) -> dict[str, int]:
    return {"number": work(number)}


@app.get("/stream")
async def stream() -> StreamingResponse:
    async def rows() -> AsyncIterator[bytes]:
        for number in range(3):
            yield b"row %d\n" % work(number)

    return StreamingResponse(rows(), media_type="text/plain")


@app.post("/echo")
async def echo(request: Request) -> Response:
    return Response(await request.body(), 418, {"x-shop": "yes"})


@app.get("/boom")
async def boom() -> None:
    raise NastyError


if os.environ.get("WATCHED"):
    import firstcause

    firstcause.configure(service="shop", app=app)
if weather.KIND == "raising":
    weather.raising_things()
