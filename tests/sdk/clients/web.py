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

    `/cut` ends the connection half way, `/chunked` sends no length, `/away` redirects to the same server under
    another name, `/busy` answers 503 to every first of two requests, `/hang` answers when `release` is set.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.seen: list[dict[str, str]] = []
        self.half_sent, self.release = threading.Event(), threading.Event()
        self.asked = threading.Event()
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
        peer.asked.set()
        if self.path == "/hang":
            peer.release.wait(10)
        self.send_response(self._status())
        if self.path == "/away":
            self.send_header("Location", f"{peer.url.replace('127.0.0.1', 'localhost')}/status/200")
        if self.path == "/chunked":
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self._chunks()
            return
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

    def _status(self) -> int:
        if self.path.startswith("/status/"):
            return int(self.path.partition("?")[0].rsplit("/", 1)[1])
        if self.path == "/busy":
            return 503 if len(self.server.seen) % 2 else 200
        return 302 if self.path == "/away" else 200

    def _chunks(self) -> None:
        for part in (b"x" * 10_000, b"x" * 10_000, b""):
            if part:
                self.wfile.flush()
            self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))

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
