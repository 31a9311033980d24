"""A collector on the loopback that keeps what it is sent, and misbehaves on demand."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass
class Span:
    """What the tests ask of a span."""

    name: str
    kind: int
    trace: str
    scope: str
    resource: dict[str, str]
    attributes: dict[str, str]


@dataclass
class Record:
    """What the tests ask of a log record."""

    event: str
    trace: str
    resource: dict[str, str]


@dataclass
class Sink:
    """Everything accepted so far, and how to answer: `ok`, `503`, `429`, `garbage`, `hang`, `slow` or `cut`."""

    url: str = ""
    answer: str = "ok"
    spans: list[Span] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    posts: int = 0
    came: threading.Condition = field(default_factory=threading.Condition)
    over: threading.Event = field(default_factory=threading.Event)

    def servers(self) -> list[Span]:
        """The server spans."""
        return [span for span in self.spans if span.kind == 2]

    def wait_for_spans(self, amount: int, timeout_s: float = 20) -> bool:
        """Until that many spans were accepted."""
        with self.came:
            return self.came.wait_for(lambda: len(self.spans) >= amount, timeout_s)

    def take(self, path: str, body: bytes) -> None:
        """Decode and keep one request."""
        with self.came:
            if path.endswith("traces"):
                self._take_spans(body)
            elif path.endswith("logs"):
                self._take_records(body)
            self.came.notify_all()

    def _take_spans(self, body: bytes) -> None:
        for group in ExportTraceServiceRequest.FromString(body).resource_spans:
            for scope in group.scope_spans:
                self.spans += [
                    Span(s.name, s.kind, s.trace_id.hex(), scope.scope.name, _plain(group.resource), _plain(s))
                    for s in scope.spans
                ]

    def _take_records(self, body: bytes) -> None:
        for group in ExportLogsServiceRequest.FromString(body).resource_logs:
            for scope in group.scope_logs:
                self.records += [
                    Record(r.event_name, r.trace_id.hex(), _plain(group.resource)) for r in scope.log_records
                ]


def _plain(message: Any) -> dict[str, str]:
    return {pair.key: pair.value.string_value for pair in message.attributes}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    sink: Sink

    def do_POST(self) -> None:
        sink = self.sink
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with sink.came:
            sink.posts += 1
            sink.came.notify_all()
        getattr(self, f"_{sink.answer}", self._status)(body)

    def _ok(self, body: bytes) -> None:
        self.sink.take(self.path, body)
        self._status(body, 200)

    def _status(self, body: bytes, status: int = 0) -> None:
        self.send_response(status or int(self.sink.answer))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _slow(self, body: bytes) -> None:
        self.sink.over.wait(0.5)
        self._ok(body)

    def _garbage(self, body: bytes) -> None:
        self.wfile.write(b"\x00\xffgarbage\r\n\r\n")
        self.close_connection = True

    def _hang(self, body: bytes) -> None:
        self.sink.over.wait(60)
        self.close_connection = True

    def _cut(self, body: bytes) -> None:
        self.wfile.write(b"HTTP/1.1 500 Oops\r\nContent-Length: 1000\r\n\r\nhalf")
        self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        return


@contextmanager
def sink(answer: str = "ok") -> Iterator[Sink]:
    """A collector that is up for the block; its `url` is the base that `OTEL_EXPORTER_OTLP_ENDPOINT` wants."""
    made = Sink(answer=answer)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"sink": made}))
    server.daemon_threads = True
    made.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield made
    finally:
        made.over.set()
        server.shutdown()
        server.server_close()
