"""Minutes of traffic through the window pairs, in memory: what promtool would need minutes for.

It decides like the generated rules do on counters that are scraped once a minute; a test compares it with promtool.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from decimal import Decimal
from itertools import accumulate

from .burn_rate import GUARD, MIN_BAD, Pair

Minute = tuple[float, float]
"""Requests, and the bad ones among them."""
MANY = 30
"""Arrivals a minute from which on the normal distribution stands in for Poisson's."""


def poisson(per_minute: float, bad_ratio: float, minutes: int, seed: int) -> list[Minute]:
    """Random traffic, the same for the same seed."""
    return list(_traffic(random.Random(seed), per_minute, bad_ratio, [0] * minutes))


def _traffic(choose: random.Random, per_minute: float, bad_ratio: float, known_bad: Sequence[int]) -> Iterator[Minute]:
    """Good ones, bad ones, and those already known; what is drawn apart is as if drawn together and then sorted."""
    for bad in known_bad:
        failed = bad + _arrivals(choose, per_minute * bad_ratio)
        yield _arrivals(choose, per_minute * (1 - bad_ratio)) + failed, failed


def _arrivals(choose: random.Random, mean: float) -> int:
    if mean <= 0:
        return 0
    if mean > MANY:
        return max(0, round(choose.gauss(mean, math.sqrt(mean))))
    count, waited = 0, choose.expovariate(mean)
    while waited < 1:
        count += 1
        waited += choose.expovariate(mean)
    return count


def firings(events: Sequence[Minute], budget: Decimal, pairs: tuple[Pair, ...]) -> list[tuple[int, int]]:
    """Begin and end of each time some pair fires, in minutes; an end of `len(events)` means it still does."""
    burning = [False] * len(events)
    for pair in pairs:
        for minute in _burning(events, budget, pair):
            burning[minute] = True
    return _runs(burning)


def _burning(events: Sequence[Minute], budget: Decimal, pair: Pair) -> list[int]:
    limit = float(pair.threshold(budget))
    total = [0.0, *accumulate(count for count, _bad in events)]
    bad = [0.0, *accumulate(bad for _count, bad in events)]

    def spent(minute: int, window_s: int) -> tuple[float, float]:
        since = max(0, minute + 1 - max(1, window_s // 60))
        return total[minute + 1] - total[since], bad[minute + 1] - bad[since]

    found = []
    for minute in range(len(events)):
        long, short = spent(minute, pair.long_s), spent(minute, pair.short_s)
        # Cross-multiplied: no traffic is no ratio, and never fires.
        if long[1] >= GUARD and long[1] > limit * long[0] and short[1] > limit * short[0]:
            found.append(minute)
    return found


def _runs(flags: Sequence[bool]) -> list[tuple[int, int]]:
    edges = [at for at, (was, now) in enumerate(zip([False, *flags], [*flags, False], strict=True)) if was != now]
    return list(zip(edges[::2], edges[1::2], strict=True))


def by_chance(
    per_minute: float, bad_ratio: float, minutes: int, budget: Decimal, pairs: tuple[Pair, ...], seed: int
) -> int:
    """How often some pair begins to fire in so many minutes of random traffic without a fault.

    Only where the guard could be met are the good requests drawn too: months take milliseconds at low traffic.
    """
    choose, found = random.Random(seed), 0
    bad = list(_arriving(choose, per_minute * bad_ratio, minutes))
    for begin, end in _crowded(bad, max(pair.long_s for pair in pairs) // 60):
        known = [0] * (end - begin)
        for minute in bad:
            if begin <= minute < end:
                known[minute - begin] += 1
        found += len(firings(list(_traffic(choose, per_minute * (1 - bad_ratio), 0, known)), budget, pairs))
    return found


def _arriving(choose: random.Random, per_minute: float, minutes: int) -> Iterator[int]:
    at = choose.expovariate(per_minute) if per_minute > 0 else math.inf
    while at < minutes:
        yield int(at)
        at += choose.expovariate(per_minute)


def _crowded(bad: Sequence[int], longest: int) -> list[tuple[int, int]]:
    """Stretches in which some window may hold enough bad ones, with a whole window before and after, merged."""
    found: list[tuple[int, int]] = []
    for first, last in zip(bad, bad[MIN_BAD - 1 :], strict=False):
        if last - first <= longest:
            begin, end = first - longest, last + longest + 1
            if found and begin <= found[-1][1]:
                begin = found.pop()[0]
            found.append((begin, end))
    return found
