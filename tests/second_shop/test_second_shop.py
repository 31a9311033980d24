"""Another application, with objectives of its own: real faults, real PostgreSQL, Redis, Prometheus and Alertmanager."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

import firstcause_alerts
from demo_app.parts import free_port
from firstcause_alerts.notification import render
from tests import parts
from tests.alerts.conftest import ROOT, program
from tests.alerts.live import Chain

pytestmark = [pytest.mark.e2e, pytest.mark.parts, pytest.mark.timeout(300)]
SLOS = Path(__file__).with_name("slos.yml")
GUESTS, ROOMS, EVERY_S = 6, 40, 1.0
"""Each guest looks at a room and books it once a second."""
LETTERS = 400
"""A campaign that keeps the postman busy for 16 seconds."""
SCHEMA = """
CREATE TABLE rooms (id int PRIMARY KEY, name text);
INSERT INTO rooms SELECT n, 'room ' || n FROM generate_series(1, 40) AS n;
CREATE TABLE bookings (id serial PRIMARY KEY, room int);
"""
RATE = "CREATE OR REPLACE FUNCTION rate(room int) RETURNS int LANGUAGE sql AS"
QUICK, SLOW = f"{RATE} 'SELECT 9900'", f"{RATE} 'SELECT 9900 FROM pg_sleep(0.9)'"
FAULTS = {
    "rates": ("rooms-latency", "rates db.slow"),
    "desk": ("bookings", "desk app.exception"),
    "postman": ("letters", "postman queue.backlog"),
}
"""Incident to the objective that suffers and the cause that its page has to name first."""

COMMANDS = {
    "rates": ("tests.second_shop.rates",), "desk": ("tests.second_shop.desk",),
    "postman": (
        "celery", "-A", "tests.second_shop.postman", "worker", "--pool", "threads", "--concurrency", "1",
        "--without-gossip", "--without-mingle", "--without-heartbeat", "-l", "WARNING",
    ),
}  # fmt: skip


class House:
    """The running services with their databases."""

    def __init__(self, folder: Path, database: str, broker: str, **settings: str) -> None:
        self.database, self.broker, self._folder = database, broker, folder
        self.ports = {name: free_port() for name in ("desk", "rates")}
        self.metrics = {name: free_port() for name in ("desk", "rates", "postman")}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._common = {
            "DATABASE_URL": database, "BROKER_URL": broker, "RATES_URL": f"http://127.0.0.1:{self.ports['rates']}",
            "OTEL_TRACES_EXPORTER": "none", "FIRSTCAUSE_MESH_KEY": "rooms for a night, and nothing else",
            "OTEL_RESOURCE_ATTRIBUTES": "service.version=1.0.0,deployment.environment.name=demo", **settings,
        }  # fmt: skip
        with psycopg.connect(database, autocommit=True) as connection:
            connection.execute(SCHEMA)
            connection.execute(QUICK)

    def start(self, generated: Path) -> None:
        """All three, told the objectives that were compiled for them."""
        for name, command in COMMANDS.items():
            log = (self._folder / f"{name}.log").open("wb")
            self._processes[name] = subprocess.Popen(
                [sys.executable, "-m", *command], env=self._environ(name, generated), cwd=ROOT, stdout=log, stderr=log
            )

    def _environ(self, name: str, generated: Path) -> dict[str, str]:
        told = generated / "objectives" / f"{name}.env"
        lines = told.read_text().splitlines() if told.exists() else []
        scraped = "OTEL_METRICS_EXPORTER" not in self._common
        return {
            **{key: value for key, value in os.environ.items() if not key.startswith(("OTEL_", "FIRSTCAUSE_"))},
            **self._common,
            **dict(line.split("=", 1) for line in lines if not line.startswith("#")),
            **({"FIRSTCAUSE_METRICS_PORT": str(self.metrics[name])} if scraped else {}),
            "PORT": str(self.ports.get(name, 0)), "PYTHONPATH": f"{ROOT / 'sdk/src'}{os.pathsep}{ROOT}",
        }  # fmt: skip

    def execute(self, statement: str) -> None:
        """What an administrator does."""
        with psycopg.connect(self.database, autocommit=True) as connection:
            connection.execute(statement)

    def stop(self) -> None:
        for process in self._processes.values():
            process.terminate()
        for process in self._processes.values():
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextlib.contextmanager
def guests(desk: str) -> Iterator[None]:
    """They come and go for as long as the block lasts."""
    gone = threading.Event()

    def visit(guest: int) -> None:
        with httpx.Client(base_url=desk, timeout=5) as client:
            room = guest
            while not gone.wait(0 if room == guest else EVERY_S / 2):
                room = room % ROOMS + 1
                path = f"/rooms/{room}" if room % 2 else f"/rooms/{room}/bookings"
                with contextlib.suppress(httpx.TransportError):
                    client.request("GET" if room % 2 else "POST", path)

    threads = [threading.Thread(target=visit, args=(number,)) for number in range(GUESTS)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        gone.set()
        for thread in threads:
            thread.join()


@pytest.fixture(scope="module")
def servers() -> dict[str, Path]:
    return {name: program(name) for name in ("prometheus", "alertmanager", "promtool")}


@pytest.fixture
def house(tmp_path: Path) -> Iterator[Callable[..., House]]:
    """A house that is stopped after the test."""
    with contextlib.ExitStack() as stack:
        database = stack.enter_context(parts.postgres("rooms"))
        broker = stack.enter_context(parts.redis())

        def opened(**settings: str) -> House:
            made = House(tmp_path, database.url, broker.url, **settings)
            stack.callback(made.stop)
            return made

        yield opened


def about(incident: str, status: str) -> Callable[[dict[str, Any]], bool]:
    return lambda payload: payload["groupLabels"]["incident"] == incident and payload["status"] == status


def test_three_faults_are_three_pages_that_name_their_causes(
    tmp_path: Path, servers: dict[str, Path], house: Callable[..., House]
) -> None:
    """A slow statement behind a service, an exception, a full queue, at once: each page has its own cause first."""
    shop = house()
    with contextlib.closing(
        Chain(tmp_path, servers, SLOS, [f"127.0.0.1:{port}" for port in shop.metrics.values()], per_second=GUESTS)
    ) as running:
        shop.start(running.folder / "generated")
        desk = f"http://127.0.0.1:{shop.ports['desk']}"
        with guests(desk):
            # Services judge by their own baselines, which twenty good requests make.
            for slo in ("rooms-latency", "bookings", "letters"):
                running.until(f"sum(increase({events(slo)}[30s])) > 40", 90)
            shop.execute(SLOW)
            shop.execute("UPDATE rooms SET name = NULL")
            httpx.post(f"{desk}/campaigns/{LETTERS}", timeout=30).raise_for_status()
            first = {incident: running.receiver.wait("page", about(incident, "firing"), 60) for incident in FAULTS}
            shop.execute(QUICK)
            shop.execute("UPDATE rooms SET name = 'room ' || id")
            for incident in FAULTS:
                running.receiver.wait("page", about(incident, "resolved"), 90)
        pages, failures = running.receiver.of("page"), running.failures()
    named = {
        incident: [(alert["labels"]["slo"], top(alert)) for alert in payload["alerts"]]
        for incident, payload in first.items()
    }
    assert {incident: [wanted] for incident, wanted in FAULTS.items()} == named
    assert len(FAULTS) == len({payload["groupKey"] for payload in pages}), [render(payload) for payload in pages]
    assert 0 == failures


def test_pushed_metrics_give_the_same_page(
    tmp_path: Path, servers: dict[str, Path], house: Callable[..., House]
) -> None:
    """Nothing is scraped: the services push OTLP to Prometheus itself, and an exception is paged as by scrape."""
    port = free_port()
    shop = house(
        OTEL_METRICS_EXPORTER="otlp", OTEL_METRIC_EXPORT_INTERVAL="1000",
        OTEL_EXPORTER_OTLP_METRICS_ENDPOINT=f"http://127.0.0.1:{port}/api/v1/otlp/v1/metrics",
        OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION="explicit_bucket_histogram",
    )  # fmt: skip
    with contextlib.closing(Chain(tmp_path, servers, SLOS, [], per_second=GUESTS, port=port)) as running:
        shop.start(running.folder / "generated")
        with guests(f"http://127.0.0.1:{shop.ports['desk']}"):
            running.until(f"sum(increase({events('bookings')}[30s])) > 40", 90)
            shop.execute("UPDATE rooms SET name = NULL")
            first = running.receiver.wait("page", about("desk", "firing"), 60)
            shop.execute("UPDATE rooms SET name = 'room ' || id")
            running.receiver.wait("page", about("desk", "resolved"), 90)
        pages, failures = running.receiver.of("page"), running.failures()
    assert [FAULTS["desk"]] == [(alert["labels"]["slo"], top(alert)) for alert in first["alerts"]]
    assert 1 == len({payload["groupKey"] for payload in pages}), [render(payload) for payload in pages]
    assert 0 == failures


def events(slo: str) -> str:
    """The counter of an objective's requests, those of the made-up past left out."""
    (found,) = [one for one in firstcause_alerts.load(SLOS.read_text()).slos if one.name == slo]
    return str(found.events.where("service_instance_id", "!=", "history"))


def top(alert: dict[str, Any]) -> str:
    """The first cause of a page: service and cause."""
    first = alert["annotations"]["causes"].splitlines()[0]
    return " ".join(first.split(" % ")[1].split()[:2]).rstrip(":")
