"""engine="opentelemetry": who ends the span, what the library leaves out, and what it is not for."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fastapi import BackgroundTasks, FastAPI
from opentelemetry import trace
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from starlette.applications import Starlette
from starlette.background import BackgroundTask

from firstcause._errors import ConfigError
from firstcause.servers import opentelemetry as engine
from firstcause.trace.provider import TracerProvider
from firstcause.trace.span import Span
from tests.sdk.clients.workbench import Workbench


class Shop:
    """A FastAPI application under the engine, its reports, and the spans in the order in which they ended."""

    def __init__(self, library: str, *, exclude: bool = False, sampler: Any = None) -> None:
        self.bench = Workbench()
        self.bench.recorder.provider = TracerProvider({}, self.bench.spans.append, sampler=sampler)
        tracers: Any = self.bench.recorder.provider
        native = {
            "tracer_provider": tracers,
            "operation_spans": False,
            "exclude": (lambda _scope: True) if exclude else None,
        }
        self.app = FastAPI(openapi_url=None, telemetry=native if library == "native" else {})  # type: ignore[arg-type]
        if library == "contrib":
            FastAPIInstrumentor.instrument_app(
                self.app,
                tracer_provider=tracers,
                excluded_urls=".*" if exclude else None,
                exclude_spans=["receive", "send"],
            )
        self.said = engine.attach(self.app, lambda: self.bench.recorder)
        self.tracer = tracers.get_tracer("shop")
        self.app.get("/child")(self.child)
        self.app.get("/broken")(self.broken)
        self.app.get("/later")(self.later)

    async def child(self) -> None:
        """Makes a span of its own."""
        with self.tracer.start_as_current_span("inside"):
            pass

    async def broken(self) -> None:
        """Fails."""
        raise LookupError("no such thing")

    async def later(self, tasks: BackgroundTasks) -> None:
        """Answers before its work is done."""
        tasks.add_task(self.look)

    async def look(self) -> None:
        """Remembers what has been exported while the background task runs."""
        self.seen = self.servers

    @property
    def servers(self) -> list[Span]:
        """The ended server spans."""
        return [span for span in self.bench.spans if span.kind is trace.SpanKind.SERVER]

    async def ask(self, path: str) -> httpx.Response:
        """One request."""
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://shop") as client:
            return await client.get(path)


@pytest.fixture(autouse=True)
def _background() -> Iterator[None]:
    """Contrib patches every BackgroundTask of the process; the next test gets them back."""
    kept = BackgroundTask.__call__
    yield
    BackgroundTask.__call__ = kept  # type: ignore[method-assign]
    if hasattr(BackgroundTask, "_otel_original_call"):
        del BackgroundTask._otel_original_call


LIBRARIES = ("native", "contrib")


@pytest.mark.parametrize("library", LIBRARIES)
async def test_a_failed_request_is_exported_once_with_its_ledger(library: str) -> None:
    """There the library ends the span before we do: the second end means it."""
    shop = Shop(library)
    assert 500 == (await shop.ask("/broken")).status_code
    (span,) = shop.servers
    assert "LookupError" == span.attributes["error.type"]
    assert any(name.startswith("firstcause.ledger.") for name in span.attributes)


@pytest.mark.parametrize("library", LIBRARIES)
async def test_the_span_is_exported_at_the_last_byte_and_not_after_background_work(library: str) -> None:
    """There we end the span before the library does."""
    shop = Shop(library)
    assert 200 == (await shop.ask("/later")).status_code
    assert ["GET /later"] == [span.name for span in shop.seen]
    assert 1 == len(shop.servers)


@pytest.mark.parametrize("library", LIBRARIES)
async def test_children_are_under_the_server_span_also_where_the_library_looks_away(library: str) -> None:
    """An excluded address has our span, and no child of it becomes a root."""
    for exclude in (False, True):
        shop = Shop(library, exclude=exclude)
        await shop.ask("/child")
        (server,) = shop.servers
        (inside,) = [span for span in shop.bench.spans if span.name == "inside"]
        assert server.span_id == inside.parent_span_id


@pytest.mark.parametrize("library", LIBRARIES)
async def test_an_unsampled_failure_is_exported_after_all(library: str) -> None:
    """As with our own engine; an unsampled success is not."""
    shop = Shop(library, sampler=ALWAYS_OFF)
    await shop.ask("/child")
    assert [] == shop.servers
    await shop.ask("/broken")
    assert ["GET /broken"] == [span.name for span in shop.servers]
    assert 2 == len(shop.bench.reports)


@pytest.mark.parametrize("library", LIBRARIES)
async def test_an_application_that_is_served_already_can_still_be_attached(library: str) -> None:
    """`configure` may come after the first request."""
    shop = Shop.__new__(Shop)
    shop.bench = Workbench()
    shop.app = FastAPI(openapi_url=None)
    await shop.ask("/")
    if library == "contrib":
        del shop.app._native_telemetry  # as before FastAPI 0.142
        FastAPI.__call__, kept = Starlette.__call__, FastAPI.__call__  # type: ignore[method-assign]
    try:
        engine.attach(shop.app, lambda: shop.bench.recorder)
        assert "already attached" == engine.attach(shop.app, lambda: shop.bench.recorder)
        assert 404 == (await shop.ask("/")).status_code
    finally:
        if library == "contrib":
            FastAPI.__call__ = kept  # type: ignore[method-assign]
    assert [404] == [report.status for report in shop.bench.reports]


def test_what_no_library_serves_gets_our_own_span() -> None:
    """Starlette without FastAPI; the report says so."""
    said = engine.attach(Starlette(), lambda: None)
    assert "the server span is ours" in said


def test_without_any_library_the_setting_is_refused_with_the_command_that_installs_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One line with both ways out."""
    app = FastAPI()
    del app._native_telemetry
    monkeypatch.setitem(sys.modules, "opentelemetry.instrumentation.fastapi", None)
    with pytest.raises(ConfigError, match="pip install opentelemetry-instrumentation-fastapi"):
        engine.attach(app, lambda: None)
