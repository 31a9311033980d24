"""What all queues share: what a message carries, and the unit of work of the one that consumes it."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import Token
from time import time
from typing import TYPE_CHECKING, Any

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import SpanKind

from .._guard import guard
from ..diagnosis.clock import thread_clock
from ..diagnosis.ledger import FRAME, Frame
from ..diagnosis.unit import Unit, current_unit
from ..servers.incoming import adopt
from .call import RUNTIME, Call, opens, propagate

if TYPE_CHECKING:
    from .._recorder import Recorder

Carrier = dict[str, Any]
SENT, USER = "fc-sent", "fc-user"
"""When it was published, in seconds since the epoch, and the hash of the user it was published for."""
NAMES = ("traceparent", "tracestate", "baggage", "x-request-id", SENT, USER)
LONGEST_WAIT_S = 30 * 86_400.0
"""A message that says it is older has a clock of its own."""


@opens
def publishing(system: str, queue: str, task: str) -> Call:
    """A PRODUCER span and a frame around handing one message to its queue."""
    attributes = {"messaging.system": system, "messaging.destination.name": queue, "messaging.operation.name": "send"}
    return Call(f"queue:{queue}", f"send {queue}", attributes, kind=SpanKind.PRODUCER, detail=task)


def carrier(call: Call) -> Carrier:
    """What goes with a message: trace context, mark, baggage, request id, user hash and the time."""
    if call.span is None:
        return {}
    # The broker is the deployment's own: what reads from it may be told and believed.
    found: Carrier = {**dict(propagate(call.span, "localhost")), SENT: time()}
    unit = current_unit()
    if unit is not None and unit.user_hash:
        found[USER] = unit.user_hash
    return found


class Consuming:
    """The unit of one message, from `begin` to `finish`, both in the thread that works on it."""

    __slots__ = ("_frame", "_span", "recorder", "unit")

    def __init__(self, recorder: Recorder, unit: Unit, context: Context) -> None:
        self.recorder, self.unit = recorder, unit
        self._frame: Token[Frame | None] = FRAME.set(unit.ledger.root)
        self._span: Any = otel_context.attach(context)

    def finish(self) -> None:
        """The message is done with, or failed when `note_failure` said so."""
        with guard("messages.finish"):
            self.recorder.finish(self.unit, 500 if self.unit.failure is not None else 0)
        with guard("messages.context"):
            try:
                FRAME.reset(self._frame)
                otel_context.detach(self._span)
            except ValueError:
                # A token of another context. The next message of this one must not find the unit of the last.
                FRAME.set(None)


def begin(system: str, queue: str, task: str, came: Mapping[str, Any], due_s: float = 0.0) -> Consuming | None:
    """Open the unit of a message; None, counted, when that fails or nobody watches.

    Its wall starts when it was published or, if that is later, at `due_s` (its ETA, since the epoch).
    """
    recorder = RUNTIME.recorder
    if recorder is not None:
        with guard(f"{system}.begin"):
            unit: Unit = recorder.begin("consumer", "", queue, thread_clock())
            try:
                return Consuming(recorder, unit, _identify(recorder, unit, system, queue, task, came, due_s))
            except BaseException:
                # It counts as in flight already, and nobody will finish it.
                recorder.abandon(unit)
                raise
    return None


def _identify(
    recorder: Recorder, unit: Unit, system: str, queue: str, task: str, came: Mapping[str, Any], due_s: float
) -> Context:
    unit.route = f"{queue} {task}"
    headers = {name.encode(): str(came[name]).encode("latin-1", "replace") for name in NAMES[:4] if came.get(name)}
    attributes = {
        "messaging.system": system, "messaging.destination.name": queue, "messaging.operation.name": "process"
    }  # fmt: skip
    context = adopt(recorder, unit, headers, attributes, SpanKind.CONSUMER, from_loopback=True)
    user = came.get(USER)
    # A message may hold anything: only what looks like a hash of ours becomes a field of every line.
    if isinstance(user, str) and len(user) <= 64 and user.isalnum():
        unit.user_hash = user
    _credit(unit, queue, came.get(SENT), due_s)
    return trace.set_span_in_context(unit.span, context)


def _credit(unit: Unit, queue: str, sent: object, due_s: float) -> None:
    """The wait in the queue; none when clocks disagree about what came first."""
    if not isinstance(sent, (int, float)):
        return
    waited_s = unit.started_ns / 1e9 - max(sent, due_s)
    if 0 < waited_s < LONGEST_WAIT_S:
        waited = int(waited_s * 1e9)
        unit.ledger.credit(f"queue:{queue}", waited)
        unit.started_ns -= waited
