"""Spans that open frames of the ledger."""

from __future__ import annotations

import asyncio
from time import perf_counter_ns
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.trace import SpanKind, StatusCode

from firstcause.diagnosis.ledger import FRAME, open_frame, stamped
from firstcause.trace.provider import PENDING
from tests.sdk.trace.collected import Collected, unit


def test_a_client_span_opens_a_frame_and_is_classified_at_its_end() -> None:
    """Attributes that come late still decide to which resource the time is booked."""
    made = Collected()
    with unit() as ledger:
        span = made.tracer.start_span("query", kind=SpanKind.CLIENT)
        assert span.opened is not None and PENDING == span.opened.resource
        span.set_attributes({"db.system.name": "postgresql", "db.namespace": "shop", "db.query.summary": "SELECT o"})
        span.end()
        shares = ledger.finish(perf_counter_ns())
    assert {"app", "db:postgresql/shop"} == set(shares) - {"runtime:runqueue"}  # of a busy machine
    assert "SELECT o" == span.opened.detail


def test_only_client_and_producer_spans_open_frames() -> None:
    """Internal spans, our adapters' children and spans outside a unit open none."""
    made = Collected()
    assert made.tracer.start_span("x", kind=SpanKind.CLIENT).opened is None
    with unit():
        assert made.tracer.start_span("x").opened is None
        assert made.provider.child("x", SpanKind.CLIENT, {}).opened is None
        assert made.tracer.start_span("x", kind=SpanKind.PRODUCER).opened is not None


def test_frames_nest_under_the_current_span() -> None:
    """What runs inside a client span is booked below its frame, and a child does not close it."""
    made = Collected()
    with unit() as ledger:
        with made.tracer.start_as_current_span("call", kind=SpanKind.CLIENT) as outer:
            assert outer.opened is FRAME.get()
            child = made.provider.child("inner", SpanKind.CLIENT, {})
            child.end()
            assert outer.opened is not None and 0 == outer.opened.end
            frame = open_frame("db:x")
            assert frame is not None and frame.parent is outer.opened
            frame.ledger.close(frame, None, False, False)
        assert ledger.root is FRAME.get()
        span = made.tracer.start_span("other", kind=SpanKind.CLIENT)
        with trace.use_span(span):
            inner = made.tracer.start_span("inner", kind=SpanKind.CLIENT)
        assert inner.opened is not None and inner.opened.parent is span.opened


@pytest.mark.parametrize("flags", [0, 1])
def test_a_failed_client_span_fails_its_frame(flags: int) -> None:
    """An exception marks the frame failed, sampled or not, and remembers it."""
    made = Collected()
    error = ValueError("bad")
    with unit(), trace.use_span(made.provider.server_span("GET", (5, 6, flags, ""), 1, {})):
        with (
            pytest.raises(ValueError),
            made.tracer.start_as_current_span("call", kind=SpanKind.CLIENT) as span,
        ):
            raise error
        assert span.opened is not None and span.opened.failed
        assert span.opened is stamped(error)


@pytest.mark.parametrize(("status", "failed"), [(404, False), (429, True), (503, True)])
def test_a_peers_4xx_is_our_own_fault(status: int, failed: bool) -> None:
    """Of error answers 5xx and 429 fail the frame; other 4xx do not."""
    made = Collected()
    with unit():
        span = made.tracer.start_span("call", kind=SpanKind.CLIENT, attributes={"http.response.status_code": status})
        span.set_status(StatusCode.ERROR)
        span.end()
    assert span.opened is not None and failed == span.opened.failed


async def test_a_cancelled_client_span_cancels_its_frame() -> None:
    """A lost hedge is no failure: its frame is cancelled, the span no error."""
    made, started = Collected(), asyncio.Event()

    async def call() -> None:
        with made.tracer.start_as_current_span("call", kind=SpanKind.CLIENT):
            started.set()
            await asyncio.Event().wait()

    with unit():
        task = asyncio.create_task(call())
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    (span,) = made.spans
    assert span.opened is not None
    assert (True, False, 0) == (span.opened.cancelled, span.opened.failed, span.status_code)


async def test_a_generator_closed_elsewhere() -> None:
    """A stream whose generator is closed in another context ends its span without an error."""
    made = Collected()

    async def stream() -> Any:
        with made.tracer.start_as_current_span("stream", kind=SpanKind.CLIENT):
            yield 1
            yield 2

    with unit():
        generator = stream()
        assert 1 == await asyncio.create_task(anext(generator))
        await asyncio.create_task(generator.aclose())
    assert [("stream", 0)] == [(span.name, span.status_code) for span in made.spans]
