"""The arithmetic of the bench."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bench.ratios import difference, estimate, ratio, ratio_of_medians
from bench.report import verdicts

costs = st.lists(st.floats(1, 1e4), min_size=3, max_size=20)


@given(costs)
def test_an_estimate_lies_within_its_interval_and_the_data(values: list[float]) -> None:
    """Resampling never leaves the range of what was measured."""
    found = estimate(values)
    assert min(values) <= found.low <= found.middle <= found.high <= max(values)


@given(costs, st.floats(0.5, 4))
def test_a_peer_twice_as_dear_has_the_ratio_two(values: list[float], factor: float) -> None:
    """Noise that hits a whole cycle cancels in a paired ratio."""
    found = estimate(ratio([value * factor for value in values], values))
    assert abs(found.low - factor) < 1e-9 > abs(found.high - factor)


def test_a_peer_that_costs_nothing_makes_the_ratio_infinite() -> None:
    """A limit is never held by dividing through noise."""
    assert float("inf") == ratio_of_medians([1.0, 1.0], [0.0, -1.0]).high


def sample(ours: float, stock: float, refused: float = 1.0) -> dict[tuple[str, str], list[float]]:
    """Costs over a bare request of 100 µs, three cycles without noise."""
    items, fan = "/items/7", "/fan"
    own = 100 + ours
    costs = {
        ("bare", items): 100.0,
        ("bare", fan): 150.0,
        ("firstcause", items): own,
        ("firstcause", fan): own + 50 + ours,
        ("firstcause, no exporter", items): own,
        ("firstcause, collector refuses", items): own * refused,
        ("firstcause, collector refuses", fan): own * refused + 50 + ours,
        ("firstcause, collector hangs", items): own,
        ("stock OpenTelemetry", items): 100 + stock,
        ("stock OpenTelemetry", fan): 100 + stock + 50 + stock,
    }
    return {case: [cost] * 3 for case, cost in costs.items()}


def test_every_limit_can_be_held_and_missed() -> None:
    """A cheap SDK passes all six ratios; a dear one, or one that suffers with its collector, does not."""
    assert [True] * 6 == [verdict.held for verdict in verdicts(sample(40, 400))]
    assert [False, True, True, False, False, False] == [verdict.held for verdict in verdicts(sample(200, 400))]
    assert [True, False, True, True, True, True] == [v.held for v in verdicts(sample(40, 400, refused=1.1))]


def test_pairs_of_unequal_length_are_refused() -> None:
    """Cycles are compared with themselves only."""
    for compare in (difference, ratio):
        try:
            compare([1.0], [1.0, 2.0])
        except ValueError:
            continue
        raise AssertionError(compare)
