"""The span: an `opentelemetry.trace.Span` that costs little and is encoded as it stands."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Mapping
from time import time_ns
from types import TracebackType
from typing import TYPE_CHECKING, Any

from opentelemetry import trace as api
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from .._guard import count, guard
from ..diagnosis.ledger import stamp
from ..export.otlp import LEDGER, Scope, encode_attributes
from .values import SCALARS, Limits, clean, cleaned, nanoseconds, printed

if TYPE_CHECKING:
    from ..diagnosis.ledger import Frame
    from .kept import Kept
    from .provider import TracerProvider

__all__ = ["CLIENTS", "Common", "Limits", "ServerSpan", "Span", "ledger_attributes"]

Event = tuple[str, int, dict[str, Any]]
"""Name, nanoseconds since the epoch, attributes."""
Linked = tuple[int, int, str, dict[str, Any], int]
"""Trace id, span id, tracestate, attributes, flags."""
CLIENTS = (SpanKind.CLIENT, SpanKind.PRODUCER)
RECORD, STATUS = 1, 2
"""What leaving a `with` block by an exception does: the event, the status."""
_CODES = {StatusCode.UNSET: 0, StatusCode.OK: 1, StatusCode.ERROR: 2}
_STATUSES = (StatusCode.UNSET, StatusCode.OK, StatusCode.ERROR)
NOTHING: Mapping[str, int] = {}
JOINED = 1024
"""Joined attributes kept, some 2 kB each: hosts times routes times statuses. When full they are forgotten."""
_MESSAGE = 1024
_STACK = 16_000


class Span(api.Span):
    """One operation. `attributes` is a plain dict: own adapters write to it directly, users by the API.

    `frame` is the innermost ledger frame it works under, `opened` the one it closes at its end.
    """

    # What most spans never change is a class attribute: writing twenty fields per span would cost more
    # than the rest of starting one.
    end_ns = 0
    trace_state = status_message = ""
    events: list[Event] | tuple[Event, ...] = ()
    links: list[Linked] | tuple[Linked, ...] = ()
    status_code = dropped_attributes = dropped_events = dropped_links = 0
    parent_remote = cancelled = False
    frame: Frame | None = None
    opened: Frame | None = None
    kept: Kept | None = None
    """The ended children of an unsampled unit, shared with its root; None when sampled."""
    _on_error = RECORD | STATUS
    _context: SpanContext | None = None

    def __init__(
        self,
        provider: TracerProvider,
        name: str,
        kind: SpanKind,
        trace_id: int,
        span_id: int,
        parent_span_id: int,
        flags: int,
        start_ns: int,
        attributes: dict[str, Any],
        scope: Scope,
    ) -> None:
        # Three at once at most: more of them make a tuple first.
        self.provider, self.name, self.kind = provider, name, kind
        self.trace_id, self.span_id, self.parent_span_id = trace_id, span_id, parent_span_id
        self.flags, self.start_ns, self.attributes = flags, start_ns, attributes
        self.scope, self._running = scope, True
        self.recording = flags & 1 == 1

    # -- the OpenTelemetry API ----------------------------------------------------------------

    def get_span_context(self) -> SpanContext:
        """Made on first use; adapters of ours read the ids directly."""
        if self._context is None:
            state = TraceState.from_header([self.trace_state]) if self.trace_state else None
            self._context = SpanContext(self.trace_id, self.span_id, False, TraceFlags(self.flags), state)
        return self._context

    def is_recording(self) -> bool:
        """Whether attributes are worth setting: sampled and not ended."""
        return self.recording and not self.end_ns

    def set_attribute(self, key: str, value: Any) -> None:
        """Set one attribute; invalid values are dropped and counted, long strings cut.

        Unsampled spans take them too: their unit may be exported after all.
        """
        if self.end_ns:
            return
        attributes, limits, kind = self.attributes, self.provider.limits, type(value)
        plain = kind in SCALARS or (kind is str and len(value) <= limits.value_characters)
        if plain and type(key) is str and key and len(attributes) < limits.attributes:
            attributes[key] = value
        else:
            self._set_cleaned(key, value)

    def _set_cleaned(self, key: str, value: Any) -> None:
        attributes, limits = self.attributes, self.provider.limits
        if type(value) is str:
            value = value[: limits.value_characters]
        elif type(value) not in SCALARS:
            value = clean(value, limits)
        if value is None or not isinstance(key, str) or not key:
            count("firstcause.self.dropped", signal="attributes", reason="invalid")
        elif len(attributes) < limits.attributes or key in attributes:
            attributes[key] = value
        else:
            self.dropped_attributes += 1

    def set_attributes(self, attributes: Mapping[str, Any]) -> None:
        """Set several attributes."""
        with guard("span.attributes"):
            for key, value in attributes.items():
                self.set_attribute(key, value)

    def add_event(self, name: str, attributes: Mapping[str, Any] | None = None, timestamp: int | None = None) -> None:
        """Add an event, up to the limit; `timestamp` is in nanoseconds since the epoch."""
        if self.end_ns:
            return
        limits = self.provider.limits
        if len(self.events) >= limits.events:
            self.dropped_events += 1
            return
        if isinstance(self.events, tuple):
            self.events = []
        found = cleaned(attributes, limits.event_attributes, limits)
        self.events.append((printed(name), nanoseconds(timestamp), found))

    def add_link(self, context: SpanContext, attributes: Mapping[str, Any] | None = None) -> None:
        """Link to another span, up to the limit."""
        if self.end_ns or context is None:
            return
        limits = self.provider.limits
        if len(self.links) >= limits.links:
            self.dropped_links += 1
            return
        if isinstance(self.links, tuple):
            self.links = []
        with guard("span.link"):
            state = context.trace_state.to_header() if context.trace_state else ""
            found = cleaned(attributes, limits.link_attributes, limits)
            self.links.append((context.trace_id, context.span_id, state, found, int(context.trace_flags)))

    def update_name(self, name: str) -> None:
        """Rename the span while it runs."""
        if not self.end_ns:
            self.name = printed(name)

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        """OK is final, UNSET changes nothing; an error's description is redacted."""
        if self.end_ns or self.status_code == 1:
            return
        if isinstance(status, Status):
            description = status.description
            status = status.status_code
        code = _CODES.get(status, 0)
        if code:
            self.status_code = code
            self.status_message = _redacted(description, _MESSAGE) if description and code == 2 else ""

    def record_exception(
        self,
        exception: BaseException,
        attributes: Mapping[str, Any] | None = None,
        timestamp: int | None = None,
        escaped: bool = False,
    ) -> None:
        """Add the standard `exception` event; message and stack are redacted."""
        if self.opened is not None:
            stamp(exception, self.opened)
        if self.end_ns:
            return
        with guard("span.exception"):
            kind = type(exception)
            module = "" if kind.__module__ == "builtins" else kind.__module__ + "."
            found = {
                "exception.type": module + kind.__qualname__,
                "exception.message": _redacted(printed(exception), _MESSAGE),
                "exception.stacktrace": _stack(exception),
                "exception.escaped": str(escaped),
                **(attributes or {}),
            }
            self.add_event("exception", found, timestamp)

    def left_by(self, error: BaseException, what: int) -> None:
        """The code under this span raised: note it as `what` says (`RECORD`, `STATUS`), sampled or not.

        What is no `Exception` (cancellation, a closed generator) is not an error.
        """
        if not isinstance(error, Exception):
            self.cancelled = isinstance(error, (asyncio.CancelledError, GeneratorExit))
            return
        if self.opened is not None:
            stamp(error, self.opened)
        if what & RECORD:
            self.record_exception(error, escaped=True)
        if what & STATUS:
            self.set_status(StatusCode.ERROR, f"{type(error).__name__}: {printed(error)}")

    def end(self, end_time: int | None = None) -> None:
        """End once, at `end_time` (ns since the epoch) or now; later ends change nothing."""
        if end_time is None:
            at = time_ns()
        else:
            at = end_time if type(end_time) is int and end_time > 0 else nanoseconds(end_time)
        try:
            # One step, whoever else ends it in another thread, and half the price of a lock.
            del self._running
        except AttributeError:
            return
        provider = self.provider
        if self.recording and provider.processors:
            provider.ending(self)
        self.end_ns = at
        provider.ended(self)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self.left_by(error, self._on_error)
        self.end()

    def on_error(self, record: bool, status: bool) -> None:
        """What leaving a `with` block of this span by an exception does."""
        self._on_error = (RECORD if record else 0) | (STATUS if status else 0)

    # -- what the ecosystem reads -------------------------------------------------------------

    @property
    def context(self) -> SpanContext:
        """The same as `get_span_context()`."""
        return self.get_span_context()

    @property
    def resource(self) -> Any:
        """The provider's resource, as `opentelemetry.sdk` has it."""
        return self.provider.resource

    @property
    def start_time(self) -> int:
        """Nanoseconds since the epoch."""
        return self.start_ns

    @property
    def end_time(self) -> int | None:
        """Nanoseconds since the epoch, None while running."""
        return self.end_ns or None

    @property
    def instrumentation_scope(self) -> Scope:
        """Which library made the span."""
        return self.scope

    @property
    def status(self) -> Status:
        """The status as the API has it."""
        return Status(_STATUSES[self.status_code], self.status_message or None)

    @property
    def parent(self) -> SpanContext | None:
        """The parent's context, None for a root."""
        if not self.parent_span_id:
            return None
        return SpanContext(self.trace_id, self.parent_span_id, self.parent_remote, TraceFlags(self.flags))


