"""Objectives on page views: what made them bad is told by the browsers, and by the backend for the part it served.

A bad view was slow, or its script failed, or a request of it did. A slow one counts under the parts of its time, so
that all are views and sum up; the server's part is shared out over what the backend says of the same route.
"""

from __future__ import annotations

from firstcause.conventions import PAGE_CAUSES, VITALS

from .causes import BAD, BY_VERDICT, EXCESS, SOME, Rules, lately, near_s, renamed, scores, with_label
from .model import ENV, Ratio, Slo, Spec
from .selector import Matcher, Selector, quote
from .sli import quantile
from .timing import Timing

BLAME = "firstcause_page_blame_seconds_total"
LCP = "firstcause_page_lcp_region_seconds"
KEPT = ("service_name", "joined", "page_route", ENV)
"""Conditions of the indicator that its blame has too."""
VITALS_S = 3600
_BY_BACKEND = f"{ENV}, culprit_service, culprit_version, cause"


def bad(slo: Slo) -> Selector:
    """The counter of bad views."""
    if not isinstance(slo.sli, Ratio) or slo.sli.bad is None:
        raise TypeError(slo.sli)
    return slo.sli.bad


def cause_scores(slo: Slo, timing: Timing) -> Rules:
    """The rules of `causes.scores`, with the verdicts of page views."""
    blame = Selector(BLAME, tuple(m for m in bad(slo).matchers if m.label in KEPT))
    # The endpoint counts views under its own name; what was served is told by the objective's service.
    service = [Matcher("service_name", "=", slo.service), *(m for m in bad(slo).matchers if m.label == ENV)]
    excess, failed = (Selector(name, tuple(service)) for name in (EXCESS, BAD))
    own = [
        ("slo:page:bad", lately(slo, bad(slo), f"{ENV}, page_route, outcome, release", timing)),
        ("slo:page:blame", lately(slo, blame, f"{ENV}, page_route, region, part", timing)),
        ("slo:page:part", _parts(slo)),
        # Degraded requests too: within its own objective a service can still make a view slow.
        ("slo:page:served", lately(slo, excess, f"{_BY_BACKEND}, http_route", timing)),
        ("slo:page:failed", lately(slo, failed.where("outcome", "=", "error"), _BY_BACKEND, timing)),
        ("slo:verdict:now", " or ".join(f"({of(slo)})" for of in (_browser, _errors, _server, _requests))),
    ]
    return scores(slo, timing, own)


def _at(slo: Slo, record: str, **more: str) -> str:
    chosen = "".join(f",{label}={quote(value)}" for label, value in more.items())
    return f"{record}{{slo={quote(slo.name)}{chosen}}}"


def _parts(slo: Slo) -> str:
    """Slow views by the part of their time; of a route whose blame has not arrived yet, nothing."""
    slow = f"sum by ({ENV}, page_route) ({_at(slo, 'slo:page:bad', outcome='slow')})"
    blame, of_route = _at(slo, "slo:page:blame"), f"on ({ENV}, page_route) group_left ()"
    share = f"sum by ({ENV}, page_route, part) ({blame}) / {of_route} sum by ({ENV}, page_route) ({blame})"
    return f"{share} * {of_route} {slow}"


def _browser(slo: Slo) -> str:
    """What no backend could have made faster."""
    found = f"{_at(slo, 'slo:page:part')[:-1]},part=~{quote('|'.join(PAGE_CAUSES))}}}"
    for cause in dict.fromkeys(PAGE_CAUSES.values()):
        parts = "|".join(part for part, of in PAGE_CAUSES.items() if of == cause)
        found = f'label_replace({found}, "cause", "{cause}", "part", "{parts}")'
    return _said(slo, f'label_replace({found}, "via", "page.$1", "part", "(.+)")')


def _errors(slo: Slo) -> str:
    by_release = renamed(_at(slo, "slo:page:bad", outcome="error"), "culprit_version", "release")
    return _said(slo, with_label(with_label(by_release, "cause", "client.errors"), "via", "page.error"))


def _said(slo: Slo, verdict: str) -> str:
    return f"sum by ({BY_VERDICT}) ({with_label(verdict, 'culprit_service', slo.service)})"


