"""The real `docker compose config` reads the file without a word of complaint, in both profiles."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from demo_app.programs import PROGRAMS, ProgramMissingError, find

ROOT = Path(__file__).parents[2]
SHOP = {
    "gateway",
    "orders",
    "payments",
    "worker",
    "postgres",
    "redis-cache",
    "redis-queue",
    "schema",
    "load",
    "receiver",
}
STACK = {
    "alert-routes", "alertmanager", "collector-agent", "collector-gateway", "grafana", "jaeger", "loki", "prometheus", "rum",
}  # fmt: skip


def compose(*arguments: str, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the client; it needs no engine for this."""
    try:
        program = find("docker-compose", build=False)
    except ProgramMissingError as missing:
        pytest.skip(str(missing))
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("COMPOSE_", "DOCKER_"))}
    return subprocess.run(
        [program, "-f", ROOT / "docker-compose.yml", *arguments],
        env={**kept, **environment}, cwd="/", input=stdin, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def config(**environment: str) -> dict[str, Any]:
    """The services as the client understands them."""
    done = compose("config", "--format", "json", **environment)
    assert (0, "") == (done.returncode, done.stderr)
    services: dict[str, Any] = json.loads(done.stdout)["services"]
    return services


def test_without_a_word_everything_starts() -> None:
    """`docker compose up` alone is the whole picture."""
    assert SHOP | STACK == set(config())


def test_the_stack_alone_has_no_part_of_the_shop() -> None:
    """For services of one's own: COMPOSE_PROFILES=stack."""
    assert STACK == set(config(COMPOSE_PROFILES="stack"))


def test_what_holds_secrets_is_resolved_inside_only() -> None:
    """Addresses still have the name of their password in them, not the password."""
    environment = config()["orders"]["environment"]
    assert "postgresql+psycopg://shop:$${SHOP_PASSWORD}@postgres:5432/shop" == environment["DATABASE_URL"]
    assert "/run/secrets/mesh_key" == environment["FIRSTCAUSE_MESH_KEY_FILE"]


def test_notifications_go_to_the_demo_or_to_the_targets_of_the_slo_file() -> None:
    """ALERT_RECEIVER is the demo's, until it is empty."""
    assert "http://receiver:9000" == config()["alert-routes"]["command"][-1]
    assert "" == config(ALERT_RECEIVER="")["alert-routes"]["command"][-1]


@pytest.mark.parametrize(
    ("image", "program"),
    [
        ("prom/prometheus:v", "prometheus"),
        ("prom/alertmanager:v", "alertmanager"),
        ("grafana/loki:", "loki"),
        ("otel/opentelemetry-collector-contrib:", "firstcause-collector"),
    ],
)
def test_images_have_the_version_that_the_tests_run(image: str, program: str) -> None:
    """A program that is tested is the program that is shipped; Jaeger is the exception that the file explains."""
    text = (ROOT / "docker-compose.yml").read_text() + (ROOT / "Dockerfile").read_text()
    assert f"{image}{PROGRAMS[program].version}" in text


def test_the_second_gateway_of_the_operations_page_has_a_queue_of_its_own() -> None:
    """The file that the page shows, beside ours: the agent knows both gateways, and no queue is shared."""
    page = (ROOT / "docs/operations.md").read_text()
    (shown,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    done = compose(
        "-f",
        "-",
        "config",
        "--format",
        "json",
        stdin=shown.replace("docker-compose.yml", str(ROOT / "docker-compose.yml")),
    )
    assert (0, "") == (done.returncode, done.stderr)
    services = json.loads(done.stdout)["services"]
    queues = [
        volume["source"]
        for name in ("collector-gateway", "collector-gateway-b")
        for volume in services[name]["volumes"]
        if volume["type"] == "volume"
    ]
    assert ["collector-gateway", "collector-gateway-b"] == queues
    assert "collector-gateway-b:4317" == services["collector-agent"]["environment"]["GATEWAY_B"]


def test_the_client_itself_can_fail(tmp_path: Path) -> None:
    """A misspelt key is a complaint, so that silence means something."""
    shutil.copy(ROOT / "docker-compose.yml", tmp_path)
    spoilt = tmp_path / "docker-compose.yml"
    spoilt.write_text(spoilt.read_text().replace("healthcheck:", "healthchecks:", 1))
    assert 0 != compose("-f", str(spoilt), "config", "-q").returncode
