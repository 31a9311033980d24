"""The recorder: begins and ends units, and hands their reports to metrics, logs and traces.

The servers' middleware calls `begin`, `answer` and `finish`; everything that decides is in
`diagnosis`, everything that emits behind `metrics`, `logs` and `trace`.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from threading import get_ident
from time import perf_counter_ns, process_time_ns, thread_time_ns, time_ns
from typing import Any

from ._config import Config
from ._watch import WATCH
from .diagnosis import verdict
from .diagnosis.baseline import Baseline, Baselines
from .diagnosis.clock import Clock
from .diagnosis.ledger import ENDED
from .diagnosis.unit import CANCELLED, DEGRADED, ERROR, OK, SLOW, Unit, UnitReport
from .diagnosis.verdict import Booking, Evidence
from .logs.redaction import redact_value
from .mesh import Mesh
from .mesh.server_timing import PeerVerdict
from .metrics import Metrics
from .trace.context import format_traceparent
from .trace.provider import TracerProvider
from .trace.span import Common, ServerSpan, ledger_attributes

KNOWN_NS = 10_000_000_000
"""How long a peer's last verdict stands in for holders that still wait for their answer."""
PEERS = 256
ROUTES = 512
"""Routes whose key, baseline and objective are kept ready; later ones are worked out each time."""
STATUSES = 64
CPU_FRESH_NS = 100_000
"""For so long after a reading of a thread's CPU clock it is taken to have worked since: a reading is a system call."""
PROBES = frozenset(("/health", "/healthz", "/ready", "/readyz", "/live", "/livez", "/ping", "/metrics"))
WEBSOCKET = "websocket"
SAY_NS = verdict.SAY_MS * 1_000_000
_PAGE = os.sysconf("SC_PAGE_SIZE")


class _Route:
    """What judging needs of a method and route, worked out once."""

    __slots__ = ("baseline", "endings", "key", "objective_ns", "probe", "span_name")

    def __init__(self, key: str, route: str, baseline: Baseline, objective_ns: int) -> None:
        self.key, self.baseline, self.objective_ns = key, baseline, objective_ns
        self.probe = route in PROBES
        # The method of a stranger's making is no part of a name.
        self.span_name = "HTTP " + route if key.startswith("_OTHER ") else key
        self.endings: dict[int, Common] = {}


