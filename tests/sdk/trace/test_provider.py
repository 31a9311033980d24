"""The provider behind the OpenTelemetry API, with the stock SDK's parts plugged in."""

from __future__ import annotations

import asyncio
import os
import threading
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    Decision,
    ParentBased,
    Sampler,
    SamplingResult,
    TraceIdRatioBased,
)
from opentelemetry.trace import Link, SpanContext, SpanKind, StatusCode, TraceFlags
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from firstcause.trace.kept import KEPT
from firstcause.trace.provider import TracerProvider
from firstcause.trace.span import Span
from tests.sdk.trace.collected import Collected

# -- parents and children ---------------------------------------------------------------------------


def test_children_follow_the_current_span() -> None:
    """Spans of the API and of our own adapters become children of the current one, in one trace."""
    made = Collected()
    root = made.provider.server_span("GET", None, 1, {})
    with trace.use_span(root, end_on_exit=True):
        with made.tracer.start_as_current_span("outer") as outer:
            assert outer is trace.get_current_span()
            child = made.provider.child("SELECT", SpanKind.CLIENT, {"a": 1})
            child.end()
        assert root is trace.get_current_span()
    assert ["SELECT", "outer", "GET"] == made.names()
    assert (outer.span_id, root.span_id, 0) == (
        child.parent_span_id,
        outer.parent_span_id,
        root.parent_span_id,
    )
    assert 1 == len({span.trace_id for span in made.spans})
    assert ("shop.code", "1.2") == (outer.scope.name, outer.scope.version)
    assert "firstcause" == child.scope.name


def test_a_remote_parent() -> None:
    """A valid caller gives trace, parent, tracestate; its sampled flag counts only when it is trusted."""
    made = Collected()
    trusted = made.provider.server_span("GET", (5, 6, 0, "a=1"), 1, {})
    outsider = made.provider.server_span("GET", (5, 6, 0, "a=1"), 1, {}, trusted=False)
    assert (5, 6, "a=1", True, 0) == (
        trusted.trace_id, trusted.parent_span_id, trusted.trace_state, trusted.parent_remote, trusted.flags
    )  # fmt: skip
    assert 1 == outsider.flags & 1


def test_the_callers_mark_goes_no_further() -> None:
    """The mark that a caller put into tracestate is not part of ours: propagators send that to anybody."""
    made = Collected()
    root = made.provider.server_span("GET", (5, 6, 1, "a=1,fc=0123,b=2"), 1, {})
    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier, trace.set_span_in_context(root))
    assert ("a=1,b=2", "a=1,b=2") == (root.trace_state, carrier["tracestate"])
    assert f"00-{5:032x}-{root.span_id:016x}-01" == carrier["traceparent"]


def test_a_foreign_parent() -> None:
    """A parent from somebody else's propagator is followed, its decision included."""
    made = Collected()
    parent = trace.NonRecordingSpan(SpanContext(5, 6, True, TraceFlags(0)))
    span = made.tracer.start_span("x", trace.set_span_in_context(parent))
    span.end()
    assert (5, 6, True, False) == (
        span.trace_id,
        span.parent_span_id,
        span.parent_remote,
        span.is_recording(),
    )
    assert [] == made.spans


def test_links_and_start_time() -> None:
    """Links and times given at the start are kept."""
    link = Link(SpanContext(1, 2, True, TraceFlags(1)), {"why": "batch"})
    span = Collected().tracer.start_span("x", links=[link], start_time=42)
    assert ([(1, 2, "", {"why": "batch"}, 1)], 42) == (span.links, span.start_time)


# -- current spans --------------------------------------------------------------------------------------


def test_decorated_functions() -> None:
    """A decorated function has a span of its own per call, sync and async, and keeps its name."""
    made = Collected()

    @made.tracer.start_as_current_span("sync")
    def add(a: int, b: int) -> int:
        return a + b

    @made.tracer.start_as_current_span("async")
    async def later(a: int) -> Span:
        await asyncio.sleep(0)
        return trace.get_current_span()  # type: ignore[return-value]

    assert (3, 7, "add") == (add(1, 2), add(3, 4), add.__name__)
    assert "async" == asyncio.run(later(1)).name
    assert ["sync", "sync", "async"] == made.names()
    assert 3 == len({span.span_id for span in made.spans})


