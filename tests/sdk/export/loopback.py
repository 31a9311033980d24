"""Real collectors on the loopback: one that answers as told, and raw ones that misbehave."""

from __future__ import annotations

import gzip
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

Answer = tuple[int, dict[str, str], bytes]
OK: Answer = (200, {}, b"")


class Collector(ThreadingHTTPServer):
    """Answers requests with `answers` in turn, then with `default`; remembers the spans it accepted."""

    daemon_threads = True

    def __init__(self, default: Answer = OK, answers: tuple[Answer, ...] = ()) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.default = default
        self.answers = list(answers)
        self.accepted: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.connections = 0
        self.seen = threading.Semaphore(0)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1/traces"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Collector

    def setup(self) -> None:
        self.server.connections += 1
        super().setup()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        collector = self.server
        collector.headers.append({name.lower(): value for name, value in self.headers.items()})
        status, headers, answer = collector.answers.pop(0) if collector.answers else collector.default
        if status == 200:
            request = ExportTraceServiceRequest.FromString(body)
            collector.accepted += [span.name for span in request.resource_spans[0].scope_spans[0].spans]
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(answer))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer)
        collector.seen.release()

    def log_message(self, format: str, *args: Any) -> None:
        return


@contextmanager
def collector(default: Answer = OK, answers: tuple[Answer, ...] = ()) -> Iterator[Collector]:
    """A collector that is up for the block."""
    server = Collector(default, answers)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


@contextmanager
def raw_server(
    talk: Callable[[socket.socket, threading.Event], None],
) -> Iterator[tuple[str, threading.Event]]:
    """A TCP server running `talk(connection, over)` per connection; gives its URL and "one came in"."""
    listener = socket.create_server(("127.0.0.1", 0))
    over, came = threading.Event(), threading.Event()

    def serve(connection: socket.socket) -> None:
        with connection:
            came.set()
            try:
                talk(connection, over)
            except OSError:
                return

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1/traces", came
    finally:
        over.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def read_request(connection: socket.socket) -> None:
    """Read one whole POST, so that closing afterwards is no reset."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    length = next(
        int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")
    )
    while len(body) < length:
        body += connection.recv(65536)


def black_hole(connection: socket.socket, over: threading.Event) -> None:
    """Takes everything, never answers."""
    connection.settimeout(0.05)
    while not over.is_set():
        try:
            if not connection.recv(65536):
                return
        except TimeoutError:
            continue


def refusing_url() -> str:
    """A URL where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    return f"http://127.0.0.1:{port}/v1/traces"
