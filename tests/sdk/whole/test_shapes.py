"""Every shape of a response on a real uvicorn: one span, the right route, duration, ledger and line."""

from __future__ import annotations

import itertools
import socket
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, CloseConnection, RejectConnection, TextMessage
from wsproto.events import Request as Upgrade

from tests.sdk.whole.service import Service, exchange, get, parsed, service
from tests.sdk.whole.sink import SERVER, Sink, attributes, sink

_numbers = itertools.count()


@pytest.fixture(name="collector", scope="module")
def _collector() -> Iterator[Sink]:
    with sink() as made:
        yield made


@pytest.fixture(name="shapes", scope="module", params=["plain", "below BaseHTTPMiddleware"])
def _shapes(request: pytest.FixtureRequest, collector: Sink) -> Iterator[Service]:
    base = {} if request.param == "plain" else {"BASE": "1"}
    with service("shapes", collector.url, **base) as made:
        yield made
    said = b"".join(made.complained).decode(errors="replace")
    assert "different Context" not in said
    assert "telemetry error" not in said
    assert "was never retrieved" not in said


@pytest.fixture(name="client", scope="module")
def _client(shapes: Service) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=shapes.url, timeout=30) as client:
        yield client


@pytest.fixture(name="gate")
def _gate() -> str:
    return f"gate-{next(_numbers)}"


def check(
    shapes: Service, collector: Sink, request_id: str, name: str, status: int
) -> tuple[dict[str, Any], list[Any]]:
    """One canonical line and one server span, both of `name` and `status`; gives the line and all spans."""
    line = shapes.request_line(request_id)
    spans = collector.trace(line["trace_id"])
    servers = [span for span in spans if span.kind == SERVER]
    found = attributes(servers[0].attributes)
    assert [name] == [span.name for span in servers]
    assert (name, status) == (f"{line['method']} {line['route']}".strip(), line["status"])
    assert status == found["http.response.status_code"]
    assert line["route"] == found.get("http.route", "")
    assert abs(sum(line["ledger"].values()) - line["duration_ms"]) < 0.01
    took = (servers[0].end_time_unix_nano - servers[0].start_time_unix_nano) / 1e6
    assert -1 < took - line["duration_ms"] < 1000  # the span covers the unit, and nothing that waits after it
    assert 1 == sum(other.get("request_id") == request_id and other["event"] == "request" for other in shapes.lines())
    return line, spans


def waited(line: dict[str, Any], resource: str) -> float:
    """Milliseconds of a resource, with what a busy machine withheld: both together are what was slept."""
    runtime = sum(ms for name, ms in line["ledger"].items() if name.startswith("runtime:"))
    return float(line["ledger"].get(resource, 0.0) + runtime)


SIMPLE = {
    "/reused": ("GET /reused", 200),
    "/shared-headers": ("GET /shared-headers", 200),
    "/tagged": ("GET /tagged", 304),
    "/file": ("GET /file", 200),
    "/refused": ("GET /refused", 418),
    "/handled": ("GET /handled", 409),
    "/times-out": ("GET /times-out", 504),
    "/validated/7": ("GET /validated/{number}", 200),
    "/validated/seven": ("GET /validated/{number}", 422),
    "/fan": ("GET /fan", 200),
    "/raises": ("GET /raises", 500),
    "/api/v1/things/7": ("GET /api/v1/things/{thing_id}", 200),
    "/sub/items/7": ("GET /sub/items/{item_id}", 200),
    "/sub/raises": ("GET /sub/raises", 500),
    "/tenants/acme/items/7": ("GET /tenants/{tenant}/items/{item_id}", 200),
    "/dependencies": ("GET /dependencies", 200),
    "/background-fails": ("GET /background-fails", 200),
}


@pytest.mark.parametrize("path", SIMPLE)
def test_each_answer_is_one_span_under_its_template(
    shapes: Service, collector: Sink, client: httpx.Client, path: str
) -> None:
    """Whatever the shape: one server span, one line, one request id, the status that the caller saw."""
    name, status = SIMPLE[path]
    answer = client.get(path)
    assert status == answer.status_code
    assert 1 == len(answer.headers.get_list("x-request-id"))
    check(shapes, collector, answer.headers["x-request-id"], name, status)


