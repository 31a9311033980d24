"""What the SDK must know of the objectives: the latency limit of each route, and statuses below 500 that are bad.

One environment file per service, as Docker and systemd read them; the SDK then judges by the same limits as the
rules, and its histograms have an edge at each.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from .model import Latency, Ratio, Slo, Spec
from .selector import Selector

STATUS = "http_response_status_code"
# From 500 on the SDK calls every status bad by itself.
BELOW_500 = tuple(str(status) for status in range(400, 500))


def files(spec: Spec) -> dict[str, str]:
    """File name to content."""
    found = {}
    for service in sorted({name for slo in spec.slos for name in services(slo)}):
        lines = [f"{name}={value}" for name, value in variables(spec, service).items()]
        if lines:
            found[f"objectives/{service}.env"] = "\n".join([*lines, ""])
    return found


def variables(spec: Spec, service: str) -> dict[str, str]:
    """Environment variables of one service; empty when no objective says anything about its routes."""
    statuses: dict[str, list[str]] = defaultdict(list)
    for slo in spec.slos:
        for key in keys(slo.events) if service in services(slo) else ():
            statuses[key] += [status for status in bad_statuses(slo) if status not in statuses[key]]
    told = sorted(limits(spec, service).items())
    shown = {
        "FIRSTCAUSE_OBJECTIVES": ",".join(f"{key}={limit:g}s" for key, limit in told),
        "FIRSTCAUSE_BAD_STATUSES": ",".join(f"{key}={'+'.join(sorted(c))}" for key, c in sorted(statuses.items()) if c),
    }
    return {name: value for name, value in shown.items() if value}


def limits(spec: Spec, service: str) -> dict[str, float]:
    """The strictest latency limit of each of its routes, in seconds."""
    found: dict[str, float] = {}
    for slo in spec.slos:
        if isinstance(slo.sli, Latency) and service in services(slo):
            for key in keys(slo.events):
                # The SDK has one limit per route; who keeps the strictest keeps them all.
                found[key] = min(slo.sli.within_s, found.get(key, slo.sli.within_s))
    return found


def services(slo: Slo) -> list[str]:
    """The services whose requests an objective counts."""
    return named(slo.events, "service_name")


def named(events: Selector, label: str) -> list[str]:
    """The values a selector spells out for a label: equal ones, and plain alternatives."""
    from .selector import candidates

    matchers = [matcher for matcher in events.of(label) if matcher.op in ("=", "=~")]
    # Without the guesses at its end, which no selector has named.
    spelled = candidates(matchers)[: -len(candidates([]))]
    return list(dict.fromkeys(value for value in spelled if value and events.accepts(label, value)))


def keys(events: Selector) -> list[str]:
    """Keys of the SDK's settings: `METHOD /route`, `/route`, or `default` where no route is named."""
    routes = named(events, "http_route") or named(events, "messaging_destination_name")
    methods = named(events, "http_request_method")
    if not routes:
        return ["default"]
    return [f"{method} {route}" for route in routes for method in methods] if methods else routes


def bad_statuses(slo: Slo) -> Iterable[str]:
    """Statuses below 500 that the objective counts as bad."""
    match slo.sli:
        case Ratio(_, Selector() as bad, _) if bad.of(STATUS):
            return [status for status in BELOW_500 if bad.accepts(STATUS, status)]
        case Ratio(total, _, Selector() as good) if good.of(STATUS):
            return [s for s in BELOW_500 if total.accepts(STATUS, s) and not good.accepts(STATUS, s)]
    return []
