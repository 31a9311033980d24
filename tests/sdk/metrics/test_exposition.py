"""What a scraper is answered, in each format, with the host's own registry among it."""

from __future__ import annotations

import gzip
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from prometheus_client import REGISTRY, Counter, Gauge, Histogram, Summary
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from firstcause import _guard, conventions
from firstcause.conventions import INSTRUMENTS, Instrument
from firstcause.metrics import Metrics, serve
from firstcause.metrics.exposition import Exposition, wants_protobuf
from firstcause.metrics.families import prometheus_label, prometheus_name
from tests.sdk.metrics.scraped import LABELS, OPENMETRICS, PROMETHEUS, PROTOBUF, get, report


@pytest.fixture
def metrics() -> Metrics:
    """One request counted."""
    made = Metrics(LABELS, [0.3])
    made.unit(report())
    return made


@pytest.fixture
def theirs() -> Iterator[dict[str, Any]]:
    """The host's own instruments in the default registry, one of them under a name of ours."""
    made: dict[str, Any] = {
        "counter": Counter("their_orders", "Orders.", ["plan"]),
        "gauge": Gauge("their_size", "Size."),
        "histogram": Histogram("their_seconds", "Seconds.", buckets=(0.1, 1.0)),
        "summary": Summary("their_summary", "Summary."),
        "same": Gauge("http_server_active_requests", "Ours, they say."),
    }
    made["counter"].labels("free").inc(3)
    made["histogram"].observe(0.5, {"trace_id": "ab"})
    made["summary"].observe(2)
    yield made
    for collector in made.values():
        REGISTRY.unregister(collector)


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("", "text/plain; version=0.0.4; charset=utf-8"), ("*/*", "text/plain; version=0.0.4; charset=utf-8"),
        ("text/plain", "text/plain; version=0.0.4; charset=utf-8"),
        (OPENMETRICS, "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=underscores"),
        ("application/openmetrics-text;version=2.0.0,text/plain", "text/plain; version=0.0.4; charset=utf-8"),
        (PROMETHEUS, "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"),
    ],
)  # fmt: skip
def test_the_richest_format_that_is_named(metrics: Metrics, accept: str, content_type: str) -> None:
    """Protobuf, then OpenMetrics 1.0, then text; drafts are not spoken."""
    assert content_type == get(serve(metrics, "127.0.0.1", 0), accept)[0]


def test_another_protobuf_is_not_ours() -> None:
    """Only the delimited message families are meant."""
    assert not wants_protobuf("application/vnd.google.protobuf;proto=io.prometheus.write.v2.Request")


def test_openmetrics_has_exemplars_and_parses(metrics: Metrics) -> None:
    """The reference parser takes it, and finds the trace of the bucket."""
    text = Exposition(metrics).render(OPENMETRICS)[1].decode()
    families = text_string_to_metric_families(text)  # type: ignore[no-untyped-call]
    found = [s.exemplar for f in families for s in f.samples if s.exemplar]
    assert [{"trace_id": f"{0xAB:032x}"}] == [exemplar.labels for exemplar in found]
    assert [(1.0, 1.0)] == [(exemplar.value, float(exemplar.timestamp)) for exemplar in found]


def test_every_series_of_ours_says_its_service(metrics: Metrics) -> None:
    """Service, version and instance are labels of each line."""
    text = Exposition(metrics).render("")[1].decode()
    ours = [line for line in text.splitlines() if line.startswith(("http_", "firstcause_"))]
    assert ours
    assert [] == [line for line in ours if 'service_name="shop"' not in line or 'service_version="1"' not in line]


@pytest.mark.parametrize("accept", ["text/plain", OPENMETRICS, PROTOBUF])
def test_the_hosts_registry_is_there_and_its_homonym_is_not(metrics: Metrics, theirs: object, accept: str) -> None:
    """A family under a name of ours would make the scrape invalid: ours wins, and it is counted."""
    _guard.reset_self_counts()
    body = Exposition(metrics).render(accept)[1]
    for name in (b"their_orders_total", b"their_size", b"their_seconds", b"their_summary"):
        assert name in body
    assert b"Ours, they say." not in body
    assert 1 == _guard.self_counts()["firstcause.self.dropped", (("reason", "duplicate"), ("signal", "metrics"))]


