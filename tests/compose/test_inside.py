"""What a container of the shop does with its environment: on a real PostgreSQL, without the container."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from demo_app import settings
from tests import parts

ROOT = Path(__file__).parents[2]


def run(module: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A module of the shop, as a container runs it."""
    paths = os.pathsep.join(str(ROOT / part) for part in (".", "sdk/src", "alerts/src"))
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": paths, **environment},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The address of an empty server."""
    with parts.postgres("postgres") as running:
        yield running.url.replace("postgresql://", "postgresql+psycopg://")


def prepare(server: str, password: str) -> None:
    """Run the schema job."""
    done = run("demo_app.schema", ADMIN_URL=server, SHOP_PASSWORD=password, MONITOR_PASSWORD="km")
    assert 0 == done.returncode, done.stderr


def asked(url: str, statement: str) -> list[tuple[object, ...]]:
    """The rows of a statement."""
    with create_engine(url).begin() as connection:
        result = connection.execute(text(statement))
        return [tuple(row) for row in result] if result.returns_rows else []


def test_the_schema_is_there_after_any_number_of_runs(server: str) -> None:
    """Tables belong to the services' role, the Collector may read statistics, rows and a renewed password stay."""
    prepare(server, "k'%one")
    shop = server.rpartition("/")[0] + "/shop"
    assert {("orders", "shop"), ("outbox", "shop"), ("products", "shop")} == set(
        asked(shop, "SELECT tablename, tableowner FROM pg_tables WHERE schemaname = 'public'")
    )
    assert [(True,)] == asked(server, "SELECT pg_has_role('monitor', 'pg_monitor', 'member')")
    asked(shop, "INSERT INTO orders (buyer, sku) VALUES ('ada', 1)")
    before = asked(server, "SELECT rolpassword FROM pg_authid WHERE rolname = 'shop'")
    prepare(server, "ktwo")
    assert [(1,)] == asked(shop, "SELECT count(*) FROM orders")
    assert before != asked(server, "SELECT rolpassword FROM pg_authid WHERE rolname = 'shop'")


def test_an_address_takes_its_password_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not there is left as it is, and no other character is special."""
    monkeypatch.setenv("REDIS_PASSWORD", "kx")
    monkeypatch.setenv("REDIS_URL", "redis://:${REDIS_PASSWORD}@redis-cache:6379/0")
    assert "redis://:kx@redis-cache:6379/0" == settings.required("REDIS_URL")


def test_loopback_is_listened_on_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    """HOST, which shells and package managers set for purposes of their own, is not asked."""
    monkeypatch.setenv("HOST", "0.0.0.0")
    monkeypatch.delenv("LISTEN_HOST", raising=False)
    assert "127.0.0.1" == settings.listening()
    monkeypatch.setenv("LISTEN_HOST", "0.0.0.0")
    assert "0.0.0.0" == settings.listening()


def test_a_container_breaks_the_shop_by_the_file_of_its_variable(tmp_path: Path) -> None:
    """The first fault makes the file, the last one mended empties it."""
    switches = tmp_path / "switches.json"
    assert 0 == run("demo_app.break", "payments_lock", DEMO_SWITCHES=str(switches)).returncode
    assert ["payments_lock"] == json.loads(switches.read_text())
    run("demo_app.break", "payments_lock", "--off", DEMO_SWITCHES=str(switches))
    assert [] == json.loads(switches.read_text())
