"""Five contrib instrumentations that we have no module for work unmodified on our provider."""

from __future__ import annotations

import sqlite3
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import click
import jinja2
import pytest
import tornado.httpclient
import tornado.httpserver
import tornado.testing
import tornado.web
from click.testing import CliRunner
from opentelemetry import trace
from opentelemetry.instrumentation.click import ClickInstrumentor
from opentelemetry.instrumentation.jinja2 import Jinja2Instrumentor
from opentelemetry.instrumentation.sqlite3 import SQLite3Instrumentor
from opentelemetry.instrumentation.tornado import TornadoInstrumentor
from opentelemetry.instrumentation.urllib import URLLibInstrumentor
from opentelemetry.trace import SpanKind

from firstcause.diagnosis.unit import Unit
from firstcause.trace.span import Span
from tests.sdk.clients.web import Peer, peer
from tests.sdk.clients.workbench import Workbench

On = Callable[[Any], AbstractContextManager[None]]


@pytest.fixture(name="server")
def _server() -> Iterator[Peer]:
    with peer() as server:
        yield server


def _below(bench: Workbench, unit: Unit) -> list[Span]:
    """What came out directly below the unit's own span."""
    return [span for span in bench.spans if span.parent_span_id == unit.span.span_id]


def test_sqlite3_statements_are_time_of_the_database(bench: Workbench, on: On) -> None:
    """A statement is a CLIENT span below the unit's, and its frame is classified by what it says at its end."""
    with on(SQLite3Instrumentor()), bench.unit() as unit:
        connection = sqlite3.connect(":memory:")
        cursor = connection.cursor()
        cursor.execute("SELECT 1")
        (resource,) = unit.ledger.accounts
    (span,) = _below(bench, unit)
    assert (SpanKind.CLIENT, True, True) == (span.kind, "SELECT" in span.name, resource.startswith("db:sqlite"))


def test_urllib_requests_are_time_of_the_peer(bench: Workbench, server: Peer, on: On) -> None:
    """A request is a CLIENT span below the unit's, in a frame of its host, and carries the trace context."""
    with on(URLLibInstrumentor()), bench.unit() as unit:
        urllib.request.urlopen(server.url).read()
        assert [True] == [resource.startswith("http:127.0.0.1") for resource in unit.ledger.accounts]
    (span,) = _below(bench, unit)
    assert (SpanKind.CLIENT, "GET") == (span.kind, span.name)
    assert f"{span.span_id:016x}" == server.seen[0]["traceparent"].split("-")[2]


def test_urllib_marks_a_failed_peer(bench: Workbench, server: Peer, on: On) -> None:
    """A 503 is a failed frame; a 404 is the caller's own affair."""
    with on(URLLibInstrumentor()), bench.unit() as unit:
        for status, failed in ((404, False), (503, True)):
            with pytest.raises(urllib.error.HTTPError):
                urllib.request.urlopen(f"{server.url}/status/{status}")
            assert failed is (unit.ledger.last_failed is not None)


def test_jinja2_templates_are_spans_and_own_code(bench: Workbench, on: On) -> None:
    """Compiling and rendering are INTERNAL spans below the unit's; they open no frame."""
    with on(Jinja2Instrumentor()), bench.unit() as unit:
        assert "7" == jinja2.Template("{{ n }}").render(n=7)
        assert {} == unit.ledger.accounts
    assert {SpanKind.INTERNAL} == {span.kind for span in _below(bench, unit)}
    assert {"jinja2.render", "jinja2.compile"} == {span.name for span in _below(bench, unit)}


def test_click_commands_are_roots(bench: Workbench, on: On) -> None:
    """A command is a span of its own, and what it does lies below it."""

    @click.command()
    def restock() -> None:
        trace.get_current_span().set_attribute("shelves", 3)

    with on(ClickInstrumentor()):
        assert 0 == CliRunner().invoke(restock).exit_code
    (span,) = bench.spans
    assert ("restock", 0, 3) == (span.name, span.parent_span_id, span.attributes["shelves"])


class _Handler(tornado.web.RequestHandler):
    def get(self) -> None:
        self.write("x")


async def test_tornado_serves_and_calls(bench: Workbench, on: On) -> None:
    """Tornado's client is a CLIENT span in a frame of its peer, its server a SERVER span below that."""
    with on(TornadoInstrumentor()):  # type: ignore[no-untyped-call]
        server = tornado.httpserver.HTTPServer(tornado.web.Application([("/", _Handler)]))
        socket, port = tornado.testing.bind_unused_port()
        server.add_socket(socket)
        with bench.unit() as unit:
            await tornado.httpclient.AsyncHTTPClient().fetch(f"http://127.0.0.1:{port}/")
            assert [True] == [resource.startswith("http:127.0.0.1") for resource in unit.ledger.accounts]
        server.stop()
    (client,) = (span for span in bench.spans if span.kind is SpanKind.CLIENT)
    (served,) = (span for span in bench.spans if span.kind is SpanKind.SERVER and span is not unit.span)
    assert (unit.span.span_id, client.span_id) == (client.parent_span_id, served.parent_span_id)
    assert unit.span.trace_id == served.trace_id
