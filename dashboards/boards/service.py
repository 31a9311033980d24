"""Service: rate, errors, durations, where the time goes, what its verdicts say, and what each route costs."""

from __future__ import annotations

from dataclasses import replace

from ..board import ENVIRONMENT, SERVICES, Board, Row, Variable, cell, row, to
from ..panels import (
    BYTES,
    COUNT,
    RATE,
    RESOURCES,
    SECONDS,
    SHARE,
    STATUSES,
    THIRD,
    WHOLE,
    Query,
    bars,
    graph,
    heat,
    logs,
    stat,
    table,
    traces,
)  # fmt: skip
from ..promql import FAILED, REQUESTS, ROUTE, SERVICE, TIME, increase, of_processes, quantile, rate, share, within
from .overview import BAD_SHARE

ROUTES = Variable("route", "Route", f"{TIME}{within(SERVICE)}", "http_route")
HERE = (SERVICE, ROUTE)
UNITS = (
    f"(({rate(f'{REQUESTS}_count', *HERE)} or vector(0))"
    f" + ({rate('firstcause_message_duration_seconds_count', SERVICE)} or vector(0)))"
)
"""Units of work per second: requests, and consumed messages where there are any."""
VERDICT = "culprit_service, cause"
NAMED = "{{culprit_service}} {{cause}}"


def board() -> Board:
    """One service, all or some of its routes."""
    says = "One service: what its users get, where its time goes, whom its verdicts blame, what each route costs."
    variables = (ENVIRONMENT, replace(SERVICES, every=False), ROUTES)
    rows = (_red(), _time(), _verdicts(), _routes(), _calls(), _instances(), _one_by_one())
    return Board("service", says, variables, rows)


def _red() -> Row:
    served = rate(f"{REQUESTS}_count", *HERE)
    classes = (
        f'sum by (class) (label_replace(rate({REQUESTS}_count{within(*HERE)}[$__rate_interval]),'
        ' "class", "$1", "http_response_status_code", "(.).."))'
    )
    shares = ((0.5, "p50"), (0.9, "p90"), (0.95, "p95"), (0.99, "p99"), (0.999, "p99.9"))
    return row(
        "What do users get?",
        stat("Requests", "Requests served per second.", Query(served), RATE),
        stat(
            "Failed", "Share of requests answered with 5xx.",
            Query(share(rate(f"{REQUESTS}_count", *HERE, FAILED), served)), SHARE, BAD_SHARE,
        ),
        stat("Median", "Half of the requests are faster.", Query(quantile(0.5, REQUESTS, *HERE)), SECONDS),
        stat("Slowest 1 %", "99th percentile.", Query(quantile(0.99, REQUESTS, *HERE)), SECONDS),
        stat(
            "In flight", "Requests being served now, all routes.",
            Query(f"sum(http_server_active_requests{within(SERVICE)})"), COUNT,
        ),
        stat(
            "Slow or failed", "Requests and messages with a verdict, in the whole time range.",
            Query(increase("firstcause_request_bad_total", *HERE)), COUNT,
        ),
        graph(
            "Requests by status", "Requests per second by class of their status.", Query(classes, "{{class}}xx"),
            unit=RATE, stacked=True, colours={pattern.replace("..", "xx"): c for pattern, c in STATUSES.items()},
        ).wide(THIRD),
        graph(
            "How long do requests take?", "Percentiles; a dot is one request, and leads to its trace.",
            *(Query(quantile(part, REQUESTS, *HERE), name) for part, name in shares), unit=SECONDS,
        ).wide(THIRD),
        heat(
            "Spread of durations", "Requests per second by duration: two bands are two kinds of requests.",
            Query(rate(f"{REQUESTS}_bucket", *HERE, by="le"), "{{le}}"), SECONDS,
        ).wide(THIRD),
    )  # fmt: skip


def _time() -> Row:
    spent = rate(TIME, *HERE, by="resource")
    whole = rate(TIME, *HERE)
    return row(
        "Where does the time go?",
        graph(
            "Time of one request, by resource",
            "The ledger: the parts sum to the mean duration of a request or message.",
            Query(share(spent, UNITS, many=True), "{{resource}}"), unit=SECONDS, stacked=True, colours=RESOURCES,
        ).wide(16),
        bars(
            "Share of all time", "What the wall time of all requests was spent on.",
            Query(f"topk(10, {share(spent, whole, many=True)})", "{{resource}}"), SHARE, most=1,
        ).wide(8),
    )  # fmt: skip


def _verdicts() -> Row:
    told = "cause, culprit_service, culprit_version, via, outcome"
    counted = increase("firstcause_request_bad_total", *HERE, by=told)
    lost = increase("firstcause_request_excess_seconds_total", *HERE, by=told)
    return row(
        "What do its verdicts say?",
        graph(
            "Slow and failed requests, by cause", "Each under the one cause its verdict names.",
            Query(rate("firstcause_request_bad_total", *HERE, by=VERDICT), NAMED), unit=RATE, stacked=True,
        ),
        graph(
            "Time beyond the usual, by cause",
            "Seconds per second that requests took longer than their route's baseline.",
            Query(rate("firstcause_request_excess_seconds_total", *HERE, by=VERDICT), NAMED), unit=SECONDS,
            stacked=True,
        ),
        table(
            "Verdicts", "Every verdict of the time range; `via` is the wait that carried the cause here.",
            {
                "culprit_service": "Culprit", "cause": "Cause", "via": "Via", "culprit_version": "Version",
                "outcome": "Outcome",
            },
            Query(f"{lost} > 0", name="Time beyond the usual", unit=SECONDS),
            Query(f"{counted} > 0", name="Requests"),
            links={"culprit_service": to("service", "env", service=cell("Culprit"))},
        ),
    )  # fmt: skip


