"""A real HTTP server on the loopback that answers as each path says."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from firstcause.mesh import Mesh, PeerVerdict

SLOW = PeerVerdict("payments", "2", False, "lock:ledger", "app.lock", "", 900, "payments", "2", "held")


class Peer(ThreadingHTTPServer):
    """`/status/503` answers so, `/slow-body` sends its second half when `release` is set, `/verdict` blames a lock.

    `/cut` ends the connection half way.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.seen: list[dict[str, str]] = []
        self.half_sent, self.release = threading.Event(), threading.Event()
        self.mesh = Mesh("")

    @property
    def url(self) -> str:
        """The server's base URL."""
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Peer

    def do_GET(self) -> None:
        peer = self.server
        peer.seen.append({name.lower(): value for name, value in self.headers.items()})
        status = int(self.path.partition("?")[0].rsplit("/", 1)[1]) if self.path.startswith("/status/") else 200
        self.send_response(status)
        self.send_header("Content-Length", "20000")
        if self.path == "/verdict":
            trace_id = int(self.headers["traceparent"].split("-")[1], 16)
            self.send_header("Server-Timing", peer.mesh.answer(SLOW, trace_id))
        self.end_headers()
        self.wfile.write(b"x" * 10_000)
        if self.path == "/cut":
            self.close_connection = True
            return
        if self.path == "/slow-body":
            self.wfile.flush()
            peer.half_sent.set()
            peer.release.wait(10)
        self.wfile.write(b"x" * 10_000)

    def log_message(self, format: str, *args: Any) -> None:
        return


@contextmanager
def peer() -> Iterator[Peer]:
    """A peer that is up for the block."""
    server = Peer()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.release.set()
        server.shutdown()
        server.server_close()
        thread.join(5)
