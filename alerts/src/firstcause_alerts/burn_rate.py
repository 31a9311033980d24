"""The algebra of multi-window burn rates (SRE workbook, chapter 5), for any period and target.

A burn rate of 1 spends the budget exactly in the period. A pair of windows fires while both its long and its
short window burn faster than its factor; the short one makes it stop soon after the fault does.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from .durations import window

MIN_BAD = 5
"""Bad events a long window needs: at 10 to 120 requests/h one failure would page up to 20 times in 30 days."""
GUARD = MIN_BAD - 0.5
"""As compared with: an increase is an extrapolation, and five events may read as 4.999."""
# The guideline of the workbook: https://sre.google/workbook/alerting-on-slos/
SHORT = 12
"""A short window is this part of its long one."""
DAY_S = 86_400
# The pair of a day stands in the chapter's code only, not in its tables.
_WORKBOOK = (("page", 3_600, "0.02"), ("page", 21_600, "0.05"), ("ticket", 86_400, "0.1"), ("ticket", 259_200, "0.1"))
"""Tier, long window for 30 days, and the part of the budget that is spent when it fires (tables 5-6 and 5-8)."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A long and a short window with the factor both must exceed."""

    tier: str
    """`page` or `ticket`: how urgent such a burn is for users."""
    long_s: int
    factor: Decimal

    @property
    def short_s(self) -> int:
        """Seconds of the short window."""
        return max(1, self.long_s // SHORT)

    @property
    def name(self) -> str:
        """As labels and people say it: `1h/5m`."""
        return f"{window(self.long_s)}/{window(self.short_s)}"

    def threshold(self, budget: Decimal) -> Decimal:
        """The error ratio above which both windows must be."""
        return (self.factor * budget).normalize()

    def reachable(self, budget: Decimal) -> bool:
        """Whether any outage can fire it: a ratio never exceeds 1."""
        return self.threshold(budget) < 1

    def detection_s(self, budget: Decimal, ratio: float) -> float | None:
        """Seconds from the begin of errors at this ratio, after a clean long window; None when it never fires."""
        limit = float(self.threshold(budget))
        return None if ratio <= limit else limit / ratio * self.long_s

    def reset_s(self, budget: Decimal, ratio: float) -> float | None:
        """Seconds from the end of such errors to the end of the alert."""
        limit = float(self.threshold(budget))
        return None if ratio <= limit else self.short_s * (1 - limit / ratio)

    def spent(self, period_s: float) -> float:
        """The part of the budget that is gone when it fires."""
        return float(self.factor) * self.long_s / period_s


def pairs_for(period_s: int) -> tuple[Pair, ...]:
    """The four pairs of a period: the workbook's windows from 28 to 31 days, in proportion otherwise."""
    monthly = 28 * DAY_S <= period_s <= 31 * DAY_S
    found = []
    for tier, long_s, part in _WORKBOOK:
        # A multiple of 12 s, so that the short window has whole seconds.
        ours = long_s if monthly else max(SHORT, round(long_s * period_s / (30 * DAY_S) / SHORT) * SHORT)
        found.append(Pair(tier, ours, (Decimal(part) * period_s / ours).quantize(Decimal("0.0001")).normalize()))
    return tuple(found)


def exhaustion_s(period_s: float, burn: float) -> float:
    """How long a full budget lasts at this burn rate."""
    return period_s / burn
