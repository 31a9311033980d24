"""Cells: what is counted, under which labels, and how many there can be."""

from __future__ import annotations

import threading

import pytest

from firstcause import _guard
from firstcause.conventions import BY_NAME
from firstcause.diagnosis.verdict import Booking
from firstcause.metrics import Metrics
from tests.sdk.metrics.scraped import LABELS, SECOND, distributions, report, samples, value

COUNT = "http_server_request_duration_seconds_count"
BUCKET = "http_server_request_duration_seconds_bucket"
OK = {"http_request_method": "GET", "http_route": "/a", "http_response_status_code": "200"}


@pytest.fixture(autouse=True)
def _fresh() -> None:
    _guard.reset_self_counts()


def test_a_value_on_an_objective_counts_as_within_it() -> None:
    """Objectives are bucket edges, and the edge itself is inside."""
    metrics = Metrics(LABELS, [0.3])
    metrics.unit(report(wall_ns=300_000_000))
    metrics.unit(report(wall_ns=300_000_001))
    assert 1 == value(metrics, BUCKET, **OK, le="0.3")


def test_a_new_route_is_born_with_its_failures_at_zero() -> None:
    """The first success of a route makes the series of its failures too; so does its registration."""
    metrics = Metrics(LABELS)
    metrics.unit(report())
    metrics.register_route("POST", "/b")
    failed = {"http_response_status_code": "500"}
    assert 0 == value(metrics, COUNT, **{**OK, **failed})
    assert 0 == value(metrics, COUNT, **{**OK, **failed, "http_request_method": "POST", "http_route": "/b"})


def test_the_time_of_a_route_sums_to_its_durations() -> None:
    """Nanoseconds are added as whole numbers: no second is lost to rounding, however many requests."""
    metrics = Metrics(LABELS)
    for _ in range(1000):
        metrics.unit(report(wall_ns=333_333_333, shares={"app": 222_222_222, "db:pg/s": 111_111_111}))
    times = [
        value(metrics, "firstcause_request_time_seconds_total", http_route="/a", resource=r) for r in ("app", "db:pg/s")
    ]
    assert [222.222222, 111.111111] == times
    assert 333.333333 == value(metrics, "http_server_request_duration_seconds_sum", **OK)


def test_bad_counts_under_the_top_and_excess_under_each() -> None:
    """One bad unit is one count, its seconds go to every booking; a degraded one is not bad."""
    metrics = Metrics(LABELS)
    top = Booking("pay", "2", "db.slow", "db_pool", "db:x", 300_000_000, 0.6, "d")
    second = Booking("shop", "1", "app.slow", "", "app", 200_000_000, 0.4, "")
    metrics.unit(report(outcome="slow", bookings=[top, second], top=top))
    metrics.unit(report(outcome="degraded", bookings=[second], top=second))
    found = samples(metrics)
    bad = {k: v for (name, k), v in found.items() if name == "firstcause_request_bad_total"}
    excess = [v for (name, _k), v in found.items() if name == "firstcause_request_excess_seconds_total"]
    (labels,) = bad
    assert {"cause": "db.slow", "via": "db_pool", "culprit_service": "pay", "culprit_version": "2", "outcome": "slow",
            "http_route": "/a"} == dict(labels)  # fmt: skip
    assert [0.2, 0.2, 0.3] == sorted(excess)
    assert 1 == value(metrics, "firstcause_cause_detail", culprit_service="pay", cause="db.slow", detail="d")


def test_attributes_are_bounded_and_overflow_is_counted() -> None:
    """Routes, methods, statuses and details beyond their bound fold into one value."""
    metrics = Metrics(LABELS)
    for n in range(300):
        booking = Booking("s", "", "db.slow", "", "db", 1, 1.0, f"d{n}")
        metrics.unit(
            report(route=f"/r{n}", method=f"M{n}", status=n * 7, outcome="slow", bookings=[booking], top=booking)
        )
    labels = [dict(pairs) for name, pairs in samples(metrics) if name == COUNT]
    assert {"_OTHER"} == {found["http_request_method"] for found in labels}
    assert 201 == len({found["http_route"] for found in labels})
    assert 65 >= len({found["http_response_status_code"] for found in labels})
    assert 10 == sum(name == "firstcause_cause_detail" for name, _pairs in samples(metrics))
    assert _guard.self_counts()["firstcause.self.overflow", (("attribute", "http.route"),)] >= 100


