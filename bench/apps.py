"""The servers under measurement: one small FastAPI application, instrumented as `BENCH_PEER` says.

Started by `bench.overhead` as `python -m bench.apps <fd of a listening socket>`. The application is
the same for every peer; only what is switched on around it differs.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
from collections.abc import Callable

import uvicorn
from fastapi import FastAPI
from opentelemetry import trace
from starlette.types import ASGIApp, Message, Receive, Scope, Send

Line = Callable[[str, str, int], None]
tracer = trace.get_tracer("bench")


async def step(number: int) -> int:
    """One concurrent child span with four attributes, made by the OpenTelemetry API."""
    with tracer.start_as_current_span("step") as span:
        span.set_attribute("step.number", number)
        span.set_attribute("step.kind", "bench")
        span.set_attribute("step.even", number % 2 == 0)
        span.set_attribute("step.weight", 0.5)
        # Back to the loop, so that all five are open at once.
        await asyncio.sleep(0)
    return number


def application() -> FastAPI:
    """The bare application: a trivial route and one with five concurrent children."""
    app = FastAPI()

    @app.get("/items/{item_id}")
    async def item(item_id: int) -> dict[str, int | str]:
        return {"id": item_id, "name": "lamp"}

    @app.get("/fan")
    async def fan() -> dict[str, list[int]]:
        return {"steps": list(await asyncio.gather(*(step(number) for number in range(5))))}

    return app


def bare(app: FastAPI) -> None:
    """Nothing around the application."""


def firstcause(app: FastAPI) -> None:
    """All signals, ledger and canonical line; exporter and sampler come from `OTEL_*`."""
    import firstcause

    firstcause.configure(service="bench", app=app)


def stock(app: FastAPI) -> None:
    """OpenTelemetry SDK and contrib, all three signals over OTLP/HTTP, one log record per request."""
    # Imported in here: the memory of the other peers must not hold it.
    from opentelemetry import metrics
    from opentelemetry._logs import set_logger_provider
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
    from opentelemetry.instrumentation.logging.handler import LoggingHandler
    from opentelemetry.sdk._logs import LoggerProvider
    from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    traces = TracerProvider()
    traces.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(traces)
    metrics.set_meter_provider(MeterProvider([PeriodicExportingMetricReader(OTLPMetricExporter())]))
    logs = LoggerProvider()
    logs.add_log_record_processor(BatchLogRecordProcessor(OTLPLogExporter()))
    set_logger_provider(logs)
    log = logging.getLogger("bench")
    log.setLevel(logging.INFO)
    log.addHandler(LoggingHandler(logger_provider=logs))

    def line(method: str, path: str, status: int) -> None:
        log.info("request", extra={"method": method, "path": path, "status": status})

    app.add_middleware(PerRequest, line=line)
    # The two extra spans per request (receive, send) are off: the cheaper, and fairer, setting.
    FastAPIInstrumentor.instrument_app(app, exclude_spans=["receive", "send"])


def prometheus(app: FastAPI) -> None:
    """prometheus-fastapi-instrumentator and one structlog line per request: what many teams have."""
    import structlog
    from prometheus_fastapi_instrumentator import Instrumentator

    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.JSONRenderer(),
        ]
    )
    log = structlog.get_logger()

    def line(method: str, path: str, status: int) -> None:
        log.info("request", method=method, path=path, status=status)

    app.add_middleware(PerRequest, line=line)
    Instrumentator().instrument(app).expose(app)


class PerRequest:
    """One log line after each response, as plain ASGI: the cheapest way an application can do it."""

    def __init__(self, app: ASGIApp, line: Line) -> None:
        self._app, self._line = app, line

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass everything on; remember the status, then log."""
        # What ServerErrorMiddleware, which is outside of this one, answers when the application raises.
        status = 500

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        await self._app(scope, receive, noting)
        if scope["type"] == "http":
            self._line(scope["method"], scope["path"], status)


PEERS: dict[str, Callable[[FastAPI], None]] = {
    "bare": bare,
    "firstcause": firstcause,
    "stock": stock,
    "prometheus": prometheus,
}


def main() -> None:
    """Serve on the inherited listening socket until told to stop."""
    app = application()
    PEERS[os.environ["BENCH_PEER"]](app)
    # No access log for any peer: it has a cost of its own, of the order of what is measured.
    config = uvicorn.Config(app, log_level="warning", access_log=False, loop="uvloop", http="httptools")
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=int(sys.argv[1]))])


if __name__ == "__main__":
    main()
