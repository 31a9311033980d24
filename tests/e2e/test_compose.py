"""`docker compose up` of the real file: healthy, broken, paged; with images built here under the file's own names.

Everything but Grafana, which no package registry has. Skipped, with the reason, where no engine can be started.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from checks.hygiene import files
from tests.e2e.engine import ROOT, Engine, EngineMissingError, engine, stand_in
from tests.e2e.stack import until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]
UP_S, PAGE_S, PAUSE_S = 900, 420, 2
"""On two cores with the images built: up in 90 s; a page after 2 min."""
FAULT, CAUSE = "exception", "Cause: gateway app.exception"
JOBS = {"schema", "alert-routes"}


@dataclass(frozen=True)
class Stack:
    """The running compose project."""

    engine: Engine
    folder: Path

    def compose(self, *arguments: str, seconds: float = 300) -> str:
        """What `docker compose …` prints."""
        return self.engine.compose(self.folder, *arguments, seconds=seconds)

    def inside(self, service: str, *command: str) -> str:
        """What a command prints in a service's container."""
        return self.compose("exec", "-T", service, *command)

    def containers(self) -> dict[str, dict[str, Any]]:
        """What the engine knows of each service's container."""
        ids = self.compose("ps", "-a", "-q").split()
        found = json.loads(self.engine.docker("inspect", *ids))
        return {one["Config"]["Labels"]["com.docker.compose.service"]: one for one in found}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A clone of the project, as `make secrets` and `docker compose up --wait` leave it."""
    try:
        with engine() as running:
            stand_in(running)
            stack = Stack(running, clone(tmp_path_factory.mktemp("compose") / "firstcause"))
            try:
                services = stack.compose("config", "--services").split()
                services.remove("grafana")
                stack.compose("up", "--build", "--wait", "--wait-timeout", str(UP_S), *services, seconds=UP_S + 600)
                yield stack
            except RuntimeError as error:
                pytest.fail(f"{error}\n{stack.compose('ps', '-a')}\n{stack.compose('logs', '--tail', '15')}")
            finally:
                stack.compose("down", "--volumes", "--timeout", "10")
    except EngineMissingError as missing:
        pytest.skip(f"no Docker engine: {missing}")


def clone(folder: Path) -> Path:
    """What git has, and secrets of its own."""
    for path in files(ROOT):
        copy = folder / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, copy)
    subprocess.run([folder / "scripts/secrets"], check=True, capture_output=True)
    return folder


def test_everything_is_healthy_and_jobs_have_ended_well(stack: Stack) -> None:
    """Every service is healthy by its own health check; the two jobs ended with 0; nothing was restarted."""
    found = stack.containers()
    assert set() == {
        name
        for name, one in found.items()
        if name not in JOBS and one["State"].get("Health", {}).get("Status") != "healthy"
    }
    assert dict.fromkeys(JOBS, 0) == {name: found[name]["State"]["ExitCode"] for name in JOBS}
    assert {} == {name: one["RestartCount"] for name, one in found.items() if one["RestartCount"]}


def test_nobody_listens_beyond_loopback_or_has_rights(stack: Stack) -> None:
    """As the engine has it: ports on 127.0.0.1, no root, no capability, an image that cannot be written, limits."""
    for name, one in stack.containers().items():
        host = one["HostConfig"]
        assert {"127.0.0.1"} >= {
            binding["HostIp"] for bindings in host["PortBindings"].values() for binding in bindings
        }, name
        assert one["Config"]["User"].partition(":")[0] not in ("", "0", "root"), name
        assert (["ALL"], None) == (host["CapDrop"], host["CapAdd"]), name
        assert (True, False) == (host["ReadonlyRootfs"], host["Privileged"]), name
        assert min(host["Memory"], host["NanoCpus"], host["PidsLimit"]) > 0, name


def test_no_secret_is_in_what_the_engine_tells(stack: Stack) -> None:
    """`docker inspect` and the logs of all services hold none of the secrets."""
    told = json.dumps(list(stack.containers().values())) + stack.compose("logs", "--no-color")
    secrets = [path for path in (stack.folder / "secrets").iterdir() if path.is_file()]
    assert 8 == len(secrets)
    assert [] == [path.name for path in secrets if path.read_text() in told]


def test_a_password_is_needed(stack: Stack) -> None:
    """PostgreSQL and Redis refuse whoever has none."""
    with pytest.raises(RuntimeError, match="password"):
        stack.inside("postgres", "psql", "-w", "-h", "postgres", "-U", "postgres", "-c", "SELECT 1")
    assert "NOAUTH" in stack.inside("redis-cache", "redis-cli", "get", "x")


def test_no_service_reaches_traces_and_logs_but_by_the_collector(stack: Stack) -> None:
    """The shop's network has no Jaeger and no Loki."""
    for store in ("jaeger", "loki"):
        with pytest.raises(RuntimeError, match=r"resol|not known"):
            stack.inside("gateway", "python", "-c", f"import socket; socket.getaddrinfo('{store}', 80)")


