"""Cells and what a scrape shows of them."""

from __future__ import annotations

import urllib.request
from typing import Any

from firstcause import _guard
from firstcause.diagnosis.unit import UnitReport
from firstcause.diagnosis.verdict import Booking
from firstcause.metrics import Metrics, serve

LABELS = {"service.name": "shop", "service.version": "1"}


def _report(**given: Any) -> UnitReport:
    facts = {"kind": "server", "method": "GET", "route": "/a", "status": 200, "wall_ns": 10**9, "first_byte_ns": 1,
             "shares": {"app": 6 * 10**8, "db:pg/s": 4 * 10**8}, "outcome": "ok", "trace_id": 0xAB}  # fmt: skip
    return UnitReport(**{**facts, **given})


def _scrape(metrics: Metrics, accept: str = "text/plain") -> str:
    port = serve(metrics, "127.0.0.1", 0)
    request = urllib.request.Request(f"http://127.0.0.1:{port}/metrics", headers={"Accept": accept})
    with urllib.request.urlopen(request, timeout=5) as reply:
        return str(reply.read().decode())


def test_a_value_on_an_objective_counts_as_within_it() -> None:
    """Objectives are bucket edges, and the edge itself is inside."""
    metrics = Metrics(LABELS, [0.3])
    metrics.unit(_report(wall_ns=300_000_000))
    cell = metrics.server["GET", "/a", 200]
    assert 1 == sum(cell.counts[: cell.edges.index(0.3) + 1])


def test_a_new_route_is_born_with_its_failures_at_zero() -> None:
    """The first success of a route makes the cell of its failures too."""
    metrics = Metrics(LABELS)
    metrics.unit(_report())
    assert 0 == sum(metrics.server["GET", "/a", 500].counts)
    metrics.register_route("POST", "/b")
    assert 0 == sum(metrics.server["POST", "/b", 200].counts)


def test_bad_counts_under_the_top_and_excess_under_each() -> None:
    """One bad unit is one count, its seconds go to every booking; a degraded one is not bad."""
    metrics = Metrics(LABELS)
    top = Booking("pay", "2", "db.slow", "db_pool", "db:x", 300_000_000, 0.6, "d")
    second = Booking("shop", "1", "app.slow", "", "app", 200_000_000, 0.4, "")
    metrics.unit(_report(outcome="slow", bookings=[top, second], top=top))
    metrics.unit(_report(outcome="degraded", bookings=[second], top=second))
    assert {("/a", "slow", "pay", "2", "db.slow", "db_pool"): 1} == metrics.bad
    assert [0.3, 0.2, 0.2] == list(metrics.excess.values())
    assert ("pay", "db.slow", "d") in metrics.details


def test_attributes_are_bounded_and_overflow_is_counted() -> None:
    """Routes, methods, resources and details beyond their bound fold into one value."""
    _guard.reset_self_counts()
    metrics = Metrics(LABELS)
    for n in range(300):
        booking = Booking("s", "", "db.slow", "", "db", 1, 1.0, f"d{n}")
        metrics.unit(_report(route=f"/r{n}", outcome="slow", bookings=[booking], top=booking))
    assert 201 == len({route for _m, route, _s in metrics.server})
    assert 10 == len(metrics.details)
    assert _guard.self_counts()["firstcause.self.overflow", (("attribute", "http.route"),)] >= 100
    for n in range(300):
        metrics.unit(_report(method=f"M{n}"))
    assert len({method for method, _r, _s in metrics.server}) <= 11


def test_a_scrape_shows_labels_and_exemplars() -> None:
    """Every series of ours says its service; OpenMetrics shows the trace of a bucket."""
    metrics = Metrics(LABELS)
    metrics.unit(_report())
    text = _scrape(metrics, "application/openmetrics-text")
    assert f'trace_id="{0xAB:032x}"' in text
    line = 'firstcause_request_time_seconds_total{http_route="/a",resource="app",service_name="shop"'
    assert any(part.startswith(line) or 'service_name="shop",service_version="1",http_route="/a",resource="app"' in part
               for part in text.splitlines())  # fmt: skip


def test_a_fork_starts_at_zero() -> None:
    """The child shows nothing that the parent counted."""
    metrics = Metrics(LABELS)
    metrics.unit(_report())
    metrics.after_fork()
    assert ({}, {}) == (metrics.server, metrics.time)
