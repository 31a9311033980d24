"""OTLP requests for traces and logs, without protobuf: the same message the stock encoder makes.

The oracle is `opentelemetry.exporter.otlp.proto.common`; a property test compares the decoded
messages field by field. Two things it leaves out are left out here too: the sampled bit in a span's
`flags`, and a link's trace state. Field numbers: `opentelemetry-proto`, trace.proto and logs.proto.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from struct import Struct
from typing import Any, NamedTuple, Protocol, TypeVar

from firstcause._guard import count, report
from firstcause.export.protobuf import (
    MAX_CACHED,
    MAX_CACHED_CHARS,
    any_value,
    counter_field,
    float_head,
    pairs,
    sized,
    text_field,
    utf8,
    varint,
)

__all__ = ["LogLike", "Scope", "SpanLike", "encode_attributes", "encode_logs", "encode_spans"]


class Scope(NamedTuple):
    """The instrumentation scope: which library made the telemetry. Hashable, so keep values hashable."""

    name: str
    version: str = ""
    schema_url: str = ""
    attributes: tuple[tuple[str, Any], ...] = ()


class _Kind(Protocol):
    """An `opentelemetry.trace.SpanKind`; `_value_` is read since `.value` is a slow descriptor."""

    @property
    def _value_(self) -> Any: ...


class SpanLike(Protocol):
    """What the encoder reads of an ended span. Times are nanoseconds since the epoch."""

    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> _Kind: ...
    @property
    def trace_id(self) -> int: ...
    @property
    def span_id(self) -> int: ...
    @property
    def parent_span_id(self) -> int: ...
    @property
    def parent_remote(self) -> bool: ...
    @property
    def trace_state(self) -> str: ...
    @property
    def start_ns(self) -> int: ...
    @property
    def end_ns(self) -> int: ...
    @property
    def attributes(self) -> Mapping[str, Any]: ...
    @property
    def events(self) -> Sequence[tuple[str, int, Mapping[str, Any]]]: ...
    @property
    def links(self) -> Sequence[tuple[int, int, str, Mapping[str, Any], int]]: ...
    @property
    def status_code(self) -> int: ...
    @property
    def status_message(self) -> str: ...
    @property
    def dropped_attributes(self) -> int: ...
    @property
    def dropped_events(self) -> int: ...
    @property
    def dropped_links(self) -> int: ...
    @property
    def scope(self) -> Scope: ...


class LogLike(Protocol):
    """What the encoder reads of a log record. Times are nanoseconds since the epoch."""

    @property
    def timestamp_ns(self) -> int: ...
    @property
    def observed_ns(self) -> int: ...
    @property
    def severity_number(self) -> int: ...
    @property
    def severity_text(self) -> str: ...
    @property
    def body(self) -> Any: ...
    @property
    def attributes(self) -> Mapping[str, Any]: ...
    @property
    def trace_id(self) -> int: ...
    @property
    def span_id(self) -> int: ...
    @property
    def flags(self) -> int: ...
    @property
    def event_name(self) -> str: ...
    @property
    def scope(self) -> Scope: ...


LEDGER = "firstcause.ledger."
"""What the attributes of a unit's ledger begin with."""
LINK_REMOTE = 0x200
"""Bit in a link's `flags` that says its context came from another process (OTLP's own bit)."""

_LOW64 = (1 << 64) - 1
_ids = Struct(">2sQQ2sQ").pack
_span_times = Struct("<cQcQ").pack
_fixed64 = Struct("<Q").pack
_fixed32 = Struct("<I").pack
_double = Struct("<d").pack


def _tails() -> dict[tuple[int, bool, int], bytes]:
    """Kind, flags and message-less status of a span: 30 possible endings, made once."""
    tails = {}
    for kind in range(5):
        for remote in (False, True):
            for code in range(3):
                status = b"\x7a\x02\x18" + bytes([code]) if code else b"\x7a\x00"
                # OTLP's own bits: 0x100 says that it is known whether the parent is remote, 0x200 that it is.
                flags = b"\x85\x01" + _fixed32(0x300 if remote else 0x100)
                tails[kind, remote, code] = b"\x30" + bytes([kind + 1]) + flags + status
    return tails


