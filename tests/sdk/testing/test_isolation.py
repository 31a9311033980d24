"""A capture leaves nothing behind, and takes over what it finds."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from opentelemetry import trace
from opentelemetry.metrics import _internal as meters
from opentelemetry.sdk.trace import TracerProvider as StockProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

import firstcause
from firstcause import _existing, _guard, _imports, _setup, clients
from firstcause.clients import call
from firstcause.logs import setup as logs
from firstcause.servers import incoming, wsgi
from firstcause.testing import Capture, joining
from tests.sdk.clients.workbench import Workbench


def state() -> dict[str, Any]:
    """Everything a capture touches, as far as it can be compared."""
    root = logging.getLogger()
    return {
        "setup": (_setup._state.config, _setup._state.recorder, _setup._state.setup),
        "doors": (_setup.configure, _setup.flush, _setup.shutdown, wsgi.Middleware.__call__),
        "adapters": (call.RUNTIME.recorder, list(sys.meta_path), httpx.HTTPTransport.handle_request),
        "guard": (_guard._strict, _guard.self_counts(), set(_guard._seen)),
        "logs": (root.level, list(root.handlers), vars(logs._output).copy()),
        "trace": (trace._TRACER_PROVIDER, trace._TRACER_PROVIDER_SET_ONCE._done),
        "meters": (meters._METER_PROVIDER, meters._METER_PROVIDER_SET_ONCE._done),
        "ids": incoming.new_request_id,
    }


def test_afterwards_everything_is_as_it_was() -> None:
    """Providers, adapters, loggers, counters and front door, also when a test fails inside."""
    before = state()
    with pytest.raises(AssertionError), Capture(objectives={"default": 0.5}) as capture:
        firstcause.configure(service="orders")
        firstcause.get_logger().info("hello")
        _guard.count("firstcause.self.dropped", signal="x", reason="y")
        capture.freeze()
        assert before != state()
        capture.assert_queries("<=3")
    assert before == state()


def test_nobody_waits_for_an_import_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a capture hooks when Django is there, and its test client not yet, is gone with the last who waited."""
    plain, seen = [one for one in sys.meta_path if not isinstance(one, _imports._Finder)], list[Any]()
    monkeypatch.setattr(sys, "meta_path", list(plain))
    monkeypatch.setattr(_imports, "_waiting", {})
    _imports.after_import("firstcause.no_such_module", seen.append)
    assert plain != sys.meta_path
    _imports.forget(seen.append)
    assert plain == sys.meta_path


def test_a_setting_that_is_wrong_leaves_everything_as_it_was() -> None:
    """A capture that cannot begin raises the error that `configure` would, and takes nothing."""
    before = state()
    with pytest.raises(firstcause.ConfigError, match="objectives"):
        Capture(objectives={"default": -1}).__enter__()
    assert before == state()


def test_captures_nest() -> None:
    """The inner one takes what happens inside it, the outer one the rest."""
    with Capture() as outer:
        with outer.unit("a"), Capture() as inner, inner.unit("b"):
            pass
        assert (["a"], ["b"]) == ([r.route for r in outer.requests], [r.route for r in inner.requests])
        assert (["a"], ["b"]) == ([s.name for s in outer.spans], [s.name for s in inner.spans])


def test_asking_for_the_report_changes_nothing(capture: Capture) -> None:
    """`configure` without new settings, as a second module or a start-up message calls it, keeps what was counted."""
    firstcause.configure(service="orders")
    with capture.unit("load"):
        pass
    assert "orders" == firstcause.configure("orders").service == firstcause.configure().service
    assert 1 == capture.metric("firstcause.message.duration")


@pytest.fixture(name="running")
def _running(monkeypatch: pytest.MonkeyPatch) -> Iterator[Workbench]:
    """An application that was configured long ago: what it would send gathers on the workbench."""
    made = Workbench()
    monkeypatch.setattr(_setup._state, "recorder", made.recorder)
    monkeypatch.setattr(_setup._state, "config", made.recorder.config)
    monkeypatch.setattr(_setup._state, "setup", _setup.Setup("shop"))
    clients.install(made.recorder)
    clients.instrument_all()
    yield made
    clients.uninstrument_all()
    call.RUNTIME.recorder = None


