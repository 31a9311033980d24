"""Every shape that a response can have in Flask, under waitress or gunicorn's threads."""

from __future__ import annotations

import json
import socket
import sys
import threading
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import waitress
from flask import Blueprint, Flask, Response, abort, g, request, stream_with_context
from opentelemetry import trace

import firstcause

app = Flask("shapes")
setup = firstcause.configure(service="shapes", app=app)
print(json.dumps({"event": "up", "metrics": setup.metrics_address}), flush=True)
log = firstcause.get_logger()
tracer = trace.get_tracer("shapes")
gates: dict[str, threading.Event] = defaultdict(threading.Event)


@app.post("/release/<gate>")
def release(gate: str) -> str:
    """Open a gate."""
    gates[gate].set()
    return ""


@app.before_request
def before() -> Any:
    """Fails, or answers itself, when told to."""
    g.token = "token"
    if request.path == "/before-fails":
        raise LookupError("before the request")
    if request.path == "/before-answers":
        return "answered before", 203
    return None


@app.teardown_request
def teardown(_error: BaseException | None) -> None:
    """Fails when told to."""
    if request.path == "/teardown-fails":
        raise LookupError("at the teardown")


@app.get("/before-fails")
@app.get("/before-answers")
@app.get("/teardown-fails")
@app.get("/plain")
def plain() -> str:
    """Nothing special."""
    return "plain"


@app.get("/stream/<gate>")
def stream(gate: str) -> Response:
    """A generator that the server iterates after the view has returned."""

    def rows() -> Iterator[bytes]:
        yield b"first\n"
        gates[gate].wait(20)
        with tracer.start_as_current_span("rows"), firstcause.spending("lock:rows"):
            log.info("half way")
            yield b"second\n"

    return Response(rows(), mimetype="text/plain")


@app.get("/context/<gate>")
def context(gate: str) -> Response:
    """The same with Flask's own context kept, under a span that is open across the yields."""

    def rows() -> Iterator[str]:
        with tracer.start_as_current_span("rows"):
            yield "first\n"
            gates[gate].wait(20)
            yield request.path + g.token + "\n"

    return Response(stream_with_context(rows()), mimetype="text/plain")


@app.get("/broken-stream")
def broken_stream() -> Response:
    """Raises when the status is long sent."""

    def rows() -> Iterator[bytes]:
        yield b"first\n"
        raise LookupError("no second row")

    return Response(rows(), mimetype="text/plain")


@app.get("/aborts/<int:status>")
def aborts(status: int) -> str:
    """An answer by exception."""
    abort(status)


@app.get("/raises")
def raises() -> str:
    """An exception nobody handles."""
    raise LookupError("nobody handles this")


class _Handled(Exception):
    pass


@app.errorhandler(_Handled)
def handler(_error: Exception) -> tuple[str, int]:
    """Turns it into an answer."""
    return "handled", 409


@app.get("/handled")
def handled() -> str:
    """An exception that the application turns into an answer."""
    raise _Handled


REUSED = Response("the same every time", headers={"x-app": "yes"})


@app.get("/reused")
def reused() -> Response:
    """One Response object for all requests."""
    return REUSED


@app.get("/tagged")
def tagged() -> Response:
    """Conditional: 304 for those who have it."""
    answer = Response("body")
    answer.set_etag("one")
    answer.make_conditional(request)
    return answer


@app.get("/own-headers")
def own_headers() -> Response:
    """An application with headers of our names."""
    return Response("mine", headers={"server-timing": "app;dur=1", "X-Request-Id": "of the application"})


@app.get("/threads")
def threads() -> dict[str, str]:
    """Starts a thread of its own."""

    def work() -> None:
        with tracer.start_as_current_span("in a thread"), firstcause.spending("lock:thread"):
            log.info("in a thread")
            threading.Event().wait(0.02)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    return {"done": "yes"}


things = Blueprint("things", __name__, url_prefix="/things")


@things.get("/<int:thing_id>")
def thing(thing_id: int) -> dict[str, int]:
    """Below two prefixes."""
    return {"id": thing_id}


version = Blueprint("version", __name__, url_prefix="/api/v1")
version.register_blueprint(things)
app.register_blueprint(version)


if __name__ == "__main__":
    waitress.serve(app, sockets=[socket.socket(fileno=int(sys.argv[1]))], threads=8, _quiet=True)
