"""Every shape of a Flask response under a real WSGI server: one span, the right route, duration, ledger and line."""

from __future__ import annotations

import itertools
import socket
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.sdk.whole.service import Service, exchange, get, parsed, service
from tests.sdk.whole.sink import SERVER, Sink, sink
from tests.sdk.whole.test_shapes import check, waited

_numbers = itertools.count()


@pytest.fixture(name="collector", scope="module")
def _collector() -> Iterator[Sink]:
    with sink() as made:
        yield made


@pytest.fixture(name="shapes", scope="module")
def _shapes(collector: Sink) -> Iterator[Service]:
    with service("shapes_flask", collector.url) as made:
        yield made
    said = b"".join(made.complained).decode(errors="replace")
    assert "different Context" not in said
    assert "telemetry error" not in said


@pytest.fixture(name="client", scope="module")
def _client(shapes: Service) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=shapes.url, timeout=30) as client:
        yield client


@pytest.fixture(name="gate")
def _gate() -> str:
    return f"gate-{next(_numbers)}"


SIMPLE = {
    "/plain": ("GET /plain", 200),
    "/before-answers": ("GET /before-answers", 203),
    "/before-fails": ("GET /before-fails", 500),
    "/raises": ("GET /raises", 500),
    "/handled": ("GET /handled", 409),
    "/aborts/418": ("GET /aborts/<int:status>", 418),
    "/aborts/503": ("GET /aborts/<int:status>", 503),
    "/reused": ("GET /reused", 200),
    "/tagged": ("GET /tagged", 200),
    "/own-headers": ("GET /own-headers", 200),
    "/api/v1/things/7": ("GET /api/v1/things/<int:thing_id>", 200),
}


@pytest.mark.parametrize("path", SIMPLE)
def test_each_answer_is_one_span_under_its_rule(
    shapes: Service, collector: Sink, client: httpx.Client, path: str
) -> None:
    """Whatever the shape: one server span, one line, one request id, the status that the caller saw."""
    name, status = SIMPLE[path]
    answer = client.get(path)
    assert status == answer.status_code
    assert 1 == len(answer.headers.get_list("x-request-id"))
    line, _spans = check(shapes, collector, answer.headers["x-request-id"], name, status)
    assert ("error" if status >= 500 else "ok") == line["outcome"]


def test_an_exception_is_named_wherever_it_is_raised(shapes: Service, client: httpx.Client) -> None:
    """In the view and before it: type, and the place in own code."""
    for path, place in (("/raises", "raises ("), ("/before-fails", "before (")):
        line = shapes.request_line(client.get(path).headers["x-request-id"])
        assert ("LookupError", "app.exception") == (line["error_type"], line["verdict"]["cause"])
        assert place in line["verdict"]["detail"]


def test_a_failing_teardown_ends_one_unit(shapes: Service, collector: Sink) -> None:
    """Recorded once, as an error with its type; what the caller sees is the server's own business."""
    answer = exchange(shapes.port, get("/teardown-fails", b"x-request-id: teardown"))
    line = shapes.request_line("teardown")
    assert ("error", "LookupError", "/teardown-fails") == (line["outcome"], line["error_type"], line["route"])
    assert 1 == sum(span.kind == SERVER for span in collector.trace(line["trace_id"]))
    assert parsed(answer)[0] == line["status"]


def test_what_no_rule_matches_is_named_by_no_path(shapes: Service, collector: Sink, client: httpx.Client) -> None:
    """Junk paths make no series and no span names of their own."""
    line = shapes.request_line(client.get("/nowhere/at/all").headers["x-request-id"])
    (span,) = [span for span in collector.trace(line["trace_id"]) if span.kind == SERVER]
    assert 404 == line["status"]
    assert "nowhere" not in span.name + line["route"]


def test_conditional_and_head_answers_have_no_body(shapes: Service, collector: Sink, client: httpx.Client) -> None:
    """304 and HEAD, one span each."""
    known = client.get("/tagged", headers={"if-none-match": '"one"'})
    assert (304, b"") == (known.status_code, known.content)
    check(shapes, collector, known.headers["x-request-id"], "GET /tagged", 304)
    head = client.head("/plain")
    assert (200, b"", "5") == (head.status_code, head.content, head.headers["content-length"])
    check(shapes, collector, head.headers["x-request-id"], "HEAD /plain", 200)


