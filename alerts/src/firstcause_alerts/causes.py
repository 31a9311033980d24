"""Cause scores: which service and cause carries which share of an objective's bad requests or excess seconds.

Only verdicts of requests decide; saturation, versions and the like are evidence beside them. All rules are made per
objective: a generic hop would match many to many.
"""

from __future__ import annotations

from collections.abc import Sequence

from .durations import window
from .model import ENV, Latency, Slo
from .selector import Matcher, Selector, quote
from .timing import Timing

BAD, EXCESS = "firstcause_request_bad_total", "firstcause_request_excess_seconds_total"
BY_CAUSE = f"{ENV}, culprit_service, cause"
BY_VERDICT = f"{ENV}, culprit_service, culprit_version, cause, via"
NEAR_S, KNOWN_S = 300, 3600
"""Services' own verdicts are taken over five minutes; a counter not seen in the hour before is newly born."""
Rules = Sequence[tuple[str, str]]
"""Names of recording rules and their expressions, in order."""
SOME = 0.5
"""Bad events that count as some; increases are extrapolated, differences of them are not quite zero."""
# Two backslashes: PromQL's own string takes one of them away.
_DEPENDENCY = r'cause=~"dependency\\..+"'
_OTHER_CAUSE = r'cause!~"dependency\\..+"'


def near_s(slo: Slo) -> int:
    """The window causes are taken from: the shortest that pages."""
    return min(pair.short_s for pair in slo.pairs if pair.tier == "page")


def far_s(slo: Slo) -> int:
    """Where the near window has nothing bad any more."""
    # In a month 30 min for 5, the short windows of both paging pairs: a page that goes on still has causes.
    return 6 * near_s(slo)


def born(counter: Selector, within: str, timing: Timing) -> str:
    """The increase of a counter whose first value counts, since verdict series are born with their first verdict.

    Not for indicators: after a gap longer than an hour it counts lifetimes.
    """
    new = f"unless last_over_time({counter.over(timing(KNOWN_S))} offset {within})"
    increase = f"increase({counter.over(within)})"
    # The least value stands in for the first, for which PromQL of 2.42 has no function.
    # An increase needs two samples; a series born with the latest scrape has one, hence the last part.
    return (
        f"(({increase} + (min_over_time({counter.over(within)}) {new})) or {increase}"
        f" or (last_over_time({counter.over(within)}) {new}))"
    )


def verdicts(slo: Slo) -> Selector:
    """The verdict counter of an objective's requests: counts for availability, seconds for latency, never mixed."""
    # Of a consumed message, verdicts call the destination its route.
    routes = {"service_name": "service_name", "http_route": "http_route", ENV: ENV,
              "messaging_destination_name": "http_route"}  # fmt: skip
    of = [Matcher(routes[m.label], m.op, m.value) for m in slo.events.matchers if m.label in routes]
    # A gauge may name no service, and without one every service's verdicts would be its causes.
    if slo.sampled and not any(m.label == "service_name" for m in of):
        of.append(Matcher("service_name", "=", slo.service))
    if isinstance(slo.sli, Latency):
        # A request that timed out is an error, and its seconds were waited all the same.
        return Selector(EXCESS, tuple(of)).where("outcome", "=~", "slow|error")
    return Selector(BAD, tuple(of)).where("outcome", "=~", "slow|error" if slo.sampled else "error")


def shared(timing: Timing) -> list[tuple[str, str]]:
    """Rules for all objectives: each service's own verdicts, degraded ones included, and how much they cover.

    A caller that gave up first can only say `dependency.slow`; what its peer says of itself meanwhile stands in for
    that, as far as it weighs as much. A stopped peer says nothing, so it stays the cause.
    """
    recent = timing(NEAR_S)
    per = f"{ENV}, service_name, culprit_service, cause"
    seconds, count = "service:verdict:seconds", "service:verdict:count"
    weight = "service:verdict:weight"
    blamed = renamed(f"sum by ({ENV}, culprit_service) ({weight}{{{_DEPENDENCY}}})", "service_name", "culprit_service")
    own = f"sum by ({ENV}, service_name) ({weight})"
    return [
        (seconds, f"sum by ({per}) ({born(Selector(EXCESS), recent, timing)})"),
        (count, f"sum by ({per}) ({born(Selector(BAD), recent, timing)})"),
        # A failed request weighs a second, so that a peer that fails fast has a weight too.
        (weight, f"(({seconds} + {count}) or {seconds} or {count}) > 0"),
        ("service:verdict:share", f"{weight} / on ({ENV}, service_name) group_left () {own}"),
        (
            "service:verdict:cover",
            f"clamp_max({own} / on ({ENV}, service_name) sum by ({ENV}, service_name) ({blamed}), 1)",
        ),
    ]


