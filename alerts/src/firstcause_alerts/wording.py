"""What a notification says: Prometheus templates that query the rules evaluated just before them.

Label values come from services and, through routes and exception texts, from strangers. Each is reduced to plain
characters and cut before it is joined with our words; Prometheus cannot cut a composed text.
"""

from __future__ import annotations

import re
from urllib.parse import quote as url_quote

from .burn_rate import Pair
from .causes import near_s
from .durations import window, words
from .model import ENV, Latency, Level, Pattern, Slo, Spec
from .objectives import named
from .selector import quote

PLAIN = "[^A-Za-z0-9_./:@ ,()=?+-]+"
"""What is replaced: quotes, markup, template syntax, newlines, controls."""
PLAIN_ROUTE = "[^A-Za-z0-9_./:@{}-]+"
RECENT_S = 3600
"""A start so long ago is worth a line."""
DOMINANT = 50
"""Per cent that the top cause needs to be called one."""
_START = f"{{{{ $env := $labels.{ENV} }}}}"


def plain(value: str, most: int) -> str:
    """A template pipeline's value, defused and cut."""
    return f'{{{{ {value} | reReplaceAll "{PLAIN}" "_" | printf "%.{most}s" }}}}'


def environment() -> str:
    """The label all grouping uses: never empty, since missing labels would match each other."""
    shown = f'reReplaceAll "{PLAIN}" "_" $labels.{ENV} | printf "%.64s"'
    return f"{{{{ if $labels.{ENV} }}}}{{{{ {shown} }}}}{{{{ else }}}}none{{{{ end }}}}"


def query(expression: str, *values: str) -> str:
    """A `query` whose `%q` are filled with label values, quoted as PromQL wants them."""
    return f"query (printf {_go(expression)} {' '.join(values)})" if values else f"query {_go(expression)}"


def _go(text: str) -> str:
    # Go's raw string needs no escapes for PromQL's quotes, and has none for its own.
    return "`" + text.replace("`", "'") + "`"


def _of(slo: Slo, record: str, more: str = "") -> str:
    name = quote(slo.name).replace("%", "%%")
    return f"{record}{{slo={name},{ENV}=%q{more}}}"


def of_slo(slo: Slo, spec: Spec, *, recovering: bool = False) -> dict[str, str]:
    """All annotations of a burning objective, in the order they are read."""
    found = {
        "title": f"{_text(slo.title, 80)}: {'getting better' if recovering else _happens(slo)}",
        "summary": _summary(slo),
        "burn": _burn(slo),
        "p99": "" if slo.of_pages else _seconds(slo, "slo:p99:seconds"),
        "lcp": _seconds(slo, "slo:lcp:seconds") if slo.of_pages else "",
        "release": _release(slo) if slo.of_pages else "",
        "route": _route(slo),
        "causes": _causes(slo),
        "concentration": _concentration(slo),
        "deployed": _deployed(slo),
        "budget": _budget(slo),
        "runbook": f"{runbooks(spec, slo.service)}/{'SLORecovering' if recovering else 'SLOBurn'}.md",
        "cause_runbook": _cause_runbook(slo, spec),
        "traces": _traces(slo, spec),
        "dashboard": _dashboard(slo, spec),
    }
    return {name: text for name, text in found.items() if text}


def runbooks(spec: Spec, service: str) -> str:
    """Where runbook addresses begin."""
    return (spec.link(service, "runbooks") or "runbooks").rstrip("/")


def _text(text: str, most: int) -> str:
    """Our own words inside a template: nothing in a title starts one, also not beside what follows it."""
    return re.sub(r"[{}]+", "_", text)[:most]


def _happens(slo: Slo) -> str:
    if slo.of_pages:
        return "slow or broken"
    match slo.sli:
        case Latency(_, within_s):
            return f"slower than {words(within_s) if within_s >= 1 else f'{within_s * 1000:g} ms'}"
        case Level():
            return "out of its bounds"
        case Pattern():
            return "fewer than usual"
    return "failing"


