"""One unit of work: an HTTP request being served, or a message being consumed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .ledger import FRAME, Ledger

if TYPE_CHECKING:
    from .clock import Clock
    from .verdict import Booking

OK, SLOW, ERROR, DEGRADED, CANCELLED = "ok", "slow", "error", "degraded", "cancelled"


class Unit:
    """Identity and ledger of the unit that the current context works for.

    `route` is the low-cardinality template; middleware sets it once the framework has matched,
    and `find_route` answers while the unit is still running.
    """

    __slots__ = (
        "baggage",
        "cpu_start",
        "error_type",
        "failure",
        "find_route",
        "first_byte",
        "has_length",
        "kind",
        "ledger",
        "mark_verified",
        "marked",
        "method",
        "path",
        "recorder",
        "request_id",
        "route",
        "scheme",
        "session_id",
        "span",
        "started_ns",
        "status",
        "streamed",
        "user_hash",
        "where",
    )  # fmt: skip

    def __init__(self, recorder: Any, kind: str, method: str, path: str, clock: Clock, start: int) -> None:
        self.recorder, self.kind, self.method, self.path = recorder, kind, method, path
        self.ledger = Ledger(clock, start, self)
        self.route = self.request_id = self.session_id = self.user_hash = self.error_type = self.where = ""
        self.scheme = "http"
        self.find_route: Callable[[], str] | None = None
        self.span: Any = None
        self.failure: BaseException | None = None
        self.status = self.first_byte = self.started_ns = self.cpu_start = 0
        self.mark_verified = self.marked = self.streamed = self.has_length = False
        self.baggage: Mapping[str, str] = {}

    def route_now(self) -> str:
        """The route template, asked from the framework when it is not known yet."""
        if not self.route and self.find_route is not None:
            self.route = self.find_route()
        return self.route

    def key(self) -> str:
        """What baselines and objectives are kept by: method and route."""
        return f"{self.method} {self.route_now()}" if self.method else self.route_now()

    def baseline(self) -> Mapping[str, int]:
        """The usual nanoseconds per resource of this unit's route; empty while cold."""
        found = self.recorder.baselines.of(self.key())
        return {} if found.cold else found.shares

    def known_verdict(self, resource: str) -> Any:
        """The latest verdict a peer gave of itself, for a holder still waiting for its answer."""
        return self.recorder.known_verdict(resource)


def current_unit() -> Unit | None:
    """The unit that the calling code works for, None outside one."""
    frame = FRAME.get()
    return None if frame is None else frame.ledger.unit


@dataclass(slots=True)
class UnitReport:
    """What is emitted of a unit at its end; `shares` (ns per resource) sum to `wall_ns`."""

    kind: str
    method: str
    route: str
    status: int
    wall_ns: int
    first_byte_ns: int
    shares: dict[str, int]
    outcome: str
    bookings: list[Booking] = field(default_factory=list)
    top: Booking | None = None
    cold: bool = False
    cpu_ns: int = 0
    memory_bytes: int = 0
    in_flight: int = 0
    request_id: str = ""
    session_id: str = ""
    user_hash: str = ""
    trace_id: int = 0
    span_id: int = 0
    sampled: bool = True
    error_type: str = ""
    scheme: str = "http"
    path: str = ""
    started_ns: int = 0
