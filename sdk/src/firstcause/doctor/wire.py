"""A collector in memory: takes OTLP over HTTP on loopback, and reads of it what the checks look at.

Reading the bytes themselves proves what left the process, by whatever exporter; a dozen fields do not need the
generated classes, which only some installations have.
"""

from __future__ import annotations

import gzip
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
SERVER = 2
"""OTLP's number of the span kind."""


@dataclass
class WireSpan:
    """A span as exported."""

    trace_id: str
    span_id: str
    name: str
    kind: int
    scope: str
    attributes: dict[str, Any]


@dataclass
class WireRecord:
    """A log record as exported."""

    trace_id: str
    body: Any
    attributes: dict[str, Any]


@dataclass
class WireMetric:
    """A metric as exported; `bounds` of a classic histogram's first point."""

    name: str
    unit: str
    bounds: tuple[float, ...] = ()


@dataclass
class Received:
    """Everything that arrived, in order."""

    spans: list[WireSpan] = field(default_factory=list)
    records: list[WireRecord] = field(default_factory=list)
    metrics: list[WireMetric] = field(default_factory=list)


class Collector:
    """Listens on a free loopback port until the process ends, so that what is sent at its exit is still taken."""

    def __init__(self) -> None:
        self.received = Received()
        self._answering = threading.Event()
        self._answering.set()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", "0")))
                collector._answering.wait(60)
                collector.take(self.path, gzip.decompress(body) if "content-encoding" in self.headers else body)
                self.send_response(200)
                self.send_header("content-type", "application/x-protobuf")
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_args: Any) -> None:
                """Nothing: the report is what is printed."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

        threading.Thread(target=self._server.serve_forever, args=(0.05,), name="doctor-collector", daemon=True).start()

    @contextmanager
    def hanging(self) -> Iterator[None]:
        """Let every request wait meanwhile."""
        self._answering.clear()
        try:
            yield
        finally:
            self._answering.set()

    def take(self, path: str, body: bytes) -> None:
        """Keep one export."""
        if path.endswith("/traces"):
            self.received.spans += spans(body)
        elif path.endswith("/logs"):
            self.received.records += records(body)
        elif path.endswith("/metrics"):
            self.received.metrics += metrics(body)


# -- protobuf, as far as needed; numbers from opentelemetry-proto --------------------------------


def fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """(number, value) of a message's fields: whole numbers, or bytes as they are."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, kind = key >> 3, key & 7
        if kind == _VARINT:
            value, at = _varint(data, at)
            yield number, value
            continue
        if kind not in (_FIXED64, _BYTES, _FIXED32):
            raise ValueError(f"wire type {kind}")
        size = {_FIXED64: 8, _FIXED32: 4}.get(kind, 0)
        if kind == _BYTES:
            size, at = _varint(data, at)
        yield number, data[at : at + size]
        at += size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at


def _all(data: bytes, *path: int) -> Iterator[bytes]:
    """Every message under a path of field numbers."""
    if not path:
        yield data
        return
    for number, value in fields(data):
        if number == path[0]:
            yield from _all(value, *path[1:])


def _one(data: bytes, number: int, default: Any) -> Any:
    return next((value for found, value in fields(data) if found == number), default)


def _text(data: bytes, number: int) -> str:
    return bytes(_one(data, number, b"")).decode("utf-8", "replace")


def _attributes(data: bytes, number: int) -> dict[str, Any]:
    return {_text(pair, 1): _value(_one(pair, 2, b"")) for pair in _all(data, number)}


def _value(data: bytes) -> Any:
    for number, value in fields(data):
        if number == 1:
            return value.decode("utf-8", "replace")
        return struct.unpack("<d", value)[0] if number == 4 else value
    return None


def spans(body: bytes) -> Iterator[WireSpan]:
    """Of an ExportTraceServiceRequest."""
    for scope in _all(body, 1, 2):
        name = _text(_one(scope, 1, b""), 1)
        for span in _all(scope, 2):
            yield WireSpan(
                _one(span, 1, b"").hex(), _one(span, 2, b"").hex(), _text(span, 5), _one(span, 6, 0), name,
                _attributes(span, 9),
            )  # fmt: skip


def records(body: bytes) -> Iterator[WireRecord]:
    """Of an ExportLogsServiceRequest."""
    for record in _all(body, 1, 2, 2):
        yield WireRecord(_one(record, 9, b"").hex(), _value(_one(record, 5, b"")), _attributes(record, 6))


def metrics(body: bytes) -> Iterator[WireMetric]:
    """Of an ExportMetricsServiceRequest."""
    for metric in _all(body, 1, 2, 2):
        packed = next((_one(point, 7, b"") for point in _all(metric, 9, 1)), b"")
        bounds = struct.unpack(f"<{len(packed) // 8}d", packed)
        yield WireMetric(_text(metric, 1), _text(metric, 3), bounds)