def _summary(slo: Slo) -> str:
    ratio = query(_of(slo, "100 * slo:error:ratio", f",window={quote(window(near_s(slo)))}"), "$env")
    what = {
        "slower": "of requests are slow", "failing": "of requests fail", "slow": "of page views are slow or broken",
    }.get(_happens(slo).split()[0], "of samples are bad")  # fmt: skip
    said = f'{{{{ with {ratio} }}}}{{{{ . | first | value | printf "%.3g" }}}} % {what}{{{{ end }}}}'
    target = f"objective {float(slo.target * 100):g} % in {words(slo.period_s)}, owner {_text(slo.owner, 40)}"
    return f"{_START}{said} at {_text(slo.service, 64)} ({target}). Cause: {_top(slo)}"


def _top(slo: Slo) -> str:
    """The dominant cause in words, or that there is none."""
    top = query(_of(slo, "100 * topk(1, cause:score") + ")", "$env")
    named = f"{plain('.Labels.culprit_service', 64)} {plain('.Labels.cause', 40)}"
    dominant = f'{{{{ if and (ge .Value {DOMINANT}.0) (ne .Labels.cause "unknown") }}}}'
    share = '({{ .Value | printf "%.0f" }} %)'
    return (
        f"{{{{ range {top} }}}}{dominant}{named} {share}{_detail(slo)}{{{{ else }}}}no dominant cause{{{{ end }}}}"
        "{{ else }}not known{{ end }}"
    )


def _detail(slo: Slo) -> str:
    of_cause = f"firstcause_cause_detail{{culprit_service=%q,cause=%q,{ENV}=%q}}"
    given = [".Labels.culprit_service", ".Labels.cause", "$env"]
    if slo.of_pages:  # the endpoint tells the details of browsers, under its own name
        of_cause += f' or firstcause_cause_detail{{{_endpoint(slo)}cause=~"client[.].+",cause=%q,{ENV}=%q}}'
        given += given[1:]
    found = query(of_cause, *given)
    return f"{{{{ with {found} }}}}: {plain('(. | first).Labels.detail', 120)}{{{{ end }}}}"


def _causes(slo: Slo) -> str:
    # Sorted here: sortByLabel, the templates' own, would destroy the rank.
    top = query("sort_desc(topk(3, 100 * " + _of(slo, "cause:score") + "))", "$env")
    via = query(
        f"topk(1, {_of(slo, 'cause:via', ',culprit_service=%q,cause=%q')})",
        "$env",
        ".Labels.culprit_service",
        ".Labels.cause",
    )
    through = f"{{{{ with {via} }}}} via {plain('(. | first).Labels.via', 30)}{{{{ end }}}}"
    line = f"{plain('.Labels.culprit_service', 64)} {plain('.Labels.cause', 40)}{through}{_detail(slo)}"
    return f'{_START}{{{{ range {top} }}}}{{{{ .Value | printf "%.0f" }}}} % {line}\n{{{{ end }}}}'


def _burn(slo: Slo) -> str:
    found = query(_of(slo, "slo:pair"), "$env")
    line = f'{plain(".Labels.pair", 20)} at {{{{ .Value | printf "%.3g" }}}} times the budget'
    each = f"{{{{ if $i }}}}, {{{{ end }}}}{{{{ with $p }}}}{line}{{{{ end }}}}"
    return f"{_START}{{{{ range $i, $p := {found} }}}}{each}{{{{ end }}}}"


def _endpoint(slo: Slo) -> str:
    named = [str(m).replace("%", "%%") for m in slo.events.of("service_name")]
    return "".join(f"{one}," for one in named)


def _seconds(slo: Slo, record: str) -> str:
    found = query(_of(slo, record), "$env")
    return f"{_START}{{{{ with {found} }}}}{{{{ . | first | value | humanizeDuration }}}}{{{{ end }}}}"


def _route(slo: Slo) -> str:
    whole = f"ignoring (http_route) group_left () sum without (http_route) ({_of(slo, 'slo:route:bad')})"
    found = query(f"topk(1, 100 * {_of(slo, 'slo:route:bad')} / {whole})", "$env", "$env")
    # Braces belong to routes, but doubled they would be template syntax.
    single = f'reReplaceAll "{PLAIN_ROUTE}" "_" | reReplaceAll "([{{}}])[{{}}]+" "$1"'
    route = f'{{{{ .Labels.http_route | {single} | printf "%.100s" }}}}'
    return f'{_START}{{{{ range {found} }}}}{route} ({{{{ .Value | printf "%.0f" }}}} % of the bad ones){{{{ end }}}}'