def test_an_error_under_a_current_span() -> None:
    """It is recorded once, sets the status, and goes on to the caller."""
    made = Collected()
    with pytest.raises(KeyError), made.tracer.start_as_current_span("x"):
        raise KeyError("k")
    assert [("exception", 2)] == [(name, made.spans[0].status_code) for name, _, _ in made.spans[0].events]


def test_the_standard_use_span() -> None:
    """`trace.use_span` records errors on our span as on the stock one."""
    made = Collected()
    span = made.tracer.start_span("x")
    with pytest.raises(ValueError), trace.use_span(span, end_on_exit=True):
        raise ValueError("bad")
    assert ["x"] == made.names()
    assert (2, "ValueError: bad", 1) == (span.status_code, span.status_message, len(span.events))


def test_end_on_exit_can_be_left_out() -> None:
    """`end_on_exit=False` leaves the span running."""
    made = Collected()
    with made.tracer.start_as_current_span("x", end_on_exit=False) as span:
        pass
    assert (None, []) == (span.end_time, made.spans)


# -- the stock SDK's parts --------------------------------------------------------------------------------


class Ending(SpanProcessor):
    """Adds an attribute as the span ends, and ends it again."""

    def on_start(self, span: Any, parent_context: Any = None) -> None:
        span.set_attribute("started", True)

    def _on_ending(self, span: Any) -> None:
        span.set_attribute("ending", True)
        span.end()


def test_stock_processor_and_exporter() -> None:
    """A stock processor gets a `ReadableSpan` with everything the span has."""
    made, memory = Collected(), InMemorySpanExporter()
    made.provider.add_span_processor(Ending())
    made.provider.add_span_processor(SimpleSpanProcessor(memory))
    link = SpanContext(1, 2, True, TraceFlags(1))
    with made.tracer.start_as_current_span("x", kind=SpanKind.CLIENT, attributes={"a": 1}) as span:
        span.add_event("e", {"b": 2}, 7)
        span.add_link(link, {"c": 3})
        span.set_status(StatusCode.ERROR, "bad")
    (seen,) = memory.get_finished_spans()
    assert isinstance(seen, ReadableSpan)
    assert ("x", SpanKind.CLIENT, {"a": 1, "started": True, "ending": True}) == (
        seen.name, seen.kind, dict(seen.attributes or {})
    )  # fmt: skip
    assert [("e", 7, {"b": 2})] == [(e.name, e.timestamp, dict(e.attributes or {})) for e in seen.events]
    assert [(2, {"c": 3})] == [(found.context.span_id, dict(found.attributes or {})) for found in seen.links]
    assert (StatusCode.ERROR, "bad") == (seen.status.status_code, seen.status.description)
    assert ("shop", "shop.code", None) == (
        seen.resource.attributes["service.name"], seen.instrumentation_scope.name, seen.parent  # type: ignore[union-attr]
    )  # fmt: skip
    assert (span.start_ns, span.end_ns, span.get_span_context()) == (
        seen.start_time,
        seen.end_time,
        seen.context,
    )
    assert '"name": "x"' in seen.to_json()
    assert "x" == encode_spans([seen]).resource_spans[0].scope_spans[0].spans[0].name
    assert ["x"] == made.names()


class Broken(SpanProcessor):
    """Raises wherever it is called."""

    def on_start(self, span: Any, parent_context: Any = None) -> None:
        raise RuntimeError

    _on_ending = on_end = force_flush = shutdown = on_start  # type: ignore[assignment]


