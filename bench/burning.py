"""When the burn formula becomes true on what users themselves measured: the bound that a page is compared with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from demo_app.load import Sample
from firstcause_alerts import Spec
from firstcause_alerts.burn_rate import GUARD, Pair
from firstcause_alerts.model import PAGE, Latency, Slo

STEP_S = 0.5


def first_burn(spec: Spec, samples: Sequence[Sample], since: float, *, pace: float, scale: float) -> float | None:
    """Seconds after `since` (in seconds of the load) until some paging pair of some journey burns; None for never.

    Before the load began, every route had `pace` good requests per second: the past that Prometheus is given.
    """
    found = [
        burns - since
        for slo in spec.slos
        for pair in slo.pairs
        if pair.tier == PAGE and slo.role == "journey" and not slo.sampled
        for burns in _burns(slo, pair, list(_answers(slo, samples)), since, pace, scale)
    ]
    return min(found, default=None)


def _answers(slo: Slo, samples: Sequence[Sample]) -> Iterator[tuple[float, bool]]:
    """When each request of an objective was answered, and whether it was bad by it."""
    routes = {matcher.value for matcher in slo.events.of("http_route")}
    for sample in samples:
        if sample.route.partition(" ")[2] in routes:
            slow = isinstance(slo.sli, Latency) and sample.seconds > slo.sli.within_s
            # No answer at all (0) is bad for whoever waited, whatever the service made of it.
            failed = not isinstance(slo.sli, Latency) and (sample.status == 0 or sample.status >= 500)
            # Counters move when there is an answer, so no rule can know of it before.
            yield sample.due + sample.seconds, slow or failed


def _burns(
    slo: Slo, pair: Pair, answers: list[tuple[float, bool]], since: float, pace: float, scale: float
) -> Iterator[float]:
    """The first instant at which both windows are over the limit, if any."""
    limit, now, end = float(pair.threshold(slo.budget)), since, max((at for at, _bad in answers), default=since)
    while now <= end:
        windows = [_ratio(answers, now, seconds / scale, pace) for seconds in (pair.long_s, pair.short_s)]
        if all(ratio > limit for _bad, ratio in windows) and windows[0][0] >= GUARD:
            yield now
            return
        now += STEP_S


def _ratio(answers: list[tuple[float, bool]], now: float, window: float, pace: float) -> tuple[int, float]:
    """Bad ones in the window before `now`, and their share."""
    inside = [bad for at, bad in answers if now - window < at <= now]
    every = len(inside) + pace * max(0.0, window - now)
    return sum(inside), sum(inside) / every if every else 0.0
