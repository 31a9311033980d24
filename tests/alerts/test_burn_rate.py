"""The algebra of burn rates: the workbook's figures, for any period and target."""

from __future__ import annotations

import math
import re
import statistics
from decimal import Decimal

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from firstcause_alerts import durations
from firstcause_alerts.burn_rate import DAY_S, GUARD, MIN_BAD, pairs_for
from firstcause_alerts.simulation import by_chance, firings, poisson

from .specs import render, slo

MONTH = 30 * DAY_S
BUDGET = Decimal("0.001")
PAGES = pairs_for(MONTH)[:2]


def test_a_month_has_the_four_pairs_of_the_workbook() -> None:
    """Windows, factors and thresholds of tables 5-6 and 5-8 for 99.9 %."""
    found = [(pair.tier, pair.name, str(pair.factor), str(pair.threshold(BUDGET))) for pair in pairs_for(MONTH)]
    assert [
        ("page", "1h/5m", "14.4", "0.0144"), ("page", "6h/30m", "6", "0.006"),
        ("ticket", "1d/2h", "3", "0.003"), ("ticket", "3d/6h", "1", "0.001"),
    ] == found  # fmt: skip


def test_four_weeks_keep_the_windows_and_change_the_factors() -> None:
    """28 days give 13.44, 5.6, 2.8 and 0.933."""
    assert ["13.44", "5.6", "2.8", "0.9333"] == [str(pair.factor) for pair in pairs_for(28 * DAY_S)]


def test_a_week_has_windows_in_proportion() -> None:
    """7/30 of the month's, with the same factors."""
    found = [(pair.name, str(pair.factor)) for pair in pairs_for(7 * DAY_S)]
    assert [("14m/70s", "14.4"), ("84m/7m", "6"), ("336m/28m", "3"), ("1008m/84m", "1")] == found


@pytest.mark.parametrize(
    ("pair", "ratio", "detected", "reset"),
    [(0, 1.0, "52 s", "4 min 56 s"), (1, 1.0, "2 min 10 s", "29 min 49 s"), (0, 0.15, "5 min 46 s", "4 min 31 s")],
)
def test_detection_and_reset_are_those_of_the_workbook(pair: int, ratio: float, detected: str, reset: str) -> None:
    """From the formulas of chapter 5, which its own figures follow."""
    one = PAGES[pair]
    assert detected == durations.words(one.detection_s(BUDGET, ratio) or 0)
    assert reset == durations.words(one.reset_s(BUDGET, ratio) or 0)


@given(st.integers(1, 400), st.decimals("0.0001", "0.2", places=4))
def test_every_period_spends_the_same_parts_of_its_budget(days: int, budget: Decimal) -> None:
    """Whatever the period: 2, 5, 10 and 10 % are gone when a pair fires, whatever the error ratio."""
    spent = [pair.spent(days * DAY_S) for pair in pairs_for(days * DAY_S)]
    assert spent == pytest.approx([0.02, 0.05, 0.1, 0.1], rel=0.01)
    for pair in pairs_for(days * DAY_S):
        detection = pair.detection_s(budget, 1.0)
        assert (detection is not None) == pair.reachable(budget)
        if detection is not None:
            assert detection / (days * DAY_S) / float(budget) == pytest.approx(pair.spent(days * DAY_S), rel=1e-6)


@given(st.floats(0.001, 1.0), st.floats(0.001, 1.0))
def test_more_errors_never_page_later(one: float, other: float) -> None:
    """Detection falls as errors rise, and is none at or below the threshold."""
    low, high = sorted((one, other))
    for pair in pairs_for(MONTH):
        slow, quick = pair.detection_s(BUDGET, low), pair.detection_s(BUDGET, high)
        assert slow is None or (quick is not None and quick <= slow)


@given(st.floats(0.001, 10_000_000))
def test_durations_survive_prometheus_text(seconds: float) -> None:
    """What is written is what was meant, to the millisecond."""
    sizes = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}
    parts = re.findall(r"(\d+)(ms|[dhms])", durations.promql(seconds))
    assert max(1, round(seconds * 1000)) == sum(int(count) * sizes[unit] for count, unit in parts)


