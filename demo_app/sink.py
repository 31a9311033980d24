"""A stand-in for the Collector: takes OTLP over HTTP on loopback and keeps the latest spans.

Named as what it is: the real Collector comes with the stack.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

TRACES = 3000


class Sink:
    """Spans by trace id, the latest `TRACES` traces."""

    def __init__(self) -> None:
        self.traces: OrderedDict[bytes, list[tuple[str, Any]]] = OrderedDict()
        self._lock = threading.Lock()
        sink = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"  # exporters keep their connection; 1.0 would close it after each batch

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                if self.path == "/v1/traces":
                    sink._take(body)
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_args: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.05,), name="sink", daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def _take(self, body: bytes) -> None:
        request = ExportTraceServiceRequest.FromString(body)
        with self._lock:
            for group in request.resource_spans:
                names = {a.key: a.value.string_value for a in group.resource.attributes}
                for scope in group.scope_spans:
                    for span in scope.spans:
                        self.traces.setdefault(span.trace_id, []).append((names.get("service.name", "?"), span))
            while len(self.traces) > TRACES:
                self.traces.popitem(last=False)

    def best(self) -> list[tuple[str, Any]]:
        """The trace that went through most services, then most spans."""
        with self._lock:
            traces = list(self.traces.values())
        return max(traces, key=lambda t: (len({service for service, _ in t}), len(t)), default=[])

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()


def waterfall(trace: list[tuple[str, Any]], width: int = 40) -> list[str]:
    """A trace as text: one line per span in order of start, children indented, bars to scale."""
    if not trace:
        return ["(no trace arrived)"]
    began = min(span.start_time_unix_nano for _, span in trace)
    whole = max(1, max(span.end_time_unix_nano for _, span in trace) - began)
    by_id = {span.span_id: span for _, span in trace}
    lines = []
    for service, span in sorted(trace, key=lambda item: item[1].start_time_unix_nano):
        depth, above = 0, by_id.get(span.parent_span_id)
        # Bounded: spans are what somebody sent, and two may name each other as parent.
        while above is not None and depth < 20:
            depth, above = depth + 1, by_id.get(above.parent_span_id)
        start = (span.start_time_unix_nano - began) * width // whole
        length = max(1, (span.end_time_unix_nano - span.start_time_unix_nano) * width // whole)
        bar = (" " * start + "█" * length)[:width].ljust(width)
        ms = (span.end_time_unix_nano - span.start_time_unix_nano) / 1e6
        name = f"{'  ' * depth}{service}: {span.name}"
        lines.append(f"{name[:46]:46} |{bar}| {ms:8.1f} ms")
    return lines


def ledger(trace: list[tuple[str, Any]]) -> list[str]:
    """The root span's ledger, largest share first."""
    ids = {span.span_id for _, span in trace}
    roots = [span for _, span in trace if span.parent_span_id not in ids]
    if not roots:
        return []
    shares = {
        a.key.removeprefix("firstcause.ledger."): a.value.double_value
        for a in roots[0].attributes
        if a.key.startswith("firstcause.ledger.")
    }
    total = sum(shares.values()) or 1.0
    ranked = sorted(shares.items(), key=lambda item: -item[1])
    return [f"  {name:30} {s * 1e3:9.2f} ms  {s / total:6.1%}" for name, s in ranked if s]