def _routes() -> Row:
    by = "http_route"
    served, spent = rate(f"{REQUESTS}_count", *HERE, by=by), rate(TIME, *HERE, by=by)
    database = rate(TIME, *HERE, 'resource=~"db:.*|db_pool:.*"', by=by)
    own = rate(TIME, *HERE, 'resource=~"app|runtime:.*"', by=by)
    return row(
        "What does each route cost?",
        table(
            "Routes",
            "Shares of requests beside shares of time: a route far more costly than frequent is the one to look at.",
            {by: "Route"},
            Query(share(spent, rate(TIME, SERVICE), many=True), name="Share of time", unit=SHARE, bar=True),
            Query(
                share(served, rate(f"{REQUESTS}_count", SERVICE), many=True), name="Share of requests", unit=SHARE,
                bar=True
            ),
            Query(served, name="Requests", unit=RATE),
            Query(
                share(rate(f"{REQUESTS}_count", *HERE, FAILED, by=by), served, on=by), name="Failed", unit=SHARE,
                steps=BAD_SHARE,
            ),
            Query(quantile(0.5, REQUESTS, *HERE, by=by), name="p50", unit=SECONDS),
            Query(quantile(0.99, REQUESTS, *HERE, by=by), name="p99", unit=SECONDS),
            Query(share(database, spent, on=by), name="In databases", unit=SHARE, bar=True),
            Query(share(own, spent, on=by), name="In own code", unit=SHARE, bar=True),
        ).wide(WHOLE, 9),
    )  # fmt: skip


def _calls() -> Row:
    outside = 'resource=~"(http|rpc|db|db_pool|cache|queue):.*"'
    spent = rate(TIME, *HERE, outside, by="resource")
    calls = rate("http_client_request_duration_seconds_count", SERVICE, by="server_address, server_port")
    wrong = rate(
        "http_client_request_duration_seconds_count", SERVICE, 'http_response_status_code!~"[1-4].."',
        by="server_address, server_port",
    )  # fmt: skip
    on = "server_address, server_port"
    return row(
        "What does it depend on?",
        bars(
            "Time per request spent on others", "Seconds of a mean request that went to each dependency.",
            Query(share(spent, UNITS, many=True), "{{resource}}"), SECONDS,
        ).wide(THIRD),
        table(
            "HTTP calls it makes", "By address: rate, calls without a good answer, 99th percentile.",
            {"server_address": "Address", "server_port": "Port"},
            Query(calls, name="Calls", unit=RATE),
            Query(f"({share(wrong, calls, on=on)}) or {calls} * 0", name="Failed", unit=SHARE, steps=BAD_SHARE),
            Query(
                quantile(0.99, "http_client_request_duration_seconds", SERVICE, by="server_address, server_port"),
                name="p99", unit=SECONDS,
            ),
        ).wide(16),
    )  # fmt: skip


def _instances() -> Row:
    served = rate(f"{REQUESTS}_count", *HERE, by="service_instance_id")
    version = "service_version"
    failed = share(
        rate(f"{REQUESTS}_count", *HERE, FAILED, by=version), rate(f"{REQUESTS}_count", *HERE, by=version), on=version
    )
    cpu = of_processes("rate(process_cpu_seconds_total[$__rate_interval])", SERVICE)
    memory = of_processes("process_resident_memory_bytes", SERVICE)
    return row(
        "Is it one instance, or one release?",
        graph(
            "Requests by instance", "One line far from the others: uneven load, or an instance that is not well.",
            Query(served, "{{service_instance_id}}"), unit=RATE,
        ).wide(6),
        graph(
            "Failed by release", "Share of 5xx by version; blue marks are deploys.",
            Query(failed, "{{service_version}}"),
            unit=SHARE, steps=BAD_SHARE,
        ).wide(6),
        graph("Processor", "Cores in use by each process.", Query(cpu, "{{instance}}"), unit=COUNT).wide(6),
        graph("Memory", "Resident memory of each process.", Query(memory, "{{instance}}"), unit=BYTES).wide(6),
    )  # fmt: skip


def _one_by_one() -> Row:
    lines = '{service_name=~"$service"} | deployment_environment_name=~"$env"'
    return row(
        "One by one",
        traces("Requests that failed", "Traces whose verdict is an error; a row opens one.", "$service",
               "firstcause.outcome=error"),
        traces("Requests that were slow", "Traces whose verdict is slow.", "$service", "firstcause.outcome=slow"),
        logs("Lines", "What the service wrote; a line leads to its trace.", lines),
    )  # fmt: skip


