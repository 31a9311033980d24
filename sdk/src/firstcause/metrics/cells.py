"""Pre-bound cells: what a request costs in metrics is a few dictionary look-ups and additions.

Every attribute is bounded; values beyond a bound are folded into `other` and counted.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from math import ceil, log2
from typing import TYPE_CHECKING, Any

from .._guard import count
from ..conventions import BY_NAME, HTTP_METHODS, SECONDS
from .buckets import LONGEST_NS, PER_OCTAVE, PLACES, SHIFT, ZERO_NS
from .store import Store, new_lock

if TYPE_CHECKING:
    from ..diagnosis.unit import UnitReport

OTHER = "other"
DETAILS = 10
CLASSES = (200, 500, 503)
"""Status codes whose cells are made with the route: a series born at 40 would lose its first burst."""
MAX_LABEL = 256
EXEMPLAR_EVERY_NS = 1_000_000_000
"""A bucket's exemplar is replaced at most this often, since a scrape sees one of them; a clock set back replaces it."""
EXEMPLAR_WORDS = 5
MAGIC = 0x66697273_74636175
SERVER, MESSAGE = "http.server.request.duration", "firstcause.message.duration"
TIME, BAD, EXCESS = "firstcause.request.time", "firstcause.request.bad", "firstcause.request.excess"
_LOW64 = (1 << 64) - 1

Reading = tuple[float, float, float]
"""In use, limit, waiting."""


class Cell:
    """One duration series: indices of its slots in the store."""

    __slots__ = ("exemplars", "key", "last", "native", "sum", "times")

    def __init__(self, key: tuple[str, ...], start: int, edges: int, times: dict[str, int]) -> None:
        self.key, self.sum = key, start
        self.native = self.exemplars = 0
        self.last = [0] * (edges + 1)
        self.times = times


class Edges:
    """Bucket edges of one instrument, in nanoseconds, and as the text that keys say them by."""

    __slots__ = ("ns", "text")

    def __init__(self, seconds: Iterable[float]) -> None:
        self.ns = [round(edge * 1e9) for edge in sorted(set(seconds))]
        self.text = ",".join(map(str, self.ns))


class Bound:
    """At most `most` values of one attribute; the rest is `other`."""

    __slots__ = ("_known", "_most", "_name")

    def __init__(self, name: str, most: int) -> None:
        self._name, self._most = name, most
        self._known: set[str] = set()

    def __call__(self, value: str) -> str:
        value = value[:MAX_LABEL]
        if value in self._known:
            return value
        if len(self._known) < self._most:
            self._known.add(value)
            return value
        count("firstcause.self.overflow", attribute=self._name)
        return OTHER


