"""Prometheus rules of a specification: indicators, causes, the incident, then alerts, in this order.

Everything that pages is one group: rules of a group see what those before them recorded at the same instant, so the
first notification already holds its causes. Windows of days and tickets are a second, slower group. No rule reads
`ALERTS`: after a restart it keeps ghosts.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from . import causes, pages, sli, wording
from .burn_rate import GUARD, Pair
from .causes import far_s, latched, near_s
from .durations import window
from .model import ENV, PAGE, TICKET, Latency, Slo, Spec
from .selector import quote
from .tickets import Row, alert, table
from .timing import Timing

Rule = dict[str, Any]
SLOW_S = 120.0
"""Interval of the slow group: its shortest window has an hour."""
ABSENT_S, GONE_S = 600.0, 86_400.0
"""A missing indicator is told after ten minutes, if it was there within a day."""
CLAIM = 0.9
"""The part of the bad ones that must come from one version or instance to say so."""
# With it, and the look back in `_concentration`, no onset of 21 led to a false claim.
CLAIM_LEAST = 10
INSTANCES = 3


def groups(spec: Spec, timing: Timing, rows: tuple[Row, ...] | None = None) -> dict[str, Any]:
    """The content of a rule file."""
    fast = [_record(name, expression) for name, expression in causes.shared(timing)]
    for part in (_indicators, _causes, _incident, _alerts):
        fast += [rule for slo in spec.slos for rule in part(slo, spec, timing)]
    slow = [rule for slo in spec.slos for rule in _slow(slo, spec, timing)]
    slow += [_record(name, expression, by=by) for name, expression, by in pages.vitals(spec, timing)]
    tickets = [alert(row, spec, timing) for row in (table() if rows is None else rows)]
    return {
        "groups": [
            {"name": "firstcause-pages", "interval": timing.least(timing.evaluate_s * timing.scale), "rules": fast},
            {"name": "firstcause-tickets", "interval": timing.least(SLOW_S), "rules": [*slow, *tickets]},
        ]
    }


def _record(name: str, expression: str, **labels: str) -> Rule:
    rule: Rule = {"record": name, "expr": expression}
    return {**rule, "labels": labels} if labels else rule


def _at(slo: Slo, record: str, seconds: int | None = None) -> str:
    of_window = "" if seconds is None else f",window={quote(window(seconds))}"
    return f"{record}{{slo={quote(slo.name)}{of_window}}}"


def paging(slo: Slo) -> tuple[Pair, ...]:
    """The pairs that are urgent."""
    return tuple(pair for pair in slo.pairs if pair.tier == PAGE)


def fast_windows(slo: Slo) -> list[int]:
    """Windows of the first group, shortest first."""
    found = {near_s(slo), far_s(slo)}
    for pair in paging(slo):
        found |= {pair.long_s, pair.short_s}
    return sorted(found)


# -- the first group ----------------------------------------------------------------------------------


def _indicators(slo: Slo, _spec: Spec, timing: Timing) -> Iterator[Rule]:
    sample = sli.sampled(slo, timing)
    if sample:
        yield _record("slo:sample:bad", sample, slo=slo.name)
    for seconds in fast_windows(slo):
        yield from _ratio(slo, seconds, timing)
    for pair in paging(slo):
        yield _pair(slo, pair)
    quickest = paging(slo)[0].long_s
    yield _record("slo:burn:rate", f"{_at(slo, 'slo:error:ratio', quickest)} / {slo.budget:f}", slo=slo.name)


def _ratio(slo: Slo, seconds: int, timing: Timing) -> Iterator[Rule]:
    labels = {"slo": slo.name, "window": window(seconds)}
    all_of, bad = (_at(slo, f"slo:{what}:increase", seconds) for what in ("total", "bad"))
    yield _record("slo:total:increase", sli.total(slo, timing(seconds)), **labels)
    yield _record("slo:bad:increase", sli.bad(slo, timing(seconds), all_of), **labels)
    # Without traffic there is no ratio, rather than 0 or NaN.
    yield _record("slo:error:ratio", f"{bad} / on ({ENV}) ({all_of} > 0)", **labels)


def _pair(slo: Slo, pair: Pair) -> Rule:
    limit = f"{pair.threshold(slo.budget):f}"
    long, short = (_at(slo, "slo:error:ratio", s) for s in (pair.long_s, pair.short_s))
    guard = f"{_at(slo, 'slo:bad:increase', pair.long_s)} >= {GUARD}"
    # Counted in the long window: at ten requests an hour, five minutes never hold five failures.
    expression = (
        f"sum by ({ENV}) ({long} > {limit} and on ({ENV}) {short} > {limit} and on ({ENV}) {guard}) / {slo.budget:f}"
    )
    return _record("slo:pair", expression, slo=slo.name, pair=pair.name, tier=pair.tier)


def _causes(slo: Slo, _spec: Spec, timing: Timing) -> Iterator[Rule]:
    near = timing(near_s(slo))
    for name, expression in (pages.cause_scores if slo.of_pages else causes.scores)(slo, timing):
        yield _record(name, expression, slo=slo.name)
    for name, expression in pages.evidence(slo, timing) if slo.of_pages else ():
        yield _record(name, expression, slo=slo.name)
    if p99 := sli.p99(slo, near):
        yield _record("slo:p99:seconds", p99, slo=slo.name)
    by_route = sli.bad_by(slo, near, "http_route")
    if by_route and slo.events.name.startswith("http_server_"):
        yield _record("slo:route:bad", f"({by_route}) > {causes.SOME}", slo=slo.name)
    yield from _concentration(slo, timing)


def _concentration(slo: Slo, timing: Timing) -> Iterator[Rule]:
    """Said of at least ten bad ones, seen one scrape ago too: at onset, staggered scrapes show one instance first."""
    now = _at(slo, "slo:bad:now")
    # Two, so that a whole scrape lies between; scrapes are in real seconds, which `timing` would shrink.
    before = timing(2 * timing.scrape_s * timing.scale)
    seen = f"and on ({ENV}) ({now} >= {CLAIM_LEAST}) and on ({ENV}) ({now} offset {before})"
    if slo.of_pages:
        yield _record("slo:concentration", pages.region(slo, seen, CLAIM), slo=slo.name, part="region")
        return
    verdict = _at(slo, "slo:verdict:now")
    by, all_of = f"{ENV}, culprit_service", "culprit_version"
    known = _copied("firstcause_deploy_time_seconds", culprit_service="service_name", culprit_version="service_version")
    share = f"sum by ({by}, {all_of}) ({verdict}) / on ({by}) group_left () sum by ({by}) ({verdict})"
    # Where one version runs, all bad ones come from it, which is no evidence.
    several = f"and on ({by}) (count by ({by}) (count by ({by}, {all_of}) ({known})) > 1)"
    yield _record(
        "slo:concentration",
        _copied(f"(({share}) > {CLAIM}) {several} {seen}", value=all_of),
        slo=slo.name,
        part="version",
    )
    by_instance = sli.bad_by(slo, timing(near_s(slo)), "service_instance_id")
    if by_instance:
        share = f"({by_instance}) / on ({ENV}) group_left () sum by ({ENV}) ({by_instance})"
        several = f"and on ({ENV}) (count by ({ENV}) ({by_instance}) >= {INSTANCES})"
        expression = _copied(f"(({share}) > {CLAIM}) {several} {seen}", value="service_instance_id")
        yield _record("slo:concentration", expression, slo=slo.name, part="instance")


def _copied(expression: str, **labels: str) -> str:
    for to, source in labels.items():
        expression = f'label_replace({expression}, "{to}", "$1", "{source}", "(.+)")'
    return expression


def _incident(slo: Slo, _spec: Spec, timing: Timing) -> Iterator[Rule]:
    yield _record("slo:incident", causes.incident(slo, timing), slo=slo.name)
    yield _paging(slo, timing)


def _paging(slo: Slo, timing: Timing) -> Rule:
    """1 while it pages, 0 while it does not, nothing where nothing was measured for the length of a long window."""
    pair, fast = _at(slo, "slo:pair")[:-1], paging(slo)[0]
    # The fastest pair ends within minutes: near its limit it would page, end and page again.
    kept = f"max_over_time({pair},pair={quote(fast.name)}}}[{timing(fast.short_s)}])"
    burning = f"max by ({ENV}) ({pair},tier={quote(PAGE)}}} or {kept}) > bool 0"
    counts = (_at(slo, f"slo:{what}:increase", s) for s in fast_windows(slo) for what in ("total", "bad"))
    windows = f" and on ({ENV}) ".join(counts)
    known = f"count by ({ENV}) (last_over_time({slo.events.over(timing(paging(slo)[0].long_s))}))"
    # While the indicator itself is missing, a page stays as it was: lost telemetry is no recovery.
    held = f"{_at(slo, 'slo:paging')} unless on ({ENV}) ({windows}) and on ({ENV}) {known}"
    return _record("slo:paging", f"({burning}) or on ({ENV}) ({held}) or on ({ENV}) ({known} * 0)", slo=slo.name)


def _alerts(slo: Slo, spec: Spec, _timing: Timing) -> Iterator[Rule]:
    named = f"* on ({ENV}) group_left (incident) ({latched(slo)} * 0 + 1)"
    pages = f"({_at(slo, 'slo:paging')} == 1)"
    budget = f"{slo.budget:f}"
    near = near_s(slo)
    better = (
        f"({pages} and on ({ENV}) ({_at(slo, 'slo:error:ratio', near)} <= {budget})"
        f" and on ({ENV}) ({_at(slo, 'slo:total:increase', near)} > 0))"
    )
    labels = labelled(slo, PAGE if spec.pages(slo) else TICKET)
    # An alert of its own, since Alertmanager notifies of no changed annotation.
    for name, expression in (("SLOBurn", pages), ("SLORecovering", better)):
        texts = wording.of_slo(slo, spec, recovering=name == "SLORecovering")
        # No `for`: any evaluation within the limit would start the wait anew (workbook, chapter 5).
        yield {"alert": name, "expr": f"{expression} {named}", "labels": labels, "annotations": texts}


def labelled(slo: Slo, severity: str, **more: str) -> dict[str, str]:
    """Labels every alert of an objective has, none of them ever empty."""
    return {
        "severity": severity, "slo": slo.name, "service": slo.service, "owner": slo.owner, "role": slo.role,
        "environment": wording.environment(), **more,
    }  # fmt: skip


# -- the second group ---------------------------------------------------------------------------------


def _slow(slo: Slo, spec: Spec, timing: Timing) -> Iterator[Rule]:
    slow = tuple(pair for pair in slo.pairs if pair.tier == TICKET)
    # The period too from counters: an average of short ratios weighs a quiet night like a busy day (sloth#332).
    windows = {s for pair in slow for s in (pair.long_s, pair.short_s)} | {slo.period_s}
    # Those of the first group are recorded there; a second rule would write to the same series.
    for seconds in sorted(windows - set(fast_windows(slo))):
        yield from _ratio(slo, seconds, timing)
    yield _record("slo:budget:left", _left(slo), slo=slo.name)
    yield _record(
        "slo:objective", f"vector({slo.target:f})", slo=slo.name, service=slo.service, owner=slo.owner, role=slo.role
    )
    for pair in slow:
        yield _pair(slo, pair)
    if slow:
        expression = f"max by ({ENV}) ({_at(slo, 'slo:pair')[:-1]},tier={quote(TICKET)}}}) > 0"
        labels = labelled(slo, TICKET, incident=slo.service)
        yield {
            "alert": "SLOSlowBurn",
            "expr": expression,
            "labels": labels,
            "annotations": wording.ticket(slo, spec, slow),
        }
    yield _absence(slo, spec, timing)


def _left(slo: Slo) -> str:
    """The part of the budget that is left; all of it where nothing was asked for."""
    ratio, all_of = (_at(slo, record, slo.period_s) for record in ("slo:error:ratio", "slo:total:increase"))
    return f"(1 - {ratio} / {slo.budget:f}) or on ({ENV}) (({all_of} == 0) + 1)"


def _absence(slo: Slo, spec: Spec, timing: Timing) -> Rule:
    """One alert for all series an objective lives from: any that is missing, or says NaN, leaves it blind."""
    parts = []
    for series in slo.selectors:
        # absent() has no form by label (prometheus#8943), so each environment is compared with its last day.
        known = f"last_over_time({series.over(timing(GONE_S))})"
        parts.append(f"(count by ({ENV}) ({known}) unless on ({ENV}) count by ({ENV}) ({series}))")
        parts.append(f"sum by ({ENV}) (absent({known}))")
        if not (isinstance(slo.sli, Latency) and slo.sli.native):
            # Only NaN differs from itself.
            parts.append(f"count by ({ENV}) ({series} != {series})")
    title = wording.of_slo(slo, spec)["title"].partition(":")[0]
    return {
        "alert": "SLIAbsent",
        "expr": f" or on ({ENV}) ".join(parts),
        "for": timing.least(ABSENT_S),
        "labels": labelled(slo, TICKET, incident=slo.service),
        "annotations": {
            "title": f"{title}: nothing measures it",
            "summary": (
                f"Series that the objective {slo.name} of {slo.service} lives from are missing or NaN, so it cannot "
                "page. Is the service scraped, were routes renamed, do bucket edges include the objective?"
            ),
            "runbook": f"{wording.runbooks(spec, slo.service)}/SLIAbsent.md",
        },
    }
