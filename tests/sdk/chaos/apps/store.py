"""The Flask service; `WATCHED` puts the three lines in."""

import os

import weather  # isort: skip

from collections.abc import Iterator
from typing import Any

from flask import Flask, Response, request
from work import NastyError, work

app = Flask(__name__)


@app.get("/ready")
def ready() -> dict[str, Any]:
    return {"ready": True}


@app.get("/items/<int:number>")
@app.get("/threads/<int:number>")
def item(number: int) -> dict[str, Any]:
    return {"number": work(number)}


@app.get("/stream")
def stream() -> Response:
    def rows() -> Iterator[bytes]:
        for number in range(3):
            yield b"row %d\n" % work(number)

    return Response(rows(), mimetype="text/plain")


@app.post("/echo")
def echo() -> tuple[bytes, int, dict[str, str]]:
    return request.get_data(), 418, {"x-shop": "yes"}


@app.get("/boom")
def boom() -> str:
    raise NastyError


if os.environ.get("WATCHED"):
    import firstcause

    firstcause.configure(service="store", app=app)
if weather.KIND == "raising":
    weather.raising_things()
