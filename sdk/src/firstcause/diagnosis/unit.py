"""One unit of work: an HTTP request being served, or a message being consumed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .ledger import FRAME, Ledger

if TYPE_CHECKING:
    from .clock import Clock
    from .verdict import Booking

OK, SLOW, ERROR, DEGRADED, CANCELLED = "ok", "slow", "error", "degraded", "cancelled"
_NOTHING: Mapping[str, Any] = {}


class UnitReport:
    """What is emitted of a unit at its end; `shares` (ns per resource) sum to `wall_ns`.

    What most units leave at its default is a class attribute: a unit is made per request, and
    writing twenty fields costs more than reading one through the class.
    """

    kind = "server"
    """`server`, `consumer` or `websocket`."""
    method = ""
    route = ""
    """The low-cardinality template, or the topic."""
    status = 0
    wall_ns = 0
    first_byte_ns = 0
    """Until the first byte of a streamed answer, which is judged by it; 0 for all others."""
    shares: Mapping[str, int] = _NOTHING
    outcome = OK
    bookings: Sequence[Booking] = ()
    top: Booking | None = None
    cold = False
    cpu_ns = 0
    memory_bytes = 0
    in_flight = 0
    request_id = ""
    session_id = ""
    user_hash = ""
    trace_id = 0
    span_id = 0
    sampled = True
    error_type = ""
    scheme = "http"
    path = ""
    started_ns = 0
    """Nanoseconds since the epoch."""

    def __init__(self, **facts: Any) -> None:
        for name, value in facts.items():
            setattr(self, name, value)


class Unit(UnitReport):
    """Identity and ledger of the unit that the current context works for; at its end its own report.

    `route` is set by middleware once the framework has matched; `find_route` answers meanwhile.
    """

    find_route: Callable[[], str] | None = None
    failure: BaseException | None = None
    where = ""
    first_byte = 0
    mark_verified = streamed = has_length = False
    broken = False
    """Whether an exception left the application, whatever had been answered before."""
    baggage: Mapping[str, str] = _NOTHING
    span: Any = None
    cpu_start = 0

    def __init__(self, recorder: Any, kind: str, method: str, path: str, clock: Clock, start: int) -> None:
        self.recorder, self.kind = recorder, kind
        self.method, self.path = method, path
        self.ledger = Ledger(clock, start, self)

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