def prometheus(stack: Stack, query: str) -> list[dict[str, Any]]:
    """The result of an instant query, asked from inside: what a test publishes is not for it to rely on."""
    script = "import sys, urllib.parse as p, urllib.request as r; print(r.urlopen('http://prometheus:9090/api/v1/query?' + p.urlencode({'query': sys.argv[1]})).read().decode())"
    found: list[dict[str, Any]] = json.loads(stack.inside("load", "python", "-c", script, query))["data"]["result"]
    return found


def test_every_target_is_scraped(stack: Stack) -> None:
    """Each service and store that is up answers Prometheus."""
    wanted = {f"{name}:9464" for name in ("gateway", "orders", "payments", "worker", "rum")}
    wanted |= {
        "collector-agent:8888",
        "collector-gateway:8888",
        "jaeger:8888",
        "loki:3100",
        "prometheus:9090",
        "alertmanager:9093",
    }
    until(lambda: wanted <= {one["metric"]["instance"] for one in prometheus(stack, "up == 1")}, "every target", 120, PAUSE_S)


def test_databases_are_read_by_the_agent(stack: Stack) -> None:
    """Readings of PostgreSQL and of both Redis, with the passwords of the mounted secrets."""
    until(lambda: prometheus(stack, '{__name__=~"postgresql_backends.*"}'), "PostgreSQL", 120, PAUSE_S)
    until(lambda: len(prometheus(stack, '{__name__=~"redis_uptime.*"}')) == 2, "two Redis", 120, PAUSE_S)


def test_traces_and_log_lines_arrive(stack: Stack) -> None:
    """Through agent and gateway: Jaeger has traces of the edge and of the payments behind it, Loki has their lines."""
    wanted = {"gateway", "orders", "payments"}
    until(lambda: wanted <= set(fetched(stack, "http://jaeger:16686/api/services")["data"]), "traces", 120, PAUSE_S)
    lines = "http://loki:3100/loki/api/v1/label/service_name/values"
    until(lambda: wanted <= set(fetched(stack, lines).get("data", [])), "log lines", 120, PAUSE_S)


def fetched(stack: Stack, address: str) -> dict[str, Any]:
    """A store's answer, asked from beside it."""
    found: dict[str, Any] = json.loads(stack.inside("collector-gateway", "wget", "-qO-", address))
    return found


def test_a_fault_is_a_page_that_names_its_cause(stack: Stack) -> None:
    """Break the gateway as README says, and read the receiver's log as the on-call person would."""
    stack.inside("load", "python", "-m", "demo_app.break", FAULT)
    try:
        until(lambda: CAUSE in stack.compose("logs", "--no-log-prefix", "receiver"), "a page", PAGE_S, PAUSE_S)
    finally:
        stack.inside("load", "python", "-m", "demo_app.break", FAULT, "--off")
