"""The encoder makes the message the stock encoder makes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs as stock_logs
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans as stock_spans
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from firstcause import _guard
from firstcause.export import protobuf
from firstcause.export.otlp import LINK_REMOTE, Scope, encode_logs, encode_spans

LIBRARY = Scope("lib", "1")


@dataclass
class Span:
    """An ended span as the encoder reads one."""

    name: str = "GET /items/{id}"
    kind: SpanKind = SpanKind.SERVER
    trace_id: int = 1
    span_id: int = 2
    parent_span_id: int = 0
    parent_remote: bool = False
    trace_state: str = ""
    start_ns: int = 1
    end_ns: int = 2
    attributes: dict[str, Any] = field(default_factory=dict)
    events: list[tuple[str, int, dict[str, Any]]] = field(default_factory=list)
    links: list[tuple[int, int, str, dict[str, Any], int]] = field(default_factory=list)
    status_code: int = 0
    status_message: str = ""
    dropped_attributes: int = 0
    dropped_events: int = 0
    dropped_links: int = 0
    scope: Scope = LIBRARY


@dataclass
class Log:
    """A log record as the encoder reads one."""

    timestamp_ns: int = 1
    observed_ns: int = 2
    severity_number: int = 9
    severity_text: str = "INFO"
    body: Any = "hello"
    attributes: dict[str, Any] = field(default_factory=dict)
    trace_id: int = 0
    span_id: int = 0
    flags: int = 0
    event_name: str = ""
    scope: Scope = LIBRARY


uint64 = st.integers(0, 2**64 - 1)
span_ids = st.integers(1, 2**64 - 1)
trace_ids = st.integers(1, 2**128 - 1)
int64 = st.integers(-(2**63), 2**63 - 1)
texts = st.text(max_size=12) | st.sampled_from(["", "GET", "ünï", "x" * 130, "\x00"])
scalars = st.booleans() | int64 | st.integers(-3, 300) | st.floats() | texts
sequences = (
    st.lists(texts | st.none(), max_size=3)
    | st.lists(int64 | st.none(), max_size=3)
    | st.lists(st.floats() | st.none(), max_size=3).map(tuple)
    | st.lists(st.booleans(), max_size=3)
)
values = scalars | st.binary(max_size=9) | sequences
attributes = st.dictionaries(texts, values, max_size=5)
bodies = st.recursive(
    values | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
scopes = st.builds(
    Scope,
    texts,
    texts,
    texts,
    st.dictionaries(texts, st.booleans() | int64 | texts, max_size=2).map(lambda pairs: tuple(pairs.items())),
)
trace_states = st.dictionaries(
    st.from_regex(r"[a-z]{1,5}", fullmatch=True), st.from_regex(r"[a-z]{1,5}", fullmatch=True), max_size=2
).map(lambda entries: ",".join(f"{key}={value}" for key, value in entries.items()))
spans = st.builds(
    Span,
    name=texts,
    kind=st.sampled_from(SpanKind),
    trace_id=trace_ids,
    span_id=span_ids,
    parent_span_id=st.just(0) | span_ids,
    parent_remote=st.booleans(),
    trace_state=trace_states,
    start_ns=uint64,
    end_ns=uint64,
    attributes=attributes,
    events=st.lists(st.tuples(texts, uint64, attributes), max_size=2),
    links=st.lists(
        st.tuples(trace_ids, span_ids, st.just(""), attributes, st.sampled_from([0, LINK_REMOTE])), max_size=2
    ),
    status_code=st.integers(0, 2),
    status_message=texts,
    dropped_attributes=st.integers(0, 2**32 - 1),
    dropped_events=st.integers(0, 2**32 - 1),
    dropped_links=st.integers(0, 2**32 - 1),
    scope=scopes,
)
logs = st.builds(
    Log,
    timestamp_ns=uint64,
    observed_ns=uint64,
    severity_number=st.integers(0, 24),
    severity_text=texts,
    body=bodies,
    attributes=attributes,
    trace_id=st.just(0) | trace_ids,
    span_id=st.just(0) | span_ids,
    flags=st.integers(0, 255),
    event_name=texts,
    scope=scopes,
)


class _Dropping(ReadableSpan):
    """A stock span with the dropped counts given, which the SDK derives from its limits."""

    dropped: tuple[int, int, int] = (0, 0, 0)

    dropped_attributes = property(lambda self: self.dropped[0])
    dropped_events = property(lambda self: self.dropped[1])
    dropped_links = property(lambda self: self.dropped[2])


def _status(span: Span) -> Status:
    status = Status(StatusCode(span.status_code))
    status._description = span.status_message
    return status


def _stock_scope(scope: Scope) -> InstrumentationScope:
    stock = InstrumentationScope(scope.name, scope.version, scope.schema_url)
    stock._attributes = dict(scope.attributes)  # type: ignore[assignment]  # past the SDK's own cleaning
    return stock


def _stock_resource(attributes: dict[str, Any]) -> Resource:
    resource = Resource({})
    resource._attributes = attributes  # type: ignore[assignment]
    return resource


def _state(text: str) -> TraceState:
    return TraceState.from_header([text]) if text else TraceState()


def _stock_span(span: Span, resource: Resource) -> ReadableSpan:
    parent = None
    if span.parent_span_id:
        parent = SpanContext(span.trace_id, span.parent_span_id, span.parent_remote)
    stock = _Dropping(
        name=span.name,
        context=SpanContext(span.trace_id, span.span_id, False, TraceFlags(1), _state(span.trace_state)),
        parent=parent,
        resource=resource,
        attributes=span.attributes,
        events=[Event(name, attributes, time_ns) for name, time_ns, attributes in span.events],
        links=[
            Link(SpanContext(trace_id, span_id, bool(flags & LINK_REMOTE)), attributes)
            for trace_id, span_id, _, attributes, flags in span.links
        ],
        kind=span.kind,
        status=_status(span),
        start_time=span.start_ns,
        end_time=span.end_ns,
        instrumentation_scope=_stock_scope(span.scope),
    )
    stock.dropped = (span.dropped_attributes, span.dropped_events, span.dropped_links)
    return stock


def _stock_log(log: Log, resource: Resource) -> ReadableLogRecord:
    record = LogRecord(
        timestamp=log.timestamp_ns,
        observed_timestamp=log.observed_ns,
        severity_text=log.severity_text,
        severity_number=SeverityNumber(log.severity_number),
        body=log.body,
        attributes=log.attributes,
        event_name=log.event_name,
    )
    record.trace_id, record.span_id, record.trace_flags = log.trace_id, log.span_id, TraceFlags(log.flags)
    record.observed_timestamp = log.observed_ns
    return ReadableLogRecord(record, resource, _stock_scope(log.scope))


def _text(message: Any) -> str:
    """The whole message as text: unlike ==, it holds NaN equal to NaN and tells 0.0 from -0.0."""
    return str(message)


quick = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@quick
@given(attributes, st.lists(spans, min_size=1, max_size=4))
def test_spans_equal_the_stock_encoder(resource: dict[str, Any], batch: list[Span]) -> None:
    """Arbitrary spans decode to exactly the message of the stock encoder."""
    for span in batch:
        # Without a parent there is nothing that could be remote.
        span.parent_remote = span.parent_remote and bool(span.parent_span_id)
    stock_resource = _stock_resource(resource)
    expected = stock_spans([_stock_span(span, stock_resource) for span in batch])
    actual = ExportTraceServiceRequest.FromString(encode_spans(resource, batch))
    assert _text(expected) == _text(actual)


@quick
@given(attributes, st.lists(logs, min_size=1, max_size=4))
def test_logs_equal_the_stock_encoder(resource: dict[str, Any], batch: list[Log]) -> None:
    """Arbitrary log records decode to exactly the message of the stock encoder."""
    stock_resource = _stock_resource(resource)
    expected = stock_logs([_stock_log(log, stock_resource) for log in batch])
    actual = ExportLogsServiceRequest.FromString(encode_logs(resource, batch))
    assert _text(expected) == _text(actual)


def _only_attribute(value: Any) -> AnyValue:
    request = ExportTraceServiceRequest.FromString(encode_spans({}, [Span(attributes={"key": value})]))
    (pair,) = request.resource_spans[0].scope_spans[0].spans[0].attributes
    return pair.value


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 10**30])
def test_integers_beyond_64_bits_become_strings(number: int) -> None:
    """An integer that OTLP cannot hold arrives as its decimal text."""
    assert AnyValue(string_value=str(number)) == _only_attribute(number)


def test_integers_beyond_the_digit_limit_become_hex() -> None:
    """An integer too long for Python's decimal conversion arrives in hexadecimal."""
    assert hex(10**5000) == _only_attribute(10**5000).string_value


