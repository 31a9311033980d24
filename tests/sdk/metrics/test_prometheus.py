"""A real Prometheus takes both ways, and sees the same series."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.prometheus import Prometheus, prometheus
from demo_app.parts import free_port
from demo_app.programs import ProgramMissingError, find

PROGRAM = """
import sys
import firstcause
from firstcause import _setup
from firstcause.diagnosis.unit import UnitReport
from firstcause.diagnosis.verdict import Booking
from opentelemetry import metrics

firstcause.configure("shop", version="2", environment="test", objectives={"default": 0.3}, traces=False, logs=False,
                     log_stream="none", metrics_exporters=("otlp", "prometheus"))
meter = metrics.get_meter("host")
meter.create_counter("orders.paid", "{order}").add(3, {"plan": "free", "empty": ""})
meter.create_histogram("basket.value", "{euro}").record(12.5)
meter.create_gauge("room.temperature", "Cel").set(21.5)
meter.create_up_down_counter("open.carts").add(-2)
cells = _setup.recorder().metrics
cells.watch("db_pool:main", lambda: (1.0, 5.0, 0.0))
top = Booking("pay", "2", "db.slow", "", "db:x", 300_000_000, 0.6, "select")
import time
for ns in (300_000_000, 2_000_000_000):
    cells.unit(UnitReport(method="GET", route="/a", status=200, wall_ns=ns, shares={"app": ns}, trace_id=0xabc,
                          started_ns=time.time_ns(), outcome="slow", bookings=[top], top=top))
cells.call("http.client.request.duration", ("GET", "pay", "80", "200", ""), 0.25, 0xabc, time.time_ns())
assert firstcause.flush(20)
print("pushed", flush=True)
sys.stdin.readline()
"""
IDENTITY = 'service_name="shop"'
ONLY_ONE_WAY = {"job", "instance", "__name__"}
MOVING = {"firstcause_self_cpu_seconds_total"}


@pytest.fixture(scope="module")
def server() -> Iterator[Prometheus]:
    """Prometheus, pushed to and scraping the same process."""
    try:
        find("prometheus", build=False)
    except ProgramMissingError as missing:
        pytest.skip(str(missing))
    port = free_port()
    with prometheus({"scraped": (f"127.0.0.1:{port}", True)}) as running:
        environ = {
            **os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": running.otlp, "FIRSTCAUSE_METRICS_PORT": str(port),
            "PYTHONPATH": str(Path(__file__).parents[3] / "sdk/src"),
        }  # fmt: skip
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environ
        )
        assert process.stdout is not None
        assert process.stdout.readline() == b"pushed\n"
        running.await_value('orders_paid_total{job="scraped"}', 3)
        yield running
        process.communicate(b"\n")


def _series(server: Prometheus, job: str) -> set[tuple[str, tuple[tuple[str, str], ...]]]:
    found = server.query(f'{{job="{job}",{IDENTITY}}}')
    classic = ("_bucket", "_count", "_sum")
    return {
        (labels["__name__"], tuple(sorted((k, v) for k, v in labels.items() if k not in ONLY_ONE_WAY)))
        for labels, _value in found
        if not labels["__name__"].endswith(classic) and labels["__name__"] not in {"target_info", *MOVING}
    }


@pytest.mark.e2e
def test_scrape_and_push_give_the_same_series(server: Prometheus) -> None:
    """Names and labels are equal, ours and the host's own; job and instance are the way's."""
    pushed, scraped = _series(server, "shop"), _series(server, "scraped")
    assert pushed == scraped
    names = {name for name, _labels in pushed}
    assert {"orders_paid_total", "basket_value", "room_temperature_celsius", "open_carts", "firstcause_request_bad_total",
            "http_server_request_duration_seconds", "firstcause_resource_limit"} <= names  # fmt: skip


@pytest.mark.e2e
def test_values_agree_both_ways(server: Prometheus) -> None:
    """Native histograms hold the same on both ways; the classic edge of the objective is exact."""
    series = 'http_server_request_duration_seconds{job="%s",http_response_status_code="200"}'
    for job in ("shop", "scraped"):
        assert 2 == server.value(f"histogram_count({series % job})")
        assert 2.3 == server.value(f"histogram_sum({series % job})")
    within = 'http_server_request_duration_seconds_bucket{job="scraped",http_response_status_code="200",le="0.3"}'
    assert 1 == server.value(within)


@pytest.mark.e2e
def test_exemplars_arrive_both_ways(server: Prometheus) -> None:
    """The trace of a slow bucket can be opened from the histogram."""
    for job in ("shop", "scraped"):
        found = server.exemplars(f'http_server_request_duration_seconds{{job="{job}"}}')
        assert {f"{0xABC:032x}"} == {exemplar["labels"]["trace_id"] for exemplar in found}
