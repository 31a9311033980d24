"""Set-ups that were there before us, other exporters, and other ways to start: joined, and nothing told twice."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
import pytest
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2, logs_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

from tests.sdk.processes.served import HERE, Served
from tests.sdk.processes.sink import Sink, sink
from tests.sdk.processes.test_processes import _environ

APPLICATION = """
import os, sys
from fastapi import FastAPI
from fastapi.testclient import TestClient
import firstcause
from opentelemetry import trace
app = FastAPI()
@app.get("/items/{number}")
def item(number: int):
    with trace.get_tracer("theirs").start_as_current_span("work"):
        return number
{before}
report = firstcause.configure("shop", app=app, log_stream="none")
{after}
with TestClient(app) as client:
    assert 7 == client.get("/items/7").json()
print(report)
"""
PROVIDER = """
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
trace.set_tracer_provider(provider)
"""
INSTRUMENTED = """
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
FastAPIInstrumentor.instrument_app(app)
"""
PROCESSOR = """
class Seen:
    def on_start(self, span, parent_context=None): span.set_attribute("seen", "yes")
    def on_end(self, span): pass
    def shutdown(self): pass
    def force_flush(self, timeout_millis=0): return True
trace.get_tracer_provider().add_span_processor(Seen())
"""


def _run(endpoint: str, *, before: str = "", after: str = "", **environ: str) -> str:
    code = APPLICATION.replace("{before}", before).replace("{after}", after)
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env={**_environ(endpoint), **environ})
    assert 0 == done.returncode, done.stderr
    return done.stdout


def _told(collector: Sink) -> Counter[tuple[str, int]]:
    return Counter((span.name, span.kind) for span in collector.spans if span.kind == 2 or span.name == "work")


ONCE = {("GET /items/{number}", 2): 1, ("work", 1): 1}


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (PROVIDER, "", "joined the tracer provider that was set before"),
        (PROVIDER + INSTRUMENTED, "", "in place of opentelemetry-instrumentation-fastapi"),
        (INSTRUMENTED, "", "in place of opentelemetry-instrumentation-fastapi"),
        ("", INSTRUMENTED, "OpenTelemetry tracing API"),
    ],
    ids=["provider", "both", "instrumented", "instrumented later"],
)
def test_what_was_there_is_joined_and_never_doubled(before: str, after: str, said: str) -> None:
    """A provider with an exporter, the standard library on the application, before us or after: each span arrives once."""
    with sink() as collector:
        assert said in _run(collector.url, before=before, after=after)
        assert ONCE == _told(collector)


def test_a_processor_of_the_users_sees_and_changes_our_spans() -> None:
    """`add_span_processor` on the global provider works as with the SDK's."""
    with sink() as collector:
        _run(collector.url, after=PROCESSOR)
        assert ONCE == _told(collector)
        assert ["yes", "yes"] == [span.attributes["seen"] for span in collector.spans if (span.name, span.kind) in ONCE]


@pytest.mark.parametrize("sampler", ["always_off", "traceidratio"])
def test_a_sampler_of_the_environment_decides(sampler: str) -> None:
    """With nothing sampled nothing arrives, and the application answers."""
    with sink() as collector:
        _run(collector.url, OTEL_TRACES_SAMPLER=sampler, OTEL_TRACES_SAMPLER_ARG="0")
        assert {} == _told(collector)


@contextmanager
def _grpc_sink() -> Iterator[tuple[str, Sink]]:
    """A collector by gRPC that keeps spans and records."""
    made, server = Sink(), grpc.server(ThreadPoolExecutor(2))

    class Traces(trace_service_pb2_grpc.TraceServiceServicer):
        def Export(self, request: Any, context: Any) -> Any:  # noqa: N802 - gRPC's name
            made.take("/v1/traces", request.SerializeToString())
            return trace_service_pb2.ExportTraceServiceResponse()

    class Logs(logs_service_pb2_grpc.LogsServiceServicer):
        def Export(self, request: Any, context: Any) -> Any:  # noqa: N802 - gRPC's name
            made.take("/v1/logs", request.SerializeToString())
            return logs_service_pb2.ExportLogsServiceResponse()

    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(Traces(), server)
    logs_service_pb2_grpc.add_LogsServiceServicer_to_server(Logs(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"http://127.0.0.1:{port}", made
    finally:
        server.stop(None)


def test_the_stock_exporter_sends_by_grpc() -> None:
    """`OTEL_EXPORTER_OTLP_PROTOCOL=grpc`: the same spans and records through the stock exporter."""
    with _grpc_sink() as (endpoint, collector):
        _run(endpoint, OTEL_EXPORTER_OTLP_PROTOCOL="grpc", OTEL_METRICS_EXPORTER="none")
        assert ONCE == _told(collector)
        assert ["firstcause.request"] == [record.event for record in collector.records if record.event]


def test_opentelemetry_instrument_starts_us() -> None:
    """By the entry points of distribution and configurator, with not a word of us in the application."""
    command = ["opentelemetry-instrument", "uvicorn", "--port", "{port}", "shop:app"]
    chosen = {"OTEL_PYTHON_DISTRO": "firstcause", "OTEL_PYTHON_CONFIGURATOR": "firstcause", "OTEL_SERVICE_NAME": "shop"}
    with sink() as collector, Served(command, collector.url, HERE / "apps", **chosen) as server:
        for number in range(5):
            assert 200 == server.get(f"/items/{number}")[0]
        server.terminate()
        found = [span for span in collector.servers() if span.trace in server.asked]
        assert sorted(server.asked) == sorted(span.trace for span in found), server.output()
        assert {("GET /items/{number}", "firstcause", "shop")} == {
            (span.name, span.scope, span.resource["service.name"]) for span in found
        }
