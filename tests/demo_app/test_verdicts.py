"""What the runner makes of the gateway's counters, and the judge of that."""

from __future__ import annotations

from demo_app.judge import decide, shares_of
from demo_app.verdicts import Counts, between, parse, since

LABELS = 'http_route="/checkout",culprit_service="{}",culprit_version="1",cause="{}",via="{}",outcome="{}"'


def metrics(*rows: tuple[str, str, str, str, int, float]) -> str:
    """A `/metrics` text with these verdicts."""
    bad, excess = [], []
    for service, cause, via, outcome, count, seconds in rows:
        labels = LABELS.format(service, cause, via, outcome)
        bad.append(f"firstcause_request_bad_total{{{labels}}} {count}")
        excess.append(f"firstcause_request_excess_seconds_total{{{labels}}} {seconds}")
    types = ["# TYPE firstcause_request_bad_total counter", "# TYPE firstcause_request_excess_seconds_total counter"]
    return "\n".join([types[0], *bad, types[1], *excess, ""])


def test_a_round_is_the_difference_of_two_readings() -> None:
    """What was counted before the round began is no part of it, neither requests nor seconds."""
    before, _ = parse(metrics(("payments", "app.lock", "", "slow", 5, 2.0)))
    after, _ = parse(
        metrics(("payments", "app.lock", "", "slow", 9, 3.5), ("orders", "db.slow", "db_pool", "slow", 1, 1.0))
    )
    found = [(r["service"], r["cause"], r["via"], r["count"], r["excess"]) for r in since(before, after, {})]
    assert [("payments", "app.lock", "", 4, 1.5), ("orders", "db.slow", "db_pool", 1, 1.0)] == found


def test_degraded_requests_are_outside_the_sums() -> None:
    """A request within its own objective emits excess but is never bad."""
    after, _ = parse(metrics(("payments", "app.slow", "", "degraded", 0, 9.0)))
    assert [] == since(Counts(), after, {})


def test_slow_faults_are_weighed_by_seconds_and_failing_ones_by_requests() -> None:
    """Many small waits do not outvote few long ones; one long failure does not outvote many fast ones."""
    rows = [
        {"service": "payments", "cause": "app.lock", "count": 3, "excess": 9.0},
        {"service": "gateway", "cause": "app.exception", "count": 7, "excess": 0.7},
    ]
    assert decide("payments_lock", 100, rows)[0]
    assert decide("exception", 100, rows)[0]
    assert not decide("pool_leak", 100, rows)[0]


def test_shares_add_up_to_one_whatever_is_weighed() -> None:
    """Where nobody measured seconds, requests are weighed, and nothing is lost either way."""
    rows = [{"service": "a", "cause": "x", "count": 1}, {"service": "b", "cause": "y", "count": 3}]
    assert {("a", "x"): 0.25, ("b", "y"): 0.75} == shares_of(rows, "excess")


def test_an_unexplained_dependency_stands_for_what_it_says_of_itself() -> None:
    """Who gave up on orders, which gave up on payments, waited for payments' lock: its own requests say so."""
    readings = {
        "gateway": parse(
            metrics(("payments", "app.lock", "", "slow", 6, 9.0), ("orders", "dependency.slow", "", "error", 4, 20.0))
        ),
        "orders": parse(metrics(("payments", "dependency.slow", "", "error", 1, 5.0))),
        "payments": parse(
            metrics(("payments", "app.lock", "", "degraded", 0, 3.0), ("payments", "app.slow", "", "slow", 1, 1.0))
        ),
    }
    found = {(r["service"], r["cause"]): (r["count"], r["excess"]) for r in between({}, readings, "gateway")}
    assert {("payments", "app.lock"): (9.0, 24.0), ("payments", "app.slow"): (1.0, 5.0)} == found


def test_a_dependency_that_says_nothing_stays_a_dependency() -> None:
    """A service without instrumentation, or with nothing to say, keeps the blame."""
    readings = {"gateway": parse(metrics(("bank", "dependency.slow", "", "slow", 4, 20.0)))}
    assert [("bank", "dependency.slow")] == [(r["service"], r["cause"]) for r in between({}, readings, "gateway")]