def test_a_collector_that_raises_costs_its_own_families_only(metrics: Metrics) -> None:
    """The rest is served, and the error counted."""

    class Broken:
        def describe(self) -> list[object]:
            return []

        def collect(self) -> Iterator[object]:
            raise RuntimeError("their bug")

    broken = Broken()
    REGISTRY.register(broken)  # type: ignore[arg-type]
    try:
        assert b"http_server_request_duration_seconds" in Exposition(metrics).render("")[1]
    finally:
        REGISTRY.unregister(broken)  # type: ignore[arg-type]


def test_gzip_when_the_scraper_takes_it(metrics: Metrics) -> None:
    """The same body, smaller."""
    port = serve(metrics, "127.0.0.1", 0)
    assert b"http_server_request_duration_seconds" in gzip.decompress(get(port, encoding="gzip")[1])


def test_status_line_and_headers_leave_together(metrics: Metrics, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a process that ends between two of them a scraper would see a 200 with nothing in it."""
    written: list[bytes] = []

    def noting(name: str) -> Any:
        inner = getattr(socket.socket, name)

        def note(sock: socket.socket, data: Any, *given: Any) -> Any:
            written.append(bytes(data))
            return inner(sock, data, *given)

        return note

    for name in ("send", "sendall"):
        monkeypatch.setattr(socket.socket, name, noting(name))
    get(serve(metrics, "127.0.0.1", 0), "")
    (head,) = [data for data in written if data.startswith(b"HTTP/")]
    assert b"\r\nContent-Length: " in head


def test_only_reading_is_allowed(metrics: Metrics) -> None:
    """POST is refused, and the server lives on."""
    port = serve(metrics, "127.0.0.1", 0)
    with socket.create_connection(("127.0.0.1", port), timeout=5) as sock:
        sock.sendall(b"POST /metrics HTTP/1.0\r\nContent-Length: 0\r\n\r\n")
        assert b" 405 " in sock.recv(100)
    assert get(port)[1]


@pytest.mark.parametrize(
    ("name", "unit", "kind", "wanted"),
    [
        ("http.server.request.duration", "s", "histogram", "http_server_request_duration_seconds"),
        ("orders.paid", "", "counter", "orders_paid"), ("orders_total", "{order}", "counter", "orders"),
        ("disk.used", "By", "gauge", "disk_used_bytes"), ("cache.hits", "1", "gauge", "cache_hits_ratio"),
        ("cache.hits", "1", "counter", "cache_hits"), ("speed", "m/s", "gauge", "speed_meters_per_second"),
        ("rate", "{request}/s", "gauge", "rate_per_second"), ("wait_seconds", "s", "gauge", "wait_seconds"),
        ("1st", "", "gauge", "_1st"), ("a..b__c", "ms", "histogram", "a_b_c_milliseconds"),
        ("load", "%", "gauge", "load_percent"), ("odd", "furlong", "gauge", "odd_furlong"),
    ],
)  # fmt: skip
def test_names_are_those_of_prometheus_own_otlp_receiver(name: str, unit: str, kind: str, wanted: str) -> None:
    """The same series by scrape and by push; a counter's `_total` comes with the sample."""
    assert wanted == prometheus_name(name, unit, kind)


@pytest.mark.parametrize("instrument", INSTRUMENTS, ids=lambda instrument: instrument.name)
def test_the_declared_names_are_what_is_served(instrument: Instrument) -> None:
    """Dashboards and rules use `conventions.prometheus_name`; scrape and push must agree with it."""
    served = prometheus_name(instrument.name, instrument.unit, instrument.kind)
    total = "_total" if instrument.kind == "counter" else ""
    assert conventions.prometheus_name(instrument) == served + total


@pytest.mark.parametrize(
    ("name", "wanted"), [("http.route", "http_route"), ("1a", "key_1a"), ("a-b.c", "a_b_c"), ("_x", "_x")]
)
def test_labels_are_those_of_prometheus_own_otlp_receiver(name: str, wanted: str) -> None:
    """Whatever is no letter, digit or underscore becomes one underscore."""
    assert wanted == prometheus_label(name)
