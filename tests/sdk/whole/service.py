"""A service as a process of its own: its answers, its lines, its `/metrics`, and what it says when it dies."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

PROGRAMS = Path(__file__).with_name("programs")
ROOT = Path(__file__).resolve().parents[3]
WAIT_S = 30.0


class Service:
    """One program of `programs/` under its real server, on a listening socket that it inherits.

    The socket listens before the process is up: nobody has to wait until it is.
    """

    def __init__(self, program: str, arguments: tuple[str, ...] = (), **environ: str) -> None:
        listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port: int = listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.process = subprocess.Popen(
            [sys.executable, str(PROGRAMS / f"{program}.py"), str(listener.fileno()), *arguments],
            env={**_quiet(os.environ), "PYTHONPATH": f"{ROOT / 'sdk/src'}:{ROOT}", **environ},
            pass_fds=(listener.fileno(),), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        listener.close()
        self.said: list[bytes] = []
        self.complained: list[bytes] = []
        self._heard = threading.Condition()
        self._readers = [
            self._follow(self.process.stdout, self.said),
            self._follow(self.process.stderr, self.complained),
        ]

    def _follow(self, stream: Any, into: list[bytes]) -> threading.Thread:
        def read() -> None:
            for line in stream:
                with self._heard:
                    into.append(line)
                    self._heard.notify_all()

        thread = threading.Thread(target=read, daemon=True)
        thread.start()
        return thread

    def lines(self) -> list[dict[str, Any]]:
        """The JSON lines of its standard output so far."""
        with self._heard:
            return [json.loads(line) for line in self.said if line.startswith(b"{")]

    def line(self, fits: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The first line that fits, as soon as it is written."""
        with self._heard:
            if not self._heard.wait_for(lambda: any(map(fits, self.lines())), WAIT_S):
                raise AssertionError(
                    f"no such line; stderr: {b''.join(self.complained)[-3000:].decode(errors='replace')}"
                )
            return next(filter(fits, self.lines()))

    def request_line(self, request_id: str) -> dict[str, Any]:
        """The canonical line of one request."""
        return self.line(lambda line: line.get("event") == "request" and line.get("request_id") == request_id)

    def metrics(self, accept: str = "text/plain") -> bytes:
        """A scrape of its `/metrics`, at the address that it prints first."""
        address = self.line(lambda line: line.get("event") == "up")["metrics"]
        with urlopen(Request(address, headers={"Accept": accept}), timeout=WAIT_S) as answer:
            body: bytes = answer.read()
            return body

    def counted(self, name: str, **labels: str) -> float:
        """The sum over the samples of `name` that have `labels`, from a scrape."""
        from prometheus_client.parser import text_string_to_metric_families

        samples = [s for f in text_string_to_metric_families(self.metrics().decode()) for s in f.samples]
        wanted = labels.items()
        return sum(s.value for s in samples if s.name == name and wanted <= s.labels.items())

    def resident(self) -> int:
        """Bytes of memory that the process holds now."""
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def stop(self) -> int:
        """End it as an operator does; its exit status, with everything that it said read."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(WAIT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            status = self.process.wait()
        for reader in self._readers:
            reader.join(WAIT_S)
        for stream in (self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()
        return status


def _quiet(environ: Any) -> dict[str, str]:
    """The environment without settings of whoever runs the tests."""
    return {name: value for name, value in environ.items() if not name.startswith(("OTEL_", "FIRSTCAUSE_"))}


@contextmanager
def service(program: str, collector: str = "", *arguments: str, **environ: str) -> Iterator[Service]:
    """A service that is up for the block; without a collector it exports nothing."""
    exports = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector, "OTEL_BSP_SCHEDULE_DELAY": "50"}
    silent = {f"OTEL_{signal_name}_EXPORTER": "none" for signal_name in ("TRACES", "LOGS")}
    settings = {**(exports if collector else silent), "FIRSTCAUSE_METRICS_PORT": "0", **environ}
    made = Service(program, arguments, **settings)
    try:
        yield made
    finally:
        made.stop()


def exchange(port: int, raw: bytes, *, finish: bool = False) -> bytes:
    """Send raw bytes, and read until the server closes (`Connection: close` is for the caller to ask)."""
    with socket.create_connection(("127.0.0.1", port), timeout=WAIT_S) as connection:
        try:
            connection.sendall(raw)
            if finish:
                connection.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # the server may refuse before it has read all
        parts = []
        try:
            while part := connection.recv(65536):
                parts.append(part)
        except ConnectionResetError:
            pass
        return b"".join(parts)


def get(path: str, *headers: bytes, method: bytes = b"GET", body: bytes = b"") -> bytes:
    """The bytes of one request whose header lines are taken as they are."""
    length = (b"content-length: %d" % len(body),) if body else ()
    lines = [
        method + b" " + path.encode("latin-1") + b" HTTP/1.1",
        b"host: test",
        b"connection: close",
        *headers,
        *length,
    ]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def parsed(answer: bytes) -> tuple[int, dict[str, str], bytes]:
    """Status, headers (lower-case names; repeated ones joined) and body of a raw answer."""
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *rest = head.decode("latin-1").split("\r\n")
    headers: dict[str, str] = {}
    for line in rest:
        name, _, value = line.partition(":")
        name = name.strip().lower()
        headers[name] = f"{headers[name]}, {value.strip()}" if name in headers else value.strip()
    if headers.get("transfer-encoding") == "chunked":
        body = _unchunked(body)
    return int(first.split(" ")[1]) if first else 0, headers, body


def _unchunked(body: bytes) -> bytes:
    parts = []
    while body:
        size, _, body = body.partition(b"\r\n")
        length = int(size, 16)
        if not length:
            break
        parts.append(body[:length])
        body = body[length + 2 :]
    return b"".join(parts)
