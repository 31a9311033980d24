"""From a counter to the on-call person, with the real Prometheus and Alertmanager, sixty times as fast."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from firstcause_alerts.notification import render

from .conftest import SLOS, oldest, program
from .live import Chain, Exporter, chain

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]
ENV = 'deployment_environment_name="demo"'
NAME = "http_server_request_duration_seconds"


def counts(status: str, service: str = "gateway", route: str = "/checkout") -> str:
    labels = f'{ENV},service_name="{service}",http_route="{route}",http_request_method="POST"'
    return f'{NAME}_count{{{labels},http_response_status_code="{status}"}}'


def quick(status: str, edge: str = "0.5", service: str = "gateway", route: str = "/checkout") -> str:
    return counts(status, service, route).replace("_count{", "_bucket{", 1)[:-1] + f',le="{edge}"}}'


def verdict(service: str, route: str, outcome: str, culprit: str, cause: str, metric: str) -> str:
    labels = f'{ENV},service_name="{service}",http_route="{route}",outcome="{outcome}"'
    return f'{metric}{{{labels},culprit_service="{culprit}",culprit_version="2.3.1",cause="{cause}"}}'


BAD, EXCESS = "firstcause_request_bad_total", "firstcause_request_excess_seconds_total"
HEALTHY = {counts("200"): 40.0, quick("200"): 40.0, counts("500"): 0.0, quick("500"): 0.0}
# The gateway gave up on orders, which says itself that its database was slow.
BROKEN = {
    counts("200"): 10.0, quick("200"): 10.0, counts("500"): 30.0, quick("500"): 30.0,
    verdict("gateway", "/checkout", "error", "orders", "dependency.slow", BAD): 30.0,
    verdict("gateway", "/checkout", "error", "orders", "dependency.slow", EXCESS): 12.0,
    verdict("orders", "/stock/{sku}", "degraded", "orders", "db.slow", EXCESS): 45.0,
}  # fmt: skip


@pytest.mark.parametrize("chosen", [program, oldest], ids=["newest", "oldest"])
def test_a_fault_is_one_page_that_names_its_cause_first_then_recovering_then_resolved(
    tmp_path: Path, chosen: Callable[[str], Path]
) -> None:
    """The first notification holds the cause resolved downstream, every later one is of the same group."""
    # Debian's Alertmanager does not start where it is not installed: its template has a fixed place in the system.
    servers = {
        "prometheus": chosen("prometheus"),
        "promtool": chosen("promtool"),
        "alertmanager": program("alertmanager"),
    }
    exporter = Exporter()
    exporter.grow(HEALTHY)
    with chain(tmp_path, servers, SLOS, exporter) as running:
        running.until('slo:total:increase{slo="checkout-availability",window="6h"} > 300 * 40', 30)
        exporter.grow(BROKEN)
        first = running.receiver.wait("page", lambda payload: payload["status"] == "firing", 60)
        # A shorter fault would be over before there is anything to recover from.
        running.until('slo:pair{slo="checkout-availability",pair="6h/30m"}', 60)
        exporter.grow(HEALTHY)
        running.receiver.wait("page", lambda payload: render(payload).startswith("Recovering"), 60)
        running.receiver.wait("page", lambda payload: payload["status"] == "resolved", 120)
        pages = running.receiver.of("page")
        # What fires before Prometheus has found Alertmanager is sent again after a minute.
        running.receiver.wait("heartbeat", lambda payload: payload["status"] == "firing", 90)
        failed, failures = running.failed_rules(), running.failures()
    assert {"incident": "orders", "environment": "demo"} == first["groupLabels"]
    causes = first["alerts"][0]["annotations"]["causes"].splitlines()
    assert causes[0].split(" % ")[1] == "orders db.slow"
    assert float(causes[0].split(" % ")[0]) > 50
    assert 1 == len({payload["groupKey"] for payload in pages})
    assert ({}, 0) == (failed, failures)


LEFT = 'slo:budget:left{slo="checkout-availability"}'


def left(running: Chain) -> float:
    """The budget that is left, negative when overspent."""
    (one,) = running.query(LEFT)
    return float(one["value"][1])


HOSTILE = '\\"}}{{ .Labels }}<!channel><b>`x`\\n' + "y" * 10_000


def test_hostile_labels_reach_nobody_and_a_restart_does_not_page_again(
    tmp_path: Path, servers: dict[str, Path]
) -> None:
    """Quotes, template syntax, markup and ten thousand characters in culprit, cause, detail and version.

    The budget after the restart is that of before, less what was spent meanwhile.
    """
    cause = f'{ENV},service_name="gateway",http_route="/checkout",outcome="error",culprit_service="{HOSTILE}",cause="{HOSTILE}"'
    detail = f'firstcause_cause_detail{{{ENV},culprit_service="{HOSTILE}",cause="{HOSTILE}",detail="{HOSTILE}"}}'
    exporter = Exporter()
    exporter.grow(HEALTHY)
    with chain(tmp_path, servers, SLOS, exporter) as running:
        running.until('slo:error:ratio{slo="checkout-availability",window="6h"}', 30)
        exporter.grow(
            {
                counts("500"): 30.0,
                quick("500"): 30.0,
                f'{BAD}{{{cause},culprit_version="{HOSTILE}"}}': 30.0,
                detail: 1.0,
            }
        )
        first = running.receiver.wait("page", lambda payload: payload["status"] == "firing", 60)
        running.until(LEFT, 30)
        before = left(running)
        running.stop("prometheus")
        running.start_prometheus()
        running.until('slo:paging{slo="checkout-availability"} == 1', 30)
        # Rules run before the first scrape, over what was known; two scrapes later more is spent than an edge weighs.
        running.until(f"{counts('500')} and timestamp({counts('500')}) > {running.started_at + 2}", 30)
        running.until(f"{LEFT} and timestamp({LEFT}) > {time.time()}", 30)
        after = left(running)
        exporter.grow(HEALTHY)
        running.receiver.wait("page", lambda payload: payload["status"] == "resolved", 120)
        pages, failures = running.receiver.of("page"), running.failures()
    assert {"incident": "gateway", "environment": "demo"} == first["groupLabels"]
    for alert in first["alerts"]:
        for name, text in {**alert["labels"], **alert["annotations"]}.items():
            assert len(text) <= 1024, name
            assert not re.search(r"[<>`\"]|\{\{", text), name
    assert 1 == len({payload["groupKey"] for payload in pages})
    assert 1 == sum(payload["status"] == "resolved" for payload in pages)
    # The fault went on meanwhile: more is spent than before, and not as if nothing good had ever been.
    assert 1 < (1 - after) / (1 - before) < 20
    assert 0 == failures


def test_four_objectives_that_suffer_from_one_service_are_one_page(tmp_path: Path, servers: dict[str, Path]) -> None:
    """Two routes fail and are slow because of payments, one of them later: one group, named after payments."""
    routes = ("/checkout", "/products/{sku}")
    healthy = {series: 20.0 for r in routes for series in (counts("200", route=r), quick("200", route=r))}

    def broken(*failing: str) -> dict[str, float]:
        found = dict(healthy)
        for route in failing:
            found |= {
                counts("200", route=route): 10.0,
                quick("200", route=route): 2.0,
                counts("500", route=route): 10.0,
            }
            found[verdict("gateway", route, "error", "payments", "db.slow", BAD)] = 10.0
            found[verdict("gateway", route, "slow", "payments", "db.slow", EXCESS)] = 15.0
            found[verdict("gateway", route, "slow", "gateway", "app.slow", EXCESS)] = 4.0
        return found

    exporter = Exporter()
    exporter.grow(healthy)
    with chain(tmp_path, servers, SLOS, exporter) as running:
        running.until('slo:total:increase{slo="checkout-availability",window="6h"} > 300 * 40', 30)
        exporter.grow(broken("/checkout"))
        running.receiver.wait("page", lambda payload: payload["status"] == "firing", 60)
        exporter.grow(broken(*routes))
        running.receiver.wait("page", lambda payload: 4 <= len({a["labels"]["slo"] for a in payload["alerts"]}), 60)
        exporter.grow(healthy)
        running.receiver.wait("page", lambda payload: payload["status"] == "resolved", 120)
        pages, failures = running.receiver.of("page"), running.failures()
    assert [{"incident": "payments", "environment": "demo"}] == [
        dict(group) for group in {tuple(sorted(payload["groupLabels"].items(), reverse=True)) for payload in pages}
    ]
    assert 0 == failures
