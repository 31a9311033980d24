"""How long a second is: all windows, waits and intervals of a compilation, shrunk together by `scale`."""

from __future__ import annotations

from dataclasses import dataclass

from .durations import promql

SCRAPE_S, EVALUATE_S = 15.0, 30.0
LEAST_S = 1.0
"""Prometheus and Alertmanager are asked no faster, however small the scale."""


@dataclass(frozen=True, slots=True)
class Timing:
    """`scale` 60 makes a minute of a specification last a second; intervals are in real seconds."""

    scale: float = 1.0
    scrape_s: float = SCRAPE_S
    evaluate_s: float = EVALUATE_S

    @classmethod
    def of(cls, scale: float, scrape_s: float | None = None) -> Timing:
        """Intervals in proportion, but at least a second."""
        if not 1 <= scale <= 3600:
            raise ValueError(f"time_scale={scale:g} cannot work: use 1 to 3600")
        return cls(scale, scrape_s or max(LEAST_S, SCRAPE_S / scale), max(LEAST_S, EVALUATE_S / scale))

    def __call__(self, seconds: float) -> str:
        """A duration of the specification as Prometheus is told it."""
        return promql(seconds / self.scale)

    def least(self, seconds: float, least_s: float = LEAST_S) -> str:
        """The same, but not below what the programs can do."""
        return promql(max(least_s, seconds / self.scale))
