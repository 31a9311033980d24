"""Out: histograms and counters, log events, and the span pair of a page load, all through the SDK."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from opentelemetry.trace import SpanKind

from firstcause._recorder import Recorder
from firstcause.conventions import PAGE_OUTCOMES
from firstcause.export.otlp import Scope
from firstcause.logs.records import LogRecord
from firstcause.logs.setup import _output
from firstcause.trace.span import Span

from .routes import OTHER

if TYPE_CHECKING:
    from .blame import Parts
    from .views import Joined, Labels, View

SCOPE = Scope("firstcause-rum")
DIMENSIONS = ("device", "region", "navigation")
MEASURES = ("lcp", "fcp", "ttfb", "inp", "cls", "phase", "blocked", "request")
NAMES = {m: tuple(f"firstcause.page.{m}.{d}" for d in DIMENSIONS) for m in MEASURES}
"""Measure to its three histograms."""
PAGE, BAD, ERRORS = "firstcause.page.views", "firstcause.page.bad", "firstcause.page.errors"
SCRIPT, BLAME = "firstcause.page.script", "firstcause.page.blame"
BEACONS, DROPPED = "firstcause.rum.beacons", "firstcause.rum.dropped"
INFO, WARN, ERROR = 9, 13, 17
_TEXT = {INFO: "INFO", WARN: "WARN", ERROR: "ERROR"}
SAMPLED = 1
DETAIL = 120
KEPT = 8192
"""Combinations of labels whose series are kept ready."""
_ON_SPANS = ("url.full", "page.route", "session.id", "firstcause.page_view.id", "release", "user_agent.original")
_MS = 1_000_000


class Signals:
    """Where everything goes; `series` bounds the histogram series that pages can make."""

    def __init__(self, recorder: Recorder, series: int) -> None:
        self.recorder = recorder
        self._metrics, self._provider = recorder.metrics, recorder.provider
        self._series, self._most = set[tuple[str, ...]](), series
        self._keys: dict[tuple[tuple[str, ...], str, tuple[str, ...]], list[tuple[str, tuple[str, ...]]]] = {}
        self._born = set[tuple[str, str, str]]()
        for joined in ("true", "false"):  # an objective then has its series before the first visitor comes
            self.count(PAGE, OTHER, "unknown", joined, n=0)
            self.begin(OTHER, "unknown", joined)

    # -- numbers ------------------------------------------------------------------------------

    def observe(self, measure: str, view: View, value: float, at_ns: int, *more: str) -> None:
        """Count one value in the three histograms of a measure, in seconds or as a score."""
        labels, trace_id, call = view.labels, exported(view), self._metrics.call
        keys = self._keys.get((labels[:4], measure, more))
        for name, key in keys or self._bound(labels, measure, more):
            call(name, key, value, trace_id, at_ns)

    def _bound(self, labels: Labels, measure: str, more: tuple[str, ...]) -> list[tuple[str, tuple[str, ...]]]:
        """The three series of these labels; beyond the bound those of the route `other`, of which there are few."""
        found = []
        for name, by in zip(NAMES[measure], (labels.device, labels.region, labels.navigation), strict=True):
            key = (name, labels.route, by, *more)
            if key not in self._series:
                if len(self._series) >= self._most:
                    self.count(DROPPED, "series")
                    key = (name, OTHER, by, *more)
                self._series.add(key)
            found.append((name, key[1:]))
        if len(self._keys) < KEPT:
            self._keys[labels[:4], measure, more] = found
        return found

    def count(self, name: str, *key: str, n: float = 1) -> None:
        """Add to a counter."""
        self._metrics.add(name, key, n)

    def begin(self, route: str, release: str, joined: str) -> None:
        """Have the counters of bad views of such views at 0: of a series born with its first count, that is lost."""
        if (route, release, joined) not in self._born:
            self._born.add((route, release, joined))
            for outcome in PAGE_OUTCOMES:
                self.count(BAD, route, release, joined, outcome, n=0)

    def blame(self, labels: Labels, joined: str, vital: str, parts: Parts) -> None:
        """Count where the time of a slow view went; parts are in milliseconds."""
        for part, ms in parts.items():
            self._metrics.add(BLAME, (labels.route, labels.region, joined, vital, part), ms / 1000)

    def explain(self, cause: str, detail: str, at_ns: int) -> None:
        """Keep what an alert may show beside a cause."""
        if detail:
            self._metrics.explain(cause, detail[:DETAIL], at_ns)

    # -- events -------------------------------------------------------------------------------

    def event(
        self, name: str, attributes: Mapping[str, Any], at_ns: int, joined: Joined | None, severity: int = INFO
    ) -> None:
        """One log record; of a view that is joined it carries the trace."""
        put = _output.sink
        if put is None:
            return
        where = (joined.trace_id, joined.span_id, joined.flags & SAMPLED) if joined else (0, 0, 0)
        put(LogRecord(at_ns, severity, _TEXT[severity], name, attributes, *where, name, SCOPE))

    # -- spans --------------------------------------------------------------------------------

    def spans(self, view: View) -> None:
        """The page load as two spans under the backend's: `documentLoad`, and in it `documentFetch`."""
        joined = view.joined
        if joined is None:
            return
        load, start = view.load or {}, view.origin_ns
        fetched = sum(load.get(name, 0.0) for name in ("red", "dns", "tcp", "tls", "req", "res"))
        loaded = fetched + load.get("dom", 0.0) + load.get("load", 0.0) or view.ends_ms
        attributes = {name: view.attributes[name] for name in _ON_SPANS}
        if view.outcome:
            attributes["firstcause.outcome"] = view.outcome
        if load:
            inner = Span(
                self._provider, "documentFetch", SpanKind.INTERNAL, joined.trace_id, self._provider.new_span_id(),
                view.span_id, SAMPLED, start, {"url.full": attributes["url.full"]}, SCOPE,
            )  # fmt: skip
            inner.end(start + int(fetched * _MS))
        outer = Span(
            self._provider, "documentLoad", SpanKind.INTERNAL, joined.trace_id, view.span_id, joined.span_id, SAMPLED,
            start, attributes, SCOPE,
        )  # fmt: skip
        outer.parent_remote = True
        outer.status_code = 2 if view.outcome == "error" else 0
        outer.end(start + int(loaded * _MS))

    def request_span(
        self, view: View, trace_id: int, span_id: int, end_ns: int, ms: float, attributes: dict[str, Any]
    ) -> None:
        """A request that the page made, with the ids that it sent: what the called service's span has as its parent.

        It hangs under the page load, or begins a trace of its own that is linked with it.
        """
        joined = view.joined
        if joined is None:
            return
        same = trace_id == joined.trace_id
        span = Span(
            self._provider, attributes["http.request.method"], SpanKind.CLIENT, trace_id, span_id,
            view.span_id if same else 0, SAMPLED, end_ns - int(ms * _MS), attributes, SCOPE,
        )  # fmt: skip
        if not same:
            span.links = [(joined.trace_id, view.span_id, "", {}, 0)]
        span.status_code = 2 if "error.type" in attributes else 0
        span.end(end_ns)


def exported(view: View) -> int:
    """The trace id of a view whose trace is exported, for an exemplar; else 0."""
    joined = view.joined
    return joined.trace_id if joined is not None and (joined.flags & SAMPLED or view.outcome) else 0


