"""What a capture sees of requests, through every way tests make them."""

from __future__ import annotations

import asyncio
import inspect
import logging
import threading
import warnings
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog
from opentelemetry import metrics, trace
from opentelemetry.trace import SpanKind

import firstcause
from firstcause.testing import Capture
from tests.sdk.testing import shop
from tests.sdk.testing.shop import fastapi_shop, flask_shop

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # Starlette prefers another client library
    from starlette.testclient import TestClient

EARLY = trace.get_tracer("early")
PAID = metrics.get_meter("shop").create_counter("orders.paid.early")


def line_of(text: str) -> int:
    """Where the shop's source has this text."""
    return 1 + next(n for n, line in enumerate(inspect.getsource(shop).splitlines()) if text in line)


def places(capture: Capture) -> set[tuple[str, int]]:
    """File and line of every captured query."""
    found = (query.place.partition(" in ")[0].rpartition(":") for query in capture.requests[-1].queries)
    return {(Path(file).name, int(line)) for file, _, line in found}


def test_a_fastapi_request_through_the_test_client(capture: Capture, database: Path) -> None:
    """Route template, status, ledger and queries with the line of the application that asked, through greenlets."""
    app = fastapi_shop(database)
    firstcause.configure(service="orders", app=app)
    with TestClient(app) as client:
        assert ["tea", "jam", "oats"] == client.get("/orders/7").json()
    (request,) = capture.requests
    assert ("GET", "/orders/{order_id}", 200, "ok") == (request.method, request.route, request.status, request.outcome)
    assert 4 == len(request.queries)
    assert {("shop.py", line_of("execute(ITEMS)")), ("shop.py", line_of("(await connection.execute(ITEM,"))} == places(capture)
    assert {"db:sqlite/shop.db"} == {query.resource for query in request.queries}
    assert request.duration_s == pytest.approx(sum(request.ledger.values()))
    assert 0 < request.spent("db") < request.duration_s


async def test_a_fastapi_request_through_the_asgi_transport(capture: Capture, database: Path) -> None:
    """The same from a coroutine, on the test's own event loop."""
    app = fastapi_shop(database)
    firstcause.configure(service="orders", app=app)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://shop") as client:
        await asyncio.gather(client.get("/orders/7"), client.get("/orders/8"))
    assert [4, 4] == [len(request.queries) for request in capture.requests]
    await app.state.engine.dispose()


def test_a_flask_request_through_the_test_client(capture: Capture, database: Path) -> None:
    """A request ends although Flask's client closes no body, and leaves no context behind."""
    app = flask_shop(database)
    firstcause.configure(service="orders", app=app)
    client = app.test_client()
    assert ["tea", "jam", "oats"] == client.get("/orders/7").get_json()
    client.get("/orders/7")
    assert [("/orders/<int:order_id>", 4)] * 2 == [(r.route, len(r.queries)) for r in capture.requests]
    assert {("shop.py", line_of("    ids = connection.execute(ITEMS)")), ("shop.py", line_of("[connection.execute(ITEM,"))} == places(capture)
    assert not trace.get_current_span().get_span_context().is_valid


def test_a_server_in_a_thread_is_waited_for(capture: Capture, database: Path) -> None:
    """`wait` returns when the request has ended on the server's thread, and says so when none does."""
    app = flask_shop(database)
    firstcause.configure(service="orders", app=app)
    thread = threading.Thread(target=lambda: app.test_client().get("/orders/7"))
    thread.start()
    capture.wait(1, timeout_s=30)
    thread.join()
    assert 1 == len(capture.requests)
    with pytest.raises(TimeoutError, match="1 of 2 requests ended"):
        capture.wait(2, timeout_s=0.01)


def test_a_block_is_a_unit(capture: Capture) -> None:
    """Code without a server has a ledger and calls too, and its exception fails the unit and goes on."""
    with capture.unit("load"), firstcause.spending("lock:stock"):
        pass
    with pytest.raises(KeyError), capture.unit("load"):
        raise KeyError("tea")
    assert [("load", "ok", ""), ("load", "error", "KeyError")] == [(r.route, r.outcome, r.error_type) for r in capture.requests]
    assert "lock:stock" in capture.requests[0].ledger
    assert "app.exception" == capture.requests[1].verdict.cause  # type: ignore[union-attr]


def test_ids_count_from_one_in_every_capture() -> None:
    """Trace, span and request ids are 1, 2, 3…, however many captures there were before."""
    tracer = trace.get_tracer("test")
    for _ in range(2):
        with Capture() as capture:
            with capture.unit("load"), tracer.start_as_current_span("inside"):
                pass
            assert [("inside", 1, 2), ("load", 1, 1)] == [
                (span.name, span.context.trace_id, span.context.span_id) for span in capture.spans
            ]
            assert f"{1:032x}" == capture.requests[0].request_id


