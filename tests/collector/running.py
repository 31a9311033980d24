"""A Collector as a process, and an OTLP server that keeps what it is sent: gRPC and HTTP on one host."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import grpc
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2, logs_service_pb2_grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2, metrics_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

from demo_app.parts import PartError, end, free_port, tail
from demo_app.programs import find

CONFIG = Path(__file__).resolve().parents[2] / "collector-config"
READY_S = 60.0
_KINDS = {
    "traces": (trace_service_pb2, trace_service_pb2_grpc, "Trace"),
    "logs": (logs_service_pb2, logs_service_pb2_grpc, "Logs"),
    "metrics": (metrics_service_pb2, metrics_service_pb2_grpc, "Metrics"),
}


class Sink:
    """What arrives, by signal; `await_` waits for more of it."""

    def __init__(self) -> None:
        self.received: dict[str, list[Any]] = {signal: [] for signal in _KINDS}
        self._came = threading.Condition()
        self._grpc = grpc.server(ThreadPoolExecutor(4))
        for signal, (messages, services, name) in _KINDS.items():
            servicer = type(
                name, (), {"Export": self._export(signal, getattr(messages, f"Export{name}ServiceResponse"))}
            )
            getattr(services, f"add_{name}ServiceServicer_to_server")(servicer(), self._grpc)
        self.grpc = f"127.0.0.1:{self._grpc.add_insecure_port('127.0.0.1:0')}"
        self._grpc.start()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._http.daemon_threads = True
        threading.Thread(target=self._http.serve_forever, args=(0.05,), name="sink", daemon=True).start()
        self.http = f"http://127.0.0.1:{self._http.server_port}"

    def _export(self, signal: str, reply: Any) -> Any:
        def export(_self: object, request: Any, _context: object) -> Any:
            self._take(signal, request)
            return reply()

        return export

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        sink = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                signal = self.path.rpartition("/")[2]
                messages, _services, name = _KINDS[signal]
                sink._take(signal, getattr(messages, f"Export{name}ServiceRequest").FromString(body))
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_args: object) -> None:
                """Say nothing."""

        return Handler

    def _take(self, signal: str, request: Any) -> None:
        with self._came:
            self.received[signal].append(request)
            self._came.notify_all()

    def await_(self, signal: str, enough: Callable[[list[Any]], Any], seconds: float = READY_S) -> list[Any]:
        """What arrived of a signal, as soon as it is enough."""
        with self._came:
            if not self._came.wait_for(lambda: enough(self.received[signal]), seconds):
                raise AssertionError(f"{signal}: only {len(self.received[signal])} requests within {seconds:.0f} s")
            return list(self.received[signal])

    def close(self) -> None:
        """Stop listening."""
        self._grpc.stop(None)
        self._http.shutdown()
        self._http.server_close()


@dataclass(frozen=True, slots=True)
class Collector:
    """A running one: where it takes OTLP, and its own metrics."""

    http: str
    grpc: str
    telemetry: str

    def post(self, signal: str, request: dict[str, Any]) -> None:
        """Send an export request over HTTP, as JSON."""
        head = {"content-type": "application/json"}
        sent = urllib.request.Request(f"{self.http}/v1/{signal}", json.dumps(request).encode(), head)
        with urllib.request.urlopen(sent, timeout=20) as reply:
            reply.read()

    def call(self, signal: str, request: Any) -> None:
        """Send it over gRPC."""
        _messages, services, name = _KINDS[signal]
        with grpc.insecure_channel(self.grpc) as channel:
            getattr(services, f"{name}ServiceStub")(channel).Export(request, timeout=20)


@contextmanager
def collector(folder: Path, config: Path, **settings: str) -> Iterator[Collector]:
    """The program with a configuration of ours, on free ports, until the block ends."""
    ports = {name: free_port() for name in ("OTLP_GRPC_PORT", "OTLP_HTTP_PORT", "HEALTH_PORT", "TELEMETRY_PORT")}
    (folder / "password").write_text("any")
    (folder / "no-password").write_text("")
    environ = {
        "PATH": os.environ["PATH"], "COLLECTOR_HOST": "127.0.0.1", "QUEUE_DIR": str(folder / "queue"),
        "POSTGRES_PASSWORD_FILE": str(folder / "password"), "REDIS_PASSWORD_FILE": str(folder / "no-password"),
        **{name: str(port) for name, port in ports.items()}, **settings,
    }  # fmt: skip
    log = folder / f"{config.stem}.log"
    command = [str(find("firstcause-collector")), "--config", str(config)]
    with log.open("ab") as out:
        # Without anything to do between fork and exec: a child of ours that runs Python trips over gRPC's threads.
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=environ)
    try:
        _await(f"http://127.0.0.1:{ports['HEALTH_PORT']}/", process, log)
        at = {name: f"127.0.0.1:{port}" for name, port in ports.items()}
        yield Collector(
            f"http://{at['OTLP_HTTP_PORT']}", at["OTLP_GRPC_PORT"], f"http://{at['TELEMETRY_PORT']}/metrics"
        )
    finally:
        end(process, 15)


def _await(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    limit = time.monotonic() + READY_S
    while True:
        try:
            urllib.request.urlopen(url, timeout=5).close()
        except OSError:
            if process.poll() is not None or time.monotonic() > limit:
                raise PartError(f"the Collector is not ready:\n{tail(log)}") from None
            time.sleep(0.05)
        else:
            return


def validated(config: Path, folder: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    """What `validate` says of a configuration."""
    (folder / "password").write_text("any")
    (folder / "no-password").write_text("")
    environ = {
        "PATH": os.environ["PATH"], "POSTGRES_PASSWORD_FILE": str(folder / "password"),
        "REDIS_PASSWORD_FILE": str(folder / "no-password"), "QUEUE_DIR": str(folder / "queue"), **settings,
    }  # fmt: skip
    command = [str(find("firstcause-collector")), "validate", "--config", str(config)]
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=False)
