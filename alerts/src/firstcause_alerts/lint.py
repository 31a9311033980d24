"""What can be read and still cannot work: all of it at once, with line and fix."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from firstcause.conventions import BY_NAME, HISTOGRAM, prometheus_name

from . import alertmanager, objectives, pages
from .causes import near_s
from .durations import words
from .model import HEARTBEAT, PAGE, TICKET, Latency, Ratio, Slo, Spec
from .problems import Problem
from .selector import Selector
from .tickets import NOBODY
from .timing import Timing

FIXED_EDGES = {prometheus_name(i): i.buckets for i in BY_NAME.values() if i.kind == HISTOGRAM}
OWN_EDGES = {prometheus_name(BY_NAME[n]) for n in ("http.server.request.duration", "firstcause.message.duration")}
"""Histograms that also get an edge at each limit of the file this compiler makes for a service."""
STATUS_LABELS = (objectives.STATUS, "http_status_code", "status_code", "status", "code", "response_code")
STATUSES_5XX = tuple(str(status) for status in range(500, 600))
Finding = tuple[str, str]


def problems(spec: Spec, timing: Timing, *, partial: bool = False) -> list[Problem]:
    """Everything that cannot work; of a `partial` specification, what does not depend on the missing rest."""
    found = [
        Problem(spec.file, slo.line, f"SLO {slo.name}: {message}", fix)
        for slo in spec.slos
        for check in (CHECKS if partial else (*CHECKS, *WHOLE_CHECKS))
        for message, fix in check(slo, spec, timing)
    ]
    return sorted({*found, *(() if partial else _targets(spec))})


def _unreachable(slo: Slo, _spec: Spec, _timing: Timing) -> Iterator[Finding]:
    for pair in slo.pairs:
        # At 90 % a total outage burns 10 times: the pair of 14.4 would promise a page that never comes.
        if not pair.reachable(slo.budget):
            limit = pair.threshold(slo.budget)
            least = 1 - 1 / pair.factor
            yield (
                f"{pair.name} can never fire: {pair.factor} × {slo.budget} = {limit} is no possible error ratio",
                f"use a target above {least:.4f}, or an AlertCondition with a lower threshold",
            )


def _never_pages(slo: Slo, _spec: Spec, _timing: Timing) -> Iterator[Finding]:
    if not any(pair.tier == PAGE for pair in slo.pairs):
        yield "no condition has severity: page", "add one, or remove alertPolicies for the four usual pairs"
    # Two of one name would record the same `slo:pair` series, which holds one value at a time.
    names = [(pair.tier, pair.name) for pair in slo.pairs]
    for tier, name in sorted({pair for pair in names if names.count(pair) > 1}):
        yield f"two conditions of severity {tier} look back {name.partition('/')[0]}", "remove one"


def _scrape(slo: Slo, _spec: Spec, timing: Timing) -> Iterator[Finding]:
    for pair in slo.pairs:
        short_s = pair.short_s / timing.scale
        # A rate needs two samples: a window of 5 s had one in 40 of 60 evaluations at 3 s, in all at 2.5 s.
        if timing.scrape_s > short_s / 2:
            fix = f"scrape every {words(short_s / 2)} or oftener, lower time_scale, or use a longer period"
            yield f"a scrape every {words(timing.scrape_s)} leaves {pair.name} without a rate ({words(short_s)})", fix


def _success(slo: Slo, _spec: Spec, _timing: Timing) -> Iterator[Finding]:
    match slo.sli:
        case Ratio(total, _, Selector() as good):
            for label in _statuses(good):
                # As in good: status!~"4..", which looks right and counts every 500 as a success.
                if any(good.accepts(label, status) and total.accepts(label, status) for status in STATUSES_5XX):
                    yield "good events include answers of 5xx", f'add {label}!~"5.." to good'
        case Ratio(total, Selector() as bad, _) if str(total) == str(bad):
            yield "bad and total count the same", f'add {objectives.STATUS}=~"5.." to bad'
        case Ratio(_, Selector() as bad, _):
            for label in STATUS_LABELS:
                if bad.of(label) and bad.accepts(label, "200"):
                    yield "bad events include answers of 200", f'write {label}=~"5.." in bad'


def _statuses(selector: Selector) -> list[str]:
    """The labels that hold a status: of our own servers always, of others where one is asked for."""
    ours = [objectives.STATUS] if selector.name.startswith("http_server_") else []
    return ours or [label for label in STATUS_LABELS if selector.of(label)]


def _edge(slo: Slo, spec: Spec, _timing: Timing) -> Iterator[Finding]:
    match slo.sli:
        case Latency(_, within_s) if not 0.001 <= within_s <= 3600:
            yield f"the objective is {within_s:g} s", "use seconds between 0.001 and 3600"
        case Latency(histogram, within_s, False):
            edges = {*FIXED_EDGES.get(histogram.name, ()), *_own_edges(histogram, slo, spec)}
            # Rules read the one bucket and never interpolate: without that edge the objective is blind.
            if edges and within_s not in edges:
                near = ", ".join(f"{edge:g}" for edge in sorted(edges, key=lambda e: abs(e - within_s))[:2])
                yield f"{within_s:g} s is no bucket edge of {histogram.name}", f"use {near}, or histogram: native"


def _own_edges(histogram: Selector, slo: Slo, spec: Spec) -> set[float]:
    """The edges that every service of the objective gets from the file made for it: one limit per route."""
    if histogram.name not in OWN_EDGES:
        return set()
    told = [set(objectives.limits(spec, service).values()) for service in objectives.services(slo)]
    return set.intersection(*told) if told else set()


def _told(slo: Slo, _spec: Spec, _timing: Timing) -> Iterator[Finding]:
    for key in objectives.keys(slo.events):
        # The file made for the SDK joins limits by commas, one variable a line.
        if re.search(r"[,\x00-\x1f]", key):
            yield f"the route {key[:80]!r} cannot be told to the SDK", "use a route without commas and line breaks"


def _labels(slo: Slo, _spec: Spec, _timing: Timing) -> Iterator[Finding]:
    for series in dict.fromkeys((*slo.selectors, *_bad(slo))):
        if not slo.sampled and not series.of("service_name"):
            yield f"{series} names no service", f'add service_name="{slo.service}", by which verdicts are found'
        if series.example() is None:
            yield f"no series can be imagined that {series} selects", "use equal signs or plain alternatives"


def _unproven(slo: Slo, spec: Spec, _timing: Timing) -> Iterator[Finding]:
    if pages.unproven(slo) and spec.pages(slo):
        yield "page views that anybody can make up would page", 'add joined="true" to bad and total, or role: internal'


def _services(slo: Slo, spec: Spec, _timing: Timing) -> Iterator[Finding]:
    if spec.services and slo.service not in spec.services:
        yield f"there is no Service {slo.service}", "add it, or mend the name"
    for covered in slo.covers:
        if spec.services and covered not in spec.services:
            yield f"covers names {covered}, which is no Service", "add it, or mend the name"


def _bad(slo: Slo) -> tuple[Selector, ...]:
    return (slo.sli.bad,) if isinstance(slo.sli, Ratio) and slo.sli.bad else ()


def _maintenance(slo: Slo, _spec: Spec, _timing: Timing) -> Iterator[Finding]:
    for text in slo.maintenance:
        try:
            alertmanager.window(text)
        except ValueError as error:
            yield f"maintenance {text[:60]!r} cannot be read ({error})", "write sunday 02:00-04:00 Europe/Berlin"


def _causes_window(slo: Slo, _spec: Spec, timing: Timing) -> Iterator[Finding]:
    if any(pair.tier == PAGE for pair in slo.pairs) and near_s(slo) / timing.scale < 1:
        yield f"time_scale {timing.scale:g} leaves less than a second of its short window", "lower it"


def _reached(slo: Slo, spec: Spec, _timing: Timing) -> Iterator[Finding]:
    severity = PAGE if spec.pages(slo) else TICKET
    named = [target for target in spec.targets if target.name in slo.targets]
    for target in named:
        if target.labels.get("owner", slo.owner) != slo.owner:
            yield (
                f"{target.name} takes alerts of owner {target.labels['owner']} only",
                "change its label, or the target",
            )
    # Tickets in any case: `SLIAbsent` is one.
    for wanted in dict.fromkeys((severity, TICKET)):
        if spec.targets and not any(_takes(target.labels, wanted, slo.owner) for target in spec.targets):
            yield (
                f"nobody gets its {wanted}s",
                f"add an AlertNotificationTarget with the label severity: {wanted} and no other owner",
            )


def _takes(labels: object, severity: str, owner: str) -> bool:
    given = dict(labels) if isinstance(labels, dict) else {}
    # A target of one environment is told of no other, and which one an alert has is known at run time only.
    return given.get("severity") == severity and given.get("owner", owner) == owner and "environment" not in given


def _targets(spec: Spec) -> Iterator[Problem]:
    if not spec.targets:
        yield Problem(spec.file, 1, "nobody is notified", "add an AlertNotificationTarget with severity: page")
        return
    # What is about no objective has no owner either, and would fit no target that has one.
    for severity, message, where in (
        (HEARTBEAT, "nobody notices when alerting itself dies", ", outside this system"),
        (TICKET, "nobody gets the tickets that are about no objective", ""),
    ):
        if not any(_takes(target.labels, severity, NOBODY) for target in spec.targets):
            fix = f"add an AlertNotificationTarget with severity: {severity}, without owner and environment{where}"
            yield Problem(spec.file, 1, message, fix)


CHECKS: tuple[Callable[[Slo, Spec, Timing], Iterator[Finding]], ...] = (
    _unreachable, _never_pages, _scrape, _success, _edge, _told, _labels, _maintenance, _causes_window,
)  # fmt: skip
WHOLE_CHECKS = (_services, _reached, _unproven)
