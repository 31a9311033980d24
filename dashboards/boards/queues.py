"""Queues and events: what is published, how long it waits, how it is worked off."""

from __future__ import annotations

from ..board import ENVIRONMENT, SERVICES, Board, Row, row
from ..panels import BYTES, COUNT, QUARTER, RED, RESOURCES, SECONDS, SHARE, THIRD, Query, graph, heat, stat, table
from ..promql import ENV, OVER, SERVICE, TIME, quantile, rate, share, within
from .overview import BAD_SHARE

MESSAGES = "firstcause_message_duration_seconds"
CONSUMED = f"max by (service_name) (firstcause_message_duration_seconds_count{within(SERVICE)}) >= 0"
WAITED = 'resource=~"queue:.*"'
BY = "service_name, messaging_destination_name"
LEGEND = "{{service_name}} {{messaging_destination_name}}"


def board() -> Board:
    """Work that is done later."""
    says = "Queues and events: what is published, how long it waits, how fast it is worked off."
    return Board("queues", says, (ENVIRONMENT, SERVICES), (_now(), _consumed(), _published(), _broker()))


def _now() -> Row:
    done = rate(f"{MESSAGES}_count", SERVICE)
    failed = rate(f"{MESSAGES}_count", SERVICE, 'outcome="error"')
    return row(
        "Is work done in time?",
        stat("Messages", "Messages worked off per second.", Query(done), "ops"),
        stat(
            "Failed", "Share of messages whose handler failed.",
            Query(f"({share(failed, done)}) or {done} * 0"), SHARE, BAD_SHARE,
        ),
        stat("Slowest 1 %", "99th percentile from publishing to done.", Query(quantile(0.99, MESSAGES, SERVICE)),
             SECONDS),
        table(
            "Consumers", "Each queue, and who works it off.",
            {"service_name": "Consumer", "messaging_destination_name": "Queue"},
            Query(rate(f"{MESSAGES}_count", SERVICE, by=BY), name="Messages", unit="ops"),
            Query(quantile(0.5, MESSAGES, SERVICE, by=BY), name="p50", unit=SECONDS),
            Query(quantile(0.99, MESSAGES, SERVICE, by=BY), name="p99", unit=SECONDS),
        ).wide(12, 4),
    )  # fmt: skip


def _consumed() -> Row:
    spent = rate(TIME, SERVICE, by="service_name, resource")
    per_message = share(
        f"({spent} and on (service_name) ({CONSUMED}))", rate(f"{MESSAGES}_count", SERVICE, by="service_name"),
        on="service_name", many=True,
    )  # fmt: skip
    outcomes = rate(f"{MESSAGES}_count", SERVICE, by="outcome")
    return row(
        "Working off",
        graph(
            "Where does a message's time go?", "Ledger of consumers: the queue's part is the time a message waited.",
            Query(per_message, "{{resource}}"), unit=SECONDS, stacked=True, colours=RESOURCES,
        ).wide(THIRD),
        graph(
            "Messages by outcome", "Per second; degraded ones were done in spite of a failure.",
            Query(outcomes, "{{outcome}}"),
            unit="ops", stacked=True, colours={"ok": "green", "degraded": "yellow", "slow": "orange", "error": "red"},
        ).wide(THIRD),
        heat(
            "Spread of durations", "Messages per second by the time from publishing to done.",
            Query(rate(f"{MESSAGES}_bucket", SERVICE, by="le"), "{{le}}"), SECONDS,
        ).wide(THIRD),
    )  # fmt: skip


def _published() -> Row:
    spent = rate(TIME, SERVICE, WAITED, by="service_name, http_route, resource")
    blamed = rate("firstcause_request_bad_total", SERVICE, r'cause=~"queue\\..*"', by="culprit_service, cause")
    return row(
        "Publishing and waiting",
        table(
            "Who spends time on queues?", "Seconds per second: publishing for a request, waiting for a message.",
            {"service_name": "Service", "http_route": "Route or message", "resource": "Queue"},
            Query(spent, name="Time", unit=SECONDS),
        ).wide(12),
        graph(
            "Verdicts that blame a queue",
            "Slow and failed units per second whose cause is a queue: behind, slow, refusing.",
            Query(blamed, "{{culprit_service}} {{cause}}"), unit="ops", stacked=True,
        ),
    )  # fmt: skip


def _broker() -> Row:
    where, by = f"{{{ENV}}}", "server_address, server_port"
    clients = f"sum by ({by}) (redis_clients_connected{where})"
    blocked = f"sum by ({by}) (redis_clients_blocked{where})"
    refused = f"sum by ({by}) (rate(redis_connections_rejected_total{where}{OVER}))"
    return row(
        "The brokers",
        graph("Keys held", "Keys of each Redis: of a queue's, what is not worked off yet.",
              Query(f"sum by ({by}) (redis_db_keys{where})", "{{server_address}}:{{server_port}}"),
              unit=COUNT).wide(QUARTER),
        graph("Memory of the brokers", "Bytes each Redis uses.",
              Query(f"sum by ({by}) (redis_memory_used_bytes{where})", "{{server_address}}:{{server_port}}"),
              unit=BYTES).wide(QUARTER),
        graph("Clients", "Connected clients, and those blocked waiting for work.",
              Query(clients, "{{server_address}}:{{server_port}}"),
              Query(blocked, "{{server_address}}:{{server_port}} waiting"), unit=COUNT).wide(QUARTER),
        graph("Connections refused", "Per second; any at all means a limit is reached.",
              Query(refused, "{{server_address}}:{{server_port}}"),
              unit="ops", steps=((0.001, RED),)).wide(QUARTER),
    )  # fmt: skip
