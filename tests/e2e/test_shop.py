"""The real shop under load: each fault and each look-alike gets its own answer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from demo_app.__main__ import FAULT_S, WARM_S, Run, Screen
from demo_app.judge import Judge, decide
from demo_app.load import Load
from demo_app.sink import Sink
from demo_app.supervisor import Shop
from demo_app.verdicts import between, read_all

pytestmark = pytest.mark.e2e


@pytest.fixture(name="run", scope="module")
def _run() -> Iterator[Run]:
    sink, judge = Sink(), Judge()
    with Shop(sink.url) as shop:
        load = Load(f"http://127.0.0.1:{shop.ports['gateway']}", 7)
        load.start()
        run = Run(shop, load, judge, Screen())
        while not load.began and load.is_alive():
            load.join(0.05)
        run.watch(WARM_S)
        yield run
        load.stop()
    judge.close()
    sink.close()


def measured(run: Run, fault: str) -> tuple[int, list[dict[str, Any]]]:
    """Break, watch and mend; how many requests there were, and what they said."""
    before = read_all(run.shop.metrics)
    run.shop.break_(fault)
    samples = run.watch(FAULT_S)
    after = read_all(run.shop.metrics)
    run.shop.mend(fault)
    run._recover()
    return len(samples), between(before, after, "gateway")


@pytest.mark.parametrize(
    "fault",
    [
        "payments_slow_self",
        "payments_db",
        "payments_lock",
        "slow_query",
        "pool_leak",
        "busy_loop",
        "overlap",
        "exception",
        "unknown_thread",
        "timeout",
    ],
)
def test_the_requests_name_the_cause(run: Run, fault: str) -> None:
    """The verdict with most bad requests is what was broken, with a share of at least 0.6."""
    requests, verdicts = measured(run, fault)
    right, why = decide(fault, requests, verdicts)
    assert right, why


def test_a_retried_call_that_succeeds_hurts_nobody(run: Run) -> None:
    """Payments fails once per order and orders tries again: no request is bad."""
    requests, verdicts = measured(run, "retry")
    right, why = decide("retry", requests, verdicts)
    assert right, why


def test_a_busy_gateway_never_blames_a_dependency(run: Run) -> None:
    """While gateway computes and orders answers normally, no bad request counts under a dependency."""
    _requests, verdicts = measured(run, "busy_loop")
    assert any(row["count"] for row in verdicts)
    assert [] == [row for row in verdicts if row["cause"].startswith("dependency.") and row["count"]]