_TAILS = _tails()
_names: dict[str, bytes] = {}
_scopes: dict[Scope, bytes] = {}
_log_heads: dict[tuple[int, str, str], bytes] = {}
_ledger_heads: dict[str, bytes] = {}
_resource: tuple[Mapping[str, Any], dict[str, Any], bytes] | None = None
_Item = TypeVar("_Item", bound="SpanLike | LogLike")


def encode_spans(resource: Mapping[str, Any], spans: Sequence[SpanLike]) -> bytes:
    """An `ExportTraceServiceRequest`. A span that cannot be encoded is left out and counted."""
    return _request(resource, _by_scope(spans, _span, "traces"))


def encode_logs(resource: Mapping[str, Any], records: Sequence[LogLike]) -> bytes:
    """An `ExportLogsServiceRequest`. A record that cannot be encoded is left out and counted."""
    return _request(resource, _by_scope(records, _log, "logs"))


def _by_scope(
    items: Iterable[_Item], encode: Callable[[_Item], bytes], signal: str
) -> dict[Scope, list[bytes]]:
    groups: dict[Scope, list[bytes]] = {}
    scope: Scope | None = None
    group: list[bytes] = []
    for item in items:
        try:
            encoded = encode(item)
            # Neighbours mostly share a scope; comparing identity spares hashing a tuple per span.
            if item.scope is not scope:
                group = groups.setdefault(item.scope, [b""])
                scope = item.scope
            group.append(encoded)
        except Exception as error:  # noqa: BLE001 - one bad span must not cost its batch
            count("firstcause.self.dropped", signal=signal, reason="encode")
            report(f"export.otlp.{signal}", error)
    return groups


def _request(resource: Mapping[str, Any], groups: dict[Scope, list[bytes]]) -> bytes:
    """Both requests have one shape: resource 1, then per scope (2): scope 1, items 2, schema_url 3."""
    if not groups:
        return b""
    parts = [_resource_field(resource)]
    for scope, encoded in groups.items():
        body = _scope_field(scope) + b"\x12".join(encoded) + text_field(b"\x1a", scope.schema_url)
        parts += (b"\x12", varint(len(body)), body)
    body = b"".join(parts)
    return b"\x0a" + sized(body)


def _resource_field(resource: Mapping[str, Any]) -> bytes:
    global _resource
    known = _resource
    # Identity first: equal mappings may still differ on the wire (1 and True). Equality then notices
    # a mapping changed in place.
    if known is not None and known[0] is resource and known[1] == resource:
        return known[2]
    encoded = b"\x0a" + sized(pairs(b"\x0a", resource.items()))
    _resource = (resource, dict(resource), encoded)
    return encoded


def _scope_field(scope: Scope) -> bytes:
    encoded = _scopes.get(scope)
    if encoded is None:
        head = text_field(b"\x0a", scope.name) + text_field(b"\x12", scope.version)
        encoded = b"\x0a" + sized(head + pairs(b"\x1a", scope.attributes))
        # Attributes may be equal and yet differ on the wire (1 and True): those are encoded each time.
        if not scope.attributes and len(_scopes) < MAX_CACHED:
            _scopes[scope] = encoded
    return encoded


def _name_field(name: str) -> bytes:
    encoded = text_field(b"\x2a", name)
    if len(name) <= MAX_CACHED_CHARS:
        if len(_names) >= MAX_CACHED:
            _names.clear()
        _names[name] = encoded
    return encoded


