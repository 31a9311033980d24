"""Prometheus and Alertmanager as real programs over series that a test drives, and a receiver that keeps the payloads."""

from __future__ import annotations

import contextlib
import json
import subprocess
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml

import firstcause_alerts
from demo_app.parts import free_port
from firstcause_alerts import history

SCALE = 60.0
IDENTITY = ("service.name", "service.version", "service.instance.id", "deployment.environment.name")
PUSHED = {
    "otlp": {"promote_resource_attributes": list(IDENTITY)},
    "storage": {"tsdb": {"out_of_order_time_window": "1m"}},
}
"""What Prometheus needs to be told when nothing is scraped and services push to it."""


class Exporter:
    """Counters that grow by themselves, at a pace per second that the test sets."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: dict[str, float] = {}
        self._paces: dict[str, float] = {}
        self._at = time.monotonic()

    def grow(self, paces: dict[str, float]) -> None:
        """From now on only these series grow; all known ones stay. One that first grows is born with its first count."""
        with self._lock:
            self._catch_up()
            self._paces = dict(paces)

    def _catch_up(self) -> None:
        now = time.monotonic()
        for series, pace in self._paces.items():
            self._values[series] = self._values.get(series, 0) + pace * (now - self._at)
        self._at = now

    def text(self) -> str:
        with self._lock:
            self._catch_up()
            return "".join(f"{series} {int(value)}\n" for series, value in self._values.items())


def serve(handle: Callable[[str, bytes], str]) -> tuple[str, ThreadingHTTPServer]:
    """Answers every request on a free port of loopback with what `handle` says of path and body."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            said = handle(self.path, body).encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        do_POST = do_GET  # noqa: N815 - the name that http.server asks for

        def log_message(self, *_given: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}", server


class Receiver:
    """What arrived, in order; `wait` returns when something fits."""

    def __init__(self) -> None:
        self.payloads: list[tuple[str, dict[str, Any]]] = []
        self._news = threading.Condition()

    def __call__(self, path: str, body: bytes) -> str:
        with self._news:
            self.payloads.append((path.strip("/"), json.loads(body)))
            self._news.notify_all()
        return ""

    def of(self, severity: str) -> list[dict[str, Any]]:
        return [payload for kind, payload in self.payloads if kind == severity]

    def wait(self, severity: str, fits: Callable[[dict[str, Any]], bool], seconds: float) -> dict[str, Any]:
        def found() -> list[dict[str, Any]]:
            return [payload for payload in self.of(severity) if fits(payload)]

        with self._news:
            assert self._news.wait_for(found, seconds), [
                firstcause_alerts.notification.render(p) for _k, p in self.payloads
            ]
            return found()[0]


