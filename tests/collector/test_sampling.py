"""The gateway keeps the traces that somebody will look for, and counts all of them."""

from __future__ import annotations

import secrets
import time
from base64 import b64encode
from collections.abc import Iterator
from typing import Any

import pytest
from google.protobuf.json_format import ParseDict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from .planting import attributes
from .running import CONFIG, Sink, collector

pytestmark = pytest.mark.e2e
ORDINARY = 40
TRACES: dict[str, dict[str, Any]] = {
    "failed": {"status": {"code": 2}},
    "slow": {"ms": 1500},
    "with a verdict": {"attributes": {"firstcause.verdict.cause": "db.slow"}},
    "of a slow page": {"attributes": {"firstcause.outcome": "slow"}},
    "of a route that is kept": {"attributes": {"http.route": "/checkout"}},
}


def request(trace: str, attributes_: dict[str, str], ms: int = 5, status: dict[str, int] | None = None) -> Any:
    """One server span, ended just now, in a trace of its own."""
    now = time.time_ns()
    span = {
        # Protobuf's own JSON has bytes as base64, where OTLP's has them as hexadecimal digits.
        "traceId": b64encode(bytes.fromhex(trace)).decode(), "spanId": b64encode(secrets.token_bytes(8)).decode(), "name": "GET /", "kind": 2, "status": status or {},
        "startTimeUnixNano": str(now - ms * 1_000_000), "endTimeUnixNano": str(now),
        "attributes": attributes(attributes_.items()),
    }  # fmt: skip
    resource = {"attributes": attributes([("service.name", "shop"), ("deployment.environment.name", "demo")])}
    return ParseDict(
        {"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": [span]}]}]}, ExportTraceServiceRequest()
    )


@pytest.fixture(name="told", scope="module")
def _told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[dict[str, str], set[str], Sink]]:
    """One trace of each kind and many ordinary ones: their ids, those that were kept, and all else that arrived."""
    sink, ids = Sink(), {name: secrets.token_hex(16) for name in TRACES}
    settings = {
        "JAEGER_ENDPOINT": sink.grpc, "LOKI_ENDPOINT": sink.http, "PROMETHEUS_ENDPOINT": sink.http, "BASE_PERCENT": "0",
        "ROUTES_PERCENT": "100", "DECISION_WAIT": "1s", "FLUSH_INTERVAL": "1s", "GATEWAY_NAME": "one",
    }  # fmt: skip
    with collector(tmp_path_factory.mktemp("gateway"), CONFIG / "gateway.yaml", **settings) as gateway:
        for _ in range(ORDINARY):
            gateway.call("traces", request(secrets.token_hex(16), {}))
        for name, trace in ids.items():
            made = dict(TRACES[name])
            gateway.call("traces", request(trace, made.pop("attributes", {}), **made))
        found = sink.await_("traces", lambda got: len(traces_of(got)) >= len(ids))
        sink.await_("metrics", lambda got: counted(got) >= ORDINARY + len(ids))
        yield ids, traces_of(found), sink
    sink.close()


def traces_of(requests: list[Any]) -> set[str]:
    """Ids of all traces in export requests."""
    return {
        span.trace_id.hex()
        for one in requests for group in one.resource_spans for scope in group.scope_spans for span in scope.spans
    }  # fmt: skip


def counted(requests: list[Any]) -> int:
    """The latest sum of the calls that span metrics count."""
    sums = [0]
    for one in requests:
        points = [
            point
            for group in one.resource_metrics for scope in group.scope_metrics for metric in scope.metrics
            if metric.name == "traces.span.metrics.calls" for point in metric.sum.data_points
        ]  # fmt: skip
        sums.append(sum(point.as_int for point in points))
    return max(sums)


@pytest.mark.parametrize("name", TRACES)
def test_a_trace_is_kept(told: tuple[dict[str, str], set[str], Sink], name: str) -> None:
    """Each by the one policy that wants it."""
    ids, kept, _sink = told
    assert ids[name] in kept


def test_ordinary_traces_are_not_kept(told: tuple[dict[str, str], set[str], Sink]) -> None:
    """With a base rate of nothing."""
    ids, kept, _sink = told
    assert set(ids.values()) == kept


def test_all_are_counted_before_that(told: tuple[dict[str, str], set[str], Sink]) -> None:
    """Span metrics know every span, and say which gateway counted it."""
    ids, _kept, sink = told
    requests = sink.received["metrics"]
    assert ORDINARY + len(ids) == counted(requests)
    resource = {a.key: a.value.string_value for a in requests[-1].resource_metrics[0].resource.attributes}
    assert {"service.name": "shop", "deployment.environment.name": "demo", "collector.instance.id": "one"} == resource