@pytest.mark.parametrize("path", ["/nowhere/at/all", "/sub/nowhere", "/static/nowhere"])
def test_what_no_route_matches_is_named_by_no_path(
    shapes: Service, collector: Sink, client: httpx.Client, path: str
) -> None:
    """Junk paths make no series and no span names of their own."""
    answer = client.get(path)
    line = shapes.request_line(answer.headers["x-request-id"])
    (span,) = [span for span in collector.trace(line["trace_id"]) if span.kind == SERVER]
    assert (404, 404) == (answer.status_code, line["status"])
    assert "nowhere" not in span.name + line["route"]


def test_a_method_that_is_not_allowed_keeps_the_route_out_of_trouble(
    shapes: Service, collector: Sink, client: httpx.Client
) -> None:
    """405: one span, one line."""
    answer = client.delete("/reused")
    line = shapes.request_line(answer.headers["x-request-id"])
    assert (405, 405) == (answer.status_code, line["status"])
    assert 1 == sum(span.kind == SERVER for span in collector.trace(line["trace_id"]))


def test_head_has_no_body_and_one_span(shapes: Service, collector: Sink, client: httpx.Client) -> None:
    """HEAD is told apart from GET."""
    answer = client.head("/headed")
    assert (200, b"", "4") == (answer.status_code, answer.content, answer.headers["content-length"])
    check(shapes, collector, answer.headers["x-request-id"], "HEAD /headed", 200)


def test_a_range_of_a_file_is_served(shapes: Service, collector: Sink, client: httpx.Client) -> None:
    """206 with the right bytes."""
    answer = client.get("/file", headers={"range": "bytes=5-9"})
    assert (206, b"56789") == (answer.status_code, answer.content)
    check(shapes, collector, answer.headers["x-request-id"], "GET /file", 206)


@pytest.mark.parametrize("path", ["/reused", "/tagged", "/shared-headers"])
def test_a_reused_response_does_not_collect_our_headers(client: httpx.Client, path: str) -> None:
    """Its raw headers belong to the application: ten answers carry ten different ids, one each."""
    ids = [client.get(path).headers.get_list("x-request-id") for _ in range(10)]
    assert [1] * 10 == [len(given) for given in ids]
    assert 10 == len({given[0] for given in ids})


def test_headers_of_the_application_stay(client: httpx.Client) -> None:
    """Its own Server-Timing is left alone; of two request ids there would be one too many."""
    answer = client.get("/own-headers", headers={"x-request-id": "given"})
    assert ["app;dur=1"] == answer.headers.get_list("server-timing")
    assert ["given"] == answer.headers.get_list("x-request-id")


# -- streams ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["stream", "threads", "events"])
def test_a_stream_is_one_unit_until_its_last_byte(
    shapes: Service, collector: Sink, client: httpx.Client, kind: str, gate: str
) -> None:
    """Neither line nor span before the gate opens; spans made inside the generator are its children."""
    with client.stream("GET", f"/{kind}/{gate}") as answer:
        request_id = answer.headers["x-request-id"]
        chunks = answer.iter_raw()
        first = next(chunks)
        assert first.startswith((b"first", b"data: hello"))
        assert not any(line.get("request_id") == request_id and line["event"] == "request" for line in shapes.lines())
        client.post(f"/release/{gate}")
        rest = b"".join(chunks)
    assert rest.endswith((b"second\n", b"third\n", b"bye\n\n"))
    line, spans = check(shapes, collector, request_id, f"GET /{kind}/{{gate}}", 200)
    assert "ok" == line["outcome"]
    (server,) = [span for span in spans if span.kind == SERVER]
    inside = {"stream": "rows", "threads": "rows", "events": "subscription"}[kind]
    (child,) = collector.wait_for(
        lambda: [s for s in collector.spans if s.trace_id == server.trace_id and s.name == inside]
    )
    assert child.start_time_unix_nano >= server.start_time_unix_nano
    if kind == "stream":
        assert waited(line, "lock:rows") >= 19
        assert line["trace_id"] == shapes.line(
            lambda said: said["event"] == "half way" and said["request_id"] == request_id
        )["trace_id"]  # fmt: skip


