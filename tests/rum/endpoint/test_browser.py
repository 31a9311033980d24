"""A real browser, the built beacon, the real endpoint: one trace, and nothing dropped on the way."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fastapi import FastAPI
from fastapi.responses import HTMLResponse
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind

import firstcause
from demo_app.alerting import wait
from firstcause.testing import Capture
from firstcause_rum import Config
from firstcause_rum.asgi import attach
from tests.rum.beacon.browser import Browser, chromium

from .servers import asgi

PAGE = """<!doctype html><meta charset=utf-8><title>cart</title><script src="/_fc.js" data-every="200"></script>
<h1>cart</h1><script>fetch("/api/items"); setTimeout(() => { throw new TypeError("planted") }, 50)</script>"""


@pytest.fixture(name="port")
def _port(seen: Capture) -> Iterator[int]:
    app = FastAPI()

    @app.get("/cart/{number}", response_class=HTMLResponse)
    def cart(number: int) -> str:
        return PAGE

    @app.get("/api/items")
    def items() -> list[int]:
        return [1, 2]

    firstcause.configure("shop", app=app)
    attach(app, Config(count_tests=True, settle_s=0.2, settle_late_s=0.2))  # a headless browser says that it is one
    with asgi(app) as port:
        yield port


def ours(seen: Capture) -> list[ReadableSpan]:
    """Spans of the page, as the endpoint tells them; those of views that another test left are not of this page."""
    told = [span for span in seen.spans if span.instrumentation_scope.name == "firstcause-rum"]
    return [span for span in told if "/cart/4711" in str(span.attributes["url.full"]) or span.name == "GET"]


def test_traces_from_the_browser_to_the_service(port: int, seen: Capture) -> None:
    """The page load under the page's own request; the service's span under the request that the page made."""
    if chromium() is None:
        pytest.skip("no browser: apt-get install chromium")
    browser = Browser()
    try:
        with browser.tab() as tab:
            tab.go(f"http://127.0.0.1:{port}/cart/4711")
            assert wait(lambda: {"documentLoad", "GET"} <= {span.name for span in ours(seen)}, 30)
            assert wait(lambda: seen.metric("firstcause.page.errors") and seen.metric("firstcause.page.ttfb.device"), 30)
    finally:
        browser.close()
    calls = [span for span in ours(seen) if span.name == "GET"]
    served = {span.name: span for span in seen.spans if span.kind is SpanKind.SERVER}
    page, api, (call,) = served["GET /cart/{number}"], served["GET /api/items"], calls
    load = next(span for span in ours(seen) if span.name == "documentLoad")
    assert (page.context.trace_id, page.context.span_id) == (load.context.trace_id, load.parent.span_id)
    assert (call.context.trace_id, call.context.span_id) == (api.context.trace_id, api.parent.span_id)
    assert (page.context.trace_id, load.context.span_id) == (call.context.trace_id, call.parent.span_id)
    assert 1 == seen.metric("firstcause.page.views", page_route="/cart/{}", joined="true")
    assert 1 == seen.metric("firstcause.page.bad", outcome="error")
    assert page.context.trace_id == next(log for log in seen.logs if log.event_name == "exception").trace_id
    wrong = ("unknown", "invalid", "impossible", "incomplete", "unsigned", "stale", "reused", "full")
    assert [] == [drop for drop in wrong if seen.metric("firstcause.rum.dropped", drop=drop)]
