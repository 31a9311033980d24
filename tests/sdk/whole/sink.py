"""A real OTLP collector on the loopback that keeps every byte, and what it decodes to."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

WAIT_S = 30.0


class Sink(ThreadingHTTPServer):
    """Remembers bodies by path and the spans in them; `wait_for` waits for what is still on its way."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.bodies: dict[str, list[bytes]] = {}
        self.spans: list[Any] = []
        self.logs: list[Any] = []
        self.changed = threading.Condition()

    @property
    def url(self) -> str:
        """What `OTEL_EXPORTER_OTLP_ENDPOINT` takes."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def take(self, path: str, body: bytes) -> None:
        """Keep one request's body."""
        with self.changed:
            self.bodies.setdefault(path, []).append(body)
            if path == "/v1/traces":
                groups = ExportTraceServiceRequest.FromString(body).resource_spans
                self.spans += [span for group in groups for scope in group.scope_spans for span in scope.spans]
            elif path == "/v1/logs":
                found = ExportLogsServiceRequest.FromString(body).resource_logs
                self.logs += [record for group in found for scope in group.scope_logs for record in scope.log_records]
            self.changed.notify_all()

    def wait_for(self, found: Callable[[], Any]) -> Any:
        """What `found` returns as soon as that is true; fails after half a minute."""
        with self.changed:
            if not self.changed.wait_for(found, WAIT_S):
                raise AssertionError("the telemetry did not arrive")
            return found()

    def trace(self, trace_id: str, *, servers: int = 1) -> list[Any]:
        """The spans of a trace, once `servers` SERVER spans of it have come."""
        raw = bytes.fromhex(trace_id)

        def whole() -> list[Any]:
            spans = [span for span in self.spans if span.trace_id == raw]
            return spans if sum(span.kind == SERVER for span in spans) >= servers else []

        found: list[Any] = self.wait_for(whole)
        return found

    def everything(self, path: str) -> bytes:
        """All bytes that were sent to `path`."""
        with self.changed:
            return b"\n".join(self.bodies.get(path, ()))


SERVER = 2
"""`SPAN_KIND_SERVER` on the wire."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Sink

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()
        self.server.take(self.path, body)

    def log_message(self, format: str, *args: Any) -> None:
        return


@contextmanager
def sink() -> Iterator[Sink]:
    """A sink that is up for the block."""
    server = Sink()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


def attributes(pairs: Any) -> dict[str, Any]:
    """Attributes off the wire as a dict of plain values."""
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value") or "string_value") for pair in pairs}
