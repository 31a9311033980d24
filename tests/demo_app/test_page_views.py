"""What the runner makes of the RUM endpoint's figures: medians, shares, and whom a slow or broken page blames."""

from __future__ import annotations

import math
from typing import Any

import pytest

from demo_app.browsing import told
from demo_app.judge import decide
from demo_app.page_views import Figures, blamed, parse, quantile

METRICS = """
# TYPE firstcause_page_views_total counter
firstcause_page_views_total{page_route="/shop",release="1.0.0",joined="true"} 8
firstcause_page_views_total{page_route="/shop/checkout",release="1.0.1",joined="true"} 4
# TYPE firstcause_page_bad_total counter
firstcause_page_bad_total{page_route="/shop",release="1.0.0",joined="true",outcome="slow"} 4
firstcause_page_bad_total{page_route="/shop/checkout",release="1.0.1",joined="true",outcome="error"} 2
# TYPE firstcause_page_errors_total counter
firstcause_page_errors_total{page_route="/shop/checkout",release="1.0.1",error_kind="error"} 2
# TYPE firstcause_page_blame_seconds_total counter
firstcause_page_blame_seconds_total{page_route="/shop",region="europe",joined="true",vital="LCP",part="server"} 9
firstcause_page_blame_seconds_total{page_route="/shop",region="europe",joined="true",vital="LCP",part="render"} 2
firstcause_page_blame_seconds_total{page_route="/shop",region="europe",joined="true",vital="INP",part="transfer"} 1
# TYPE firstcause_page_lcp_region_seconds histogram
firstcause_page_lcp_region_seconds_bucket{page_route="/shop",region="europe",le="1"} 0
firstcause_page_lcp_region_seconds_bucket{page_route="/shop",region="europe",le="2"} 3
firstcause_page_lcp_region_seconds_bucket{page_route="/shop",region="europe",le="4"} 8
firstcause_page_lcp_region_seconds_bucket{page_route="/shop",region="europe",le="+Inf"} 8
"""
BACKEND = {
    "/shop": [
        {"service": "orders", "cause": "db.slow", "via": "", "count": 3, "excess": 6.0, "detail": "SELECT"},
        {"service": "gateway", "cause": "app.slow", "via": "", "count": 1, "excess": 3.0, "detail": ""},
    ]
}


def test_a_round_is_the_difference_of_two_readings() -> None:
    """What was seen before the round began is no part of it."""
    before = Figures({key: value / 2 for key, value in parse(METRICS)._samples.items()})
    seen = parse(METRICS).since(before)
    assert {("/shop",): 4.0, ("/shop/checkout",): 2.0} == seen.by("firstcause_page_views_total", "page_route")
    assert 1.0 == seen.total("firstcause_page_errors_total", release="1.0.1")


@pytest.mark.parametrize(
    ("share", "expected"), [(0.5, 2.0), (0.75, 3.0), (1.0, 4.0), (0.25, 1.0)],
)  # fmt: skip
def test_a_quantile_lies_within_its_bucket(share: float, expected: float) -> None:
    """Straight between two edges; from zero in the first."""
    assert expected == quantile(share, [(2.0, 4.0), (4.0, 8.0), (math.inf, 8.0)])


def test_a_quantile_beyond_the_last_edge_is_that_edge_and_of_nothing_none() -> None:
    """There is no more to say."""
    assert 2.0 == quantile(0.75, [(2.0, 1.0), (math.inf, 8.0)])
    assert math.isnan(quantile(0.75, []))
    assert math.isnan(quantile(0.75, [(2.0, 0.0), (math.inf, 0.0)]))


def test_the_part_of_the_server_is_whom_its_requests_blame() -> None:
    """Seconds by part, the server's by the verdicts of the route; bad views go along, failed ones are a cause apart."""
    found = {(r["service"], r["cause"], r["via"]): (r["count"], r["excess"]) for r in blamed(parse(METRICS), BACKEND)}
    assert {
        ("orders", "db.slow", "page.server"): (2.0, 6.0), ("gateway", "app.slow", "page.server"): (1.0, 3.0),
        ("gateway", "client.slow_page", "page.render"): (pytest.approx(2 / 3), 2.0),
        ("gateway", "client.slow_page", "page.transfer"): (pytest.approx(1 / 3), 1.0),
        ("gateway", "client.errors", "page.error"): (2.0, 0.0),
    } == found  # fmt: skip


def test_a_server_that_blames_nobody_is_unknown() -> None:
    """Its seconds stay in the sum."""
    rows = blamed(parse(METRICS), {})
    assert 9.0 == sum(row["excess"] for row in rows if (row["cause"], row["via"]) == ("unknown", "page.server"))


@pytest.mark.parametrize(
    ("fault", "rows"),
    [
        ("slow_region", [("client.region", 3, 8.0), ("client.slow_page", 1, 2.0)]),
        ("release_throws", [("client.errors", 9, 0.0), ("client.slow_page", 1, 3.0)]),
    ],
)  # fmt: skip
def test_slow_pages_are_weighed_by_seconds_and_failed_ones_by_views(fault: str, rows: list[tuple[Any, ...]]) -> None:
    """As the judge weighs services."""
    said = [{"service": "gateway", "cause": c, "count": n, "excess": s} for c, n, s in rows]
    assert decide(fault, 20, said)[0]


def test_what_browsers_saw_is_told_by_route_region_and_release() -> None:
    """A line for each, and whom they blame; nobody when nothing was slow or failed."""
    lines = list(told(parse(METRICS), blamed(parse(METRICS), BACKEND)))
    assert "LCP p75 europe" in lines[0]
    assert ["/shop", "8", "4", "3.20", "s"] == lines[1].split()
    assert "  release 1.0.1: 4 views, 2 errors" in lines
    assert any(line.split()[:3] == ["db.slow", "orders", "page.server"] for line in lines)
    assert "  the browsers blame nobody" == list(told(Figures({}), []))[-1]
