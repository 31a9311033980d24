"""The single list of telemetry names, resource kinds and cause ids.

Dashboards, alerts, docs and code may only use names from here; `docs/telemetry.md` is generated
from it. Standard names (OpenTelemetry semantic conventions, stable) wherever they exist; ours
begin with `firstcause.`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

COUNTER, GAUGE, HISTOGRAM, INFO = "counter", "gauge", "histogram", "info"
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
"""Default bucket edges; every objective in use is added, so that both sides of it are exact."""
DB_SECONDS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0)
"""Edges that the semantic conventions advise for database calls."""


@dataclass(frozen=True)
class Instrument:
    """One instrument: `attributes` maps each name to the most values it may take."""

    name: str
    unit: str
    kind: str
    description: str
    attributes: dict[str, int] = field(default_factory=dict)
    buckets: tuple[float, ...] = ()


_BAD = {"http.route": 200, "outcome": 3, "culprit.service": 64, "culprit.version": 64, "cause": 64, "via": 16}
_CLIENT = {
    "http.request.method": 10, "server.address": 128, "server.port": 64, "http.response.status_code": 64,
    "error.type": 64,
}  # fmt: skip
_DB = {"db.system.name": 16, "db.namespace": 64, "db.operation.name": 64, "error.type": 64}
_HTTP = {"http.request.method": 10, "http.route": 200, "http.response.status_code": 64}
_PAGE = {"page.route": 102}
_DIMENSIONS = {"device": 5, "region": 40, "navigation": 10}
"""What a page view is told apart by beside its route: one at a time, since their product is too many series."""
VITALS = {
    "LCP": (0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 20.0, 30.0),
    "FCP": (0.3, 0.45, 0.6, 0.75, 0.9, 1.05, 1.2, 1.5, 1.8, 2.2, 2.6, 3.0, 3.5, 4.0, 5.0, 6.0, 10.0, 20.0),
    "TTFB": (
        0.05, 0.075, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 1.0, 1.2, 1.5, 1.8, 2.2, 2.5, 3.2, 4.0, 5.0,
        8.0, 15.0,
    ),
    "INP": (
        0.016, 0.024, 0.032, 0.04, 0.05, 0.064, 0.08, 0.1, 0.125, 0.15, 0.175, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.6,
        0.75, 1.0, 1.5, 2.0, 5.0,
    ),
    "CLS": (
        0.005, 0.01, 0.015, 0.02, 0.025, 0.03, 0.04, 0.05, 0.06, 0.075, 0.1, 0.125, 0.15, 0.175, 0.2, 0.25, 0.3, 0.35,
        0.4, 0.5, 0.6, 0.75, 1.0, 2.0,
    ),
}  # fmt: skip
"""Edges of each vital, in seconds (a score for CLS); both of its thresholds are among them (web.dev/vitals).

