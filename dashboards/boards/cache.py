"""Cache and resilience: hits, failures, and what happens when something a service needs is not well."""

from __future__ import annotations

from ..board import ENVIRONMENT, SERVICES, Board, Row, row
from ..panels import COUNT, ORANGE, QUARTER, RATE, RED, SECONDS, SHARE, THIRD, Query, bars, graph, stat
from ..promql import ENV, OVER, REQUESTS, SERVICE, TIME, quantile, rate, share
from .overview import BAD_SHARE

CALLS, CLIENT = "db_client_operation_duration_seconds", "http_client_request_duration_seconds"
REDIS = 'db_system_name="redis"'
CACHE = 'resource=~"cache:.*"'
WAIT = 'resource=~"(lock|limiter):.*"'
PEER = "service_name, server_address, server_port"
LEGEND = "{{service_name}} → {{server_address}}:{{server_port}}"


def board() -> Board:
    """Caches, calls that fail, limits that hold."""
    says = "Caches, and how services fare when what they call is slow, fails or refuses."
    return Board("cache", says, (ENVIRONMENT, SERVICES), (_cache(), _server(), _calls(), _limits()))


def _cache() -> Row:
    calls, failed = rate(f"{CALLS}_count", SERVICE, REDIS), rate(f"{CALLS}_count", SERVICE, REDIS, 'error_type!=""')
    kinds = "service_name, db_operation_name"
    spent = share(rate(TIME, SERVICE, CACHE, by="service_name"), rate(TIME, SERVICE, by="service_name"),
                  on="service_name")
    errors = rate(f"{CALLS}_count", SERVICE, REDIS, 'error_type!=""', by="service_name, error_type")
    return row(
        "Does the cache help?",
        stat("Calls", "Calls to caches per second.", Query(calls), "ops").wide(THIRD),
        stat("Failed", "Share of cache calls that failed.", Query(f"({share(failed, calls)}) or {calls} * 0"), SHARE,
             BAD_SHARE).wide(THIRD),
        stat("Slowest 1 %", "99th percentile of cache calls.", Query(quantile(0.99, CALLS, SERVICE, REDIS)), SECONDS,
             ((0.01, ORANGE), (0.1, RED))).wide(THIRD),
        graph("How long do cache calls take?", "95th percentile by command.",
              Query(quantile(0.95, CALLS, SERVICE, REDIS, by=kinds), "{{service_name}} {{db_operation_name}}"),
              unit=SECONDS).wide(THIRD),
        graph("Share of requests' time", "How much of their time requests wait for caches: should be little.",
              Query(spent, "{{service_name}}"), unit=SHARE).wide(THIRD),
        graph("Failed cache calls", "Per second, by what was raised.",
              Query(errors, "{{service_name}} {{error_type}}"), unit="ops").wide(THIRD),
    )  # fmt: skip


def _server() -> Row:
    where = f"{{{ENV}}}"

    def per(counter: str) -> str:
        return f"sum by (server_address, server_port) (rate({counter}{where}{OVER}))"

    hits, misses = per("redis_keyspace_hits_total"), per("redis_keyspace_misses_total")
    return row(
        "The cache's server",
        graph("Hit ratio", "Share of lookups that found something; a fall puts the load on what is behind.",
              Query(share(hits, f"({hits} + {misses})", on="server_address, server_port"),
                    "{{server_address}}:{{server_port}}"), unit=SHARE,
              most=1).wide(THIRD),
        graph("Evicted and expired", "Keys per second that had to go for room, and that lived their time.",
              Query(per("redis_keys_evicted_total"), "{{server_address}}:{{server_port}} evicted"),
              Query(per("redis_keys_expired_total"), "{{server_address}}:{{server_port}} expired"),
              unit="ops").wide(THIRD),
        graph("Commands", "Commands per second that each server works off.",
              Query(per("redis_commands_processed_total"), "{{server_address}}:{{server_port}}"),
              unit="ops").wide(THIRD),
    )  # fmt: skip


def _calls() -> Row:
    calls = rate(f"{CLIENT}_count", SERVICE, by=PEER)
    failed = rate(f"{CLIENT}_count", SERVICE, 'http_response_status_code!~"[1-4].."', by=PEER)
    timeouts = rate(f"{CLIENT}_count", SERVICE, 'error_type!=""', by=f"{PEER}, error_type")
    served = rate(f"{REQUESTS}_count", SERVICE, by="service_name")
    made = rate(f"{CLIENT}_count", SERVICE, by="service_name")
    return row(
        "Do the services it calls answer?",
        graph("Calls without a good answer", "Share of calls by address that failed, timed out or got 5xx.",
              Query(f"({share(failed, calls, on=PEER)}) or {calls} * 0", LEGEND), unit=SHARE,
              steps=BAD_SHARE).wide(QUARTER),
        graph("How long do calls take?", "99th percentile by address.",
              Query(quantile(0.99, CLIENT, SERVICE, by=PEER), LEGEND),
              unit=SECONDS).wide(QUARTER),
        graph("Why do calls fail?", "Failed calls per second, by what was raised or answered.",
              Query(timeouts, f"{LEGEND} {{{{error_type}}}}"), unit="ops").wide(QUARTER),
        graph("Calls per request", "Calls made for each request served: rising without a deploy means retries.",
              Query(share(made, served, on="service_name"), "{{service_name}}"), unit=COUNT).wide(QUARTER),
    )  # fmt: skip


def _limits() -> Row:
    refused = rate(f"{REQUESTS}_count", SERVICE, 'http_response_status_code=~"429|503"', by="service_name")
    throttled = rate(f"{CLIENT}_count", SERVICE, 'http_response_status_code="429"', by=PEER)
    waits = rate(TIME, SERVICE, WAIT, by="service_name, resource")
    degraded = rate("firstcause_request_excess_seconds_total", SERVICE, 'outcome="degraded"',
                    by="culprit_service, cause")
    return row(
        "Do limits hold?",
        bars("Waiting for locks and limiters", "Seconds per second that requests waited for their turn.",
             Query(f"topk(10, {waits})", "{{service_name}} {{resource}}"), SECONDS).wide(QUARTER),
        graph("Refused by us", "Requests answered 429 or 503 per second.", Query(refused, "{{service_name}}"),
              unit=RATE).wide(QUARTER),
        graph("Refused by others", "Calls answered 429 per second.", Query(throttled, LEGEND), unit=RATE).wide(QUARTER),
        graph("Degraded answers", "Extra seconds per second of requests that were answered well in spite of a failure.",
              Query(degraded, "{{culprit_service}} {{cause}}"), unit=SECONDS, stacked=True).wide(QUARTER),
    )  # fmt: skip