def _release(slo: Slo) -> str:
    by_release = f"sum by (release) ({_of(slo, 'slo:page:bad')})"
    found = query(f"topk(1, 100 * {by_release} / scalar(sum({by_release})))", "$env", "$env")
    line = f'{plain(".Labels.release", 64)} ({{{{ .Value | printf "%.0f" }}}} % of the bad ones)'
    return f"{_START}{{{{ range {found} }}}}{line}{{{{ end }}}}"


def _concentration(slo: Slo) -> str:
    found = query(_of(slo, "100 * slo:concentration"), "$env")
    line = f'{{{{ .Value | printf "%.0f" }}}} % at {plain(".Labels.part", 10)} {plain(".Labels.value", 64)}'
    return f"{_START}{{{{ range {found} }}}}{line} {{{{ end }}}}"


def _deployed(slo: Slo) -> str:
    started = f"max by (service_name, service_version) (firstcause_deploy_time_seconds{{service_name=%q,{ENV}=%q}})"
    # Of the service at fault, which need not be the objective's own.
    found = query(f"sort((time() - {started}) < {RECENT_S})", "$labels.incident", "$env")
    who = f"{plain('.Labels.service_name', 64)} {plain('.Labels.service_version', 40)}"
    return f"{_START}{{{{ range {found} }}}}{who} started {{{{ .Value | humanizeDuration }}}} ago {{{{ end }}}}"


def _budget(slo: Slo) -> str:
    found = query(_of(slo, "100 * slo:budget:left"), "$env")
    return f'{_START}{{{{ with {found} }}}}{{{{ . | first | value | printf "%.1f" }}}} % left{{{{ end }}}}'


def _cause_runbook(slo: Slo, spec: Spec) -> str:
    top = query("topk(1, " + _of(slo, "cause:score") + ")", "$env")
    return f"{_START}{{{{ range {top} }}}}{runbooks(spec, slo.service)}/{plain('.Labels.cause', 40)}.md{{{{ end }}}}"


def _traces(slo: Slo, spec: Spec) -> str:
    # A search, not a trace: exemplars cannot be reached from templates.
    base = spec.link(slo.service, "traces").rstrip("/")
    if not base:
        return ""
    if slo.of_pages:
        endpoint = next(iter(named(slo.events, "service_name")), slo.service)
        return f"{base}/search?service={url_quote(endpoint)}&operation=documentLoad&lookback=1h"
    tags = url_quote('{"firstcause.outcome":"' + ("slow" if isinstance(slo.sli, Latency) else "error") + '"}')
    return f"{base}/search?service={url_quote(slo.service)}&lookback=1h&tags={tags}"


def _dashboard(slo: Slo, spec: Spec) -> str:
    """The address with what Grafana's variables are to be, so that nothing has to be typed."""
    base = spec.link(slo.service, "dashboard")
    if not base:
        return ""
    env, incident = (f'{{{{ reReplaceAll "[^A-Za-z0-9_.-]+" "_" $labels.{label} }}}}' for label in (ENV, "incident"))
    return f"{base}?var-env={env}&var-slo={url_quote(slo.name)}&var-service={incident}&from=now-1h&to=now"


def ticket(slo: Slo, spec: Spec, pairs: tuple[Pair, ...]) -> dict[str, str]:
    """Annotations of a slow burn."""
    what = " or ".join(f"{pair.factor:f} times over {window(pair.long_s)}" for pair in pairs)
    return {
        "title": f"{_text(slo.title, 80)}: its budget is being spent slowly",
        "summary": f"The budget of {float(slo.target * 100):g} % in {words(slo.period_s)} burns more than {what}. "
        f"At this rate it does not last. Owner {_text(slo.owner, 40)}.",
        "budget": _budget(slo),
        "runbook": f"{runbooks(spec, slo.service)}/SLOSlowBurn.md",
    }
