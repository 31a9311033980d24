"""Bucket maths, pure: where a duration falls, and what a set of counts says.

Exponential buckets follow Prometheus' native histograms and OTLP alike: base 2^(2^-schema), the upper
bound belongs to the bucket. At schema 5 a bucket is 2.2 % wide, which bounds the error of any quantile.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from math import ceil, log2

SCHEMA = 5
PER_OCTAVE = 1 << SCHEMA
LOW, HIGH = -14, 13
"""Octaves kept apart: 61 µs (shorter ones count as zero) to 8192 s (longer ones into the last bucket)."""
PLACES = (HIGH - LOW) * PER_OCTAVE + 1
"""Slots of one exponential histogram: place 0 is the zero bucket."""
ZERO_THRESHOLD = 2.0**LOW
ZERO_NS = int(ZERO_THRESHOLD * 1e9)
LONGEST_NS = int(2.0**HIGH * 1e9)
SHIFT = (log2(1e9) + LOW) * PER_OCTAVE
"""What turns `PER_OCTAVE * log2(nanoseconds)` into a place."""


def place_of(ns: int) -> int:
    """The slot of a duration: 0 up to `ZERO_THRESHOLD`, the last one beyond `2**HIGH` seconds."""
    if ns <= ZERO_NS:
        return 0
    return ceil(log2(ns) * PER_OCTAVE - SHIFT) if ns < LONGEST_NS else PLACES - 1


def bound(index: int, schema: int = SCHEMA) -> float:
    """Upper bound of a bucket; Prometheus' index, where bucket 0 ends at 1."""
    return float(2.0 ** (index * 2.0**-schema))


@dataclass(slots=True)
class Buckets:
    """A run of neighbouring buckets: `counts[0]` is the one with Prometheus' index `first`."""

    first: int = 0
    counts: list[int] = field(default_factory=list)

    def trimmed(self) -> Buckets:
        """Without the empty buckets at both ends."""
        filled = [place for place, n in enumerate(self.counts) if n]
        if not filled:
            return Buckets()
        return Buckets(self.first + filled[0], self.counts[filled[0] : filled[-1] + 1])

    def coarser(self, steps: int) -> Buckets:
        """The same counts at a schema lower by `steps`: every `2**steps` buckets become one."""
        merged: dict[int, int] = {}
        for index, n in enumerate(self.counts, self.first):
            wider = -(-index >> steps)  # rounds up: upper bounds stay inside
            merged[wider] = merged.get(wider, 0) + n
        return _dense(merged)

    def plus(self, other: Buckets) -> Buckets:
        """Both together, bucket by bucket."""
        merged = dict(enumerate(self.counts, self.first))
        for index, n in enumerate(other.counts, other.first):
            merged[index] = merged.get(index, 0) + n
        return _dense(merged)

    def minus(self, other: Buckets) -> Buckets:
        """What was added since `other` was read; never negative."""
        left = dict(enumerate(self.counts, self.first))
        for index, n in enumerate(other.counts, other.first):
            left[index] = max(0, left.get(index, 0) - n)
        return _dense(left)


def _dense(counts: dict[int, int]) -> Buckets:
    if not counts:
        return Buckets()
    first, last = min(counts), max(counts)
    return Buckets(first, [counts.get(index, 0) for index in range(first, last + 1)])


@dataclass(slots=True)
class Exponential:
    """An exponential histogram; values are never negative, which the Meter API refuses too."""

    schema: int = SCHEMA
    zero_threshold: float = ZERO_THRESHOLD
    zero_count: int = 0
    positive: Buckets = field(default_factory=Buckets)

    @property
    def count(self) -> int:
        """All values."""
        return self.zero_count + sum(self.positive.counts)

    @classmethod
    def of_places(cls, places: Sequence[int]) -> Exponential:
        """From the slots that `place_of` numbers."""
        positive = Buckets(LOW * PER_OCTAVE + 1, list(places[1:])).trimmed()
        return cls(zero_count=places[0], positive=positive)

    def at(self, schema: int) -> Exponential:
        """The same at a coarser schema."""
        steps = self.schema - schema
        if steps <= 0:
            return self
        return Exponential(schema, self.zero_threshold, self.zero_count, self.positive.coarser(steps))

    def plus(self, other: Exponential) -> Exponential:
        """Both together, at the coarser schema of the two."""
        schema = min(self.schema, other.schema)
        positive = self.at(schema).positive.plus(other.at(schema).positive)
        threshold = max(self.zero_threshold, other.zero_threshold)
        return Exponential(schema, threshold, self.zero_count + other.zero_count, positive)

    def minus(self, other: Exponential) -> Exponential:
        """What was added since `other` was read."""
        schema = min(self.schema, other.schema)
        positive = self.at(schema).positive.minus(other.at(schema).positive)
        return Exponential(schema, self.zero_threshold, max(0, self.zero_count - other.zero_count), positive)

    def classic(self) -> tuple[list[float], list[int]]:
        """Edges at powers of two and their counts, overflow last: for formats without exponential buckets.

        Exact at each edge, since a power of two is an edge at every schema from 0 on.
        """
        if not self.positive.counts:
            return [self.zero_threshold], [self.zero_count, 0]
        octaves = self.positive.coarser(self.schema) if self.schema > 0 else self.positive
        last = octaves.first + len(octaves.counts)
        edges = [bound(index, min(self.schema, 0)) for index in range(octaves.first - 1, last)]
        return edges, [self.zero_count, *octaves.counts, 0]


def spans(buckets: Buckets) -> Iterator[tuple[int, list[int]]]:
    """Runs of buckets for the wire, as (gap to the run before, counts); short gaps are filled with zeros."""
    run: list[int] = []
    gap = buckets.first
    zeros = 0
    for n in buckets.counts:
        if n:
            # A new run costs two numbers of its own; client_golang draws the line here as well.
            if zeros > 2 and run:
                yield gap, run
                gap, run = zeros, []
            else:
                run += [0] * zeros
            run.append(n)
            zeros = 0
        elif run:
            zeros += 1
        else:
            gap += 1
    if run:
        yield gap, run


def rebucket(counts: Sequence[int], edges: Sequence[float], wanted: Sequence[float]) -> list[int]:
    """Counts at other edges: exact where an edge is in both, else the values stay above the edge."""
    if list(edges) == list(wanted):
        return list(counts)
    totals = [0, *accumulate(counts[:-1])]
    below = [totals[bisect_right(edges, edge)] for edge in wanted]
    return [high - low for low, high in zip([0, *below], [*below, sum(counts)], strict=True)]
