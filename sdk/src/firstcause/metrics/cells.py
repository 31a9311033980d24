"""Pre-bound cells: what a request costs in metrics is a few dictionary look-ups and additions.

Every attribute is bounded; values beyond a bound are folded into `other` and counted.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from .._guard import count
from ..conventions import BY_NAME, SECONDS

if TYPE_CHECKING:
    from ..diagnosis.unit import UnitReport

OTHER = "other"
DETAILS = 10
METHODS = frozenset(("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "QUERY", "CONNECT", "TRACE"))
CLASSES = (200, 500, 503)
"""Status codes whose cells are made with the route: a series born at 40 would lose its first burst."""


class Histogram:
    """One histogram cell: counts per bucket, sum, and one exemplar per bucket."""

    __slots__ = ("counts", "edges", "exemplars", "sum")

    def __init__(self, edges: tuple[float, ...]) -> None:
        self.edges = edges
        self.counts = [0] * (len(edges) + 1)
        self.exemplars: dict[int, tuple[int, float, float]] = {}
        self.sum = 0.0

    def observe(self, seconds: float, trace_id: int, at_s: float) -> None:
        """Add one value; `trace_id` 0 leaves no exemplar."""
        bucket = bisect_left(self.edges, seconds)
        self.counts[bucket] += 1
        self.sum += seconds
        if trace_id:
            self.exemplars[bucket] = (trace_id, seconds, at_s)


class Bound:
    """At most `most` values of one attribute; the rest is `other`."""

    __slots__ = ("_known", "_most", "_name")

    def __init__(self, name: str, most: int) -> None:
        self._name, self._most = name, most
        self._known: set[str] = set()

    def __call__(self, value: str) -> str:
        if value in self._known:
            return value
        if len(self._known) < self._most:
            self._known.add(value)
            return value
        count("firstcause.self.overflow", attribute=self._name)
        return OTHER


Reading = tuple[float, float, float]
"""In use, limit, waiting."""


class Metrics:
    """All cells of this process. `unit` is called once per unit, from any thread."""

    def __init__(self, labels: Mapping[str, str], objectives: Iterable[float] = ()) -> None:
        self.labels = dict(labels)
        self._edges = tuple(sorted({*SECONDS, *objectives}))
        self._lock = threading.Lock()
        bad = BY_NAME["firstcause.request.bad"].attributes
        self._route = Bound("http.route", bad["http.route"])
        self._culprit = Bound("culprit.service", bad["culprit.service"])
        self._version = Bound("culprit.version", bad["culprit.version"])
        self._resource = Bound("resource", 288)
        self._watched: dict[str, Callable[[], Reading]] = {}
        self.in_flight: Callable[[], int] = lambda: 0
        self._clear()

    def _clear(self) -> None:
        self.server: dict[tuple[str, str, int], Histogram] = {}
        self.messages: dict[tuple[str, str], Histogram] = {}
        self.time: dict[tuple[str, str], float] = {}
        self.bad: dict[tuple[str, ...], int] = {}
        self.excess: dict[tuple[str, ...], float] = {}
        self.details: OrderedDict[tuple[str, str, str], None] = OrderedDict()

    def after_fork(self) -> None:
        """The child starts at zero: the parent still reports what it counted."""
        self._lock = threading.Lock()
        self._clear()

    def unit(self, report: UnitReport) -> None:
        """Count a finished unit."""
        with self._lock:
            route = self._route(report.route)
            seconds = report.wall_ns / 1e9
            trace_id = report.trace_id if report.sampled else 0
            if report.kind == "server":
                self._server_cell(report.method, route, report.status).observe(
                    seconds, trace_id, report.started_ns / 1e9
                )
            else:
                self._message_cell(route, report.outcome).observe(seconds, trace_id, report.started_ns / 1e9)
            time = self.time
            for resource, ns in report.shares.items():
                key = (route, resource)
                time[key] = time.get(key, 0.0) + ns / 1e9
            if report.bookings:
                self._book(route, report)

    def _server_cell(self, method: str, route: str, status: int) -> Histogram:
        cell = self.server.get((method, route, status))
        if cell is None:
            method = method if method in METHODS else "_OTHER"
            for known in (*CLASSES, status):
                cell = self.server.setdefault((method, route, known), Histogram(self._edges))
        assert cell is not None
        return cell

    def _message_cell(self, topic: str, outcome: str) -> Histogram:
        cell = self.messages.get((topic, outcome))
        if cell is None:
            cell = self.messages[topic, outcome] = Histogram(self._edges)
        return cell

    def _book(self, route: str, report: UnitReport) -> None:
        top = report.top
        if top is not None and report.outcome != "degraded":
            key = self._key(route, report.outcome, top)
            self.bad[key] = self.bad.get(key, 0) + 1
        for booking in report.bookings:
            key = self._key(route, report.outcome, booking)
            self.excess[key] = self.excess.get(key, 0.0) + booking.excess_ns / 1e9
        if top is not None and top.detail:
            detail = (self._culprit(top.culprit), top.cause, top.detail)
            self.details[detail] = None
            self.details.move_to_end(detail)
            if len(self.details) > DETAILS:
                self.details.popitem(last=False)

    def _key(self, route: str, outcome: str, booking: Any) -> tuple[str, ...]:
        return (
            route, outcome, self._culprit(booking.culprit), self._version(booking.version), booking.cause, booking.via
        )  # fmt: skip

    def register_route(self, method: str, route: str) -> None:
        """Make a route's cells before its first request."""
        with self._lock:
            self._server_cell(method, self._route(route), 200)

    def watch(self, resource: str, reading: Callable[[], Reading]) -> None:
        """Read `resource` (in use, limit, waiting) at every scrape."""
        self._watched[self._resource(resource)] = reading

    def readings(self) -> dict[str, Reading]:
        """What everything that can run out says now; a reading that fails is left out and counted."""
        found: dict[str, Reading] = {}
        for resource, read in list(self._watched.items()):
            try:
                found[resource] = read()
            except Exception:  # noqa: BLE001 - a reading is the host's code; it must not break the scrape
                count("firstcause.self.errors", place="metrics.reading")
        return found