def test_a_configured_application_sends_nothing_meanwhile(running: Workbench) -> None:
    """Its spans, units and readings are the capture's, its settings stay, and afterwards it goes on as before."""
    running.metrics.watch("db_pool:shop", lambda: (3.0, 5.0, 0.0))
    tracer = running.recorder.provider.get_tracer("shop")
    with Capture() as capture, capture.unit("load"), tracer.start_as_current_span("inside"):
        assert "shop" == _setup._state.config.service  # type: ignore[union-attr]
    assert ([], []) == (running.spans, running.reports)
    assert ["inside", "load"] == [span.name for span in capture.spans]
    assert 3 == capture.metric("firstcause.resource.in_use", resource="db_pool:shop")
    with running.unit(), tracer.start_as_current_span("later"):
        pass
    assert ("later", 1) == (running.spans[0].name, len(running.reports))
    assert 2 == len(capture.spans)
    assert running.spans[0].span_id > 1000


def test_flush_and_shutdown_of_the_application_end_nothing(capture: Capture) -> None:
    """A lifespan that shuts the SDK down does not end the process's real pipelines."""
    assert (True, True) == (firstcause.flush(), firstcause.shutdown())
    with capture.unit("after"):
        pass
    assert 1 == len(capture.requests)


@pytest.fixture(name="stock")
def _stock(monkeypatch: pytest.MonkeyPatch) -> StockProvider:
    """A provider of the stock SDK that somebody set before."""
    made = StockProvider()
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", made)
    return made


def test_spans_of_somebody_elses_provider_are_taken_once(stock: StockProvider) -> None:
    """They go to their own exporters as before, and to the capture that is going on, each once."""
    exporter = InMemorySpanExporter()
    stock.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = trace.get_tracer("theirs")
    attributes = {"db.system.name": "mysql", "db.query.text": "SELECT 1 FROM t"}
    for _ in range(2):
        with Capture() as capture, capture.unit("load"), tracer.start_as_current_span("ask", kind=SpanKind.CLIENT, attributes=attributes):
            pass
        capture.assert_queries("==1")
        assert ["ask", "load"] == [span.name for span in capture.spans]
    with tracer.start_as_current_span("outside"):
        pass
    assert 2 == len(capture.spans)
    assert ["ask", "ask", "outside"] == [span.name for span in exporter.get_finished_spans()]
    assert trace.get_tracer_provider() is stock


def test_joined_providers_deliver_each_span_once(running: Workbench, stock: StockProvider) -> None:
    """Where the application joined another provider, spans of both are taken, none twice, and theirs are booked."""
    _existing.join(running.recorder.provider, stock)
    attributes = {"db.system.name": "mysql", "db.query.text": "SELECT 1 FROM t"}
    asking = stock.get_tracer("theirs").start_as_current_span("ask", kind=SpanKind.CLIENT, attributes=attributes)
    with Capture() as capture, capture.unit("load"), asking:
        pass
    assert ["ask", "load"] == [span.name for span in capture.spans]
    capture.assert_queries("==1")
    assert "db:mysql" in capture.requests[0].ledger


def test_secrets_named_in_a_test_are_forgotten(capture: Capture) -> None:
    """`redact` holds for the capture it was set in."""
    with Capture(redact=("sku",)) as inner:
        firstcause.get_logger().info("priced", sku="tea")
    firstcause.get_logger().info("priced", sku="tea")
    assert ["[redacted]", "tea"] == [c.assert_logged("priced").attributes["sku"] for c in (inner, capture)]


def test_an_application_imported_inside_keeps_its_settings(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module configures once per process, at its import; later captures know, but not what a test configured."""
    (tmp_path / "late_shop.py").write_text("import firstcause\nfirstcause.configure(service='late', version='3')\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(joining, "_LASTING", joining._Lasting())
    with Capture() as capture:
        import late_shop  # type: ignore[import-not-found]  # noqa: F401

        firstcause.configure(version="4")
        assert ("late", "4") == (_setup._state.config.service, _setup._state.config.version)  # type: ignore[union-attr]
    with Capture() as capture:
        assert ("late", "3") == (_setup._state.config.service, _setup._state.config.version)  # type: ignore[union-attr]
        assert [] == capture.requests
