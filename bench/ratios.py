"""Paired comparison: medians over cycles with bootstrap intervals. Pure."""

from __future__ import annotations

import random
from collections.abc import Sequence
from statistics import median
from typing import NamedTuple

RESAMPLES = 2000


class Estimate(NamedTuple):
    """A median with its 95 % bootstrap interval, in the unit of the values."""

    middle: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.middle:.2f} [{self.low:.2f}..{self.high:.2f}]"


def estimate(values: Sequence[float], seed: int = 1) -> Estimate:
    """Median of paired values; the percentile bootstrap keeps pairs together because it draws cycles."""
    draw = random.Random(seed)
    medians = sorted(median(draw.choices(values, k=len(values))) for _ in range(RESAMPLES))
    return Estimate(median(values), medians[int(RESAMPLES * 0.025)], medians[int(RESAMPLES * 0.975)])


def difference(ones: Sequence[float], others: Sequence[float]) -> list[float]:
    """Cycle by cycle, one minus other."""
    return [one - other for one, other in zip(ones, others, strict=True)]


def ratio(ones: Sequence[float], others: Sequence[float]) -> list[float]:
    """Cycle by cycle, one over other."""
    return [one / other for one, other in zip(ones, others, strict=True)]


def ratio_of_medians(ones: Sequence[float], others: Sequence[float], seed: int = 1) -> Estimate:
    """Median over median, cycles drawn together: for differences, which may pass through zero."""
    draw = random.Random(seed)
    pairs = list(zip(ones, others, strict=True))
    drawn = sorted(_quotient(draw.choices(pairs, k=len(pairs))) for _ in range(RESAMPLES))
    return Estimate(_quotient(pairs), drawn[int(RESAMPLES * 0.025)], drawn[int(RESAMPLES * 0.975)])


def _quotient(pairs: Sequence[tuple[float, float]]) -> float:
    below = median(pair[1] for pair in pairs)
    # A peer that seems to cost nothing has no meaningful ratio: say infinity, which fails every limit.
    return median(pair[0] for pair in pairs) / below if below > 0 else float("inf")