class Chain:
    """The running pair of programs, over `targets` that are scraped and a past of `per_second` good requests each."""

    def __init__(
        self, folder: Path, programs: dict[str, Path], slos: Path, targets: Sequence[str], *,
        scale: float = SCALE, per_second: float = 40, port: int = 0,
    ) -> None:  # fmt: skip
        self.folder, self._programs = folder, programs
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self.receiver = Receiver()
        received, self._receiving = serve(self.receiver)
        firstcause_alerts.compile(slos, folder / "generated", time_scale=scale, receiver=received)
        self.port, self.alertmanager_port = port or free_port(), 0
        try:
            self._start_alertmanager()
            self._configure(targets)
            self._fill(slos, scale, per_second)
            self.start_prometheus()
        except BaseException:
            self.close()
            raise

    def _start_alertmanager(self) -> None:
        self.alertmanager_port = free_port() if not self.alertmanager_port else self.alertmanager_port
        while self.alertmanager_port == self.port:
            self.alertmanager_port += 1
        self._start(
            "alertmanager", f"--config.file={self.folder}/generated/alertmanager.yml", f"--storage.path={self.folder}/am",
            f"--web.listen-address=127.0.0.1:{self.alertmanager_port}", "--cluster.listen-address=",
        )  # fmt: skip
        self._ready(self.alertmanager_port)

    def _configure(self, targets: Sequence[str]) -> None:
        config = {
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "rule_files": ["generated/rules.yml"],
            "alerting": {"alertmanagers": [{"static_configs": [{"targets": [f"127.0.0.1:{self.alertmanager_port}"]}]}]},
            "scrape_configs": [{"job_name": "shop", "static_configs": [{"targets": list(targets)}]}],
        }
        if not targets:
            config |= PUSHED
        (self.folder / "prometheus.yml").write_text(yaml.safe_dump(config))

    def _fill(self, slos: Path, scale: float, per_second: float) -> None:
        """History as long as the longest window that pages: with less, it would page too early."""
        labels = {"deployment_environment_name": "demo", "service_instance_id": "history"}
        past = history.openmetrics(
            firstcause_alerts.load(slos.read_text()),
            until=time.time(), seconds=6.5 * 3600 / scale, step_s=1, per_second=per_second, labels=labels,
        )  # fmt: skip
        (self.folder / "history.txt").write_text(past)
        command = [self._programs["promtool"], "tsdb", "create-blocks-from", "openmetrics", "history.txt", "data"]
        subprocess.run(command, cwd=self.folder, check=True, capture_output=True)

    def start_prometheus(self) -> None:
        """Start it on the data that there are; `started_at` says when, since the epoch."""
        self.started_at = time.time()
        self._start(
            "prometheus", f"--config.file={self.folder}/prometheus.yml", f"--storage.tsdb.path={self.folder}/data",
            f"--web.listen-address=127.0.0.1:{self.port}", *self._receives(),
        )  # fmt: skip
        self._ready(self.port)

    def _receives(self) -> list[str]:
        return ["--web.enable-otlp-receiver"] if "otlp:" in (self.folder / "prometheus.yml").read_text() else []

    def _start(self, name: str, *arguments: str) -> None:
        log = (self.folder / f"{name}.log").open("ab")
        self._processes[name] = subprocess.Popen(
            [str(self._programs[name]), *arguments], cwd=self.folder, stdout=log, stderr=log
        )

    def stop(self, name: str) -> None:
        """End one program and wait for it."""
        self._processes[name].terminate()
        self._processes[name].wait(30)

    def _ready(self, port: int) -> None:
        deadline = time.monotonic() + 60
        while True:
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{port}/-/ready", timeout=5).close()
                return
            assert time.monotonic() < deadline, "not ready within 60 s"
            threading.Event().wait(0.1)

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The result of an instant query."""
        address = f"http://127.0.0.1:{self.port}/api/v1/query?" + urllib.parse.urlencode({"query": expression})
        with urllib.request.urlopen(address, timeout=20) as reply:
            result: list[dict[str, Any]] = json.load(reply)["data"]["result"]
            return result

    def until(self, expression: str, seconds: float) -> None:
        """Return as soon as the expression has a result."""
        deadline = time.monotonic() + seconds
        while not self.query(expression):
            assert time.monotonic() < deadline, f"{expression} stayed empty for {seconds} s"
            threading.Event().wait(0.2)

    def failed_rules(self) -> dict[str, str]:
        """Rules that Prometheus could not evaluate, and why."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/api/v1/rules", timeout=20) as reply:
            groups = json.load(reply)["data"]["groups"]
        return {
            rule["query"]: rule["lastError"] for group in groups for rule in group["rules"] if rule.get("lastError")
        }

    def failures(self) -> float:
        """How many evaluations failed since Prometheus began."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=20) as reply:
            lines = reply.read().decode().splitlines()
        return sum(
            float(line.split()[-1]) for line in lines if line.startswith("prometheus_rule_evaluation_failures_total")
        )

    def close(self) -> None:
        for process in self._processes.values():
            process.terminate()
        for process in self._processes.values():
            process.wait(30)
        self._receiving.shutdown()


@contextlib.contextmanager
def chain(
    folder: Path, programs: dict[str, Path], slos: Path, exporter: Exporter, scale: float = SCALE
) -> Iterator[Chain]:
    """Both programs over an exporter, for the length of a test."""
    scraped, exporting = serve(lambda _path, _body: exporter.text())
    try:
        with contextlib.closing(Chain(folder, programs, slos, [scraped.removeprefix("http://")], scale=scale)) as found:
            yield found
    finally:
        exporting.shutdown()