class Common:
    """Attributes that many server spans have in common: those of their encoding are made once."""

    __slots__ = ("attributes", "encoded")

    def __init__(self, attributes: dict[str, Any]) -> None:
        self.attributes = attributes
        self.encoded = encode_attributes(attributes)

    def joined(self, more: Common) -> Common:
        """These and `more`: made once too, and not one more object per span for the collector to visit."""
        found = _joined.get((self, more))
        if found is None:
            # One bound for all: hosts are a stranger's choice, and each would come with all endings.
            if len(_joined) >= JOINED:
                _joined.clear()
            found = _joined[self, more] = Common({**self.attributes, **more.attributes})
        return found


_joined: dict[tuple[Common, Common], Common] = {}


class ServerSpan(Span):
    """The local root of a request; `own` are its attributes beside the `shared`, until somebody asks for all.

    `spent` is its ledger (nanoseconds per resource), which becomes attributes where it is encoded.
    """

    _all: dict[str, Any] | None = None
    own: dict[str, Any]
    shared: Common | None = None
    spent: Mapping[str, int] = NOTHING

    @property
    def attributes(self) -> dict[str, Any]:
        """All of them, from now on in one dict."""
        found = self._all
        if found is None:
            shared = {} if self.shared is None else self.shared.attributes
            found = self._all = {**shared, **self.own, **ledger_attributes(self.spent)}
            self.own, self.shared, self.spent = found, None, NOTHING
        return found

    @attributes.setter
    def attributes(self, given: dict[str, Any]) -> None:
        self.own = given
        if self._all is not None:
            self._all = given

    def part(self) -> None:
        """Be a span like any other from now on."""
        attributes = self.attributes
        self.__class__ = Span  # type: ignore[assignment]  # not a slot differs
        self.attributes = attributes

    def close_with(self, common: Common, spent: Mapping[str, int]) -> dict[str, Any]:
        """Add attributes that others have too, and the ledger; returns the dict for those of its own."""
        if self._all is None:
            self.shared, self.spent = common if self.shared is None else self.shared.joined(common), spent
        else:
            self._all.update(common.attributes)
            self._all.update(ledger_attributes(spent))
        return self.own


def ledger_attributes(spent: Mapping[str, int]) -> dict[str, float]:
    """A unit's ledger as attributes: seconds per resource, to the microsecond."""
    return {LEDGER + resource: ns // 1000 / 1e6 for resource, ns in spent.items()}


def _stack(error: BaseException) -> str:
    try:
        # The innermost: in a deep stack of middleware the outermost do not say where it was raised.
        text = "".join(traceback.format_exception(error, limit=-32))
    except Exception:  # noqa: BLE001 - a host's exception may fail at being printed
        return ""
    return _redacted(text[-_STACK:], _STACK)


def _redacted(text: str, most: int) -> str:
    """`text` without secrets; nothing at all when they could not be looked for."""
    with guard("span.redaction"):
        from ..logs.redaction import redact_value

        return redact_value(printed(text))[:most]
    return ""