So close that the 75th percentile is right within 2 % on average from good pages to poor ones.
"""
THRESHOLDS = {"LCP": (2.5, 4.0), "FCP": (1.8, 3.0), "TTFB": (0.8, 1.8), "INP": (0.2, 0.5), "CLS": (0.1, 0.25)}
"""Good up to the first, poor beyond the second."""
PHASES = ("dns", "tcp", "tls", "request", "response", "dom", "load")
"""Phases of a page load."""
BLAMES = ("network", "server", "transfer", "render", "own_script", "third_party_script", "unknown")
"""Where the time of a slow page view went; the parts sum to it."""
PAGE_OUTCOMES = ("slow", "error", "request")
"""What made a page view bad: it was slow, its script failed, or a request of it was answered by 5xx."""


def _by_dimension(
    name: str, says: str, buckets: tuple[float, ...], unit: str = "s", more: dict[str, int] | None = None
) -> tuple[Instrument, ...]:
    return tuple(
        Instrument(
            f"firstcause.page.{name}.{dimension}", unit, HISTOGRAM, f"{says}, by route and {dimension}.",
            {**_PAGE, dimension: most, **(more or {})}, buckets,
        )
        for dimension, most in _DIMENSIONS.items()
    )  # fmt: skip


_PAGES = (
    *_by_dimension("lcp", "Largest contentful paint of page views", VITALS["LCP"]),
    *_by_dimension("fcp", "First contentful paint of page views", VITALS["FCP"]),
    *_by_dimension("ttfb", "Time to first byte of page views", VITALS["TTFB"]),
    *_by_dimension("inp", "Interaction to next paint of page views", VITALS["INP"]),
    *_by_dimension("cls", "Cumulative layout shift of page views", VITALS["CLS"], "1"),
    *_by_dimension("phase", "Phases of page loads", SECONDS, more={"phase": len(PHASES) + 1}),
    *_by_dimension("blocked", "Main-thread time of long frames beyond 50 ms each, per report", SECONDS),
    *_by_dimension("request", "Requests of pages, to the headers", SECONDS, more={"status": 8}),
    Instrument(
        "firstcause.page.views", "{view}", COUNTER, "Page views; joined ones prove which trace they come from.",
        {**_PAGE, "release": 32, "joined": 3},
    ),
    Instrument(
        "firstcause.page.bad", "{view}", COUNTER, "Bad page views, each once, under what made it so first.",
        {**_PAGE, "release": 32, "joined": 3, "outcome": 5},
    ),
    Instrument(
        "firstcause.page.errors", "{error}", COUNTER, "Errors of pages, each once per page view.",
        {**_PAGE, "release": 32, "error.kind": 4},
    ),
    Instrument(
        "firstcause.page.script", "s", COUNTER, "Run time of scripts in long frames.", {**_PAGE, "party": 3}
    ),
    Instrument(
        "firstcause.page.blame", "s", COUNTER, "Where the time of page views over their threshold went.",
        {**_PAGE, "region": _DIMENSIONS["region"], "joined": 3, "vital": 3, "part": len(BLAMES) + 1},
    ),
    Instrument("firstcause.rum.beacons", "{beacon}", COUNTER, "Beacons by what became of them.", {"result": 24}),
    Instrument(
        "firstcause.rum.dropped", "{item}", COUNTER, "Items and fields of beacons that were dropped.", {"drop": 20}
    ),
)  # fmt: skip

INSTRUMENTS = (
    Instrument("http.server.request.duration", "s", HISTOGRAM, "Duration of served requests.", _HTTP, SECONDS),
    Instrument("http.server.active_requests", "{request}", GAUGE, "Requests in flight."),
    Instrument(
        "http.client.request.duration", "s", HISTOGRAM, "Duration of requests made, to the headers.", _CLIENT, SECONDS
    ),
    Instrument("db.client.operation.duration", "s", HISTOGRAM, "Duration of database calls.", _DB, DB_SECONDS),
    Instrument(
        "firstcause.message.duration", "s", HISTOGRAM, "Duration of consumed messages, waiting included.",
        {"messaging.destination.name": 200, "outcome": 5}, SECONDS,
    ),
    Instrument(
        "firstcause.request.time", "s", COUNTER, "Wall time of units of work by resource; sums to their duration.",
        {"http.route": 200, "resource": 288},
    ),
    Instrument("firstcause.request.bad", "{request}", COUNTER, "Slow and failed units, each under one cause.", _BAD),
    Instrument("firstcause.request.excess", "s", COUNTER, "Time beyond the route's baseline, by cause.", _BAD),
    Instrument(
        "firstcause.cause.detail", "", INFO, "The latest details behind causes, for a page to show.",
        {"culprit.service": 64, "cause": 64, "detail": 10},
    ),
    Instrument("firstcause.resource.in_use", "{unit}", GAUGE, "Units in use of what can run out.", {"resource": 288}),
    Instrument("firstcause.resource.limit", "{unit}", GAUGE, "How many there are.", {"resource": 288}),
    Instrument("firstcause.resource.waiting", "{unit}", GAUGE, "How many wait for one.", {"resource": 288}),
    Instrument("firstcause.deploy.time", "s", GAUGE, "When this version was first seen here, since the epoch."),
    Instrument("firstcause.self.errors", "{error}", COUNTER, "Swallowed errors of our own.", {"place": 64}),
    Instrument(
        "firstcause.self.dropped", "{item}", COUNTER, "Telemetry that was not delivered, by reason.",
        {"signal": 8, "reason": 16},
    ),
    Instrument(
        "firstcause.self.rejected_headers", "{header}", COUNTER, "Request and reply headers that were ignored.",
        {"header": 8, "reason": 4},
    ),
    Instrument("firstcause.self.queue", "{item}", GAUGE, "Telemetry waiting for its export.", {"signal": 8}),
    Instrument("firstcause.self.cpu", "s", COUNTER, "CPU time of our own threads; those of requests not included."),
    Instrument(
        "firstcause.self.overflow", "{value}", COUNTER, "Attribute values folded into `other`.", {"attribute": 8}
    ),
    *_PAGES,
)  # fmt: skip

HTTP_METHODS = frozenset(
    ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "QUERY", "CONNECT", "TRACE")
)  # fmt: skip
"""Methods that telemetry names; any other is `_OTHER`."""
UNKNOWN, BACKLOG = "unknown", "queue.backlog"

CAUSES = {
    "app.slow": "Own code took the time.",
    "app.exception": "Own code raised.",
    "app.lock": "Waiting for a lock whose holders are at their usual.",
    "app.loop_blocked": "The event loop was blocked or computing, so ready work had to wait.",
    "app.cpu": "Threads waited for the interpreter lock.",
    "app.gc": "The garbage collector paused the process.",
    "app.threadpool_exhausted": "No worker thread was free.",
    "host.cpu": "The process was runnable, and others had the core.",
    "ingress.queue": "The request waited in front of the service.",
    "client.slow_body": "The caller sent or read slowly.",
    "client.region": "The network between the browser and the page took the time.",
    "client.slow_page": "The page was slow to arrive or to be drawn in the browser.",
    "client.main_thread": "Script kept the browser's main thread busy, the page's own or a third party's.",
    "client.errors": "Script failed in the browser; the version is the page's release.",
    "db.slow": "The database answered slowly.",
    "db.errors": "The database refused or failed.",
    "db.pool_exhausted": "No connection was free, and its holders are idle, usual or gone.",
    "cache.slow": "The cache answered slowly.",
    "cache.errors": "The cache refused or failed.",
    "dependency.slow": "A called service answered slowly and gave no reason of its own.",
    "dependency.errors": "A called service refused or failed and gave no reason of its own.",
    "queue.publish_slow": "Publishing to the queue was slow.",
    "queue.errors": "Publishing to the queue failed.",
    BACKLOG: "The message waited in the queue.",
    "limiter.wait": "Waiting for a limiter whose holders are at their usual.",
    UNKNOWN: "No dominant cause.",
}
"""Cause id to what it says; closed."""
PAGE_CAUSES = {
    "network": "client.region", "transfer": "client.slow_page", "render": "client.slow_page",
    "own_script": "client.main_thread", "third_party_script": "client.main_thread",
}  # fmt: skip
"""Part of a slow page view to its cause; the server's part is whatever the backend says of itself."""

