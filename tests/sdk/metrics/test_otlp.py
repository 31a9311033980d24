"""Pushed metrics, decoded by OpenTelemetry's own messages."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from firstcause.conventions import BY_NAME
from firstcause.metrics import Metrics
from firstcause.metrics.buckets import Buckets, Exponential
from firstcause.metrics.families import Distribution, Exemplar, Family, Number
from firstcause.metrics.otlp import encode_metrics
from firstcause.metrics.snapshot import snapshot
from tests.sdk.metrics.scraped import LABELS, report

BORN, NOW = 5, 9


def decoded(families: list[Family], *, explicit: bool = False) -> dict[str, Any]:
    """Metrics by name."""
    message = ExportMetricsServiceRequest.FromString(encode_metrics(LABELS, families, BORN, NOW, explicit=explicit))
    (resource,) = message.resource_metrics
    assert LABELS == {pair.key: pair.value.string_value for pair in resource.resource.attributes}
    (scope,) = resource.scope_metrics
    assert "firstcause" == scope.scope.name
    return {metric.name: metric for metric in scope.metrics}


def labels(point: Any) -> dict[str, str]:
    """A point's attributes."""
    return {pair.key: pair.value.string_value for pair in point.attributes}


def test_every_family_says_name_unit_and_meaning() -> None:
    """All instruments that have points are there, cumulative, with the one start."""
    metrics = Metrics(LABELS)
    metrics.unit(report())
    families = [family for family in snapshot(metrics) if family.points]
    found = decoded(families)
    assert {family.name for family in families} == set(found)
    for name, metric in found.items():
        assert (BY_NAME[name].unit, BY_NAME[name].description) == (metric.unit, metric.description)
        data = getattr(metric, metric.WhichOneof("data"))
        assert {(BORN, NOW)} == {(p.start_time_unix_nano, p.time_unix_nano) for p in data.data_points}
    assert found["firstcause.request.time"].sum.is_monotonic
    assert 2 == found["firstcause.request.time"].sum.aggregation_temporality


def test_an_exponential_histogram_is_what_was_counted() -> None:
    """Scale, zero bucket, offset (one less than Prometheus' index), counts, sum and exemplar."""
    made = Exponential(5, 0.25, 3, Buckets(-4, [1, 0, 2]))
    point = Distribution({"a": "b", "none": ""}, 1.5, exponential=made, exemplars=[Exemplar(0xABC, 0.5, 77, 0xDEF)])
    (found,) = decoded([Family("x", "s", "histogram", "d", [point])])["x"].exponential_histogram.data_points
    assert (5, 0.25, 3, 6, 1.5) == (found.scale, found.zero_threshold, found.zero_count, found.count, found.sum)
    assert (-5, [1, 0, 2]) == (found.positive.offset, list(found.positive.bucket_counts))
    assert {"a": "b"} == labels(found)
    (exemplar,) = found.exemplars
    assert (77, 0.5, (0xABC).to_bytes(16, "big"), (0xDEF).to_bytes(8, "big")) == (
        exemplar.time_unix_nano, exemplar.as_double, exemplar.trace_id, exemplar.span_id
    )  # fmt: skip


def test_explicit_buckets_when_asked_for() -> None:
    """The classic edges and counts, for receivers that know no others."""
    metrics = Metrics(LABELS, [0.3])
    metrics.unit(report(wall_ns=280_000_000))
    found = decoded(snapshot(metrics), explicit=True)["http.server.request.duration"].histogram
    (point,) = [p for p in found.data_points if p.count]
    assert 0.3 in point.explicit_bounds
    assert 1 == point.bucket_counts[list(point.explicit_bounds).index(0.3)]
    assert len(point.explicit_bounds) + 1 == len(point.bucket_counts)
    assert (1, 0.28) == (point.count, point.sum)


@pytest.mark.parametrize(
    ("kind", "data", "monotonic"), [("counter", "sum", True), ("updown", "sum", False), ("gauge", "gauge", None)]
)
def test_kinds_of_numbers(kind: str, data: str, monotonic: bool | None) -> None:
    """Each kind is OTLP's own."""
    metric = decoded([Family("n", "", kind, "", [Number({"a": "b"}, 2.5)])])["n"]
    assert data == metric.WhichOneof("data")
    found = getattr(metric, data)
    assert [2.5] == [point.as_double for point in found.data_points]
    assert monotonic is None or monotonic == found.is_monotonic


def test_nothing_to_say_is_no_request() -> None:
    """An empty body is not sent."""
    assert b"" == encode_metrics(LABELS, [Family("n", "", "gauge", "", [])], BORN, NOW)