@pytest.mark.parametrize("kind", ["stream", "threads", "events"])
def test_a_reader_that_goes_away_ends_one_unit(
    shapes: Service, collector: Sink, client: httpx.Client, kind: str, gate: str
) -> None:
    """A disconnect in the middle of a stream is recorded once, as cancelled, and blames nobody."""
    with client.stream("GET", f"/{kind}/{gate}") as answer:
        request_id = answer.headers["x-request-id"]
        next(answer.iter_raw())
    client.post(f"/release/{gate}")
    line = shapes.request_line(request_id)
    assert ("cancelled", f"/{kind}/{{gate}}") == (line["outcome"], line["route"])
    assert 1 == sum(span.kind == SERVER for span in collector.trace(line["trace_id"]))


def test_a_caller_that_does_not_wait_is_recorded_once(
    shapes: Service, collector: Sink, client: httpx.Client, gate: str
) -> None:
    """Gone before the first byte: 499 or the status nobody read, never an error."""
    with socket.create_connection(("127.0.0.1", shapes.port)) as connection:
        connection.sendall(get(f"/waits/{gate}", b"x-request-id: gone-" + gate.encode()))
    client.post(f"/release/{gate}")
    line = shapes.request_line(f"gone-{gate}")
    assert line["outcome"] in ("cancelled", "ok")
    assert "/waits/{gate}" == line["route"]
    assert 1 == sum(span.kind == SERVER for span in collector.trace(line["trace_id"]))


def test_a_stream_that_breaks_is_an_error_of_its_own(shapes: Service, collector: Sink) -> None:
    """The status was 200 when it broke; the line says what happened then."""
    status, headers, body = parsed(exchange(shapes.port, get("/broken-stream")))
    assert (200, b"first\n") == (status, body)
    line = shapes.request_line(headers["x-request-id"])
    assert ("error", "LookupError") == (line["outcome"], line["error_type"])
    assert 1 == sum(span.kind == SERVER for span in collector.trace(line["trace_id"]))


# -- around the response ------------------------------------------------------------------------


def test_background_work_is_no_part_of_the_request(
    shapes: Service, collector: Sink, client: httpx.Client, gate: str
) -> None:
    """The line is written while the background task still waits for its gate, which opens afterwards."""
    answer = client.get(f"/background/{gate}")
    request_id = answer.headers["x-request-id"]
    line, _spans = check(shapes, collector, request_id, "GET /background/{gate}", 200)
    assert not any(said["event"] == "background done" and said["gate"] == gate for said in shapes.lines())
    client.post(f"/release/{gate}")
    done = shapes.line(lambda said: said["event"] == "background done" and said["gate"] == gate)
    assert (line["trace_id"], request_id) == (done["trace_id"], done["request_id"])


def test_dependencies_in_threads_work_for_the_request(shapes: Service, collector: Sink, client: httpx.Client) -> None:
    """Ids on lines of worker threads, their spans below the request's, their waits in its ledger."""
    answer = client.get("/dependencies")
    request_id = answer.headers["x-request-id"]
    line, _spans = check(shapes, collector, request_id, "GET /dependencies", 200)
    said = shapes.line(lambda said: said["event"] == "in a thread" and said["request_id"] == request_id)
    assert (line["trace_id"], "/dependencies") == (said["trace_id"], line["route"])
    assert waited(line, "lock:thread") >= 19
    # What is torn down after the answer may leave in a later batch than the request itself.
    raw = bytes.fromhex(line["trace_id"])
    collector.wait_for(
        lambda: {"connection", "session"} <= {span.name for span in collector.spans if span.trace_id == raw}
    )


def test_concurrent_tasks_share_one_request(shapes: Service, collector: Sink, client: httpx.Client) -> None:
    """Five children, each below the server span (or what the middleware put between)."""
    answer = client.get("/fan")
    _line, spans = check(shapes, collector, answer.headers["x-request-id"], "GET /fan", 200)
    steps = [span for span in spans if span.name == "step"]
    parents = {span.span_id for span in spans if span.name in ("GET /fan", "around")}
    assert 5 == len(steps)
    assert {step.parent_span_id for step in steps} <= parents


