"""From `/metrics` to a notification: the real Prometheus and Alertmanager, with every window shrunk by `SCALE`."""

from __future__ import annotations

import json
import signal
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml

import firstcause_alerts
from firstcause_alerts import history

from .parts import PartError, end, free_port, spawn, tail
from .programs import find

SLOS = Path(__file__).resolve().parent.parent / "alerts" / "slos.yml"
SCALE = 60.0
"""A minute of the objectives lasts a second."""
# Measured: with 70 minutes of a past, 5 % of errors page after 9 to 12 minutes, where the formula says 17.
PAST_S = 6.5 * 3600
"""More than the longest window that pages: with less of a past it would page too early."""
PACE = 5.0
"""Requests per second of the invented past, about those of the load's routes."""
READY_S = 60.0
PROGRAMS = ("prometheus", "promtool", "alertmanager")
ENVIRONMENT = "demo"


def programs() -> dict[str, Path]:
    """The programs, fetched or built where they are missing. Raises `ProgramMissingError`."""
    return {name: find(name) for name in PROGRAMS}


class Chain:
    """Both programs, in a folder of theirs. Use as a context manager."""

    def __init__(
        self, folder: Path, found: Mapping[str, Path], receiver: str, *,
        slos: Path = SLOS, scale: float = SCALE, pace: float = PACE,
    ) -> None:  # fmt: skip
        self._folder, self._programs, self._receiver = folder, found, receiver
        self._slos, self._scale, self._pace = slos, scale, pace
        self.ports = {"prometheus": free_port(), "alertmanager": free_port()}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._targets: list[str] = []
        self._failures = 0

    def __enter__(self) -> Self:
        self._folder.mkdir(exist_ok=True)
        firstcause_alerts.compile(
            self._slos, self._folder / "generated", time_scale=self._scale, receiver=self._receiver
        )
        self._configure()
        try:
            # The past ends at the moment it is made: just before Prometheus goes on with it, and after all else.
            self.start("alertmanager")
            self._fill()
            self.start("prometheus")
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _configure(self) -> None:
        def job(name: str, targets: list[str], seconds: int) -> dict[str, Any]:
            every = {"scrape_interval": f"{seconds}s", "scrape_timeout": f"{seconds}s"}
            return {"job_name": name, **every, "static_configs": [{"targets": targets}]}

        themselves = {name: f"127.0.0.1:{port}" for name, port in self.ports.items()}
        config = {
            "rule_files": ["generated/rules.yml"],
            "alerting": {"alertmanagers": [{"static_configs": [{"targets": [themselves["alertmanager"]]}]}]},
            # The shortest window, 5 min, lasts 5 s here: with more than 2.5 s between two scrapes it may hold only one.
            # What is lost on the way to Alertmanager is a ticket; the rules learn it from the second job.
            "scrape_configs": [job("shop", self._targets, 1), job("alerting", [*themselves.values()], 5)],
        }
        (self._folder / "prometheus.yml").write_text(yaml.safe_dump(config))

    def _fill(self) -> None:
        # An instance of its own: the shop's counters begin at zero, and that would look like a restart of this one.
        labels = {"deployment_environment_name": ENVIRONMENT, "service_instance_id": "history"}
        past = history.openmetrics(
            firstcause_alerts.load(self._slos.read_text()), until=time.time(), seconds=PAST_S / self._scale, step_s=1,
            per_second=self._pace, labels=labels,
        )  # fmt: skip
        (self._folder / "history.txt").write_text(past)
        command = [str(self._programs["promtool"]), "tsdb", "create-blocks-from", "openmetrics", "history.txt", "data"]
        done = subprocess.run(command, cwd=self._folder, capture_output=True, text=True, check=False)
        if done.returncode:
            raise PartError(f"promtool could not fill in the past:\n{done.stderr[-1500:]}")

    def start(self, name: str) -> None:
        """Start one of the two, as it was, and wait until it is ready."""
        listen = f"--web.listen-address=127.0.0.1:{self.ports[name]}"
        own = {
            "prometheus": ["--config.file=prometheus.yml", "--storage.tsdb.path=data"],
            "alertmanager": [
                # No cluster: its port is a fixed one, on all interfaces, and another run has it too.
                "--config.file=generated/alertmanager.yml", "--storage.path=am", "--cluster.listen-address=",
            ],
        }  # fmt: skip
        log = self._folder / f"{name}.log"
        process = spawn([str(self._programs[name]), *own[name], listen], log, None, cwd=self._folder)
        self._processes[name] = process
        limit = time.monotonic() + READY_S
        while not self._ready(name):
            if process.poll() is not None or time.monotonic() > limit:
                raise PartError(f"{name} is not ready:\n{tail(log)}")
            time.sleep(0.05)

    def stop(self, name: str) -> None:
        """Stop one of the two."""
        if name == "prometheus":
            self._failures = self.failures()  # it counts from zero when it is started again
        end(self._processes[name], signal.SIGTERM)

    def scrape(self, targets: Mapping[str, int]) -> None:
        """From now on read `/metrics` of these ports, every second."""
        self._targets = [f"127.0.0.1:{port}" for port in targets.values()]
        self._configure()
        # Reloading over HTTP would have to be allowed (--web.enable-lifecycle); the signal always works.
        self._processes["prometheus"].send_signal(signal.SIGHUP)

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The result of an instant query."""
        found: list[dict[str, Any]] = json.loads(
            self._get("prometheus", "/api/v1/query?" + urllib.parse.urlencode({"query": expression}))
        )["data"]["result"]
        return found

    def failures(self) -> int:
        """Rule evaluations that failed since the chain began."""
        lines = self._get("prometheus", "/metrics").splitlines()
        return self._failures + sum(
            int(float(line.split()[-1]))
            for line in lines
            if line.startswith("prometheus_rule_evaluation_failures_total")
        )

    def _ready(self, name: str) -> bool:
        try:
            self._get(name, "/-/ready")
        except OSError:
            return False
        return True

    def _get(self, name: str, path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.ports[name]}{path}", timeout=20) as reply:
            return str(reply.read().decode())

    def close(self) -> None:
        """Stop both."""
        for process in self._processes.values():
            end(process, signal.SIGTERM)
