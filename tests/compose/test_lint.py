"""The lint of the compose file finds each fault alone, in a copy of the real file, and nothing in the real one."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from checks import compose

ROOT = Path(__file__).parents[2]
COPIED = ("docker-compose.yml", "Dockerfile", ".env", ".gitignore", "scripts/secrets")
MOUNTED = ("collector-config", "alerts/generated", "dashboards/provisioning", "dashboards/generated")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """What the lint reads, to be spoilt."""
    for name in COPIED:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    for name in MOUNTED:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(ROOT / name, tmp_path / name)
    return tmp_path


def in_file(name: str, old: str, new: str) -> Callable[[Path], None]:
    """A fault: other text in a file, everywhere it stands."""

    def fault(root: Path) -> None:
        text = (root / name).read_text()
        assert old in text, f"{name} has no {old!r} to spoil"
        (root / name).write_text(text.replace(old, new))

    return fault


def in_compose(old: str, new: str) -> Callable[[Path], None]:
    """The same in the compose file."""
    return in_file("docker-compose.yml", old, new)


MUTANTS = {
    "latest": (in_compose("prom/prometheus:v3.16.0", "prom/prometheus:latest"), "prometheus: image `prom/"),
    "no tag": (in_compose("grafana/grafana:13.2.3", "grafana/grafana"), "grafana: image `grafana/"),
    "half a version": (in_compose("postgres:18.4-alpine", "postgres:18"), "postgres: image `postgres:18`"),
    "latest base": (in_file("Dockerfile", "loki:3.7.8", "loki:latest"), "Dockerfile: base `grafana/loki:latest`"),
    "base without tag": (in_file("Dockerfile", "busybox:1.37.0-musl", "busybox"), "Dockerfile: base `busybox`"),
    "password in clear": (
        in_compose(
            "GF_SECURITY_ADMIN_PASSWORD__FILE: /run/secrets/grafana_password", "GF_SECURITY_ADMIN_PASSWORD: admin"
        ),
        "grafana: GF_SECURITY_ADMIN_PASSWORD holds a secret",
    ),
    "password by default": (
        in_compose("POSTGRES_PASSWORD_FILE: /run/secrets/postgres_password}", 'POSTGRES_PASSWORD: "${PW:-shop}"}'),
        "postgres: POSTGRES_PASSWORD holds a secret",
    ),
    "key in clear": (
        in_compose("FIRSTCAUSE_MESH_KEY_FILE: /run/secrets/mesh_key", "FIRSTCAUSE_MESH_KEY: 0123456789abcdef"),
        "gateway: FIRSTCAUSE_MESH_KEY holds a secret",
    ),
    "secret of another place": (
        in_compose("/run/secrets/user_key", "/tmp/user_key"),
        "FIRSTCAUSE_USER_KEY_FILE is no mounted",
    ),
    "password in an address": (
        in_compose("shop:$${SHOP_PASSWORD}@postgres:5432/shop", "shop:shop@postgres/shop"),
        "orders: a password is in clear",
    ),
    "password in a command": (
        in_compose("requirepass $$(cat /run/secrets/redis_password)", "requirepass redis"),
        "redis-cache: a password is in clear",
    ),
    "secret in .env": (
        in_file(".env", "COMPOSE_PROFILES", "GRAFANA_PASSWORD"),
        ".env holds a secret: GRAFANA_PASSWORD",
    ),
    "anonymous Grafana": (
        in_compose('ANONYMOUS_ENABLED: "false"', 'ANONYMOUS_ENABLED: "true"'),
        "Grafana lets in everybody",
    ),
    "port on every address": (in_compose('"127.0.0.1:9090:9090"', '"9090:9090"'), "prometheus: port 9090:9090 is open"),
    "port on 0.0.0.0": (
        in_compose('"127.0.0.1:3000:3000"', '"0.0.0.0:3000:3000"'),
        "grafana: port 0.0.0.0:3000:3000 is open",
    ),
    "port in the long form": (
        in_compose('["127.0.0.1:3000:3000"]', "[{target: 3000, published: 3000}]"),
        "grafana: port {",
    ),
    "the host's network": (
        in_compose("    shm_size: 128m\n", "    network_mode: host\n"),
        "postgres: network_mode: host",
    ),
    "no health check": (
        in_compose(
            "    healthcheck: &answering\n      <<: *health\n      test: [CMD,",
            "    x-answering: &answering\n      test: [CMD,",
        ),
        "payments: no health check",
    ),
    "health check switched off": (
        in_compose("    healthcheck: *collecting", "    healthcheck: {disable: true}"),
        "collector-gateway: no health check",
    ),
    "no limit of memory": (in_compose("memory: 512M, ", ""), "postgres: no limit of memory"),
    "no limit of CPU": (in_compose('cpus: "1", memory: 1G', "memory: 1G"), "loki: no limit of cpus"),
    "no limit of processes": (in_compose(", pids: 128", ""), "gateway: no limit of pids"),
    "endless log": (in_compose("options: {max-size: 10m, ", "options: {"), "its log grows without end"),
    "root": (in_compose('user: "70:70"', 'user: "0:0"'), "postgres: runs as root"),
    "root as a number": (in_compose('user: "70:70"', "user: 0"), "postgres: runs as root"),
    "whoever the image says": (in_compose('  user: "999:1000"\n', ""), "redis-cache: runs as root"),
    "root in our image": (
        in_file("Dockerfile", "/var/lib/shop /var/lib/alerts\nUSER 10001:10001", "/var/lib/shop /var/lib/alerts"),
        "gateway: runs as root",
    ),
    "capabilities": (in_compose("cap_drop: [ALL]", "cap_drop: [NET_RAW]"), "jaeger: has capabilities"),
    "privileged": (in_compose("    shm_size: 128m\n", "    privileged: true\n"), "postgres: has capabilities"),
    "new rights": (in_compose("security_opt: [no-new-privileges:true]", "security_opt: []"), "may gain rights"),
    "writable image": (in_compose("read_only: true", "read_only: false"), "grafana: may write to its image"),
    "anonymous volume": (in_compose('["postgres:/var/lib/postgresql"]', "[/var/lib/postgresql]"), "has no name"),
    "file that is gone": (
        lambda root: (root / "collector-config/stores/loki.yaml").unlink(),
        "stores/loki.yaml is mounted, and not there",
    ),
    "file that can be written": (
        in_compose("jaeger.yaml:/etc/jaeger/jaeger.yaml:ro", "jaeger.yaml:/etc/jaeger/jaeger.yaml"),
        "jaeger.yaml can be written",
    ),
    "environment that is gone": (
        lambda root: (root / "alerts/generated/objectives/gateway.env").unlink(),
        "gateway.env is read, and not there",
    ),
    "started, not healthy": (
        in_compose("loki: {condition: service_healthy}", "loki: {condition: service_started}"),
        "grafana: waits for loki to start",
    ),
    "short form of waiting": (
        in_compose("depends_on: {alertmanager: {condition: service_healthy}}", "depends_on: [alertmanager]"),
        "prometheus: waits for alertmanager to start",
    ),
    "missing in a profile": (
        in_compose("depends_on: {alertmanager:", "depends_on: {gateway:"),
        "prometheus: waits for gateway, which is missing",
    ),
    "undeclared volume": (
        in_compose("- loki:/var/lib/loki", "- logs:/var/lib/loki"),
        "volumes: logs is used, and not declared",
    ),
    "unused volume": (
        in_compose("volumes:\n  postgres:\n", "volumes:\n  postgres:\n  old:\n"),
        "volumes: old is declared, and not used",
    ),
    "secret that nobody makes": (
        in_compose("file: secrets/user_key", "file: secrets/user"),
        "`make secrets` does not make user_key",
    ),
    "secrets in git": (in_file(".gitignore", "secrets/", "secret/"), ".gitignore does not name secrets/"),
}


def test_the_compose_file_is_in_order() -> None:
    """What we ship keeps every promise."""
    assert [] == compose.problems(ROOT)


@pytest.mark.parametrize("name", MUTANTS)
def test_each_fault_is_found(name: str, tree: Path) -> None:
    """One fault, one complaint that names it; the copy was in order before."""
    fault, complaint = MUTANTS[name]
    assert [] == compose.problems(tree)
    fault(tree)
    assert complaint in "\n".join(compose.problems(tree))


def test_a_tree_without_a_compose_file_has_no_problem(tmp_path: Path) -> None:
    """The gate looks at what is there."""
    assert [] == compose.problems(tmp_path)
