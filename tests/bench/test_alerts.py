"""The alert bench's own arithmetic: its plans, the burn formula on users' samples, the table."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest

from bench.alerts import Outcome, plans
from bench.alerts_report import table
from bench.burning import first_burn
from demo_app.chain import SLOS
from demo_app.faults import FAULTS
from demo_app.load import Sample
from firstcause_alerts import load


def test_the_bench_plays_every_fault_often_enough() -> None:
    """At least forty runs, each with a name of its own, among them silent and quiet ones."""
    names = [plan.name for plan in plans()]
    assert len(names) == len(set(names)) >= 40
    assert set(FAULTS) <= {plan.kind for plan in plans()}
    assert {"prometheus", "alertmanager", "gap", "birth", "late"} <= {plan.event for plan in plans()}


def checkouts(bad: float, *, seconds: int = 200, since: int = 100) -> list[Sample]:
    """Ten answers a second, of which the given share fails from `since` on."""
    each = round(1 / bad) if bad else 0
    return [
        Sample(n / 10, "POST /checkout", 500 if n >= since * 10 and each and n % each == 0 else 200, 0.0)
        for n in range(seconds * 10)
    ]


@pytest.mark.parametrize(("bad", "expected"), [(1.0, 0.9), (0.1, 8.6), (0.05, 17.3)])
def test_the_bound_is_the_formula_of_the_workbook(bad: float, expected: float) -> None:
    """14.4 times the budget of 0.001 over an hour, sixty times as fast, or what the guard of five events needs."""
    found = first_burn(load(SLOS.read_text()), checkouts(bad), 100, pace=10, scale=60)
    assert found == pytest.approx(expected, abs=1.5)


def test_what_hurts_nobody_never_burns() -> None:
    """Good answers have no bound."""
    assert first_burn(load(SLOS.read_text()), checkouts(0.0), 100, pace=10, scale=60) is None


def outcome(**given: Any) -> dict[str, Any]:
    """A run as it should be, but for what is given."""
    usual = {"pages": 1, "paged_s": 5.0, "bound_s": 4.0, "place": 1, "better_s": 6.0, "resolved_s": 30.0}
    return asdict(Outcome("exception", wanted=True, **{**usual, **given}))


QUIET = asdict(Outcome("quiet", wanted=False))


@pytest.mark.parametrize(
    "wrong",
    [
        outcome(pages=0, paged_s=None), outcome(pages=2), outcome(place=0), outcome(better_s=11.0),
        outcome(resolved_s=None), outcome(resolved_s=41.0), outcome(failed=1), {**QUIET, "pages": 1},
    ],
)  # fmt: skip
def test_each_bound_can_be_missed(wrong: dict[str, Any]) -> None:
    """All is held by good runs, and one bad run among two misses something."""
    assert table([outcome(), QUIET])[1]
    text, held = table([outcome(), wrong])
    assert not held
    assert "**missed**" in text


def test_two_faults_in_two_services_may_be_two_pages() -> None:
    """As many pages as incidents are right."""
    assert table([outcome(pages=2, incidents=2)])[1]
