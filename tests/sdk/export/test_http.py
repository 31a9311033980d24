"""The exporter keeps its connection and its time, and says what an answer means."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceResponse,
)

from firstcause.export.http import MAX_RESPONSE_BYTES, OtlpHttpExporter
from firstcause.export.otlp import encode_spans
from firstcause.export.reply import Reply, read_reply, read_retry_after, rejected_items
from tests.sdk.export.loopback import black_hole, collector, raw_server, read_request
from tests.sdk.export.test_otlp import Span


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_headers_and_body_arrive(compression: str) -> None:
    """The collector gets the configured headers and, compressed or not, the same spans."""
    with collector() as server:
        exporter = OtlpHttpExporter(server.url, {"Authorization": "Bearer x"}, compression=compression)  # type: ignore[arg-type]
        assert exporter.send(encode_spans({}, [Span(name="a")]))
        exporter.close()
        assert ["a"] == server.accepted
        assert "Bearer x" == server.headers[0]["authorization"]
        assert "application/x-protobuf" == server.headers[0]["content-type"]


def test_a_connection_closed_while_idle_is_replaced() -> None:
    """A kept connection that the collector closed costs no batch."""
    closed = threading.Event()

    def once(connection: socket.socket, over: threading.Event) -> None:
        read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        connection.shutdown(socket.SHUT_RDWR)
        closed.set()

    with raw_server(once) as (url, _):
        exporter = OtlpHttpExporter(url)
        for _ in range(3):
            closed.clear()
            assert exporter.send(b"x")
            assert closed.wait(5)
        exporter.close()


def test_a_dripping_answer_obeys_the_total_timeout() -> None:
    """A byte now and then does not extend the time of a send."""

    def drip(connection: socket.socket, over: threading.Event) -> None:
        read_request(connection)
        connection.sendall(b"HTTP/1.1 ")
        while not over.wait(0.05):
            connection.sendall(b"2")

    with raw_server(drip) as (url, _):
        exporter = OtlpHttpExporter(url, timeout_s=0.3)
        # Without an end of its own the send would last as long as the dripping.
        assert Reply(False, reason="unreachable") == exporter.send(b"x")


def test_an_endless_answer_is_read_to_its_bound() -> None:
    """No more than 64 KiB of a response are read; the status counts, the connection is given up."""
    sent = []

    def flood(connection: socket.socket, over: threading.Event) -> None:
        read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\n\r\n")
        while not over.is_set():
            sent.append(connection.send(b"\xff" * MAX_RESPONSE_BYTES))

    with raw_server(flood) as (url, _):
        exporter = OtlpHttpExporter(url)
        assert exporter.send(b"x")
        assert exporter._connection is None


def test_abort_ends_a_send_under_way() -> None:
    """Abort from another thread wakes a send that waits for an answer, and later sends are refused."""
    with raw_server(black_hole) as (url, came):
        exporter = OtlpHttpExporter(url, timeout_s=30)
        replies: list[Reply] = []
        sending = threading.Thread(target=lambda: replies.append(exporter.send(b"x")))
        sending.start()
        assert came.wait(5)
        exporter.abort()
        sending.join(5)
        assert [Reply(False, reason="shutdown")] == replies
        assert Reply(False, reason="shutdown") == exporter.send(b"x")


@pytest.mark.parametrize("endpoint", ["localhost:4318", "ftp://a/b", "http://", ""])
def test_a_wrong_endpoint_is_said_at_once(endpoint: str) -> None:
    """An endpoint that is no HTTP URL raises at construction and is named."""
    with pytest.raises(ValueError, match="endpoint"):
        OtlpHttpExporter(endpoint)


def test_a_header_with_a_line_break_is_refused_without_its_value() -> None:
    """A header that would split the request raises, naming the header and not the secret."""
    with pytest.raises(ValueError, match="X-Key") as caught:
        OtlpHttpExporter("http://localhost", {"X-Key": "secret\r\nHost: other"})
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [(None, None), ("", None), ("2", 2.0), ("9" * 5000, 30.0), ("-1", None), ("soon", None), ("nan", None)],
)
def test_retry_after_is_read_and_capped(header: str | None, seconds: float | None) -> None:
    """Seconds are taken up to 30; nonsense is no wish at all."""
    assert seconds == read_retry_after(header)


def test_retry_after_may_be_a_date() -> None:
    """A date in the past means now, one far ahead the cap."""
    now = datetime.now(UTC)
    past, ahead = (format_datetime(now + timedelta(hours=hours)) for hours in (-1, 1))
    assert (0.0, 30.0) == (read_retry_after(past), read_retry_after(ahead))


@given(st.integers(-(2**63), 2**63 - 1), st.text(max_size=20))
@settings(max_examples=100, deadline=None)
def test_partial_success_is_read(rejected: int, message: str) -> None:
    """The rejected count is what protobuf reads; negative counts are none."""
    partial = ExportTracePartialSuccess(rejected_spans=rejected, error_message=message)
    body = ExportTraceServiceResponse(partial_success=partial).SerializeToString()
    assert max(rejected, 0) == rejected_items(body)


@given(st.integers(100, 599), st.text(max_size=30), st.binary(max_size=40))
@settings(max_examples=200, deadline=None)
def test_no_answer_raises(status: int, retry_after: str, body: bytes) -> None:
    """Any status, header and body make a reply, and only success is accepted."""
    assert (200 <= status < 300) == bool(read_reply(status, retry_after, body))


def test_importing_brings_no_http_client() -> None:
    """The export modules import neither http.client nor ssl nor protobuf."""
    code = (
        "import sys, firstcause._guard\n"
        "before = set(sys.modules)\n"
        "import firstcause.export.http, firstcause.export.pipeline, firstcause.export.otlp\n"
        "heavy = {'http.client', 'ssl', 'socket', 'email', 'google.protobuf', 'gzip'}\n"
        "print(sorted(heavy & (set(sys.modules) - before)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=_environment(), check=False
    )
    assert ("[]\n", "") == (done.stdout, done.stderr)


def _environment() -> dict[str, str]:
    import firstcause.export

    (package,) = firstcause.export.__path__
    return {"PYTHONPATH": package.removesuffix("firstcause/export")}
