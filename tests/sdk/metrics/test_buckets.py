"""Bucket maths: places, merging, and the error that follows from them."""

from __future__ import annotations

from itertools import accumulate

from hypothesis import given
from hypothesis import strategies as st

from firstcause.metrics.buckets import (
    LONGEST_NS,
    LOW,
    PER_OCTAVE,
    PLACES,
    SCHEMA,
    ZERO_NS,
    Buckets,
    Exponential,
    bound,
    place_of,
    rebucket,
    spans,
)

durations = st.integers(min_value=0, max_value=4 * LONGEST_NS)
counts = st.lists(st.integers(min_value=0, max_value=5), max_size=60)
runs = st.builds(Buckets, st.integers(min_value=-500, max_value=500), counts)
histograms = st.builds(
    Exponential, st.integers(min_value=0, max_value=8), st.just(0.0), st.integers(min_value=0, max_value=9), runs
)  # fmt: skip


def _index(place: int) -> int:
    return LOW * PER_OCTAVE + place


@given(durations)
def test_every_duration_lies_within_the_bounds_of_its_place(ns: int) -> None:
    """Above the lower bound, at most the upper one; what lies outside of the range is at its ends."""
    place, seconds = place_of(ns), ns / 1e9
    assert 0 <= place < PLACES
    if place == 0:
        assert ns <= ZERO_NS
    elif ns < LONGEST_NS:
        assert bound(_index(place) - 1) * (1 - 1e-12) <= seconds <= bound(_index(place)) * (1 + 1e-12)
    else:
        assert PLACES - 1 == place


def test_one_second_is_the_end_of_bucket_zero() -> None:
    """As in Prometheus and OTLP, where a bound belongs to the bucket below it."""
    assert 0 == _index(place_of(10**9))
    assert 1 == _index(place_of(10**9 + 1))


def test_a_bucket_is_narrower_than_the_promised_error() -> None:
    """A quantile can be wrong by the width of its bucket at most."""
    assert bound(1) - 1 < 0.025


@given(durations, durations)
def test_places_keep_the_order_of_durations(one: int, other: int) -> None:
    """A longer duration is never in an earlier bucket."""
    assert one > other or place_of(one) <= place_of(other)


@given(histograms, histograms)
def test_adding_keeps_every_value(one: Exponential, other: Exponential) -> None:
    """Two histograms of any schemas have together as many values as each alone."""
    assert one.count + other.count == one.plus(other).count


@given(histograms, histograms)
def test_what_was_added_can_be_taken_off(one: Exponential, other: Exponential) -> None:
    """A child's counts are what it shows less what it inherited."""
    both = one.plus(other)
    left, wanted = both.minus(other), one.at(both.schema)
    assert (wanted.zero_count, wanted.positive.trimmed()) == (left.zero_count, left.positive.trimmed())


@given(runs, st.integers(min_value=1, max_value=6))
def test_a_coarser_bucket_holds_the_buckets_it_was_made_of(run: Buckets, steps: int) -> None:
    """Each bucket's bounds lie within those of the coarser one that its values went to."""
    coarser = run.coarser(steps)
    assert sum(run.counts) == sum(coarser.counts)
    for index, n in enumerate(run.counts, run.first):
        if n:
            wider = -(-index >> steps)
            assert bound(wider - 1, SCHEMA - steps) <= bound(index - 1) < bound(index) <= bound(wider, SCHEMA - steps)
            assert coarser.counts[wider - coarser.first] >= n


@given(runs)
def test_spans_say_the_same_counts(run: Buckets) -> None:
    """Gaps and runs put back together are the buckets, without empty ends."""
    found: dict[int, int] = {}
    at = 0
    for gap, run_counts in spans(run):
        at += gap
        for n in run_counts:
            found[at] = n
            at += 1
    assert {i: n for i, n in enumerate(run.counts, run.first) if n} == {i: n for i, n in found.items() if n}


@given(histograms)
def test_classic_edges_at_powers_of_two_are_exact(made: Exponential) -> None:
    """Formats without exponential buckets lose resolution and no value."""
    edges, per_edge = made.classic()
    assert made.count == sum(per_edge)
    below = list(accumulate(per_edge))
    for edge, total in zip(edges, below, strict=False):
        exact = sum(n for i, n in enumerate(made.positive.counts, made.positive.first) if bound(i, made.schema) <= edge)
        assert exact + made.zero_count == total


edges_of = st.lists(st.integers(1, 50), min_size=1, max_size=8, unique=True).map(sorted)


@given(edges_of, edges_of, st.data())
def test_counts_at_other_edges_are_exact_where_both_have_one(
    ours: list[int], theirs: list[int], data: st.DataObject
) -> None:
    """Processes with other objectives are added without losing a value or moving one below an edge it exceeds."""
    given_counts = data.draw(st.lists(st.integers(0, 9), min_size=len(theirs) + 1, max_size=len(theirs) + 1))
    found = rebucket(given_counts, theirs, ours)
    assert sum(given_counts) == sum(found)
    for edge in set(ours) & set(theirs):
        assert sum(given_counts[: theirs.index(edge) + 1]) == sum(found[: ours.index(edge) + 1])
