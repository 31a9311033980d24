"""What a route's good requests spend, per resource.

The robust middle (median) of the faster half of good requests; a resource that a request did not
use counts as zero. The sample is a reservoir that decays with a half-life of a day, so a slow
growth is not absorbed and an incident never becomes normal.
"""

from __future__ import annotations

import heapq
import math
import random
import threading
from collections.abc import Mapping
from statistics import median_low

HALF_LIFE_S = 86_400.0
SAMPLES = 128
WARM = 20
"""Under this many samples a baseline is cold: the raw share is used and the verdict flagged."""
EVERY = 16
ROUTES = 512
"""Routes with a baseline of their own; later ones stay cold."""


class Baseline:
    """One route's reservoir; `shares` and `wall` are nanoseconds."""

    __slots__ = ("_heap", "_new", "_tie", "cutoff", "samples", "shares", "wall")

    def __init__(self) -> None:
        self.samples = 0
        self.shares: dict[str, int] = {}
        self.wall = 0
        self._heap: list[tuple[float, int, int, Mapping[str, int]]] = []
        self._new = self._tie = 0
        self.cutoff = 0.0
        """Draws below it cannot enter the full reservoir; renewed now and then, since it only sinks with time."""

    @property
    def cold(self) -> bool:
        """Whether there are too few samples to compare with."""
        return self.samples < WARM

    def add(self, wall: int, shares: Mapping[str, int], now_s: float, draw: float) -> None:
        """Offer a good request; `draw` is uniform on (0, 1).

        Forward decay (Cormode et al. 2009): priority = age weight plus Gumbel noise, keep the largest.
        """
        if draw < self.cutoff:
            self.samples += 1
            self.cutoff = self._least_draw(now_s)
            return
        priority = now_s * math.log(2) / HALF_LIFE_S - math.log(-math.log(draw))
        self.samples += 1
        self._tie += 1
        # The number breaks ties, since the mappings behind it cannot be compared.
        entry = (priority, self._tie, wall, shares)
        if len(self._heap) < SAMPLES:
            heapq.heappush(self._heap, entry)
        elif priority > self._heap[0][0]:
            heapq.heapreplace(self._heap, entry)
        else:
            return
        self._new += 1
        if self.samples == WARM or (self._new >= EVERY and not self.cold):
            self._compute()
        self.cutoff = self._least_draw(now_s)

    def _least_draw(self, now_s: float) -> float:
        """The draw whose priority now equals the least one kept: the inverse of `add`'s formula."""
        if len(self._heap) < SAMPLES:
            return 0.0
        noise = self._heap[0][0] - now_s * math.log(2) / HALF_LIFE_S
        # Beyond it the inner `exp` overflows, and the result would be 0 anyway.
        return math.exp(-math.exp(-noise)) if noise > -700 else 0.0

    def _compute(self) -> None:
        self._new = 0
        half = sorted(self._heap, key=lambda entry: entry[2])[: (len(self._heap) + 1) // 2]
        resources = {resource for entry in half for resource in entry[3]}
        self.shares = {r: median_low(entry[3].get(r, 0) for entry in half) for r in resources}
        # Not the median wall: excess is measured against these shares, so they have to add up to it.
        self.wall = sum(self.shares.values())


class Baselines:
    """All routes' baselines of this process."""

    def __init__(self) -> None:
        self._routes: dict[str, Baseline] = {}
        self._lock = threading.Lock()
        self._draw = random.Random().random

    def of(self, route: str) -> Baseline:
        """The baseline of a route; a cold, shared one beyond the bound on routes."""
        found = self._routes.get(route)
        if found is None:
            if len(self._routes) >= ROUTES:
                return _NONE
            found = self._routes.setdefault(route, Baseline())
        return found

    def learn(self, route: str, wall: int, shares: Mapping[str, int], now_s: float) -> None:
        """Offer a good request's shares to its route's baseline."""
        self.offer(self.of(route), wall, shares, now_s)

    def offer(self, baseline: Baseline, wall: int, shares: Mapping[str, int], now_s: float) -> None:
        """The same to a baseline that is at hand."""
        draw = self._draw()
        # Most requests are turned away by one comparison; a sample that two threads count as one is no loss.
        if draw < baseline.cutoff and baseline.samples % EVERY:
            baseline.samples += 1
        elif baseline is not _NONE:
            with self._lock:
                # `random()` may be exactly 0, which has no logarithm.
                baseline.add(wall, shares, now_s, draw or 0.5)


_NONE = Baseline()