def test_a_cancelled_handler_is_nobodys_error(shapes: Service, collector: Sink) -> None:
    """As at a shutdown: recorded once, as cancelled, unless a middleware made a 500 of it."""
    answer = exchange(shapes.port, get("/cancelled", b"x-request-id: cancelled-request"))
    line = shapes.request_line("cancelled-request")
    made = "x-request-id" in parsed(answer)[1]  # else it was the server that spoke, or nobody
    assert ((500, "error") if made else (499, "cancelled")) == (line["status"], line["outcome"])
    assert 1 == sum(span.kind == SERVER for span in collector.trace(line["trace_id"]))


def test_an_unhandled_exception_is_named(shapes: Service, collector: Sink, client: httpx.Client) -> None:
    """Type and place, also out of a mounted application; the answer carries its id."""
    for path in ("/raises", "/sub/raises"):
        answer = client.get(path, headers={"connection": "close"})  # uvicorn hangs up after an exception, unannounced
        line = shapes.request_line(answer.headers["x-request-id"])
        assert ("error", "LookupError", "app.exception") == (
            line["outcome"], line["error_type"], line["verdict"]["cause"],
        )  # fmt: skip
        assert "raises (" in line["verdict"]["detail"]


# -- websockets ---------------------------------------------------------------------------------


class Conversation:
    """A websocket client of a few lines, over a real socket."""

    def __init__(self, port: int, path: str) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self._wire = WSConnection(ConnectionType.CLIENT)
        self._socket.sendall(self._wire.send(Upgrade(host="test", target=path)))
        self.accepted = self._next()

    def _next(self) -> Any:
        while True:
            for event in self._wire.events():
                return event
            self._wire.receive_data(self._socket.recv(65536) or None)

    def say(self, text: str) -> Any:
        """Send one message; what comes back."""
        self._socket.sendall(self._wire.send(TextMessage(text)))
        return self._next()

    def close(self) -> None:
        """Say good-bye and wait for it to be answered."""
        self._socket.sendall(self._wire.send(CloseConnection(1000)))
        assert isinstance(self._next(), CloseConnection)
        self._socket.close()


def test_a_websocket_works_as_without_us(shapes: Service) -> None:
    """Accepted, echoed, closed."""
    talk = Conversation(shapes.port, "/ws/kitchen")
    assert isinstance(talk.accepted, AcceptConnection)
    assert ["kitchen: one", "kitchen: two"] == [talk.say("one").data, talk.say("two").data]
    talk.close()


def test_a_websocket_counts_as_no_request(shapes: Service, client: httpx.Client) -> None:
    """A connection of an hour would ruin every percentile: it is in no request metric."""
    talk = Conversation(shapes.port, "/ws/hall")
    talk.say("one")
    talk.close()
    client.get("/reused")
    assert b'http_route="/ws' not in shapes.metrics()


def test_a_websocket_is_one_span_with_its_children_and_lines(shapes: Service, collector: Sink) -> None:
    """One SERVER span per connection under its template; lines and spans inside belong to it."""
    talk = Conversation(shapes.port, "/ws/attic")
    talk.say("one")
    talk.close()
    joined = shapes.line(lambda said: said["event"] == "joined" and said["room"] == "attic")
    assert "trace_id" in joined
    spans = collector.trace(joined["trace_id"])
    (server,) = [span for span in spans if span.kind == SERVER]
    assert "/ws/{room}" == attributes(server.attributes)["http.route"]
    (inside,) = [span for span in spans if span.name == "conversation"]
    assert server.span_id == inside.parent_span_id


def test_a_refused_websocket_does_no_harm(shapes: Service) -> None:
    """No such route: refused as without us."""
    assert isinstance(Conversation(shapes.port, "/nowhere").accepted, RejectConnection)


def test_a_websocket_that_fails_is_closed(shapes: Service) -> None:
    """By the server, as without us."""
    assert isinstance(Conversation(shapes.port, "/ws/cellar").say("fail"), CloseConnection)
