"""What other libraries put into spans leaves without secrets, and everything else as it is."""

from __future__ import annotations

from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.trace import Link, SpanContext, SpanKind, StatusCode

from firstcause.export.scrub import encode_scrubbed, scrub
from firstcause.logs.redaction import MASK
from firstcause.trace.provider import TracerProvider
from firstcause.trace.span import Span


def ended(name: str = "work", attributes: dict[str, Any] | None = None, **more: Any) -> Span:
    """A span of some library's, ended."""
    spans: list[Span] = []
    span = TracerProvider({}, spans.append).get_tracer("library").start_span(name, attributes=attributes, **more)
    span.end()
    return spans[0]


def test_clean_spans_are_left_as_they_are() -> None:
    """The very same attributes: nothing is copied where nothing is found."""
    span = ended(
        "GET /items/{item_id}", {"http.request.method": "GET", "note": "ordinary", "size": 7}, kind=SpanKind.CLIENT
    )
    attributes = span.attributes
    assert scrub(span) is span
    assert span.attributes is attributes
    assert "GET /items/{item_id}" == span.name


def test_every_part_of_a_span_is_searched() -> None:
    """Attributes, name, events, links and status."""
    found: list[Span] = []
    tracer = TracerProvider({}, found.append).get_tracer("library")
    link = Link(SpanContext(7, 7, is_remote=True), {"api_key": "PLANTED"})
    span = tracer.start_span(
        "GET https://h/?token=PLANTED", attributes={"http.url": "https://u:PLANTED@h/"}, links=[link]
    )
    span.add_event("password=PLANTED", {"cookie": "PLANTED", "n": 1})
    span.set_status(StatusCode.ERROR, "secret=PLANTED")
    span.end()
    raw = encode_scrubbed({"service.name": "shop"}, found)
    (scrubbed,) = ExportTraceServiceRequest.FromString(raw).resource_spans[0].scope_spans[0].spans
    assert b"PLANTED" not in raw
    assert [MASK, 1] == [
        scrubbed.events[0].attributes[0].value.string_value,
        scrubbed.events[0].attributes[1].value.int_value,
    ]
    assert MASK == scrubbed.links[0].attributes[0].value.string_value
    assert f"secret={MASK}" == scrubbed.status.message


def test_scrubbing_twice_changes_nothing() -> None:
    """A batch that is sent again was scrubbed before."""
    once = scrub(ended("token=abc", {"db.statement": "select 'abc'", "http.target": "/?sig=abc", "key": ("a", "b")}))
    name, attributes = once.name, dict(once.attributes)
    twice = scrub(once)
    assert (name, attributes) == (twice.name, dict(twice.attributes))
