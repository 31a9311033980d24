"""The span: an `opentelemetry.trace.Span` that costs little and is encoded as it stands."""

from __future__ import annotations

import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import time_ns
from typing import TYPE_CHECKING, Any

from opentelemetry import trace as api
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from .._guard import count, guard
from ..export.otlp import Scope

if TYPE_CHECKING:
    from types import TracebackType

    from ..diagnosis.ledger import Frame
    from .provider import TracerProvider

CLIENTS = (SpanKind.CLIENT, SpanKind.PRODUCER)
_CODES = {StatusCode.UNSET: 0, StatusCode.OK: 1, StatusCode.ERROR: 2}


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one span may hold; the defaults are OpenTelemetry's, the value length is ours."""

    attributes: int = 128
    events: int = 128
    links: int = 128
    value_characters: int = 4096


class Span(api.Span):
    """One operation. `attributes` is a plain dict: own adapters write to it directly, users by the API."""

    __slots__ = (
        "_context", "attributes", "dropped_attributes", "dropped_events", "dropped_links", "end_ns", "events",
        "flags", "frame", "kept", "kind", "links", "name", "parent_remote", "parent_span_id", "provider", "scope",
        "span_id", "start_ns", "status_code", "status_message", "trace_id", "trace_state",
    )  # fmt: skip

    def __init__(
        self,
        provider: TracerProvider,
        name: str,
        kind: SpanKind,
        trace_id: int,
        parent_span_id: int,
        flags: int,
        start_ns: int,
        attributes: dict[str, Any],
        scope: Scope,
    ) -> None:
        self.provider, self.name, self.kind, self.scope = provider, name, kind, scope
        self.trace_id, self.span_id, self.parent_span_id = trace_id, provider.new_span_id(), parent_span_id
        self.flags, self.start_ns, self.end_ns, self.attributes = flags, start_ns, 0, attributes
        self.trace_state = self.status_message = ""
        self.parent_remote = False
        self.events: list[tuple[str, int, dict[str, Any]]] | tuple[()] = ()
        self.links: list[tuple[int, int, str, dict[str, Any], int]] | tuple[()] = ()
        self.status_code = self.dropped_attributes = self.dropped_events = self.dropped_links = 0
        self.frame: Frame | None = None
        self.kept: list[Span] | None = None
        """The ended children of an unsampled unit, shared with its root; None when sampled."""
        self._context: SpanContext | None = None

    # -- the OpenTelemetry API ----------------------------------------------------------------

    def get_span_context(self) -> SpanContext:
        """Made on first use; adapters of ours read the ids directly."""
        if self._context is None:
            state = TraceState.from_header([self.trace_state]) if self.trace_state else None
            self._context = SpanContext(self.trace_id, self.span_id, False, TraceFlags(self.flags), state)
        return self._context

    def is_recording(self) -> bool:
        """Whether attributes are worth setting: sampled and not ended."""
        return bool(self.flags & 1) and not self.end_ns

    def set_attribute(self, key: str, value: Any) -> None:
        """Set one attribute; invalid values are dropped and counted, long strings cut."""
        if self.end_ns:
            return
        with guard("span.attribute"):
            clean = _clean(value, self.provider.limits.value_characters)
            if clean is None or not isinstance(key, str) or not key:
                count("firstcause.self.dropped", signal="attributes", reason="invalid")
            elif len(self.attributes) >= self.provider.limits.attributes and key not in self.attributes:
                self.dropped_attributes += 1
            else:
                self.attributes[key] = clean

    def set_attributes(self, attributes: Mapping[str, Any]) -> None:
        """Set several attributes."""
        for key, value in attributes.items():
            self.set_attribute(key, value)

    def add_event(self, name: str, attributes: Mapping[str, Any] | None = None, timestamp: int | None = None) -> None:
        """Add an event, up to the limit."""
        if self.end_ns:
            return
        if len(self.events) >= self.provider.limits.events:
            self.dropped_events += 1
            return
        if not self.events:
            self.events = []
        self.events.append((name, timestamp or time_ns(), self._cleaned(attributes)))

    def add_link(self, context: SpanContext, attributes: Mapping[str, Any] | None = None) -> None:
        """Link to another span, up to the limit."""
        if self.end_ns or context is None:
            return
        if len(self.links) >= self.provider.limits.links:
            self.dropped_links += 1
            return
        if not self.links:
            self.links = []
        state = context.trace_state.to_header() if context.trace_state else ""
        link = (context.trace_id, context.span_id, state, self._cleaned(attributes), int(context.trace_flags))
        self.links.append(link)

    def _cleaned(self, attributes: Mapping[str, Any] | None) -> dict[str, Any]:
        limit = self.provider.limits
        found: dict[str, Any] = {}
        with guard("span.attributes"):
            for key, value in list((attributes or {}).items())[: limit.attributes]:
                clean = _clean(value, limit.value_characters)
                if clean is not None:
                    found[str(key)] = clean
        return found

    def update_name(self, name: str) -> None:
        """Rename the span while it runs."""
        if not self.end_ns:
            self.name = name

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        """OK is final, an error is not taken back by UNSET."""
        if self.end_ns or self.status_code == 1:
            return
        code = status.status_code if isinstance(status, Status) else status
        said = status.description if isinstance(status, Status) else description
        if code is not StatusCode.UNSET:
            self.status_code = _CODES[code]
            self.status_message = (said or "")[:1024] if code is StatusCode.ERROR else ""

    def record_exception(
        self,
        exception: BaseException,
        attributes: Mapping[str, Any] | None = None,
        timestamp: int | None = None,
        escaped: bool = False,
    ) -> None:
        """Add the standard `exception` event; the message is redacted."""
        with guard("span.exception"):
            from ..logs.redaction import redact_value

            kind = type(exception)
            text = "".join(traceback.format_exception(kind, exception, exception.__traceback__, limit=32))
            found = {
                "exception.type": f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins."),
                "exception.message": redact_value(_text(exception)),
                "exception.stacktrace": redact_value(text[-16_000:]),
                **(attributes or {}),
            }
            self.add_event("exception", found, timestamp)

    def end(self, end_time: int | None = None) -> None:
        """End once; later ends change nothing."""
        if self.end_ns:
            return
        self.end_ns = end_time or time_ns()
        self.provider.ended(self)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None and isinstance(error, Exception):
            self.record_exception(error)
            self.set_status(StatusCode.ERROR, f"{type(error).__name__}: {_text(error)}")
        self.end()

    # -- what the ecosystem reads -------------------------------------------------------------

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
        code = (StatusCode.UNSET, StatusCode.OK, StatusCode.ERROR)[self.status_code]
        return Status(code, self.status_message or None)

    @property
    def parent(self) -> SpanContext | None:
        """The parent's context, None for a root."""
        if not self.parent_span_id:
            return None
        return SpanContext(self.trace_id, self.parent_span_id, self.parent_remote, TraceFlags(self.flags))


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - a message that cannot be shown is no reason to raise
        return "<unprintable>"


def _clean(value: Any, most: int) -> Any:
    """The value as OTLP can carry it, None when it cannot."""
    kind = type(value)
    if kind is str:
        return value if len(value) <= most else value[:most]
    if kind in (int, float, bool, bytes):
        return value
    if isinstance(value, str):
        return str(value)[:most]
    if isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, Sequence) and all(isinstance(v, (str, bool, int, float)) or v is None for v in value):
        return tuple(v[:most] if isinstance(v, str) else v for v in value[:most])
    return None
