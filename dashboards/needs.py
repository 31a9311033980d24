"""The visible list of queries that the shop and its chain of alerts cannot answer, and what each needs instead.

`tests/e2e/test_dashboards.py` runs every other query against the real Prometheus, and holds this list exact in both
directions: what has no data must be here, and what is here must have none.
"""

from __future__ import annotations

from dataclasses import dataclass

COLLECTOR = "the Collector, scraped"
HOST = "the Collector's hostmetrics receiver"
POSTGRES = "the Collector's postgresql receiver"
REPLICA = "the Collector's postgresql receiver, and a replica"
REDIS = "the Collector's redis receivers"
LOKI = "Loki"
LOKI_METRICS = "Loki, scraped"
LOKI_REFUSES = "Loki, scraped, and lines that it refuses"
JAEGER = "Jaeger"
THROTTLE = "a called service that answers 429: no fault of the demo does"
BROKEN_QUEUE = "a queue that is behind or refuses: no fault of the demo does"
FAILING_SQL = "a database that fails: no fault of the demo does"
OWN_BUG = "an error inside the SDK"
STRANGER = "a caller with another key or clock: the demo has none"
MANY_VALUES = "more values of an attribute than its bound: the demo has few"


@dataclass(frozen=True, slots=True)
class Need:
    """One panel, or those of its queries in `refs`, and what has to be there."""

    board: str
    panel: str
    what: str
    refs: str = "A"

    def places(self) -> set[tuple[str, str, str]]:
        """Board, panel and letter of each query."""
        return {(self.board, self.panel, ref) for ref in self.refs}


NEEDS = (
    Need("service", "Requests that failed", JAEGER),
    Need("service", "Requests that were slow", JAEGER),
    Need("service", "Lines", LOKI),
    Need("resources", "Processor of the machine", HOST),
    Need("resources", "Runnable", HOST),
    Need("resources", "Memory of the machine", HOST),
    Need("resources", "Disk time", HOST),
    Need("resources", "Disk space", HOST),
    Need("resources", "Network", HOST),
    Need("database", "Failed calls", FAILING_SQL),
    Need("database", "Connections of the server", POSTGRES),
    Need("database", "Transactions", POSTGRES, "AB"),
    Need("database", "Read from memory", POSTGRES),
    Need("database", "Replicas behind", REPLICA),
    Need("database", "Size of databases", POSTGRES),
    Need("database", "Largest tables", POSTGRES),
    Need("queues", "Verdicts that blame a queue", BROKEN_QUEUE),
    Need("queues", "Keys held", REDIS),
    Need("queues", "Memory of the brokers", REDIS),
    Need("queues", "Clients", REDIS, "AB"),
    Need("queues", "Connections refused", REDIS),
    Need("cache", "Hit ratio", REDIS),
    Need("cache", "Evicted and expired", REDIS, "AB"),
    Need("cache", "Commands", REDIS),
    Need("cache", "Refused by others", THROTTLE),
    Need("incident", "Requests that failed", JAEGER),
    Need("incident", "Requests that were slow", JAEGER),
    Need("incident", "What did it complain about?", LOKI),
    Need("telemetry", "Swallowed errors", OWN_BUG),
    Need("telemetry", "Ignored headers", STRANGER),
    Need("telemetry", "Folded into `other`", MANY_VALUES),
    Need("telemetry", "Received", COLLECTOR),
    Need("telemetry", "Sent on", COLLECTOR),
    Need("telemetry", "Refused or failed", COLLECTOR, "AB"),
    Need("telemetry", "Queues", COLLECTOR),
    Need("telemetry", "Lines that Loki takes", LOKI_METRICS),
    Need("telemetry", "Lines that Loki refuses", LOKI_REFUSES),
)


def places(*, without: frozenset[str] = frozenset()) -> set[tuple[str, str, str]]:
    """Every query of the list; `without` what a fuller stack has after all."""
    return set().union(*(need.places() for need in NEEDS if need.what not in without))
