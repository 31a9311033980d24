"""One application, asked the same questions under one engine; prints what that engine reported.

    python conformance_app.py firstcause | on native | on contrib | contrib | native

`contrib` and `native` are the oracles: the standard SDK with opentelemetry-instrumentation-fastapi, and FastAPI's
own telemetry. A program of its own, since a process has one provider and reads its conventions once.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from http.client import HTTPConnection
from typing import Any

import uvicorn
from fastapi import APIRouter, BackgroundTasks, FastAPI, HTTPException, WebSocket
from fastapi.responses import StreamingResponse
from opentelemetry import trace
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from starlette.requests import Request
from starlette.responses import PlainTextResponse

REQUESTS: dict[str, tuple[str, str, dict[str, str]]] = {
    "200": ("GET", "/plain", {}),
    "query": ("GET", "/plain?a=1&sig=planted&password=planted&empty=", {}),
    "host": ("GET", "/plain", {"Host": "shop.example:8443"}),
    "host without port": ("GET", "/plain", {"Host": "shop.example"}),
    "agent": ("GET", "/plain", {"User-Agent": "shop-app/3.1"}),
    "robot": ("GET", "/plain", {"User-Agent": "Googlebot/2.1"}),
    "parent": ("GET", "/plain", {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}),
    "forwarded": ("GET", "/plain", {"X-Forwarded-For": "203.0.113.7", "X-Forwarded-Proto": "https"}),
    "404": ("GET", "/absent", {}),
    "405": ("POST", "/plain", {}),
    "unknown method": ("BREW", "/plain", {}),
    "lower-case method": ("get", "/plain", {}),
    "422": ("GET", "/typed?n=many", {}),
    "418 by a handler": ("GET", "/teapot", {}),
    "503 by HTTPException": ("GET", "/busy", {}),
    "500 by an exception": ("GET", "/broken", {}),
    "500 returned": ("GET", "/sorry", {}),
    "path parameter": ("GET", "/items/7", {}),
    "redirect": ("GET", "/items/7/", {}),
    "included": ("GET", "/api/v1/things/3", {}),
    "mounted": ("GET", "/sub/inner/9", {}),
    "mounted 404": ("GET", "/sub/absent", {}),
    "in a thread": ("GET", "/threaded", {}),
    "streaming": ("GET", "/stream", {}),
    "background": ("GET", "/background", {}),
    "HEAD": ("HEAD", "/headed", {}),
    "body": ("POST", "/echo", {"Content-Type": "application/json"}),
}
"""Case to method, target and headers."""
PROVIDED = {"firstcause": "firstcause", "on native": "opentelemetry", "on contrib": "opentelemetry"}


class Teapot(Exception):
    """Handled by the application itself."""


def make_app(**settings: Any) -> FastAPI:
    """Every way to a route that FastAPI knows."""
    app = FastAPI(openapi_url=None, **settings)
    router, inner = APIRouter(), FastAPI(openapi_url=None)

    @app.exception_handler(Teapot)
    async def on_teapot(_request: Request, _error: Exception) -> PlainTextResponse:
        return PlainTextResponse("short and stout", 418)

    @app.get("/plain")
    async def plain() -> str:
        return "ok"

    @app.get("/typed")
    async def typed(n: int) -> int:
        return n

    @app.get("/teapot")
    async def teapot() -> None:
        raise Teapot

    @app.get("/busy")
    async def busy() -> None:
        raise HTTPException(503)

    @app.get("/broken")
    async def broken() -> None:
        raise LookupError("password=planted")

    @app.get("/sorry")
    async def sorry() -> PlainTextResponse:
        return PlainTextResponse("sorry", 500)

    @app.get("/items/{item}")
    async def items(item: int) -> int:
        return item

    @app.get("/threaded")
    def threaded() -> str:
        return "ok"

    @app.get("/stream")
    async def stream() -> StreamingResponse:
        return StreamingResponse(pieces())

    @app.get("/background")
    async def background(tasks: BackgroundTasks) -> str:
        tasks.add_task(int, "7")
        return "ok"

    @app.head("/headed")
    async def headed() -> None:
        return None

    @app.post("/echo")
    async def echo(request: Request) -> int:
        return len(await request.body())

    @router.get("/things/{thing}")
    async def things(thing: int) -> int:
        return thing

    @inner.get("/inner/{n}")
    async def within(n: int) -> int:
        return n

    @app.websocket("/ws")
    async def talk(socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_text(await socket.receive_text())
        await socket.close()

    app.include_router(router, prefix="/api/v1")
    app.mount("/sub", inner)
    return app


async def pieces() -> AsyncIterator[bytes]:
    """A body in three parts."""
    for n in range(3):
        yield b"%d" % n


class Finished:
    """Outermost: says when the application has done with a request, background tasks included."""

    def __init__(self, app: FastAPI) -> None:
        self._app, self.event = app, threading.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            await self._app(scope, receive, send)
        finally:
            if scope["type"] != "lifespan":
                self.event.set()

    def wait(self) -> None:
        """Until the request that is going on is over; raises TimeoutError."""
        if not self.event.wait(10):
            raise TimeoutError
        self.event.clear()


def main(engine: str) -> None:
    """Serve, ask, print."""
    spans = InMemorySpanExporter()
    app, read_metrics = (ours if engine in PROVIDED else oracle)(engine, SimpleSpanProcessor(spans))
    finished, found = Finished(app), {}
    with Served(finished) as port:
        for case, request in REQUESTS.items():
            before = read_metrics()
            ask(port, *request)
            finished.wait()
            found[case] = {
                "spans": [told(span, port) for span in spans.get_finished_spans()],
                "metrics": [json.loads(series) for series in sorted((read_metrics() - before).elements())],
            }
            spans.clear()
        converse(port)
        finished.wait()
        found["websocket"] = {"spans": [told(span, port) for span in spans.get_finished_spans()], "metrics": []}
    print(json.dumps(found))


def ours(engine: str, processor: SimpleSpanProcessor) -> tuple[FastAPI, Any]:
    """The SDK as a service uses it."""
    import firstcause

    app = make_app()
    if engine == "on contrib":
        from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor

        FastAPIInstrumentor.instrument_app(app, exclude_spans=["receive", "send"])
    setup = firstcause.configure(
        "shop", app=app, traces=False, logs=False, log_stream="none", metrics_port=0, engine=PROVIDED[engine]
    )
    provider: Any = trace.get_tracer_provider()
    provider.add_span_processor(processor)
    return app, lambda: scraped(setup.metrics_address)


def oracle(engine: str, processor: SimpleSpanProcessor) -> tuple[FastAPI, Any]:
    """The standard SDK, with contrib or with FastAPI's own telemetry."""
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from opentelemetry.sdk.trace import TracerProvider

    reader = InMemoryMetricReader()
    tracers, meters = TracerProvider(), MeterProvider([reader])
    tracers.add_span_processor(processor)
    if engine == "native":
        telemetry = {"tracer_provider": tracers, "meter_provider": meters, "logs": False, "operation_spans": False}
        return make_app(telemetry=telemetry), lambda: collected(reader)
    from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor

    app = make_app()
    FastAPIInstrumentor.instrument_app(
        app, tracer_provider=tracers, meter_provider=meters, exclude_spans=["receive", "send"]
    )
    return app, lambda: collected(reader)


