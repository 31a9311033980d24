"""Overview: is anybody suffering, and what did it."""

from __future__ import annotations

from ..board import ENVIRONMENT, Board, Row, cell, row, to
from ..panels import COUNT, HALF, ORANGE, RATE, RED, SECONDS, SHARE, WHOLE, Panel, Query, bars, graph, stat, table
from ..promql import FAILED, REQUESTS, quantile, rate, share, within

BAD = f"sum by (deployment_environment_name, slo) (slo:bad:now{within()})"
EXPLAINED = (
    f"sum by (culprit_service, cause) (cause:score{within()}"
    f" * on (deployment_environment_name, slo) group_left () {BAD})"
)
"""Bad requests of all objectives, handed to causes by their score."""
BURN = ((1, ORANGE), (14.4, RED))
"""1: the budget lasts just its period; 14.4: the fast pair pages (SRE workbook, chapter 5)."""
BAD_SHARE = ((0.001, ORANGE), (0.01, RED))
WINDOW = 'window="5m"'


def board() -> Board:
    """The first dashboard somebody opens."""
    says = "Who suffers, how badly, and what did it: start here."
    return Board("overview", says, (ENVIRONMENT,), (_suffering(), _causes(), _services()))


def _suffering() -> Row:
    served = rate(f"{REQUESTS}_count")
    failed = share(rate(f"{REQUESTS}_count", FAILED), served)
    paging = Query(f"sum(slo:paging{within()})")
    left = Query(f"min(slo:budget:left{within()})")
    return row(
        "Is anybody suffering, and what did it?",
        stat("Objectives that page", "How many objectives page somebody now.", paging, COUNT, ((1, RED),)),
        stat("Requests", "Requests that all services serve, per second.", Query(served), RATE),
        stat("Failed", "Share of all requests that a service answered with 5xx.", Query(failed), SHARE, BAD_SHARE),
        stat("Slowest 1 %", "99th percentile over all services.", Query(quantile(0.99, REQUESTS)), SECONDS),
        stat(
            "Least budget left", "Error budget left of the objective that has least; below 0 the promise is broken.",
            left, SHARE, ((0.2, ORANGE), (0.5, "green")), below=RED,
        ),
        stat(
            "Worst burn", "How many times too fast the budget burns in the last hour, worst objective.",
            Query(f"max(slo:burn:rate{within()})"), COUNT, BURN,
        ),
        objectives("Who suffers?").wide(14),
        bars(
            "Causes now",
            "Bad requests of all objectives in the rules' short window, by the cause their verdicts give.",
            Query(f"topk(10, {EXPLAINED})", "{{culprit_service}} {{cause}}"), COUNT, ((0, ORANGE), (50, RED)),
        ).wide(10),
    )  # fmt: skip


def objectives(title: str) -> Panel:
    """One row per objective, the worst first."""
    return table(
        title, "Each objective: whether it pages, how fast its budget burns, what is left of it.", {"slo": "Objective"},
        Query(f"max by (slo) (slo:burn:rate{within()})", name="Burn", steps=BURN),
        Query(f"max by (slo) (slo:paging{within()})", name="Pages", steps=((1, RED),)),
        Query(f"max by (slo) (slo:error:ratio{within(WINDOW)})", name="Bad in 5 min", unit=SHARE, steps=BAD_SHARE),
        Query(f"max by (slo) (slo:p99:seconds{within()})", name="p99", unit=SECONDS),
        Query(f"min by (slo) (slo:budget:left{within()})", name="Budget left", unit=SHARE),
        links={"slo": to("incident", "env", slo=cell("Objective"))},
    )  # fmt: skip


def _causes() -> Row:
    details = f"count by (culprit_service, cause, detail) (firstcause_cause_detail{within()})"
    return row(
        "The causes",
        graph(
            "How did they come and go?", "Bad requests by cause, over time; `unknown` is what no verdict explains.",
            Query(EXPLAINED, "{{culprit_service}} {{cause}}"), unit=COUNT, stacked=True,
        ).wide(10),
        table(
            "What exactly?", "The latest detail behind each cause: statement, call, lock or exception.",
            {"culprit_service": "Service", "cause": "Cause", "detail": "Detail"},
            Query(details, name="Told by"),
            links={"culprit_service": to("service", "env", service=cell("Service"))},
        ).wide(14),
    )  # fmt: skip


def _services() -> Row:
    by = "service_name"
    served = rate(f"{REQUESTS}_count", by=by)
    failed = share(rate(f"{REQUESTS}_count", FAILED, by=by), served, on=by)
    in_hand = f"sum by ({by}) (http_server_active_requests{within()})"
    return row(
        "How are the services?",
        table(
            "Services", "Rate, failures and percentiles of every service; its name leads to its dashboard.",
            {by: "Service"},
            Query(served, name="Requests", unit=RATE),
            Query(failed, name="Failed", unit=SHARE, steps=BAD_SHARE),
            Query(quantile(0.5, REQUESTS, by=by), name="p50", unit=SECONDS),
            Query(quantile(0.95, REQUESTS, by=by), name="p95", unit=SECONDS),
            Query(quantile(0.99, REQUESTS, by=by), name="p99", unit=SECONDS),
            Query(in_hand, name="In flight"),
            links={by: to("service", "env", service=cell("Service"))},
        ).wide(WHOLE, 7),
        graph("Requests by service", "Requests served per second.", Query(served, "{{service_name}}"),
              unit=RATE).wide(HALF),
        graph(
            "Slowest 1 % by service", "99th percentile of each service.",
            Query(quantile(0.99, REQUESTS, by=by), "{{service_name}}"),
            unit=SECONDS,
        ),
    )  # fmt: skip