def scores(slo: Slo, timing: Timing, verdict_rules: Rules = ()) -> Rules:
    """Rules of one objective, in order: its verdicts now, shares, three hops downstream, and the score.

    `verdict_rules` end with the rule of `slo:verdict:now` where it is more than a counter of requests.
    """
    name = f"slo={quote(slo.name)}"
    near, far = (_bad(slo, seconds) for seconds in (near_s(slo), far_s(slo)))
    verdict, now = f"slo:verdict:now{{{name}}}", f"slo:bad:now{{{name}}}"
    # PromQL has no recursion: each hop is a rule, and three are written out.
    hops = [("cause:hop1", "cause:hop0"), ("cause:hop2", "cause:hop1"), ("cause:score", "cause:hop2")]
    return [
        # Without the window's name: a series that changed its labels would be two after a restart.
        ("slo:bad:now", f"sum by ({ENV}) (({near} > {SOME}) or on ({ENV}) ({far} > {SOME}))"),
        *(verdict_rules or [("slo:verdict:now", lately(slo, verdicts(slo), BY_VERDICT, timing))]),
        ("cause:via", _via(verdict)),
        ("cause:hop0", _first(slo, verdict, now)),
        *((record, _hop(f"{before}{{{name}", slo)) for record, before in hops),
    ]


def _bad(slo: Slo, seconds: int) -> str:
    return f"slo:bad:increase{{slo={quote(slo.name)},window={quote(window(seconds))}}}"


def lately(slo: Slo, counter: Selector, by: str, timing: Timing) -> str:
    """A counter's increase while something was bad: in the near window, else in the far one."""
    near, now = _bad(slo, near_s(slo)), f"slo:bad:now{{slo={quote(slo.name)}}}"
    by_near, by_far = (born(counter, timing(s), timing) for s in (near_s(slo), far_s(slo)))
    # Only while the indicator is bad: after a gap `born` counts lifetimes, not what happened just now.
    first = f"sum by ({by}) ({by_near}) > 0 and on ({ENV}) ({near} > {SOME})"
    later = f"sum by ({by}) ({by_far}) > 0 and on ({ENV}) {now} unless on ({ENV}) ({near} > {SOME})"
    return f"({first}) or ({later})"


def _via(verdict: str) -> str:
    through = f'sum by ({BY_CAUSE}, via) ({verdict[:-1]},via!=""}})'
    return f"{through} / on ({BY_CAUSE}) group_left () sum by ({BY_CAUSE}) ({verdict})"


def _first(slo: Slo, verdict: str, now: str) -> str:
    """Shares of the bad ones; what no verdict explains is `unknown` at the service itself, so that they sum to 1."""
    said = f"sum by ({ENV}) ({verdict})"
    # Only counts are comparable with the indicator; of seconds the verdicts are all there is.
    whole = (
        said if isinstance(slo.sli, Latency) or slo.sampled else f"(({said} > on ({ENV}) {now}) or on ({ENV}) {now})"
    )
    # Fully attributed ones came out as 1.0000000000000002, hence the clamp and the 1e-9.
    share = f"clamp_max(sum by ({BY_CAUSE}) ({verdict}) / on ({ENV}) group_left () {whole}, 1)"
    rest = f"((1 - {said} / on ({ENV}) {whole}) > 1e-9) or on ({ENV}) (({now} > bool 0) unless on ({ENV}) {said})"
    # `or` drops what has the labels of its left side: a verdict `unknown` would swallow the rest without `part`.
    named = with_label(
        with_label(with_label(f"sum by ({ENV}) ({rest})", "cause", "unknown"), "culprit_service", slo.service),
        "part",
        "rest",
    )
    return f"sum by ({BY_CAUSE}) ({share} or {named})"


