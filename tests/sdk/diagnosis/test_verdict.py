"""One cause per bad unit: the resource, or what stands behind it; never a guess."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firstcause.diagnosis import ledger as ledger_module
from firstcause.diagnosis import verdict
from firstcause.diagnosis.baseline import WARM, Baseline
from firstcause.diagnosis.clock import Clock
from firstcause.diagnosis.holders import Holders, Waits
from firstcause.diagnosis.ledger import Frame, Ledger, close_frame, stamp
from firstcause.diagnosis.verdict import Booking, Evidence
from firstcause.mesh.server_timing import PeerVerdict

MS = 1_000_000


class Time:
    """A clock that stands still until told otherwise."""

    now = 1_000

    def __call__(self) -> int:
        return self.now


@pytest.fixture(name="time", autouse=True)
def _time(monkeypatch: pytest.MonkeyPatch) -> Iterator[Time]:
    time = Time()
    monkeypatch.setattr(ledger_module, "perf_counter_ns", time)
    monkeypatch.setattr("firstcause.diagnosis.holders.perf_counter_ns", time)
    yield time


def usual(**shares: int) -> Baseline:
    """A warm baseline; keyword `db_a` stands for the resource `db:a`."""
    baseline = Baseline()
    named = {name.replace("__", ":"): ns for name, ns in shares.items()}
    for n in range(WARM):
        baseline.add(sum(named.values()), named, n, 0.5)
    return baseline


def ledger(time: Time) -> Ledger:
    """A ledger on a clock that withholds nothing."""
    clock = Clock()
    clock.due = 1 << 62
    return Ledger(clock, time.now)


def spend(led: Ledger, time: Time, resource: str, ms: int, detail: str = "") -> Frame:
    """One closed frame of `ms`."""
    frame = led.open(resource, detail, led.root)
    assert frame is not None
    time.now += ms * MS
    close_frame(frame)
    return frame


def evidence(led: Ledger, time: Time, baseline: Baseline) -> Evidence:
    """What the recorder would hand over at the unit's end."""
    shares = led.finish(time.now)
    return Evidence("orders", "1.0", led, shares, led.wall, baseline)


def said(booking: Booking) -> tuple[str, str, str]:
    """Culprit, cause and via."""
    return (booking.culprit, booking.cause, booking.via)


def test_the_resource_beyond_its_baseline_is_the_cause(time: Time) -> None:
    """A large share that is usual explains nothing; the excess does."""
    led = ledger(time)
    spend(led, time, "http:payments", 200)
    spend(led, time, "db:postgresql/shop", 150, "SELECT report")
    _all, top = verdict.slow(evidence(led, time, usual(http__payments=200 * MS, app=1)))
    assert ("orders", "db.slow", "") == said(top)
    assert "SELECT report" == top.detail


def test_without_a_dominant_share_the_cause_is_unknown(time: Time) -> None:
    """Three equal excesses are no dominant cause, and all three stay booked."""
    led = ledger(time)
    for resource in ("db:a", "cache:b", "lock:c"):
        spend(led, time, resource, 100)
    bookings, top = verdict.slow(evidence(led, time, usual(app=1)))
    assert ("orders", "unknown", "") == said(top)
    assert 300 * MS - 3 <= sum(b.excess_ns for b in bookings) <= 300 * MS


def test_a_pool_dry_because_of_a_slow_query_names_the_query(time: Time) -> None:
    """A wait adopts what its holders spend beyond their own baseline."""
    pool = Holders("db_pool:main")
    holder = ledger(time)
    query = holder.open("db:postgresql/shop", "SELECT pg_sleep", holder.root)
    pool.acquired(query)
    time.now += 300 * MS
    waiter, waits = ledger(time), Waits()
    wait = waiter.open("db_pool:main", "", waiter.root, pool)
    assert wait is not None
    waits.begin(wait)
    time.now += 400 * MS
    waits.end(wait)
    close_frame(wait)
    _all, top = verdict.slow(evidence(waiter, time, usual(app=1)))
    assert ("orders", "db.slow", "db_pool") == said(top)
    assert "SELECT pg_sleep" == top.detail


def test_a_leaked_pool_is_its_own_cause(time: Time) -> None:
    """Holders whose unit has ended explain nothing but the leak."""
    pool = Holders("db_pool:main")
    gone = ledger(time)
    pool.acquired(gone.root, "checkout (orders.py:7)")
    gone.finish(time.now)
    waiter, waits = ledger(time), Waits()
    wait = waiter.open("db_pool:main", "", waiter.root, pool)
    assert wait is not None
    waits.begin(wait)
    time.now += 400 * MS
    waits.end(wait)
    close_frame(wait)
    _all, top = verdict.slow(evidence(waiter, time, usual(app=1)))
    assert ("orders", "db.pool_exhausted", "") == said(top)
    assert "checkout (orders.py:7)" in top.detail


def peer(excess_ms: int, cause: str = "db.slow") -> PeerVerdict:
    """What payments says of itself."""
    return PeerVerdict("payments", "2", False, "db:p", cause, "db_pool", excess_ms, "payments", "2", "INSERT")