def test_what_is_plugged_in_may_break() -> None:
    """A processor, sampler or exporter that raises costs neither the request nor the others."""

    class BrokenSampler(Sampler):
        def should_sample(self, *args: Any, **kwargs: Any) -> SamplingResult:
            raise RuntimeError

        def get_description(self) -> str:
            return "broken"

    def broken_export(_: Span) -> None:
        raise RuntimeError

    memory = InMemorySpanExporter()
    provider = TracerProvider({}, broken_export, sampler=BrokenSampler())
    provider.add_span_processor(Broken())
    provider.add_span_processor(SimpleSpanProcessor(memory))
    provider.get_tracer("t").start_span("x").end()
    assert not provider.force_flush()
    provider.shutdown()
    assert ["x"] == [span.name for span in memory.get_finished_spans()]


def test_stock_ratio_sampler() -> None:
    """The stock ratio sampler decides as it does in the stock SDK: by trace id."""
    ratio = TraceIdRatioBased(0.5)
    made = Collected(sampler=ParentBased(ratio))
    spans = [made.provider.server_span("GET", None, 1, {}) for _ in range(200)]
    expected = [ratio.should_sample(None, span.trace_id, "GET").decision is not Decision.DROP for span in spans]
    assert expected == [span.flags & 1 == 1 for span in spans]
    assert {True, False} == set(expected)


def test_samplers_see_every_span() -> None:
    """A sampler is asked for children too, may add attributes, and may record without sampling."""

    class ByName(Sampler):
        def should_sample(
            self, parent_context: Any, trace_id: int, name: str, kind: Any = None, attributes: Any = None,
            links: Any = None, trace_state: Any = None,
        ) -> SamplingResult:  # fmt: skip
            decision = {"drop": Decision.DROP, "record": Decision.RECORD_ONLY}.get(name, Decision.RECORD_AND_SAMPLE)
            return SamplingResult(decision, {"seen": name})

        def get_description(self) -> str:
            return "by name"

    made, memory = Collected(sampler=ByName()), InMemorySpanExporter()
    made.provider.add_span_processor(SimpleSpanProcessor(memory))
    with made.tracer.start_as_current_span("root") as root:
        for name in ("keep", "drop", "record"):
            span = made.tracer.start_span(name)
            assert (name != "drop") == span.is_recording()
            span.end()
    assert ["keep", "root"] == made.names() == [span.name for span in memory.get_finished_spans()]
    assert {"seen": "root"} == root.attributes


def test_stock_id_generator() -> None:
    """An id generator of the SDK makes the ids."""

    class Counting(RandomIdGenerator):
        def generate_span_id(self) -> int:
            return 7

        def generate_trace_id(self) -> int:
            return 9

    span = Collected(id_generator=Counting()).tracer.start_span("x")
    assert (9, 7) == (span.trace_id, span.span_id)


def test_ids_that_a_generator_fails_to_give_are_ours() -> None:
    """A generator that raises costs nobody a span."""

    class Failing(RandomIdGenerator):
        def generate_span_id(self) -> int:
            raise RuntimeError("on purpose")

    span = Collected(id_generator=Failing()).tracer.start_span("x")
    assert span.get_span_context().is_valid


@pytest.mark.parametrize("wrong", [0, -1, 1 << 64, "seven"])
def test_ids_that_are_none_are_ours(wrong: Any) -> None:
    """So are those that a generator makes too long, negative, zero or of something else."""

    class Wrong(RandomIdGenerator):
        def generate_span_id(self) -> int:
            return wrong  # type: ignore[no-any-return]

    span = Collected(id_generator=Wrong()).tracer.start_span("x")
    assert 0 < span.span_id < 1 << 64


def test_ids_differ_in_a_forked_child() -> None:
    """A forked worker does not repeat the ids of its parent, and its spans still end."""
    made = Collected()
    reader, writer = os.pipe()
    child = os.fork()
    span = made.tracer.start_span("x")
    span.end()
    if child == 0:
        os.write(writer, f"{span.trace_id:032x}{span.span_id:016x}{len(made.spans)}".encode())
        os._exit(0)
    os.waitpid(child, 0)
    theirs = os.read(reader, 64).decode()
    os.close(reader)
    os.close(writer)
    assert "1" == theirs[48:]
    assert {theirs[:32], theirs[32:48]}.isdisjoint({f"{span.trace_id:032x}", f"{span.span_id:016x}"})


