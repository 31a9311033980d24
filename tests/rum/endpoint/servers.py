"""Real servers around the endpoint, and a client that says exactly what it is told to."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
import waitress

from firstcause_rum.server import Protocol

from .pages import HEAD

CRLF = b"\r\n"


@contextmanager
def asgi(app: Any) -> Iterator[int]:
    """Under uvicorn, in a thread; gives the port."""
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", proxy_headers=False, http=Protocol))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        yield listening.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(20)
        listening.close()


@contextmanager
def wsgi(app: Any) -> Iterator[int]:
    """Under waitress, in a thread."""
    server = waitress.create_server(app, host="127.0.0.1", port=0, threads=4)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield int(server.effective_port)
    finally:
        server.close()
        thread.join(20)


def request(body: bytes | None, path: str = "/_fc", method: str = "POST", **head: str) -> bytes:
    """The bytes of a request; `body` None leaves the length out."""
    fields = {**HEAD, **{k.replace("_", "-"): v for k, v in head.items()}, "connection": "close"}
    if body is not None:
        fields.setdefault("content-length", str(len(body)))
    lines = [f"{method} {path} HTTP/1.1", *(f"{k}: {v}" for k, v in fields.items() if v)]
    return CRLF.join(line.encode("latin-1") for line in lines) + CRLF * 2 + (body or b"")


def chunked(*pieces: bytes) -> bytes:
    """A body without a length."""
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in (*pieces, b""))


def answer(port: int, raw: bytes, timeout_s: float = 20) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of the answer to raw bytes."""
    with socket.create_connection(("127.0.0.1", port), timeout_s) as connection:
        connection.sendall(raw)
        return read(connection)


def read(connection: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """The answer, up to the end of the connection."""
    found = b""
    try:
        while piece := connection.recv(65_536):
            found += piece
    except ConnectionError:  # hung up on while we were still sending
        pass
    head, _, body = found.partition(CRLF * 2)
    first, *lines = head.decode("latin-1").split("\r\n")
    pairs = (line.partition(": ") for line in lines)
    return int(first.split()[1]), {name.lower(): value for name, _, value in pairs}, body