def test_a_reused_response_does_not_collect_our_headers(client: httpx.Client) -> None:
    """Ten answers carry ten different ids, one each."""
    ids = [client.get("/reused").headers.get_list("x-request-id") for _ in range(10)]
    assert [1] * 10 == [len(given) for given in ids]
    assert 10 == len({given[0] for given in ids})


def test_headers_of_the_application_stay(client: httpx.Client) -> None:
    """Its own Server-Timing is left alone (a page gets ours beside it); two request ids would be one too many."""
    answer = client.get("/own-headers", headers={"x-request-id": "given"})
    assert "app;dur=1" == answer.headers.get_list("server-timing")[0]
    assert ["given"] == answer.headers.get_list("x-request-id")


@pytest.mark.parametrize("kind", ["stream", "context"])
def test_a_stream_is_one_unit_until_its_last_byte(
    shapes: Service, collector: Sink, client: httpx.Client, kind: str, gate: str
) -> None:
    """Neither line nor span before the gate opens; spans made inside the generator are its children."""
    with client.stream("GET", f"/{kind}/{gate}") as answer:
        request_id = answer.headers["x-request-id"]
        chunks = answer.iter_raw()
        assert b"first\n" == next(chunks)
        assert not any(line.get("request_id") == request_id and line["event"] == "request" for line in shapes.lines())
        client.post(f"/release/{gate}")
        rest = b"".join(chunks)
    assert {"stream": b"second\n", "context": f"/context/{gate}token\n".encode()}[kind] == rest
    line, spans = check(shapes, collector, request_id, f"GET /{kind}/<gate>", 200)
    assert "ok" == line["outcome"]
    (server,) = [span for span in spans if span.kind == SERVER]
    (rows,) = collector.wait_for(
        lambda: [s for s in collector.spans if s.trace_id == server.trace_id and s.name == "rows"]
    )
    assert server.span_id == rows.parent_span_id
    if kind == "stream":
        said = shapes.line(lambda said: said["event"] == "half way" and said.get("request_id") == request_id)
        assert line["trace_id"] == said["trace_id"]


@pytest.mark.parametrize("kind", ["stream", "context"])
def test_a_reader_that_goes_away_ends_one_unit(
    shapes: Service, collector: Sink, client: httpx.Client, kind: str, gate: str
) -> None:
    """A disconnect in the middle of a stream closes the generator: one line, one span, no error."""
    with client.stream("GET", f"/{kind}/{gate}") as answer:
        request_id = answer.headers["x-request-id"]
        next(answer.iter_raw())
    client.post(f"/release/{gate}")
    line = shapes.request_line(request_id)
    assert line["outcome"] in ("ok", "cancelled")
    assert f"/{kind}/<gate>" == line["route"]
    assert 1 == sum(span.kind == SERVER for span in collector.trace(line["trace_id"]))


def test_a_stream_that_breaks_is_an_error_of_its_own(shapes: Service, collector: Sink) -> None:
    """The status was 200 when it broke; the line says what happened then."""
    answer = exchange(shapes.port, get("/broken-stream", b"x-request-id: broken"))
    assert b"first" in answer
    line = shapes.request_line("broken")
    assert ("error", "LookupError") == (line["outcome"], line["error_type"])
    assert 1 == sum(span.kind == SERVER for span in collector.trace(line["trace_id"]))


def test_a_thread_of_the_view_works_for_its_request(shapes: Service, collector: Sink, client: httpx.Client) -> None:
    """Ids on its lines, its span below the request's, its wait in the ledger."""
    request_id = client.get("/threads").headers["x-request-id"]
    line, spans = check(shapes, collector, request_id, "GET /threads", 200)
    said: dict[str, Any] = shapes.line(
        lambda said: said["event"] == "in a thread" and said.get("request_id") == request_id
    )
    (server,) = [span for span in spans if span.kind == SERVER]
    assert [server.span_id] == [span.parent_span_id for span in spans if span.name == "in a thread"]
    assert line["trace_id"] == said["trace_id"]
    assert waited(line, "lock:thread") >= 19


def test_a_caller_that_hangs_up_before_asking_makes_no_unit(shapes: Service, client: httpx.Client) -> None:
    """Half a request is the server's business: no line, no harm to the next one."""
    before = sum(line["event"] == "request" for line in shapes.lines())
    with socket.create_connection(("127.0.0.1", shapes.port)) as connection:
        connection.sendall(b"GET /plain HTTP/1.1\r\nhost: te")
    shapes.request_line(client.get("/plain").headers["x-request-id"])
    assert before + 1 == sum(line["event"] == "request" for line in shapes.lines())