def test_a_peers_verdict_is_adopted_when_it_explains_the_excess(time: Time) -> None:
    """The caller names the peer's cause, not `dependency.slow`."""
    led = ledger(time)
    spend(led, time, "http:payments", 1)
    frame = led.open("http:payments", "", led.root)
    assert frame is not None
    frame.peer = peer(390)
    time.now += 400 * MS
    close_frame(frame)
    _all, top = verdict.slow(evidence(led, time, usual(app=1)))
    assert ("payments", "db.slow", "db_pool") == said(top)


def test_a_peer_that_explains_little_stays_a_slow_dependency(time: Time) -> None:
    """A network in between is not billed to the peer's own small excess."""
    led = ledger(time)
    frame = led.open("http:payments", "", led.root)
    assert frame is not None
    frame.peer = peer(30)
    time.now += 400 * MS
    close_frame(frame)
    _all, top = verdict.slow(evidence(led, time, usual(app=1)))
    assert ("payments", "dependency.slow", "") == said(top)


def failing(led: Ledger, time: Time, resource: str, error: Exception) -> Exception:
    """A frame that lets `error` out."""
    frame = led.open(resource, "", led.root)
    time.now += MS
    close_frame(frame, failed=True)
    stamp(error, frame)
    return error


def test_an_errors_cause_is_the_frame_that_failed(time: Time) -> None:
    """Along `__cause__`, past exceptions of own code."""
    led = ledger(time)
    wrapped = RuntimeError("checkout failed")
    wrapped.__cause__ = failing(led, time, "cache:cache", ConnectionError("refused"))
    spend(led, time, "db:a", 5)
    booking = verdict.error(evidence(led, time, usual(app=1)), wrapped, "f (x.py:1)", 500)
    assert ("orders", "cache.errors", "") == said(booking)


def test_a_suppressed_context_is_not_followed(time: Time) -> None:
    """`raise … from None` says that the earlier error is not the reason."""
    led = ledger(time)
    raised = ValueError("own")
    raised.__context__ = failing(led, time, "cache:cache", ConnectionError("refused"))
    raised.__suppress_context__ = True
    booking = verdict.error(evidence(led, time, usual(app=1)), raised, "f (x.py:1)", 500)
    assert ("orders", "app.exception", "") == said(booking)
    assert "ValueError at f (x.py:1)" == booking.detail


def test_our_own_time_out_says_the_dependency_is_slow(time: Time) -> None:
    """A caller that gave up first knows who it waited for."""
    led = ledger(time)
    raised = failing(led, time, "http:orders", TimeoutError())
    booking = verdict.error(evidence(led, time, usual(app=1)), raised, "", 504)
    assert ("orders", "dependency.slow", "") == said(booking)


def test_a_time_out_while_our_loop_was_blocked_is_our_own(time: Time) -> None:
    """A reply that nobody could read in time is not the peer's slowness."""
    led = ledger(time)
    frame = led.open("cache:cache", "", led.root)
    assert frame is not None
    time.now += 2000 * MS
    led.clock.stalled(1900 * MS, "product (gateway.py:1)")
    frame.timed_out = True
    close_frame(frame, failed=True)
    raised = TimeoutError()
    stamp(raised, frame)
    booking = verdict.error(evidence(led, time, usual(app=1)), raised, "", 500)
    assert ("orders", "app.loop_blocked", "") == said(booking)
    assert "product (gateway.py:1)" == booking.detail


class LibraryTimeoutError(Exception):
    """As redis-py's: no `TimeoutError`, and nobody marks its frame."""


def test_a_time_out_while_others_had_the_core_is_the_hosts(time: Time) -> None:
    """Whoever did not get to run cannot blame the reply, whichever kind of time-out the library raises."""
    led = ledger(time)
    frame = led.open("cache:cache", "", led.root)
    assert frame is not None
    time.now += 2000 * MS
    led.clock.parts = (0, 1900 * MS, 0, 0)
    close_frame(frame, failed=True)
    raised = LibraryTimeoutError()
    stamp(raised, frame)
    booking = verdict.error(evidence(led, time, usual(app=1)), raised, "", 500)
    assert ("orders", "host.cpu", "") == said(booking)


def test_without_an_exception_the_last_failed_frame_counts(time: Time) -> None:
    """A handler that answers 502 by itself still names who failed it."""
    led = ledger(time)
    failing(led, time, "cache:cache", ConnectionError())
    failing(led, time, "http:payments", ConnectionError())
    booking = verdict.error(evidence(led, time, usual(app=1)), None, "", 502)
    assert ("payments", "dependency.errors", "") == said(booking)


SHARES = st.dictionaries(st.sampled_from(["app", "db:a", "http:b", "cache:c", "lock:d"]), st.integers(0, 10**10))


@settings(max_examples=300, deadline=None)
@given(shares=SHARES, base=SHARES)
def test_excess_never_exceeds_the_wall_time_excess(shares: dict[str, int], base: dict[str, int]) -> None:
    """Per resource it is positive, and its sum is at most wall minus the sum of baselines."""
    baseline = Baseline()
    for n in range(WARM):
        baseline.add(sum(base.values()), base, n, 0.5)
    over = verdict.excesses(shares, baseline)
    assert all(ns >= 0 for ns in over.values())
    assert sum(over.values()) <= max(0, sum(shares.values()) - sum(base.values()))
