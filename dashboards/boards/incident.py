"""Incident: opened from a page, in the order the on-call person asks."""

from __future__ import annotations

from dataclasses import replace

from ..board import ENVIRONMENT, SERVICES, Board, Row, cell, row, to
from ..panels import (
    COUNT,
    HALF,
    ORANGE,
    RED,
    RESOURCES,
    SECONDS,
    SHARE,
    THIRD,
    WHOLE,
    Query,
    bars,
    graph,
    logs,
    stat,
    table,
    traces,
)  # fmt: skip
from ..promql import FAILED, REQUESTS, SERVICE, TIME, rate, share, within
from .overview import BAD_SHARE, BURN, WINDOW
from .resources import USED
from .slo import OBJECTIVE, SLO

CULPRIT = 'culprit_service=~"$service"'


def board() -> Board:
    """One incident: an objective that suffers, and the service at fault."""
    says = "Opened from a page, in its time range: who suffers, what did it, the evidence, single requests."
    variables = (ENVIRONMENT, replace(OBJECTIVE, every=False),
                 replace(SERVICES, heading="Service at fault", every=False))
    return Board("incident", says, variables, (_symptom(), _cause(), _evidence(), _one_by_one()))


def _symptom() -> Row:
    return row(
        "What do users feel?",
        stat("Bad now", "Share of the objective's requests that are slow or failed, short window.",
             Query(f"max(slo:error:ratio{within(SLO, WINDOW)})"), SHARE, BAD_SHARE),
        stat("Burn", "How many times too fast the budget burns, last hour.", Query(f"max(slo:burn:rate{within(SLO)})"),
             COUNT, BURN),
        stat("Slowest 1 %", "99th percentile now.", Query(f"max(slo:p99:seconds{within(SLO)})"), SECONDS),
        stat("Budget left", "What is left of the period's budget.", Query(f"min(slo:budget:left{within(SLO)})"), SHARE,
             ((0.2, ORANGE), (0.5, "green")), below=RED),
        stat("Pages", "1 while somebody is paged.", Query(f"max(slo:paging{within(SLO)})"), COUNT, ((1, RED),)),
        stat("Kept apart as", "The service that the page was grouped under; it stays the same until the page ends.",
             Query(f"max by (incident) (slo:incident{within(SLO)})", "{{incident}}"), "none", shows="name"),
        graph("When did it begin?", "Share of bad requests by window: the short one shows the beginning and the end.",
              Query(f"max by (window) (slo:error:ratio{within(SLO)})", "{{window}}"), unit=SHARE).wide(HALF, 7),
        graph("Which routes?", "Bad requests by route in the short window.",
              Query(f"sum by (http_route) (slo:route:bad{within(SLO)})", "{{http_route}}"), unit=COUNT,
              stacked=True).wide(HALF, 7),
    )  # fmt: skip


def _cause() -> Row:
    score = f"max by (culprit_service, cause) (cause:score{within(SLO)})"
    named = "{{culprit_service}} {{cause}}"
    return row(
        "What did it?",
        bars("Causes now", "Share of what users feel that carries this verdict; with `unknown` they sum to 1.",
             Query(f"topk(8, {score})", named), SHARE, ((0, ORANGE), (0.5, RED)), most=1).wide(THIRD),
        graph("Causes over time", "The same since it began.", Query(score, named), unit=SHARE, stacked=True,
              most=1).wide(16),
        table("Through which wait?", "What the cause made requests wait for on their way here.",
              {"culprit_service": "Service", "cause": "Cause", "via": "Via"},
              Query(f"max by (culprit_service, cause, via) (cause:via{within(SLO)})", name="Share", unit=SHARE,
                    bar=True)).wide(THIRD),
        table("What exactly?", "Statement, call, lock or exception behind the cause.",
              {"cause": "Cause", "detail": "Detail", "service_name": "Told by"},
              Query(f"count by (cause, detail, service_name) (firstcause_cause_detail{within(CULPRIT)})",
                    name="Instances")).wide(THIRD),
        table("All from one place?", "One version, instance or region that has more than its part of the bad requests.",
              {"culprit_service": "Service", "part": "Told apart by", "value": "Value"},
              Query(f"max by (culprit_service, part, value) (slo:concentration{within(SLO)})", name="Share", unit=SHARE,
                    bar=True)).wide(THIRD),
    )  # fmt: skip


def _evidence() -> Row:
    by = "service_name, resource"
    spent = rate(TIME, SERVICE, by="resource")

    def of(name: str) -> str:
        return f"sum by ({by}) (firstcause_resource_{name}{within(SERVICE)})"

    versions = "service_version"
    failed = share(
        rate(f"{REQUESTS}_count", SERVICE, FAILED, by=versions), rate(f"{REQUESTS}_count", SERVICE, by=versions),
        on=versions
    )
    age = f"time() - min by (service_name, service_version) (firstcause_deploy_time_seconds{within()})"
    return row(
        "What is the evidence?",
        graph("Where does the service at fault spend time?", "Its ledger, seconds per second.",
              Query(spent, "{{resource}}"),
              unit=SECONDS, stacked=True, colours=RESOURCES).wide(THIRD),
        table("What is it running out of?", "Its limits now, fullest first.",
              {"service_name": "Service", "resource": "Resource"},
              Query(share(of("in_use"), of("limit"), on=by), name="Used", unit=SHARE, steps=USED),
              Query(of("waiting"), name="Waiting", steps=((1, RED),)),
              links={"resource": to("resources", "env", "service")}).wide(THIRD),
        table("What was deployed?",
              "How long ago each version was first seen; younger than the incident is suspicious.",
              {"service_name": "Service", "service_version": "Version"}, Query(age, name="Age", unit=SECONDS, steps=()),
              links={"service_name": to("service", "env", service=cell("Service"))}).wide(THIRD),
        graph("Does one release fail?", "Share of 5xx by version of the service at fault.",
              Query(failed, "{{service_version}}"),
              unit=SHARE, steps=BAD_SHARE).wide(HALF),
        graph("What do its own verdicts say?", "Slow and failed requests per second that any service blames on it.",
              Query(rate("firstcause_request_bad_total", CULPRIT, by="service_name, cause"),
                    "{{service_name}}: {{cause}}"),
              unit="reqps", stacked=True).wide(HALF),
    )  # fmt: skip


def _one_by_one() -> Row:
    bad = (
        '{service_name=~"$service"} | deployment_environment_name=~"$env"'
        ' | severity_text=~"(?i)warn.*|error|critical|fatal"'
    )
    return row(
        "One by one",
        traces("Requests that failed", "Traces of the service at fault whose verdict is an error.", "$service",
               "firstcause.outcome=error").wide(HALF),
        traces("Requests that were slow", "Traces of the service at fault whose verdict is slow.", "$service",
               "firstcause.outcome=slow").wide(HALF),
        logs("What did it complain about?", "Its warnings and errors; a line leads to its trace.", bad).wide(WHOLE),
    )  # fmt: skip
