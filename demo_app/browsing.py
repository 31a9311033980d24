"""A round with visitors: when they have come long enough, when those who were hurt have told it, and what they saw."""

from __future__ import annotations

import time
from collections.abc import Iterator

from .alerting import wait
from .page_views import BAD, ERRORS, LCP, VIEWS, Figures
from .verdicts import Row
from .visitors import Visitors

WARM_VIEWS, WARM_MOST_S = 10, 60.0
"""Pages that are looked at before anything is broken: a browser's first ones are its slowest."""
FAULT_S = 18.0
# The endpoint counts a value 6 s after the last report of it (`SETTLE_S` of supervisor.py); the rest is its way there.
DRAIN_S, SETTLE_S = 30.0, 8.0
"""How long those who came while something was broken may still look; when their last beacon has been counted."""


def warm_up(visitors: Visitors) -> None:
    """Wait until visitors come."""
    wait(lambda: visitors.views >= WARM_VIEWS, WARM_MOST_S)


def drain(visitors: Visitors) -> None:
    """Wait until whoever came before now has gone, and what their browsers saw is counted."""
    now = time.monotonic()
    wait(lambda: not visitors.waiting(now), DRAIN_S)
    time.sleep(SETTLE_S)


def told(seen: Figures, rows: list[Row]) -> Iterator[str]:
    """What browsers saw, by route and region, errors by release, and who is to blame."""
    regions = sorted({region for (region,) in seen.by(LCP, "region")})
    yield f"  {'what browsers saw':24} {'views':>6} {'bad':>5}" + "".join(f"{f'LCP p75 {r}':>24}" for r in regions)
    for (route,), views in sorted(seen.by(VIEWS, "page_route").items()):
        bad = seen.total(BAD, page_route=route)
        largest = "".join(f"{seen.lcp(page_route=route, region=region):22.2f} s" for region in regions)
        yield f"  {route:24} {views:6.0f} {bad:5.0f}{largest}".replace("nan s", "   - s")
    for (release,), views in sorted(seen.by(VIEWS, "release").items()):
        yield f"  release {release}: {views:.0f} views, {seen.total(ERRORS, release=release):.0f} errors"
    if not rows:
        yield "  the browsers blame nobody"
        return
    whole = sum(row["count"] for row in rows) or 1.0
    yield "  who is to blame        service      via                        share  seconds  detail"
    for row in rows[:6]:
        who = f"{row['cause']:22} {row['service']:12} {row['via'] or '-':24}"
        yield f"  {who} {row['count'] / whole:6.0%} {row['excess']:8.1f}  {row['detail'][:60]}"
