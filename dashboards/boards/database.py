"""Database: what services ask of it, how long it takes, who holds its connections, and how the server is."""

from __future__ import annotations

from ..board import ENVIRONMENT, SERVICES, Board, Row, row
from ..panels import BYTES, COUNT, ORANGE, QUARTER, RED, SECONDS, SHARE, THIRD, Query, bars, graph, stat, table
from ..promql import ENV, OVER, SERVICE, TIME, quantile, rate, share, within
from .overview import BAD_SHARE
from .resources import USED

CALLS = "db_client_operation_duration_seconds"
SQL = 'db_system_name!="redis"'
OPERATION = "{{service_name}} {{db_operation_name}}"


def board() -> Board:
    """Databases as services see them, and the server itself."""
    says = "Databases: what services ask of them, how long it takes, whether connections suffice, how the server is."
    return Board("database", says, (ENVIRONMENT, SERVICES), (_asked(), _who(), _pools(), _server(), _growth()))


def _asked() -> Row:
    calls = rate(f"{CALLS}_count", SERVICE, SQL)
    failed = rate(f"{CALLS}_count", SERVICE, SQL, 'error_type!=""')
    kinds = "service_name, db_operation_name"
    return row(
        "Does it answer?",
        stat("Calls", "Database calls per second.", Query(calls), "ops").wide(THIRD),
        stat("Failed", "Share of calls that failed.", Query(f"({share(failed, calls)}) or {calls} * 0"), SHARE,
             BAD_SHARE).wide(THIRD),
        stat("Slowest 1 %", "99th percentile of calls.", Query(quantile(0.99, CALLS, SERVICE, SQL)),
             SECONDS).wide(THIRD),
        graph("Calls by operation", "Calls per second.", Query(rate(f"{CALLS}_count", SERVICE, SQL, by=kinds),
            OPERATION),
              unit="ops").wide(THIRD),
        graph("How long do calls take?", "95th percentile by operation.",
              Query(quantile(0.95, CALLS, SERVICE, SQL, by=kinds), OPERATION), unit=SECONDS).wide(THIRD),
        graph("Failed calls", "Failed calls per second, by what was raised.",
              Query(rate(f"{CALLS}_count", SERVICE, SQL, 'error_type!=""', by="service_name, error_type"),
                    "{{service_name}} {{error_type}}"), unit="ops").wide(THIRD),
    )  # fmt: skip


def _who() -> Row:
    spent = rate(TIME, SERVICE, 'resource=~"db:.*"', by="service_name, resource")
    blamed = rate("firstcause_request_bad_total", SERVICE, 'cause=~"db\\\\..*"', by="culprit_service, cause")
    route = "service_name, http_route"
    routes = rate(TIME, SERVICE, 'resource=~"db:.*"', by=route)
    return row(
        "Who asks for how much of it?",
        bars("Database time by caller",
             "Seconds per second that requests waited for it: the noisy neighbour is on top.",
             Query(f"topk(10, {spent})", "{{service_name}} {{resource}}"), SECONDS).wide(THIRD),
        table("Routes by database time", "Which routes wait for databases, and how much of their own time that is.",
              {"service_name": "Service", "http_route": "Route"},
              Query(routes, name="Seconds per second", unit=SECONDS),
              Query(share(routes, rate(TIME, SERVICE, by=route), on=route), name="Share of the route", unit=SHARE,
                    bar=True),
              ).wide(THIRD),
        graph("Verdicts that blame it", "Slow and failed requests per second whose cause is a database or its pool.",
              Query(blamed, "{{culprit_service}} {{cause}}"), unit="reqps", stacked=True).wide(THIRD),
    )  # fmt: skip


def _pools() -> Row:
    by = "service_name, resource"
    pool = 'resource=~"db_pool:.*"'

    def of(name: str) -> str:
        return f"sum by ({by}) (firstcause_resource_{name}{within(SERVICE, pool)})"

    waited = share(rate(TIME, SERVICE, pool, by=by), rate(f"{CALLS}_count", SERVICE, SQL), many=True)
    legend = "{{service_name}} {{resource}}"
    return row(
        "Do connections suffice?",
        graph("Pools", "Connections in use as a share of each pool.",
              Query(share(of("in_use"), of("limit"), on=by), legend),
              unit=SHARE, steps=USED, most=1).wide(THIRD),
        graph("Waiting for a connection", "Requests that stand still until one is free.", Query(of("waiting"), legend),
              unit=COUNT, steps=((1, RED),)).wide(THIRD),
        graph("Time waited per call",
              "Wait for a connection, spread over all calls: above the call itself, the pool is the cause.",
              Query(waited, legend), unit=SECONDS).wide(THIRD),
    )  # fmt: skip


def _server() -> Row:
    where = f"{{{ENV}}}"
    database = "postgresql_database_name"

    def per(counter: str) -> str:
        return f"sum by ({database}) (rate({counter}{where}{OVER}))"

    used = share(f"sum(postgresql_backends{where})", f"max(postgresql_connection_max{where})")
    read = (
        f'sum(rate(postgresql_blocks_read_total{{{ENV},source=~".*_hit"}}{OVER}))'
        f" / (sum(rate(postgresql_blocks_read_total{where}{OVER})) > 0)"
    )
    return row(
        "The server",
        graph("Connections of the server", "Open ones as a share of max_connections, all services together.",
              Query(used, "used"), unit=SHARE, steps=USED, most=1).wide(QUARTER),
        graph("Transactions", "Committed and rolled back per second.",
              Query(per("postgresql_commits_total"), "{{postgresql_database_name}} committed"),
              Query(per("postgresql_rollbacks_total"), "{{postgresql_database_name}} rolled back"),
              unit="ops").wide(QUARTER),
        graph("Read from memory", "Share of blocks found in shared buffers.", Query(read, "hit"), unit=SHARE,
              most=1).wide(QUARTER),
        graph("Replicas behind", "Write-ahead log a replica has not applied.",
              Query(f"max by (replication_client) (postgresql_replication_data_delay_bytes{where})",
                    "{{replication_client}}"),
              unit=BYTES, steps=((16e6, ORANGE),)).wide(QUARTER),
    )  # fmt: skip


def _growth() -> Row:
    table_name = "postgresql_database_name, postgresql_table_name"
    size = f"sum by ({table_name}) (postgresql_table_size_bytes{{{ENV}}})"
    return row(
        "Does the data grow?",
        graph("Size of databases", "Bytes on disk.",
              Query(f"max by (postgresql_database_name) (postgresql_db_size_bytes{{{ENV}}})",
                    "{{postgresql_database_name}}"),
              unit=BYTES),
        graph("Largest tables", "The ten largest tables, with their indexes.",
              Query(f"topk(10, {size})", "{{postgresql_database_name}} {{postgresql_table_name}}"), unit=BYTES),
    )  # fmt: skip