def test_spans_of_any_tracer_are_captured(capture: Capture) -> None:
    """A tracer got before the capture, and one got inside, both deliver; what they call is a call of the unit."""
    attributes = {"db.system.name": "mysql", "db.query.text": "SELECT 1 FROM t"}
    for tracer in (EARLY, trace.get_tracer("late")):
        with capture.unit("load"), tracer.start_as_current_span("ask", kind=SpanKind.CLIENT, attributes=attributes):
            pass
        (query,) = capture.requests[-1].queries
        assert ("db:mysql", "SELECT ? FROM t") == (query.resource, query.text)
        assert query.place.startswith(str(Path(__file__).relative_to(Path.cwd())) + ":")


def test_log_records_of_both_kinds_are_captured(capture: Capture) -> None:
    """structlog's and the standard library's, with the ids of their request; the root logger is put back."""
    with capture.unit("load"):
        firstcause.get_logger("shop").info("paid", order_id=7)
        logging.getLogger("shop.old").warning("late %s", "tea")
    assert [("paid", 7), ("late tea", None)] == [(r.body, r.attributes.get("order_id")) for r in capture.logs[:2]]
    assert {f"{1:032x}"} == {r.attributes["request_id"] for r in capture.logs}
    assert structlog.is_configured() is False


def test_metrics_are_numbers(capture: Capture, database: Path) -> None:
    """Ours by instrument name and labels, and those that the application makes with the OpenTelemetry API."""
    app = flask_shop(database)
    firstcause.configure(service="orders", app=app)
    app.test_client().get("/orders/7")
    metrics.get_meter("shop").create_counter("orders.paid").add(3, {"plan": "yearly"})
    assert 1 == capture.metric("http.server.request.duration", http_route="/orders/<int:order_id>", http_response_status_code="200")
    assert 0 < capture.metric("firstcause.request.time", resource="db:sqlite/shop.db")
    assert (3, 0) == (capture.metric("orders.paid", plan="yearly"), capture.metric("orders.paid", plan="monthly"))
    assert 0 == capture.metric("no.such")


def test_metrics_of_a_module_count_in_every_capture() -> None:
    """An instrument that was made at import begins at 0 in each capture."""
    for _ in range(2):
        with Capture() as capture:
            PAID.add(2)
            assert 2 == capture.metric("orders.paid.early")
    PAID.add(1)


def test_metrics_mounted_on_the_application_are_the_captures(capture: Capture) -> None:
    """A service that serves `/metrics` itself serves what was captured."""
    app = flask_shop(Path(":memory:"))
    firstcause.configure(service="orders", app=app, metrics_path="/metrics")
    with capture.unit("load"):
        pass
    assert 'messaging_destination_name="load"' in app.test_client().get("/metrics").text


def test_clear_forgets(capture: Capture) -> None:
    """What came before is not asserted about."""
    with capture.unit("login"):
        firstcause.get_logger().info("in")
    capture.clear()
    assert ([], [], []) == (capture.requests, capture.spans, capture.logs)


def test_an_error_of_the_sdk_is_raised(capture: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    """What production would swallow, a test sees."""
    from firstcause.servers import wsgi

    def broken(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError

    app = flask_shop(Path(":memory:"))
    firstcause.configure(service="orders", app=app)
    monkeypatch.setattr(wsgi, "identify", broken)
    with pytest.raises(ZeroDivisionError):
        app.test_client().get("/orders/7")
    assert 1 == capture.self_counts["firstcause.self.errors"]


def test_a_frozen_clock_moves_by_ticks_only(capture: Capture) -> None:
    """Durations, shares and time stamps are exactly what the test ticked."""
    clock = capture.freeze()
    with capture.unit("load"):
        clock.tick("50ms")
        with firstcause.spending("db:shop"):
            clock.tick(0.2)
    (request,) = capture.requests
    assert ({"app": 0.05, "db:shop": 0.2}, 0.25) == (dict(request.ledger), request.duration_s)
    assert [1_767_225_600_000_000_000, 1_767_225_600_250_000_000] == [capture.spans[0].start_time, capture.spans[0].end_time]
    with pytest.raises(ValueError, match="would turn time back"):
        clock.tick(-1)


def test_time_goes_on_after_a_frozen_capture() -> None:
    """Every module of the SDK reads the system's clock again."""
    import sys
    import time

    def bound() -> dict[str, Any]:
        names = ("perf_counter_ns", "time_ns", "thread_time_ns")
        modules = [m for n, m in sys.modules.items() if n.startswith("firstcause.") and "testing" not in n]
        return {f"{m.__name__}.{n}": getattr(m, n) for m in modules for n in names if hasattr(m, n)}

    with Capture() as capture:
        before = bound()
        capture.freeze().tick(1)
        assert before != bound()
    assert before == bound()
    assert {time.perf_counter_ns, time.time_ns, time.thread_time_ns} >= set(before.values())
