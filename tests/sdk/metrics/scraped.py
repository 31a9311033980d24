"""What the tests of metrics share: reports to count, and readers of every format."""

from __future__ import annotations

import urllib.request
from typing import Any

from firstcause.diagnosis.unit import UnitReport
from firstcause.metrics import Metrics
from firstcause.metrics.exposition import Exposition
from firstcause.metrics.families import Distribution
from firstcause.metrics.snapshot import snapshot

LABELS = {"service.name": "shop", "service.version": "1", "service.instance.id": "here"}
SECOND = 10**9
OPENMETRICS = "application/openmetrics-text; version=1.0.0"
PROTOBUF = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
PROMETHEUS = f"{PROTOBUF};q=0.6,{OPENMETRICS};escaping=allow-utf-8;q=0.5,text/plain;version=0.0.4;q=0.2,*/*;q=0.1"
"""What Prometheus 3 sends when it takes native histograms."""


def report(**given: Any) -> UnitReport:
    """A request of one second to `/a`, six tenths in the application."""
    facts = {"method": "GET", "route": "/a", "status": 200, "wall_ns": SECOND, "trace_id": 0xAB, "started_ns": SECOND,
             "shares": {"app": 6 * 10**8, "db:pg/s": 4 * 10**8}}  # fmt: skip
    return UnitReport(**{**facts, **given})


def samples(metrics: Metrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Every sample of the text format, by name and sorted labels; identity left out."""
    from prometheus_client.parser import text_string_to_metric_families

    text = Exposition(metrics).render("text/plain")[1].decode()
    identity = {"service_name", "service_version", "service_instance_id"}
    return {
        (sample.name, tuple(sorted((k, v) for k, v in sample.labels.items() if k not in identity))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if not sample.name.startswith(("python_", "process_"))
    }


def distributions(metrics: Metrics, name: str) -> list[Distribution]:
    """The points of one histogram, before any format."""
    families = [family for family in snapshot(metrics) if family.name == name]
    return [point for family in families for point in family.points if isinstance(point, Distribution)]


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    """One sample; None when there is none."""
    return samples(metrics).get((name, tuple(sorted(labels.items()))))


def get(port: int, accept: str = "text/plain", encoding: str = "") -> tuple[str, bytes]:
    """Content type and body of a scrape."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}/metrics", headers={"Accept": accept})
    if encoding:
        request.add_header("Accept-Encoding", encoding)
    with urllib.request.urlopen(request, timeout=5) as reply:
        return reply.headers["Content-Type"], reply.read()
