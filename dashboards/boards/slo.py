"""SLO: budget, burn and pages of every objective."""

from __future__ import annotations

from ..board import ENVIRONMENT, Board, Row, Variable, cell, row, to
from ..panels import COUNT, GREEN, HALF, ORANGE, QUARTER, RED, SECONDS, SHARE, THIRD, Query, graph, stat, states, table
from ..promql import within
from .overview import BURN

SLO = 'slo=~"$slo"'
OBJECTIVE = Variable("slo", "Objective", f"slo:paging{within()}", "slo")
PAIRS = ((1, "yellow"), (3, ORANGE), (6, RED), (14.4, "dark-red"))
"""The four factors of the rules: the upper two page, the lower two write a ticket."""


def board() -> Board:
    """What was promised, and what is left of it."""
    says = "Objectives: what was promised, how much of the budget is left, how fast it burns, who was paged."
    return Board("slo", says, (ENVIRONMENT, OBJECTIVE), (_now(), _over_time(), _alerts()))


def _of(record: str, *matchers: str, how: str = "max", by: str = "slo") -> str:
    return f"{how} by ({by}) ({record}{within(SLO, *matchers)})"


def _now() -> Row:
    promise = f"max by (slo, service, owner, role) (slo:objective{{{SLO}}})"
    return row(
        "Is the promise kept?",
        stat("Objectives that page", "How many page somebody now.", Query(f"sum(slo:paging{within(SLO)})"), COUNT,
             ((1, RED),)).wide(QUARTER),
        stat("Least budget left", "Below 0 the promise of the period is broken.",
             Query(f"min(slo:budget:left{within(SLO)})"),
             SHARE, ((0, RED), (0.2, ORANGE), (0.5, GREEN)), below="dark-red").wide(QUARTER),
        stat("Worst burn", "How many times too fast, in the last hour.", Query(f"max(slo:burn:rate{within(SLO)})"),
             COUNT, BURN).wide(QUARTER),
        stat("Broken promises", "Objectives whose budget of the period is spent.",
             Query(f"sum(slo:budget:left{within(SLO)} <= bool 0)"), COUNT, ((1, RED),)).wide(QUARTER),
        table("What is promised?",
              "Objectives, who answers for them, and whether they page (journey) or not (internal).",
              {"slo": "Objective", "service": "Service", "owner": "Owner", "role": "Role"},
              Query(promise, name="Promise", unit=SHARE)).wide(HALF, 7),
        table("What is left of it?", "Budget, burn and share of bad requests now.", {"slo": "Objective"},
              Query(_of("slo:burn:rate"), name="Burn", steps=BURN),
              Query(_of("slo:budget:left", how="min"), name="Budget left", unit=SHARE),
              Query(_of("slo:error:ratio", 'window="1h"'), name="Bad in 1 h", unit=SHARE),
              Query(_of("slo:total:increase", 'window="1h"'), name="Requests in 1 h"),
              links={"slo": to("incident", "env", slo=cell("Objective"))}).wide(HALF, 7),
    )  # fmt: skip


def _over_time() -> Row:
    return row(
        "How did it come to this?",
        graph("Budget left", "Share of the period's budget; below 0 it is overspent.",
              Query(_of("slo:budget:left", how="min"), "{{slo}}"), unit=SHARE).wide(THIRD),
        graph("Burn", "How many times too fast the budget burns; lines at 1, 3, 6 and 14.4.",
              Query(_of("slo:burn:rate"), "{{slo}}"), unit=COUNT, steps=PAIRS).wide(THIRD),
        states("When did it page?", "Red while somebody is paged for it.", Query(_of("slo:paging"), "{{slo}}"),
               {"0": ("well", GREEN), "1": ("pages", RED)}).wide(THIRD),
        graph("Bad requests, by window",
              "Share of bad requests in each window of the rules, mean of the chosen objectives.",
              Query(f"avg by (window) (slo:error:ratio{within(SLO)})", "{{window}}"), unit=SHARE).wide(THIRD),
        graph("Slowest 1 %", "99th percentile of the requests an objective counts.",
              Query(_of("slo:p99:seconds"), "{{slo}}"),
              unit=SECONDS).wide(THIRD),
        graph("Requests counted", "Requests each objective saw in its shortest window: few of them say little.",
              Query(_of("slo:total:increase", 'window="5m"'), "{{slo}}"), unit=COUNT).wide(THIRD),
    )  # fmt: skip


def _alerts() -> Row:
    burning = f"max by (slo, pair, tier) (slo:pair{within(SLO)})"
    open_ones = (
        "count by (alertname, severity, slo, service, incident, owner)"
        ' (ALERTS{alertstate="firing",environment=~"$env"})'
    )
    return row(
        "What was said about it?",
        table("Pairs of windows that burn",
              "Both windows of the pair are over their factor: `page` wakes, `ticket` waits.",
              {"slo": "Objective", "pair": "Windows", "tier": "Tier"},
              Query(burning, name="Burn", steps=BURN)).wide(HALF),
        table("Open alerts", "What Alertmanager has been told, pages and tickets.",
              {"alertname": "Alert", "severity": "Severity", "slo": "Objective", "service": "Service",
               "incident": "Incident",
               "owner": "Owner"}, Query(open_ones, name="Open")).wide(HALF),
    )  # fmt: skip