@pytest.mark.parametrize("pair", range(4))
def test_the_simulation_fires_when_the_workbook_says(pair: int) -> None:
    """All four pairs, nine error levels after a clean long window: the first minute after the formula."""
    one = pairs_for(MONTH)[pair]
    clean = one.long_s // 60
    for percent in (100, 50, 20, 15, 10, 5, 2, 1.5, 1):
        detection = one.detection_s(BUDGET, percent / 100)
        events = [(1000.0, 0.0)] * clean + [(1000.0, 10.0 * percent)] * (clean + 1)
        fired = [begin - clean + 1 for begin, _end in firings(events, BUDGET, (one,))]
        assert fired == ([] if detection is None else [math.floor(detection / 60) + 1])


def test_the_simulation_has_the_thresholds_of_the_generated_rules() -> None:
    """Both ratios and the guard, as they stand in the rule of each pair."""
    rules = [rule for group in yaml.safe_load(render(slo())["rules.yml"])["groups"] for rule in group["rules"]]
    for pair in pairs_for(MONTH):
        (expression,) = [rule["expr"] for rule in rules if rule.get("labels", {}).get("pair") == pair.name]
        numbers = re.findall(r"slo:(\w+):\w+\{[^}]*window=\"(\w+)\"\} (>=?) ([\d.]+)", expression)
        limit = str(pair.threshold(BUDGET))
        long, short = pair.name.split("/")
        assert [("error", long, ">", limit), ("error", short, ">", limit), ("bad", long, ">=", str(GUARD))] == numbers


@pytest.mark.parametrize("per_hour", [10, 20, 30, 60, 90, 120])
def test_low_traffic_pages_nobody_by_chance(per_hour: int) -> None:
    """At half the budget in errors at most one false page in ten months, over three hundred months."""
    found = sum(by_chance(per_hour / 60, 0.0005, 30 * 1440, BUDGET, PAGES, seed) for seed in range(300))
    assert found <= 0.1 * 300


def test_chance_is_counted_alike_by_both_ways() -> None:
    """Drawing good requests only where the guard could be met changes nothing but the time it takes."""
    days, per_minute, bad_ratio = 10, 1.0, 0.007
    whole = [len(firings(poisson(per_minute, bad_ratio, days * 1440, seed), BUDGET, PAGES)) for seed in range(20)]
    parts = [by_chance(per_minute, bad_ratio, days * 1440, BUDGET, PAGES, seed) for seed in range(20, 40)]
    assert statistics.mean(whole) == pytest.approx(statistics.mean(parts), rel=0.25)
    assert statistics.mean(whole) > 5


@pytest.mark.parametrize("per_hour", [10, 20, 60, 120])
def test_low_traffic_still_pages_for_an_outage(per_hour: int) -> None:
    """A full outage pages with a median of at most 30 minutes, 19 of 20 times within the hour, over 300 outages."""
    begin, found = 400, []
    for seed in range(300):
        events = poisson(per_hour / 60, 0.0005, begin + 240, seed)
        events = [(count, bad if minute < begin else count) for minute, (count, bad) in enumerate(events)]
        found.append(next(at for at, end in firings(events, BUDGET, PAGES) if end > begin) - begin)
    assert statistics.median(found) <= 30
    assert sorted(found)[len(found) * 95 // 100] <= 60


@given(st.integers(1, MIN_BAD - 1))
def test_the_guard_wants_five_bad_events(bad: int) -> None:
    """Four failures of four requests page nobody."""
    assert [] == firings([(0, 0)] * 10 + [(1, 1)] * bad + [(0, 0)] * 100, BUDGET, PAGES)
    assert [] != firings([(0, 0)] * 10 + [(1, 1)] * MIN_BAD + [(0, 0)] * 100, BUDGET, PAGES)
