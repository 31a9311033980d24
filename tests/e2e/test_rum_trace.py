"""One trace from a real browser to the worker, through the beacon, the endpoint at another origin, and the shop."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from demo_app.alerting import wait
from demo_app.chromium import chromium
from demo_app.sink import Sink
from demo_app.supervisor import Shop
from demo_app.visitors import AWAY, Real

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]
Spans = list[tuple[str, Any]]


@pytest.fixture(name="traces", scope="module")
def _traces() -> Iterator[list[Spans]]:
    """The traces that a visit to the checkout left, once the order's requests have been told by the browser."""
    if chromium() is None:
        pytest.skip("no browser: apt-get install chromium")
    sink = Sink()
    with Shop(sink.url) as shop:
        visitor = Real(shop.directory, AWAY, shop.relay)
        visitor.visit(f"http://127.0.0.1:{shop.ports['gateway']}", "/shop/checkout")
        visitor.close()
        assert wait(lambda: spans_of(sink, ORDER) and spans_of(sink, LOAD), 60)
        yield [spans_of(sink, ORDER), spans_of(sink, LOAD)]
    sink.close()


ORDER = {
    ("rum", "POST"), ("gateway", "POST /checkout"), ("orders", "POST /checkout"), ("payments", "POST /pay"),
    ("orders", "send mail"), ("worker", "mail mail"),
}  # fmt: skip
LOAD = {("gateway", "GET /shop/checkout"), ("rum", "documentLoad"), ("rum", "documentFetch")}


def spans_of(sink: Sink, wanted: set[tuple[str, str]]) -> Spans:
    """The trace that has all of these services and spans; empty without one."""
    found = (spans for spans in list(sink.traces.values()) if wanted <= names(spans))
    return next(found, [])


def names(spans: Spans) -> set[tuple[str, str]]:
    return {(service, span.name) for service, span in spans}


def one(spans: Spans, service: str, name: str) -> list[Any]:
    return [span for of, span in spans if (of, span.name) == (service, name)]


def test_one_trace_runs_from_the_browser_to_the_worker(traces: list[Spans]) -> None:
    """The browser's request is the parent of the gateway's span; all below it, queue and worker too, has its trace id."""
    order, _load = traces
    (served,) = one(order, "gateway", "POST /checkout")
    assert served.parent_span_id in {span.span_id for span in one(order, "rum", "POST")}
    assert 1 == len({span.trace_id for _, span in order})
    by_id = {span.span_id: (service, span) for service, span in order}
    above, (mail,) = set(), one(order, "worker", "mail mail")
    while mail.parent_span_id in by_id:
        service, mail = by_id[mail.parent_span_id]
        above.add(service)
    assert {"orders", "gateway", "rum"} <= above


def test_the_page_load_hangs_under_the_gateways_span(traces: list[Spans]) -> None:
    """What the browser saw of the load is a child of the request that served the page."""
    _order, load = traces
    (served,), (seen,) = one(load, "gateway", "GET /shop/checkout"), one(load, "rum", "documentLoad")
    assert (served.trace_id, served.span_id) == (seen.trace_id, seen.parent_span_id)


def test_the_order_continues_the_trace_of_its_page(traces: list[Spans]) -> None:
    """Load and click of one view are one trace."""
    order, load = traces
    assert {span.trace_id for _, span in load} == {span.trace_id for _, span in order}