class Recorder:
    """One process's recorder; made by `configure`, reached by middleware and adapters."""

    def __init__(
        self,
        config: Config,
        provider: TracerProvider,
        mesh: Mesh,
        metrics: Metrics,
        canonical: Callable[[UnitReport], None],
    ) -> None:
        self.config, self.provider, self.mesh, self.metrics = config, provider, mesh, metrics
        self.baselines = Baselines()
        self._canonical = canonical
        self._known: dict[str, tuple[int, PeerVerdict]] = {}
        self._routes: dict[tuple[str, str], _Route] = {}
        self._memory = _Memory()
        self._cpu = (0, 0, 0)
        """The last reading of a thread's CPU clock: whose, what, when."""

    # -- begin ------------------------------------------------------------------------------

    def begin(self, kind: str, method: str, path: str, clock: Clock) -> Unit:
        """Open a unit; the caller gives it a span and activates `unit.ledger.root`."""
        now = perf_counter_ns()
        unit = Unit(self, kind, method, path, clock, now)
        if kind != WEBSOCKET:  # an open connection that says nothing is no work in flight
            WATCH.enter(id(unit))
        unit.started_ns = time_ns()
        ident, cpu, at = self._cpu
        fresh = now - at < CPU_FRESH_NS and ident == get_ident()
        unit.cpu_start = cpu + now - at if fresh else thread_time_ns()
        return unit

    @staticmethod
    def abandon(unit: Unit) -> None:
        """A unit that could not be begun after all."""
        if unit.kind != WEBSOCKET:
            WATCH.leave(id(unit))

    def _route(self, unit: Unit) -> _Route:
        route = unit.route or unit.route_now()
        found = self._routes.get((unit.method, route))
        if found is None:
            key = unit.key()
            found = _Route(key, route, self.baselines.of(key), self.config.objective_ns(key, route))
            if len(self._routes) < ROUTES:
                self._routes[unit.method, route] = found
        return found

    # -- while it runs ----------------------------------------------------------------------

    def known_verdict(self, resource: str) -> PeerVerdict | None:
        """What the peer behind `resource` last said of itself, when that is fresh."""
        found = self._known.get(resource)
        if found is None or perf_counter_ns() - found[0] > KNOWN_NS:
            return None
        return found[1]

    def heard(self, resource: str, peer: PeerVerdict) -> None:
        """Keep a peer's verdict for units that wait behind ones that wait for it."""
        if peer.cause and (resource in self._known or len(self._known) < PEERS):
            self._known[resource] = (perf_counter_ns(), peer)

    def answer(self, unit: Unit, status: int) -> str:
        """The `Server-Timing` member for a verified caller: the verdict so far, as of the first byte."""
        now = perf_counter_ns()
        baseline = self._route(unit).baseline
        elapsed = now - unit.ledger.start
        booking: Booking | None = None
        if status >= 500:
            booking = verdict.error(self._evidence(unit, unit.ledger.so_far(now)), unit.failure, unit.where, status)
            booking.excess_ns = max(0, elapsed - baseline.wall)
        elif elapsed > SAY_NS and verdict.worth_saying(elapsed - (0 if baseline.cold else baseline.wall), baseline):
            _all, booking = verdict.slow(self._evidence(unit, unit.ledger.so_far(now)))
        return self.mesh.answer(self._peer_verdict(booking, status), unit.span.trace_id)

    def page(self, unit: Unit, from_loopback: bool) -> str:
        """The `Server-Timing` members for a browser: which trace its page comes from, under a mark."""
        span = unit.span
        parent = format_traceparent(span.trace_id, span.span_id, span.flags)
        return self.mesh.page(parent, unit.started_ns // 1_000_000_000, from_loopback)

    def _peer_verdict(self, booking: Booking | None, status: int) -> PeerVerdict:
        service, version = self.config.service, self.config.version
        if booking is None:
            return PeerVerdict(service, version, False, "", "", "", 0, service, version, "")
        return PeerVerdict(
            service, version, status >= 500, booking.resource, booking.cause, booking.via,
            booking.excess_ns // 1_000_000, booking.culprit, booking.version, redact_value(booking.detail),
            booking.hops,
        )  # fmt: skip

    def _evidence(self, unit: Unit, shares: Mapping[str, int]) -> Evidence:
        return Evidence(
            self.config.service, self.config.version, unit.ledger, shares,
            sum(shares.values()), self._route(unit).baseline,
        )  # fmt: skip

    def hash_user(self, user: str) -> str:
        """A keyed hash of a user id; empty without a user key, so that no id leaves unprotected."""
        return "" if not self.config.user_key else _hash(user, self.config.user_key)

    def hash_session(self, session: str) -> str:
        """A session id is a credential: only its hash is kept (keyed where there is a key)."""
        return _hash(session, self.config.user_key)

    # -- end --------------------------------------------------------------------------------

    def finish(self, unit: Unit, status: int, *, gone: bool = False) -> None:
        """End a unit: settle, judge, and emit. Called once, at the last body byte or the exception."""
        now = perf_counter_ns()
        ledger, span, memory = unit.ledger, unit.span, self._memory
        unit.shares = ledger.finish(now)
        unit.status, unit.wall_ns = status, ledger.wall
        cpu = thread_time_ns()
        spent = cpu - unit.cpu_start
        unit.cpu_ns = spent if spent > 0 else 0  # noqa: FURB136 - `max` costs eight times as much
        self._cpu = (get_ident(), cpu, now)
        unit.memory_bytes = memory.bytes if now < memory.due else memory.read(now)
        unit.trace_id, unit.span_id = span.trace_id, span.span_id
        if not span.flags & 1:
            unit.sampled = False
        route = self._routes.get((unit.method, unit.route or unit.route_now())) or self._route(unit)
        if unit.kind != WEBSOCKET:
            unit.in_flight = WATCH.leave(id(unit))
            self._judge(unit, route, gone)
            self.metrics.unit(unit)
        elif unit.broken:
            unit.outcome = ERROR
        self._canonical(unit)
        self._end_span(unit, route)
        # Without cycles a unit is freed as its last reference goes, and the collector has nothing to do.
        ledger.forget()
        unit.ledger, unit.find_route = ENDED, None

    def _judge(self, unit: Unit, route: _Route, gone: bool) -> None:
        baseline, judged = route.baseline, unit.wall_ns
        if unit.streamed:
            judged = unit.first_byte_ns = unit.first_byte - unit.ledger.start
        if unit.broken or ((unit.status >= 400 or unit.failure is not None) and self._is_bad(unit, route)):
            unit.outcome = ERROR
            self._judge_error(unit, judged - baseline.wall)
        elif gone:
            # Neither good nor bad: nobody waited for it any more.
            unit.outcome = CANCELLED
        elif judged > route.objective_ns and not route.probe:
            unit.outcome = SLOW
            self._judge_slow(unit, baseline)
        else:
            over = judged - baseline.wall
            if over > SAY_NS and not baseline.cold and verdict.worth_saying(over, baseline):
                unit.outcome = DEGRADED
                self._judge_slow(unit, baseline)
            # Degraded ones too: by the service's own objective they are good.
            self.baselines.offer(baseline, unit.wall_ns, unit.shares, unit.started_ns / 1e9)

    def _is_bad(self, unit: Unit, route: _Route) -> bool:
        if unit.status >= 400:
            return self.config.is_bad(route.key, unit.route, unit.status)
        return unit.kind == "consumer"

    def _judge_slow(self, unit: Unit, baseline: Baseline) -> None:
        unit.cold = baseline.cold
        unit.bookings, unit.top = verdict.slow(self._evidence(unit, unit.shares))
        for booking in unit.bookings:
            booking.detail = redact_value(booking.detail)

    def _judge_error(self, unit: Unit, over: int) -> None:
        booking = verdict.error(self._evidence(unit, unit.shares), unit.failure, unit.where, unit.status)
        booking.excess_ns = max(0, over)
        booking.detail = redact_value(booking.detail)
        unit.bookings, unit.top = [booking], booking
        unit.cold = self._route(unit).baseline.cold
        if unit.failure is not None and not unit.error_type:
            unit.error_type = type(unit.failure).__qualname__

    def _end_span(self, unit: Unit, route: _Route) -> None:
        span = unit.span
        if unit.route:
            span.name = route.span_name
        elif unit.method == "_OTHER":
            span.name = "HTTP"
        if span.__class__ is ServerSpan:
            attributes = span.close_with(route.endings.get(unit.status) or _ending(unit, route), unit.shares)
        else:
            attributes = span.attributes
            attributes.update(_said_at_the_end(unit))
            attributes.update(ledger_attributes(unit.shares))
        if unit.outcome != OK:
            self._describe(attributes, unit)
            if unit.outcome == ERROR:
                # Of an exception that became an answer, the answer is what failed.
                own = unit.broken or unit.kind == "consumer"
                attributes["error.type"] = (unit.error_type if own else "") or str(unit.status)
                span.status_code = 2
            if unit.outcome in (ERROR, SLOW) and not unit.sampled:
                # Before it ends: this makes the root a sampled span, which its end then exports.
                self.provider.export_kept(span)
        span.end(unit.started_ns + unit.wall_ns)

    @staticmethod
    def _describe(attributes: dict[str, Any], report: UnitReport) -> None:
        attributes["firstcause.outcome"] = report.outcome
        top = report.top
        if top is not None:
            attributes["firstcause.verdict.service"] = top.culprit
            attributes["firstcause.verdict.cause"] = top.cause
            attributes["firstcause.verdict.via"] = top.via
            attributes["firstcause.verdict.share"] = round(top.share, 3)
            attributes["firstcause.verdict.detail"] = top.detail


def _said_at_the_end(unit: Unit) -> dict[str, Any]:
    """What the answer adds to a span."""
    said: dict[str, Any] = {"http.response.status_code": unit.status} if unit.kind == "server" else {}
    if unit.route and unit.kind != "consumer":
        said["http.route"] = unit.route
    return said


def _ending(unit: Unit, route: _Route) -> Common:
    """The same, kept for the few statuses that a route has."""
    made = Common(_said_at_the_end(unit))
    if len(route.endings) < STATUSES:
        route.endings[unit.status] = made
    return made


class _Memory:
    """Resident bytes of the process, read at most ten times a second from a kept descriptor."""

    def __init__(self) -> None:
        self.due = self.bytes = 0
        try:
            self._fd = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            self._fd = -1

    def read(self, now: int) -> int:
        """Read again."""
        self.due = now + 100_000_000
        if self._fd >= 0:
            self.bytes = int(os.pread(self._fd, 64, 0).split()[1]) * _PAGE
        return self.bytes


def _hash(value: str, key: str) -> str:
    raw = value.encode("utf-8", "replace")
    # blake2s takes keys of at most 32 bytes, and a user key may be longer.
    return hashlib.blake2s(raw, key=hashlib.sha256(key.encode()).digest() if key else b"", digest_size=8).hexdigest()


def process_cpu_ns() -> int:
    """CPU time of the whole process, for self-telemetry."""
    return process_time_ns()