class Metrics:
    """All cells of this process. `unit` is called once per unit, `call` once per client call, from any thread."""

    def __init__(self, labels: Mapping[str, str], objectives: Iterable[float] = (), store: Store | None = None) -> None:
        self.labels = dict(labels)
        self.store = store or Store()
        self.in_flight: Callable[[], int] = lambda: 0
        self.queues: Callable[[], Mapping[str, int]] = dict
        self.custom: Callable[[], list[Any]] = list
        self.awake: Callable[[], None] = lambda: None
        """Called when a new series is born, never while one is counted."""
        self._watched: dict[str, Callable[[], Reading]] = {}
        wanted = {SERVER: (*SECONDS, *objectives), MESSAGE: (*SECONDS, *objectives)}
        self._edges = {i.name: Edges(wanted.get(i.name, i.buckets)) for i in BY_NAME.values() if i.buckets}
        self._server_ns, self._message_ns = self._edges[SERVER].ns, self._edges[MESSAGE].ns
        self._bounds: dict[str, Bound] = {}
        self._lock = new_lock()
        self._clear()

    def _clear(self) -> None:
        self._server: dict[tuple[str, str, int], Cell] = {}
        self._messages: dict[tuple[str, str], Cell] = {}
        self._calls: dict[tuple[str, tuple[str, ...]], Cell] = {}
        self._times: dict[str, dict[str, int]] = {}
        self._counters: dict[tuple[str, ...], int] = {}
        self.details: OrderedDict[tuple[str, str, str], int] = OrderedDict()

    def before_fork(self) -> None:
        """In the parent: make what was counted so far visible to children."""
        self.store.before_fork(self._lock)

    def after_fork(self) -> None:
        """The child starts at zero: the parent still reports what it counted.

        It keeps the parent's labels, so that the series stay the same whoever answers.
        """
        self._lock = new_lock()
        self._clear()
        self.store.renew()

    # -- once per unit and per call -----------------------------------------------------------

    def unit(self, report: UnitReport) -> None:
        """Count a finished unit."""
        ns = report.wall_ns
        with self._lock:
            if report.kind == "server":
                cell = self._server.get((report.method, report.route, report.status)) or self._server_cell(
                    report.method, report.route, report.status
                )
                bucket = bisect_left(self._server_ns, ns)
            else:
                cell = self._messages.get((report.route, report.outcome)) or self._message_cell(
                    report.route, report.outcome
                )
                bucket = bisect_left(self._message_ns, ns)
            words = self.store.words
            at = cell.sum
            words[at] += ns
            words[at + 1 + bucket] += 1
            words[
                (cell.native or self._native(cell))
                + (
                    0 if ns <= ZERO_NS
                    else ceil(log2(ns) * PER_OCTAVE - SHIFT) if ns < LONGEST_NS
                    else PLACES - 1
                )
            ] += 1  # fmt: skip
            if (
                not 0 <= report.started_ns - cell.last[bucket] < EXEMPLAR_EVERY_NS
                and report.trace_id
                and (report.sampled or report.outcome in ("slow", "error"))  # those are exported, sampled or not
            ):
                self._exemplar(cell, bucket, report.trace_id, ns, report.started_ns)
            times = cell.times
            for resource, share in report.shares.items():
                if share:
                    words[times.get(resource) or self._time(times, cell, resource)] += share
            if report.bookings:
                self._book(report)

    def call(self, instrument: str, key: tuple[str, ...], seconds: float, trace_id: int = 0, at_ns: int = 0) -> None:
        """Count one client call; `key` holds the values of `instrument`'s attributes in the order of `conventions`.

        `trace_id` of a sampled trace leaves an exemplar, with `at_ns` (since the epoch) as its time.
        """
        ns = max(0, int(seconds * 1e9))
        with self._lock:
            cell = self._calls.get((instrument, key)) or self._call_cell(instrument, key)
            bucket = bisect_left(self._edges[instrument].ns, ns)
            words = self.store.words
            words[cell.sum] += ns
            words[cell.sum + 1 + bucket] += 1
            words[(cell.native or self._native(cell)) + _place(ns)] += 1
            if trace_id and not 0 <= at_ns - cell.last[bucket] < EXEMPLAR_EVERY_NS:
                self._exemplar(cell, bucket, trace_id, ns, at_ns)

    def add(self, instrument: str, key: tuple[str, ...], amount: float = 1) -> None:
        """Add to a counter; `key` as in `call`, `amount` in seconds where that is the instrument's unit."""
        declared = BY_NAME[instrument]
        whole = round(amount * 1e9) if declared.unit == "s" else round(amount)
        with self._lock:
            at = self._counters.get((instrument, *key))
            if at is None:
                pairs = zip(declared.attributes, key, strict=True)
                at = self._counter(instrument, *[self._bounded(instrument, name, value) for name, value in pairs])
            self.store.words[at] += whole

    def explain(self, cause: str, detail: str, at_ns: int) -> None:
        """Keep the latest detail behind a cause that this service tells of; `detail` is redacted and short already."""
        with self._lock:
            self._detail((self.labels.get("service.name", ""), cause, detail), at_ns)

    def _exemplar(self, cell: Cell, bucket: int, trace_id: int, ns: int, at_ns: int) -> None:
        cell.last[bucket] = at_ns
        if not cell.exemplars:
            cell.exemplars = self.store.slots(("x", *cell.key), len(cell.last) * EXEMPLAR_WORDS)
        words, at = self.store.words, cell.exemplars + bucket * EXEMPLAR_WORDS
        values = (trace_id >> 64, trace_id & _LOW64, ns, at_ns)
        # Broken while it is written: a reader in another process must never join halves of two trace ids.
        words[at + 4] = 0
        words[at], words[at + 1], words[at + 2], words[at + 3] = values
        words[at + 4] = values[0] ^ values[1] ^ ns ^ at_ns ^ MAGIC

    # -- once per series ----------------------------------------------------------------------

    def _cell(self, instrument: str, labels: tuple[str, ...], times: dict[str, int]) -> Cell:
        self.awake()
        edges = self._edges[instrument]
        key = (instrument, edges.text, *labels)
        return Cell(key, self.store.slots(("h", *key), len(edges.ns) + 2), len(edges.ns), times)

    def _native(self, cell: Cell) -> int:
        cell.native = self.store.slots(("n", *cell.key), PLACES)
        return cell.native

    def _server_cell(self, method: str, route: str, status: int) -> Cell:
        method = self._bounded(SERVER, "http.request.method", method)
        status = status if 100 <= status <= 599 else 0
        route = self._bounded(SERVER, "http.route", route)
        times = self._times.setdefault(route, {})
        for known in (*CLASSES, status):
            if (method, route, known) not in self._server:
                code = self._bounded(SERVER, "http.response.status_code", str(known))
                self._server[method, route, known] = self._cell(SERVER, (method, route, code), times)
        return self._server[method, route, status]

    def _message_cell(self, topic: str, outcome: str) -> Cell:
        topic = self._bounded(MESSAGE, "messaging.destination.name", topic)
        cell = self._messages.get((topic, outcome))
        if cell is None:
            cell = self._cell(MESSAGE, (topic, outcome), self._times.setdefault(topic, {}))
            self._messages[topic, outcome] = cell
        return cell

    def _call_cell(self, instrument: str, key: tuple[str, ...]) -> Cell:
        names = BY_NAME[instrument].attributes
        bounded = tuple(self._bounded(instrument, name, value) for name, value in zip(names, key, strict=True))
        cell = self._calls.get((instrument, bounded))
        if cell is None:
            cell = self._calls[instrument, bounded] = self._cell(instrument, bounded, {})
        return cell

    def _bounded(self, instrument: str, attribute: str, value: str) -> str:
        """The value, or `other`; one bound per attribute, so that all instruments fold the same values."""
        if attribute == "http.request.method":
            return value if value in HTTP_METHODS else "_OTHER"
        bound = self._bounds.get(attribute)
        if bound is None:
            bound = self._bounds[attribute] = Bound(attribute, BY_NAME[instrument].attributes[attribute])
        return bound(value)

    def _time(self, times: dict[str, int], cell: Cell, resource: str) -> int:
        resource = self._bounded(TIME, "resource", resource)
        found = times.get(resource)
        if found is None:
            route = cell.key[3] if cell.key[0] == SERVER else cell.key[2]
            found = times[resource] = self.store.slots(("c", TIME, route, resource), 1)
        return found

    def _counter(self, *key: str) -> int:
        found = self._counters.get(key)
        if found is None:
            self.awake()
            found = self._counters[key] = self.store.slots(("c", *key), 1)
        return found

    def _book(self, report: UnitReport) -> None:
        top, words = report.top, self.store.words
        if top is not None and report.outcome != "degraded":
            words[self._counter(BAD, *self._verdict(report, top))] += 1
        for booking in report.bookings:
            words[self._counter(EXCESS, *self._verdict(report, booking))] += booking.excess_ns
        if top is not None and top.detail:
            self._detail((self._bounded(BAD, "culprit.service", top.culprit), top.cause, top.detail), report.started_ns)

    def _detail(self, detail: tuple[str, str, str], at_ns: int) -> None:
        self.details[detail] = at_ns
        self.details.move_to_end(detail)
        if len(self.details) > DETAILS:
            self.details.popitem(last=False)

    def _verdict(self, report: UnitReport, booking: Any) -> tuple[str, ...]:
        route = self._bounded(BAD, "http.route", report.route)
        culprit = self._bounded(BAD, "culprit.service", booking.culprit)
        version = self._bounded(BAD, "culprit.version", booking.version)
        return (route, report.outcome, culprit, version, booking.cause, booking.via)

    # -- beside the requests ------------------------------------------------------------------

    def register_route(self, method: str, route: str) -> None:
        """Make a route's cells before its first request."""
        with self._lock:
            self._server_cell(method, route, 200)

    def watch(self, resource: str, reading: Callable[[], Reading]) -> None:
        """Read `resource` (in use, limit, waiting) at every scrape."""
        self._watched[self._bounded(TIME, "resource", resource)] = reading
        self.awake()

    def readings(self) -> dict[str, Reading]:
        """What everything that can run out says now; a reading that fails is left out and counted."""
        found: dict[str, Reading] = {}
        for resource, read in list(self._watched.items()):
            try:
                found[resource] = read()
            except Exception:  # noqa: BLE001 - a reading is the host's code; it must not break the scrape
                count("firstcause.self.errors", place="metrics.reading")
        return found


def _place(ns: int) -> int:
    """`buckets.place_of`, which `unit` has inlined."""
    if ns <= ZERO_NS:
        return 0
    return ceil(log2(ns) * PER_OCTAVE - SHIFT) if ns < LONGEST_NS else PLACES - 1