def test_lone_surrogates_become_question_marks() -> None:
    """Text that has no UTF-8 form is replaced in names, keys and values, and nothing raises."""
    batch = [Span(name="a\ud800", attributes={"k\udfff": "v\ud800"})]
    span = (
        ExportTraceServiceRequest.FromString(encode_spans({}, batch))
        .resource_spans[0]
        .scope_spans[0]
        .spans[0]
    )
    pair = span.attributes[0]
    assert ("a?", "k?", "v?") == (span.name, pair.key, pair.value.string_value)


def test_equal_values_of_different_types_are_told_apart() -> None:
    """True, 1 and 1.0 keep their types although they are equal as keys of a cache."""
    kinds = [_only_attribute(value).WhichOneof("value") for value in (1, True, 1.0, 1)]
    assert ["int_value", "bool_value", "double_value", "int_value"] == kinds


def test_objects_of_unknown_type_become_their_text() -> None:
    """A value OTLP has no type for arrives as its string."""
    assert AnyValue(string_value="(1+2j)") == _only_attribute(1 + 2j)


def test_cyclic_and_deep_bodies_end() -> None:
    """A log body that contains itself is cut at the depth limit and still decodes."""
    body: dict[str, Any] = {}
    body["self"] = body
    value = ExportLogsServiceRequest.FromString(encode_logs({}, [Log(body=body)]))
    at = value.resource_logs[0].scope_logs[0].log_records[0].body
    depth = 0
    while at.WhichOneof("value") == "kvlist_value":
        at = at.kvlist_value.values[0].value
        depth += 1
    assert (protobuf.MAX_DEPTH, "<nested too deep>") == (depth, at.string_value)


