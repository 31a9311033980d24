"""What happens beside the requests: listening, taking over, pushing, and ending in time."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from firstcause import _guard
from firstcause.export.http import OtlpHttpExporter
from firstcause.metrics import Metrics
from firstcause.metrics.group import Group
from firstcause.metrics.keeper import Keeper, Push
from firstcause.metrics.snapshot import fold
from firstcause.metrics.store import Store
from tests.sdk.export.loopback import black_hole, raw_server, refusing_url
from tests.sdk.metrics.scraped import LABELS, get, report

FAILED = "firstcause.self.dropped"


class Collector(ThreadingHTTPServer):
    """Takes metrics, and keeps the decoded requests."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.took: list[ExportMetricsServiceRequest] = []
        self.came = threading.Event()
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def url(self) -> str:
        """Where to push."""
        return f"http://127.0.0.1:{self.server_address[1]}/v1/metrics"


class _Handler(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.took.append(ExportMetricsServiceRequest.FromString(body))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()
        self.server.came.set()

    def log_message(self, *_given: object) -> None:
        return


@pytest.fixture
def collector() -> Iterator[Collector]:
    """A collector that is up for the test."""
    made = Collector()
    yield made
    made.shutdown()
    made.server_close()


def keeper(url: str, interval_s: float = 3600, store: Store | None = None) -> Keeper:
    """A keeper that pushes one request's metrics to `url`."""
    metrics = Metrics(LABELS, (), store)
    made = Keeper(metrics, Push(LABELS, OtlpHttpExporter(url, timeout_s=5), interval_s, explicit=False))
    metrics.unit(report())
    return made


def requests_of(message: ExportMetricsServiceRequest) -> int:
    """How many served requests a push says."""
    metrics = message.resource_metrics[0].scope_metrics[0].metrics
    (duration,) = [metric for metric in metrics if metric.name == "http.server.request.duration"]
    return sum(point.count for point in duration.exponential_histogram.data_points)


def test_it_pushes_every_interval(collector: Collector) -> None:
    """Without being asked, and cumulative."""
    made = keeper(collector.url, 0.2)
    assert collector.came.wait(10)
    made.metrics.unit(report())
    deadline = time.monotonic() + 10
    while requests_of(collector.took[-1]) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    made.stop()
    assert made.join(5)


def test_the_last_push_has_everything(collector: Collector) -> None:
    """What came since the last interval is not lost at the end."""
    made = keeper(collector.url)
    for _ in range(4):
        made.metrics.unit(report())
    made.stop()
    assert made.join(5)
    assert [5] == [requests_of(message) for message in collector.took]


def test_a_flush_pushes_now(collector: Collector) -> None:
    """For who cannot wait for the interval."""
    made = keeper(collector.url)
    assert made.flush(5)
    assert [1] == [requests_of(message) for message in collector.took]


def test_a_refusing_collector_is_counted() -> None:
    """The next push makes up for it; that one failed is said."""
    _guard.reset_self_counts()
    assert not keeper(refusing_url()).flush(5)
    assert 1 == _guard.self_counts()[FAILED, (("reason", "unreachable"), ("signal", "metrics"))]


def test_a_hanging_collector_does_not_hold_up_the_end() -> None:
    """The end is within its time, and the loss counted."""
    _guard.reset_self_counts()
    with raw_server(black_hole) as (url, came):
        made = keeper(url)
        made.stop()
        assert came.wait(5)
        assert not made.join(0.2)
        assert made._done.wait(5)
    assert 1 == _guard.self_counts()[FAILED, (("reason", "shutdown"), ("signal", "metrics"))]


def test_of_a_group_one_pushes_for_all(collector: Collector, tmp_path: Path) -> None:
    """The leader's push has its siblings' counts; the others send nothing."""
    stores = [Store(lambda: Group(str(tmp_path), fold), now=True) for _ in range(2)]
    keepers = [keeper(collector.url, store=store) for store in stores]
    for made in keepers:
        made.stop()
    for made in keepers:
        assert made.join(5)
    assert 2 == requests_of(collector.took[-1])


def test_another_takes_over_the_port(tmp_path: Path) -> None:
    """While a sibling has the port its answer is everybody's; when it dies, the next one answers."""
    ready, said = os.pipe()
    holder = os.fork()
    if not holder:
        try:
            metrics = Metrics(LABELS, (), Store(lambda: Group(str(tmp_path), fold), now=True))
            metrics.unit(report())
            port = Keeper(metrics).listen("127.0.0.1", 0)
            os.write(said, str(port).encode().ljust(8))
            signal.pause()
        finally:
            os._exit(1)
    port = int(os.read(ready, 8))
    metrics = Metrics(LABELS, (), Store(lambda: Group(str(tmp_path), fold), now=True))
    metrics.unit(report())
    made = Keeper(metrics)
    assert made.listen("127.0.0.1", port) is None
    wanted = b'http_response_status_code="200",http_route="/a",service_instance_id="here",service_name="shop",service_version="1"} 2.0'
    assert wanted in get(port)[1]
    os.kill(holder, signal.SIGKILL)
    os.waitpid(holder, 0)
    deadline = time.monotonic() + 10
    while made._server is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert wanted in get(port)[1]
    made.stop()
    made._server.shutdown()


def test_an_address_of_nobody_is_an_error() -> None:
    """Waiting would not help there."""
    with pytest.raises(OSError, match="assign"):
        Keeper(Metrics(LABELS)).listen("192.0.2.1", 0)


def test_nothing_to_do_is_no_thread() -> None:
    """A process that is scraped and has no siblings needs none."""
    made = Keeper(Metrics(LABELS))
    made.metrics.unit(report())
    assert made._thread is None
