"""Pairs that look alike to users, on the real shop: each side gets its own answer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from demo_app.__main__ import FAULT_S, Run, Screen
from demo_app.judge import Judge, decide
from demo_app.load import Load
from demo_app.sink import Sink
from demo_app.supervisor import Shop
from demo_app.verdicts import read_all

pytestmark = pytest.mark.e2e


@pytest.fixture(name="run", scope="module")
def _run() -> Iterator[Run]:
    sink, judge = Sink(), Judge()
    try:
        with Shop(sink.url) as shop:
            load = Load(f"http://127.0.0.1:{shop.ports['gateway']}", 11)
            load.start()
            run = Run(shop, load, judge, Screen())
            while not load.began and load.is_alive():
                load.join(0.05)
            run.warm_up()
            yield run
            load.stop()
    finally:
        judge.close()
        sink.close()


def verdicts_of(run: Run, fault: str) -> tuple[int, list[dict[str, Any]]]:
    """Break, watch, mend and recover; how many requests there were, and what they said."""
    before = read_all(run.shop.metrics)
    run.shop.break_(fault)
    began = run.load.now()
    run.watch(FAULT_S)
    samples, verdicts = run.settle(fault, began, before)
    run._recover()
    return len(samples), verdicts


def top(verdicts: list[dict[str, Any]]) -> tuple[str, str, str]:
    """Service, cause and via with most seconds; nothing when nobody was hurt."""
    ranked = sorted(verdicts, key=lambda row: -float(row["excess"]))
    return (ranked[0]["service"], ranked[0]["cause"], ranked[0]["via"]) if ranked else ("", "", "")


def test_a_dry_pool_is_the_slow_statement_or_the_leak(run: Run) -> None:
    """Waiting for holders with a slow statement is its cause via the pool; for nobody, the pool's own."""
    _requests, slow = verdicts_of(run, "slow_query")
    _requests, leaked = verdicts_of(run, "pool_leak")
    assert {("orders", "db.slow")} == {top(slow)[:2]}
    assert any(row["via"] == "db_pool" and row["cause"] == "db.slow" and row["count"] for row in slow)
    assert ("orders", "db.pool_exhausted", "") == top(leaked)


def test_payments_is_slow_by_itself_or_by_its_database(run: Run) -> None:
    """Within its own objective, too, payments tells its caller which of the two it is."""
    _requests, itself = verdicts_of(run, "payments_slow_self")
    _requests, database = verdicts_of(run, "payments_db")
    assert ("payments", "app.slow", "") == top(itself)
    assert ("payments", "db.slow", "") == top(database)


def test_a_connection_held_across_a_call_hurts_nobody_while_the_call_is_fast(run: Run) -> None:
    """A bad habit without a consequence is no incident."""
    requests, verdicts = verdicts_of(run, "hold_across_call")
    right, why = decide("hold_across_call", requests, verdicts)
    assert right, why