def test_a_span_that_cannot_be_encoded_costs_only_itself() -> None:
    """One impossible span is left out and counted; the rest of its batch arrives."""
    _guard.reset_self_counts()
    batch = [Span(name="good"), Span(name="bad", start_ns=-1), Span(name="also good")]
    request = ExportTraceServiceRequest.FromString(encode_spans({}, batch))
    assert ["good", "also good"] == [span.name for span in request.resource_spans[0].scope_spans[0].spans]
    key = ("firstcause.self.dropped", (("reason", "encode"), ("signal", "traces")))
    assert 1 == _guard.self_counts()[key]


def test_caches_stay_bounded() -> None:
    """Values and names that never repeat leave the caches at their cap."""
    for start in range(0, 3 * protobuf.MAX_CACHED, 512):
        encode_spans(
            {}, [Span(name=f"n{i}", attributes={f"k{i}": f"v{i}", "n": i}) for i in range(start, start + 512)]
        )
    caches: tuple[dict[Any, bytes], ...] = (protobuf._keys, protobuf._text_pairs, protobuf._int_pairs)
    assert protobuf.MAX_CACHED >= max(len(cache) for cache in caches)


def test_a_resource_changed_in_place_is_noticed() -> None:
    """The remembered resource bytes never outlive the content they were made from."""
    resource = {"service.name": "a"}
    encode_spans(resource, [Span()])
    resource["service.name"] = "b"
    request = ExportTraceServiceRequest.FromString(encode_spans(resource, [Span()]))
    assert "b" == request.resource_spans[0].resource.attributes[0].value.string_value


def test_nothing_to_send_is_no_bytes() -> None:
    """An empty batch makes an empty request."""
    assert (b"", b"") == (encode_spans({}, []), encode_logs({}, []))
