"""The real stack on loopback, with the very files that compose mounts: agent, two gateways, and the stores.

Programs are started, killed and started again on the ports they had; what they store is asked through their own APIs.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

import firstcause_alerts
from demo_app.chain import SLOS
from demo_app.parts import PartError, end, free_port, spawn, tail
from demo_app.programs import find
from demo_app.supervisor import Shop

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / "collector-config"
PROGRAMS = ("firstcause-collector", "jaeger", "loki", "prometheus", "alertmanager")
GATEWAYS = ("gateway-a", "gateway-b")
STORES = ("jaeger", "loki", "alertmanager", "prometheus")
DECISION_S = 2.0
READY_S = 120.0
"""Until a program is ready; a second or two, on a machine that has time."""
ARRIVES_S = 120.0
"""Until something that was sent is found: the longest pause between two tries is 30 s."""
_KINDS = {"agent": "agent.yaml", **dict.fromkeys(GATEWAYS, "gateway.yaml")}
_HEALTH = {"jaeger": "/status", "loki": "/ready", "prometheus": "/-/ready", "alertmanager": "/-/ready"}


def until(check: Callable[[], Any], what: str, seconds: float = ARRIVES_S, pause_s: float = 0.25) -> Any:
    """What `check` says once it is something; fails with `what` was waited for."""
    limit = time.monotonic() + seconds
    while not (found := check()):
        if time.monotonic() > limit:
            raise AssertionError(f"not within {seconds:.0f} s: {what}")
        time.sleep(pause_s)
    return found


class Stack:
    """All programs of the stack in one folder. Use `start`, and `close` at the end."""

    def __init__(self, folder: Path, receiver: str) -> None:
        self.folder, self._receiver = folder, receiver
        self._found = {name: find(name) for name in PROGRAMS}
        self.ports = {
            name: {kind: free_port() for kind in ("grpc", "http", "health", "telemetry", "query", "inner")}
            for name in ("agent", *GATEWAYS, *STORES)
        }
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._shop: dict[str, str] = {}
        self.collector = f"http://127.0.0.1:{self.ports['agent']['http']}"
        for name in self.ports:
            (folder / name).mkdir()
        (folder / "password").write_text("any")  # PostgreSQL here trusts everybody, and its receiver wants one
        (folder / "no-password").write_text("")

    # -- programs --------------------------------------------------------------------------------

    def start_stores(self) -> None:
        """Everything but the agent, which reads the shop's databases."""
        compiled = self.folder / "alerts"
        firstcause_alerts.compile(SLOS, compiled, time_scale=60, receiver=self._receiver)
        home = self.folder / "prometheus"
        (home / "rules").mkdir()
        shutil.copy(compiled / "rules.yml", home / "rules")
        shutil.copy(CONFIG / "stores" / "prometheus.yml", home)
        (home / "targets").mkdir()
        self._targets("services", [])
        self._targets("collectors", [self._at(name, "telemetry") for name in ("agent", *GATEWAYS)])
        self._targets("alertmanagers", [self._at("alertmanager", "query")])
        self._targets(
            "stores", [self._at("prometheus", "query"), self._at("jaeger", "telemetry"), self._at("loki", "query")]
        )
        self.start(*STORES, *GATEWAYS)

    def start_agent(self, shop: Shop) -> None:
        """The agent beside a running shop, and the shop among what Prometheus scrapes."""
        self._shop = {
            "POSTGRES_ENDPOINT": f"127.0.0.1:{shop.postgres.port}",
            "REDIS_CACHE_ENDPOINT": f"127.0.0.1:{shop.cache.port}",
            "REDIS_QUEUE_ENDPOINT": f"127.0.0.1:{shop.queue.port}",
        }
        self._targets("services", [f"127.0.0.1:{port}" for port in shop.metrics.values()])
        self.start("agent")

    def _targets(self, name: str, targets: list[str]) -> None:
        place = self.folder / "prometheus" / "targets" / f"{name}.yml"
        half = place.with_suffix(".half")
        half.write_text(yaml.safe_dump([{"targets": targets}]))
        half.rename(place)

    def start(self, *names: str, **settings: str) -> None:
        """Start programs, as they were or with other settings, and wait until all are ready."""
        for name in names:
            environ = {"PATH": os.environ["PATH"], "HOME": str(self.folder), **self._environ(name), **settings}
            where = self.folder / name
            self.processes[name] = spawn(self._command(name), self._log(name), None, env=environ, cwd=where)
        for name in names:
            until(lambda name=name: self._ready(name), f"{name} ready", READY_S)  # type: ignore[misc]

    def stop(self, name: str, number: int = signal.SIGTERM) -> None:
        """End a program; SIGKILL for one that is not asked."""
        end(self.processes[name], number)

    def close(self) -> None:
        """End everything at once: what it has is thrown away."""
        for process in self.processes.values():
            end(process, signal.SIGKILL)

    def _command(self, name: str) -> list[str]:
        if name in _KINDS:
            return [str(self._found["firstcause-collector"]), "--config", str(CONFIG / _KINDS[name])]
        listen = f"--web.listen-address={self._at(name, 'query')}"
        own = {
            "jaeger": ["--config", str(CONFIG / "stores" / "jaeger.yaml")],
            "loki": [f"-config.file={CONFIG / 'stores' / 'loki.yaml'}", "-config.expand-env=true"],
            "prometheus": [
                "--config.file=prometheus.yml", "--storage.tsdb.path=data", "--web.enable-otlp-receiver",
                "--enable-feature=exemplar-storage", listen,
            ],
            "alertmanager": [
                f"--config.file={self.folder / 'alerts' / 'alertmanager.yml'}", "--cluster.listen-address=", listen,
            ],
        }  # fmt: skip
        return [str(self._found[name]), *own[name]]

    def _environ(self, name: str) -> dict[str, str]:
        ports = {kind: str(port) for kind, port in self.ports[name].items()}
        if name == "loki":
            return {
                "LOKI_HOST": "127.0.0.1", "LOKI_PORT": ports["query"], "LOKI_GRPC_PORT": ports["grpc"],
                "LOKI_DATA": str(self.folder / name),
            }  # fmt: skip
        shared = {"OTLP_GRPC_PORT": ports["grpc"], "HEALTH_PORT": ports["health"], "TELEMETRY_PORT": ports["telemetry"]}
        if name == "jaeger":
            return {
                **shared, "JAEGER_HOST": "127.0.0.1", "JAEGER_DATA": str(self.folder / name),
                "QUERY_PORT": ports["query"], "QUERY_GRPC_PORT": ports["inner"],
            }  # fmt: skip
        if name not in _KINDS:
            return {}
        shared |= {"COLLECTOR_HOST": "127.0.0.1", "QUEUE_DIR": str(self.folder / name / "queue")}
        return {**shared, **(self._of_agent(ports) if name == "agent" else self._of_gateway(name))}

    def _of_agent(self, ports: Mapping[str, str]) -> dict[str, str]:
        return {
            "OTLP_HTTP_PORT": ports["http"], "COLLECTION_INTERVAL": "2s",
            "GATEWAY_A": self._at("gateway-a", "grpc"), "GATEWAY_B": self._at("gateway-b", "grpc"),
            "POSTGRES_PASSWORD_FILE": str(self.folder / "password"),
            "REDIS_PASSWORD_FILE": str(self.folder / "no-password"), **self._shop,
        }  # fmt: skip

    def _of_gateway(self, name: str) -> dict[str, str]:
        return {
            "GATEWAY_NAME": name, "DECISION_WAIT": f"{DECISION_S}s", "BASE_PERCENT": "100", "FLUSH_INTERVAL": "2s",
            "JAEGER_ENDPOINT": self._at("jaeger", "grpc"), "LOKI_ENDPOINT": f"http://{self._at('loki', 'query')}/otlp",
            "PROMETHEUS_ENDPOINT": f"http://{self._at('prometheus', 'query')}/api/v1/otlp",
        }  # fmt: skip

    def _at(self, name: str, kind: str) -> str:
        return f"127.0.0.1:{self.ports[name][kind]}"

    def _log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def _ready(self, name: str) -> bool:
        if self.processes[name].poll() is not None:
            raise PartError(f"{name} ended with {self.processes[name].returncode}:\n{tail(self._log(name))}")
        kind = "health" if name in _KINDS or name == "jaeger" else "query"
        try:
            _get(f"http://{self._at(name, kind)}{_HEALTH.get(name, '/')}")
        except OSError:
            return False
        return True

    # -- what they know --------------------------------------------------------------------------

    def ask(self, name: str, path: str, **params: object) -> Any:
        """A store's answer to a GET, as JSON."""
        query = urllib.parse.urlencode({key: str(value) for key, value in params.items()})
        return json.loads(_get(f"http://{self._at(name, 'query')}{path}?{query}"))

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The result of an instant query of Prometheus."""
        found: list[dict[str, Any]] = self.ask("prometheus", "/api/v1/query", query=expression)["data"]["result"]
        return found

    def trace(self, trace_id: str) -> list[Span]:
        """The spans of one trace in Jaeger; none when it is not there."""
        try:
            found = self.ask("jaeger", f"/api/traces/{trace_id}")["data"]
        except urllib.error.HTTPError as error:
            if error.code != 404:
                raise
            return []
        return [span for trace in found for span in spans_of(trace)]

    def traces(self, service: str, since: float, most: int = 5000) -> dict[str, list[Span]]:
        """All traces through a service since then (seconds since the epoch), by id."""
        found = self.ask(
            "jaeger", "/api/traces", service=service, limit=most, start=int(since * 1e6), end=int(time.time() * 1e6)
        )["data"]
        return {trace["traceID"].rjust(32, "0"): spans_of(trace) for trace in found}

    def logs(self, query: str, since: float) -> list[dict[str, Any]]:
        """Log records in Loki since then: labels and structured metadata, `line` and `at` among them."""
        found = self.ask(
            "loki", "/loki/api/v1/query_range", query=query, limit=5000, start=int(since * 1e9),
            end=int(time.time() * 1e9),
        )["data"]["result"]  # fmt: skip
        return [{**s["stream"], "at": at, "line": line} for s in found for at, line, *_ in s["values"]]

    def counted(self, name: str, metric: str) -> float:
        """The sum of one of a Collector's, or Jaeger's, own metrics."""
        return total(_get(f"http://{self._at(name, 'telemetry')}/metrics"), metric)


Span = dict[str, Any]


def spans_of(trace: Mapping[str, Any]) -> list[Span]:
    """The spans of one of Jaeger's traces, each with its service, parent, tags and resource."""
    known = trace["processes"]
    return [
        {
            "id": span["spanID"], "name": span["operationName"], "service": known[span["processID"]]["serviceName"],
            "parent": next((ref["spanID"] for ref in span["references"] if ref["refType"] == "CHILD_OF"), ""),
            "tags": {tag["key"]: tag["value"] for tag in span["tags"]},
            "resource": {tag["key"]: tag["value"] for tag in known[span["processID"]]["tags"]},
        }
        for span in trace["spans"]
    ]  # fmt: skip


def total(exposed: str, metric: str, having: str = "") -> float:
    """The sum of a metric's samples in a text of `/metrics`, of those whose labels contain `having`."""
    pattern = re.compile(rf"^{metric}(?:_total)?(\{{.*\}})? (\S+)", re.MULTILINE)
    return sum(float(value) for labels, value in pattern.findall(exposed) if having in labels)


def whole(spans: Iterable[Span], visitor: str) -> bool:
    """Whether a request's trace lacks nothing: every parent is there but the visitor's, and every call has its answer."""
    spans = list(spans)
    known = {span["id"] for span in spans}
    served = {span["parent"] for span in spans if span["tags"].get("span.kind") == "server"}
    calls = {span["id"] for span in spans if span["tags"].get("span.kind") == "client" and "url.full" in span["tags"]}
    return visitor in served and calls <= served and all(span["parent"] in known | {visitor} for span in spans)


def _get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=30) as reply:
        return str(reply.read().decode())