def test_racing_ends_export_once() -> None:
    """However many threads end a span at once, it is exported once."""
    made = Collected()
    for _ in range(50):
        span, ready = made.tracer.start_span("x"), threading.Barrier(4)

        def end(span: Span = span, ready: threading.Barrier = ready) -> None:
            ready.wait()
            span.end()

        threads = [threading.Thread(target=end) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert 50 == len(made.spans) == len({span.span_id for span in made.spans})


# -- unsampled units ----------------------------------------------------------------------------------


def unsampled(made: Collected) -> Span:
    """The root of a unit that a trusted caller did not sample."""
    return made.provider.server_span("GET", (5, 6, 0, ""), 1, {})


def test_an_unsampled_unit_that_turns_out_slow_is_exported() -> None:
    """Children keep their attributes and go out with the root, marked as sampled; later ones too."""
    made = Collected()
    root = unsampled(made)
    with trace.use_span(root):
        child = made.provider.child("SELECT", SpanKind.CLIENT, {"db.system.name": "postgresql"})
        assert not child.is_recording()
        child.set_attribute("rows", 3)
        child.end()
        late = made.provider.child("late", SpanKind.INTERNAL, {})
    assert [] == made.spans
    made.provider.export_kept(root)
    made.provider.export_kept(root)
    root.end()
    late.end()
    assert ["SELECT", "GET", "late"] == made.names()
    assert {"db.system.name": "postgresql", "rows": 3} == child.attributes
    assert {1} == {span.flags & 1 for span in made.spans}


def test_kept_spans_are_bounded_and_forgotten() -> None:
    """At most 64 children are kept, and none after a unit that nobody asked for."""
    slow, fast = Collected(), Collected()
    for made in (slow, fast):
        root = unsampled(made)
        with trace.use_span(root):
            for n in range(KEPT + 10):
                made.provider.child(str(n), SpanKind.INTERNAL, {}).end()
        kept = root.kept
        assert kept is not None
        if made is slow:
            made.provider.export_kept(root)
        root.end()
        assert [] == kept.spans
    assert (KEPT + 1, 0) == (len(slow.spans), len(fast.spans))


def test_a_sampled_unit_keeps_nothing() -> None:
    """Where spans are exported as they end, `export_kept` changes nothing."""
    made = Collected()
    root = made.provider.server_span("GET", None, 1, {})
    made.provider.export_kept(root)
    root.end()
    assert (["GET"], None) == (made.names(), root.kept)


def test_always_off() -> None:
    """The stock sampler that drops everything makes spans that cost and export nothing."""
    made = Collected(sampler=ALWAYS_OFF)
    with made.tracer.start_as_current_span("x") as span:
        assert not span.is_recording()
    assert [] == made.spans


# -- libraries of the ecosystem ---------------------------------------------------------------------------


def test_contrib_fastapi_works_on_top() -> None:
    """The contrib FastAPI instrumentation, unmodified, makes its server span on our provider."""
    import httpx
    from fastapi import FastAPI
    from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor

    made, app = Collected(), FastAPI(telemetry={"tracing": False, "metrics": False, "logs": False})

    @app.get("/orders/{order}")
    async def order(order: int) -> dict[str, int]:
        return {"order": order}

    FastAPIInstrumentor.instrument_app(app, tracer_provider=made.provider, exclude_spans=["receive", "send"])

    async def call() -> int:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://shop") as client:
            return (await client.get("/orders/7", headers={"traceparent": f"00-{5:032x}-{6:016x}-01"})).status_code

    assert 200 == asyncio.run(call())
    (span,) = made.spans
    assert ("GET /orders/{order}", SpanKind.SERVER, 5, 6) == (span.name, span.kind, span.trace_id, span.parent_span_id)