def _server(slo: Slo) -> str:
    """The server's part of a route, shared out over the backend's excess there, as far as that weighs as much."""
    by = f"{ENV}, http_route"
    views, seconds = (
        f"sum by ({by}) ({renamed(_at(slo, record, part='server'), 'http_route', 'page_route')})"
        for record in ("slo:page:part", "slo:page:blame")
    )
    served = _at(slo, "slo:page:served")
    return _shared(served, by, views, seconds, "page.server")


def _requests(slo: Slo) -> str:
    """Views of which a request failed, shared out over what failed at the service, as far as that is as many."""
    views = f"sum by ({ENV}) ({_at(slo, 'slo:page:bad', outcome='request')})"
    return _shared(_at(slo, "slo:page:failed"), ENV, views, views, "page.request")


def _shared(said: str, by: str, views: str, weight: str, via: str) -> str:
    own = f"sum by ({by}) ({said})"
    # By the larger of both: where the backend explains a part only, the rest stays `unknown`.
    whole = f"(({own} > on ({by}) {weight}) or on ({by}) {weight})"
    found = f"sum by ({_BY_BACKEND}) ({said} * on ({by}) group_left () ({views} / on ({by}) {whole}))"
    return with_label(found, "via", via)


def evidence(slo: Slo, timing: Timing) -> Rules:
    """What a page shows beside its causes: the largest paint, and which routes."""
    # Under the label of requests, so that one annotation reads both.
    by_route = renamed(f"sum by ({ENV}, page_route) ({_at(slo, 'slo:page:bad')})", "http_route", "page_route")
    return [
        ("slo:lcp:seconds", quantile(0.75, Selector(LCP, _scope(slo)), ENV, timing(near_s(slo)))),
        ("slo:route:bad", f"sum by ({ENV}, http_route) ({by_route}) > {SOME}"),
    ]


def _scope(slo: Slo) -> tuple[Matcher, ...]:
    return tuple(m for m in bad(slo).matchers if m.label in ("service_name", "page_route"))


def region(slo: Slo, seen: str, claim: float) -> str:
    """The region that nearly all bad views come from, where there are several; seconds tell the slow ones' regions."""
    blame, found = _at(slo, "slo:page:blame"), _at(slo, "slo:page:bad")
    whole = f"on ({ENV}) group_left ()"
    slow = f"sum by ({ENV}) ({_at(slo, 'slo:page:bad', outcome='slow')}) / on ({ENV}) sum by ({ENV}) ({found})"
    # Of broken views no region is known, so the share is that of all bad ones, slow or not.
    share = f"sum by ({ENV}, region) ({blame}) / {whole} sum by ({ENV}) ({blame}) * {whole} ({slow})"
    every = Selector(LCP, _scope(slo))
    # Native histograms have no _count series, classic ones none of the bare name.
    known = f"count by ({ENV}, region) ({every} or {every.named(LCP + '_count')})"
    several = f"and on ({ENV}) (count by ({ENV}) ({known}) > 1)"
    return renamed(f"(({share}) > {claim}) {several} {seen}", "value", "region")


def vitals(spec: Spec, timing: Timing) -> list[tuple[str, str, str]]:
    """The 75th percentile of each vital over an hour: its record, expression, and what it is by beside the route."""
    if not any(slo.of_pages for slo in spec.slos):
        return []
    found = []
    for vital in (name.lower() for name in VITALS):
        unit = "" if vital == "cls" else "_seconds"
        for by, dimension in (("route", "device"), ("device", "device"), ("region", "region")):
            name = Selector(f"firstcause_page_{vital}_{dimension}{unit}")
            labels = ", ".join(dict.fromkeys((ENV, "page_route", *(() if by == "route" else (by,)))))
            # web.dev judges vitals by their 75th percentile: https://web.dev/articles/vitals
            found.append((f"page:{vital}:p75", quantile(0.75, name, labels, timing(VITALS_S)), by))
    return found


def unproven(slo: Slo) -> bool:
    """Whether it counts views that anybody can make up."""
    return slo.of_pages and any(series.accepts("joined", "false") for series in (slo.events, bad(slo)))
