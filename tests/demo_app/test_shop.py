"""The pure parts of the demo: load, judge, waterfall, order of rounds."""

from __future__ import annotations

import math
from itertools import islice

from hypothesis import given
from hypothesis import strategies as st

from demo_app.__main__ import order
from demo_app.faults import BROWSER_FAULTS, FAULTS, HARMLESS, LOOK_ALIKES
from demo_app.judge import EXPECTED, QUIET, decide
from demo_app.load import MIX, percentile, schedule
from demo_app.sink import waterfall


def test_the_same_seed_sends_the_same_load() -> None:
    """Due times, routes and products are a function of the seed."""
    assert list(islice(schedule(3), 200)) == list(islice(schedule(3), 200))
    assert list(islice(schedule(3), 200)) != list(islice(schedule(4), 200))


def test_the_load_has_the_rate_of_its_mix() -> None:
    """Ten thousand arrivals take the time that their rate says, within five percent."""
    due = [arrival[0] for arrival in islice(schedule(1), 10_000)]
    assert math.isclose(10_000 / due[-1], sum(rate for _, rate in MIX), rel_tol=0.05)


@given(st.lists(st.floats(0, 100), min_size=1), st.floats(0.01, 1))
def test_a_percentile_is_a_measured_value_with_enough_below(values: list[float], share: float) -> None:
    """Nearest rank: at least `share` of the values are not above it."""
    found = percentile(values, share)
    assert found in values
    assert sum(v <= found for v in values) >= share * len(values) - 1e-9


def test_every_fault_has_an_expected_answer() -> None:
    """The judge knows what the faults are, and nothing else."""
    assert set(EXPECTED) == set(FAULTS) | set(LOOK_ALIKES) | set(BROWSER_FAULTS)
    assert set(HARMLESS) == {fault for fault, answers in EXPECTED.items() if not answers}


def test_the_judge_wants_the_right_service_and_cause_with_most_of_the_share() -> None:
    """A wrong cause, a wrong service and a thin share each lose."""

    def row(service: str, cause: str, count: int) -> dict[str, object]:
        return {"service": service, "cause": cause, "count": count}

    assert decide("payments_db", 100, [row("payments", "db.slow", 7), row("orders", "app.slow", 3)])[0]
    assert not decide("payments_db", 100, [row("orders", "db.slow", 10)])[0]
    assert not decide("payments_db", 100, [row("payments", "db.slow", 5), row("orders", "app.slow", 5)])[0]
    assert not decide("payments_db", 100, [])[0]
    assert decide(QUIET, 100, [row("orders", "app.slow", 2)])[0]
    assert not decide(QUIET, 100, [row("orders", "app.slow", 3)])[0]


def test_a_run_has_one_quiet_round_and_no_fault_twice() -> None:
    """The order is seeded, the quiet round is never the first."""
    for seed in range(20):
        faults = order(seed, 6)
        assert (6, 1) == (len(set(faults)), faults.count(QUIET))
        assert QUIET != faults[0]
        assert faults == order(seed, 6)


def test_a_waterfall_of_nothing_says_so() -> None:
    """No trace is no crash."""
    assert ["(no trace arrived)"] == waterfall([])