def _span(span: SpanLike) -> bytes:
    """A `Span` message behind its length."""
    trace_id = span.trace_id
    name = span.name
    parts = [
        _ids(b"\x0a\x10", trace_id >> 64, trace_id & _LOW64, b"\x12\x08", span.span_id),
        _names.get(name) or _name_field(name),
        _span_times(b"\x39", span.start_ns or 0, b"\x41", span.end_ns or 0),
    ]
    shared = getattr(span, "shared", None)
    if shared is None:
        parts.append(encode_attributes(span.attributes))
    else:
        # What it has in common with others is encoded already; its ledger's attributes are made here.
        parts += (shared.encoded, encode_attributes(span.own))  # type: ignore[attr-defined]
        for resource, ns in span.spent.items():  # type: ignore[attr-defined]
            parts += (_ledger_heads.get(resource) or _ledger_head(resource), _double(ns // 1000 / 1e6))
    if span.parent_span_id:
        parts.append(b"\x22\x08" + span.parent_span_id.to_bytes(8, "big"))
    if span.trace_state:
        parts.append(text_field(b"\x1a", span.trace_state))
    if span.events or span.links:
        parts += map(_event, span.events)
        parts += map(_link, span.links)
    if span.dropped_attributes or span.dropped_events or span.dropped_links:
        parts.append(counter_field(b"\x50", span.dropped_attributes))
        parts.append(counter_field(b"\x60", span.dropped_events))
        parts.append(counter_field(b"\x70", span.dropped_links))
    parts.append(
        _TAILS[span.kind._value_, span.parent_remote, 0 if span.status_message else span.status_code]
    )
    if span.status_message:
        parts.append(_status(span))
    return sized(b"".join(parts))


def _ledger_head(resource: str) -> bytes:
    """All of an attribute but its number; resources are bounded by the ledger."""
    head = _ledger_heads[resource] = b"\x4a" + float_head(LEDGER + resource)
    return head


def encode_attributes(attributes: Mapping[str, Any]) -> bytes:
    """The attributes of a span as fields of its message."""
    return pairs(b"\x4a", attributes.items())


def _status(span: SpanLike) -> bytes:
    """A second `status` field: protobuf merges it into the empty one of the tail."""
    message = text_field(b"\x12", span.status_message)
    return b"\x7a" + sized(message + counter_field(b"\x18", span.status_code))


def _event(event: tuple[str, int, Mapping[str, Any]]) -> bytes:
    name, time_ns, attributes = event
    body = b"\x09" + _fixed64(time_ns) + text_field(b"\x12", name)
    return b"\x5a" + sized(body + pairs(b"\x1a", attributes.items()) if attributes else body)


def _link(link: tuple[int, int, str, Mapping[str, Any], int]) -> bytes:
    trace_id, span_id, _trace_state, attributes, flags = link
    body = _ids(b"\x0a\x10", trace_id >> 64, trace_id & _LOW64, b"\x12\x08", span_id)
    if attributes:
        body += pairs(b"\x22", attributes.items())
    return b"\x6a" + sized(body + b"\x35" + _fixed32(0x100 | flags & LINK_REMOTE))


def _log(record: LogLike) -> bytes:
    """A `LogRecord` message behind its length; a record may know it already."""
    own = getattr(record, "otlp", None)
    made: bytes | None = None if own is None else own()
    if made is not None:
        return made
    parts = [
        _span_times(b"\x09", record.timestamp_ns or 0, b"\x59", record.observed_ns or 0),
        _log_head(record.severity_number, record.severity_text, record.body),
        pairs(b"\x32", record.attributes.items()),
    ]
    if record.flags:
        parts.append(b"\x45" + _fixed32(record.flags))
    if record.trace_id:
        parts.append(b"\x4a\x10" + record.trace_id.to_bytes(16, "big"))
    if record.span_id:
        parts.append(b"\x52\x08" + record.span_id.to_bytes(8, "big"))
    if record.event_name:
        parts.append(b"\x62" + sized(utf8(record.event_name)))
    return sized(b"".join(parts))


def _log_head(number: int, severity: str, body: Any) -> bytes:
    """Severity and body; short texts are mostly constant messages, so those are kept."""
    if body.__class__ is not str or len(body) > MAX_CACHED_CHARS:
        return _make_log_head(number, severity, body)
    head = _log_heads.get((number, severity, body))
    if head is None:
        head = _make_log_head(number, severity, body)
        if len(_log_heads) >= MAX_CACHED:
            _log_heads.clear()
        _log_heads[number, severity, body] = head
    return head


def _make_log_head(number: int, severity: str, body: Any) -> bytes:
    return counter_field(b"\x10", number) + text_field(b"\x1a", severity) + b"\x2a" + sized(any_value(body))