DURATION = "http.server.request.duration"


def collected(reader: Any) -> Counter[str]:
    """How often each series of the duration was observed."""
    data = reader.get_metrics_data()
    points = [
        point
        for resource in (data.resource_metrics if data else ())
        for scope in resource.scope_metrics
        for metric in scope.metrics
        if metric.name == DURATION
        for point in metric.data.data_points
    ]
    as_labels = [{k.replace(".", "_"): str(v) for k, v in sorted(p.attributes.items())} for p in points]
    return Counter({json.dumps(labels): p.count for labels, p in zip(as_labels, points, strict=True)})


def scraped(address: str) -> Counter[str]:
    """The same of `/metrics`; labels that say where the series comes from are left out."""
    from urllib.request import urlopen

    from prometheus_client.parser import text_string_to_metric_families

    with urlopen(address, timeout=10) as reply:
        families = text_string_to_metric_families(reply.read().decode())
        counts = [
            s for family in families for s in family.samples if s.name == "http_server_request_duration_seconds_count"
        ]
    return Counter({json.dumps(named(s.labels)): int(s.value) for s in counts})


def named(labels: Mapping[str, str]) -> dict[str, str]:
    """Labels as attributes; an empty one is none, and those of the origin are the resource's."""
    origin = ("service_name", "service_version", "service_instance_id", "deployment_environment_name")
    return {k: v for k, v in sorted(labels.items()) if v and k not in origin}


def told(span: Any, port: int) -> dict[str, Any]:
    """What a reader of the trace sees; ports are the machine's choice, and get names."""
    attributes = {name: named_port(value, port) for name, value in sorted(span.attributes.items())}
    if "client.port" in attributes:
        attributes["client.port"] = "<client>"
    return {
        "name": span.name,
        "kind": span.kind.name,
        "id": f"{span.context.span_id:016x}",
        "parent": f"{span.parent.span_id:016x}" if span.parent else "",
        "attributes": attributes,
        "status": span.status.status_code.name,
        "events": [event.name for event in span.events],
    }


def named_port(value: Any, port: int) -> Any:
    """`<port>` in place of the one that was free."""
    if value == port:
        return "<port>"
    return value.replace(str(port), "<port>") if isinstance(value, str) else value


class Served:
    """The application under a real uvicorn."""

    def __init__(self, app: Finished) -> None:
        self._sock = socket.socket()
        self._sock.bind(("127.0.0.1", 0))
        self._server = uvicorn.Server(
            uvicorn.Config(app, log_level="critical", access_log=False, http="h11", ws="wsproto")
        )
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._sock]})

    def __enter__(self) -> int:
        self._sock.listen()  # who connects before the server accepts waits in the backlog
        self._thread.start()
        return int(self._sock.getsockname()[1])

    def __exit__(self, *_error: object) -> None:
        self._server.should_exit = True
        self._thread.join()


def ask(port: int, method: str, target: str, headers: Mapping[str, str]) -> None:
    """One request on a connection of its own."""
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request(method, target, b"{}" if method == "POST" else None, dict(headers))
    connection.getresponse().read()
    connection.close()


def converse(port: int) -> None:
    """Open a websocket, say one word, and wait for the end."""
    from wsproto import ConnectionType, WSConnection
    from wsproto.events import AcceptConnection, CloseConnection, Request, TextMessage

    peer = WSConnection(ConnectionType.CLIENT)
    with socket.create_connection(("127.0.0.1", port), 10) as sock:
        sock.sendall(peer.send(Request(host=f"127.0.0.1:{port}", target="/ws")))
        for event in heard(peer, sock):
            if isinstance(event, AcceptConnection):
                sock.sendall(peer.send(TextMessage("word")))
            elif isinstance(event, CloseConnection):
                sock.sendall(peer.send(event.response()))
                return


def heard(peer: Any, sock: socket.socket) -> Iterator[Any]:
    """What the peer says, until it is gone."""
    while data := sock.recv(65_536):
        peer.receive_data(data)
        yield from peer.events()


if __name__ == "__main__":
    os.environ["OTEL_SEMCONV_STABILITY_OPT_IN"] = "http"
    main(sys.argv[1])
