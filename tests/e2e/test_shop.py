"""The real shop under load: each fault and each look-alike gets its own answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest

from demo_app.__main__ import FAULT_S, Run, Screen
from demo_app.judge import Judge, decide
from demo_app.load import Load
from demo_app.sink import Sink
from demo_app.supervisor import Shop
from demo_app.verdicts import read_all

pytestmark = pytest.mark.e2e
HARM = (
    "payments_slow_self", "payments_db", "payments_lock", "slow_query", "pool_leak", "busy_loop", "overlap",
    "exception", "unknown_thread", "timeout",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Answer:
    """How many requests there were during a fault, and what they said, most harm first."""

    requests: int
    verdicts: list[dict[str, Any]]

    @property
    def top(self) -> tuple[str, str, str]:
        """Service, cause and via with most seconds; nothing when nobody was hurt."""
        worst = max(self.verdicts, key=lambda row: float(row["excess"]), default=None)
        return (worst["service"], worst["cause"], worst["via"]) if worst else ("", "", "")


@pytest.fixture(name="answer", scope="module")
def _answer() -> Iterator[Callable[[str], Answer]]:
    """Breaks, watches, mends and recovers, once per fault: several tests ask about one."""
    sink, judge = Sink(), Judge()
    with Shop(sink.url) as shop:
        load = Load(f"http://127.0.0.1:{shop.ports['gateway']}", 7)
        load.start()
        run = Run(shop, load, judge, Screen())
        while not load.began and load.is_alive():
            load.join(0.05)
        run.warm_up()
        yield cache(lambda fault: played(run, fault))
        load.stop()
    judge.close()
    sink.close()


def played(run: Run, fault: str) -> Answer:
    """One fault from a shop that is well to one that is well again."""
    before = read_all(run.shop.metrics)
    run.shop.break_(fault)
    began = run.load.now()
    run.watch(FAULT_S)
    samples, verdicts = run.settle(fault, began, before)
    run._recover()
    return Answer(len(samples), verdicts)


@pytest.mark.parametrize("fault", HARM)
def test_the_requests_name_the_cause(answer: Callable[[str], Answer], fault: str) -> None:
    """The verdict with most bad requests is what was broken, with a share of at least 0.6."""
    right, why = decide(fault, answer(fault).requests, answer(fault).verdicts)
    assert right, why


def test_a_retried_call_that_succeeds_hurts_nobody(answer: Callable[[str], Answer]) -> None:
    """Payments fails once per order and orders tries again: no request is bad."""
    right, why = decide("retry", answer("retry").requests, answer("retry").verdicts)
    assert right, why


def test_a_connection_held_across_a_call_hurts_nobody_while_the_call_is_fast(answer: Callable[[str], Answer]) -> None:
    """A bad habit without a consequence is no incident."""
    held = answer("hold_across_call")
    right, why = decide("hold_across_call", held.requests, held.verdicts)
    assert right, why


def test_a_busy_gateway_does_not_blame_a_dependency(answer: Callable[[str], Answer]) -> None:
    """While gateway computes, what is said of orders is at most what a paused host made of it: one request in twenty."""
    said = answer("busy_loop").verdicts
    hurt = sum(row["count"] for row in said)
    assert hurt > 0
    assert sum(row["count"] for row in said if row["cause"].startswith("dependency.")) <= hurt / 20, said


def test_a_dry_pool_is_the_slow_statement_or_the_leak(answer: Callable[[str], Answer]) -> None:
    """Waiting for holders with a slow statement is its cause via the pool; for nobody, the pool's own."""
    slow, leaked = answer("slow_query"), answer("pool_leak")
    assert ("orders", "db.slow") == slow.top[:2]
    assert any(row["via"] == "db_pool" and row["cause"] == "db.slow" and row["count"] for row in slow.verdicts)
    assert ("orders", "db.pool_exhausted", "") == leaked.top


def test_payments_is_slow_by_itself_or_by_its_database(answer: Callable[[str], Answer]) -> None:
    """Within its own objective, too, payments tells its caller which of the two it is."""
    assert ("payments", "app.slow", "") == answer("payments_slow_self").top
    assert ("payments", "db.slow", "") == answer("payments_db").top