KINDS = {
    "app": ("app.slow", "app.exception"),
    "ingress": ("ingress.queue", "ingress.queue"),
    "client": ("client.slow_body", "client.slow_body"),
    "db": ("db.slow", "db.errors"),
    "db_pool": ("db.pool_exhausted", "db.pool_exhausted"),
    "cache": ("cache.slow", "cache.errors"),
    "http": ("dependency.slow", "dependency.errors"),
    "rpc": ("dependency.slow", "dependency.errors"),
    "queue": ("queue.publish_slow", "queue.errors"),
    "lock": ("app.lock", "app.lock"),
    "limiter": ("limiter.wait", "limiter.wait"),
    "runtime:loop": ("app.loop_blocked", "app.loop_blocked"),
    "runtime:gil": ("app.cpu", "app.cpu"),
    "runtime:gc": ("app.gc", "app.gc"),
    "runtime:threadpool": ("app.threadpool_exhausted", "app.threadpool_exhausted"),
    "runtime:runqueue": ("host.cpu", "host.cpu"),
    "runtime:throttled": ("host.cpu", "host.cpu"),
}
"""Resource kind (for the runtime the whole resource) to its plain ids: when slow, when failed."""


def plain_cause(resource: str, failed: bool) -> str:
    """The plain cause id of a resource, `unknown` for a kind not in the list."""
    found = KINDS.get(resource) or KINDS.get(resource.partition(":")[0])
    return UNKNOWN if found is None else found[failed]


def prometheus_name(instrument: Instrument) -> str:
    """The instrument's name in Prometheus: underscores, base unit, and `_total` on counters."""
    name = instrument.name.replace(".", "_").removesuffix("_total").removesuffix("_seconds")
    if instrument.unit == "s":
        name += "_seconds"
    return name + "_total" if instrument.kind == COUNTER else name


def prometheus_label(attribute: str) -> str:
    """The attribute's name as a Prometheus label."""
    return attribute.replace(".", "_")


BY_NAME = {instrument.name: instrument for instrument in INSTRUMENTS}
