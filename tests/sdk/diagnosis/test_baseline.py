"""What a route's good requests spend: robust, slow to forget, never taught by an incident."""

from __future__ import annotations

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from firstcause.diagnosis.baseline import ROUTES, SAMPLES, WARM, Baseline, Baselines

DAY = 86_400.0


def fed(samples: list[tuple[int, dict[str, int]]], seconds: float = 0.1) -> Baseline:
    """A baseline that saw `samples` in order, `seconds` apart."""
    baseline, random = Baseline(), Random(7)
    for n, (wall, shares) in enumerate(samples):
        baseline.add(wall, shares, n * seconds, random.random() or 0.5)
    return baseline


def test_under_twenty_samples_it_is_cold() -> None:
    """The twentieth sample makes it warm, and computed."""
    cold = fed([(10, {"app": 10})] * (WARM - 1))
    warm = fed([(10, {"app": 10})] * WARM)
    assert (True, {}) == (cold.cold, cold.shares)
    assert (False, {"app": 10}) == (warm.cold, warm.shares)


def test_absent_resources_count_as_zero() -> None:
    """A resource that most requests do not use has a baseline of nothing."""
    samples = [(10, {"app": 10})] * 30 + [(10, {"app": 5, "cache:c": 5})] * 10
    assert 0 == fed(samples).shares["cache:c"]


def test_an_incident_never_becomes_normal() -> None:
    """A tenth of slow-but-good requests among the samples leaves the middle of the faster half alone."""
    samples = [(10, {"db:a": 10})] * 900 + [(400, {"db:a": 400})] * 100
    assert 10 == fed(samples).shares["db:a"]


def test_memory_is_bounded() -> None:
    """The reservoir and the number of routes have a cap."""
    assert SAMPLES == len(fed([(n, {"app": n}) for n in range(5_000)])._heap)
    baselines = Baselines()
    for n in range(ROUTES + 50):
        baselines.learn(f"GET /{n}", 1, {"app": 1}, 0.0)
    assert ROUTES == len(baselines._routes)
    assert baselines.of("GET /never").cold


def test_old_samples_fade_over_days() -> None:
    """After many half-lives only the new level is left."""
    old = [(10, {"db:a": 10})] * 500
    new = [(30, {"db:a": 30})] * 500
    assert 30 == fed(old + new, seconds=DAY / 20).shares["db:a"]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, 10**12), min_size=WARM, max_size=200))
def test_the_middle_lies_within_the_faster_half(walls: list[int]) -> None:
    """The baseline is one of the faster half's own values."""
    baseline = fed([(wall, {"app": wall}) for wall in walls])
    assert min(walls) <= baseline.shares["app"] <= max(walls)
