"""The recorder: begins and ends units, and hands their reports to metrics, logs and traces.

The servers' middleware calls `begin`, `answer` and `finish`; everything that decides is in
`diagnosis`, everything that emits behind `metrics`, `logs` and `trace`.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from time import perf_counter_ns, process_time_ns, thread_time_ns, time_ns
from typing import Any

from ._config import Config
from ._watch import WATCH
from .diagnosis import verdict
from .diagnosis.baseline import Baselines
from .diagnosis.clock import Clock
from .diagnosis.unit import CANCELLED, DEGRADED, ERROR, OK, SLOW, Unit, UnitReport
from .diagnosis.verdict import Booking, Evidence
from .logs.redaction import redact_value
from .mesh import Mesh
from .mesh.server_timing import PeerVerdict
from .metrics import Metrics
from .trace.provider import TracerProvider

KNOWN_NS = 10_000_000_000
"""How long a peer's last verdict stands in for holders that still wait for their answer."""
PEERS = 256
_PAGE = os.sysconf("SC_PAGE_SIZE")


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
        self._memory = _Memory()

    # -- begin ------------------------------------------------------------------------------

    def begin(self, kind: str, method: str, path: str, clock: Clock) -> Unit:
        """Open a unit; the caller gives it a span and activates `unit.ledger.root`."""
        WATCH.enter()
        unit = Unit(self, kind, method, path, clock, perf_counter_ns())
        unit.started_ns = time_ns()
        unit.cpu_start = thread_time_ns()
        return unit

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
        baseline = self.baselines.of(unit.key())
        elapsed = now - unit.ledger.start
        booking: Booking | None = None
        if status >= 500:
            booking = verdict.error(self._evidence(unit, unit.ledger.so_far(now)), unit.failure, unit.where, status)
            booking.excess_ns = max(0, elapsed - baseline.wall)
        elif verdict.worth_saying(elapsed - (0 if baseline.cold else baseline.wall), baseline):
            _all, booking = verdict.slow(self._evidence(unit, unit.ledger.so_far(now)))
        return self.mesh.answer(self._peer_verdict(booking, status), unit.span.trace_id)

    def _peer_verdict(self, booking: Booking | None, status: int) -> PeerVerdict:
        service, version = self.config.service, self.config.version
        if booking is None:
            return PeerVerdict(service, version, False, "", "", "", 0, service, version, "")
        return PeerVerdict(
            service, version, status >= 500, booking.resource, booking.cause, booking.via,
            booking.excess_ns // 1_000_000, booking.culprit, booking.version, redact_value(booking.detail),
        )  # fmt: skip

    def _evidence(self, unit: Unit, shares: dict[str, int]) -> Evidence:
        return Evidence(
            self.config.service, self.config.version, unit.ledger, shares,
            sum(shares.values()), self.baselines.of(unit.key()),
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
        WATCH.leave()
        now = perf_counter_ns()
        shares = unit.ledger.finish(now)
        report = self._report(unit, status, shares, now)
        self._judge(unit, report, gone)
        for booking in report.bookings:
            booking.detail = redact_value(booking.detail)
        self._emit(unit, report)

    def _report(self, unit: Unit, status: int, shares: dict[str, int], now: int) -> UnitReport:
        span, ledger = unit.span, unit.ledger
        return UnitReport(
            kind=unit.kind, method=unit.method, route=unit.route_now(), status=status, wall_ns=ledger.wall,
            first_byte_ns=(unit.first_byte or now) - ledger.start, shares=shares, outcome=OK,
            cpu_ns=max(0, thread_time_ns() - unit.cpu_start), memory_bytes=self._memory.read(now),
            in_flight=WATCH.in_flight + 1, request_id=unit.request_id, session_id=unit.session_id,
            user_hash=unit.user_hash, trace_id=span.trace_id, span_id=span.span_id,
            sampled=bool(span.flags & 1), error_type=unit.error_type, scheme=unit.scheme, path=unit.path,
            started_ns=unit.started_ns,
        )  # fmt: skip

    def _judge(self, unit: Unit, report: UnitReport, gone: bool) -> None:
        key = unit.key()
        baseline = self.baselines.of(key)
        report.cold = baseline.cold
        judged = report.first_byte_ns if unit.streamed else report.wall_ns
        if report.status >= 500 or (unit.failure is not None and unit.kind == "consumer"):
            report.outcome = ERROR
            self._judge_error(unit, report, judged - baseline.wall)
        elif gone:
            report.outcome = CANCELLED
        elif judged > self._objective(key, unit) and not self._is_probe(report.route):
            report.outcome = SLOW
            report.bookings, report.top = verdict.slow(self._evidence(unit, report.shares))
        elif verdict.worth_saying(judged - (0 if baseline.cold else baseline.wall), baseline) and not baseline.cold:
            report.outcome = DEGRADED
            report.bookings, report.top = verdict.slow(self._evidence(unit, report.shares))
        if report.outcome in (OK, DEGRADED):
            self.baselines.learn(key, report.wall_ns, report.shares, report.started_ns / 1e9)

    def _judge_error(self, unit: Unit, report: UnitReport, over: int) -> None:
        booking = verdict.error(self._evidence(unit, report.shares), unit.failure, unit.where, report.status)
        booking.excess_ns = max(0, over)
        report.bookings, report.top = [booking], booking
        if unit.failure is not None and not report.error_type:
            report.error_type = type(unit.failure).__qualname__

    def _objective(self, key: str, unit: Unit) -> int:
        return self.config.objective_ns(key, unit.route)

    @staticmethod
    def _is_probe(route: str) -> bool:
        return route in ("/health", "/healthz", "/ready", "/readyz", "/live", "/livez", "/ping", "/metrics")

    def _emit(self, unit: Unit, report: UnitReport) -> None:
        self.metrics.unit(report)
        self._canonical(report)
        self._end_span(unit, report)

    def _end_span(self, unit: Unit, report: UnitReport) -> None:
        span, attributes = unit.span, unit.span.attributes
        if report.route:
            span.name = f"{report.method} {report.route}" if report.method else report.route
            if report.kind == "server":
                attributes["http.route"] = report.route
        if report.kind == "server":
            attributes["http.response.status_code"] = report.status
        for resource, ns in report.shares.items():
            attributes["firstcause.ledger." + resource] = ns // 1000 / 1e6
        if report.outcome != OK:
            self._describe(attributes, report)
        if report.outcome == ERROR:
            attributes["error.type"] = report.error_type or str(report.status)
            span.status_code = 2
        if report.outcome in (ERROR, SLOW) and not report.sampled:
            self.provider.export_kept(span)
        span.end()

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


class _Memory:
    """Resident bytes of the process, read at most ten times a second from a kept descriptor."""

    def __init__(self) -> None:
        self._next = self._bytes = 0
        try:
            self._fd = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            self._fd = -1

    def read(self, now: int) -> int:
        if now >= self._next and self._fd >= 0:
            self._next = now + 100_000_000
            self._bytes = int(os.pread(self._fd, 64, 0).split()[1]) * _PAGE
        return self._bytes


def _hash(value: str, key: str) -> str:
    raw = value.encode("utf-8", "replace")
    return hashlib.blake2s(raw, key=hashlib.sha256(key.encode()).digest() if key else b"", digest_size=8).hexdigest()


def process_cpu_ns() -> int:
    """CPU time of the whole process, for self-telemetry."""
    return process_time_ns()
