"""Metrics as numbers: our own cells, and what the application counts with the OpenTelemetry API."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ..conventions import BY_NAME, prometheus_label, prometheus_name

if TYPE_CHECKING:
    from ..metrics import Metrics


def total(metrics: Metrics, reader: Any, name: str, labels: Mapping[str, str]) -> float:
    """The sum over the series of `name` that have `labels`."""
    points = _cells(metrics, name) if name in BY_NAME else _points(reader, name)
    return sum(value for found, value in points if labels.items() <= found.items())


def _cells(metrics: Metrics, name: str) -> Iterator[tuple[Mapping[str, str], float]]:
    from ..metrics import collector

    wanted = prometheus_name(BY_NAME[name])
    for family in collector(metrics).collect():
        for sample in family.samples:
            if sample.name in (wanted, f"{wanted}_count"):
                yield sample.labels, sample.value


def _points(reader: Any, name: str) -> Iterator[tuple[Mapping[str, str], float]]:
    data = reader.get_metrics_data()
    scopes = [scope for resource in data.resource_metrics for scope in resource.scope_metrics] if data else []
    for metric in (metric for scope in scopes for metric in scope.metrics if metric.name == name):
        for point in metric.data.data_points:
            found = {prometheus_label(key): str(value) for key, value in (point.attributes or {}).items()}
            yield found, float(point.value if hasattr(point, "value") else point.count)