def test_unknown_methods_and_routes_make_one_series_each() -> None:
    """Hostile names cost no memory once the bound is reached."""
    metrics = Metrics(LABELS)
    for n in range(250):
        metrics.unit(report(route=f"/r{n}", method="BREW"))
    before = len(metrics.store.raw())
    for n in range(1000):
        metrics.unit(report(route=f"/other{n}", method=f"BREW{n}"))
    assert before == len(metrics.store.raw())


@pytest.mark.parametrize("instrument", ["http.client.request.duration", "db.client.operation.duration"])
def test_client_calls_have_the_attributes_of_the_conventions(instrument: str) -> None:
    """A call's key is in the order of the instrument's attributes, each within its bound."""
    metrics = Metrics(LABELS)
    names = list(BY_NAME[instrument].attributes)
    metrics.call(instrument, tuple(f"v{n}" for n in range(len(names))), 0.25, 0xCD, SECOND)
    for n in range(2000):
        metrics.call(instrument, (f"a{n}",) * len(names), 0.25)
    points = distributions(metrics, instrument)
    assert set(names) == set(points[0].labels)
    assert 0xCD == points[0].exemplars[0].trace_id
    for name, most in BY_NAME[instrument].attributes.items():
        assert len({point.labels[name] for point in points}) <= most + 1
    assert 2001 == sum(point.count for point in points)


def test_threads_lose_nothing() -> None:
    """Eight threads count at once, new series among what they count."""
    metrics = Metrics(LABELS)

    def work(thread: int) -> None:
        for n in range(2000):
            metrics.unit(report(route=f"/r{n % 7}", status=200 + thread % 2))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 16_000 == sum(count for (name, _labels), count in samples(metrics).items() if name == COUNT)


def test_exemplars_follow_what_is_exported() -> None:
    """A sampled trace leaves one, an unsampled one only when it was kept because it was bad; none twice a second."""
    metrics = Metrics(LABELS)
    metrics.unit(report(sampled=False, trace_id=1))
    metrics.unit(report(sampled=False, trace_id=2, outcome="slow", wall_ns=2 * SECOND))
    metrics.unit(report(trace_id=3, wall_ns=3 * SECOND))
    metrics.unit(report(trace_id=4, wall_ns=3 * SECOND))
    metrics.unit(report(trace_id=5, wall_ns=3 * SECOND, started_ns=3 * SECOND))
    points = distributions(metrics, "http.server.request.duration")
    assert {2, 5} == {exemplar.trace_id for point in points for exemplar in point.exemplars}


def test_messages_are_counted_by_topic_and_outcome() -> None:
    """A consumed message is no request."""
    metrics = Metrics(LABELS)
    metrics.unit(report(kind="consumer", route="mail", outcome="error", shares={"app": SECOND}))
    labels = {"messaging_destination_name": "mail", "outcome": "error"}
    assert 1 == value(metrics, "firstcause_message_duration_seconds_count", **labels)
    assert 1 == value(metrics, "firstcause_request_time_seconds_total", http_route="mail", resource="app")
    assert [] == [name for name, _labels in samples(metrics) if name == COUNT]


def test_a_reading_that_fails_is_left_out_and_counted() -> None:
    """The host's own code cannot break the scrape."""
    metrics = Metrics(LABELS)
    metrics.watch("db_pool:a", lambda: (1.0, 5.0, 0.0))
    metrics.watch("db_pool:b", lambda: (1 / 0, 0.0, 0.0))
    assert 5 == value(metrics, "firstcause_resource_limit", resource="db_pool:a")
    assert value(metrics, "firstcause_resource_limit", resource="db_pool:b") is None
    assert _guard.self_counts()["firstcause.self.errors", (("place", "metrics.reading"),)] >= 1


def test_a_fork_starts_at_zero() -> None:
    """The child shows nothing that the parent counted, and counts on its own."""
    metrics = Metrics(LABELS)
    metrics.unit(report())
    metrics.after_fork()
    assert value(metrics, COUNT, **OK) is None
    metrics.unit(report())
    assert 1 == value(metrics, COUNT, **OK)
