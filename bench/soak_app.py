"""The service that soaks: every value that a caller can make up reaches some part of the SDK.

Started as `python -m bench.soak_app bare|watched <fd of a listening socket>`; prints where `/metrics` is.
"""

from __future__ import annotations

import logging
import socket
import sys

import uvicorn
from fastapi import FastAPI, Request, Response
from opentelemetry import metrics, trace

tracer = trace.get_tracer("soak")
log = logging.getLogger("soak")


def application() -> FastAPI:
    """Users, sessions, span and log attributes, metric attributes, errors: all of the caller's choice."""
    import firstcause

    app = FastAPI(openapi_url=None)
    orders = metrics.get_meter("soak").create_counter("soak.orders")

    @app.api_route("/task/{name}", methods=["GET", "POST"])
    async def work(name: str, request: Request) -> dict[str, str]:
        user = request.headers.get("x-user", "")
        firstcause.identify(user=user, session=user[::-1])
        with tracer.start_as_current_span(f"work {name}") as span, firstcause.spending(f"lock:{name}"):
            span.set_attribute(f"soak.{name}", user)
            span.add_event(name, {"user": user})
            log.info("worked on %s", name, extra={"user": user})
        orders.add(1, {"user": user, "name": name})
        return {"name": name}

    @app.get("/boom/{name}")
    async def boom(name: str) -> Response:
        # A class per name: it becomes `error.type`, and whatever keeps classes as keys would keep them all alive.
        raise type(f"Error{name}", (LookupError,), {})(name)

    return app


def main() -> None:
    """Serve on the inherited listening socket until told to stop."""
    kind, listener = sys.argv[1], int(sys.argv[2])
    if kind == "watched":
        import firstcause

        # First of all, so that the meter is ours.
        address = firstcause.configure(service="soak").metrics_address
        app = application()
        firstcause.configure(app=app)
    else:
        address, app = "", application()
    sys.stderr.write(address + "\n")
    config = uvicorn.Config(app, log_level="critical", access_log=False, loop="uvloop", http="httptools")
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=listener)])


if __name__ == "__main__":
    main()