def _hop(before: str, slo: Slo) -> str:
    """Shares of `dependency.*` replaced by what the service itself says, as far as that covers them."""
    dependency = f"{before},{_DEPENDENCY}}}"
    cover = renamed("service:verdict:cover", "culprit_service", "service_name")
    cover = f"sum by ({ENV}, culprit_service) ({cover})"
    moved = f"sum by ({ENV}, culprit_service) ({dependency}) * on ({ENV}, culprit_service) {cover}"
    moved = f"sum by ({ENV}, service_name) ({renamed(moved, 'service_name', 'culprit_service')})"
    down = f"sum by ({BY_CAUSE}) (service:verdict:share * on ({ENV}, service_name) group_left () {moved})"
    rest = f"{dependency} * on ({ENV}, culprit_service) group_left () (1 - {cover})"
    alone = f"{dependency} unless on ({ENV}, culprit_service) {cover}"
    parts = (with_label(rest, "part", "rest"), with_label(alone, "part", "alone"), with_label(down, "part", "down"))
    return f"sum by ({BY_CAUSE}) ({before},{_OTHER_CAUSE}}} or {' or '.join(parts)}) > 0"


def incident(slo: Slo, timing: Timing) -> str:
    """The service an incident is named after: kept while the objective pages, so that one page stays one.

    Else an incident that pages already and has a part in ours; else our top culprit; else our own service.
    """
    name = f"slo={quote(slo.name)}"
    # For five minutes after a page ends too, so that one that comes right back has the same name.
    kept = f"{latched(slo)} and on ({ENV}) (max_over_time(slo:paging{{{name}}}[{timing(NEAR_S)}]) > 0)"
    culprits = f"sum by ({ENV}, culprit_service) (cause:score{{{name}}})"
    open_now = "(slo:incident and on (slo, " + ENV + ") (slo:paging > 0))"
    joined = f"({culprits} >= {ADOPTED}) and on ({ENV}, culprit_service) " + renamed(
        open_now, "culprit_service", "incident"
    )
    named = (_incident(f"topk by ({ENV}) (1, {part})", slo.service) for part in (joined, culprits))
    # Without any verdict there is still an incident, by which Alertmanager groups.
    own = with_label(
        f"sum by ({ENV}) (slo:total:increase{{{name},window={quote(window(near_s(slo)))}}})", "incident", slo.service
    )
    return f" or on ({ENV}) ".join(f"(({part}) * 0 + 1)" for part in (kept, *named, own))


ADOPTED = 0.2
"""The share another incident's service must have in our bad requests for us to join its page."""
_SANE = "([A-Za-z0-9_.:/@-]{1,64})"
"""What an incident may be called; anything else is named after the objective's own service."""


def latched(slo: Slo) -> str:
    """The newest incident of an objective. After a restart two are alive for a while, and joins would fail."""
    # last_over_time would give both names, and the alert's join would fail without a word.
    return f"topk by ({ENV}) (1, timestamp(slo:incident{{slo={quote(slo.name)}}}))"


def _incident(culprits: str, otherwise: str) -> str:
    named = with_label(culprits, "incident", otherwise)
    return f'sum by ({ENV}, incident) (label_replace({named}, "incident", "$1", "culprit_service", {quote(_SANE)}))'


def renamed(expression: str, to: str, source: str) -> str:
    """The expression with a label copied to another."""
    return f'label_replace({expression}, "{to}", "$1", "{source}", "(.*)")'


def with_label(expression: str, label: str, value: str) -> str:
    """The expression with a label set."""
    # label_replace expands a $ in its replacement.
    return f'label_replace({expression}, "{label}", {quote(value.replace("$", "$$"))}, "", "")'
